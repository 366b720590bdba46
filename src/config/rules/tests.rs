//! Each key, each test, and each thing that can be wrong with a rule.

use std::path::Path;

use super::*;
use crate::config::file;

fn resolved(text: &str) -> Result<Rules, UsageError> {
    resolve(file::parse(text, Path::new("f.toml"))?.rules)
}

fn rule(text: &str, name: &str) -> Rule {
    let rules = resolved(text).unwrap_or_else(|error| panic!("{text}: {error}")).enabled;
    rules.into_iter().find(|rule| &*rule.name == name).expect(name)
}

/// Of a complete rule `x`, whose table begins in the first line, with these lines besides.
fn error_with(lines: &str) -> String {
    error_of(&format!("[rules.x]\nkinds = [\"a\"]\n{lines}\n"))
}

fn error_of(text: &str) -> String {
    let error = resolved(text).expect_err(text).0;
    assert!(!error.contains('\n'), "{error}");
    error
}

#[test]
fn the_default_rules_are_these() {
    let kinds = |names: &[&str]| Some(names.iter().map(|name| Kind::new(name)).collect());
    let rule = |name: &str, names: &[&str], test, severity| Rule {
        name: Arc::from(name),
        kinds: kinds(names),
        test,
        debounce: 1,
        severity,
    };
    let (high, low) = (
        |threshold, hysteresis| Test::High { threshold, hysteresis },
        |threshold, hysteresis| Test::Low { threshold, hysteresis },
    );
    let outlier = Test::Zscore {
        threshold: 8.0,
        hysteresis: 4.0,
        warm_up: 64,
    };
    let expected = [
        rule("humidity_high", &["humidity"], high(80.0, 5.0), Severity::Warning),
        rule("light_low", &["light"], low(10.0, 5.0), Severity::Info),
        rule("motion", &["motion"], Test::Boolean, Severity::Info),
        rule(
            "outlier",
            &["humidity", "pressure", "temperature", "voltage"],
            outlier,
            Severity::Critical,
        ),
        rule("pressure_low", &["pressure"], low(980.0, 5.0), Severity::Warning),
        rule("temperature_high", &["temperature"], high(30.0, 1.0), Severity::Warning),
    ];
    assert_eq!(resolved("").unwrap().enabled, expected);
}

#[test]
fn every_test_is_read_with_its_numbers_and_the_keys_defaults() {
    let test = |lines: &str| rule(&format!("[rules.x]\nkinds = [\"a\"]\n{lines}\n"), "x").test;
    let (threshold, hysteresis) = (1.5, 0.0);
    assert_eq!(
        test("test = \"high\"\nthreshold = 1.5"),
        Test::High { threshold, hysteresis }
    );
    assert_eq!(
        test("test = \"low\"\nthreshold = 1.5"),
        Test::Low { threshold, hysteresis }
    );
    assert_eq!(
        test("test = \"low\"\nthreshold = -1\nhysteresis = 2"),
        Test::Low {
            threshold: -1.0,
            hysteresis: 2.0
        }
    );
    assert_eq!(test("test = \"step\"\nthreshold = 1.5"), Test::Step { threshold });
    assert_eq!(
        test("test = \"flatline\"\nreadings = 20"),
        Test::Flatline { readings: 20 }
    );
    assert_eq!(test("test = \"boolean\""), Test::Boolean);
    let zscore = "test = \"zscore\"\nthreshold = 6\nhysteresis = 2\nwarm_up = 10";
    assert_eq!(
        test(zscore),
        Test::Zscore {
            threshold: 6.0,
            hysteresis: 2.0,
            warm_up: 10
        }
    );
    assert_eq!(
        test("test = \"gap\"\ntimes = 10\nwarm_up = 3"),
        Test::Gap {
            times: 10.0,
            warm_up: 3
        }
    );

    let plain = rule("[rules.x]\nkinds = [\"b\", \"a\", \"b\"]\ntest = \"boolean\"\n", "x");
    assert_eq!((plain.debounce, plain.severity), (1, Severity::Warning));
    assert_eq!(plain.kinds, Some(vec![Kind::new("a"), Kind::new("b")]));
    let full =
        "[rules.x]\nkinds = [\"*\"]\ntest = \"boolean\"\ndebounce = 3\nseverity = \"critical\"\nenabled = true\n";
    let full = rule(full, "x");
    assert_eq!(
        (full.kinds, full.debounce, full.severity),
        (None, 3, Severity::Critical)
    );
}

