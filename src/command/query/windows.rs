//! Windows of one sensor: stored ones put together, of all sources and into the size asked for.
//!
//! Day by day, since no window reaches over midnight (UTC): a day's windows are in memory, and a few days ahead.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;

use anyhow::Context;
use futures::{Stream, StreamExt, TryStreamExt};

use super::question::{Question, WindowsAsked};
use super::{cut, find, name, name_missing_kind, newest};
use crate::model::{
    Day, Kind, Order, SensorRow, StoredWindow, TimeMs, WindowCell, WindowKey, WindowSize, WindowsQuery,
};
use crate::report::plot::{self, Band};
use crate::report::{Format, Out, WindowLine, WindowTotal, Windows, window_totals};
use crate::store::{Store, StoreError};

/// Days read at a time: enough to hide the latency of a long range.
const DAYS_IN_FLIGHT: usize = 4;

pub async fn print(store: &impl Store, out: &mut Out, question: &Question, asked: &WindowsAsked) -> anyhow::Result<()> {
    let row = find(store, out, &asked.sensor).await?;
    let days = row.as_ref().map(|row| Days::of(row, question, asked));
    if asked.is_plot {
        let (Some(row), Some(days)) = (row, days) else {
            return Ok(());
        };
        let count = draw(store, out, question, asked, &days).await?;
        return explain(out, question, asked, &row, count);
    }
    let mut windows = Windows::begin(out, question.format)?;
    let (Some(row), Some(days)) = (row, days) else {
        return Ok(windows.finish(out)?);
    };
    let newest = newest(store, &row).await.with_context(|| failed(asked))?;
    // Totals are for a person: a program sees every window, and no more is read for it than it asked for.
    let has_totals = question.format == Format::Table;
    let (mut totals, mut count) = (Totals::default(), 0);
    let mut by_day = days.windows(store, asked.order);
    while let Some(of_day) = by_day.try_next().await.with_context(|| failed(asked))? {
        if !has_totals && question.is_full(count) {
            break;
        }
        totals.add(&of_day);
        for window in in_order(&of_day, asked.order) {
            if !question.is_full(count) {
                let is_open = newest.is_none_or(|newest| window.key.end() > newest);
                windows.row(
                    out,
                    &WindowLine {
                        sensor: row.sensor,
                        window,
                        is_open,
                    },
                )?;
                count += 1;
            }
        }
    }
    windows.finish(out)?;
    if has_totals {
        window_totals(out, &totals.by_kind())?;
    }
    explain(out, question, asked, &row, count)
}

async fn draw(
    store: &impl Store,
    out: &mut Out,
    question: &Question,
    asked: &WindowsAsked,
    days: &Days,
) -> anyhow::Result<u64> {
    let mut bands: BTreeMap<Kind, Band> = BTreeMap::new();
    let mut count = 0;
    let mut by_day = days.windows(store, asked.order);
    while !question.is_full(count)
        && let Some(of_day) = by_day.try_next().await.with_context(|| failed(asked))?
    {
        for window in in_order(&of_day, asked.order) {
            if !question.is_full(count) {
                let band = bands
                    .entry(window.key.kind.clone())
                    .or_insert_with(|| Band::new(asked.size_s));
                band.push(window.key.start, &window.aggregate);
                count += 1;
            }
        }
    }
    for (index, (kind, band)) in bands.iter().enumerate() {
        if index > 0 {
            out.line("")?;
        }
        plot::draw_band(out, kind.as_str(), band)?;
    }
    Ok(count)
}

/// What is asked of the store, a query a day.
struct Days {
    query: WindowsQuery,
    size_s: u32,
}

impl Days {
    /// Windows that any time of the range lies in, on the days on which the sensor has readings.
    fn of(row: &SensorRow, question: &Question, asked: &WindowsAsked) -> Days {
        let newest_day = || row.last_day.start()..row.days().end;
        let range = asked.range.clone().unwrap_or_else(newest_day);
        let Range { start, end } = cut(&range, &row.days());
        // The first and the last window are whole, with all the stored ones that they are made of.
        let of = |time| WindowKey::of(Kind::new(""), asked.size_s, time);
        let range = match start < end {
            true => of(start).start..of(TimeMs(end.0 - 1)).end(),
            false => start..start,
        };
        let query = WindowsQuery {
            sensor: row.sensor,
            size_s: asked.stored_s,
            range,
            kind: question.kind.clone(),
        };
        let size_s = asked.size_s;
        Days { query, size_s }
    }

