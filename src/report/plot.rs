//! A chart in the terminal, as wide as there is room: values over time, or windows as the line of their means in the band of
//! their extremes.

mod axis;
mod band;
mod canvas;
mod quantiles;
mod series;

use std::io;

use console::{measure_text_width, truncate_str};

use super::number::{compact, grouped};
use super::out::{Out, Tint, printable};
use crate::model::TimeMs;
use axis::{time_marks, value_marks};
pub use band::{Band, draw_band};
use canvas::{Canvas, DOTS_ACROSS, DOTS_DOWN, Run};
pub use quantiles::draw_quantiles;
pub use series::{Point, Series};

/// Rows of text that the line takes.
const ROWS: usize = 12;
/// Rows for each mark of the value axis.
const ROWS_PER_MARK: usize = 3;
/// Columns for each mark of the time axis.
const COLUMNS_PER_MARK: usize = 14;
/// A longer pause than so many usual ones is drawn as a gap.
const GAP_INTERVALS: i64 = 5;

/// Draws one chart under its title. A series without values is a line that says so.
pub fn draw(out: &mut Out, title: &str, series: &Series) -> io::Result<()> {
    Chart::of(title, series, ["reading", "readings"], out.width()).print(out)
}

/// The same, of one value a second.
pub fn draw_seconds(out: &mut Out, title: &str, series: &Series) -> io::Result<()> {
    Chart::of(title, series, ["second", "seconds"], out.width()).print(out)
}

/// No line is wider than asked for.
struct Chart {
    title: String,
    /// The value axis and what is drawn right of it.
    rows: Vec<(String, Vec<Run>)>,
    axis: Vec<String>,
}

impl Chart {
    /// `nouns`: what one value is called, and several.
    fn of(title: &str, series: &Series, nouns: [&str; 2], width: usize) -> Chart {
        let points = series.points();
        let title = printable(title);
        let (Some(first), Some(last)) = (points.first(), points.last()) else {
            return Chart::empty(&format!("{title}  no {}", nouns[1]), width);
        };
        let values = || points.iter().map(|point| point.value);
        let (lowest, highest) = (
            values().fold(f64::INFINITY, f64::min),
            values().fold(f64::NEG_INFINITY, f64::max),
        );
        let noun = nouns[usize::from(series.count() != 1)];
        let range = if lowest == highest {
            compact(lowest)
        } else {
            format!("{}, last {}", range_text(lowest, highest), compact(last.value))
        };
        let title = format!("{title}  {range}  ({} {noun})", grouped(series.count()));
        let scale = Scale {
            from: first.time,
            to: last.time,
            lowest,
            highest,
        };
        Chart::framed(&title, &scale, width, |canvas| draw_line(canvas, &points, &scale))
    }

    fn empty(title: &str, width: usize) -> Chart {
        Chart {
            title: fitted(title, width),
            rows: Vec::new(),
            axis: Vec::new(),
        }
    }

    /// The axes of values and of time around what `paint` draws.
    fn framed(title: &str, scale: &Scale, width: usize, paint: impl FnOnce(&mut Canvas)) -> Chart {
        let axis = |indent, columns| time_axis(scale, indent, columns, width);
        Chart::with_axis(title, scale, width, axis, paint)
    }

    /// `axis` makes the lines below from the columns before the first one of the canvas and those of the canvas.
    fn with_axis(
        title: &str,
        scale: &Scale,
        width: usize,
        axis: impl FnOnce(usize, usize) -> Vec<String>,
        paint: impl FnOnce(&mut Canvas),
    ) -> Chart {
        let labels = value_labels(scale);
        let gutter = labels.iter().flatten().map(String::len).max().unwrap_or(0);
        let mut canvas = Canvas::new(width.saturating_sub(gutter + " ┤".chars().count()).max(1), ROWS);
        paint(&mut canvas);
        let rows = labels.iter().zip(canvas.lines()).map(|(label, runs)| {
            let (text, axis) = label.as_ref().map_or(("", '│'), |text| (text.as_str(), '┤'));
            (format!("{text:>gutter$} {axis}"), runs)
        });
        Chart {
            title: fitted(title, width),
            rows: rows.collect(),
            axis: axis(gutter + 1, canvas.width() / DOTS_ACROSS),
        }
    }

    fn print(&self, out: &mut Out) -> io::Result<()> {
        let title = out.tinted(Tint::Heading, &self.title);
        out.line(&title)?;
        for (axis, runs) in &self.rows {
            let mut line = out.tinted(Tint::Faint, axis);
            for run in runs {
                line += &out.tinted(if run.is_shade { Tint::Faint } else { Tint::Line }, &run.text);
            }
            out.line(&line)?;
        }
        for line in &self.axis {
            let line = out.tinted(Tint::Faint, line);
            out.line(&line)?;
        }
        Ok(())
    }
}

fn range_text(lowest: f64, highest: f64) -> String {
    match lowest == highest {
        true => compact(lowest),
        false => format!("{} to {}", compact(lowest), compact(highest)),
    }
}

