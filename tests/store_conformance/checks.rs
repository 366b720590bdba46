//! The checks, each on a store with empty tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use iotpipe::model::{
    AlertsQuery, Day, Kind, LedgerEntry, Location, MILLIS_PER_DAY, Order, ProcessingConfig, ReadingRow, ReadingsQuery,
    SensorId, SensorRow, SensorWrite, Sighting, Source, StoredReading, TimeMs, TopicId, WindowsQuery, WriteId,
    newer_cell,
};
use iotpipe::store::Store;
use proptest::prelude::{Strategy, any};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use uuid::Uuid;

/// 2024-11-19, somewhere in the afternoon.
pub(super) const NOON: i64 = 20_046 * MILLIS_PER_DAY + 43_200_000;

/// Doubles that something on the way may take for something else.
const AWKWARD: [f64; 16] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    5e-324,
    -5e-324,
    f64::MIN_POSITIVE,
    f64::MIN_POSITIVE / 3.0,
    f64::MAX,
    f64::MIN,
    f64::EPSILON,
    0.1,
    1.0 / 3.0,
    9_007_199_254_740_993.0,
    -9_223_372_036_854_775_808.0,
    23.456_789_012_345_678,
];

pub(super) fn new_sensor() -> SensorId {
    SensorId(Uuid::new_v4())
}

pub(super) fn row(time: i64, kind: &str, value: f64, timestamp: i64) -> ReadingRow {
    ReadingRow {
        time: TimeMs(time),
        kind: Kind::new(kind),
        value,
        timestamp: TimeMs(timestamp),
    }
}

pub(super) fn write_of(sensor: SensorId, rows: Vec<ReadingRow>) -> SensorWrite {
    SensorWrite {
        id: WriteId(1),
        partition: 0,
        sensor,
        source: Arc::new(a_source(0)),
        rows,
        windows: Vec::new(),
        state: None,
        sighting: None,
    }
}

pub(super) fn all_of(sensor: SensorId) -> ReadingsQuery {
    let range = TimeMs(NOON - 10 * MILLIS_PER_DAY)..TimeMs(NOON + 10 * MILLIS_PER_DAY);
    ReadingsQuery {
        sensor,
        range,
        kind: None,
        order: Order::OldestFirst,
        limit: None,
    }
}

pub(super) async fn readings(store: &impl Store, query: ReadingsQuery) -> Vec<StoredReading> {
    store.readings(query).try_collect().await.expect("readings are read")
}

/// With the values as bits: -0.0 equals 0.0, which hides what is looked for.
fn bits(readings: &[StoredReading]) -> Vec<(i64, String, u64)> {
    readings
        .iter()
        .map(|reading| (reading.time.0, reading.kind.to_string(), reading.value.to_bits()))
        .collect()
}

pub(super) fn permutations<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let with_first = |index: usize| {
        let mut rest = items.to_vec();
        let first = rest.remove(index);
        permutations(&rest)
            .into_iter()
            .map(move |tail| [vec![first.clone()], tail].concat())
    };
    (0..items.len()).flat_map(with_first).collect()
}

/// Reads as the store promises to: a map of the newest cells.
fn expected_rows(rows: &[ReadingRow]) -> Vec<StoredReading> {
    let mut cells: BTreeMap<(TimeMs, Kind), (TimeMs, f64)> = BTreeMap::new();
    for row in rows {
        let new = (row.timestamp, row.value);
        let cell = cells.entry((row.time, row.kind.clone())).or_insert(new);
        if newer_cell(new, *cell) {
            *cell = new;
        }
    }
    cells
        .into_iter()
        .map(|((time, kind), (_, value))| StoredReading { time, kind, value })
        .collect()
}

