//! What a sensor measures: a base, a daily cycle, a slow trend and noise, as a pure function of sensor, kind and time.
//!
//! The same bytes must come out on every machine, so there is nothing here but `+ - * /`, rounding and integers, whose
//! results IEEE 754 and two's complement fix: sines are parabolas, and the normal distribution is a sum of uniform
//! ones. (rand_distr's normal calls the platform's `exp` and `ln`, whose last bit differs between platforms.)

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::Rng;

use crate::model::{MILLIS_PER_DAY, TimeMs};

const MILLIS_PER_HOUR: i64 = 3_600_000;
/// The slow trend comes back after so long.
const TREND_MS: i64 = 29 * MILLIS_PER_DAY;
/// Motion is decided anew for every such stretch.
const MOTION_CELL_MS: i64 = 600_000;

/// An odd constant that spreads consecutive numbers over all bits (from L'Ecuyer's tables of multipliers).
const SPREAD: u64 = 0xd134_2543_de82_ef95;

/// Stafford's mixer 13: every bit of the result depends on every bit of the argument.
pub(super) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The start of an independent stream for number `index` of what `seed` stands for.
pub(super) fn substream(seed: u64, index: u64) -> u64 {
    mix(seed).wrapping_add(index.wrapping_mul(SPREAD))
}

/// 16 bits as a number in -1..1.
fn lane(traits: u64, number: u32) -> f64 {
    let bits = (traits >> (number * 16)) as u16;
    (f64::from(bits) - 32_767.5) / 32_768.0
}

/// A sine by parabolas: period 1, within 0.1 % of the real one. `turns` in whole and fractional periods, at least -4.
fn wave(turns: f64) -> f64 {
    // Conversions instead of floor(), which is a call of the C library on most targets.
    let turns = turns + 4.0;
    let x = 2.0 * (turns - turns as i64 as f64) - 1.0;
    // x runs over -1..1 where the sine's argument runs over -pi..pi, half a period ahead: hence the sign.
    let y = -4.0 * x * (1.0 - x.abs());
    0.225 * (y * y.abs() - y) + y
}

/// Standard normal, nearly: the sum of eight uniform numbers, at most 4.9 standard deviations out.
fn noise(rng: &mut SplitMix64) -> f64 {
    let lanes = |word: u64| {
        let pairs = (word & 0x0000_ffff_0000_ffff) + ((word >> 16) & 0x0000_ffff_0000_ffff);
        (pairs & 0xffff_ffff) + (pairs >> 32)
    };
    let sum = lanes(rng.next_u64()) + lanes(rng.next_u64());
    // Mean 8 * 65535 / 2; standard deviation sqrt(8 * (2^32 - 1) / 12).
    (sum as f64 - 262_140.0) * (1.0 / 53_509.688_642_206_74)
}

/// What an anomaly does to a value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Distortion {
    None,
    /// Far off, in one of two directions and by a strength of 0..1, both from the random number.
    Spike(u64),
    /// The reading's number within the drift, from 1.
    Drift(u64),
}

/// A kind's ranges.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    base: f64,
    /// Sensors differ by up to so much.
    spread: f64,
    /// Height of the daily cycle; negative where it is lowest at the peak hour.
    daily: f64,
    peak_hour: i64,
    trend: f64,
    noise: f64,
    /// How far a spike jumps at least.
    jump: f64,
    /// Steps in one unit: 100 keeps two decimals.
    steps: f64,
    min: f64,
    max: f64,
    pattern: Pattern,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pattern {
    Smooth,
    /// Dark at night.
    Daylight,
    /// 0 or 1, in bursts.
    Bursts,
}

impl Shape {
    /// Kinds that nobody described still get a plausible signal.
    pub(super) fn of_kind(kind: &str) -> Shape {
        let smooth = Shape {
            base: 50.0,
            spread: 20.0,
            daily: 10.0,
            peak_hour: 14,
            trend: 5.0,
            noise: 1.0,
            jump: 60.0,
            steps: 1000.0,
            min: f64::MIN,
            max: f64::MAX,
            pattern: Pattern::Smooth,
        };
        match kind {
            "temperature" => Shape {
                base: 20.5,
                spread: 2.5,
                daily: 3.0,
                trend: 1.0,
                noise: 0.15,
                jump: 18.0,
                steps: 100.0,
                ..smooth
            },
            "humidity" => Shape {
                base: 48.0,
                spread: 6.0,
                daily: -6.0,
                trend: 4.0,
                noise: 0.6,
                jump: 40.0,
                steps: 10.0,
                min: 0.0,
                max: 100.0,
                ..smooth
            },
            "pressure" => Shape {
                base: 1013.25,
                spread: 2.0,
                daily: 0.8,
                peak_hour: 10,
                trend: 9.0,
                noise: 0.08,
                jump: 60.0,
                steps: 100.0,
                ..smooth
            },
            "voltage" => Shape {
                base: 230.0,
                spread: 1.5,
                daily: -1.8,
                peak_hour: 19,
                trend: 0.4,
                noise: 0.35,
                jump: 45.0,
                steps: 1000.0,
                ..smooth
            },
            "light" => Shape {
                base: 12.0,
                spread: 8.0,
                daily: 620.0,
                peak_hour: 12,
                trend: 0.0,
                noise: 3.0,
                jump: 4000.0,
                steps: 10.0,
                min: 0.0,
                pattern: Pattern::Daylight,
                ..smooth
            },
            "motion" => Shape {
                min: 0.0,
                max: 1.0,
                steps: 1.0,
                pattern: Pattern::Bursts,
                ..smooth
            },
            _ => smooth,
        }
    }

    pub(super) fn is_boolean(&self) -> bool {
        self.pattern == Pattern::Bursts
    }

