//! The checks of windows and sensor state, each on a store with empty tables.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use iotpipe::model::{
    Aggregate, Day, Kind, Load, LoadId, Loaded, MILLIS_PER_DAY, SensorId, SensorWrite, Sighting, Source, StateCell,
    StoredWindow, TimeMs, WindowCell, WindowKey, WindowsQuery,
};
use iotpipe::store::Store;

use super::checks::{NOON, a_source, all_of, new_sensor, permutations, readings, row, write_of};

fn key(time: i64, kind: &str, size_s: u32) -> WindowKey {
    WindowKey::of(Kind::new(kind), size_s, TimeMs(time))
}

/// Every field another value, and the larger the offset the smaller each: no rule about values can stand in for the offset.
fn an_aggregate(last_offset: i64) -> Aggregate {
    let value = |n: i64| (10 * (1 << 41) - 10 * last_offset + n) as f64;
    Aggregate {
        last_offset,
        count: (1 << 41) - last_offset,
        sum: value(1),
        mean: value(2),
        m2: value(3),
        min: value(4),
        max: value(5),
        first: value(6),
        first_at: TimeMs(NOON - last_offset),
        last: value(7),
        last_at: TimeMs(NOON + 1 - last_offset),
    }
}

fn a_cell(key: WindowKey, last_offset: i64) -> WindowCell {
    let aggregate = an_aggregate(last_offset);
    WindowCell { key, aggregate }
}

/// Larger bytes for smaller offsets, for the same reason.
fn a_state(last_offset: i64) -> StateCell {
    let bytes = (!last_offset).to_be_bytes().to_vec();
    StateCell { last_offset, bytes }
}

fn write_cells(sensor: SensorId, source: &Source, windows: Vec<WindowCell>, state: Option<StateCell>) -> SensorWrite {
    SensorWrite {
        source: Arc::new(source.clone()),
        windows,
        state,
        ..write_of(sensor, Vec::new())
    }
}

async fn load(store: &impl Store, sensor: SensorId, source: &Source, state: bool, keys: &[WindowKey]) -> Loaded {
    let load = Load {
        id: LoadId(42),
        sensor,
        source: Arc::new(source.clone()),
        state,
        windows: keys.to_vec(),
    };
    let mut loaded = store.load_all(&[load]).await.expect("loaded");
    assert_eq!(loaded.len(), 1);
    assert_eq!(loaded[0].id, LoadId(42));
    loaded.remove(0)
}

/// With the values as bits: NaN equals nothing, and -0.0 equals 0.0.
fn bits(aggregate: &Aggregate) -> [u64; 11] {
    [
        aggregate.last_offset.cast_unsigned(),
        aggregate.count.cast_unsigned(),
        aggregate.sum.to_bits(),
        aggregate.mean.to_bits(),
        aggregate.m2.to_bits(),
        aggregate.min.to_bits(),
        aggregate.max.to_bits(),
        aggregate.first.to_bits(),
        aggregate.first_at.0.cast_unsigned(),
        aggregate.last.to_bits(),
        aggregate.last_at.0.cast_unsigned(),
    ]
}

pub async fn the_cell_with_the_largest_offset_wins_in_every_order(store: &impl Store) {
    let source = a_source(0);
    let keys = [key(NOON, "light", 60), key(NOON, "light", 3600)];
    let offsets = [0, 1, 7, 1 << 32, 1 << 40];
    let write = |sensor, offset| {
        let windows = keys.iter().map(|key| a_cell(key.clone(), offset)).collect();
        write_cells(sensor, &source, windows, Some(a_state(offset)))
    };
    for order in permutations(&offsets) {
        let sensor = new_sensor();
        let mut largest = -1;
        // Each twice, the second time late: a replay, or a write that was held up.
        for offset in order.iter().chain(&order) {
            store.write(&write(sensor, *offset)).await.expect("written");
            largest = largest.max(*offset);
            let loaded = load(store, sensor, &source, true, &keys).await;
            assert_eq!(loaded.state, Some(a_state(largest).bytes), "{offset} of {order:?}");
            let expected = Some(an_aggregate(largest));
            assert_eq!(loaded.windows, [expected, expected], "{offset} of {order:?}");
        }
    }
}