pub async fn the_newer_cell_wins_in_every_order(store: &impl Store) {
    let later = NOON + 60_000;
    let rows = [
        row(NOON, "light", 9.0, later - 1),
        row(NOON, "light", 3.0, later),
        row(NOON, "light", 0.0, later),
        row(NOON, "light", -0.0, later),
        row(NOON, "light", 500.0, NOON),
    ];
    let expected = bits(&expected_rows(&rows));
    assert_eq!(
        expected[0].2,
        (-0.0_f64).to_bits(),
        "the largest bytes of the latest timestamp"
    );
    for order in permutations(&rows) {
        let (one_by_one, at_once) = (new_sensor(), new_sensor());
        for row in &order {
            store
                .write(&write_of(one_by_one, vec![row.clone()]))
                .await
                .expect("written");
        }
        store.write(&write_of(at_once, order.clone())).await.expect("written");
        assert_eq!(
            bits(&readings(store, all_of(one_by_one)).await),
            expected,
            "one by one: {order:?}"
        );
        assert_eq!(
            bits(&readings(store, all_of(at_once)).await),
            expected,
            "at once: {order:?}"
        );
    }
}

pub async fn values_survive_to_the_bit(store: &impl Store) {
    let sensor = new_sensor();
    let rows: Vec<ReadingRow> = AWKWARD
        .iter()
        .zip(NOON..)
        .map(|(value, time)| row(time, "x", *value, NOON))
        .collect();
    let mut write = write_of(sensor, rows.clone());
    let last_values: BTreeMap<Kind, (TimeMs, f64)> = AWKWARD
        .iter()
        .enumerate()
        .map(|(n, value)| (Kind::new(&format!("k{n:02}")), (TimeMs(NOON), *value)))
        .collect();
    write.sighting = Some(Box::new(Sighting {
        label: None,
        status: None,
        location: Some((
            TimeMs(NOON),
            Location {
                latitude: -0.0,
                longitude: 5e-324,
            },
        )),
        first_day: TimeMs(NOON).day(),
        last_day: TimeMs(NOON).day(),
        last_values,
    }));
    store.write(&write).await.expect("written");

    assert_eq!(
        bits(&readings(store, all_of(sensor)).await),
        bits(&expected_rows(&rows))
    );
    let seen = store
        .sensor(sensor)
        .await
        .expect("read")
        .expect("a sensor that was sighted");
    let seen_bits: Vec<u64> = seen.last_values.values().map(|(_, value)| value.to_bits()).collect();
    assert_eq!(seen_bits, AWKWARD.map(f64::to_bits));
    let location = seen.location.expect("a location");
    assert_eq!(
        (location.latitude.to_bits(), location.longitude.to_bits()),
        ((-0.0_f64).to_bits(), 1)
    );
}

pub async fn a_replay_changes_nothing(store: &impl Store) {
    let sensor = new_sensor();
    let record = |n: i64| row(NOON + n % 7, "motion", n as f64, NOON + 1_000 + n / 3);
    let writes: Vec<SensorWrite> = (0..10)
        .map(|first| write_of(sensor, (first * 4..first * 4 + 9).map(record).collect()))
        .collect();
    for write in &writes {
        store.write(write).await.expect("written");
    }
    let expected: Vec<ReadingRow> = writes.iter().flat_map(|write| write.rows.clone()).collect();
    let expected = bits(&expected_rows(&expected));
    assert_eq!(bits(&readings(store, all_of(sensor)).await), expected);
    for write in writes[3..].iter().chain(&writes).rev() {
        store.write(write).await.expect("written again");
    }
    assert_eq!(bits(&readings(store, all_of(sensor)).await), expected);
}