    /// The value at a time. `traits` is the sensor's character for this kind; `rng` is the slot's.
    pub(super) fn value(&self, traits: u64, time: TimeMs, rng: &mut SplitMix64, distortion: Distortion) -> f64 {
        if self.pattern == Pattern::Bursts {
            return self.motion(traits, time, distortion);
        }
        let daily = self.daily * (1.0 + 0.4 * lane(traits, 1)) * self.day_wave(traits, time);
        let daily = if self.pattern == Pattern::Daylight {
            daily.max(0.0)
        } else {
            daily
        };
        let trend_turns = (time.0.rem_euclid(TREND_MS)) as f64 / TREND_MS as f64 + lane(traits, 3);
        let level = self.base + self.spread * lane(traits, 0) + daily + self.trend * wave(trend_turns);
        let mut value = (level + self.noise * noise(rng)).clamp(self.min, self.max);
        match distortion {
            Distortion::None => {}
            Distortion::Spike(random) => {
                let distance = self.jump * (1.0 + lane(random, 1).abs());
                // A spike below what is possible at all would be clipped to something usual.
                value += if random & 1 == 0 && value - distance >= self.min {
                    -distance
                } else {
                    distance
                };
            }
            Distortion::Drift(step) => value += self.jump * step as f64 / *super::faults::EPISODE_READINGS.end() as f64,
        }
        let half = if value < 0.0 { -0.5 } else { 0.5 };
        (value * self.steps + half) as i64 as f64 / self.steps
    }

    /// The time of day as a wave that is 1 at the peak hour; the sensor's place shifts it by up to an hour.
    fn day_wave(&self, traits: u64, time: TimeMs) -> f64 {
        let before_peak_ms = time.0 - (self.peak_hour - 6) * MILLIS_PER_HOUR;
        wave(before_peak_ms.rem_euclid(MILLIS_PER_DAY) as f64 / MILLIS_PER_DAY as f64 + lane(traits, 2) / 24.0)
    }

    fn motion(&self, traits: u64, time: TimeMs, distortion: Distortion) -> f64 {
        // Every sensor's stretches begin at another time, or the fleet would move in step.
        let ms = time.0.saturating_add((traits >> 16) as i64 & 0xf_ffff);
        let cell = ms.div_euclid(MOTION_CELL_MS);
        let random = mix(substream(traits, cell as u64));
        let daytime = self.day_wave(traits, time).max(0.0);
        // Between one cell in twelve at night and one in three by day.
        let has_burst = lane(random, 0) < -0.84 + 0.5 * daytime;
        let from_ms = ((random >> 16) as i64 & 0xff) * 1000;
        let length_ms = 60_000 + ((random >> 24) as i64 & 0xff) * 900;
        let in_burst_ms = ms.rem_euclid(MOTION_CELL_MS) - from_ms;
        let moves = has_burst && (0..length_ms).contains(&in_burst_ms);
        let seen = match distortion {
            Distortion::None => moves,
            Distortion::Spike(_) => !moves,
            Distortion::Drift(_) => true,
        };
        f64::from(u8::from(seen))
    }
}

#[cfg(test)]
mod tests {
    use rand_xoshiro::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn noise_is_about_standard_normal() {
        let mut rng = SplitMix64::seed_from_u64(1);
        let draws: Vec<f64> = (0..200_000).map(|_| noise(&mut rng)).collect();
        let n = draws.len() as f64;
        let mean = draws.iter().sum::<f64>() / n;
        let variance = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
        let within_one = draws.iter().filter(|x| x.abs() < 1.0).count() as f64 / n;
        assert!(mean.abs() < 0.01, "{mean}");
        assert!((variance - 1.0).abs() < 0.02, "{variance}");
        assert!((within_one - 0.6827).abs() < 0.01, "{within_one}");
    }

    #[test]
    fn the_wave_is_a_sine() {
        for step in -200..200 {
            let turns = f64::from(step) / 100.0;
            let sine = (turns * std::f64::consts::TAU).sin();
            assert!(
                (wave(turns) - sine).abs() < 0.0015,
                "{turns}: {} against {sine}",
                wave(turns)
            );
        }
    }

    #[test]
    fn a_days_values_are_plausible() {
        for (kind, range) in [
            ("temperature", 10.0..30.0),
            ("humidity", 15.0..85.0),
            ("pressure", 995.0..1030.0),
            ("voltage", 220.0..240.0),
            ("light", 0.0..1000.0),
            ("motion", 0.0..1.1),
        ] {
            let shape = Shape::of_kind(kind);
            let mut distinct = std::collections::BTreeSet::new();
            for minute in 0..24 * 60 {
                let mut rng = SplitMix64::seed_from_u64(minute);
                let time = TimeMs(1_762_300_800_000 + minute as i64 * 60_000);
                let value = shape.value(mix(minute / 240), time, &mut rng, Distortion::None);
                assert!(range.contains(&value), "{kind} {value}");
                distinct.insert(value.to_bits());
            }
            assert!(
                distinct.len() > if shape.is_boolean() { 1 } else { 100 },
                "{kind} {}",
                distinct.len()
            );
        }
    }

    #[test]
    fn spikes_stand_out_and_drifts_grow() {
        let shape = Shape::of_kind("temperature");
        let at = |distortion| {
            shape.value(
                7,
                TimeMs(1_762_344_000_000),
                &mut SplitMix64::seed_from_u64(3),
                distortion,
            )
        };
        let plain = at(Distortion::None);
        assert!((at(Distortion::Spike(mix(1))) - plain).abs() >= 17.9);
        assert!(at(Distortion::Drift(2)) > at(Distortion::Drift(1)) && at(Distortion::Drift(1)) > plain);
    }
}
