//! A series in one line of text.

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Exactly `width` columns, the newest value last; spaces on the left where there are fewer values than columns. Where
/// there are more, a column shows its value farthest from the series' mean, so that a spike stays visible. A value that
/// is no number is a gap.
pub fn sparkline(values: &[f64], width: usize) -> String {
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let (lowest, highest) = (
        finite().fold(f64::INFINITY, f64::min),
        finite().fold(f64::NEG_INFINITY, f64::max),
    );
    let count = finite().count().max(1) as f64;
    // Divided first: the sum of large values would overflow.
    let mean: f64 = finite().map(|value| value / count).sum();
    let bar = |value: f64| {
        let level = if lowest < highest {
            // Halved: the range of two finite values may be infinite.
            (value / 2.0 - lowest / 2.0) / (highest / 2.0 - lowest / 2.0) * 7.0
        } else {
            3.0
        };
        BARS[(level.round() as usize).min(7)]
    };

    let columns = values.len().min(width);
    let mut line = " ".repeat(width - columns);
    for column in 0..columns {
        let cut = |column: usize| column * values.len() / columns;
        let farthest = values[cut(column)..cut(column + 1)]
            .iter()
            .filter(|value| value.is_finite())
            .max_by(|left, right| (*left - mean).abs().total_cmp(&(*right - mean).abs()));
        line.push(farthest.map_or(' ', |value| bar(*value)));
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_become_bars() {
        assert_eq!(sparkline(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 8), "▁▂▃▄▅▆▇█");
        assert_eq!(sparkline(&[0.0, 7.0], 4), "  ▁█");
        assert_eq!(sparkline(&[5.0, 5.0, 5.0], 3), "▄▄▄");
        assert_eq!(sparkline(&[f64::MIN, f64::NAN, f64::MAX], 3), "▁ █");
        assert_eq!(sparkline(&[], 3), "   ");
        assert_eq!(sparkline(&[1.0], 0), "");
    }

    proptest! {
        #[test]
        fn a_spike_survives_any_width(
            length in 1_usize..500, at in any::<prop::sample::Index>(), width in 1_usize..60, up in any::<bool>(),
        ) {
            prop_assume!(length >= 3);
            let mut values: Vec<f64> = (0..length).map(|index| (index % 3) as f64).collect();
            values[at.index(length)] = if up { 1000.0 } else { -1000.0 };
            let line = sparkline(&values, width);
            prop_assert_eq!(line.chars().count(), width);
            let extreme = if up { '█' } else { '▁' };
            prop_assert!(line.contains(extreme), "{}", line);
        }
    }
}
