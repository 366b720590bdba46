//! Rules: tables `[rules.NAME]` of the file over the default ones.
//!
//! A rule is a table of keys, each with its text and where it stands, like the settings; the defaults are such tables too.
//! A table of the file replaces only the keys that it gives.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Listed;
use super::error::{UsageError, suggestion};
use super::layers::{Given, Origin};
use super::value::{Shape, Value, within};
use crate::model::{Kind, Rule, Severity, Test};

pub(super) const SECTION: &str = "rules";
const MAX_NAME_BYTES: usize = 64;
/// Alone in a list of kinds: all of them.
const EVERY_KIND: &str = "*";

/// The rules that hold unless the file says otherwise, by name; keys that are missing have their own defaults.
pub(super) const DEFAULT_RULES: &[(&str, &[(&str, &str)])] = &[
    (
        "humidity_high",
        &[
            ("kinds", "humidity"),
            ("test", "high"),
            ("threshold", "80"),
            ("hysteresis", "5"),
            ("severity", "warning"),
        ],
    ),
    (
        "light_low",
        &[
            ("kinds", "light"),
            ("test", "low"),
            ("threshold", "10"),
            ("hysteresis", "5"),
            ("severity", "info"),
        ],
    ),
    (
        "motion",
        &[("kinds", "motion"), ("test", "boolean"), ("severity", "info")],
    ),
    (
        "outlier",
        &[
            ("kinds", "humidity,pressure,temperature,voltage"),
            ("test", "zscore"),
            ("threshold", "8"),
            ("hysteresis", "4"),
            ("warm_up", "64"),
            ("severity", "critical"),
        ],
    ),
    (
        "pressure_low",
        &[
            ("kinds", "pressure"),
            ("test", "low"),
            ("threshold", "980"),
            ("hysteresis", "5"),
            ("severity", "warning"),
        ],
    ),
    (
        "temperature_high",
        &[
            ("kinds", "temperature"),
            ("test", "high"),
            ("threshold", "30"),
            ("hysteresis", "1"),
            ("severity", "warning"),
        ],
    ),
];

/// Keys of every rule, in the order in which they are shown, with the shapes of their values and their defaults.
pub(super) const KEYS: &[(&str, Shape, Option<&str>)] = &[
    ("enabled", Shape::Bool, Some("true")),
    ("kinds", Shape::List, None),
    ("test", Shape::Text, None),
    ("threshold", Shape::Number, None),
    ("hysteresis", Shape::Number, Some("0")),
    ("readings", Shape::Number, None),
    ("times", Shape::Number, None),
    ("warm_up", Shape::Number, None),
    ("debounce", Shape::Number, Some("1")),
    ("severity", Shape::Text, Some("warning")),
];

/// Tests with the keys that each takes besides those of every rule.
const TESTS: &[(&str, &[&str])] = &[
    ("high", &["threshold", "hysteresis"]),
    ("low", &["threshold", "hysteresis"]),
    ("step", &["threshold"]),
    ("flatline", &["readings"]),
    ("boolean", &[]),
    ("zscore", &["threshold", "hysteresis", "warm_up"]),
    ("gap", &["times", "warm_up"]),
];

impl Value for Severity {
    const SHAPE: Shape = Shape::Text;
    const PLACEHOLDER: &'static str = "info|warning|critical";

    fn parse(text: &str) -> Result<Severity, String> {
        text.parse()
    }
}

/// One rule's keys as one layer gives them.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct RuleTable {
    /// Where the table begins.
    pub origin: Origin,
    pub keys: BTreeMap<&'static str, Given>,
}

impl RuleTable {
    pub fn new(origin: Origin) -> RuleTable {
        RuleTable {
            origin,
            keys: BTreeMap::new(),
        }
    }
}

/// The rules that judge, by name, and all of them as `iotpipe config` shows them.
#[derive(Debug)]
pub(super) struct Rules {
    pub enabled: Vec<Rule>,
    pub listing: Vec<Listed>,
}

/// A name is 1 to 64 bytes of lower-case letters, digits, `_` and `-`: it stands in topics, tables and alert ids.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    match (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_letter) {
        true => Ok(()),
        false => Err(format!(
            "rules.{name:?}: a rule's name has 1 to {MAX_NAME_BYTES} of a-z, 0-9, _ and -"
        )),
    }
}

