//! Bytes of a Kafka record to readings, or to the reason why not. Knows formats, not Kafka and not the store.
//! Decoding is a pure function of the record: bytes, key and Kafka timestamp, never the wall clock, so a replay decides
//! the same.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use crate::model::{Kind, Location, MAX_SENSOR_ID_BYTES, Reading, Reason, SensorId, TimeMs};
use avro::{MAGIC, Schemas};

mod avro;
mod avro_outputs;
mod compatibility;
mod json;
mod outputs;
mod time;

pub use avro::{SchemaId, schema_id};
pub use avro_outputs::{ALERT_SCHEMA, AvroOutputs, STATUS_SCHEMA, WINDOW_SCHEMA};
pub use compatibility::{is_same_schema, reads_what_was_written};
pub use outputs::{OutputEncoding, encode_alert, encode_status, encode_window};
pub use time::parse_rfc3339;

/// The most levels of objects and arrays in a payload.
pub const MAX_NESTING: usize = 32;
/// How far ahead of its record's Kafka timestamp an event time may lie.
pub const MAX_AHEAD_MS: i64 = 3_600_000;

/// Which fields mean what.
#[derive(Clone, PartialEq, Debug)]
pub struct FieldNames {
    /// Fields that may hold the sensor's id, the preferred first.
    pub id: Vec<String>,
    /// Fields that may hold the event time, the preferred first.
    pub time: Vec<String>,
    /// The field that names the measure of a record with one reading.
    pub kind: String,
    /// The field that holds the value of a record with one reading.
    pub value: String,
    pub location: String,
    pub status: String,
    /// Fields of a record of several measures that are no measure.
    pub ignored: Vec<String>,
}

impl Default for FieldNames {
    fn default() -> FieldNames {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        FieldNames {
            id: names(&["sensor_id", "device_id"]),
            time: names(&["reading_time", "timestamp"]),
            kind: "type".to_owned(),
            value: "reading".to_owned(),
            location: "location".to_owned(),
            status: "status".to_owned(),
            ignored: Vec::new(),
        }
    }
}

/// What is accepted.
#[derive(Clone, PartialEq, Debug)]
pub struct Limits {
    pub max_payload_bytes: usize,
    /// Time to live of readings: event times that are older, less a day, are dead letters.
    pub readings_ttl_ms: Option<i64>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_payload_bytes: 1 << 20,
            readings_ttl_ms: None,
        }
    }
}

/// Why a payload is a dead letter.
#[derive(Clone, PartialEq, Debug)]
pub struct Rejected {
    pub reason: Reason,
    pub detail: String,
}

impl Rejected {
    fn new(reason: Reason, detail: impl Into<String>) -> Rejected {
        Rejected {
            reason,
            detail: detail.into(),
        }
    }
}

/// One decoded payload; its readings were appended to the caller's list.
#[derive(Clone, PartialEq, Debug)]
pub struct Decoded {
    pub sensor: SensorId,
    /// Event time.
    pub time: TimeMs,
    pub label: Option<Arc<str>>,
    pub status: Option<Arc<str>>,
    pub location: Option<Location>,
}

fn missing(name: &str) -> Rejected {
    Rejected::new(Reason::MissingField, format!("field {name} is missing"))
}

fn wrong_type(name: &str, wanted: &str, found: &str) -> Rejected {
    Rejected::new(
        Reason::WrongType,
        format!("field {name} must be {wanted}, it is {found}"),
    )
}

fn invalid_time(name: &str, found: &dyn fmt::Display) -> Rejected {
    let wanted = "epoch milliseconds as an integer, or RFC 3339";
    Rejected::new(
        Reason::InvalidTime,
        format!("field {name} must be {wanted}, it is {found}"),
    )
}

/// An event time that is written as a text.
fn time_of_text(name: &str, text: &str) -> Result<TimeMs, Rejected> {
    if text.is_empty() {
        return Err(Rejected::new(Reason::EmptyField, format!("field {name} is empty")));
    }
    parse_rfc3339(text)
        .ok_or_else(|| invalid_time(name, &format_args!("{:?}", text.chars().take(64).collect::<String>())))
}

fn checked_name<'a>(field: &str, text: &'a str) -> Result<&'a str, Rejected> {
    if text.is_empty() {
        return Err(Rejected::new(Reason::EmptyField, format!("{field} is empty")));
    }
    if text.len() > MAX_SENSOR_ID_BYTES {
        let detail = format!("{field} has {} bytes, the limit is {MAX_SENSOR_ID_BYTES}", text.len());
        return Err(Rejected::new(Reason::NameTooLong, detail));
    }
    Ok(text)
}

/// As long as a name may be, and not empty.
fn name(text: &str) -> Option<&str> {
    (1..=MAX_SENSOR_ID_BYTES).contains(&text.len()).then_some(text)
}

/// Decodes payloads and interns the names in them.
pub struct Decoder {
    fields: FieldNames,
    limits: Limits,
    names: Interner,
    labels: Labels,
    shapes: json::Shapes,
    /// Absent where there is no registry to ask: then Avro is no format that is known.
    schemas: Option<Schemas>,
}

