//! Alerts: which range is read, and that active ones are looked up.

use std::sync::Arc;

use super::*;
use crate::model::{MILLIS_PER_DAY, Severity};

/// 2024-10-05T02:00:00Z, the newest value of the directory.
const NEWEST: TimeMs = TimeMs(1_728_093_600_000);

fn alert(id: u128, sensor: SensorId, raised_before_ms: i64, is_active: bool) -> Alert {
    let raised_at = TimeMs(NEWEST.0 - raised_before_ms);
    Alert {
        id: AlertId(uuid::Uuid::from_u128(id)),
        sensor,
        label: None,
        kind: Kind::new(if id.is_multiple_of(2) { "humidity" } else { "light" }),
        rule: Arc::from("a-rule"),
        severity: Severity::Info,
        raised_at,
        value: id as f64,
        peak: id as f64,
        cleared_at: (!is_active).then_some(TimeMs(raised_at.0 + 1000)),
    }
}

/// Alerts 1 and 3 of the bare sensor and 2 and 4 of the attic, an hour apart, the first one newest; 5 a day earlier. 3, 4 and 5
/// are active, and so was 2 until just now.
fn store() -> FakeStore {
    let mut store = FakeStore::new();
    let [attic, bare] = [0, 1].map(|index| store.sensors[index].sensor);
    store.alerts = vec![
        alert(3, bare, 3 * HOUR_MS, true),
        alert(1, bare, HOUR_MS, false),
        alert(5, attic, HOUR_MS + MILLIS_PER_DAY, true),
        alert(2, attic, 2 * HOUR_MS, false),
        alert(4, attic, 4 * HOUR_MS, true),
    ];
    for alert in &store.alerts {
        if alert.id.0.as_u128() != 1 {
            store.active.push((alert.sensor, alert.id, alert.raised_at));
        }
        if alert.sensor == attic {
            store.sensors[0].active_alerts.insert(alert.id, alert.raised_at);
        }
    }
    store
}

fn ids(store: &FakeStore, arguments: &str) -> Vec<u64> {
    let text = ask(store, &format!("--alerts {arguments} --format jsonl")).data();
    let id = |line| {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["value"]
            .as_f64()
            .unwrap() as u64
    };
    text.lines().map(id).collect()
}

fn asked(store: &FakeStore) -> AlertsQuery {
    store.asked_alerts.lock().unwrap().last().unwrap().clone()
}

#[test]
fn of_all_sensors_it_is_the_day_up_to_the_newest_reading() {
    let store = store();
    assert_eq!(ids(&store, ""), [1, 2, 3, 4]);
    let expected = TimeMs(NEWEST.0 - MILLIS_PER_DAY)..DAY.next().next().start();
    assert_eq!((asked(&store).range, asked(&store).sensor), (expected, None));
    assert_eq!(ids(&store, "--limit 2"), [1, 2]);
    assert_eq!(ids(&store, "--kind humidity"), [2, 4]);
    assert_eq!(
        ids(&store, "--type humidity --limit 1"),
        [2],
        "the limit counts what is printed"
    );
}

#[test]
fn of_one_sensor_it_is_all_its_days() {
    let store = store();
    assert_eq!(ids(&store, "--sensor attic"), [2, 4, 5]);
    assert_eq!(asked(&store).range, DAY.start()..DAY.next().next().start());
    assert_eq!(
        ids(
            &store,
            "--sensor attic --from 2000-01-01T00:00:00Z --to 2024-10-05T00:00:00Z"
        ),
        [4, 5]
    );
    assert_eq!(asked(&store).range, DAY.start()..DAY.next().start(), "cut to its days");
    assert_eq!(ids(&store, "--sensor cellar"), [0; 0]);
    assert_eq!(store.directory_reads.load(Ordering::Relaxed), 0);
}

