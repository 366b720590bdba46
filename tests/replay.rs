//! Recorded data from a CSV file: through real servers to the bit, and what is refused.

use std::time::Instant;

use serde_json::Value;

use crate::servers::Place;

/// Two machines, two measures, one empty cell, one time that goes back.
const PLANT: &str = "\
machine,measured_at,rpm,load,operator
press-1,2025-11-05T12:00:00.250Z,1500.1,0.30000000000000004,ann
press-2,2025-11-05 12:00:01,,1e-7,bob
press-1,2025-11-05T13:00:02+01:00,-0.1,12345678.9,ann
press-2,2025-11-05T12:00:00Z,7,true,
";
const COLUMNS: &[&str] = &[
    "--time-column",
    "measured_at",
    "--id-column",
    "machine",
    "--value-column",
    "rpm,load",
];

fn file(place: &Place, name: &str, text: &str) -> String {
    let path = place.directory().join(name);
    std::fs::write(&path, text).expect("writable");
    path.to_str().expect("text").to_owned()
}

fn replay<'a>(file: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    ["produce", "--replay", file]
        .into_iter()
        .chain(COLUMNS.iter().copied())
        .chain(more.iter().copied())
        .collect()
}

/// (time in ms, kind, the value's bits), in the order of time and kind.
fn stored(place: &Place, sensor: &str) -> Vec<(i64, String, u64)> {
    let arguments = [
        "query",
        "--sensor",
        sensor,
        "--from",
        "2000-01-01T00:00:00Z",
        "--format",
        "jsonl",
    ];
    let mut rows: Vec<_> = place
        .ok(&arguments)
        .lines()
        .map(|line| {
            let row: Value = serde_json::from_str(line).expect(line);
            let kind = row["kind"].as_str().expect(line).to_owned();
            (
                row["time_ms"].as_i64().expect(line),
                kind,
                row["value"].as_f64().expect(line).to_bits(),
            )
        })
        .collect();
    rows.sort();
    rows
}

#[test]
fn recorded_data_can_be_asked_for_to_the_bit() {
    let place = Place::new("replay");
    place.ok(&["init-schema", "--retention", "none"]);
    let file = file(&place, "plant.csv", PLANT);
    let told = place.ok(&replay(&file, &["--speed", "0"]));
    assert!(told.contains("acknowledged     7"), "{told}");
    place.ok(&["consume", "--until-end"]);
    let noon = 1_762_344_000_000;
    let row = |ms: i64, kind: &str, value: f64| (noon + ms, kind.to_owned(), value.to_bits());
    assert_eq!(
        stored(&place, "press-1"),
        [
            row(250, "load", 0.1 + 0.2),
            row(250, "rpm", 1500.1),
            row(2000, "load", 12_345_678.9),
            row(2000, "rpm", -0.1)
        ]
    );
    assert_eq!(
        stored(&place, "press-2"),
        [row(0, "load", 1.0), row(0, "rpm", 7.0), row(1000, "load", 1e-7)]
    );
}

#[test]
fn recorded_pauses_are_kept_and_times_can_be_moved_to_now() {
    let place = Place::new("replay_speed");
    let file = file(&place, "one.csv", "timestamp,value\n0,1\n30000,2\n60000,3\n");
    let began = Instant::now();
    let printed = place.ok(&[
        "produce",
        "--replay",
        &file,
        "--speed",
        "60",
        "--shift-to-now",
        "--stdout",
        "--kind",
        "t",
    ]);
    assert!(
        began.elapsed().as_secs_f64() > 0.99,
        "a minute at 60 times the speed is a second"
    );
    let rows: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let times: Vec<i64> = rows
        .iter()
        .map(|row| row["reading_time"].as_i64().expect("a time"))
        .collect();
    assert_eq!([times[1] - times[0], times[2] - times[0]], [30_000, 60_000]);
    assert!(times[0] > 1_700_000_000_000, "moved to now: {}", times[0]);
    assert!(
        rows.iter().all(|row| row["sensor_id"] == "one" && row["type"] == "t"),
        "{printed}"
    );
}

#[test]
fn what_cannot_be_replayed_is_refused_before_anything_is_sent() {
    let place = Place::new("replay_refused");
    let bad = file(&place, "bad.csv", &PLANT.replace("1e-7", "high"));
    let (code, out, error) = place.run(&replay(&bad, &["--stdout", "--speed", "0"]));
    assert_eq!((code, out.as_str()), (Some(1), ""), "{error}");
    assert!(
        error.contains("line 3: load \"high\" is not a finite number"),
        "{error}"
    );
    let (code, _, error) = place.run(&["produce", "--replay", &bad, "--stdout"]);
    assert_eq!(code, Some(1), "{error}");
    assert!(
        error.contains("no column \"timestamp\"") && error.contains("measured_at"),
        "{error}"
    );
    let (code, _, error) = place.run(&["produce", "--replay", "/does/not/exist.csv"]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("/does/not/exist.csv"), "{error}");
    for more in [
        ["--rate", "5"],
        ["--anomaly-probability", "0.1"],
        ["--manifest", "m.json"],
        ["--sensor", "x"],
    ] {
        let (code, _, error) = place.run(&replay(&bad, &more));
        assert_eq!(code, Some(2), "{more:?}: {error}");
    }
    let (code, _, error) = place.run(&["produce", "--speed", "2"]);
    assert_eq!(code, Some(2), "{error}");
}
