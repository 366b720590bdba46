//! Avro records in Confluent's wire format: a 0, the schema's id in four bytes, the record. The same records mean the same
//! as in JSON: narrow (type and value) and wide (each number or boolean is a reading), with the same names of fields.
//!
//! What a schema says of a field is decided once, when the schema is learned ([`plan`]). Null is the same as absent.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use uuid::Uuid;

mod bytes;
mod plan;

#[cfg(test)]
mod tests;

use super::{Decoded, Decoder, FieldNames, Interner, Labels, Rejected};
use super::{checked_name, invalid_time, missing, name, time_of_text, wrong_type};
use crate::model::{Kind, Location, Reading, Reason, SensorId, TimeMs};
use bytes::{Broken, Bytes};
use plan::{Action, Place, PlaceStep, Plan, Read, Role, Root, Step};

/// The first byte of a record in Avro.
pub(super) const MAGIC: u8 = 0;
/// Magic and schema id.
const HEADER_BYTES: usize = 5;

/// A schema's id in the registry.
pub type SchemaId = u32;

/// Schemas that are known, compiled, by id: also those that no record can be read with, with the reason why.
#[derive(Default)]
pub(super) struct Schemas {
    known: HashMap<SchemaId, Result<Plan, Rejected>, RandomState>,
    /// The one that was learned last: most records come with it.
    newest: Option<SchemaId>,
}

/// Bound of the cache. Ids are given out one by one, so this many are met only where somebody invents them.
const SCHEMAS_MAX: usize = 10_000;

impl Schemas {
    fn learn(&mut self, id: SchemaId, schema: Result<Plan, Rejected>) {
        if self.known.len() >= SCHEMAS_MAX {
            self.known.clear();
        }
        self.known.insert(id, schema);
        self.newest = Some(id);
    }
}

impl Decoder {
    /// Whether a schema has been learned, or that no record with it can be read.
    pub fn knows(&self, id: SchemaId) -> bool {
        let knows = |schemas: &Schemas| schemas.newest == Some(id) || schemas.known.contains_key(&id);
        self.schemas.as_ref().is_some_and(knows)
    }

    /// Takes a schema up as the registry tells it: a text in Avro's JSON.
    pub fn learn(&mut self, id: SchemaId, schema: &str) {
        let Some(schemas) = &mut self.schemas else { return };
        let plan = plan::compile(schema, &self.fields, &mut self.names)
            .map_err(|why| Rejected::new(Reason::UnusableSchema, format!("schema {id} {why}")));
        schemas.learn(id, plan);
    }

    /// Records with this schema cannot be read, for a reason that the registry gives.
    pub fn learn_unusable(&mut self, id: SchemaId, reason: Reason, detail: String) {
        if let Some(schemas) = &mut self.schemas {
            schemas.learn(id, Err(Rejected::new(reason, detail)));
        }
    }

    /// The schema is to be asked for again.
    pub fn forget(&mut self, id: SchemaId) {
        if let Some(schemas) = &mut self.schemas {
            schemas.known.remove(&id);
            schemas.newest = schemas.newest.filter(|newest| *newest != id);
        }
    }

    pub(super) fn decode_avro(&mut self, payload: &[u8], readings: &mut Vec<Reading>) -> Result<Decoded, Rejected> {
        let Decoder {
            fields,
            names,
            labels,
            schemas,
            ..
        } = self;
        let Some(schemas) = schemas else {
            let detail =
                "the first byte is 0x00, as in Avro, and no registry is set that knows its schema: registry.url";
            return Err(Rejected::new(Reason::UnknownFormat, detail));
        };
        let Some((id, body)) = header(payload) else {
            let detail = format!("{} bytes cannot hold the id of a schema", payload.len());
            return Err(Rejected::new(Reason::InvalidAvro, detail));
        };
        let plan = match schemas.known.get(&id) {
            Some(Ok(plan)) => plan,
            Some(Err(rejected)) => return Err(rejected.clone()),
            None => {
                return Err(Rejected::new(
                    Reason::UnknownSchema,
                    format!("schema {id} is not known"),
                ));
            }
        };
        let mut bytes = Bytes(body);
        let steps = match &plan.root {
            Root::Record(steps) => steps,
            Root::OneOf(branches) => match bytes.one_of(branches, Broken::NoSuchBranch) {
                Ok(Some(steps)) => steps,
                Ok(None) => {
                    let detail = format!("the value is a branch of schema {id} that is no record");
                    return Err(Rejected::new(Reason::WrongType, detail));
                }
                Err(why) => return Err(broken(id, "the record", why)),
            },
        };
        let before = readings.len();
        let found = Found::read(plan, steps, &mut bytes, readings).map_err(|(name, why)| broken(id, name, why))?;
        if !bytes.0.is_empty() {
            let detail = format!("{} bytes are left behind a record of schema {id}", bytes.0.len());
            return Err(Rejected::new(Reason::InvalidAvro, detail));
        }
        if found.kind.is_some() || found.value.is_some() {
            readings.truncate(before);
            readings.push(found.narrow_reading(fields, names)?);
        } else if readings.len() == before {
            let detail = "no field is a number or a boolean that could be a measure";
            return Err(Rejected::new(Reason::NoReadings, detail));
        }
        if let Some(reading) = readings[before..].iter().find(|reading| !reading.value.is_finite()) {
            let detail = format!("{} is {}", reading.kind, reading.value);
            return Err(Rejected::new(Reason::ValueNotFinite, detail));
        }
        found.decoded(fields, names, labels)
    }
}

