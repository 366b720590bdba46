//! `iotpipe bench`: measures the pipeline's own code on real servers, again and again under fresh names, and keeps all figures.

mod compare;
mod drain;
mod e2e;
mod live;
mod load;
mod max;
mod place;
mod produce;
mod search;
mod show;
mod stages;
mod store;
mod table;
mod throughput;
mod usage;
mod verified;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, anyhow};
use tokio::runtime::Runtime;

use self::place::Place;
use super::{Exit, UsageError, millis, now, runtime, runtime_of_one_thread, stop};
use crate::cli::{BenchArgs, BenchCommand};
use crate::config::Config;
use crate::kafka;
use crate::proof::bench_report::{BenchReport, Repetition, VERSION};
use crate::report::Out;
use crate::store::{AnyStore, StoreUrl};
use crate::telemetry::events;

pub fn run(config: &Config, command: &BenchCommand) -> anyhow::Result<Exit> {
    match command {
        BenchCommand::Produce(args) => produce::run(config, args),
        BenchCommand::Store(args) => store::run(config, args),
        BenchCommand::Drain(args) => drain::run(config, args),
        BenchCommand::E2e(args) => e2e::run(config, args),
        BenchCommand::Max(args) => max::run(config, args),
        BenchCommand::Show(args) => show::run(args),
        BenchCommand::Compare(args) => compare::run(args),
    }
}

/// A measurement under way: what all its repetitions share.
struct Bench {
    config: Config,
    runtime: Runtime,
    stop: Arc<AtomicBool>,
    servers: usage::Servers,
    /// Differences that a repetition found in its store.
    differences: u64,
    versions: BTreeMap<String, String>,
}

/// Servers that a measurement needs, and makes something of its own on.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Needs {
    kafka: bool,
    store: bool,
}

const KAFKA: Needs = Needs {
    kafka: true,
    store: false,
};
const STORE: Needs = Needs {
    kafka: false,
    store: true,
};
const NOTHING: Needs = Needs {
    kafka: false,
    store: false,
};
const BOTH: Needs = Needs {
    kafka: true,
    store: true,
};

impl Bench {
    fn new(config: &Config) -> anyhow::Result<Bench> {
        let mut config = config.clone();
        // The fleet writes the fields' usual names.
        config.fields = Config::default().fields;
        let mut servers = usage::Servers::new();
        let brokers: Vec<String> = config.kafka.brokers.split(',').map(|it| it.trim().to_owned()).collect();
        servers.insert("kafka", usage::listeners(&brokers));
        if let StoreUrl::Cassandra { hosts, .. } = &config.store.url {
            servers.insert("cassandra", usage::listeners(hosts));
        }
        let versions = [
            ("iotpipe", env!("CARGO_PKG_VERSION").to_owned()),
            ("librdkafka", kafka::client_version()),
        ];
        Ok(Bench {
            config,
            runtime: runtime()?,
            stop: stop::on_signals()?,
            servers,
            differences: 0,
            versions: versions.map(|(name, version)| (name.to_owned(), version)).into(),
        })
    }

    /// Runs the repetitions, prints their figures, writes the report.
    fn measure(
        mut self,
        name: &'static str,
        args: &BenchArgs,
        asked: &[(&str, String)],
        needs: Needs,
        once: impl Fn(&mut Bench, &Place) -> anyhow::Result<Repetition>,
    ) -> anyhow::Result<Exit> {
        let began = now().to_string();
        let mut repetitions = Vec::new();
        for number in 1..=args.repetitions {
            let repetition = self.in_place(needs, &once)?;
            let line = table::line(&repetition);
            events::bench_progress(&format!("{name}: repetition {number} of {}: {line}", args.repetitions));
            repetitions.push(repetition);
        }
        let report = BenchReport {
            version: VERSION,
            bench: name.to_owned(),
            began,
            configuration: configuration(&self.config, name, asked),
            versions: self.versions,
            machine: usage::machine(),
            repetitions,
        };
        if let Some(path) = &args.out {
            std::fs::write(path, report.to_json())
                .with_context(|| format!("cannot write the report {}", path.display()))?;
        }
        let mut out = Out::stdout();
        table::print(&mut out, &report)?;
        out.flush()?;
        self.runtime.shutdown_background();
        Ok(if self.differences > 0 {
            Exit::Differences
        } else {
            Exit::Ok
        })
    }

