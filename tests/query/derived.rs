//! Windows, alerts and silence, on both stores.

use std::sync::Arc;

use iotpipe::model::{
    Aggregate, Alert, AlertChange, AlertEvent, AlertId, AlertWrite, Kind, SensorId, SensorWrite, Severity, Sighting,
    Source, TimeMs, TopicId, WindowCell, WindowKey, WriteId,
};
use iotpipe::store::{AnyStore, Store};
use serde_json::Value;

use super::{Place, SECONDS, START};

/// Where the second source takes over: in the middle of a minute.
const SPLIT: i64 = 1830;
/// The directory knows the attic until then, seconds since the start.
const KNOWN: i64 = 1799;

fn each_store() -> [Place; 2] {
    let places = [Place::new(), Place::on_cassandra()];
    for place in &places {
        place.with_store(async |store| fill(store).await);
    }
    places
}

fn source(partition: i32) -> Arc<Source> {
    Arc::new(Source {
        topic: Arc::from("t"),
        topic_id: TopicId::UNKNOWN,
        partition,
    })
}

fn at(second: i64) -> TimeMs {
    TimeMs(START.0 + second * 1000)
}

/// Adds the windows of the attic's readings, minutes and hours, in two parts; a sensor `porch` that fell silent; and an alert
/// that is over and one that is active, of the attic and of the porch.
async fn fill(store: &AnyStore) {
    let attic = SensorId::from_text("attic").0;
    for (partition, seconds) in [(0, 0..SPLIT), (1, SPLIT..SECONDS)] {
        let mut windows: Vec<WindowCell> = Vec::new();
        for (size_s, kind) in [
            (60, "humidity"),
            (60, "temperature"),
            (3600, "humidity"),
            (3600, "temperature"),
        ] {
            let kind = Kind::new(kind);
            for second in seconds.clone() {
                let key = WindowKey::of(kind.clone(), size_s, at(second));
                let one = one(second, &kind);
                match windows.last_mut() {
                    Some(last) if last.key == key => last.aggregate = last.aggregate.merged(&one),
                    _ => windows.push(WindowCell { key, aggregate: one }),
                }
            }
        }
        store.write(&write(attic, partition, windows, None)).await.unwrap();
    }
    let porch = SensorId::from_text("porch").0;
    let sighting = Sighting {
        label: Some(Arc::from("porch")),
        status: None,
        location: None,
        first_day: START.day(),
        last_day: START.day(),
        last_values: [(Kind::new("light"), (at(KNOWN - 301), 3.0))].into(),
    };
    store.write(&write(porch, 0, Vec::new(), Some(sighting))).await.unwrap();
    for (sensor, label, second, is_active) in [(attic, "attic", 1234, false), (porch, "porch", 600, true)] {
        store
            .write_alerts(&alert(sensor, label, second, is_active))
            .await
            .unwrap();
    }
}

fn one(second: i64, kind: &Kind) -> Aggregate {
    let spike = if second == 1234 { 99.5 } else { 20.1 };
    let value = if kind.as_str() == "humidity" {
        second as f64 / 4.0
    } else {
        spike
    };
    Aggregate {
        last_offset: second,
        count: 1,
        sum: value,
        mean: value,
        m2: 0.0,
        min: value,
        max: value,
        first: value,
        first_at: at(second),
        last: value,
        last_at: at(second),
    }
}

fn write(sensor: SensorId, partition: i32, windows: Vec<WindowCell>, sighting: Option<Sighting>) -> SensorWrite {
    SensorWrite {
        id: WriteId(9),
        partition,
        sensor,
        source: source(partition),
        rows: Vec::new(),
        windows,
        state: None,
        sighting: sighting.map(Box::new),
    }
}