pub async fn cells_that_are_written_at_once_end_in_the_largest_offset(store: &impl Store) {
    let source = a_source(0);
    let key = key(NOON, "light", 60);
    for _ in 0..10 {
        let sensor = new_sensor();
        // 48 and 7 have no divisor in common: all offsets, mixed up, each twice.
        let writes: Vec<SensorWrite> = (0..96)
            .map(|n| n * 7 % 48)
            .map(|offset| {
                write_cells(
                    sensor,
                    &source,
                    vec![a_cell(key.clone(), offset)],
                    Some(a_state(offset)),
                )
            })
            .collect();
        stream::iter(&writes)
            .map(|write| store.write(write))
            .buffer_unordered(16)
            .try_collect::<Vec<()>>()
            .await
            .expect("written");
        let loaded = load(store, sensor, &source, true, std::slice::from_ref(&key)).await;
        assert_eq!(loaded.state, Some(a_state(47).bytes));
        assert_eq!(loaded.windows, [Some(an_aggregate(47))]);
    }
}

pub async fn a_load_answers_what_was_written_and_none_for_the_rest(store: &impl Store) {
    let (sensor, neighbour) = (new_sensor(), new_sensor());
    // Texts of which one begins as another: no key may be looked up by a prefix.
    let sources = [a_source(1), a_source(10), a_source(2)];
    let times = [NOON - 2 * MILLIS_PER_DAY, NOON, NOON + MILLIS_PER_DAY];
    let mut keys: Vec<WindowKey> = Vec::new();
    for time in times {
        for kind in ["a", "ab", "é"] {
            keys.extend([1, 60, 86_400].map(|size_s| key(time, kind, size_s)));
            keys.push(key(time - 60_000, kind, 60));
        }
    }
    // More of one day than fit into one request.
    keys.extend((1..=150).map(|n| key(NOON + 60_000 * n, "a", 60)));
    // Without every third, and of each source others; the last source has none at all.
    let is_written = |n: usize, of_source: usize| !(n + of_source).is_multiple_of(3);
    let offset = |n: usize, of_source: usize| (n * 10 + of_source) as i64;
    for (of_source, source) in sources.iter().enumerate().take(2) {
        let cells = (0..keys.len()).filter(|n| is_written(*n, of_source));
        let cells: Vec<WindowCell> = cells.map(|n| a_cell(keys[n].clone(), offset(n, of_source))).collect();
        for cells in cells.chunks(7) {
            let write = write_cells(sensor, source, cells.to_vec(), None);
            store.write(&write).await.expect("written");
        }
        let state = Some(a_state(1_000 + of_source as i64));
        let write = write_cells(sensor, source, Vec::new(), state);
        store.write(&write).await.expect("a state alone is written");
    }

    for (of_source, source) in sources.iter().enumerate() {
        let is_there = of_source < 2;
        let expected: Vec<Option<Aggregate>> = (0..keys.len())
            .map(|n| (is_there && is_written(n, of_source)).then(|| an_aggregate(offset(n, of_source))))
            .collect();
        let loaded = load(store, sensor, source, true, &keys).await;
        assert_eq!(loaded.windows, expected, "{source}");
        let state = is_there.then(|| a_state(1_000 + of_source as i64).bytes);
        assert_eq!(loaded.state, state, "{source}");

        let backwards: Vec<WindowKey> = keys.iter().rev().cloned().collect();
        let loaded = load(store, sensor, source, false, &backwards).await;
        assert!(
            loaded.windows.iter().eq(expected.iter().rev()),
            "in the order of the question"
        );
        assert_eq!(loaded.state, None, "it was not asked for");
    }
    let loaded = load(store, neighbour, &sources[0], true, &keys).await;
    assert_eq!((loaded.state, loaded.windows), (None, vec![None; keys.len()]));
    let again = [keys[1].clone(), keys[0].clone(), keys[1].clone()];
    let loaded = load(store, sensor, &sources[0], false, &again).await;
    let expected = Some(an_aggregate(offset(1, 0)));
    assert_eq!(
        loaded.windows,
        [expected, None, expected],
        "a key may be asked for twice"
    );
    let loaded = load(store, sensor, &sources[0], true, &[]).await;
    assert_eq!(loaded.windows, []);
    assert!(loaded.state.is_some(), "a state alone is loaded");
}

