//! A measurement with all that was measured: what `bench … --out` writes and `bench show` and `bench compare` read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The layout of this file; another is refused.
pub const VERSION: u32 = 1;

/// A measurement: its repetitions and what they were made with.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct BenchReport {
    pub version: u32,
    /// What was measured: `produce`, `store`, `drain`, `e2e` or `max`.
    pub bench: String,
    /// When it began, RFC 3339.
    pub began: String,
    /// All that decides what is measured, without addresses, names and secrets. Only reports that agree in it are compared.
    pub configuration: BTreeMap<String, String>,
    /// Releases by name: iotpipe, librdkafka, cassandra or sqlite.
    pub versions: BTreeMap<String, String>,
    pub machine: Machine,
    pub repetitions: Vec<Repetition>,
}

/// Where it ran; absent is what the system does not tell.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    pub cores: Option<usize>,
    pub model: Option<String>,
    pub memory_bytes: Option<u64>,
    pub kernel: Option<String>,
}

/// One run of it. Figures are of the measured part alone: without warm-up, clean-up and comparison.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug, Default)]
#[serde(deny_unknown_fields)]
pub struct Repetition {
    /// Readings that reached their end: Kafka in `produce`, the store elsewhere.
    pub readings: u64,
    pub elapsed_s: f64,
    pub readings_per_s: f64,
    pub usage: Usage,
    /// What the run counted, by name: writes, windows, states, loads, alerts, dead letters and the like.
    pub counts: BTreeMap<String, u64>,
    /// From when a reading was due, by what had been reached: see [`Stage`].
    pub latencies: Vec<Latency>,
    /// Every second of the whole run, warm-up included.
    pub throughput: Vec<Throughput>,
    /// What the store held afterwards; absent where nothing is compared.
    pub verified: Option<Verified>,
    /// The rates that `max` tried, in order.
    pub tries: Vec<Try>,
}

/// What the run cost; absent is what the system does not tell.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug, Default)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Of iotpipe, user and system, seconds.
    pub cpu_s: Option<f64>,
    pub cpu_us_per_reading: Option<f64>,
    /// The most that iotpipe had in memory, and what it had when the measured part began.
    pub memory_peak_bytes: Option<u64>,
    pub memory_before_bytes: Option<u64>,
    /// Of the servers that run on this machine, by name.
    pub servers: BTreeMap<String, ServerUsage>,
    /// Share of all cores that neither iotpipe nor these servers used: 0 is none, 1 all.
    pub other_work: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize, Debug, Default)]
#[serde(deny_unknown_fields)]
pub struct ServerUsage {
    pub cpu_s: f64,
    /// At the end.
    pub memory_bytes: u64,
}

/// A point on a reading's way that its latency is measured to.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Kafka has acknowledged it.
    Acknowledged,
    /// The consumer has it.
    Polled,
    /// The store has acknowledged it: whoever asks, sees it.
    Queryable,
    /// Not from when a reading was due, but from when its write was sent, to the store's acknowledgement.
    Written,
}

impl Stage {
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Acknowledged => "acknowledged",
            Stage::Polled => "polled",
            Stage::Queryable => "queryable",
            Stage::Written => "written",
        }
    }
}

#[derive(Clone, PartialEq, Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    pub stage: Stage,
    pub count: u64,
    pub mean_us: f64,
    pub max_us: u64,
    /// Growing shares of the readings with the latency that they did not exceed.
    pub quantiles: Vec<Quantile>,
}

impl Latency {
    /// Latency that this share did not exceed, microseconds: of the first recorded quantile that is at least as large.
    pub fn at(&self, quantile: f64) -> u64 {
        let reached = self.quantiles.iter().find(|it| it.quantile >= quantile);
        reached.map_or(self.max_us, |it| it.us)
    }
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Quantile {
    pub quantile: f64,
    pub us: u64,
}

/// What was done in the second up to a time.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Throughput {
    /// The wall clock at its end, epoch milliseconds.
    pub at_ms: i64,
    /// Records acknowledged by Kafka, a second; absent where none are produced.
    pub produced_per_s: Option<f64>,
    /// Readings acknowledged by the store, a second; absent where none are stored.
    pub stored_per_s: Option<f64>,
}

/// How many rows were as they should be.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
#[serde(deny_unknown_fields)]
pub struct Verified {
    pub readings: u64,
    pub readings_wrong: u64,
    pub windows: u64,
    pub windows_wrong: u64,
}

impl Verified {
    pub fn is_equal(&self) -> bool {
        self.readings_wrong == 0 && self.windows_wrong == 0
    }
}

/// A rate that was tried.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Try {
    /// Records a second.
    pub rate: f64,
    /// Why it cannot be sustained; absent where it can.
    pub failed: Option<String>,
    /// Scheduled to queryable, microseconds.
    pub p99_us: u64,
}

impl BenchReport {
    /// Reads a report. The error says what is wrong with the text.
    pub fn parse(text: &str) -> Result<BenchReport, String> {
        /// Read first: another layout may have other fields.
        #[derive(Deserialize)]
        struct Layout {
            version: u32,
        }
        let layout: Layout = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if layout.version != VERSION {
            return Err(format!(
                "it has version {}, this program knows {VERSION}",
                layout.version
            ));
        }
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("plain fields with fixed names");
        text.push('\n');
        text
    }

    /// A figure of all repetitions; `None` where one of them has none.
    pub fn figures(&self, of: impl Fn(&Repetition) -> Option<f64>) -> Option<Vec<f64>> {
        self.repetitions.iter().map(of).collect()
    }

    /// What differs from the other report so that they cannot be compared: a line each.
    pub fn differences(&self, other: &BenchReport) -> Vec<String> {
        if self.bench != other.bench {
            return vec![format!(
                "bench is {} in one and {} in the other",
                self.bench, other.bench
            )];
        }
        let names: std::collections::BTreeSet<&String> =
            self.configuration.keys().chain(other.configuration.keys()).collect();
        let differing = names.into_iter().filter_map(|name| {
            let [one, two] =
                [self, other].map(|report| report.configuration.get(name).map_or("not set", String::as_str));
            (one != two).then(|| format!("{name} is {one} in one and {two} in the other"))
        });
        differing.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> BenchReport {
        BenchReport {
            version: VERSION,
            bench: "drain".to_owned(),
            began: "2025-11-05T12:00:00.000Z".to_owned(),
            configuration: BTreeMap::from([("records".to_owned(), "1000".to_owned())]),
            versions: BTreeMap::new(),
            machine: Machine::default(),
            repetitions: vec![Repetition::default()],
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_another_layout_is_refused() {
        let text = report().to_json();
        assert_eq!(BenchReport::parse(&text), Ok(report()));
        let newer = text.replace("\"version\": 1", "\"version\": 9");
        assert!(BenchReport::parse(&newer).unwrap_err().contains("version 9"));
        assert!(BenchReport::parse("{").is_err());
    }

    #[test]
    fn what_cannot_be_compared_is_named() {
        let (base, mut other) = (report(), report());
        assert_eq!(base.differences(&other), [""; 0]);
        other.configuration.insert("records".to_owned(), "2000".to_owned());
        other.configuration.insert("windows".to_owned(), "off".to_owned());
        assert_eq!(
            base.differences(&other),
            [
                "records is 1000 in one and 2000 in the other",
                "windows is not set in one and off in the other"
            ]
        );
        other.bench = "e2e".to_owned();
        assert_eq!(base.differences(&other), ["bench is drain in one and e2e in the other"]);
    }
}
