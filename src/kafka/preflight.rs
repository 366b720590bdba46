//! Whether Kafka is as the pipeline needs it. Reads, and changes nothing.

use std::collections::BTreeMap;

use super::KafkaError;
use super::admin::{TopicDifference, TopicFound, TopicSpec, Topics};
use crate::model::Finding;

/// That nobody answers, or not as it should be.
pub fn unreachable(error: &KafkaError) -> Finding {
    let remedy = "start Kafka, or correct --brokers; with SASL or TLS also [kafka.properties] and the password";
    Finding::wrong("kafka", error.to_string(), remedy)
}

/// Looks at the brokers and at each topic.
pub async fn preflight(topics: &Topics, specs: &[TopicSpec]) -> Vec<Finding> {
    let mut findings = vec![match topics.brokers() {
        Ok(brokers) => Finding::ok("kafka", format!("answers, brokers: {brokers}")),
        Err(error) => return vec![unreachable(&error)],
    }];
    for spec in specs {
        let check = format!("topic {}", spec.name);
        match topics.inspect(spec).await {
            Ok(Some(found)) => findings.extend(judge(&check, &found)),
            Ok(None) => findings.push(Finding::wrong(check, "there is none", "run `iotpipe init-schema`")),
            Err(error) => findings.push(Finding::wrong(
                check,
                error.to_string(),
                "grant the user Describe and DescribeConfigs on it",
            )),
        }
    }
    findings
}

/// All that is to say of a topic that is there; one line where all is well.
fn judge(check: &str, found: &TopicFound) -> Vec<Finding> {
    let mut findings: Vec<Finding> = found
        .differences
        .iter()
        .map(|difference| of_difference(check, difference))
        .collect();
    findings.extend(durability(check, found.replicas, &found.settings));
    if findings.is_empty() {
        let retention = found.settings.get("retention.ms").map_or("unknown", String::as_str);
        let min_insync = found
            .settings
            .get("min.insync.replicas")
            .map_or("unknown", String::as_str);
        findings.push(Finding::ok(
            check,
            format!(
                "partitions: {}, replicas: {}, in sync at least: {min_insync}, kept for: {retention} ms",
                found.partitions, found.replicas
            ),
        ));
    }
    findings
}

fn of_difference(check: &str, difference: &TopicDifference) -> Finding {
    let found = format!(
        "{} is {}, should be {}",
        difference.setting, difference.is, difference.should
    );
    let remedy = match difference.remedy() {
        "" => "alter the topic with Kafka's tools, or the setting",
        remedy => remedy,
    };
    match difference.fatal {
        true => Finding::wrong(check, found, remedy),
        false => Finding::warning(check, found, remedy),
    }
}

/// What an acknowledged record must survive, whatever is configured.
fn durability(check: &str, replicas: usize, settings: &BTreeMap<String, String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let min_insync = settings
        .get("min.insync.replicas")
        .and_then(|text| text.parse::<usize>().ok());
    match min_insync {
        Some(min_insync) if min_insync > replicas => findings.push(Finding::wrong(
            check,
            format!("min.insync.replicas is {min_insync} with replicas: {replicas}: nothing can be written"),
            "alter min.insync.replicas with Kafka's tools, or add replicas",
        )),
        Some(min_insync) if min_insync < 2 && replicas > 1 => findings.push(Finding::wrong(
            check,
            format!(
                "min.insync.replicas is {min_insync} with replicas: {replicas}: an acknowledged record may be on one \
                 broker alone"
            ),
            "alter min.insync.replicas to 2 with Kafka's tools",
        )),
        _ => {}
    }
    if settings
        .get("unclean.leader.election.enable")
        .is_some_and(|value| value == "true")
    {
        findings.push(Finding::wrong(
            check,
            "unclean.leader.election.enable is true: an election may drop acknowledged records",
            "alter it to false with Kafka's tools",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Verdict;

    fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn verdicts(replicas: usize, pairs: &[(&str, &str)]) -> Vec<Verdict> {
        let found = TopicFound {
            partitions: 1,
            replicas,
            settings: settings(pairs),
            differences: Vec::new(),
        };
        judge("topic t", &found).iter().map(|finding| finding.verdict).collect()
    }

    #[test]
    fn an_acknowledged_record_must_be_on_two_brokers_where_there_are_replicas() {
        assert_eq!(verdicts(1, &[("min.insync.replicas", "1")]), [Verdict::Ok]);
        assert_eq!(verdicts(3, &[("min.insync.replicas", "2")]), [Verdict::Ok]);
        assert_eq!(verdicts(3, &[("min.insync.replicas", "1")]), [Verdict::Wrong]);
        assert_eq!(verdicts(1, &[("min.insync.replicas", "2")]), [Verdict::Wrong]);
    }

    #[test]
    fn an_unclean_election_is_wrong() {
        let unclean = [("unclean.leader.election.enable", "true"), ("min.insync.replicas", "1")];
        assert_eq!(verdicts(1, &unclean), [Verdict::Wrong]);
    }
}
