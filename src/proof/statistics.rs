//! Whether two handfuls of repetitions differ, and by how much. Pure.

/// Significance level of every test here, and one minus the confidence of every interval.
pub const LEVEL: f64 = 0.05;

/// The fewest repetitions on each side that a comparison takes: with two, the variance is a guess from one difference.
pub const REPETITIONS_MIN: usize = 3;

/// The middle value, or the mean of the middle two; `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        count if count % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// The least and the greatest value; `None` of nothing.
pub fn range(values: &[f64]) -> Option<(f64, f64)> {
    let least = values.iter().copied().min_by(f64::total_cmp)?;
    let greatest = values.iter().copied().max_by(f64::total_cmp)?;
    Some((least, greatest))
}

/// How one measure changed from a base to something new, as a ratio: 1.1 is a tenth more.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Change {
    /// Of the geometric means.
    pub ratio: f64,
    /// Both ends of the interval at confidence 1 - [`LEVEL`].
    pub interval: (f64, f64),
    /// Probability of so large an increase where there is none.
    pub p_increase: f64,
}

impl Change {
    /// Compares two sets of repetitions, each value above 0. `None` with fewer than [`REPETITIONS_MIN`] on a side, or with
    /// values that are not above 0.
    ///
    /// Welch's t-test on logarithms: Welch, "The generalization of `Student's' problem when several different population
    /// variances are involved", Biometrika 34 (1947). It does not assume that both sides are equally noisy, and costs that
    /// are disturbed by factors have normal logarithms. Degrees of freedom after Satterthwaite, "An approximate
    /// distribution of estimates of variance components", Biometrics Bulletin 2 (1946).
    pub fn between(base: &[f64], new: &[f64]) -> Option<Change> {
        let (base, new) = (Logs::of(base)?, Logs::of(new)?);
        let difference = new.mean - base.mean;
        let (of_base, of_new) = (base.variance / base.count, new.variance / new.count);
        let squared_error = of_base + of_new;
        if squared_error == 0.0 {
            let p_increase = if difference > 0.0 { 0.0 } else { 1.0 };
            let ratio = difference.exp();
            return Some(Change {
                ratio,
                interval: (ratio, ratio),
                p_increase,
            });
        }
        let error = squared_error.sqrt();
        let freedom = squared_error * squared_error
            / (of_base * of_base / (base.count - 1.0) + of_new * of_new / (new.count - 1.0));
        let half = student_t_quantile(1.0 - LEVEL / 2.0, freedom) * error;
        Some(Change {
            ratio: difference.exp(),
            interval: ((difference - half).exp(), (difference + half).exp()),
            p_increase: 1.0 - student_t_probability(difference / error, freedom),
        })
    }

    /// Whether it is an increase that noise does not explain, and by more than `threshold` (0.05 is 5 %). Both are needed: a
    /// small true difference is no reason to fail a build, and a large one that is within the noise is none either.
    pub fn is_increase(&self, threshold: f64) -> bool {
        self.p_increase < LEVEL && self.ratio > 1.0 + threshold
    }
}

/// Of the natural logarithms of some values.
struct Logs {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Logs {
    fn of(values: &[f64]) -> Option<Logs> {
        if values.len() < REPETITIONS_MIN || values.iter().any(|value| !value.is_finite() || *value <= 0.0) {
            return None;
        }
        let count = values.len() as f64;
        let logs: Vec<f64> = values.iter().map(|value| value.ln()).collect();
        let mean = logs.iter().sum::<f64>() / count;
        let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Some(Logs { count, mean, variance })
    }
}

/// Probability that Student's t with `freedom` degrees of freedom is at most `t`.
fn student_t_probability(t: f64, freedom: f64) -> f64 {
    let tail = 0.5 * incomplete_beta(freedom / (freedom + t * t), freedom / 2.0, 0.5);
    if t > 0.0 { 1.0 - tail } else { tail }
}

/// The t whose [`student_t_probability`] is `probability`, by bisection; for 0.5 and above.
fn student_t_quantile(probability: f64, freedom: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while student_t_probability(high, freedom) < probability && high < 1e9 {
        high *= 2.0;
    }
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        match student_t_probability(middle, freedom) < probability {
            true => low = middle,
            false => high = middle,
        }
    }
    high
}

/// The regularized incomplete beta function, by its continued fraction (Abramowitz and Stegun 26.5.8) after Lentz.
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    // The fraction converges quickly on one side of its middle only.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(1.0 - x, b, a);
    }
    let front = (a * x.ln() + b * (1.0 - x).ln() + ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b)).exp() / a;
    let nonzero = |value: f64| if value.abs() < 1e-300 { 1e-300 } else { value };
    let (mut fraction, mut c, mut d) = (1.0, 1.0, 0.0);
    for step in 0..300_u32 {
        let m = f64::from(step / 2);
        let numerator = match step {
            0 => 1.0,
            _ if step % 2 == 0 => m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m)),
            _ => -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0)),
        };
        d = 1.0 / nonzero(1.0 + numerator * d);
        c = nonzero(1.0 + numerator / c);
        fraction *= c * d;
        if (1.0 - c * d).abs() < 1e-14 {
            break;
        }
    }
    front * (fraction - 1.0)
}

