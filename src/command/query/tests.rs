//! Questions against a store in memory: what is asked of it, and what is printed.

mod alerts;
mod sensors;
mod windows;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::stream::{self, BoxStream};

use super::*;
use crate::cli::{self, Command};
use crate::model::{
    Alert, AlertId, AlertWrite, AlertsQuery, Day, LedgerEntry, Load, Loaded, SensorWrite, Source, StoredWindow,
    WindowsQuery,
};
use crate::report::Captured;
use crate::store::{ActiveAlerts, StoreError};

const HOUR_MS: i64 = 3_600_000;
/// 2024-10-04T00:00:00Z.
const DAY: Day = Day(20_000);

/// Two sensors: the attic with ten hours of two kinds over midnight, and a bare one with the same id every time.
struct FakeStore {
    sensors: Vec<SensorRow>,
    readings: Vec<(SensorId, StoredReading)>,
    windows: Vec<(SensorId, StoredWindow)>,
    alerts: Vec<Alert>,
    /// What the sets of active alerts say, which may be ahead of or behind the rows of the alerts.
    active: Vec<(SensorId, AlertId, TimeMs)>,
    asked: Mutex<Vec<ReadingsQuery>>,
    asked_windows: Mutex<Vec<WindowsQuery>>,
    asked_alerts: Mutex<Vec<AlertsQuery>>,
    directory_reads: AtomicUsize,
}

impl FakeStore {
    fn new() -> FakeStore {
        let attic = SensorId::from_text("attic").0;
        let start = DAY.next().start().0 - 5 * HOUR_MS;
        let mut readings = Vec::new();
        for hour in 0..10 {
            let time = TimeMs(start + hour * HOUR_MS);
            readings.push((
                attic,
                StoredReading {
                    time,
                    kind: Kind::new("humidity"),
                    value: 40.0 + hour as f64,
                },
            ));
            readings.push((
                attic,
                StoredReading {
                    time,
                    kind: Kind::new("temperature"),
                    value: 20.0 - hour as f64,
                },
            ));
        }
        // The directory is behind the readings: its last values are two hours old.
        let behind = TimeMs(start + 7 * HOUR_MS);
        let row = SensorRow {
            sensor: attic,
            label: Some("attic".to_owned()),
            status: Some("active".to_owned()),
            location: None,
            first_day: DAY,
            last_day: DAY.next(),
            last_values: BTreeMap::from([
                (Kind::new("humidity"), (behind, 47.0)),
                (Kind::new("temperature"), (behind, 13.0)),
            ]),
            active_alerts: BTreeMap::new(),
        };
        let bare = SensorRow {
            sensor: SensorId::from_text("6f1c2d3e-0000-4000-8000-00000000abcd").0,
            label: None,
            last_values: BTreeMap::from([(Kind::new("light"), (behind, 1.0))]),
            ..row.clone()
        };
        FakeStore {
            sensors: vec![row, bare],
            readings,
            windows: Vec::new(),
            alerts: Vec::new(),
            active: Vec::new(),
            asked: Mutex::default(),
            asked_windows: Mutex::default(),
            asked_alerts: Mutex::default(),
            directory_reads: AtomicUsize::new(0),
        }
    }

    fn asked(&self) -> Vec<ReadingsQuery> {
        self.asked.lock().unwrap().clone()
    }
}

impl Store for FakeStore {
    async fn write(&self, _: &SensorWrite) -> Result<(), StoreError> {
        unreachable!("a question writes nothing")
    }

    async fn load_all(&self, _: &[Load]) -> Result<Vec<Loaded>, StoreError> {
        unreachable!("a question folds nothing")
    }

    async fn write_alerts(&self, _: &AlertWrite) -> Result<(), StoreError> {
        unreachable!("a question writes nothing")
    }

    async fn load_ledger(&self, _: &[Source]) -> Result<Vec<Option<LedgerEntry>>, StoreError> {
        unreachable!("a question needs no ledger")
    }

    async fn open_ledger(&self, _: &LedgerEntry) -> Result<LedgerEntry, StoreError> {
        unreachable!("a question writes nothing")
    }

    async fn advance_ledger(&self, _: &[(Source, i64)]) -> Result<(), StoreError> {
        unreachable!("a question writes nothing")
    }

    async fn record_hole(&self, _: &Source, _: &str) -> Result<(), StoreError> {
        unreachable!("questions write nothing")
    }

    async fn save_run(&self, _: uuid::Uuid, _: &str) -> Result<(), StoreError> {
        unreachable!("a question writes nothing")
    }

    async fn load_run(&self, _: uuid::Uuid) -> Result<Option<String>, StoreError> {
        unreachable!("a question needs no run")
    }

