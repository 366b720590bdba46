//! `verify` on real Kafka and both stores: a run that is whole is proven so, and everything that is not as it should be is
//! named.

mod raw;

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::servers::Place;
use raw::{Parts, Raw, Reading, Window};

/// What goes wrong in the field, and what the fleet does to its records on purpose.
const FAULTS: [&str; 14] = [
    "--anomaly-probability",
    "0.004",
    "--late-probability",
    "0.05",
    "--late-max",
    "3m",
    "--duplicate-probability",
    "0.05",
    "--malformed-probability",
    "0.02",
    "--silence-probability",
    "0.001",
    "--log-level",
    "error",
];

/// A topic and a store with its name.
struct Site {
    place: Place,
    store: String,
}

impl Site {
    fn cassandra(name: &str) -> Site {
        let place = Place::new(name);
        let store = format!("cassandra://{}/{}", place.cassandra, place.keyspace);
        Site { place, store }
    }

    fn sqlite(name: &str) -> Site {
        let place = Place::new(name);
        let store = format!("sqlite:{}", place.directory().join("store.db").display());
        Site { place, store }
    }

    fn raw(&self) -> Raw {
        match self.store.strip_prefix("sqlite:") {
            Some(path) => Raw::sqlite(path),
            None => Raw::cassandra(&self.place.cassandra, &self.place.keyspace),
        }
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let on_store: Vec<&str> = arguments.iter().copied().chain(["--store", &self.store]).collect();
        self.place.run(&on_store)
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {stdout}{stderr}");
        stdout
    }

    fn consume_all(&self) {
        let (code, stdout, stderr) = self.run(&["consume", "--until-end", "--log-level", "error"]);
        assert!(matches!(code, Some(0 | 3)), "dead letters are meant: {stdout}{stderr}");
    }

    /// The outcome as JSON; the exit code must say the same.
    fn verify(&self, run: &str, more: &[&str]) -> Value {
        let arguments: Vec<&str> = ["verify", run, "--format", "json"]
            .iter()
            .chain(more)
            .copied()
            .collect();
        let (code, stdout, stderr) = self.run(&arguments);
        let found: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{code:?} {stdout}{stderr}"));
        let expected = if found["equal"] == true { 0 } else { 3 };
        assert_eq!(code, Some(expected), "{found}");
        found
    }

    fn assert_equal(&self, run: &str) -> Value {
        let found = self.verify(run, &[]);
        assert_eq!(found["equal"], true, "{found}");
        found
    }

    /// Asserts that these rows are wrong, each as said, in the order of time, and no others.
    fn assert_differs(&self, sensor: uuid::Uuid, expected: &[(i64, &str, &str, &str)]) -> Value {
        let found = self.verify("run.json", &[]);
        let rows: Vec<(&str, i64, &str, &str, &str)> = found["differences"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|row| {
                let text = |name: &str| row[name].as_str().expect("a text");
                let time_ms = row["time_ms"].as_i64().expect("a time");
                (text("sensor_id"), time_ms, text("kind"), text("row"), text("is"))
            })
            .collect();
        let id = sensor.to_string();
        let expected: Vec<_> = expected
            .iter()
            .map(|&(time_ms, kind, row, is)| (id.as_str(), time_ms, kind, row, is))
            .collect();
        assert_eq!(rows, expected, "{found}");
        let wrong = ["missing", "unexpected", "different"]
            .iter()
            .flat_map(|is| [&found["readings"][is], &found["windows"][is]])
            .map(|count| count.as_u64().expect("a count"))
            .sum::<u64>();
        assert_eq!(wrong, rows.len() as u64, "{found}");
        found["differences"].clone()
    }
}

#[test]
fn cassandra_holds_a_run_and_everything_that_is_wrong_is_named() {
    teeth(&Site::cassandra("verify"));
}

#[test]
fn sqlite_holds_a_run_and_everything_that_is_wrong_is_named() {
    teeth(&Site::sqlite("verify"));
}