#[test]
fn a_short_range_needs_no_directory_and_a_long_one_is_cut_to_the_fleets_days() {
    let mut store = store();
    assert_eq!(ids(&store, "--last 5h"), [1, 2]);
    let now = TimeMs(NEWEST.0 + 3 * HOUR_MS);
    assert_eq!(
        asked(&store).range,
        TimeMs(now.0 - 5 * HOUR_MS)..TimeMs(now.0 + MILLIS_PER_DAY)
    );
    assert_eq!(store.directory_reads.load(Ordering::Relaxed), 0);
    store.sensors[1].first_day = Day(DAY.0 - 3);
    assert_eq!(ids(&store, "--from 2000-01-01T00:00:00Z"), [1, 2, 3, 4, 5]);
    assert_eq!(asked(&store).range, Day(DAY.0 - 3).start()..DAY.next().next().start());
    assert_eq!(store.directory_reads.load(Ordering::Relaxed), 1);
    store.sensors.clear();
    assert_eq!(ids(&store, ""), [0; 0], "an empty store has no newest day");
}

#[test]
fn active_ones_are_looked_up_whenever_they_were_raised() {
    let store = store();
    assert_eq!(ids(&store, "--active"), [3, 4, 5], "2 has been cleared since");
    assert_eq!(ids(&store, "--active --sensor attic"), [4, 5]);
    assert_eq!(ids(&store, "--active --limit 1"), [3]);
    assert_eq!(ids(&store, "--active --kind humidity"), [4]);
    assert_eq!(ids(&store, "--active --to 2024-10-04T23:00:00Z"), [4, 5]);
    assert!(store.asked_alerts.lock().unwrap().is_empty() && store.directory_reads.load(Ordering::Relaxed) == 0);
}

#[test]
fn all_active_ones_are_printed_and_of_the_others_a_hundred() {
    let mut store = FakeStore::new();
    let attic = store.sensors[0].sensor;
    for number in 0..150 {
        let alert = alert(number, attic, number as i64, true);
        store.active.push((attic, alert.id, alert.raised_at));
        store.alerts.push(alert);
    }
    assert_eq!((ids(&store, "--active").len(), ids(&store, "").len()), (150, 100));
    let notes = ask(&store, "--alerts").notes();
    assert!(notes.contains("stopped after 100 alerts; --limit"), "{notes}");
    assert_eq!(ids(&store, "--last 1d").len(), 150);
    assert_eq!(ask(&store, "--alerts --active").notes(), "");
}

#[test]
fn active_ones_last_until_the_question_and_one_sensor_needs_no_column() {
    let store = store();
    let table = ask(&store, "--alerts --active --sensor attic --limit 1").data();
    let expected = "\
raised at                 kind      rule    severity  value  peak  cleared at  lasted
────────────────────────  ────────  ──────  ────────  ─────  ────  ──────────  ──────
2024-10-04T22:00:00.000Z  humidity  a-rule  info        4.0   4.0  active      7h 00m
";
    assert_eq!(table, expected);
    let all = ask(&store, "--alerts").data();
    assert!(all.lines().next().unwrap().contains("  sensor  "), "{all}");
}

#[test]
fn where_there_are_none_it_is_said() {
    let store = FakeStore::new();
    let notes = |arguments: &str| ask(&store, &format!("--alerts {arguments}")).notes();
    let expected = "iotpipe: no alerts were raised from 2024-10-04T02:00:00.000Z to 2024-10-06T00:00:00.000Z\n";
    assert_eq!(notes(""), expected);
    assert_eq!(notes("--active"), "iotpipe: no alerts are active\n");
    assert_eq!(
        notes("--active --sensor attic --kind x"),
        "iotpipe: no such alerts of sensor attic are active\n"
    );
    let nowhere = notes("--sensor attic --to 2001-01-01T00:00:00Z");
    assert_eq!(
        nowhere,
        "iotpipe: no alerts of sensor attic: no readings lie in that range\n"
    );
    assert!(notes("--sensor cellar").contains("no sensor cellar"));
}

#[test]
fn the_newest_alerts_can_be_printed_into_any_output() {
    let (mut out, captured) = Out::captured(Some(80));
    block_on(print_alerts(&store(), &mut out, 2)).unwrap();
    assert_eq!(captured.data().lines().count(), 4);
}
