//! `iotpipe doctor`: looks at the configuration, at Kafka, at the store and at the registry, and says what is wrong and what to do. It changes
//! nothing. For programs the schema of its rows is fixed: `{"check","result","found","remedy"}`, where `result` is `ok`,
//! `warning` or `wrong`.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;

use super::init_schema::contract::Contract;
use super::init_schema::wanted_topics;
use super::{Exit, runtime};
use crate::cli::DoctorArgs;
use crate::config::{Config, Origin};
use crate::kafka::admin::Topics;
use crate::kafka::preflight;
use crate::model::{Finding, Verdict};
use crate::report::{Column, Format, JsonRows, Out, Table};
use crate::store;

pub fn run(config: &Config, args: &DoctorArgs) -> anyhow::Result<Exit> {
    let runtime = runtime()?;
    let mut findings = of_configuration(config);
    findings.extend(runtime.block_on(of_kafka(config)));
    findings.extend(runtime.block_on(store::preflight(&config.store(), &config.schema())));
    findings.extend(Contract::of(config)?.iter().flat_map(Contract::preflight));
    // A server that does not answer is not waited for.
    runtime.shutdown_background();
    let mut out = Out::stdout();
    print(&findings, args.format, &mut out)?;
    out.flush()?;
    Ok(match findings.iter().map(|finding| finding.verdict).max() {
        Some(Verdict::Wrong) => Exit::Failed,
        _ => Exit::Ok,
    })
}

async fn of_kafka(config: &Config) -> Vec<Finding> {
    let topics = match Topics::connect(&config.kafka()) {
        Ok(topics) => topics,
        Err(error) => return vec![preflight::unreachable(&error)],
    };
    match wanted_topics(config, &topics).await {
        Ok(specs) => preflight::preflight(&topics, &specs).await,
        Err(error) => vec![preflight::unreachable(&error)],
    }
}

/// That it parses is known by now: otherwise the program had ended with 2.
fn of_configuration(config: &Config) -> Vec<Finding> {
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for listed in &config.listing {
        let from = match &listed.origin {
            Origin::Default => continue,
            Origin::Profile(profile) => format!("profile {profile}"),
            Origin::File { path, .. } => path.clone(),
            Origin::Variable(_) => "variables".to_owned(),
            Origin::Flag(_) => "flags".to_owned(),
        };
        *count.entry(from).or_default() += 1;
    }
    let given: Vec<String> = count
        .iter()
        .map(|(from, count)| format!("{count} from {from}"))
        .collect();
    let found = match given.is_empty() {
        true => "all settings are the defaults".to_owned(),
        false => format!("settings: {}; the rest are the defaults", given.join(", ")),
    };
    let mut findings = vec![Finding::ok("configuration", found)];
    let warnings = config.warnings.iter();
    findings
        .extend(warnings.map(|text| Finding::warning("configuration", text, "do what it says, or correct the name")));
    findings
}

#[derive(Serialize)]
struct Row<'a> {
    check: &'a str,
    result: &'a str,
    found: &'a str,
    remedy: &'a str,
}

fn print(findings: &[Finding], format: Format, out: &mut Out) -> anyhow::Result<()> {
    if format != Format::Table {
        let mut rows = JsonRows::of(format);
        for finding in findings {
            let row = Row {
                check: &finding.check,
                result: finding.verdict.as_str(),
                found: &finding.found,
                remedy: &finding.remedy,
            };
            rows.row(out, &row)?;
        }
        return Ok(rows.finish(out)?);
    }
    let names = ["check", "result", "found", "what to do"].map(Column::left);
    let mut table = Table::new(&names);
    for Finding {
        check,
        verdict,
        found,
        remedy,
    } in findings
    {
        let cells = [check, verdict.as_str(), found, remedy].map(str::to_owned);
        table.row(out, cells.to_vec())?;
    }
    Ok(table.finish(out)?)
}