pub async fn a_write_may_span_days_and_be_large(store: &impl Store) {
    let midnight = TimeMs(NOON).day().start().0;
    let few: Vec<ReadingRow> = [
        midnight - 1,
        midnight,
        midnight - 3 * MILLIS_PER_DAY,
        midnight + MILLIS_PER_DAY - 1,
    ]
    .iter()
    .map(|time| row(*time, "voltage", *time as f64, NOON))
    .collect();
    let fifty: Vec<ReadingRow> = (0..50).map(|n| row(NOON + n, "voltage", n as f64, NOON)).collect();
    let many: Vec<ReadingRow> = (0..400)
        .map(|n| row(midnight - 200 + n, "voltage", n as f64, NOON))
        .collect();
    for rows in [few, fifty, many] {
        let sensor = new_sensor();
        store.write(&write_of(sensor, rows.clone())).await.expect("written");
        assert_eq!(
            bits(&readings(store, all_of(sensor)).await),
            bits(&expected_rows(&rows))
        );
    }
    store
        .write(&write_of(new_sensor(), Vec::new()))
        .await
        .expect("a write of nothing is no error");
}

pub async fn readings_come_by_order_limit_kind_and_range(store: &impl Store) {
    let (sensor, neighbour) = (new_sensor(), new_sensor());
    let midnight = TimeMs(NOON).day().start().0;
    let times: Vec<i64> = (-8..8).map(|n| midnight + n * 10_000_000).collect();
    let kinds = ["humidity", "light", "temperature"];
    let rows: Vec<ReadingRow> = times
        .iter()
        .flat_map(|time| kinds.map(|kind| row(*time, kind, *time as f64 + kind.len() as f64, NOON)))
        .collect();
    for chunk in rows.chunks(9) {
        store.write(&write_of(sensor, chunk.to_vec())).await.expect("written");
        store
            .write(&write_of(neighbour, vec![row(chunk[0].time.0, "light", -1.0, NOON)]))
            .await
            .expect("written");
    }
    let everything = expected_rows(&rows);
    let ranges = [
        (times[0] - 1, times[15] + 1),
        (times[0], times[15]),
        (times[3] + 1, times[12]),
        (midnight, midnight + 1),
        (midnight - 1, midnight),
        (times[15] + 1, times[15] + 5 * MILLIS_PER_DAY),
        (times[5], times[5]),
        (times[9], times[2]),
    ];
    for order in [Order::OldestFirst, Order::NewestFirst] {
        for (start, end) in ranges {
            for kind in [None, Some("light"), Some("nothing of that name")] {
                for limit in [
                    None,
                    Some(0),
                    Some(1),
                    Some(2),
                    Some(3),
                    Some(7),
                    Some(1_000),
                    Some(u64::MAX),
                ] {
                    let query = ReadingsQuery {
                        sensor,
                        range: TimeMs(start)..TimeMs(end),
                        kind: kind.map(Kind::new),
                        order,
                        limit,
                    };
                    let mut expected: Vec<StoredReading> = everything
                        .iter()
                        .filter(|reading| (start..end).contains(&reading.time.0))
                        .filter(|reading| kind.is_none_or(|kind| reading.kind.as_str() == kind))
                        .cloned()
                        .collect();
                    if order == Order::NewestFirst {
                        // Stable: kinds stay in ascending order within a time.
                        expected.sort_by_key(|reading| std::cmp::Reverse(reading.time));
                    }
                    expected.truncate(limit.map_or(usize::MAX, |limit| usize::try_from(limit).expect("64 bits")));
                    assert_eq!(readings(store, query.clone()).await, expected, "{query:?}");
                }
            }
        }
    }
}