/// The schema that a payload needs: `None` where it is not in Avro, or too short to say.
pub fn schema_id(payload: &[u8]) -> Option<SchemaId> {
    header(payload).map(|(id, _)| id)
}

/// Schema id and body.
fn header(payload: &[u8]) -> Option<(SchemaId, &[u8])> {
    let (header, body) = payload.split_first_chunk::<HEADER_BYTES>()?;
    let [MAGIC, a, b, c, d] = *header else { return None };
    Some((u32::from_be_bytes([a, b, c, d]), body))
}

#[cold]
fn broken(id: SchemaId, name: &str, why: Broken) -> Rejected {
    let reason = match why {
        Broken::TooDeep => Reason::NestingTooDeep,
        Broken::NotUtf8 => Reason::InvalidUtf8,
        _ => Reason::InvalidAvro,
    };
    Rejected::new(
        reason,
        format!("not a record of schema {id}: at {name}, {}", why.as_str()),
    )
}

/// A value, as far as it matters.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Value<'a> {
    Null,
    Integer(i64),
    Number(f64),
    Boolean(bool),
    Text(&'a str),
    Uuid(Uuid),
    Time(TimeMs),
    /// A date, bytes, an object, …
    Other,
}

impl Value<'_> {
    /// The value as a measure: booleans are 0 and 1. Times are none: unlike in JSON they can be told from numbers.
    fn measure(self) -> Option<f64> {
        match self {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a reading is a double: as in JSON, the nearest"
            )]
            Value::Integer(value) => Some(value as f64),
            Value::Number(value) => Some(value),
            Value::Boolean(value) => Some(f64::from(u8::from(value))),
            _ => None,
        }
    }

    fn type_name(self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Integer(_) | Value::Number(_) => "a number",
            Value::Boolean(_) => "a boolean",
            Value::Text(_) => "a string",
            Value::Uuid(_) => "a UUID",
            Value::Time(_) => "a timestamp",
            Value::Other => "of another type",
        }
    }
}

