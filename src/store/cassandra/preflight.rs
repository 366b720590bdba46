//! Whether a Cassandra cluster is as the pipeline needs it. Reads, and changes nothing.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use scylla::client::session::Session;
use scylla::value::CqlTimestamp;

use super::connect::{connect, place};
use super::error::Cause;
use super::{schema, shape};
use crate::model::Finding;
use crate::store::schema::{Difference, Inspection};
use crate::store::{SchemaSettings, StoreSettings};

/// The release that the tests run on.
const TESTED: &str = "5.0";

/// A clock may be so far from this machine's.
const CLOCKS_APART_MS: i64 = 1_000;

const INIT_SCHEMA: &str = "run `iotpipe init-schema`";

/// Looks at the cluster, at the keyspace and at the tables.
pub(in crate::store) async fn preflight(
    settings: &StoreSettings,
    wanted: &SchemaSettings,
    hosts: &[String],
    keyspace: &str,
) -> Vec<Finding> {
    let session = match connect(settings, hosts, keyspace, settings.request_timeout).await {
        Ok(session) => session,
        Err(error) => {
            let remedy = "start Cassandra, or correct the store's address, user, password or data centre";
            return vec![Finding::wrong("cassandra", error.to_string(), remedy)];
        }
    };
    let mut findings = vec![release(&session, hosts).await];
    findings.push(clock(&session).await);
    findings.push(commit_log(&session).await);
    match schema::inspect(session, wanted, hosts, keyspace).await {
        Err(error) => findings.push(Finding::wrong("schema", error.to_string(), INIT_SCHEMA)),
        Ok(None) => findings.push(Finding::wrong(
            "keyspace",
            format!("there is no keyspace {keyspace}"),
            "run `iotpipe init-schema`, or correct the store's address",
        )),
        Ok(Some(inspection)) => findings.extend(of_schema(&inspection, keyspace)),
    }
    findings
}

/// What was read, or that it could not be.
fn or_unreadable(check: &str, read: Result<Finding, Cause>) -> Finding {
    let unreadable = |cause: Cause| {
        let why = cause.into_error("cassandra", "read it").to_string();
        Finding::warning(check, why, "grant the user SELECT on the system keyspaces")
    };
    read.unwrap_or_else(unreadable)
}

async fn release(session: &Session, hosts: &[String]) -> Finding {
    let read = async || -> Result<Finding, Cause> {
        let text = "SELECT release_version FROM system.local";
        let answer = session.query_unpaged(text, ()).await?.into_rows_result()?;
        let (release,) = answer.first_row::<(String,)>()?;
        let nodes = session.get_cluster_state().get_nodes_info().len();
        let found = format!("{} answers: release {release}, nodes: {nodes}", place(hosts));
        Ok(match release.starts_with(TESTED) {
            true => Finding::ok("cassandra", found),
            false => Finding::warning("cassandra", found, format!("iotpipe is tested with {TESTED}")),
        })
    };
    or_unreadable("cassandra", read().await)
}

/// Readings carry their record's time and cells offsets, so nothing stored depends on clocks; what `expired`, `silent` and
/// time to live mean does.
async fn clock(session: &Session) -> Finding {
    let now_ms = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    };
    let read = async || -> Result<Finding, Cause> {
        let before_ms = now_ms();
        let text = "SELECT toTimestamp(now()) FROM system.local";
        let answer = session.query_unpaged(text, ()).await?.into_rows_result()?;
        let after_ms = now_ms();
        let (CqlTimestamp(server_ms),) = answer.first_row::<(CqlTimestamp,)>()?;
        Ok(judge_clock(before_ms, server_ms, after_ms))
    };
    or_unreadable("clock", read().await)
}

/// The server read its clock at some moment between.
fn judge_clock(before_ms: i64, server_ms: i64, after_ms: i64) -> Finding {
    let apart_ms = (before_ms - server_ms).max(server_ms - after_ms).max(0);
    let found = format!("Cassandra's clock and this machine's: {apart_ms} ms apart");
    match apart_ms <= CLOCKS_APART_MS {
        true => Finding::ok("clock", found),
        false => Finding::warning("clock", found, "synchronise the clocks (NTP)"),
    }
}