fn alert(sensor: SensorId, label: &str, second: i64, is_active: bool) -> AlertWrite {
    let (kind, raised_at) = (Kind::new("temperature"), at(second));
    let id = AlertId::new(sensor, &kind, "temperature_high", &source(0).to_string(), second);
    let alert = Alert {
        id,
        sensor,
        label: Some(Arc::from(label)),
        kind,
        rule: Arc::from("temperature_high"),
        severity: Severity::Warning,
        raised_at,
        value: 99.5,
        peak: 99.5,
        cleared_at: (!is_active).then_some(at(second + 1)),
    };
    let event = if is_active {
        AlertEvent::Raised
    } else {
        AlertEvent::Cleared
    };
    AlertWrite {
        id: WriteId(10),
        partition: 0,
        sensor,
        source: source(0),
        changes: vec![AlertChange {
            event,
            offset: second,
            alert,
        }],
        statuses: Vec::new(),
        active: if is_active { vec![(id, raised_at)] } else { Vec::new() },
    }
}

impl Place {
    /// The rows of a query that succeeds, with what it noted.
    fn objects(&self, arguments: &str) -> (Vec<Value>, String) {
        let (code, stdout, stderr) = self.run(&format!("{arguments} --format jsonl"));
        assert_eq!(code, Some(0), "{arguments}: {stderr}");
        (
            stdout
                .lines()
                .map(|line| serde_json::from_str(line).expect(line))
                .collect(),
            stderr,
        )
    }

    fn table(&self, arguments: &str) -> Vec<String> {
        let (code, stdout, stderr) = self.run(arguments);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments}");
        stdout.lines().map(str::to_owned).collect()
    }
}

fn texts(objects: &[Value], name: &str) -> Vec<String> {
    objects
        .iter()
        .map(|object| object[name].as_str().unwrap_or("null").to_owned())
        .collect()
}

#[test]
fn windows_derived_from_readings_are_listed_drawn_and_totalled() {
    let all = "--from 2000-01-01T00:00:00Z";
    for place in each_store() {
        let (minutes, notes) = place.objects(&format!(
            "--sensor attic --window 1m --kind humidity {all} --order oldest"
        ));
        assert_eq!((minutes.len(), notes.as_str()), (60, ""));
        for (minute, window) in (0_i64..).zip(&minutes) {
            let (low, high) = (minute * 15, minute * 15 + 14);
            assert_eq!(
                (window["count"].as_i64(), window["start_ms"].as_i64()),
                (Some(60), Some(at(minute * 60).0))
            );
            assert_eq!(
                (window["min"].as_f64(), window["max"].as_f64()),
                (Some(low as f64), Some(high as f64 + 0.75))
            );
            assert_eq!(
                window["sum"].as_f64(),
                Some(60.0 * low as f64 + 442.5),
                "of both sources, in minute {minute}"
            );
            assert_eq!(
                (window["first"].as_f64(), window["last"].as_f64()),
                (Some(low as f64), Some(high as f64 + 0.75))
            );
            assert!((window["deviation"].as_f64().unwrap() - 4.329_5).abs() < 1e-3);
        }
        // The directory knows half of the readings, the newest stored one is at 00:29:59.
        let states = texts(&minutes, "state");
        assert!(
            states[..59].iter().all(|state| state == "complete") && states[59] == "open",
            "{states:?}"
        );

        let (quarters, _) = place.objects(&format!("--sensor attic --window 15m --kind temperature {all}"));
        let expected = [
            "2024-10-05T00:15:00.000Z",
            "2024-10-05T00:00:00.000Z",
            "2024-10-04T23:45:00.000Z",
            "2024-10-04T23:30:00.000Z",
        ];
        assert_eq!(texts(&quarters, "start"), expected);
        assert_eq!(quarters[2]["max"].as_f64(), Some(99.5));
        assert!(quarters.iter().all(|window| window["count"] == 900));
        let (days, _) = place.objects("--sensor attic --window 1d --kind temperature");
        assert_eq!(
            (days.len(), days[0]["count"].as_i64(), &days[0]["state"]),
            (1, Some(1800), &"open".into())
        );
        let (none, notes) = place.objects("--sensor attic --window 1m --kind light");
        assert!(none.is_empty() && notes.contains("has no light"));

        let lines = place.table(&format!("--sensor attic --window 1h {all} --limit 1"));
        let expected = "2024-10-05T00:00:00.000Z  2024-10-05T01:00:00.000Z  humidity  1,800  674.875  450.0  899.75    129.904  open";
        assert_eq!(lines[2], expected);
        let totals = &lines[lines.len() - 2..];
        assert!(
            totals[0].starts_with("2024-10-04T23:00:00.000Z  2024-10-05T01:00:00.000Z  humidity     3,600  449.875"),
            "{totals:?}"
        );
        assert!(
            totals[1].contains("temperature  3,600  20.1221  20.1    99.5"),
            "{totals:?}"
        );

        let chart = place.table(&format!("--sensor attic --window 1m --kind temperature {all} --plot"));
        assert_eq!(chart[0], "temperature  mean 20.1 to 21.4233, ░ 20.1 to 99.5  (60 × 1m)");
        assert!(
            chart[1].contains('░') && chart.iter().all(|line| line.chars().count() <= 80),
            "{chart:?}"
        );
    }
}