pub async fn loads_of_several_sensors_at_once_are_each_answered(store: &impl Store) {
    let sources = [a_source(1), a_source(10), a_source(2)];
    let sensors: Vec<SensorId> = (0..25).map(|_| new_sensor()).collect();
    let times = [NOON, NOON + 3_600_000, NOON + MILLIS_PER_DAY];
    let keys_of = |time| {
        let sizes = [60, 3600].into_iter();
        sizes.flat_map(move |size_s| ["a", "ab"].map(|kind| key(time, kind, size_s)))
    };
    let keys: Vec<WindowKey> = times.into_iter().flat_map(keys_of).collect();
    // Of each sensor and source others, so that none can be taken for a neighbour's; some have nothing at all.
    let offset = |sensor: usize, source: usize, key: usize| (sensor * 1_000 + source * 100 + key) as i64;
    let has_window = |sensor: usize, source: usize, key: usize| !(sensor + 2 * source + key).is_multiple_of(3);
    let has_state = |sensor: usize, source: usize| !(sensor + source).is_multiple_of(4);
    for (n, sensor) in sensors.iter().enumerate() {
        for (of_source, source) in sources.iter().enumerate() {
            let cells = (0..keys.len()).filter(|key| n != 7 && has_window(n, of_source, *key));
            let cells = cells.map(|key| a_cell(keys[key].clone(), offset(n, of_source, key)));
            let state = has_state(n, of_source).then(|| a_state(offset(n, of_source, 99)));
            let write = write_cells(*sensor, source, cells.collect(), state);
            store.write(&write).await.expect("written");
        }
    }

    let mut loads = Vec::new();
    let mut expected = Vec::new();
    // Most are as a consumer's are: a state alone, or a few windows of one day. The rest is what may not be mixed up with them.
    for (round, of_source) in [0, 0, 1, 2, 0].into_iter().enumerate() {
        for (n, sensor) in sensors.iter().enumerate() {
            let (wants_state, of_day): (bool, Vec<usize>) = match (n + round) % 6 {
                0 | 1 => (true, vec![]),
                2 => (false, vec![n % 4]),
                3 => (false, vec![5, n % 5]),
                4 => (n % 2 == 0, vec![8 + n % 4, n % 8, 3]),
                _ => (n % 5 == 0, (0..keys.len()).rev().collect()),
            };
            let id = LoadId((1_000 - loads.len()) as u64);
            let window = |key: &usize| {
                let is_there = n != 7 && has_window(n, of_source, *key);
                is_there.then(|| an_aggregate(offset(n, of_source, *key)))
            };
            let is_there = wants_state && has_state(n, of_source);
            expected.push(Loaded {
                id,
                state: is_there.then(|| a_state(offset(n, of_source, 99)).bytes),
                windows: of_day.iter().map(window).collect(),
            });
            loads.push(Load {
                id,
                sensor: *sensor,
                source: Arc::new(sources[of_source].clone()),
                state: wants_state,
                windows: of_day.iter().map(|key| keys[*key].clone()).collect(),
            });
        }
    }
    for together in [1, 3, 10, loads.len()] {
        for (loads, expected) in loads.chunks(together).zip(expected.chunks(together)) {
            let mut loaded = store.load_all(loads).await.expect("loaded");
            // Ids go down.
            loaded.sort_by_key(|loaded| std::cmp::Reverse(loaded.id));
            assert_eq!(loaded, expected, "{together} at once");
        }
    }
    assert_eq!(store.load_all(&[]).await.expect("loaded"), []);
}

