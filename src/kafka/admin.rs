//! Makes topics, and says how an existing one differs from what is asked for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;

use super::log::forwarding_context;
use super::{KafkaError, KafkaSettings, admission};

/// A topic as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: i32,
    pub replication_factor: i32,
    /// Topic-level settings by Kafka's names, for example `retention.ms`.
    pub settings: BTreeMap<String, String>,
}

/// One setting of an existing topic that is not as asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicDifference {
    pub topic: String,
    pub setting: String,
    pub is: String,
    pub should: String,
    /// Going on would lose data or break a guarantee; otherwise it is for a person to know.
    pub fatal: bool,
}

impl TopicDifference {
    /// What to do about it; empty where nobody knows better.
    pub fn remedy(&self) -> &'static str {
        match self.setting.as_str() {
            "partitions" => "ask for as many as there are (--partitions), or add some with Kafka's tools",
            "cleanup.policy" => "readings must not be compacted away; alter it with Kafka's tools",
            _ => "",
        }
    }
}

/// A topic that is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicFound {
    pub partitions: usize,
    /// The fewest of one partition.
    pub replicas: usize,
    /// In effect, by Kafka's names.
    pub settings: BTreeMap<String, String>,
    /// From what was asked for.
    pub differences: Vec<TopicDifference>,
}

/// What was done about one topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TopicOutcome {
    Created,
    /// It was there; the differences found, none where it is as asked for.
    Exists(Vec<TopicDifference>),
}

struct Quiet;

forwarding_context!(Quiet);

/// Longest wait for one administrative request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest wait for all brokers to hear of a topic that was just made.
const SPREAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for the first answer of a broker.
const REACH_TIMEOUT: Duration = Duration::from_secs(5);

/// Administers topics.
pub struct Topics {
    client: AdminClient<Quiet>,
    brokers: String,
}

impl Topics {
    /// Fails within seconds where no broker answers, or none lets us in.
    pub fn connect(kafka: &KafkaSettings) -> Result<Topics, KafkaError> {
        admission::check(kafka)?;
        let client: AdminClient<Quiet> = kafka
            .client_config(&[])
            .create_with_context(Quiet)
            .map_err(|error| KafkaError::client("client", &error))?;
        let brokers = kafka.brokers.clone();
        client
            .inner()
            .fetch_metadata(None, REACH_TIMEOUT)
            .map_err(|error| KafkaError::request("reading the metadata", &brokers, &error))?;
        Ok(Topics { client, brokers })
    }

    /// How many brokers there are.
    pub fn brokers(&self) -> Result<usize, KafkaError> {
        let metadata = self.client.inner().fetch_metadata(None, REACH_TIMEOUT);
        let metadata = metadata.map_err(|error| KafkaError::request("reading the metadata", &self.brokers, &error))?;
        Ok(metadata.brokers().len())
    }

    /// The topic beside what is asked for; `None` where the brokers know of none.
    pub async fn inspect(&self, spec: &TopicSpec) -> Result<Option<TopicFound>, KafkaError> {
        // First what makes no topic by asking for it.
        let Some(settings) = self.settings(&spec.name).await? else {
            return Ok(None);
        };
        Ok(self.shape(&spec.name)?.map(|(partitions, replicas)| TopicFound {
            partitions,
            replicas,
            differences: compare(spec, partitions, replicas, &settings),
            settings,
        }))
    }

    /// Makes the topic, or compares it with what is asked for. Two processes may do so at once.
    pub async fn ensure(&self, spec: &TopicSpec) -> Result<TopicOutcome, KafkaError> {
        let mut topic = NewTopic::new(
            &spec.name,
            spec.partitions,
            TopicReplication::Fixed(spec.replication_factor),
        );
        for (name, value) in &spec.settings {
            topic = topic.set(name, value);
        }
        let what = format!("creating topic {}", spec.name);
        let results = self
            .client
            .create_topics([&topic], &options())
            .await
            .map_err(|error| KafkaError::request(&what, &self.brokers, &error))?;
        match results.into_iter().next() {
            Some(Ok(_)) => {
                // What comes next may ask another broker: it should know the topic, too.
                self.differences(spec).await?;
                Ok(TopicOutcome::Created)
            }
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {
                Ok(TopicOutcome::Exists(self.differences(spec).await?))
            }
            Some(Err((_, RDKafkaErrorCode::InvalidReplicationFactor))) => Err(KafkaError(format!(
                "{what} failed on {}: replication factor {} needs as many brokers",
                self.brokers, spec.replication_factor
            ))),
            Some(Err((_, code))) => Err(KafkaError(format!("{what} failed on {}: {code}", self.brokers))),
            None => Err(KafkaError(format!(
                "{what} failed on {}: the answer is empty",
                self.brokers
            ))),
        }
    }

    /// Deletes topics with all their records; one that is not there is fine.
    pub async fn delete(&self, topics: &[&str]) -> Result<(), KafkaError> {
        let what = || format!("deleting the topics {}", topics.join(", "));
        let results = self
            .client
            .delete_topics(topics, &options())
            .await
            .map_err(|error| KafkaError::request(&what(), &self.brokers, &error))?;
        let failed = results.into_iter().filter_map(Result::err);
        match failed
            .into_iter()
            .find(|(_, code)| *code != RDKafkaErrorCode::UnknownTopicOrPartition)
        {
            None => Ok(()),
            Some((topic, code)) => Err(KafkaError(format!(
                "deleting topic {topic} failed on {}: {code}",
                self.brokers
            ))),
        }
    }