#[test]
fn alerts_are_listed_by_range_by_sensor_and_while_active() {
    for place in each_store() {
        let labels = |arguments: &str| texts(&place.objects(&format!("--alerts {arguments}")).0, "label");
        assert_eq!(labels(""), ["attic", "porch"], "newest raised first");
        assert_eq!(labels("--from 2000-01-01T00:00:00Z"), ["attic", "porch"]);
        assert_eq!(
            labels("--from 2024-10-04T23:40:00.001Z --to 2024-10-05T00:00:00Z"),
            ["attic"]
        );
        assert_eq!(labels("--limit 1"), ["attic"]);
        assert_eq!(labels("--sensor porch"), ["porch"]);
        assert_eq!(labels("--active"), ["porch"]);
        assert_eq!(labels("--active --sensor porch"), ["porch"]);
        assert_eq!(labels("--active --sensor attic"), [""; 0]);
        let (alerts, _) = place.objects("--alerts --sensor attic");
        assert_eq!(
            (&alerts[0]["rule"], &alerts[0]["severity"]),
            (&"temperature_high".into(), &"warning".into())
        );
        assert_eq!(alerts[0]["raised_at_ms"].as_i64(), Some(at(1234).0));
        assert_eq!(alerts[0]["cleared_at"], "2024-10-04T23:50:35.000Z");
        let table = place.table("--alerts");
        assert!(
            table[2].starts_with("2024-10-04T23:50:34.000Z  attic   temperature  temperature_high  warning "),
            "{table:?}"
        );
        assert!(
            table[2].contains("  2024-10-04T23:50:35.000Z  ") && table[2].ends_with("1.0 s"),
            "{table:?}"
        );
        assert!(table[3].contains("  active  "), "{table:?}");
        let (none, notes) = place.objects("--alerts --last 1h");
        assert!(
            none.is_empty() && notes.contains("no alerts were raised from "),
            "{notes}"
        );
    }
}

#[test]
fn sensors_show_active_alerts_and_silence() {
    for place in each_store() {
        let sensors = |arguments: &str| place.objects(&format!("--sensors {arguments}")).0;
        let mut all: Vec<(String, Option<u64>, Option<i64>)> = sensors("")
            .iter()
            .map(|it| {
                (
                    it["label"].as_str().unwrap().to_owned(),
                    it["active_alerts"].as_u64(),
                    it["silent_ms"].as_i64(),
                )
            })
            .collect();
        all.sort();
        let expected = [
            ("attic".to_owned(), Some(0), None),
            ("porch".to_owned(), Some(1), Some(301_000)),
        ];
        assert_eq!(all, expected);
        assert_eq!(texts(&sensors("--silent"), "label"), ["porch"]);
        assert_eq!(texts(&sensors("--silent --silent-after 302s"), "label"), [""; 0]);
        assert_eq!(texts(&sensors("--alerting"), "label"), ["porch"]);
        let table = place.table("--sensors --silent");
        assert!(table[2].contains("      5m 01s       1  light 3.0"), "{table:?}");
    }
}