pub async fn cells_survive_to_the_bit(store: &impl Store) {
    let (sensor, source) = (new_sensor(), a_source(0));
    let nan = f64::from_bits(0x7ff8_0000_0000_0000);
    let awkward = [
        nan,
        -0.0,
        0.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        5e-324,
        f64::MAX,
        -1.0 / 3.0,
        9_007_199_254_740_993.0,
    ];
    let cells: Vec<WindowCell> = (0..awkward.len())
        .map(|n| {
            let value = |field: usize| awkward[(n + field) % awkward.len()];
            let aggregate = Aggregate {
                sum: value(0),
                mean: value(1),
                m2: value(2),
                min: value(3),
                max: value(4),
                first: value(5),
                last: value(6),
                ..an_aggregate(n as i64)
            };
            let key = key(NOON + 60_000 * n as i64, "x", 60);
            WindowCell { key, aggregate }
        })
        .collect();
    let bytes: Vec<u8> = (0..=255).collect();
    let state = StateCell { last_offset: 5, bytes };
    let write = write_cells(sensor, &source, cells.clone(), Some(state.clone()));
    store.write(&write).await.expect("written");

    let keys: Vec<WindowKey> = cells.iter().map(|cell| cell.key.clone()).collect();
    let loaded = load(store, sensor, &source, true, &keys).await;
    let expected: Vec<_> = cells.iter().map(|cell| Some(bits(&cell.aggregate))).collect();
    let seen: Vec<_> = loaded.windows.iter().map(|window| window.as_ref().map(bits)).collect();
    assert_eq!(seen, expected);
    assert_eq!(loaded.state, Some(state.bytes));
    let query = WindowsQuery {
        sensor,
        size_s: 60,
        range: TimeMs(NOON)..TimeMs(NOON + MILLIS_PER_DAY / 2),
        kind: None,
    };
    let seen: Vec<_> = windows(store, query)
        .await
        .iter()
        .map(|window| Some(bits(&window.aggregate)))
        .collect();
    assert_eq!(seen, expected);
}

/// So many readings and so many windows, a second and a minute apart, from some time before `middle` on.
fn a_large_write(sensor: SensorId, middle: i64, readings: usize, windows: usize) -> SensorWrite {
    let reading = |n| row(middle - 30_000 + 1_000 * n, "voltage", n as f64, NOON);
    let window = |n| a_cell(key(middle - 20 * 60_000 + 60_000 * n, "voltage", 60), n);
    SensorWrite {
        rows: (0..readings as i64).map(reading).collect(),
        windows: (0..windows as i64).map(window).collect(),
        state: Some(a_state(readings as i64)),
        ..write_of(sensor, Vec::new())
    }
}

pub async fn a_write_may_have_any_number_of_readings_and_windows(store: &impl Store) {
    let few = [0, 1, 2, 9];
    let few = few.iter().flat_map(|rows| few.map(|cells| (*rows, cells)));
    // Around the sizes of batches, whatever shape has been seen before.
    let large = [
        (50, 32),
        (51, 0),
        (51, 1),
        (50, 33),
        (64, 64),
        (65, 0),
        (65, 65),
        (0, 130),
        (1, 300),
        (400, 3),
    ];
    for (rows, cells) in few.chain(large) {
        // Within a day and over midnight.
        for middle in [NOON, TimeMs(NOON).day().start().0] {
            let sensor = new_sensor();
            let write = a_large_write(sensor, middle, rows, cells);
            store.write(&write).await.expect("written");

            assert_eq!(readings(store, all_of(sensor)).await.len(), rows, "{rows} and {cells}");
            let keys: Vec<WindowKey> = write.windows.iter().map(|cell| cell.key.clone()).collect();
            let loaded = load(store, sensor, &write.source, true, &keys).await;
            let expected: Vec<_> = write.windows.iter().map(|cell| Some(cell.aggregate)).collect();
            assert_eq!(loaded.windows, expected, "{rows} and {cells}");
            assert_eq!(loaded.state, write.state.map(|state| state.bytes));
        }
    }
}