fn teeth(site: &Site) {
    site.ok(&["init-schema"]);
    let run = [
        "produce",
        "--count",
        "6000",
        "--rate",
        "0",
        "--sensors",
        "10",
        "--seed",
        "5",
    ];
    let produce: Vec<&str> = run
        .iter()
        .chain(&["--manifest", "run.json"])
        .chain(&FAULTS)
        .copied()
        .collect();
    let said = site.ok(&produce);
    assert!(said.contains("run.json, and in the store"), "{said}");
    let nothing_yet = site.verify("run.json", &["--differences", "3"]);
    assert_eq!(nothing_yet["readings"]["missing"], nothing_yet["readings"]["expected"]);
    assert_eq!(nothing_yet["differences"].as_array().map(Vec::len), Some(3));
    site.consume_all();

    let found = site.assert_equal("run.json");
    assert_eq!(
        site.assert_equal(found["run"].as_str().expect("an id")),
        found,
        "by its id too"
    );
    assert!(found["readings"]["equal"].as_u64() > Some(5_500), "{found}");
    assert!(found["windows"]["equal"].as_u64() > Some(100), "{found}");
    let spikes = &found["alerts"]["by_fault"]["spike"];
    assert!(
        spikes["anomalies"].as_u64() > Some(3) && spikes["recall"].as_f64() > Some(0.3),
        "{found}"
    );

    let mut raw = site.raw();
    let (reading, window) = (a_reading(&mut raw), a_window(&mut raw));
    readings_that_are_wrong(site, &mut raw, &reading);
    windows_that_are_wrong(site, &mut raw, &window);
    the_first_are_told(site, &mut raw, &window);
    site.assert_equal("run.json");
    a_window_of_two_sources_is_one(site, &mut raw);
    raw.forget_alerts();
    let found = site.assert_equal("run.json");
    assert_eq!(
        found["alerts"]["alerts"], 0,
        "alerts are no part of the verdict: {found}"
    );
}

/// One that has others of its sensor before and after it.
fn a_reading(raw: &mut Raw) -> Reading {
    let mut readings = raw.readings();
    readings.sort_by_key(|reading| (reading.sensor, reading.time_ms));
    let middle = readings
        .windows(3)
        .find(|three| three.iter().all(|reading| reading.sensor == three[1].sensor));
    middle.expect("three readings")[1].clone()
}

/// A minute with several readings, not the sensor's first.
fn a_window(raw: &mut Raw) -> Window {
    let mut windows = raw.windows();
    windows.sort_by_key(|window| (window.sensor, window.start_ms));
    let of_minutes: Vec<&Window> = windows.iter().filter(|window| window.size_s == 60).collect();
    let inner = of_minutes
        .windows(3)
        .find(|three| three.iter().all(|window| window.sensor == three[1].sensor) && three[1].parts.count > 3);
    inner.expect("three minutes")[1].clone()
}

/// A minute without a reading that was sent twice, with its rows in the order of their times: it can be put together from
/// them.
fn a_window_of_its_rows(raw: &mut Raw) -> (Window, Vec<Reading>) {
    let mut readings = raw.readings();
    readings.sort_by_key(|reading| reading.time_ms);
    let of_minutes = raw.windows().into_iter().filter(|window| window.size_s == 60);
    let mut with_rows = of_minutes.map(|window| {
        let minute = window.start_ms..window.start_ms + 60_000;
        let is_in = |reading: &&Reading| {
            (reading.sensor, &reading.kind) == (window.sensor, &window.kind) && minute.contains(&reading.time_ms)
        };
        let rows: Vec<Reading> = readings.iter().filter(is_in).cloned().collect();
        (window, rows)
    });
    with_rows
        .find(|(window, rows)| window.parts.count > 3 && rows.len() as i64 == window.parts.count)
        .expect("a minute without duplicates")
}

fn readings_that_are_wrong(site: &Site, raw: &mut Raw, reading: &Reading) {
    let (sensor, time_ms, kind) = (reading.sensor, reading.time_ms, reading.kind.as_str());
    raw.delete_reading(reading);
    site.assert_differs(sensor, &[(time_ms, kind, "reading", "missing")]);

    let shifted = Reading {
        time_ms: time_ms + 1,
        ..reading.clone()
    };
    raw.write_reading(&shifted);
    let moved = [
        (time_ms, kind, "reading", "missing"),
        (time_ms + 1, kind, "reading", "unexpected"),
    ];
    site.assert_differs(sensor, &moved);
    raw.write_reading(reading);
    site.assert_differs(sensor, &moved[1..]);
    raw.delete_reading(&shifted);

    let value = f64::from_bits(reading.value.to_bits() ^ 1);
    raw.write_reading(&Reading {
        value,
        ..reading.clone()
    });
    let told = site.assert_differs(sensor, &[(time_ms, kind, "reading", "different")]);
    assert_eq!(told[0]["expected"], reading.value.to_string());
    assert_eq!(told[0]["found"], value.to_string());
    raw.write_reading(reading);

    let stranger = Reading {
        kind: "of_nobody".to_owned(),
        ..reading.clone()
    };
    raw.write_reading(&stranger);
    site.assert_differs(sensor, &[(time_ms, "of_nobody", "reading", "unexpected")]);
    raw.delete_reading(&stranger);
}

