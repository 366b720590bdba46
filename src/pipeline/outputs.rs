//! The topics that `consume` writes: alerts and events, each with its word when it is acknowledged, and analytics, a commit's
//! worth at a time.

use super::consume::{ConsumeSettings, OutputTopics};
use crate::codec::OutputEncoding;
use crate::kafka::outputs::OutputProducer;
use crate::kafka::{KafkaError, KafkaSettings};
use crate::model::{AlertWrite, WriteId};
use crate::processor::{ChangedWindow, Event};

/// The producers of the topics that are in use.
pub struct Outputs {
    /// Of alerts and events.
    alerts: Option<OutputProducer>,
    analytics: Option<OutputProducer>,
    topics: OutputTopics,
    encoding: OutputEncoding,
}

/// All windows of one commit are one group, and one commit is in flight at a time.
const ANALYTICS_GROUP: u64 = 0;

impl Outputs {
    /// `wake` is called whenever there may be deliveries. Fails where a topic that is needed is not there.
    pub fn new(
        kafka: &KafkaSettings,
        settings: &ConsumeSettings,
        wake: impl Fn() + Clone + Send + Sync + 'static,
    ) -> Result<Outputs, KafkaError> {
        let producer = |is_needed: bool, topics: &[&String]| -> Result<Option<OutputProducer>, KafkaError> {
            if !is_needed {
                return Ok(None);
            }
            let producer = OutputProducer::new(kafka, wake.clone())?;
            for topic in topics {
                producer.check_topic(topic, &kafka.brokers)?;
            }
            Ok(Some(producer))
        };
        let topics = settings.topics.clone();
        Ok(Outputs {
            alerts: producer(settings.processor.processing.alerts, &[&topics.alerts, &topics.events])?,
            analytics: producer(settings.processor.analytics, &[&topics.analytics])?,
            topics,
            encoding: settings.outputs.clone(),
        })
    }

    /// Alerts that the store has, and changes of status: to their topics. Alerts may be looked up in the store at once.
    pub fn send_alerts(&mut self, alerts: &AlertWrite) -> Result<(), KafkaError> {
        let Some(producer) = &mut self.alerts else {
            return Ok(());
        };
        for change in &alerts.changes {
            let payload = self.encoding.alert(change, &alerts.source);
            producer.send(alerts.id.0, &self.topics.alerts, &alerts.sensor.to_string(), &payload)?;
        }
        for change in &alerts.statuses {
            let payload = self.encoding.status(change, &alerts.source);
            producer.send(alerts.id.0, &self.topics.events, &alerts.sensor.to_string(), &payload)?;
        }
        Ok(())
    }

    pub fn publish(&mut self, windows: &[ChangedWindow]) -> Result<(), KafkaError> {
        let Some(producer) = &mut self.analytics else {
            return Ok(());
        };
        for window in windows {
            let payload = self.encoding.window(window.sensor, &window.source, &window.cell);
            producer.send(
                ANALYTICS_GROUP,
                &self.topics.analytics,
                &window.sensor.to_string(),
                &payload,
            )?;
        }
        Ok(())
    }

    /// What was acknowledged since, without waiting, in the processor's words.
    pub fn deliveries(&mut self) -> Result<Vec<Event>, KafkaError> {
        let mut events = Vec::new();
        if let Some(producer) = &mut self.alerts {
            let groups = producer.deliveries()?.into_iter();
            events.extend(groups.map(|group| Event::AlertsWritten(WriteId(group))));
        }
        if let Some(producer) = &mut self.analytics {
            events.extend(producer.deliveries()?.into_iter().map(|_| Event::Published));
        }
        Ok(events)
    }
}