/// The key of that name and its shape.
pub(super) fn key(rule: &str, key: &str) -> Result<(&'static str, Shape), String> {
    match KEYS.iter().find(|(known, ..)| *known == key) {
        Some((known, shape, _)) => Ok((known, *shape)),
        None => {
            let near = suggestion(key, KEYS.iter().map(|(known, ..)| *known));
            Err(format!("rules.{rule}: unknown key {key}{near}"))
        }
    }
}

/// Lays the file's tables over the defaults and reads each rule, also those that are not enabled.
pub(super) fn resolve(file: BTreeMap<String, RuleTable>) -> Result<Rules, UsageError> {
    let mut tables: BTreeMap<String, RuleTable> = DEFAULT_RULES
        .iter()
        .map(|(name, keys)| ((*name).to_owned(), default_table(keys)))
        .collect();
    for (name, table) in file {
        match tables.get_mut(&name) {
            Some(default) => cover(default, table),
            None => {
                tables.insert(name, table);
            }
        }
    }
    let mut rules = Rules {
        enabled: Vec::new(),
        listing: Vec::new(),
    };
    for (name, table) in &tables {
        let table = Table { name, table };
        let (rule, is_enabled) = table.rule()?;
        rules.listing.extend(table.listing(is_enabled)?);
        if is_enabled {
            rules.enabled.push(rule);
        }
    }
    Ok(rules)
}