pub async fn answers_are_longer_than_a_page(store: &impl Store) {
    let sensor = new_sensor();
    // Odd times have a second kind: pages then end between the kinds of one time.
    let rows: Vec<ReadingRow> = (0..8_000)
        .flat_map(|n| {
            let second = (n % 2 == 1).then(|| row(NOON + n, "b", -(n as f64), NOON));
            std::iter::once(row(NOON + n, "a", n as f64, NOON)).chain(second)
        })
        .collect();
    let writes: Vec<SensorWrite> = rows.chunks(50).map(|rows| write_of(sensor, rows.to_vec())).collect();
    stream::iter(&writes)
        .map(|write| store.write(write))
        .buffer_unordered(16)
        .try_collect::<Vec<()>>()
        .await
        .expect("written");
    let expected = expected_rows(&rows);
    assert_eq!(expected.len(), 12_000);
    let oldest_first = all_of(sensor);
    assert_eq!(readings(store, oldest_first.clone()).await, expected);
    let newest_first = ReadingsQuery {
        order: Order::NewestFirst,
        ..oldest_first.clone()
    };
    let mut reversed = expected.clone();
    reversed.sort_by_key(|reading| std::cmp::Reverse(reading.time));
    assert_eq!(readings(store, newest_first.clone()).await, reversed);
    let limited = ReadingsQuery {
        limit: Some(5_500),
        ..newest_first
    };
    assert_eq!(readings(store, limited).await, reversed[..5_500]);
    let of_kind = ReadingsQuery {
        kind: Some(Kind::new("a")),
        ..oldest_first.clone()
    };
    assert_eq!(readings(store, of_kind).await.len(), 8_000);

    // Somebody who has seen enough leaves nothing behind that is in the way of the next one.
    for _ in 0..20 {
        let first: Vec<_> = store
            .readings(oldest_first.clone())
            .take(1)
            .try_collect()
            .await
            .expect("read");
        assert_eq!(first, expected[..1]);
    }
}

fn merged(sensor: SensorId, sightings: &[Sighting]) -> SensorRow {
    let newest_status = sightings.iter().filter_map(|sighting| sighting.status.clone()).max();
    let newest_location = sightings
        .iter()
        .filter_map(|sighting| sighting.location)
        .max_by_key(|(time, location)| (*time, location.latitude.to_bits(), location.longitude.to_bits()));
    let mut last_values: BTreeMap<Kind, (TimeMs, f64)> = BTreeMap::new();
    for (kind, new) in sightings.iter().flat_map(|sighting| sighting.last_values.clone()) {
        let stored = last_values.entry(kind).or_insert(new);
        if newer_cell(new, *stored) {
            *stored = new;
        }
    }
    SensorRow {
        sensor,
        label: sightings
            .iter()
            .find_map(|sighting| sighting.label.as_ref().map(ToString::to_string)),
        status: newest_status.map(|(_, status)| status.to_string()),
        location: newest_location.map(|(_, location)| location),
        first_day: sightings
            .iter()
            .map(|sighting| sighting.first_day)
            .min()
            .expect("one at least"),
        last_day: sightings
            .iter()
            .map(|sighting| sighting.last_day)
            .max()
            .expect("one at least"),
        last_values,
        active_alerts: BTreeMap::new(),
    }
}

/// Times, places and values out of few, so that ties are common: in them stores like to differ.
fn a_sighting() -> impl Strategy<Value = Sighting> {
    let time = || (0..4_i64).prop_map(|minute| TimeMs(NOON + minute * 60_000));
    let value = || proptest::sample::select(vec![0.0, -0.0, 1.5, -1.5, 1e300]);
    let status = proptest::option::of((time(), proptest::sample::select(vec!["active", "idle", "é"])));
    let location = proptest::option::of((time(), value(), value()));
    let last_values = proptest::collection::btree_map(0..3_u8, (time(), value()), 0..4);
    (
        any::<bool>(),
        status,
        location,
        (20_000..20_010_i32, 0..5_i32),
        last_values,
    )
        .prop_map(
            |(has_label, status, location, (first_day, more_days), last_values)| Sighting {
                label: has_label.then(|| Arc::from("SENSOR_001")),
                status: status.map(|(time, status)| (time, Arc::from(status))),
                location: location.map(|(time, latitude, longitude)| (time, Location { latitude, longitude })),
                first_day: Day(first_day),
                last_day: Day(first_day + more_days),
                last_values: last_values
                    .into_iter()
                    .map(|(n, cell)| (Kind::new(&format!("kind {n}")), cell))
                    .collect(),
            },
        )
}

