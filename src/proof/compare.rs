//! One sensor's rows of the store beside those that it must have, day by day.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::TryStreamExt;
use futures::stream::BoxStream;

use super::expected::{Episode, Expected, ReadingKey, Totals, WindowPlace};
use super::verify::{Difference, Tally, VerifyError, What};
use crate::model::{
    Aggregate, Day, Kind, Order, ReadingsQuery, SensorId, StoredReading, StoredWindow, TimeMs, WindowSize,
    WindowsQuery, window_start,
};
use crate::store::{Store, StoreError};

/// Where windows are made of parts of several sources, their sums may differ by the order of addition.
const MERGED_TOLERANCE: f64 = 1e-9;

/// What the comparison of one sensor found.
#[derive(Default)]
pub struct Compared {
    pub records: u64,
    pub readings: Tally,
    pub windows: Tally,
    /// The first, by time.
    pub differences: Vec<Difference>,
    /// Anomalies that the sensor's readings had.
    pub episodes: Vec<Episode>,
}

/// Compares all that lies in the range, which holds all that the sensor sent. Counts the readings in `progress`.
pub async fn compare<S: Store>(
    store: &S,
    (sensor, range): (SensorId, Range<TimeMs>),
    mut expected: Expected<'_>,
    (sizes_s, differences_max): (&[u32], usize),
    progress: &AtomicU64,
) -> Result<Compared, VerifyError> {
    let mut found = Comparison {
        sensor,
        room_of_day: differences_max,
        room: differences_max,
        of_day: Vec::new(),
        compared: Compared::default(),
    };
    let mut readings = Readings {
        stored: store.readings(ReadingsQuery {
            sensor,
            range: range.clone(),
            kind: None,
            order: Order::OldestFirst,
            limit: None,
        }),
        found: None,
        wanted: expected.next(),
    };
    readings.found = readings.stored.try_next().await?;
    for day in Day::of_range(&range) {
        found
            .readings_of_day(&mut readings, &mut expected, day, progress)
            .await?;
        // Readings must not take the room of the day's windows, which may come before them by time.
        found.room = found.room_of_day;
        let mut windows = expected.take_windows(day);
        for &size_s in sizes_s {
            let first = window_start(size_s, range.start).max(day.start());
            let query = WindowsQuery {
                sensor,
                size_s,
                range: first..range.end.min(day.next().start()),
                kind: None,
            };
            found.windows(store.windows(query), &mut windows).await?;
        }
        for (place, wanted) in windows {
            found.window(&place, Some(wanted), None);
        }
        found.end_day();
    }
    found.compared.records = expected.records;
    found.compared.episodes = expected.episodes;
    Ok(found.compared)
}

/// Both sides, in the order of time and kind; one row of each at a time.
struct Readings<'s> {
    stored: BoxStream<'s, Result<StoredReading, StoreError>>,
    found: Option<StoredReading>,
    wanted: Option<(ReadingKey, f64)>,
}

/// Where one sensor's comparison stands.
struct Comparison {
    sensor: SensorId,
    /// Differences that may be told of the day, and of them those that still may of the kind of row at hand.
    room_of_day: usize,
    room: usize,
    of_day: Vec<Difference>,
    compared: Compared,
}

impl Comparison {
    fn differs(&mut self, row: &str, (time, kind): (TimeMs, &Kind), what: What, texts: [Option<String>; 2]) {
        if self.room == 0 {
            return;
        }
        self.room -= 1;
        let [expected, found] = texts;
        self.of_day.push(Difference {
            sensor: self.sensor,
            time,
            kind: kind.clone(),
            row: row.to_owned(),
            what,
            expected,
            found,
        });
    }

    fn end_day(&mut self) {
        self.room = self.room_of_day;
        self.of_day
            .sort_by(|a, b| a.time.cmp(&b.time).then_with(|| a.row.cmp(&b.row)));
        self.of_day.truncate(self.room);
        self.room -= self.of_day.len();
        self.room_of_day = self.room;
        self.compared.differences.append(&mut self.of_day);
    }