fn windows_that_are_wrong(site: &Site, raw: &mut Raw, window: &Window) {
    let (sensor, start_ms, kind) = (window.sensor, window.start_ms, window.kind.as_str());
    raw.delete_window(window);
    site.assert_differs(sensor, &[(start_ms, kind, "window 1m", "missing")]);

    raw.write_window(&Window {
        parts: window.parts.and(window.parts.last_at, window.parts.last),
        ..window.clone()
    });
    let told = site.assert_differs(sensor, &[(start_ms, kind, "window 1m", "different")]);
    let counts = [window.parts.count, window.parts.count + 1].map(|count| format!("count {count}, "));
    for (side, count) in ["expected", "found"].iter().zip(counts) {
        assert!(
            told[0][side].as_str().is_some_and(|text| text.starts_with(&count)),
            "{told}"
        );
    }

    // One record twice that takes another's place: the count is right, and the sums are not.
    raw.write_window(&Window {
        parts: Parts {
            m2: f64::from_bits(window.parts.m2.to_bits() + 1),
            ..window.parts
        },
        ..window.clone()
    });
    let told = site.assert_differs(sensor, &[(start_ms, kind, "window 1m", "different")]);
    assert!(
        told[0]["found"].as_str().is_some_and(|text| text.starts_with("m2 ")),
        "{told}"
    );
    raw.write_window(window);

    let stranger = Window {
        kind: "of_nobody".to_owned(),
        ..window.clone()
    };
    raw.write_window(&stranger);
    site.assert_differs(sensor, &[(start_ms, "of_nobody", "window 1m", "unexpected")]);
    raw.delete_window(&stranger);
}

/// Readings and windows of one sensor in one order, also where there is no room for all.
fn the_first_are_told(site: &Site, raw: &mut Raw, window: &Window) {
    let readings = raw.readings();
    let is_later = |reading: &&Reading| reading.sensor == window.sensor && reading.time_ms > window.start_ms + 60_000;
    let later: Vec<&Reading> = readings.iter().filter(is_later).collect();
    assert!(later.len() > 3, "more than is told");
    later.iter().for_each(|reading| raw.delete_reading(reading));
    raw.delete_window(window);
    let found = site.verify("run.json", &["--differences", "2"]);
    let told = found["differences"].as_array().expect("a list");
    assert_eq!(told.len(), 2, "{found}");
    assert_eq!(
        (&told[0]["row"], &told[1]["row"]),
        (&"window 1m".into(), &"reading".into()),
        "{found}"
    );
    let first = later.iter().map(|reading| reading.time_ms).min();
    assert_eq!(told[1]["time_ms"].as_i64(), first, "{found}");
    assert_eq!(
        found["readings"]["missing"].as_u64(),
        Some(later.len() as u64),
        "all are counted: {found}"
    );
    let (code, table, _) = site.run(&["verify", "run.json", "--differences", "2"]);
    assert!(
        code == Some(3) && table.contains(&format!("and {} more", later.len() - 1)),
        "{table}"
    );
    later.iter().for_each(|reading| raw.write_reading(reading));
    raw.write_window(window);
}

/// As a topic leaves it behind that was made anew while a minute ran.
fn a_window_of_two_sources_is_one(site: &Site, raw: &mut Raw) {
    let (window, readings) = a_window_of_its_rows(raw);
    let of = |readings: &[Reading]| {
        let first = Parts::of(readings[0].time_ms, readings[0].value);
        readings[1..]
            .iter()
            .fold(first, |parts, reading| parts.and(reading.time_ms, reading.value))
    };
    let (early, late) = readings.split_at(readings.len() / 2);
    raw.write_window(&Window {
        parts: of(early),
        ..window.clone()
    });
    raw.write_window(&Window {
        parts: of(late),
        source: format!("{}_again", window.source),
        ..window.clone()
    });
    site.assert_equal("run.json");
    raw.write_window(&window);
    let told = site.assert_differs(
        window.sensor,
        &[(window.start_ms, &window.kind, "window 1m", "different")],
    );
    assert!(
        told[0]["found"].as_str().is_some_and(|text| text.starts_with("count ")),
        "counted twice: {told}"
    );
    raw.delete_window(&Window {
        source: format!("{}_again", window.source),
        ..window.clone()
    });
}

#[test]
fn runs_that_end_in_every_way_are_verified_one_by_one() {
    let site = Site::sqlite("verify_ends");
    site.ok(&["init-schema"]);
    let runs: [(&str, &[&str]); 5] = [
        ("count", &["--count", "2003", "--rate", "0", "--sensors", "17"]),
        ("paced", &["--count", "700", "--rate", "1000", "--sensors", "3"]),
        ("duration", &["--duration", "1s", "--rate", "701", "--sensors", "40"]),
        ("unpaced", &["--duration", "100ms", "--rate", "0", "--sensors", "50"]),
        (
            "wide",
            &["--count", "301", "--rate", "0", "--sensors", "7", "--payload", "wide"],
        ),
    ];
    for (seed, (name, ends)) in runs.iter().enumerate() {
        let (seed, file) = (seed.to_string(), format!("{name}.json"));
        let common = ["--seed", seed.as_str(), "--manifest", file.as_str()];
        let produce: Vec<&str> = ["produce"]
            .iter()
            .chain(*ends)
            .chain(&common)
            .chain(&FAULTS)
            .copied()
            .collect();
        site.ok(&produce);
    }
    stopped_by_a_signal(&site);
    site.consume_all();
    for name in runs.iter().map(|(name, _)| *name).chain(["stopped"]) {
        let found = site.assert_equal(&format!("{name}.json"));
        assert!(found["readings"]["equal"].as_u64() > Some(100), "{name}: {found}");
    }
}