#[test]
fn a_table_over_a_default_changes_just_its_keys() {
    let changed = rule("[rules.temperature_high]\nthreshold = 35\n", "temperature_high");
    let expected = Test::High {
        threshold: 35.0,
        hysteresis: 1.0,
    };
    assert_eq!(
        (changed.test, changed.kinds),
        (expected, Some(vec![Kind::new("temperature")]))
    );
    let off = resolved("[rules.motion]\nenabled = false\n").unwrap().enabled;
    assert!(off.len() == 5 && off.iter().all(|rule| &*rule.name != "motion"));
}

#[test]
fn another_test_over_a_default_forgets_the_numbers_of_the_earlier_one() {
    let other = rule(
        "[rules.temperature_high]\ntest = \"step\"\nthreshold = 4\n",
        "temperature_high",
    );
    assert_eq!(other.test, Test::Step { threshold: 4.0 });
    let error = error_of("\n[rules.temperature_high]\ntest = \"low\"\n");
    let expected = "f.toml:2: rules.temperature_high.threshold: is missing, and the test low needs it";
    assert_eq!(error, expected);
    let same = rule("[rules.temperature_high]\ntest = \"high\"\n", "temperature_high");
    assert_eq!(
        same.test,
        Test::High {
            threshold: 30.0,
            hysteresis: 1.0
        }
    );
}

#[test]
fn rules_are_sorted_by_the_bytes_of_their_names() {
    let text = "[rules.zz]\nkinds = [\"a\"]\ntest = \"boolean\"\n[rules.0-a_b]\nkinds = [\"a\"]\ntest = \"boolean\"\n";
    let rules = resolved(text).unwrap().enabled;
    let names: Vec<&str> = rules.iter().map(|rule| &*rule.name).collect();
    assert_eq!((names[0], names[7], names.len()), ("0-a_b", "zz", 8));
    assert!(names.is_sorted());
}

#[test]
fn what_is_wrong_with_a_rule_is_named_by_file_line_rule_and_key() {
    let cases = [
        (
            "test = \"hihg\"",
            "f.toml:3: rules.x.test: \"hihg\" is not one of high|low|step|flatline|boolean|zscore|gap",
        ),
        (
            "test = \"high\"",
            "f.toml:1: rules.x.threshold: is missing, and the test high needs it",
        ),
        (
            "test = \"zscore\"\nthreshold = 3",
            "f.toml:1: rules.x.warm_up: is missing, and the test zscore needs it",
        ),
        (
            "test = \"gap\"\nwarm_up = 3",
            "f.toml:1: rules.x.times: is missing, and the test gap needs it",
        ),
        (
            "test = \"flatline\"",
            "f.toml:1: rules.x.readings: is missing, and the test flatline needs it",
        ),
        ("", "f.toml:1: rules.x.test: is missing"),
        (
            "test = \"boolean\"\ntreshold = 3",
            "f.toml:4: rules.x: unknown key treshold; did you mean threshold?",
        ),
        (
            "test = \"boolean\"\nthreshold = 3",
            "f.toml:4: rules.x.threshold: the test boolean does not take this; it takes none of its own",
        ),
        (
            "test = \"step\"\nthreshold = 3\nhysteresis = 1",
            "f.toml:5: rules.x.hysteresis: the test step does not take this; it takes threshold",
        ),
        (
            "test = \"high\"\nthreshold = nan",
            "f.toml:4: rules.x.threshold: \"nan\" is no finite number",
        ),
        (
            "test = \"high\"\nthreshold = -inf",
            "f.toml:4: rules.x.threshold: \"-inf\" is no finite number",
        ),
        (
            "test = \"high\"\nthreshold = 1e999",
            "f.toml:4: rules.x.threshold: \"1e999\" is no finite number",
        ),
        (
            "test = \"high\"\nthreshold = \"3\"",
            "f.toml:4: rules.x.threshold: a number is wanted, not string",
        ),
        (
            "test = \"high\"\nthreshold = 3\nhysteresis = -1",
            "f.toml:5: rules.x.hysteresis: -1 is negative",
        ),
        (
            "test = \"step\"\nthreshold = -1",
            "f.toml:4: rules.x.threshold: -1 is negative",
        ),
        (
            "test = \"zscore\"\nthreshold = 0\nwarm_up = 3",
            "f.toml:4: rules.x.threshold: 0 is not above 0",
        ),
        (
            "test = \"zscore\"\nthreshold = 3\nhysteresis = 3\nwarm_up = 9",
            "f.toml:5: rules.x.hysteresis: 3 is not in 0..3, the threshold",
        ),
        (
            "test = \"zscore\"\nthreshold = 3\nwarm_up = 0",
            "f.toml:5: rules.x.warm_up: 0 is not in 1..=4294967295",
        ),
        (
            "test = \"gap\"\ntimes = 0.5\nwarm_up = 3",
            "f.toml:4: rules.x.times: 0.5 is less than 1",
        ),
        (
            "test = \"gap\"\ntimes = 5\nwarm_up = 0",
            "f.toml:5: rules.x.warm_up: 0 is not in 1..=4294967295",
        ),
        (
            "test = \"flatline\"\nreadings = 1",
            "f.toml:4: rules.x.readings: 1 is not in 2..=4294967295",
        ),
        (
            "test = \"boolean\"\ndebounce = 0",
            "f.toml:4: rules.x.debounce: 0 is not in 1..=4294967295",
        ),
        (
            "test = \"boolean\"\nseverity = \"loud\"",
            "f.toml:4: rules.x.severity: \"loud\" is no severity: info, warning or critical",
        ),
        (
            "test = \"boolean\"\nenabled = \"yes\"",
            "f.toml:4: rules.x.enabled: true or false is wanted, not string",
        ),
    ];
    for (lines, expected) in cases {
        assert_eq!(error_with(lines), expected, "{lines}");
    }
}