impl Decoder {
    pub fn new(fields: FieldNames, limits: Limits) -> Decoder {
        Decoder {
            fields,
            limits,
            names: Interner::default(),
            labels: Labels::default(),
            shapes: json::Shapes::default(),
            schemas: None,
        }
    }

    /// One that reads Avro too: schemas are told by [`Decoder::learn`].
    pub fn with_schemas(fields: FieldNames, limits: Limits) -> Decoder {
        Decoder {
            schemas: Some(Schemas::default()),
            ..Decoder::new(fields, limits)
        }
    }

    /// Decodes one record's value. Its readings are appended to `readings`, in the order in which they are written; a
    /// rejected payload appends nothing.
    pub fn decode(
        &mut self,
        payload: Option<&[u8]>,
        timestamp: TimeMs,
        readings: &mut Vec<Reading>,
    ) -> Result<Decoded, Rejected> {
        let payload = payload.unwrap_or_default();
        if payload.len() > self.limits.max_payload_bytes {
            let detail = format!(
                "{} bytes, the limit is {}",
                payload.len(),
                self.limits.max_payload_bytes
            );
            return Err(Rejected::new(Reason::PayloadTooLarge, detail));
        }
        let kept = readings.len();
        let decoded = match payload.first() {
            None => Err(Rejected::new(Reason::EmptyPayload, "the record has no value")),
            Some(b'{') => self.decode_json(payload, readings),
            Some(&MAGIC) => self.decode_avro(payload, readings),
            Some(byte) => Err(Rejected::new(
                Reason::UnknownFormat,
                format!("the first byte is 0x{byte:02x}, JSON begins with {{"),
            )),
        };
        let checked = decoded.and_then(|decoded| self.check_time(decoded.time, timestamp).map(|()| decoded));
        if checked.is_err() {
            readings.truncate(kept);
        }
        checked
    }

    fn check_time(&self, time: TimeMs, timestamp: TimeMs) -> Result<(), Rejected> {
        if time < TimeMs::OLDEST {
            return Err(Rejected::new(
                Reason::TimeTooOld,
                format!("event time {time} is before {}", TimeMs::OLDEST),
            ));
        }
        if time.0 > timestamp.0.saturating_add(MAX_AHEAD_MS) {
            let detail = format!("event time {time} is over an hour after the record's timestamp {timestamp}");
            return Err(Rejected::new(Reason::TimeInFuture, detail));
        }
        if let Some(ttl_ms) = self.limits.readings_ttl_ms {
            // A day early: the row must outlive the write that makes it.
            let oldest = timestamp
                .0
                .saturating_sub(ttl_ms)
                .saturating_add(crate::model::MILLIS_PER_DAY);
            if time.0 < oldest {
                let detail = format!("event time {time} is older than the readings' time to live, less a day");
                return Err(Rejected::new(Reason::Expired, detail));
            }
        }
        Ok(())
    }
}

/// The ids of sensors that go by a label.
#[derive(Default)]
struct Labels(HashMap<Arc<str>, SensorId>);

impl Labels {
    /// The id of a sensor by its text, and the label to keep where that is no UUID.
    fn sensor(&mut self, text: &str) -> (SensorId, Option<Arc<str>>) {
        if let Some(id) = SensorId::from_uuid(text) {
            return (id, None);
        }
        if let Some((label, id)) = self.0.get_key_value(text) {
            return (*id, Some(label.clone()));
        }
        let id = SensorId::from_label(text);
        // Bounded: a fleet larger than this pays a hash again, it does not grow the process.
        if self.0.len() >= INTERNED_NAMES_MAX {
            self.0.clear();
        }
        let label: Arc<str> = Arc::from(text);
        self.0.insert(label.clone(), id);
        (id, Some(label))
    }
}

/// Bound of each table of interned names.
const INTERNED_NAMES_MAX: usize = 100_000;

/// Names that are compared before a hash is computed.
const FIRST_NAMES_MAX: usize = 8;

/// Kinds and statuses are few and come with every record: one allocation each, not one a record.
#[derive(Default)]
struct Interner {
    /// Those that came first, which are most often all.
    first: Vec<Arc<str>>,
    names: HashSet<Arc<str>>,
}

impl Interner {
    fn intern(&mut self, name: &str) -> Arc<str> {
        let is_it = |known: &&Arc<str>| known.as_ref() == name;
        if let Some(known) = self.first.iter().find(is_it).or_else(|| self.names.get(name)) {
            return known.clone();
        }
        let name: Arc<str> = Arc::from(name);
        if self.first.len() < FIRST_NAMES_MAX {
            self.first.push(name.clone());
            return name;
        }
        if self.names.len() >= INTERNED_NAMES_MAX {
            self.names.clear();
        }
        self.names.insert(name.clone());
        name
    }

    fn kind(&mut self, name: &str) -> Kind {
        Kind(self.intern(name))
    }
}