/// Lanczos' approximation (1964) with g = 7 and nine terms: fifteen digits for arguments above 0.5.
fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let base = x + 7.5;
    let sum = (1_u32..)
        .zip(&TERMS[1..])
        .fold(TERMS[0], |sum, (index, term)| sum + term / (x + f64::from(index)));
    0.5 * std::f64::consts::TAU.ln() + (x + 0.5) * base.ln() - base + sum.ln()
}

#[cfg(test)]
mod tests {
    use rand_distr::{Distribution, Normal};
    use rand_xoshiro::SplitMix64;
    use rand_xoshiro::rand_core::SeedableRng;

    use super::*;

    /// Repetitions whose cost is disturbed by a factor of that relative deviation.
    fn repetitions(rng: &mut SplitMix64, count: usize, cost: f64, deviation: f64) -> Vec<f64> {
        let noise = Normal::new(0.0, deviation).unwrap();
        (0..count).map(|_| cost * noise.sample(rng).exp()).collect()
    }

    #[test]
    fn middles_and_ends() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(range(&[2.0, 3.0, 1.0]), Some((1.0, 3.0)));
        assert_eq!(range(&[]), None);
    }

    #[test]
    fn quantiles_of_students_t_are_those_of_the_tables() {
        // Abramowitz and Stegun, table 26.10.
        for (probability, freedom, t) in [
            (0.975, 1.0, 12.706),
            (0.975, 4.0, 2.776),
            (0.95, 8.0, 1.860),
            (0.975, 8.0, 2.306),
            (0.995, 30.0, 2.750),
        ] {
            let found = student_t_quantile(probability, freedom);
            assert!((found - t).abs() < 1e-3, "{probability} {freedom}: {found}");
        }
        assert!((student_t_probability(0.0, 5.0) - 0.5).abs() < 1e-12);
        assert!((student_t_probability(-2.306, 8.0) - 0.025).abs() < 1e-4);
    }

    /// Of twenty comparisons of equals, how many say that there is an increase.
    fn false_alarms(seed: u64, deviation: f64) -> usize {
        let mut rng = SplitMix64::seed_from_u64(seed);
        let mut one = || repetitions(&mut rng, 5, 2.0, deviation);
        let compared = (0..20).map(|_| Change::between(&one(), &one()).unwrap());
        compared.filter(|change| change.is_increase(0.05)).count()
    }

    #[test]
    fn twenty_comparisons_of_equals_give_at_most_one_false_alarm() {
        for seed in 0..200 {
            for deviation in [0.02, 0.03] {
                assert!(false_alarms(seed, deviation) <= 1, "seed {seed}, deviation {deviation}");
            }
        }
        // Noise above the threshold: the level of the test is what holds then.
        let alarms: usize = (0..200).map(|seed| false_alarms(seed, 0.1)).sum();
        assert!(alarms as f64 / (200.0 * 20.0) <= 0.055, "{alarms} of 4000");
    }

    #[test]
    fn a_tenth_more_is_caught_and_a_tenth_less_is_no_increase() {
        for (deviation, least) in [(0.02, 0.99), (0.03, 0.97)] {
            let mut rng = SplitMix64::seed_from_u64(7);
            let mut caught = 0;
            for _ in 0..1000 {
                let base = repetitions(&mut rng, 5, 2.0, deviation);
                let more = repetitions(&mut rng, 5, 2.2, deviation);
                caught += u32::from(Change::between(&base, &more).unwrap().is_increase(0.05));
                assert!(!Change::between(&more, &base).unwrap().is_increase(0.05));
            }
            assert!(
                f64::from(caught) / 1000.0 >= least,
                "{caught} of 1000 at deviation {deviation}"
            );
        }
    }

    #[test]
    fn the_interval_holds_the_true_ratio_as_often_as_it_says() {
        let mut rng = SplitMix64::seed_from_u64(11);
        let inside = (0..2000).filter(|_| {
            let (base, new) = (repetitions(&mut rng, 4, 2.0, 0.02), repetitions(&mut rng, 6, 3.0, 0.06));
            let (low, high) = Change::between(&base, &new).unwrap().interval;
            (low..=high).contains(&1.5)
        });
        let share = inside.count() as f64 / 2000.0;
        assert!((0.93..=0.97).contains(&share), "{share}");
    }

    #[test]
    fn too_few_repetitions_and_no_noise_are_answered() {
        assert_eq!(Change::between(&[1.0, 1.0], &[2.0, 2.0, 2.0]), None);
        assert_eq!(Change::between(&[1.0, 1.0, 0.0], &[2.0, 2.0, 2.0]), None);
        let change = Change::between(&[1.0; 3], &[2.0; 3]).unwrap();
        assert!(change.is_increase(0.05) && (change.ratio - 2.0).abs() < 1e-12);
        assert!(!Change::between(&[1.0; 3], &[1.0; 3]).unwrap().is_increase(0.05));
    }
}
