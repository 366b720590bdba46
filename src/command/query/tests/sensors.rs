//! The directory: silence against the fleet's progress, alerts, filters.

use super::*;

/// A third sensor whose newest value is this much newer than the others' at 02:00; no readings besides.
fn store(ahead_ms: i64) -> FakeStore {
    let mut store = FakeStore::new();
    let newest = TimeMs(DAY.next().start().0 + 2 * HOUR_MS + ahead_ms);
    let row = SensorRow {
        sensor: SensorId::from_text("porch").0,
        label: Some("porch".to_owned()),
        last_values: BTreeMap::from([
            (Kind::new("light"), (newest, 1.0)),
            (Kind::new("humidity"), (TimeMs(0), 1.0)),
        ]),
        active_alerts: BTreeMap::from([(AlertId(uuid::Uuid::nil()), newest)]),
        ..store.sensors[0].clone()
    };
    store.sensors.push(row);
    store.readings.clear();
    store
}

/// Label and silence of each sensor.
fn silences(store: &FakeStore, arguments: &str) -> Vec<(String, Option<i64>)> {
    let text = ask(store, &format!("--sensors --format jsonl {arguments}")).data();
    let row = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        (
            row["label"].as_str().unwrap_or("bare").to_owned(),
            row["silent_ms"].as_i64(),
        )
    };
    text.lines().map(row).collect()
}

fn labels(store: &FakeStore, arguments: &str) -> Vec<String> {
    silences(store, arguments).into_iter().map(|(label, _)| label).collect()
}

#[test]
fn a_sensor_is_silent_more_than_five_minutes_behind_the_newest() {
    let silent = |ahead_ms| silences(&store(ahead_ms), "")[0].1;
    assert_eq!(silent(0), None);
    assert_eq!(silent(300_000), None);
    assert_eq!(silent(300_001), Some(300_001));
    let store = store(300_001);
    assert_eq!(
        silences(&store, "")[2],
        ("porch".to_owned(), None),
        "its newest value counts, not an older one"
    );
    assert_eq!(silences(&store, "--silent-after 6m")[0].1, None);
    assert_eq!(silences(&store, "--silent-after 0s")[0].1, Some(300_001));
}

#[test]
fn a_sensor_of_which_the_directory_is_behind_is_not_silent() {
    // The attic's newest value in the directory is of 02:00, its newest reading of 04:00.
    let mut store = store(2 * HOUR_MS + 300_000);
    store.readings = FakeStore::new().readings;
    let expected = [
        ("attic".to_owned(), None),
        ("bare".to_owned(), Some(2 * HOUR_MS + 300_000)),
    ];
    assert_eq!(silences(&store, "--limit 2"), expected);
    assert_eq!(labels(&store, "--silent"), ["bare"]);
    assert_eq!(
        store.asked().iter().map(|query| query.limit).collect::<Vec<_>>(),
        [Some(1); 4],
        "and no more is read"
    );
}

#[test]
fn a_clock_that_is_ahead_makes_no_other_sensor_silent() {
    // The question is asked at 05:00.
    assert_eq!(silences(&store(100 * HOUR_MS), "")[0].1, Some(3 * HOUR_MS));
}

#[test]
fn filters_leave_the_silent_and_the_alerting() {
    let store = store(600_000);
    assert_eq!(labels(&store, "--silent"), ["attic", "bare"]);
    assert_eq!(labels(&store, "--silent --kind light"), ["bare"]);
    assert_eq!(labels(&store, "--silent --limit 1"), ["attic"]);
    assert_eq!(labels(&store, "--alerting"), ["porch"]);
    assert_eq!(labels(&store, "--alerting --silent"), [""; 0]);
    assert_eq!(labels(&store, "--silent --silent-after 1h"), [""; 0]);
}

#[test]
fn the_table_shows_alerts_and_silence() {
    let table = ask(&store(600_000), "--sensors").data();
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[0].contains("newest                    silent for  alerts  last values"),
        "{table}"
    );
    assert!(
        lines[2].contains("2024-10-05T02:00:00.000Z     10m 00s          humidity 47.0, temperature 13.0"),
        "{table}"
    );
    assert!(
        lines[4].contains("2024-10-05T02:10:00.000Z                   1  humidity 1.0 (1970-"),
        "{table}"
    );
}

#[test]
fn where_there_are_none_it_is_said() {
    let mut store = FakeStore::new();
    let notes = |store: &FakeStore, arguments: &str| ask(store, &format!("--sensors {arguments}")).notes();
    assert_eq!(notes(&store, "--silent"), "iotpipe: no sensor is silent\n");
    assert_eq!(notes(&store, "--alerting"), "iotpipe: no sensor has active alerts\n");
    assert_eq!(notes(&store, "--silent --kind light"), "iotpipe: no such sensors\n");
    assert_eq!(notes(&store, ""), "");
    store.sensors.clear();
    assert_eq!(notes(&store, ""), "iotpipe: no sensors in the store\n");
}