    async fn sensor(&self, sensor: SensorId) -> Result<Option<SensorRow>, StoreError> {
        Ok(self.sensors.iter().find(|row| row.sensor == sensor).cloned())
    }

    fn sensors(&self) -> BoxStream<'_, Result<SensorRow, StoreError>> {
        self.directory_reads.fetch_add(1, Ordering::Relaxed);
        stream::iter(self.sensors.iter().cloned().map(Ok)).boxed()
    }

    fn readings(&self, query: ReadingsQuery) -> BoxStream<'_, Result<StoredReading, StoreError>> {
        let matches = |sensor: SensorId, reading: &StoredReading| {
            sensor == query.sensor
                && query.range.contains(&reading.time)
                && query.kind.as_ref().is_none_or(|kind| *kind == reading.kind)
        };
        let found = self
            .readings
            .iter()
            .filter(|(sensor, reading)| matches(*sensor, reading));
        let mut found: Vec<StoredReading> = found.map(|(_, reading)| reading.clone()).collect();
        if query.order == Order::NewestFirst {
            found.sort_by_key(|reading| std::cmp::Reverse(reading.time));
        }
        found.truncate(query.limit.map_or(usize::MAX, |limit| limit as usize));
        self.asked.lock().unwrap().push(query);
        stream::iter(found.into_iter().map(Ok)).boxed()
    }

    fn windows(&self, query: WindowsQuery) -> BoxStream<'_, Result<StoredWindow, StoreError>> {
        let matches = |sensor: SensorId, window: &StoredWindow| {
            sensor == query.sensor
                && window.key.size_s == query.size_s
                && query.range.contains(&window.key.start)
                && query.kind.as_ref().is_none_or(|kind| *kind == window.key.kind)
        };
        let found = self.windows.iter().filter(|(sensor, window)| matches(*sensor, window));
        let mut found: Vec<StoredWindow> = found.map(|(_, window)| window.clone()).collect();
        let key = |window: &StoredWindow| {
            let (start, kind) = (window.key.start, window.key.kind.clone());
            (start.day(), kind, start, window.source.clone())
        };
        found.sort_by_key(key);
        self.asked_windows.lock().unwrap().push(query);
        stream::iter(found.into_iter().map(Ok)).boxed()
    }

    fn alerts(&self, query: AlertsQuery) -> BoxStream<'_, Result<Alert, StoreError>> {
        let of_sensor = |alert: &&Alert| query.sensor.is_none_or(|sensor| sensor == alert.sensor);
        let found = self.alerts.iter().filter(of_sensor);
        let mut found: Vec<Alert> = found
            .filter(|it| query.range.contains(&it.raised_at))
            .cloned()
            .collect();
        found.sort_by_key(|alert| (std::cmp::Reverse(alert.raised_at), alert.id));
        self.asked_alerts.lock().unwrap().push(query);
        stream::iter(found.into_iter().map(Ok)).boxed()
    }

    async fn alert(&self, sensor: SensorId, raised_at: TimeMs, id: AlertId) -> Result<Option<Alert>, StoreError> {
        let is_it = |alert: &&Alert| (alert.sensor, alert.raised_at, alert.id) == (sensor, raised_at, id);
        Ok(self.alerts.iter().find(is_it).cloned())
    }

    fn active_alerts(&self) -> BoxStream<'_, Result<ActiveAlerts, StoreError>> {
        let mut sensors: BTreeMap<SensorId, BTreeMap<AlertId, TimeMs>> = BTreeMap::new();
        for (sensor, id, raised_at) in &self.active {
            sensors.entry(*sensor).or_default().insert(*id, *raised_at);
        }
        stream::iter(sensors.into_iter().map(Ok)).boxed()
    }
}

/// The question that the command line asks at 2024-10-05T05:00:00Z.
fn question(arguments: &str) -> Result<Question, crate::config::UsageError> {
    let command_line = ["iotpipe", "query"].into_iter().chain(arguments.split_whitespace());
    let Command::Query(args) = cli::parse(command_line).unwrap().command else {
        panic!("not a query")
    };
    Question::of(&args, &[60, 3600], TimeMs(DAY.next().start().0 + 5 * HOUR_MS))
}

fn ask(store: &FakeStore, arguments: &str) -> Captured {
    let (mut out, captured) = Out::captured(None);
    block_on(answer(store, &mut out, &question(arguments).unwrap())).unwrap();
    captured
}