async fn commit_log(session: &Session) -> Finding {
    let read = async || -> Result<Finding, Cause> {
        let text = "SELECT name, value FROM system_views.settings \
                    WHERE name IN ('commitlog_sync', 'commitlog_sync_period')";
        let answer = session.query_unpaged(text, ()).await?.into_rows_result()?;
        let mut values = BTreeMap::new();
        for row in answer.rows::<(String, Option<String>)>()? {
            let (name, value) = row?;
            values.insert(name, value.unwrap_or_default());
        }
        let value = |name: &str| values.get(name).map_or("unknown", String::as_str);
        Ok(judge_commit_log(
            value("commitlog_sync"),
            value("commitlog_sync_period"),
        ))
    };
    or_unreadable("commit log", read().await)
}

fn judge_commit_log(sync: &str, period: &str) -> Finding {
    match sync {
        "batch" | "group" => Finding::ok("commit log", format!("commitlog_sync is {sync}")),
        _ => Finding::warning(
            "commit log",
            format!(
                "commitlog_sync is {sync} ({period}): what was acknowledged since the last sync is lost when a row's only \
                 replica is killed, or all replicas lose power at once"
            ),
            "have three replicas, or set commitlog_sync to batch in cassandra.yaml",
        ),
    }
}

fn of_schema(inspection: &Inspection, keyspace: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if inspection.pending.is_empty() && inspection.differences.is_empty() {
        let found = format!("all {} migrations applied to {keyspace}", inspection.present.len());
        findings.push(Finding::ok("tables", found));
    }
    for name in &inspection.pending {
        findings.push(Finding::wrong(
            "tables",
            format!("migration {name} is not applied"),
            INIT_SCHEMA,
        ));
    }
    for difference in &inspection.differences {
        let remedy = match difference.is_missing_whole() {
            true => INIT_SCHEMA,
            false => "use another keyspace, or rename the table that is there",
        };
        findings.push(Finding::wrong("tables", difference.to_string(), remedy));
    }
    findings.extend(inspection.options.iter().map(|option| of_option(option, keyspace)));
    findings.extend(
        inspection
            .unknown
            .iter()
            .map(|text| Finding::warning("tables", text, "use the newer iotpipe")),
    );
    findings
}

/// Of tables whose cells must stay visible once they were read, another option breaks what is promised.
fn of_option(option: &Difference, keyspace: &str) -> Finding {
    let (table, name) = option.place.split_once('.').unwrap_or((&option.place, ""));
    let check = format!("option {}", option.place);
    let found = format!("is {}, should be {}", option.is, option.should_be);
    if !shape::FENCED.contains(&table) {
        return Finding::warning(check, found, "alter it, or the setting: it costs work on the servers");
    }
    let value = match name {
        "read_repair" => format!("'{}'", option.should_be),
        _ => option.should_be.clone(),
    };
    Finding::wrong(
        check,
        found,
        format!("ALTER TABLE {keyspace}.{table} WITH {name} = {value}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Verdict;

    #[test]
    fn clocks_are_apart_by_what_the_request_cannot_explain() {
        assert_eq!(judge_clock(1_000, 1_500, 3_000).verdict, Verdict::Ok);
        assert_eq!(judge_clock(5_000, 1_500, 5_100).verdict, Verdict::Warning);
        assert_eq!(judge_clock(5_000, 9_000, 5_100).verdict, Verdict::Warning);
        assert!(judge_clock(5_000, 9_000, 5_100).found.contains("3900 ms"));
    }

    #[test]
    fn only_a_synced_commit_log_survives_a_power_cut() {
        assert_eq!(judge_commit_log("group", "").verdict, Verdict::Ok);
        assert_eq!(judge_commit_log("periodic", "10000ms").verdict, Verdict::Warning);
    }

    #[test]
    fn an_option_that_breaks_a_promise_is_wrong_and_the_others_are_not() {
        let option = Difference::new("sensor_state.read_repair", "NONE", "BLOCKING");
        let finding = of_option(&option, "k");
        assert_eq!(finding.verdict, Verdict::Wrong);
        assert_eq!(
            finding.remedy,
            "ALTER TABLE k.sensor_state WITH read_repair = 'BLOCKING'"
        );
        let option = Difference::new("sensor_readings.default_time_to_live", "0", "60");
        assert_eq!(of_option(&option, "k").verdict, Verdict::Warning);
    }
}