pub async fn sightings_merge_in_any_order(store: &impl Store) {
    let mut runner = TestRunner::deterministic();
    let strategy = proptest::collection::vec(a_sighting(), 1..5);
    for _ in 0..20 {
        let sightings = strategy.new_tree(&mut runner).expect("a case").current();
        for order in permutations(&sightings) {
            let sensor = new_sensor();
            // The first one again at the end: a late replay.
            for sighting in order.iter().chain(&order[..1]) {
                let mut write = write_of(sensor, Vec::new());
                write.sighting = Some(Box::new(sighting.clone()));
                store.write(&write).await.expect("written");
            }
            let seen = store
                .sensor(sensor)
                .await
                .expect("read")
                .expect("a sensor that was sighted");
            // Printed, for 0.0 equals -0.0 and only the text tells them apart.
            assert_eq!(
                format!("{seen:?}"),
                format!("{:?}", merged(sensor, &sightings)),
                "{order:#?}"
            );
        }
    }
}

pub async fn the_directory_lists_every_sensor_once(store: &impl Store) {
    let rows: Vec<SensorRow> = (0..1_500)
        .map(|n| {
            let sighting = Sighting {
                label: (n % 2 == 0).then(|| Arc::from(format!("sensor {n}"))),
                status: None,
                location: None,
                first_day: Day(20_000),
                last_day: Day(20_000 + n % 3),
                last_values: BTreeMap::from([(Kind::new("light"), (TimeMs(NOON + i64::from(n)), f64::from(n)))]),
            };
            merged(SensorId(Uuid::from_u128(1 + n as u128)), &[sighting])
        })
        .collect();
    let writes: Vec<SensorWrite> = rows
        .iter()
        .map(|row| {
            let sighting = Sighting {
                label: row.label.as_deref().map(Arc::from),
                status: None,
                location: None,
                first_day: row.first_day,
                last_day: row.last_day,
                last_values: row.last_values.clone(),
            };
            SensorWrite {
                sighting: Some(Box::new(sighting)),
                ..write_of(row.sensor, Vec::new())
            }
        })
        .collect();
    stream::iter(&writes)
        .map(|write| store.write(write))
        .buffer_unordered(16)
        .try_collect::<Vec<()>>()
        .await
        .expect("written");
    let mut listed: Vec<SensorRow> = store.sensors().try_collect().await.expect("listed");
    listed.sort_by_key(|row| row.sensor);
    assert_eq!(listed, rows);
}

pub(super) fn a_source(partition: i32) -> Source {
    Source {
        topic: Arc::from("iot_sensor_data"),
        topic_id: TopicId(Uuid::from_u128(7)),
        partition,
    }
}

fn an_entry(partition: i32, from: i64) -> LedgerEntry {
    let processing = ProcessingConfig {
        window_sizes_s: vec![60, from as u32],
        alerts: true,
        id_fields: vec!["sensor_id".to_owned(), "Gerät \"1\"".to_owned()],
        time_fields: Vec::new(),
        ignored_fields: vec!["fw".to_owned()],
    };
    LedgerEntry {
        source: a_source(partition),
        from,
        acked_to: from,
        processing,
    }
}

pub async fn of_two_that_open_a_source_both_see_the_winner(store: &impl Store) {
    for partition in 0..10 {
        let entries: Vec<LedgerEntry> = (0..6).map(|from| an_entry(partition, from)).collect();
        let seen = futures::future::join_all(entries.iter().map(|entry| open_until_done(store, entry))).await;
        assert!(entries.contains(&seen[0]), "a row that somebody entered: {seen:?}");
        assert!(seen.iter().all(|entry| *entry == seen[0]), "all see the same: {seen:?}");
        let loaded = store.load_ledger(&[a_source(partition)]).await.expect("loaded");
        assert_eq!(loaded, [Some(seen[0].clone())]);
    }
    let known = store
        .load_ledger(&[a_source(77), a_source(3), a_source(78), a_source(1)])
        .await
        .expect("loaded");
    let partitions: Vec<_> = known
        .iter()
        .map(|entry| entry.as_ref().map(|entry| entry.source.partition))
        .collect();
    assert_eq!(
        partitions,
        [None, Some(3), None, Some(1)],
        "in the order of the question"
    );
}