/// `hour kind value` of each CSV line, the hour that of the day.
fn rows(store: &FakeStore, arguments: &str) -> Vec<String> {
    let text = ask(store, &format!("{arguments} --format csv")).data();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        format!("{} {} {}", &cells[1][11..13], cells[3], cells[4])
    };
    text.lines().skip(1).map(row).collect()
}

#[test]
fn a_sensor_alone_is_its_newest_hundred_readings() {
    let store = FakeStore::new();
    let rows = rows(&store, "--sensor attic");
    assert_eq!(rows.len(), 20);
    assert_eq!(
        rows[..3],
        ["04 humidity 49.0", "04 temperature 11.0", "03 humidity 48.0"]
    );
    let asked = &store.asked()[0];
    assert_eq!((asked.limit, asked.order), (Some(100), Order::NewestFirst));
}

#[test]
fn a_range_of_time_has_no_default_limit_and_is_cut_to_the_sensors_days() {
    let store = FakeStore::new();
    for arguments in [
        "--from 2000-01-01T00:00:00Z",
        "--to 2030-01-01T00:00:00Z",
        "--last 10000d",
    ] {
        assert_eq!(rows(&store, &format!("--sensor attic {arguments}")).len(), 20);
        let asked = store.asked().pop().unwrap();
        assert_eq!(
            (asked.range, asked.limit),
            (DAY.start()..DAY.next().next().start(), None)
        );
    }
    let nothing = ask(&store, "--sensor attic --to 2001-01-01T00:00:00Z");
    assert_eq!(store.asked().len(), 3, "outside of the sensor's days nothing is read");
    assert!(
        nothing
            .notes()
            .contains("it has readings from 2024-10-04 to 2024-10-05"),
        "{}",
        nothing.notes()
    );
}

#[test]
fn a_relative_range_counts_from_the_question_and_excludes_its_end() {
    let store = FakeStore::new();
    let last = ["04 humidity 49.0", "03 humidity 48.0"];
    assert_eq!(rows(&store, "--sensor attic --kind humidity --last 2h"), last);
    assert_eq!(rows(&store, "--sensor attic --kind humidity --from -2h"), last);
    assert_eq!(
        rows(&store, "--sensor attic --kind humidity --from -2h --to -1h"),
        last[1..]
    );
    let range = "--from 2024-10-04T23:00:00Z --to 2024-10-05T01:00:00Z --order oldest";
    let over_midnight = ["23 humidity 44.0", "00 humidity 45.0"];
    assert_eq!(
        rows(&store, &format!("--sensor attic --kind humidity {range}")),
        over_midnight
    );
}

#[test]
fn a_reading_of_a_clock_that_is_ahead_is_among_the_last() {
    let mut store = FakeStore::new();
    let (attic, ahead) = (store.sensors[0].sensor, TimeMs(DAY.next().start().0 + 6 * HOUR_MS));
    store.readings.push((
        attic,
        StoredReading {
            time: ahead,
            kind: Kind::new("humidity"),
            value: 1.0,
        },
    ));
    assert_eq!(
        rows(&store, "--sensor attic --kind humidity --last 30m"),
        ["06 humidity 1.0"]
    );
}

#[test]
fn limit_and_order_go_to_the_store() {
    let store = FakeStore::new();
    let oldest = ["19 humidity 40.0", "19 temperature 20.0", "20 humidity 41.0"];
    assert_eq!(rows(&store, "--sensor attic --limit 3 --order oldest"), oldest);
    assert_eq!(rows(&store, "--sensor attic --limit 1"), ["04 humidity 49.0"]);
}

#[test]
fn the_default_limit_is_mentioned_when_it_cuts() {
    let mut store = FakeStore::new();
    assert_eq!(ask(&store, "--sensor attic").notes(), "");
    let attic = store.sensors[0].sensor;
    for number in 0..100 {
        let reading = StoredReading {
            time: TimeMs(DAY.start().0 + number),
            kind: Kind::new("light"),
            value: 0.0,
        };
        store.readings.push((attic, reading));
    }
    assert!(
        ask(&store, "--sensor attic")
            .notes()
            .contains("stopped after 100 readings; --limit")
    );
    assert_eq!(ask(&store, "--sensor attic --limit 100").notes(), "");
}

#[test]
fn latest_of_a_sensor_is_read_from_the_readings() {
    let store = FakeStore::new();
    assert_eq!(
        rows(&store, "--sensor attic --latest"),
        ["04 humidity 49.0", "04 temperature 11.0"]
    );
    let behind = TimeMs(DAY.next().start().0 + 2 * HOUR_MS);
    assert!(
        store
            .asked()
            .iter()
            .all(|query| query.range.start == behind && query.limit == Some(1))
    );
    assert_eq!(
        rows(&store, "--sensor attic --latest --kind temperature"),
        ["04 temperature 11.0"]
    );
    assert_eq!(rows(&store, "--sensor attic --latest --limit 1"), ["04 humidity 49.0"]);
}