#[test]
fn measures_are_named_or_all_and_never_none() {
    let kinds = |list: &str| error_of(&format!("[rules.x]\ntest = \"boolean\"\nkinds = {list}\n"));
    assert_eq!(
        kinds("[]"),
        "f.toml:3: rules.x.kinds: is empty; [\"*\"] is every measure"
    );
    assert_eq!(
        kinds("[\"*\", \"a\"]"),
        "f.toml:3: rules.x.kinds: \"*\" is every measure and stands alone"
    );
    assert!(kinds("\"a\"").starts_with("f.toml:3: rules.x.kinds: an array of strings is wanted"));
    assert_eq!(
        error_of("[rules.x]\ntest = \"boolean\"\n"),
        "f.toml:1: rules.x.kinds: is missing"
    );
}

#[test]
fn a_slip_in_the_name_of_a_default_rule_is_no_new_rule() {
    let error = error_of("[rules.temprature_high]\nenabled = false\n");
    assert_eq!(
        error,
        "f.toml:1: rules.temprature_high.test: is missing; did you mean temperature_high?"
    );
}

#[test]
fn names_and_tables_have_their_form() {
    assert!(check_name(&"x".repeat(64)).is_ok());
    for wrong in ["", "Upper", "a b", "ä", &"x".repeat(65)] {
        let error = error_of(&format!("\n[rules.\"{wrong}\"]\ntest = \"boolean\"\n"));
        assert_eq!(
            error,
            format!("f.toml:2: rules.{wrong:?}: a rule's name has 1 to 64 of a-z, 0-9, _ and -")
        );
    }
    assert_eq!(
        error_of("[rules]\nx = 1\n"),
        "f.toml:2: rules.x is no rule: write [rules.x]"
    );
    assert_eq!(error_of("rules = 1\n"), "f.toml:1: rules is a section: write [rules]");
    assert_eq!(
        error_of("[rule.x]\n"),
        "f.toml:1: unknown section rule; did you mean rules?"
    );
}

#[test]
fn the_listing_has_the_keys_that_count_with_their_origins() {
    let text = "[rules.temperature_high]\nthreshold = 35\n[rules.motion]\nenabled = false\n";
    let listing = resolved(text).unwrap().listing;
    let of = |name: &str| -> Vec<String> {
        let prefix = format!("rules.{name}.");
        let of_rule = listing.iter().filter(|it| it.key.starts_with(&prefix));
        of_rule
            .map(|it| format!("{} = {} ({})", &it.key[prefix.len()..], it.value, it.origin))
            .collect()
    };
    let expected = [
        "enabled = true (default)",
        "kinds = temperature (default)",
        "test = high (default)",
        "threshold = 35 (file f.toml:2)",
        "hysteresis = 1 (default)",
        "debounce = 1 (default)",
        "severity = warning (default)",
    ];
    assert_eq!(of("temperature_high"), expected);
    assert_eq!(of("motion"), ["enabled = false (file f.toml:4)"]);
}