    /// Gives `run` topics and a keyspace of its own, and removes them however it ends.
    fn in_place<T>(
        &mut self,
        needs: Needs,
        run: impl FnOnce(&mut Bench, &Place) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.check_stop()?;
        let place = Place::new(&self.config, needs);
        let made = self.runtime.block_on(place.make());
        let outcome = match made {
            Ok(()) => run(self, &place),
            Err(error) => Err(error),
        };
        let removed = self.runtime.block_on(place.remove());
        let result = outcome?;
        removed?;
        self.check_stop()?;
        Ok(result)
    }

    /// The place's store and the runtime that it runs on, as in `consume`.
    fn open_store(&mut self, place: &Place) -> anyhow::Result<(Runtime, Arc<AnyStore>)> {
        let runtime = runtime_of_one_thread()?;
        let store = Arc::new(runtime.block_on(AnyStore::open(&place.config.store()))?);
        self.note_release(&runtime, &store);
        Ok((runtime, store))
    }

    /// The release is for the report: a store that does not tell it is measured all the same.
    fn note_release(&mut self, runtime: &Runtime, store: &AnyStore) {
        let kind = store_kind(&self.config);
        if !self.versions.contains_key(kind)
            && let Ok(release) = runtime.block_on(store.release())
        {
            self.versions.insert(kind.to_owned(), release);
        }
    }

    /// An interrupted run measured something else than was asked for.
    fn check_stop(&self) -> anyhow::Result<()> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(anyhow!("interrupted: nothing is reported")),
            false => Ok(()),
        }
    }
}

fn store_kind(config: &Config) -> &'static str {
    match config.store.url {
        StoreUrl::Cassandra { .. } => "cassandra",
        StoreUrl::Sqlite { .. } => "sqlite",
    }
}

/// Settings that decide what a measurement does; `asked` is what its own arguments say.
fn configuration(config: &Config, bench: &str, asked: &[(&str, String)]) -> BTreeMap<String, String> {
    let sections: &[&str] = match bench {
        "produce" => &["kafka", "produce"],
        "store" => &["store", "produce"],
        _ => &[
            "kafka",
            "store",
            "consume",
            "windows",
            "alerts",
            "analytics",
            "rules",
            "produce",
        ],
    };
    let settings = config.listing.iter().filter(|listed| {
        let section = listed.key.split('.').next().unwrap_or_default();
        sections.contains(&section) && !PLACES.contains(&listed.key.as_str())
            || bench == "store" && listed.key == "consume.writers"
    });
    let mut configuration: BTreeMap<String, String> = settings
        .map(|listed| (listed.key.clone(), listed.value.clone()))
        .collect();
    if bench != "e2e" {
        configuration.remove("produce.rate");
    }
    // What the program was built as; a debug build is another program.
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    configuration.insert("build".to_owned(), build.to_owned());
    if bench != "produce" {
        configuration.insert("store".to_owned(), store_kind(config).to_owned());
    }
    configuration.extend(asked.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    configuration
}

/// Settings that say where and as whom, or that a measurement sets itself.
const PLACES: &[&str] = &[
    "kafka.brokers",
    "kafka.topic",
    "kafka.dlq_topic",
    "kafka.alerts_topic",
    "kafka.events_topic",
    "kafka.analytics_topic",
    "kafka.username",
    "kafka.password",
    "store.url",
    "store.username",
    "store.password",
    "consume.group",
    "consume.instance_id",
    "consume.start",
    "consume.on_data_loss",
    "produce.interval",
];

/// A report from a file.
fn read(path: &Path) -> anyhow::Result<BenchReport> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| UsageError(format!("cannot read the report {}: {error}", path.display())))?;
    let report = BenchReport::parse(&text);
    Ok(report.map_err(|why| UsageError(format!("{} is no report of bench: {why}", path.display())))?)
}
