//! `iotpipe init-schema`: makes topics, tables and subjects, and names what is there and differs.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use super::{Exit, UsageError, runtime};
use crate::cli::InitSchemaArgs;
use crate::config::Config;
use crate::kafka::KafkaError;
use crate::kafka::admin::{TopicOutcome, TopicSpec, Topics};
use crate::kafka::letters::marks_topic;
use crate::report::Out;
use crate::store::schema;

pub(super) mod contract;

use contract::Contract;

/// What a dead letter may be larger than the record it holds: the headers that say why and where from.
const DEAD_LETTER_HEADROOM_BYTES: u64 = 64 * 1024;
/// The broker's own `message.max.bytes`, where a topic says nothing else.
pub const MESSAGE_MAX_BYTES: u64 = 1_048_588;

/// How much longer it is known that a dead letter was replayed than the letter is kept: the broker deletes whole segments, so
/// a letter may outlive its retention by the time until a segment is full or old (`segment.ms`, 7 days by default).
const MARKS_OUTLIVE_LETTERS: Duration = Duration::from_secs(14 * 24 * 3600);

pub fn run(config: &Config, args: &InitSchemaArgs) -> anyhow::Result<Exit> {
    let mut out = Out::stdout();
    let contract = Contract::of(config)?;
    if args.check {
        let contract =
            contract.ok_or_else(|| UsageError("--check needs a registry: set registry.url (--registry)".into()))?;
        return checked(&contract, &mut out, true);
    }
    if args.dry_run {
        out.line("-- topics")?;
        for spec in topics(config, MESSAGE_MAX_BYTES) {
            out.line(&format!("-- {}", describe(&spec)))?;
        }
        out.line("")?;
        if let Some(contract) = &contract {
            contract.print(&mut out)?;
        }
        out.line(schema::print_ddl(&config.store.url, &config.schema()).trim_end())?;
        out.flush()?;
        return Ok(Exit::Ok);
    }
    // Before anything is made: a schema that cannot be stays without consequences.
    if let Some(contract) = &contract
        && checked(contract, &mut out, false)? != Exit::Ok
    {
        return Ok(Exit::Failed);
    }
    let runtime = runtime()?;
    let topics = runtime.block_on(make_topics(config, &mut out));
    out.flush()?;
    // Both are tried: a person wants to know all that is wrong at once.
    let tables = runtime.block_on(make_tables(config, &mut out));
    out.flush()?;
    runtime.shutdown_background();
    let subjects = contract.map_or(Ok(()), |contract| contract.register(&mut out));
    let usable = topics? && tables?;
    subjects?;
    Ok(if usable { Exit::Ok } else { Exit::Failed })
}

/// Whether the schemas may be registered.
fn checked(contract: &Contract, out: &mut Out, tell_all: bool) -> anyhow::Result<Exit> {
    let allowed = contract.check(out, tell_all)?;
    out.flush()?;
    Ok(if allowed { Exit::Ok } else { Exit::Failed })
}

/// Answers whether all topics can be used.
async fn make_topics(config: &Config, out: &mut Out) -> anyhow::Result<bool> {
    let admin = Topics::connect(&config.kafka())?;
    let mut usable = true;
    for spec in wanted_topics(config, &admin).await? {
        match admin.ensure(&spec).await? {
            TopicOutcome::Created => out.line(&format!("topic {}: created", describe(&spec)))?,
            TopicOutcome::Exists(differences) => {
                out.line(&format!("topic {}: exists", spec.name))?;
                for difference in differences {
                    usable &= !difference.fatal;
                    let kind = if difference.fatal { "error" } else { "warning" };
                    out.note(&format!(
                        "{kind}: topic {}: {} is {}, should be {}{}{}",
                        difference.topic,
                        difference.setting,
                        difference.is,
                        difference.should,
                        if difference.remedy().is_empty() { "" } else { ": " },
                        difference.remedy()
                    ));
                }
            }
        }
    }
    Ok(usable)
}

/// Answers whether the tables can be used.
async fn make_tables(config: &Config, out: &mut Out) -> anyhow::Result<bool> {
    let report = schema::apply(&config.store(), &config.schema()).await?;
    for name in &report.applied {
        out.line(&format!("migration {name}: applied"))?;
    }
    if report.applied.is_empty() {
        out.line(&format!(
            "tables in {}: up to date ({} migrations)",
            config.store.url,
            report.present.len()
        ))?;
    }
    for warning in &report.warnings {
        out.note(&format!("warning: {warning}"));
    }
    for difference in &report.differences {
        out.note(&format!(
            "error: table {difference}: use another keyspace, or rename the table that is there"
        ));
    }
    Ok(report.differences.is_empty())
}

/// The topics as they should be, beside the one of the readings as it is.
pub(super) async fn wanted_topics(config: &Config, admin: &Topics) -> Result<Vec<TopicSpec>, KafkaError> {
    let largest = admin.setting(&config.kafka.topic, "max.message.bytes").await?;
    let largest = largest.and_then(|bytes| bytes.parse().ok());
    Ok(topics(config, largest.unwrap_or(MESSAGE_MAX_BYTES)))
}

/// The topics as they should be. `largest` is the source topic's largest message, bytes.
pub fn topics(config: &Config, largest: u64) -> Vec<TopicSpec> {
    let kafka = &config.kafka;
    let spec = |name: &str, partitions: i32, retention: Option<Duration>| {
        let retention_ms = retention.map_or("-1".to_owned(), |retention| retention.as_millis().to_string());
        TopicSpec {
            name: name.to_owned(),
            partitions,
            replication_factor: i32::from(kafka.replication_factor),
            settings: BTreeMap::from([
                ("cleanup.policy".to_owned(), "delete".to_owned()),
                ("min.insync.replicas".to_owned(), kafka.min_insync_replicas.to_string()),
                ("retention.ms".to_owned(), retention_ms),
            ]),
        }
    };
    let mut dead_letters = spec(&kafka.dlq_topic, kafka.partitions, kafka.dlq_retention);
    let largest = largest + DEAD_LETTER_HEADROOM_BYTES;
    dead_letters
        .settings
        .insert("max.message.bytes".to_owned(), largest.to_string());
    let marks_retention = kafka
        .dlq_retention
        .map(|retention| retention.saturating_add(MARKS_OUTLIVE_LETTERS));
    vec![
        spec(&kafka.topic, kafka.partitions, kafka.retention),
        dead_letters,
        spec(&marks_topic(&kafka.dlq_topic), 1, marks_retention),
        spec(&kafka.alerts_topic, kafka.alerts_partitions, kafka.alerts_retention),
        spec(&kafka.events_topic, kafka.events_partitions, kafka.events_retention),
        spec(
            &kafka.analytics_topic,
            kafka.analytics_partitions,
            kafka.analytics_retention,
        ),
    ]
}

fn describe(spec: &TopicSpec) -> String {
    let settings: Vec<String> = spec
        .settings
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!(
        "{}: partitions={} replication={} {}",
        spec.name,
        spec.partitions,
        spec.replication_factor,
        settings.join(" ")
    )
}
