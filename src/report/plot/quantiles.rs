//! Latencies by the share of what did not exceed them. The axis of shares is stretched towards 100 %, where the tail is: each
//! nine takes as much room.

use std::io;

use super::{Canvas, Chart, DOTS_ACROSS, Scale, range_text};
use crate::model::TimeMs;
use crate::report::number::grouped;
use crate::report::out::{Out, printable};

/// Shares that are marked, with their texts.
const MARKS: [(f64, &str); 8] = [
    (0.0, "0 %"),
    (0.5, "50 %"),
    (0.9, "90 %"),
    (0.99, "99 %"),
    (0.999, "99.9 %"),
    (0.9999, "99.99 %"),
    (0.99999, "99.999 %"),
    (0.999999, "99.9999 %"),
];

/// Draws the chart of `count` values under its title; the points are growing shares (0 to 1) and their values.
pub fn draw_quantiles(out: &mut Out, title: &str, count: u64, points: &[(f64, f64)]) -> io::Result<()> {
    chart(title, count, points, out.width()).print(out)
}

fn chart(title: &str, count: u64, points: &[(f64, f64)], width: usize) -> Chart {
    let title = printable(title);
    // Beyond one in all of them there is only the greatest.
    let nines_max = nines(1.0 - 1.0 / (count.max(2) as f64)).max(1.0);
    let shown = points
        .iter()
        .map(|(share, value)| (nines(*share).min(nines_max), *value));
    let shown: Vec<(f64, f64)> = shown.collect();
    let (Some((_, lowest)), Some((_, highest))) = (shown.first().copied(), shown.last().copied()) else {
        return Chart::empty(&format!("{title}  nothing measured"), width);
    };
    // The axis across is not of times.
    let scale = Scale {
        from: TimeMs(0),
        to: TimeMs(0),
        lowest,
        highest,
    };
    let title = format!("{title}  {}  ({})", range_text(lowest, highest), grouped(count));
    let across = move |nines: f64, dots: usize| ((nines / nines_max) * (dots - 1) as f64).round() as usize;
    let paint = |canvas: &mut Canvas| {
        let dot = |canvas: &Canvas, (nines, value): (f64, f64)| {
            (across(nines, canvas.width()), scale.y(value, canvas.height()))
        };
        for pair in shown.windows(2) {
            let (from, to) = (dot(canvas, pair[0]), dot(canvas, pair[1]));
            canvas.line(from, to);
        }
    };
    let axis = |indent: usize, columns: usize| {
        let marks = MARKS.iter().map(|(share, text)| (nines(*share), *text));
        let marks = marks.filter(|(nines, _)| *nines <= nines_max);
        let marks = marks.map(|(nines, text)| (across(nines, columns * DOTS_ACROSS) / DOTS_ACROSS, text.to_owned()));
        super::axis_lines(marks, indent, columns, width).to_vec()
    };
    Chart::with_axis(&title, &scale, width, axis, paint)
}

/// 0.9 is one, 0.99 is two.
fn nines(share: f64) -> f64 {
    -(1.0 - share).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_nine_takes_as_much_room_and_the_tail_is_seen() {
        let points: Vec<(f64, f64)> = [
            (0.0, 1.0),
            (0.5, 2.0),
            (0.9, 3.0),
            (0.99, 4.0),
            (0.999, 40.0),
            (1.0, 90.0),
        ]
        .to_vec();
        let (mut out, captured) = Out::captured(Some(60));
        draw_quantiles(&mut out, "queryable, ms", 1000, &points).unwrap();
        let text = captured.data();
        assert!(text.starts_with("queryable, ms  1 to 90  (1,000)\n"), "{text}");
        let marks = text.lines().last().unwrap();
        let at = |mark: &str| marks.find(mark).unwrap_or_else(|| panic!("{mark} in {text}"));
        assert!(
            at("0 %") < at("50 %") && at("50 %") < at("90 %") && at("90 %") < at("99 %"),
            "{text}"
        );
        assert!(marks.contains("99.9 %"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
    }

    #[test]
    fn nothing_measured_is_a_line() {
        let (mut out, captured) = Out::captured(None);
        draw_quantiles(&mut out, "queryable, ms", 0, &[]).unwrap();
        assert_eq!(captured.data(), "queryable, ms  nothing measured\n");
    }
}