/// What a record says; a null counts as not said.
#[derive(Default)]
struct Found<'a> {
    /// With the position among the names that the field may have.
    id: Option<(usize, Value<'a>)>,
    time: Option<(usize, Value<'a>)>,
    kind: Option<Value<'a>>,
    value: Option<Value<'a>>,
    status: Option<Value<'a>>,
    location: Option<Location>,
}

impl<'a> Found<'a> {
    /// Goes through a record; its measures are appended. The error has the name of the field that is broken.
    fn read<'p: 'a>(
        plan: &'p Plan,
        steps: &'p [Step],
        bytes: &mut Bytes<'a>,
        readings: &mut Vec<Reading>,
    ) -> Result<Found<'a>, (&'p str, Broken)> {
        let mut found = Found::default();
        for Step { name, action } in steps {
            let done = match action {
                Action::Pass(skip) => bytes.skip(skip, &plan.named, 1),
                Action::Place(place) => read_place(plan, place, bytes).map(|place| found.location = place),
                Action::Take(role, read) => {
                    read_value(plan, read, bytes).map(|value| found.take(role, value, readings))
                }
            };
            done.map_err(|why| (&**name, why))?;
        }
        Ok(found)
    }

    #[inline]
    fn take(&mut self, role: &Role, value: Value<'a>, readings: &mut Vec<Reading>) {
        if value == Value::Null {
            return;
        }
        let first = |slot: &mut Option<(usize, Value<'a>)>, rank: usize| {
            if slot.is_none_or(|(known, _)| rank < known) {
                *slot = Some((rank, value));
            }
        };
        match role {
            Role::Id(rank) => first(&mut self.id, *rank),
            Role::Time(rank) => first(&mut self.time, *rank),
            Role::Kind => self.kind = Some(value),
            Role::Value => self.value = Some(value),
            Role::Status => self.status = Some(value),
            Role::Measure(kind) => {
                if let Some(value) = value.measure() {
                    let kind = kind.clone();
                    readings.push(Reading { kind, value });
                }
            }
        }
    }

    fn narrow_reading(&self, fields: &FieldNames, names: &mut Interner) -> Result<Reading, Rejected> {
        let name = &fields.kind;
        let kind: Kind = match self.kind {
            None => return Err(missing(name)),
            Some(Value::Text(kind)) => names.kind(checked_name(name, kind)?),
            Some(other) => return Err(wrong_type(name, "a string", other.type_name())),
        };
        let name = &fields.value;
        let value = match self.value {
            None => return Err(missing(name)),
            Some(value) => value
                .measure()
                .ok_or_else(|| wrong_type(name, "a number", value.type_name()))?,
        };
        Ok(Reading { kind, value })
    }

    fn decoded(self, fields: &FieldNames, names: &mut Interner, labels: &mut Labels) -> Result<Decoded, Rejected> {
        let (sensor, label) = match self.id {
            None => return Err(missing(&fields.id.join(" or "))),
            Some((rank, Value::Text(id))) => labels.sensor(checked_name(&fields.id[rank], id)?),
            Some((_, Value::Uuid(id))) => (SensorId(id), None),
            Some((rank, other)) => return Err(wrong_type(&fields.id[rank], "a string", other.type_name())),
        };
        let time = match self.time {
            None => return Err(missing(&fields.time.join(" or "))),
            Some((_, Value::Time(time))) => time,
            Some((_, Value::Integer(ms))) => TimeMs(ms),
            Some((rank, Value::Text(text))) => time_of_text(&fields.time[rank], text)?,
            Some((rank, Value::Number(number))) => return Err(invalid_time(&fields.time[rank], &number)),
            Some((rank, other)) => {
                let wanted = "a timestamp, an integer or a string";
                return Err(wrong_type(&fields.time[rank], wanted, other.type_name()));
            }
        };
        let status = match self.status {
            Some(Value::Text(status)) => name(status).map(|status| names.intern(status)),
            _ => None,
        };
        Ok(Decoded {
            sensor,
            time,
            label,
            status,
            location: self.location,
        })
    }
}

#[inline]
fn read_value<'a, 'p: 'a>(plan: &'p Plan, read: &'p Read, bytes: &mut Bytes<'a>) -> Result<Value<'a>, Broken> {
    Ok(match read {
        Read::Double => Value::Number(bytes.double()?),
        Read::Text => Value::Text(bytes.text()?),
        Read::Time { ticks_per_ms } => Value::Time(TimeMs(bytes.long()?.div_euclid(*ticks_per_ms))),
        Read::Long => Value::Integer(bytes.long()?),
        Read::OneOf(branches) => {
            let branch = bytes.one_of(branches, Broken::NoSuchBranch)?;
            return read_value(plan, branch, bytes);
        }
        Read::Null => Value::Null,
        Read::Boolean => Value::Boolean(bytes.boolean()?),
        Read::Int => Value::Integer(bytes.int()?),
        Read::Float => Value::Number(f64::from(bytes.float()?)),
        Read::Symbol(symbols) => Value::Text(bytes.one_of(symbols, Broken::NoSuchSymbol)?),
        Read::Uuid => Value::Uuid(Uuid::from_bytes(bytes.sixteen()?)),
        Read::Other(skip) => {
            bytes.skip(skip, &plan.named, 1)?;
            Value::Other
        }
    })
}

/// A location, where both numbers are there and are some.
fn read_place<'a, 'p: 'a>(plan: &'p Plan, place: &'p Place, bytes: &mut Bytes<'a>) -> Result<Option<Location>, Broken> {
    let steps = match place {
        Place::Record(steps) => steps,
        Place::OneOf(branches) => {
            let branch = bytes.one_of(branches, Broken::NoSuchBranch)?;
            return read_place(plan, branch, bytes);
        }
        Place::Other(skip) => return bytes.skip(skip, &plan.named, 1).map(|()| None),
    };
    let (mut latitude, mut longitude) = (None, None);
    for step in steps {
        match step {
            PlaceStep::Pass(skip) => bytes.skip(skip, &plan.named, 2)?,
            PlaceStep::Latitude(read) => latitude = degrees(read_value(plan, read, bytes)?),
            PlaceStep::Longitude(read) => longitude = degrees(read_value(plan, read, bytes)?),
        }
    }
    Ok(latitude
        .zip(longitude)
        .map(|(latitude, longitude)| Location { latitude, longitude }))
}

#[expect(clippy::cast_precision_loss, reason = "degrees are small")]
fn degrees(value: Value<'_>) -> Option<f64> {
    match value {
        Value::Integer(value) => Some(value as f64),
        Value::Number(value) if value.is_finite() => Some(value),
        _ => None,
    }
}