/// As the pipeline does: what is transient is tried again. A race of compare-and-set may time out.
async fn open_until_done(store: &impl Store, entry: &LedgerEntry) -> LedgerEntry {
    for _ in 0..20 {
        match store.open_ledger(entry).await {
            Ok(entry) => return entry,
            Err(error) if error.is_transient() => continue,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the ledger could not be opened in 20 attempts");
}

pub async fn an_acknowledged_offset_never_goes_back(store: &impl Store) {
    let acked_to = async |partition: i32| {
        let loaded = store.load_ledger(&[a_source(partition)]).await.expect("loaded");
        loaded[0].as_ref().expect("an open source").acked_to
    };
    for partition in 0..2 {
        open_until_done(store, &an_entry(partition, 100)).await;
    }
    assert_eq!(acked_to(0).await, 100, "nothing is acknowledged at first");
    for (offset, expected) in [
        (150, 150),
        (120, 150),
        (150, 150),
        (0, 150),
        (151, 151),
        (1 << 40, 1 << 40),
    ] {
        store.advance_ledger(&[(a_source(0), offset)]).await.expect("advanced");
        assert_eq!(acked_to(0).await, expected, "after {offset}");
    }
    assert_eq!(acked_to(1).await, 100, "the neighbour has not moved");
    let both = [(a_source(1), 500), (a_source(0), 7), (a_source(1), 300)];
    store.advance_ledger(&both).await.expect("advanced");
    assert_eq!((acked_to(0).await, acked_to(1).await), (1 << 40, 500));
    let again = open_until_done(store, &an_entry(1, 100)).await;
    assert_eq!(again.acked_to, 500, "opening again shows how far it is");
    store.advance_ledger(&[]).await.expect("nothing to do is no error");
}

pub async fn a_run_is_kept_as_it_was_saved(store: &impl Store) {
    let (run, other) = (Uuid::new_v4(), Uuid::new_v4());
    store.save_run(run, "{\"version\": 1}").await.expect("saved");
    store.save_run(other, "{}").await.expect("saved");
    store
        .save_run(run, "{\"version\": 1, \"note\": \"'\u{b0}\"}")
        .await
        .expect("saved again");
    assert_eq!(
        store.load_run(run).await.expect("read").as_deref(),
        Some("{\"version\": 1, \"note\": \"'\u{b0}\"}")
    );
    assert_eq!(store.load_run(other).await.expect("read").as_deref(), Some("{}"));
}

pub async fn an_empty_store_answers_with_nothing(store: &impl Store) {
    assert_eq!(readings(store, all_of(new_sensor())).await, []);
    assert_eq!(store.sensor(new_sensor()).await.expect("read"), None);
    assert_eq!(store.sensors().try_collect::<Vec<_>>().await.expect("listed"), []);
    let range = TimeMs(NOON)..TimeMs(NOON + MILLIS_PER_DAY);
    let windows = WindowsQuery {
        sensor: new_sensor(),
        size_s: 60,
        range: range.clone(),
        kind: None,
    };
    assert_eq!(store.windows(windows).try_collect::<Vec<_>>().await.expect("read"), []);
    for sensor in [None, Some(new_sensor())] {
        let range = range.clone();
        let alerts = store.alerts(AlertsQuery { sensor, range });
        assert_eq!(alerts.try_collect::<Vec<_>>().await.expect("read"), []);
    }
    assert_eq!(store.active_alerts().try_collect::<Vec<_>>().await.expect("read"), []);
    assert_eq!(store.load_ledger(&[a_source(0)]).await.expect("loaded"), [None]);
    assert_eq!(store.load_ledger(&[]).await.expect("loaded"), []);
    assert_eq!(store.load_run(Uuid::new_v4()).await.expect("read"), None);
}