    async fn readings_of_day(
        &mut self,
        readings: &mut Readings<'_>,
        expected: &mut Expected<'_>,
        day: Day,
        progress: &AtomicU64,
    ) -> Result<(), VerifyError> {
        let end = day.next().start();
        loop {
            let wanted = readings.wanted.as_ref().filter(|((time, _), _)| *time < end);
            let found = readings.found.as_ref().filter(|row| row.time < end);
            let order = match (wanted, found) {
                (None, None) => return Ok(()),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(((time, kind), _)), Some(row)) => (time, kind).cmp(&(&row.time, &row.kind)),
            };
            self.reading(wanted.filter(|_| order.is_le()), found.filter(|_| order.is_ge()));
            progress.fetch_add(1, Ordering::Relaxed);
            if order.is_le() {
                readings.wanted = expected.next();
            }
            if order.is_ge() {
                readings.found = readings.stored.try_next().await?;
            }
        }
    }

    /// One place, with what should be there and what is.
    fn reading(&mut self, wanted: Option<&(ReadingKey, f64)>, found: Option<&StoredReading>) {
        let tally = &mut self.compared.readings;
        tally.expected += u64::from(wanted.is_some());
        let Some(what) = (match (wanted, found) {
            (Some((_, wanted)), Some(found)) if wanted.to_bits() == found.value.to_bits() => None,
            (Some(_), Some(_)) => Some(What::Different),
            (Some(_), None) => Some(What::Missing),
            (None, _) => Some(What::Unexpected),
        }) else {
            tally.equal += 1;
            return;
        };
        tally.count(what);
        let texts = [
            wanted.map(|(_, value)| value.to_string()),
            found.map(|row| row.value.to_string()),
        ];
        let place = wanted
            .map(|((time, kind), _)| (*time, kind))
            .or(found.map(|row| (row.time, &row.kind)));
        if let Some((time, kind)) = place {
            self.differs("reading", (time, kind), what, texts);
        }
    }

    /// The parts that sources have of one window lie beside each other. What was expected is taken from `expected`.
    async fn windows(
        &mut self,
        mut stored: BoxStream<'_, Result<StoredWindow, StoreError>>,
        expected: &mut BTreeMap<WindowPlace, Totals>,
    ) -> Result<(), VerifyError> {
        let mut whole: Option<(WindowPlace, Aggregate, u32)> = None;
        loop {
            let part = stored.try_next().await?;
            let place = part
                .as_ref()
                .map(|part| (part.key.size_s, part.key.kind.clone(), part.key.start));
            if let (Some(part), Some((known, aggregate, sources))) = (&part, &mut whole)
                && place.as_ref() == Some(known)
            {
                *aggregate = aggregate.merged(&part.aggregate);
                *sources += 1;
                continue;
            }
            if let Some((place, aggregate, sources)) = whole {
                let wanted = expected.remove(&place);
                self.window(&place, wanted, Some((aggregate, sources)));
            }
            let (Some(place), Some(part)) = (place, part) else {
                return Ok(());
            };
            whole = Some((place, part.aggregate, 1));
        }
    }

    /// `found` with the number of sources that it comes from.
    fn window(&mut self, place: &WindowPlace, wanted: Option<Totals>, found: Option<(Aggregate, u32)>) {
        let tally = &mut self.compared.windows;
        tally.expected += u64::from(wanted.is_some());
        let is = found.map(|(aggregate, _)| Totals::from(&aggregate));
        let what = match (&wanted, &is) {
            (Some(wanted), Some(is)) if is_equal(wanted, is, found.map_or(1, |(_, sources)| sources)) => {
                tally.equal += 1;
                return;
            }
            (Some(_), Some(_)) => What::Different,
            (Some(_), None) => What::Missing,
            (None, _) => What::Unexpected,
        };
        tally.count(what);
        let texts = match (wanted, is) {
            (Some(wanted), Some(is)) => wanted.differing(&is).map(Some),
            (wanted, is) => [wanted, is].map(|side| side.map(|totals| totals.to_string())),
        };
        let (size_s, kind, start) = place;
        self.differs(&format!("window {}", WindowSize(*size_s)), (*start, kind), what, texts);
    }
}

/// To the bit; where several sources were merged, sums within a tolerance.
fn is_equal(wanted: &Totals, is: &Totals, sources: u32) -> bool {
    if sources == 1 {
        return wanted.is_same(is);
    }
    let near = |a: f64, b: f64| (a - b).abs() <= MERGED_TOLERANCE * a.abs().max(b.abs()).max(1.0);
    let with_sums_of_other = Totals {
        sum: is.sum,
        mean: is.mean,
        m2: is.m2,
        ..*wanted
    };
    near(wanted.sum, is.sum) && near(wanted.mean, is.mean) && near(wanted.m2, is.m2) && with_sums_of_other.is_same(is)
}