fn default_table(keys: &[(&'static str, &str)]) -> RuleTable {
    RuleTable {
        origin: Origin::Default,
        keys: keys
            .iter()
            .map(|(key, text)| (*key, Given::new(*text, Origin::Default)))
            .collect(),
    }
}

/// With another test the numbers of the earlier one mean nothing.
fn cover(table: &mut RuleTable, over: RuleTable) {
    if over
        .keys
        .get("test")
        .is_some_and(|test| test.text != table.keys["test"].text)
    {
        table
            .keys
            .retain(|key, _| !TESTS.iter().any(|(_, keys)| keys.contains(key)));
    }
    table.origin = over.origin;
    table.keys.extend(over.keys);
}

/// A rule's table as it holds.
struct Table<'a> {
    name: &'a str,
    table: &'a RuleTable,
}

impl Table<'_> {
    fn rule(&self) -> Result<(Rule, bool), UsageError> {
        let test = self.test()?;
        let rule = Rule {
            name: Arc::from(self.name),
            kinds: self.kinds()?,
            test,
            debounce: self.number("debounce", within(1..=u32::MAX))?,
            severity: self.value("severity")?,
        };
        Ok((rule, self.value("enabled")?))
    }

    fn kinds(&self) -> Result<Option<Vec<Kind>>, UsageError> {
        let mut names: Vec<String> = self.value("kinds")?;
        names.sort_unstable();
        names.dedup();
        match names.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] => Err(self.wrong("kinds", "is empty; [\"*\"] is every measure")),
            [EVERY_KIND] => Ok(None),
            names if names.contains(&EVERY_KIND) => Err(self.wrong("kinds", "\"*\" is every measure and stands alone")),
            names => Ok(Some(names.iter().map(|name| Kind::new(name)).collect())),
        }
    }

    fn test(&self) -> Result<Test, UsageError> {
        let name: String = self.value("test")?;
        let takes = self.takes(&name)?;
        let of_tests = |key: &str| TESTS.iter().any(|(_, keys)| keys.contains(&key));
        if let Some(key) = self.table.keys.keys().find(|key| of_tests(key) && !takes.contains(key)) {
            let takes = match takes {
                [] => "it takes none of its own".to_owned(),
                takes => format!("it takes {}", takes.join(", ")),
            };
            return Err(self.wrong(key, &format!("the test {name} does not take this; {takes}")));
        }
        Ok(match name.as_str() {
            "high" => Test::High {
                threshold: self.value("threshold")?,
                hysteresis: self.number("hysteresis", not_negative)?,
            },
            "low" => Test::Low {
                threshold: self.value("threshold")?,
                hysteresis: self.number("hysteresis", not_negative)?,
            },
            "step" => Test::Step {
                threshold: self.number("threshold", not_negative)?,
            },
            "flatline" => Test::Flatline {
                readings: self.number("readings", within(2..=u32::MAX))?,
            },
            "zscore" => {
                let threshold = self.number("threshold", positive)?;
                Test::Zscore {
                    threshold,
                    hysteresis: self.number("hysteresis", less_than(threshold))?,
                    warm_up: self.number("warm_up", within(1..=u32::MAX))?,
                }
            }
            "gap" => Test::Gap {
                times: self.number("times", at_least_once)?,
                warm_up: self.number("warm_up", within(1..=u32::MAX))?,
            },
            // `takes` knows no other.
            _ => Test::Boolean,
        })
    }

    fn takes(&self, test: &str) -> Result<&'static [&'static str], UsageError> {
        let found = TESTS.iter().find(|(known, _)| *known == test);
        found.map(|(_, keys)| *keys).ok_or_else(|| {
            let known: Vec<&str> = TESTS.iter().map(|(known, _)| *known).collect();
            self.wrong("test", &format!("{test:?} is not one of {}", known.join("|")))
        })
    }

    fn number<T: Value>(&self, key: &'static str, check: impl Fn(&T) -> Result<(), String>) -> Result<T, UsageError> {
        let value = self.value(key)?;
        check(&value).map_err(|error| self.wrong(key, &error))?;
        Ok(value)
    }

    fn value<T: Value>(&self, key: &'static str) -> Result<T, UsageError> {
        let text = self.text(key).ok_or_else(|| self.missing(key))?;
        T::parse(text).map_err(|error| self.wrong(key, &error))
    }

    fn text(&self, key: &str) -> Option<&str> {
        let own = self.table.keys.get(key).map(|given| given.text.as_str());
        own.or_else(|| KEYS.iter().find(|(known, ..)| *known == key)?.2)
    }

    fn wrong(&self, key: &str, error: &str) -> UsageError {
        let subject = format!("{SECTION}.{}.{key}", self.name);
        let origin = self
            .table
            .keys
            .get(key)
            .map_or(&self.table.origin, |given| &given.origin);
        UsageError(format!("{}: {error}", origin.subject(&subject)))
    }

    /// A table that was meant for a default rule misses most of them.
    fn missing(&self, key: &str) -> UsageError {
        let is_default = |name| DEFAULT_RULES.iter().any(|(known, _)| *known == name);
        let near = match is_default(self.name) {
            true => String::new(),
            false => suggestion(self.name, DEFAULT_RULES.iter().map(|(name, _)| *name)),
        };
        let why = match (self.text("test"), TESTS.iter().any(|(_, keys)| keys.contains(&key))) {
            (Some(test), true) => format!("is missing, and the test {test} needs it"),
            _ => "is missing".to_owned(),
        };
        self.wrong(key, &(why + &near))
    }

    /// A line a key, the keys' own defaults among them; of a rule that is off only that.
    fn listing(&self, is_enabled: bool) -> Result<Vec<Listed>, UsageError> {
        let takes = self.takes(self.text("test").unwrap_or_default())?;
        let of_tests = |key: &str| TESTS.iter().any(|(_, keys)| keys.contains(&key));
        let is_shown = |key: &&str| {
            if is_enabled {
                !of_tests(key) || takes.contains(key)
            } else {
                *key == "enabled"
            }
        };
        let shown = KEYS.iter().map(|(key, ..)| *key).filter(is_shown);
        Ok(shown
            .map(|key| Listed {
                key: format!("{SECTION}.{}.{key}", self.name),
                value: self.text(key).unwrap_or_default().to_owned(),
                origin: self
                    .table
                    .keys
                    .get(key)
                    .map_or(Origin::Default, |given| given.origin.clone()),
            })
            .collect())
    }
}

fn not_negative(value: &f64) -> Result<(), String> {
    if *value >= 0.0 {
        Ok(())
    } else {
        Err(format!("{value} is negative"))
    }
}

fn positive(value: &f64) -> Result<(), String> {
    if *value > 0.0 {
        Ok(())
    } else {
        Err(format!("{value} is not above 0"))
    }
}

/// An interval as long as the usual one is no gap.
fn at_least_once(value: &f64) -> Result<(), String> {
    if *value >= 1.0 {
        Ok(())
    } else {
        Err(format!("{value} is less than 1"))
    }
}

/// Otherwise an outlier would never be over.
fn less_than(threshold: f64) -> impl Fn(&f64) -> Result<(), String> {
    move |value| match (0.0..threshold).contains(value) {
        true => Ok(()),
        false => Err(format!("{value} is not in 0..{threshold}, the threshold")),
    }
}

#[cfg(test)]
mod tests;
