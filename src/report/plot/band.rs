//! Windows over time: the line of their means in the band between their least and greatest readings.

use std::io;

use super::series::{Point, Series};
use super::{Canvas, Chart, Scale, draw_line, interval, longest_interval, range_text};
use crate::model::{Aggregate, TimeMs, WindowSize};
use crate::report::number::grouped;
use crate::report::out::{Out, printable};

/// Takes windows of one size and measure in any order, in bounded memory.
#[derive(Clone, Debug)]
pub struct Band {
    size_s: u32,
    means: Series,
    lows: Series,
    highs: Series,
}

impl Band {
    /// For windows of that size, seconds.
    pub fn new(size_s: u32) -> Band {
        Band {
            size_s,
            means: Series::default(),
            lows: Series::default(),
            highs: Series::default(),
        }
    }

    /// A window stands at its start. A mean that overflowed has no place in the line.
    pub fn push(&mut self, start: TimeMs, aggregate: &Aggregate) {
        self.means.push(start, aggregate.mean);
        self.lows.push(start, aggregate.min);
        self.highs.push(start, aggregate.max);
    }
}

/// Draws one chart under its title. A band without windows is a line that says so.
pub fn draw_band(out: &mut Out, title: &str, band: &Band) -> io::Result<()> {
    chart(title, band, out.width()).print(out)
}

fn chart(title: &str, band: &Band, width: usize) -> Chart {
    let title = printable(title);
    let (means, lows, highs) = (band.means.points(), band.lows.points(), band.highs.points());
    let (Some(first), Some(last)) = (lows.first(), lows.last()) else {
        return Chart::empty(&format!("{title}  no windows"), width);
    };
    let lowest = |points: &[Point]| points.iter().map(|point| point.value).fold(f64::INFINITY, f64::min);
    let highest = |points: &[Point]| points.iter().map(|point| point.value).fold(f64::NEG_INFINITY, f64::max);
    let scale = Scale {
        from: first.time,
        to: last.time,
        lowest: lowest(&lows),
        highest: highest(&highs),
    };
    // Short enough for six digits each in 80 columns.
    let title = format!(
        "{title}  mean {}, ░ {}  ({} × {})",
        range_text(lowest(&means), highest(&means)),
        range_text(scale.lowest, scale.highest),
        grouped(band.lows.count()),
        WindowSize(band.size_s),
    );
    Chart::framed(&title, &scale, width, |canvas| {
        shade(canvas, &lows, &highs, &scale);
        draw_line(canvas, &means, &scale);
    })
}

/// Between the lowest and the highest value of each column of dots, save where the sensor paused.
fn shade(canvas: &mut Canvas, lows: &[Point], highs: &[Point], scale: &Scale) {
    let lows = edge(canvas, lows, scale, usize::min);
    let highs = edge(canvas, highs, scale, usize::max);
    for (x, (low, high)) in lows.into_iter().zip(highs).enumerate() {
        if let (Some(low), Some(high)) = (low, high) {
            canvas.shade(x, low, high);
        }
    }
}

/// The line through the points as one dot a column, of several the one that `outer` picks.
fn edge(canvas: &Canvas, points: &[Point], scale: &Scale, outer: fn(usize, usize) -> usize) -> Vec<Option<usize>> {
    let longest = longest_interval(points);
    let mut edge: Vec<Option<usize>> = vec![None; canvas.width()];
    let mut reach = |x: usize, y: usize| edge[x] = Some(edge[x].map_or(y, |before| outer(before, y)));
    let mut previous: Option<(Point, (usize, usize))> = None;
    for point in points {
        let (x, y) = (
            scale.x(point.time, canvas.width()),
            scale.y(point.value, canvas.height()),
        );
        reach(x, y);
        if let Some((before, (from_x, from_y))) = previous
            && interval(before, *point) <= longest
        {
            for between in from_x + 1..x {
                let (after, before) = (between - from_x, x - between);
                reach(between, (from_y * before + y * after) / (x - from_x));
            }
        }
        previous = Some((*point, (x, y)));
    }
    edge
}