#[test]
fn latest_of_all_comes_from_the_directory() {
    let store = FakeStore::new();
    let all = ["02 humidity 47.0", "02 temperature 13.0", "02 light 1.0"];
    assert_eq!(rows(&store, "--latest"), all);
    assert_eq!(rows(&store, "--latest --limit 2"), all[..2]);
    assert_eq!(rows(&store, "--latest --kind light"), all[2..]);
    assert_eq!(store.asked(), []);
    let table = ask(&store, "--latest").data();
    assert!(
        table.contains("\nattic ") && table.contains("\n6f1c2d3e-0000-4000-8000-00000000abcd "),
        "{table}"
    );
}

#[test]
fn the_directory_lists_sensors() {
    let store = FakeStore::new();
    let ids = |arguments: &str| {
        let text = ask(&store, &format!("--sensors --format jsonl {arguments}")).data();
        let id = |line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["sensor_id"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        text.lines().map(id).collect::<Vec<_>>()
    };
    let all: Vec<String> = store.sensors.iter().map(|row| row.sensor.to_string()).collect();
    assert_eq!(ids(""), all);
    assert_eq!(ids("--limit 1"), all[..1]);
    assert_eq!(ids("--kind light"), all[1..]);
}

#[test]
fn a_plot_is_a_chart_for_each_kind() {
    let store = FakeStore::new();
    let both = ask(&store, "--sensor attic --plot").data();
    let titles: Vec<&str> = both.lines().filter(|line| line.contains("readings)")).collect();
    let expected = [
        "humidity  40 to 49, last 49  (10 readings)",
        "temperature  11 to 20, last 11  (10 readings)",
    ];
    assert_eq!(titles, expected);
    let one = ask(&store, "--sensor attic --plot --kind humidity --order oldest --limit 4").data();
    assert!(one.starts_with("humidity  40 to 43, last 43  (4 readings)\n"), "{one}");
    assert!(
        ask(&store, "--sensor attic --plot --last 1s")
            .notes()
            .contains("no such readings")
    );
}

#[test]
fn an_unknown_sensor_is_an_empty_result_with_a_note() {
    let store = FakeStore::new();
    for (format, empty) in [
        ("table", ""),
        ("json", "[]\n"),
        ("jsonl", ""),
        ("csv", "sensor_id,time,time_ms,kind,value\n"),
    ] {
        for what in ["", "--latest"] {
            let captured = ask(&store, &format!("--sensor cellar --format {format} {what}"));
            assert_eq!(captured.data(), empty);
            let id = SensorId::from_text("cellar").0;
            assert!(
                captured
                    .notes()
                    .starts_with(&format!("iotpipe: no sensor cellar ({id}) in the store;"))
            );
        }
    }
    assert_eq!(ask(&store, "--sensor cellar --plot").data(), "");
}

#[test]
fn a_kind_that_the_sensor_has_not_is_an_empty_result_with_a_note() {
    let store = FakeStore::new();
    for what in ["", "--latest", "--plot"] {
        let captured = ask(&store, &format!("--sensor attic --kind light {what}"));
        assert_eq!(captured.data(), "");
        assert_eq!(
            captured.notes(),
            "iotpipe: sensor attic has no light; it has humidity, temperature\n"
        );
    }
}

#[test]
fn a_range_that_is_none_and_an_id_that_is_none_are_usage_errors() {
    let error = |arguments| question(arguments).unwrap_err().to_string();
    let range = error("--sensor attic --from 2024-10-05T00:00:00Z --to -10h");
    assert_eq!(
        range,
        "--from 2024-10-05T00:00:00.000Z is not before --to 2024-10-04T19:00:00.000Z"
    );
    let long = error(&format!("--sensor {}", "x".repeat(257)));
    assert_eq!(long, "--sensor: an id has 1 to 256 bytes, not 257");
}

#[test]
fn the_latest_of_a_sensor_can_be_printed_into_any_output() {
    let (mut out, captured) = Out::captured(Some(80));
    let attic = SensorId::from_text("attic").0;
    block_on(print_latest(&FakeStore::new(), &mut out, attic, 2)).unwrap();
    let expected = "\
time                      kind         value
────────────────────────  ───────────  ─────
2024-10-05T04:00:00.000Z  humidity      49.0
2024-10-05T04:00:00.000Z  temperature   11.0
";
    assert_eq!(captured.data(), expected);
    assert_eq!(captured.notes(), "");
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}