    /// Deletes a consumer group that nobody is in, with its committed offsets; one that is not there is fine.
    pub async fn delete_group(&self, group: &str) -> Result<(), KafkaError> {
        let what = || format!("deleting the consumer group {group}");
        let results = self
            .client
            .delete_groups(&[group], &options())
            .await
            .map_err(|error| KafkaError::request(&what(), &self.brokers, &error))?;
        match results.into_iter().find_map(Result::err) {
            None | Some((_, RDKafkaErrorCode::GroupIdNotFound)) => Ok(()),
            Some((_, code)) => Err(KafkaError(format!("{} failed on {}: {code}", what(), self.brokers))),
        }
    }

    /// A topic-level setting; `None` where there is no such topic.
    pub async fn setting(&self, topic: &str, name: &str) -> Result<Option<String>, KafkaError> {
        Ok(self
            .settings(topic)
            .await?
            .and_then(|mut settings| settings.remove(name)))
    }

    async fn settings(&self, topic: &str) -> Result<Option<BTreeMap<String, String>>, KafkaError> {
        let what = format!("reading the settings of topic {topic}");
        let results = self
            .client
            .describe_configs([&ResourceSpecifier::Topic(topic)], &options())
            .await
            .map_err(|error| KafkaError::request(&what, &self.brokers, &error))?;
        match results.into_iter().next() {
            Some(Ok(resource)) => Ok(Some(
                resource
                    .entries
                    .into_iter()
                    .filter_map(|entry| Some((entry.name, entry.value?)))
                    .collect(),
            )),
            Some(Err(RDKafkaErrorCode::UnknownTopicOrPartition)) | None => Ok(None),
            Some(Err(code)) => Err(KafkaError(format!("{what} failed on {}: {code}", self.brokers))),
        }
    }

    async fn differences(&self, spec: &TopicSpec) -> Result<Vec<TopicDifference>, KafkaError> {
        let deadline = Instant::now() + SPREAD_TIMEOUT;
        loop {
            match self.inspect(spec).await? {
                Some(found) => return Ok(found.differences),
                // Made a moment ago, by another process perhaps: not every broker has heard of it yet.
                _ if Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(100)).await,
                _ => {
                    return Err(KafkaError(format!(
                        "topic {} exists on {}, but its brokers do not describe it: try again",
                        spec.name, self.brokers
                    )));
                }
            }
        }
    }

    /// Partitions, and the fewest replicas of one; `None` while the brokers know of none.
    fn shape(&self, topic: &str) -> Result<Option<(usize, usize)>, KafkaError> {
        let what = format!("reading the metadata of topic {topic}");
        let metadata = self
            .client
            .inner()
            .fetch_metadata(Some(topic), REQUEST_TIMEOUT)
            .map_err(|error| KafkaError::request(&what, &self.brokers, &error))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let partitions = found.map_or(&[][..], |found| found.partitions());
        let replicas = partitions.iter().map(|partition| partition.replicas().len()).min();
        Ok(replicas.map(|replicas| (partitions.len(), replicas)))
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(REQUEST_TIMEOUT))
        .operation_timeout(Some(REQUEST_TIMEOUT))
}

/// Fewer partitions than asked for and any cleanup but `delete` are fatal: the first limits how many consumers work, the
/// second loses records.
fn compare(
    spec: &TopicSpec,
    partitions: usize,
    replicas: usize,
    settings: &BTreeMap<String, String>,
) -> Vec<TopicDifference> {
    let difference = |setting: &str, is: String, should: &str, fatal: bool| TopicDifference {
        topic: spec.name.clone(),
        setting: setting.to_owned(),
        is,
        should: should.to_owned(),
        fatal,
    };
    let mut differences = Vec::new();
    let asked = usize::try_from(spec.partitions).unwrap_or(0);
    if partitions != asked {
        let should = spec.partitions.to_string();
        differences.push(difference(
            "partitions",
            partitions.to_string(),
            &should,
            partitions < asked,
        ));
    }
    if replicas != usize::try_from(spec.replication_factor).unwrap_or(0) {
        let should = spec.replication_factor.to_string();
        differences.push(difference("replication factor", replicas.to_string(), &should, false));
    }
    for (name, should) in &spec.settings {
        let is = settings.get(name).map_or("unknown", String::as_str);
        if is != should {
            differences.push(difference(name, is.to_owned(), should, name == "cleanup.policy"));
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> TopicSpec {
        TopicSpec {
            name: "t".to_owned(),
            partitions: 12,
            replication_factor: 3,
            settings: BTreeMap::from([
                ("cleanup.policy".to_owned(), "delete".to_owned()),
                ("retention.ms".to_owned(), "604800000".to_owned()),
            ]),
        }
    }

    #[test]
    fn a_topic_as_asked_for_has_no_differences() {
        assert_eq!(compare(&spec(), 12, 3, &spec().settings), []);
    }

    #[test]
    fn fewer_partitions_and_another_cleanup_are_fatal_and_the_rest_is_named() {
        let settings = BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
        let found = compare(&spec(), 3, 1, &settings);
        let named: Vec<_> = found
            .iter()
            .map(|d| (d.setting.as_str(), d.is.as_str(), d.fatal))
            .collect();
        assert_eq!(
            named,
            [
                ("partitions", "3", true),
                ("replication factor", "1", false),
                ("cleanup.policy", "compact", true),
                ("retention.ms", "unknown", false)
            ]
        );
        assert!(
            !compare(&spec(), 24, 3, &spec().settings)[0].fatal,
            "more partitions than asked for are fine"
        );
    }
}