/// Somewhere in a round of the sensors, with records held back.
fn stopped_by_a_signal(site: &Site) {
    let run = [
        "produce",
        "--rate",
        "300",
        "--sensors",
        "90",
        "--seed",
        "99",
        "--manifest",
        "stopped.json",
    ];
    let arguments: Vec<&str> = run
        .iter()
        .chain(&FAULTS)
        .chain(&["--store", &site.store])
        .copied()
        .collect();
    let mut child = site
        .place
        .command(&arguments)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("starts");
    std::thread::sleep(Duration::from_millis(1_900));
    let killed = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.expect("kill runs").success());
    let deadline = Instant::now() + Duration::from_secs(60);
    let status = loop {
        match child.try_wait().expect("a child of ours") {
            Some(status) => break status,
            None if Instant::now() > deadline => {
                let _ = child.kill();
                panic!("it did not end");
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    assert!(status.success(), "{status}");
}

#[test]
fn what_is_no_manifest_is_said_before_anything_is_done() {
    let site = Site::sqlite("verify_errors");
    site.ok(&["init-schema"]);
    let fails = |arguments: &[&str], code: i32, words: &str| {
        let (found, stdout, stderr) = site.run(arguments);
        assert_eq!((found, stdout.as_str()), (Some(code), ""), "{arguments:?}: {stderr}");
        assert!(
            stderr.lines().count() == 1 && stderr.contains(words),
            "{arguments:?}: {stderr}"
        );
    };
    let write = |name: &str, text: &str| std::fs::write(site.place.directory().join(name), text).expect("writable");
    fails(&["verify", "nowhere.json"], 2, "there is no file nowhere.json");
    fails(
        &["verify", "6f1c2d3e-0000-4000-8000-00000000abcd"],
        2,
        "the store knows no run",
    );
    write("empty.json", "");
    fails(&["verify", "empty.json"], 2, "empty.json is no manifest of a run");

    let count = ["--count", "50", "--rate", "0", "--sensors", "5", "--log-level", "error"];
    let produce = |file| [&["produce", "--manifest", file], count.as_slice()].concat();
    fails(&produce("/proc/run.json"), 1, "/proc/run.json");
    fails(&produce("."), 1, "directory");
    fails(&[&produce("x.json")[..], &["--stdout"]].concat(), 2, "--stdout");
    assert!(!site.ok(&produce("run.json")).is_empty());
    let text = std::fs::read_to_string(site.place.directory().join("run.json")).expect("written");
    let manifest: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        manifest["counts"]["acknowledged"], 50,
        "the runs that were refused sent nothing"
    );
    let offsets = manifest["offsets"].as_array().expect("a list").iter();
    let sent = offsets.map(|range| range["last"].as_i64().unwrap() - range["first"].as_i64().unwrap() + 1);
    assert_eq!(sent.sum::<i64>(), 50, "nobody else wrote there");

    write("newer.json", &text.replace("\"version\": 1", "\"version\": 2"));
    fails(&["verify", "newer.json"], 2, "version 2");
    write("other.json", &text.replace("\"sent\": 50", "\"sent\": 51"));
    fails(&["verify", "other.json"], 1, "makes 50 records, and the run sent 51");
    let gone = ["verify", "run.json", "--store", "sqlite:gone.db"];
    let (code, _, stderr) = site.place.run(&gone);
    assert!(code == Some(1) && stderr.contains("gone.db"), "{stderr}");
}

#[test]
fn a_manifest_needs_no_store_where_none_is_named() {
    let place = Place::new("verify_no_store");
    place.ok(&["init-schema"]);
    let arguments = [
        "produce",
        "--count",
        "50",
        "--rate",
        "0",
        "--sensors",
        "5",
        "--manifest",
        "run.json",
    ];
    let output = place
        .command(&arguments)
        .env_remove("IOTPIPE_STORE")
        .output()
        .expect("starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.lines().any(|line| line.ends_with("  run.json")),
        "{said}"
    );
    // And where the one that is named is not there, the run does not start.
    let (code, _, stderr) = place.run(&[&arguments[..], &["--store", "sqlite:gone.db"]].concat());
    assert!(code == Some(1) && stderr.contains("gone.db"), "{stderr}");
}