/// From times and values to dots.
struct Scale {
    from: TimeMs,
    to: TimeMs,
    lowest: f64,
    highest: f64,
}

impl Scale {
    fn x(&self, time: TimeMs, dots: usize) -> usize {
        let (span, at) = (
            i128::from(self.to.0) - i128::from(self.from.0),
            i128::from(time.0) - i128::from(self.from.0),
        );
        if span == 0 {
            dots / 2
        } else {
            ((at * (dots as i128 - 1) + span / 2) / span) as usize
        }
    }

    fn y(&self, value: f64, dots: usize) -> usize {
        if self.lowest == self.highest {
            return dots / 2;
        }
        // Halved only where the range of two finite values is infinite: the smallest ones would vanish.
        let half = if (self.highest - self.lowest).is_finite() {
            1.0
        } else {
            0.5
        };
        let share = (value * half - self.lowest * half) / (self.highest * half - self.lowest * half);
        ((share * (dots - 1) as f64).round() as usize).min(dots - 1)
    }
}

/// What stands beside each row: round values, and the lowest and highest of all where there is room for them.
fn value_labels(scale: &Scale) -> Vec<Option<String>> {
    let mut labels = vec![None; ROWS];
    for (value, text) in value_marks(scale.lowest, scale.highest, ROWS / ROWS_PER_MARK) {
        labels[ROWS - 1 - scale.y(value, ROWS * DOTS_DOWN) / DOTS_DOWN].get_or_insert(text);
    }
    if scale.lowest < scale.highest {
        for (row, next, value) in [(0, 1, scale.highest), (ROWS - 1, ROWS - 2, scale.lowest)] {
            if labels[row].is_none() && labels[next].is_none() {
                labels[row] = Some(compact(value));
            }
        }
    }
    labels
}

/// Joins the points, save where the sensor paused.
fn draw_line(canvas: &mut Canvas, points: &[Point], scale: &Scale) {
    let longest = longest_interval(points);
    let mut previous: Option<(Point, (usize, usize))> = None;
    for point in points {
        let dot = (
            scale.x(point.time, canvas.width()),
            scale.y(point.value, canvas.height()),
        );
        match previous {
            Some((before, from)) if interval(before, *point) <= longest || dot.0 - from.0 <= 1 => {
                canvas.line(from, dot)
            }
            _ => canvas.dot(dot.0, dot.1),
        }
        previous = Some((*point, dot));
    }
}

fn interval(before: Point, after: Point) -> i64 {
    after.time.0.saturating_sub(before.time.0)
}

/// The longest time between two points that is no pause.
fn longest_interval(points: &[Point]) -> i64 {
    let intervals = points.windows(2).map(|pair| interval(pair[0], pair[1]));
    let mut intervals: Vec<i64> = intervals.filter(|interval| *interval > 0).collect();
    if intervals.is_empty() {
        return 0;
    }
    let middle = intervals.len() / 2;
    intervals.select_nth_unstable(middle).1.saturating_mul(GAP_INTERVALS)
}

/// The axis, the marks' texts, and the exact ends.
fn time_axis(scale: &Scale, indent: usize, columns: usize, width: usize) -> Vec<String> {
    let mut marks = time_marks(scale.from, scale.to, (columns / COLUMNS_PER_MARK).max(2));
    if scale.from == scale.to {
        marks.truncate(1);
    }
    let placed = marks
        .into_iter()
        .map(|(time, text)| (scale.x(time, columns * DOTS_ACROSS) / DOTS_ACROSS, text));
    let [axis, texts] = axis_lines(placed, indent, columns, width);
    let ends = if scale.from == scale.to {
        scale.from.to_string()
    } else {
        format!("{} to {}", scale.from, scale.to)
    };
    let room = width - indent.min(width);
    let long = format!("time (UTC): {ends}");
    let ends = if measure_text_width(&long) <= room {
        long
    } else {
        fitted(&ends, room)
    };
    vec![
        axis,
        texts,
        // Under the middle of the axis.
        format!("{}{ends}", " ".repeat(indent + (room - measure_text_width(&ends)) / 2)),
    ]
}

/// The axis with its marks, and their texts below; each mark stands in a column of the canvas.
fn axis_lines(
    marks: impl Iterator<Item = (usize, String)>,
    indent: usize,
    columns: usize,
    width: usize,
) -> [String; 2] {
    let mut axis = vec!['─'; columns];
    let mut texts = String::new();
    for (column, text) in marks {
        axis[column] = '┬';
        // Centred under its mark, but within the chart and clear of the one before.
        let start = (indent + 1 + column)
            .saturating_sub(text.len() / 2)
            .min(width.saturating_sub(text.len()));
        if texts.is_empty() || start > texts.len() {
            texts.push_str(&" ".repeat(start.saturating_sub(texts.len())));
            texts.push_str(&text);
        }
    }
    let axis: String = axis.into_iter().collect();
    [format!("{}└{axis}", " ".repeat(indent)), texts]
}

fn fitted(text: &str, width: usize) -> String {
    truncate_str(text, width, "…").into_owned()
}

#[cfg(test)]
mod tests;