/// Whatever shares a request: small and large ones, with and without rows, windows, state and sighting, over midnight too.
pub async fn writes_of_several_sensors_at_once_are_each_stored_whole(store: &impl Store) {
    let midnight = TimeMs(NOON).day().start().0;
    let shapes = [
        (1, 2),
        (1, 0),
        (0, 1),
        (0, 0),
        (3, 2),
        (1, 2),
        (14, 2),
        (60, 2),
        (1, 2),
        (2, 40),
    ];
    for round in 0..6_usize {
        let writes: Vec<SensorWrite> = (0..23)
            .map(|n| {
                let (rows, cells) = shapes[(n + round) % shapes.len()];
                let middle = if (n + round) % 7 == 0 { midnight } else { NOON };
                let sensor = new_sensor();
                let mut write = a_large_write(sensor, middle, rows, cells);
                write.state = write.state.filter(|_| (n + round) % 3 != 0);
                write.sighting = (n % 2 == 0).then(|| {
                    Box::new(Sighting {
                        label: Some(Arc::from(format!("sensor {n}"))),
                        status: None,
                        location: None,
                        first_day: TimeMs(NOON).day(),
                        last_day: TimeMs(NOON).day(),
                        last_values: BTreeMap::new(),
                    })
                });
                write
            })
            .collect();
        store.write_all(&writes).await.expect("written");

        for (n, write) in writes.iter().enumerate() {
            let sensor = write.sensor;
            let mut expected = write.rows.clone();
            expected.sort_by_key(|row| row.time);
            let found = readings(store, all_of(sensor)).await;
            let found: Vec<_> = found.iter().map(|row| (row.time, row.value)).collect();
            let expected: Vec<_> = expected.iter().map(|row| (row.time, row.value)).collect();
            assert_eq!(found, expected, "readings of write {n} of round {round}");
            let keys: Vec<WindowKey> = write.windows.iter().map(|cell| cell.key.clone()).collect();
            let loaded = load(store, sensor, &write.source, true, &keys).await;
            let expected: Vec<_> = write.windows.iter().map(|cell| Some(cell.aggregate)).collect();
            assert_eq!(loaded.windows, expected, "windows of write {n} of round {round}");
            assert_eq!(
                loaded.state,
                write.state.as_ref().map(|state| state.bytes.clone()),
                "write {n} of round {round}"
            );
            let label = store.sensor(sensor).await.expect("asked").and_then(|row| row.label);
            let said = write.sighting.as_ref().and_then(|sighting| sighting.label.as_ref());
            assert_eq!(
                label.as_deref(),
                said.map(|label| &**label),
                "sighting of write {n} of round {round}"
            );
        }
    }
}

async fn windows(store: &impl Store, query: WindowsQuery) -> Vec<StoredWindow> {
    store.windows(query).try_collect().await.expect("windows are read")
}

/// Windows of one sensor as the store promises to order them.
type Expected = BTreeMap<(Day, Kind, TimeMs, String), StoredWindow>;

fn expect(expected: &mut Expected, source: &Source, cell: &WindowCell) {
    let WindowKey { kind, start, .. } = &cell.key;
    let window = StoredWindow {
        key: cell.key.clone(),
        source: source.to_string(),
        aggregate: cell.aggregate,
    };
    let place = (cell.key.day(), kind.clone(), *start, source.to_string());
    assert_eq!(expected.insert(place, window), None);
}