    fn windows<'a>(
        &'a self,
        store: &'a impl Store,
        order: Order,
    ) -> impl Stream<Item = Result<BTreeMap<(TimeMs, Kind), WindowCell>, StoreError>> + Unpin + 'a {
        let Range { start, end } = self.query.range;
        let days = Day::of_range(&self.query.range);
        let days: Box<dyn Iterator<Item = Day> + Send> = match order {
            Order::OldestFirst => Box::new(days),
            Order::NewestFirst => Box::new(days.rev()),
        };
        let day = move |day: Day| {
            let range = start.max(day.start())..end.min(day.next().start());
            let query = WindowsQuery {
                range,
                ..self.query.clone()
            };
            async move { Ok(merged(store.windows(query).try_collect().await?, self.size_s)) }
        };
        Box::pin(futures::stream::iter(days.map(day)).buffered(DAYS_IN_FLIGHT))
    }
}

/// Puts the parts of each window together in a fixed order, by source, then by start: the same rows make the same bits.
fn merged(mut parts: Vec<StoredWindow>, size_s: u32) -> BTreeMap<(TimeMs, Kind), WindowCell> {
    parts.sort_by(|one, other| (&one.source, one.key.start).cmp(&(&other.source, other.key.start)));
    let mut windows: BTreeMap<(TimeMs, Kind), WindowCell> = BTreeMap::new();
    for part in parts {
        let key = WindowKey::of(part.key.kind, size_s, part.key.start);
        windows
            .entry((key.start, key.kind.clone()))
            .and_modify(|window| window.aggregate = window.aggregate.merged(&part.aggregate))
            .or_insert(WindowCell {
                key,
                aggregate: part.aggregate,
            });
    }
    windows
}

/// By start in the order asked for, then by kind.
fn in_order(
    windows: &BTreeMap<(TimeMs, Kind), WindowCell>,
    order: Order,
) -> Box<dyn Iterator<Item = &WindowCell> + '_> {
    match order {
        Order::OldestFirst => Box::new(windows.values()),
        Order::NewestFirst => {
            let mut newest_first: Vec<&WindowCell> = windows.values().collect();
            // Stable: the kinds of one start stay in their order.
            newest_first.sort_by_key(|window| std::cmp::Reverse(window.key.start));
            Box::new(newest_first.into_iter())
        }
    }
}

/// All windows as one a kind. Days are kept apart until the end, so that the order of reading changes no bit.
#[derive(Default)]
struct Totals(BTreeMap<(Kind, Day), WindowTotal>);

impl Totals {
    fn add(&mut self, of_day: &BTreeMap<(TimeMs, Kind), WindowCell>) {
        for WindowCell { key, aggregate } in of_day.values() {
            let total = WindowTotal {
                kind: key.kind.clone(),
                from: key.start,
                to: key.end(),
                windows: 1,
                aggregate: *aggregate,
            };
            self.0
                .entry((key.kind.clone(), key.day()))
                .and_modify(|before| *before = with(before, &total))
                .or_insert(total);
        }
    }

    fn by_kind(self) -> Vec<WindowTotal> {
        let mut by_kind: Vec<WindowTotal> = Vec::new();
        for ((kind, _), total) in self.0 {
            match by_kind.last_mut() {
                Some(before) if before.kind == kind => *before = with(before, &total),
                _ => by_kind.push(total),
            }
        }
        by_kind
    }
}

fn with(before: &WindowTotal, after: &WindowTotal) -> WindowTotal {
    WindowTotal {
        kind: before.kind.clone(),
        from: before.from,
        to: after.to,
        windows: before.windows + after.windows,
        aggregate: before.aggregate.merged(&after.aggregate),
    }
}

/// Notes why a result is empty, or that there is more than was asked for without being asked.
fn explain(
    out: &mut Out,
    question: &Question,
    asked: &WindowsAsked,
    row: &SensorRow,
    count: u64,
) -> anyhow::Result<()> {
    // What was found comes first where both go to a terminal.
    out.flush()?;
    let name = name(&asked.sensor);
    if count == 0 && !name_missing_kind(out, question, &name, row) {
        out.note(&format!(
            "no such windows of sensor {name}, put together from those of {}; it has readings from {} to {} (UTC)",
            WindowSize(asked.stored_s),
            row.first_day,
            row.last_day
        ));
    }
    question.note_default_limit(out, count, "windows");
    Ok(())
}

fn failed(asked: &WindowsAsked) -> String {
    format!("reading the windows of sensor {}", name(&asked.sensor))
}
