//! The independent comparison, in Python: does the store hold what the topic says, and does it notice where not?

use std::fmt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::process::words;
use crate::servers::Place;

/// Rules that the program can be given instead of the defaults.
pub const RULES_OF_EVERY_TEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle/every_test.toml");

/// Ends the test unless every cell of the store is as the topic says, by the default rules. Answers what was counted.
pub fn compare(place: &Place) -> Counts {
    compare_with(place, &[])
}

/// The same, by the rules of a file.
pub fn compare_by_rules(place: &Place, file: &str) -> Counts {
    compare_with(place, &["--rules", file])
}

/// The same as [`compare`], of what all replicas together have: each row is read at ALL.
pub fn compare_at_all(place: &Place) -> Counts {
    compare_with(place, &["--consistency", "ALL"])
}

fn compare_with(place: &Place, more: &[&str]) -> Counts {
    let more = more.iter().chain(&["--json"]).map(ToString::to_string);
    let arguments: Vec<String> = of_place(place).into_iter().chain(more).collect();
    let output = run("compare.py", &arguments);
    let text = String::from_utf8_lossy(&output.stdout);
    let found: Value = serde_json::from_str(&text).unwrap_or_default();
    assert!(
        output.status.success() && found["equal"] == true,
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let counts = Counts(found["counts"].clone());
    println!("the oracle: {counts} in {} s", found["seconds"]);
    counts
}

/// Records that are right, and as strange as right records can be.
pub fn write_odd_records(place: &Place, count: i64, seed: i64) {
    let (count, seed) = (count.to_string(), seed.to_string());
    let arguments = [
        ["--brokers", &place.kafka, "--topic", &place.topic],
        ["--count", &count, "--seed", &seed],
    ];
    let arguments: Vec<String> = arguments.as_flattened().iter().map(ToString::to_string).collect();
    let output = run("odd_records.py", &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What the oracle counted in the topic and in the tables.
pub struct Counts(Value);

impl Counts {
    /// 0 where it never came up.
    pub fn of(&self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap_or(0)
    }
}

/// What there was of it.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.as_object().into_iter().flatten();
        let mut counts = counts.filter(|(_, count)| **count != 0);
        counts.try_for_each(|(name, count)| write!(f, "{name} {count}, "))
    }
}

/// Every cell of every table with its write time, a row a line. Without the newest values in the directory of sensors:
/// these follow the clock, at most once a minute.
pub fn dump(place: &Place) -> String {
    let arguments = ["--cassandra", &place.cassandra, "--keyspace", &place.keyspace];
    let without = ["--without", "sensors.last_values"];
    let arguments: Vec<String> = arguments.iter().chain(&without).map(ToString::to_string).collect();
    let output = run("dump.py", &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("ASCII")
}

/// Ends the test with the first line that differs.
pub fn assert_same(before: &str, after: &str) {
    let lines = before.lines().zip(after.lines());
    if let Some((was, is)) = { lines }.find(|(was, is)| was != is) {
        panic!("the store changed:\n- {was}\n+ {is}");
    }
    assert_eq!(before.lines().count(), after.lines().count(), "rows came or went");
}

#[test]
fn the_oracle_passes_its_own_tests() {
    let output = run("compare.py", &["--self-test".to_owned()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_oracle_finds_every_cell_that_is_wrong() {
    let place = Place::new("teeth");
    place.ok(&["init-schema"]);
    place.ok(&words(
        "produce --count 30000 --rate 0 --sensors 100 --seed 9 --anomaly-probability 0.01",
    ));
    // These say their status.
    place.ok(&words(
        "produce --count 500 --rate 0 --sensors 50 --seed 10 --payload wide",
    ));
    place.ok(&["consume", "--until-end"]);
    let output = run("teeth.py", &of_place(&place));
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// What the oracle needs to know of a place where windows, alerts and rules are the defaults.
fn of_place(place: &Place) -> Vec<String> {
    let arguments = [
        ["--brokers", &place.kafka, "--topic", &place.topic],
        ["--cassandra", &place.cassandra, "--keyspace", &place.keyspace],
        ["--windows", "60,3600", "--alerts", "--check-writetime"],
        ["--alerts-topic", "alerts", "--events-topic", "events"],
    ];
    let dead_letters = ["--dlq-topic".to_owned(), format!("{}.dlq", place.topic)];
    let arguments = arguments.as_flattened().iter().map(ToString::to_string);
    arguments.chain(dead_letters).collect()
}

/// Runs a script of `tests/oracle/` to its end.
pub fn run(script: &str, arguments: &[String]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle").join(script);
    Command::new(crate::python::environment("oracle").join("bin/python"))
        .arg("-B")
        .arg(script)
        .args(arguments)
        .output()
        .expect("python runs")
}