pub async fn windows_come_by_day_kind_start_and_source(store: &impl Store) {
    const HOUR_MS: i64 = 3_600_000;
    let (sensor, neighbour) = (new_sensor(), new_sensor());
    let midnight = TimeMs(NOON).day().start().0;
    let (mut hours, mut minutes) = (Expected::new(), Expected::new());
    // As text 10 comes before 2.
    for (n, source) in [a_source(2), a_source(10)].iter().enumerate() {
        for kind in ["light", "humidity", "temperature"] {
            // Not every source has every hour.
            let starts = (-30..30_i64).step_by(n + 2).map(|hour| midnight + hour * HOUR_MS);
            for start in starts {
                let (hour, minute) = (
                    a_cell(key(start, kind, 3600), start / HOUR_MS),
                    a_cell(key(start, kind, 60), 5),
                );
                expect(&mut hours, source, &hour);
                expect(&mut minutes, source, &minute);
                for sensor in [sensor, neighbour] {
                    let write = write_cells(sensor, source, vec![hour.clone(), minute.clone()], None);
                    store.write(&write).await.expect("written");
                }
            }
        }
    }
    let first = midnight - 30 * HOUR_MS;
    let ranges: [Range<i64>; 9] = [
        first..midnight + 30 * HOUR_MS,
        first + 1..midnight + 28 * HOUR_MS,
        midnight - 2 * HOUR_MS..midnight,
        midnight - 2 * HOUR_MS..midnight + 1,
        midnight..midnight + 1,
        midnight + 1..midnight + 2 * HOUR_MS,
        midnight + 2 * HOUR_MS..midnight + 2 * HOUR_MS,
        midnight + 4 * HOUR_MS..midnight,
        midnight + 40 * MILLIS_PER_DAY..midnight + 41 * MILLIS_PER_DAY,
    ];
    for range in ranges {
        for (size_s, all) in [(3600, &hours), (60, &minutes), (300, &Expected::new())] {
            for kind in [None, Some("light"), Some("nothing of that name")] {
                let query = WindowsQuery {
                    sensor,
                    size_s,
                    range: TimeMs(range.start)..TimeMs(range.end),
                    kind: kind.map(Kind::new),
                };
                let expected: Vec<StoredWindow> = all
                    .values()
                    .filter(|window| range.contains(&window.key.start.0))
                    .filter(|window| kind.is_none_or(|kind| window.key.kind.as_str() == kind))
                    .cloned()
                    .collect();
                assert_eq!(windows(store, query.clone()).await, expected, "{query:?}");
            }
        }
    }
}

pub async fn answers_of_windows_are_longer_than_a_page(store: &impl Store) {
    let (sensor, source) = (new_sensor(), a_source(0));
    let midnight = TimeMs(NOON).day().start().0;
    let mut expected = Expected::new();
    let mut writes = Vec::new();
    for kind in ["a", "b"] {
        let cells: Vec<WindowCell> = (0..4_000)
            .map(|n| a_cell(key(midnight + 10_000 * n, kind, 10), n))
            .collect();
        cells.iter().for_each(|cell| expect(&mut expected, &source, cell));
        writes.extend(
            cells
                .chunks(64)
                .map(|cells| write_cells(sensor, &source, cells.to_vec(), None)),
        );
    }
    stream::iter(&writes)
        .map(|write| store.write(write))
        .buffer_unordered(16)
        .try_collect::<Vec<()>>()
        .await
        .expect("written");
    let query = WindowsQuery {
        sensor,
        size_s: 10,
        range: TimeMs(midnight)..TimeMs(midnight + MILLIS_PER_DAY),
        kind: None,
    };
    let expected: Vec<StoredWindow> = expected.into_values().collect();
    assert_eq!(windows(store, query.clone()).await, expected);
    // Somebody who has seen enough leaves nothing behind that is in the way of the next one.
    for _ in 0..20 {
        let first: Vec<_> = store.windows(query.clone()).take(1).try_collect().await.expect("read");
        assert_eq!(first, expected[..1]);
    }
}
