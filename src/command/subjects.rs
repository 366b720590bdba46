//! The contract in the registry: which schema belongs to which subject, and a fleet that keeps to it.

use super::UsageError;
use crate::codec::{ALERT_SCHEMA, AvroOutputs, OutputEncoding, STATUS_SCHEMA, WINDOW_SCHEMA};
use crate::config::{Codec, Config, Payload};
use crate::fleet::{Fleet, FleetError, FleetSettings, Format, avro_schema};
use crate::registry::Registry;

/// A subject and the schema that its records have from now on.
pub struct Subject {
    pub name: String,
    pub schema: String,
}

/// The subject of a topic's values, as Confluent's serializers name it.
pub fn of_topic(topic: &str) -> String {
    format!("{topic}-value")
}

/// All subjects: of the readings, the alerts, the events and the windows.
pub fn all(config: &Config) -> Result<Vec<Subject>, FleetError> {
    let kafka = &config.kafka;
    let subject = |topic: &str, schema: String| Subject {
        name: of_topic(topic),
        schema,
    };
    Ok(vec![
        subject(&kafka.topic, avro_schema(format(config), &config.produce.kinds)?),
        subject(&kafka.alerts_topic, ALERT_SCHEMA.to_owned()),
        subject(&kafka.events_topic, STATUS_SCHEMA.to_owned()),
        subject(&kafka.analytics_topic, WINDOW_SCHEMA.to_owned()),
    ])
}

pub fn format(config: &Config) -> Format {
    match config.produce.payload {
        Payload::Narrow => Format::Narrow,
        Payload::Wide => Format::Wide,
    }
}

/// The id that the fleet's records carry; `None` where they are in JSON. The schema is registered if it is not yet.
pub fn schema_id(config: &Config, subject: &str) -> anyhow::Result<Option<u32>> {
    schema_id_of(format(config), config, subject)
}

/// The same for records of one form.
pub fn schema_id_of(format: Format, config: &Config, subject: &str) -> anyhow::Result<Option<u32>> {
    if config.produce.codec == Codec::Json {
        return Ok(None);
    }
    let schema = avro_schema(format, &config.produce.kinds).map_err(|error| UsageError(error.to_string()))?;
    Ok(Some(registry(config)?.register(subject, &schema)?))
}

/// How `consume` writes alerts, changes of status and windows. Their schemas are registered if they are not yet.
pub fn outputs(config: &Config) -> anyhow::Result<OutputEncoding> {
    if config.consume.outputs_codec == Codec::Json {
        return Ok(OutputEncoding::Json);
    }
    let registry = registry(config)?;
    let alert = registry.register(&of_topic(&config.kafka.alerts_topic), ALERT_SCHEMA)?;
    let status = registry.register(&of_topic(&config.kafka.events_topic), STATUS_SCHEMA)?;
    let window = registry.register(&of_topic(&config.kafka.analytics_topic), WINDOW_SCHEMA)?;
    Ok(OutputEncoding::Avro(Box::new(AvroOutputs::new(alert, status, window))))
}

/// The registry that must be there.
pub fn registry(config: &Config) -> Result<Registry, UsageError> {
    let settings = config
        .registry()
        .ok_or_else(|| UsageError("Avro needs a registry: set registry.url (--registry)".to_owned()))?;
    Ok(Registry::new(&settings))
}

/// The fleet, in JSON or under that schema id.
pub fn fleet(settings: FleetSettings, schema_id: Option<u32>) -> Result<Fleet, FleetError> {
    match schema_id {
        Some(id) => Fleet::in_avro(settings, id),
        None => Fleet::new(settings),
    }
}
