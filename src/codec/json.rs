//! JSON records, narrow (one reading: type and value) and wide (each top-level number or boolean is a reading).

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

mod flat;
mod shape;

pub(super) use shape::Shapes;

use super::{Decoded, Decoder, MAX_NESTING, Rejected, checked_name, invalid_time, missing, name, time_of_text};
use crate::model::{Location, Reading, Reason, TimeMs};

impl Decoder {
    pub(super) fn decode_json(&mut self, payload: &[u8], readings: &mut Vec<Reading>) -> Result<Decoded, Rejected> {
        let Ok(text) = std::str::from_utf8(payload) else {
            return Err(Rejected::new(Reason::InvalidUtf8, "the value is not UTF-8"));
        };
        let is_plain = flat::is_plain(text);
        if is_plain && let Some(decoded) = self.decode_known(text, readings) {
            return Ok(decoded);
        }
        let decoded = self.decode_any(text, is_plain, readings)?;
        if is_plain {
            self.shapes.learn(text, &self.fields, &mut self.names);
        }
        Ok(decoded)
    }

    /// A plain record of a shape that was met before.
    fn decode_known(&mut self, text: &str, readings: &mut Vec<Reading>) -> Option<Decoded> {
        let values = self.shapes.read(text, readings)?;
        if let Some((kind, value)) = values.narrow {
            let kind = self.names.kind(kind);
            readings.push(Reading { kind, value });
        }
        let (sensor, label) = self.labels.sensor(values.id);
        Some(Decoded {
            sensor,
            time: values.time,
            label,
            status: values.status.map(|status| self.names.intern(status)),
            location: None,
        })
    }

    fn decode_any(&mut self, text: &str, is_plain: bool, readings: &mut Vec<Reading>) -> Result<Decoded, Rejected> {
        let object = parse(text, is_plain, &self.fields.location)?;
        let (sensor, label) = {
            let id = object.sensor_id(&self.fields.id)?;
            self.labels.sensor(id)
        };
        let time = object.event_time(&self.fields.time)?;
        if object.get(&self.fields.kind).is_some() || object.get(&self.fields.value).is_some() {
            readings.push(self.narrow_reading(&object)?);
        } else {
            self.wide_readings(&object, readings)?;
        }
        let status = match object.get(&self.fields.status) {
            Some(Scalar::Text(status)) => name(status).map(|status| self.names.intern(status)),
            _ => None,
        };
        Ok(Decoded {
            sensor,
            time,
            label,
            status,
            location: object.location,
        })
    }

    fn narrow_reading(&mut self, object: &Object<'_>) -> Result<Reading, Rejected> {
        let name = &self.fields.kind;
        let kind = match object.get(name) {
            None => return Err(missing(name)),
            Some(Scalar::Text(kind)) => checked_name(name, kind)?,
            Some(other) => return Err(wrong_type(name, "a string", other)),
        };
        let name = &self.fields.value;
        let value = match object.get(name) {
            None => return Err(missing(name)),
            Some(scalar) => scalar.measure().ok_or_else(|| wrong_type(name, "a number", scalar))?,
        };
        Ok(Reading {
            kind: self.names.kind(kind),
            value,
        })
    }

    fn wide_readings(&mut self, object: &Object<'_>, readings: &mut Vec<Reading>) -> Result<(), Rejected> {
        let before = readings.len();
        for (name, scalar) in &object.fields {
            let Some(value) = scalar.measure() else { continue };
            let fields = &self.fields;
            let is = |known: &String| known.as_str() == name.as_ref();
            let named = [&fields.location, &fields.status].into_iter();
            if named
                .chain(&fields.id)
                .chain(&fields.time)
                .chain(&fields.ignored)
                .any(is)
            {
                continue;
            }
            let kind = checked_name("a measure's name", name)?;
            readings.push(Reading {
                kind: self.names.kind(kind),
                value,
            });
        }
        if readings.len() == before {
            return Err(Rejected::new(
                Reason::NoReadings,
                "no field is a number or a boolean that could be a measure",
            ));
        }
        Ok(())
    }
}

fn wrong_type(name: &str, wanted: &str, found: &Scalar<'_>) -> Rejected {
    super::wrong_type(name, wanted, found.type_name())
}

/// A top-level field's value, as far as it matters.
#[derive(Debug, PartialEq)]
enum Scalar<'a> {
    Integer(i64),
    Number(f64),
    Boolean(bool),
    Text(Cow<'a, str>),
    Null,
    /// An object or an array.
    Nested,
}

impl Scalar<'_> {
    /// The value as a measure: booleans are 0 and 1.
    fn measure(&self) -> Option<f64> {
        match self {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a reading is a double: JSON integers round to the nearest"
            )]
            Scalar::Integer(value) => Some(*value as f64),
            Scalar::Number(value) => Some(*value),
            Scalar::Boolean(value) => Some(f64::from(u8::from(*value))),
            Scalar::Text(_) | Scalar::Null | Scalar::Nested => None,
        }
    }

    fn type_name(&self) -> &'static str {
        match self {
            Scalar::Integer(_) | Scalar::Number(_) => "a number",
            Scalar::Boolean(_) => "a boolean",
            Scalar::Text(_) => "a string",
            Scalar::Null => "null",
            Scalar::Nested => "an object or an array",
        }
    }
}

/// The top level of a record.
struct Object<'a> {
    fields: Vec<(Cow<'a, str>, Scalar<'a>)>,
    location: Option<Location>,
}

impl<'a> Object<'a> {
    fn get(&self, name: &str) -> Option<&Scalar<'a>> {
        self.fields
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, scalar)| scalar)
    }

    fn first_of<'n>(&self, names: &'n [String]) -> Option<(&'n str, &Scalar<'a>)> {
        names
            .iter()
            .find_map(|name| self.get(name).map(|scalar| (name.as_str(), scalar)))
    }

    fn sensor_id(&self, names: &[String]) -> Result<&str, Rejected> {
        match self.first_of(names) {
            None => Err(missing(&names.join(" or "))),
            Some((name, Scalar::Text(id))) => checked_name(name, id),
            Some((name, other)) => Err(wrong_type(name, "a string", other)),
        }
    }

    fn event_time(&self, names: &[String]) -> Result<TimeMs, Rejected> {
        match self.first_of(names) {
            None => Err(missing(&names.join(" or "))),
            Some((_, Scalar::Integer(ms))) => Ok(TimeMs(*ms)),
            Some((name, Scalar::Text(text))) => time_of_text(name, text),
            Some((name, Scalar::Number(number))) => Err(invalid_time(name, number)),
            Some((name, other)) => Err(wrong_type(name, "an integer or a string", other)),
        }
    }
}

/// Parses the top level.
fn parse<'a>(text: &'a str, is_plain: bool, location_field: &str) -> Result<Object<'a>, Rejected> {
    let object = match is_plain.then(|| flat::parse(text)).flatten() {
        Some(fields) if fields.iter().all(|(name, _)| name != location_field) => Object { fields, location: None },
        _ => parse_any(text, location_field)?,
    };
    if let Some(name) = duplicate(&object.fields) {
        return Err(Rejected::new(
            Reason::DuplicateField,
            format!("field {name} is there twice"),
        ));
    }
    Ok(object)
}

/// Parses any JSON. Unknown nested values are passed over without recursion.
fn parse_any<'a>(text: &'a str, location_field: &str) -> Result<Object<'a>, Rejected> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed = ObjectSeed { location_field }
        .deserialize(&mut deserializer)
        .and_then(|object| deserializer.end().map(|()| object));
    let nested = match &parsed {
        Ok(object) => object.location.is_some() || object.fields.iter().any(|(_, value)| *value == Scalar::Nested),
        Err(_) => true,
    };
    if nested {
        let depth = nesting(text.as_bytes());
        if depth > MAX_NESTING {
            let detail = format!("{depth} levels of objects and arrays, the limit is {MAX_NESTING}");
            return Err(Rejected::new(Reason::NestingTooDeep, detail));
        }
    }
    parsed.map_err(|error| rejected_json(text, &error))
}

fn duplicate<'o>(fields: &'o [(Cow<'_, str>, Scalar<'_>)]) -> Option<&'o str> {
    if fields.len() <= 12 {
        let repeated = |&i: &usize| fields[..i].iter().any(|(name, _)| *name == fields[i].0);
        return (1..fields.len()).find(repeated).map(|i| fields[i].0.as_ref());
    }
    let mut seen = HashSet::with_capacity(fields.len());
    fields
        .iter()
        .map(|(name, _)| name.as_ref())
        .find(|name| !seen.insert(*name))
}

/// NaN and Infinity are no JSON, and 1e999 is no double: the same mistake of a sensor, so one reason.
fn rejected_json(text: &str, error: &serde_json::Error) -> Rejected {
    let message = error.to_string();
    if message.starts_with("number out of range") {
        return Rejected::new(Reason::ValueNotFinite, message);
    }
    let at = position(text, error.line(), error.column());
    let token = text[..at]
        .rfind([':', ',', '['])
        .map_or(text, |start| &text[start + 1..]);
    let token = token.trim_start().trim_start_matches(['-', '+']).to_ascii_lowercase();
    if ["nan", "inf"].iter().any(|name| token.starts_with(name)) {
        return Rejected::new(Reason::ValueNotFinite, format!("a value is NaN or infinite: {message}"));
    }
    Rejected::new(Reason::InvalidJson, message)
}

/// Byte index of a line and column (both from 1; the column counts bytes), on a character's boundary.
fn position(text: &str, line: usize, column: usize) -> usize {
    let line_start: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let mut at = (line_start + column.saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Levels of objects and arrays, brackets in strings left out.
fn nesting(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    let (mut in_string, mut escaped) = (false, false);
    for &byte in bytes {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

struct ObjectSeed<'n> {
    location_field: &'n str,
}

impl<'de> DeserializeSeed<'de> for ObjectSeed<'_> {
    type Value = Object<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Object<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ObjectSeed<'_> {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut object = Object {
            fields: Vec::with_capacity(8),
            location: None,
        };
        while let Some(Name(name)) = map.next_key()? {
            if name == self.location_field {
                let Place(location) = map.next_value()?;
                object.location = location;
                object.fields.push((name, Scalar::Null));
            } else {
                object.fields.push((name, map.next_value()?));
            }
        }
        Ok(object)
    }
}

/// A field's name, borrowed where it has no escapes.
struct Name<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name<'de>, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's name")
            }
            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }
            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar<'de>, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar<'de>, E> {
        #[expect(clippy::cast_precision_loss, reason = "over i64 only the nearest double is left")]
        Ok(i64::try_from(value).map_or(Scalar::Number(value as f64), Scalar::Integer))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Scalar<'de>, E> {
        if !value.is_finite() {
            return Err(E::custom("number out of range"));
        }
        Ok(Scalar::Number(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Null)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nested)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nested)
    }
}

/// A location, where the field is an object with two numbers; anything else says nothing.
struct Place(Option<Location>);

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Place, D::Error> {
        let raw: &serde_json::value::RawValue = Deserialize::deserialize(deserializer)?;
        // An array would do for a struct; one level is all that a location has.
        if !raw.get().starts_with('{') || nesting(raw.get().as_bytes()) > 1 {
            return Ok(Place(None));
        }
        let object = match serde_json::from_str::<RawLocation>(raw.get()) {
            Ok(object) => object,
            Err(error) if error.is_data() => return Ok(Place(None)),
            Err(error) => return Err(D::Error::custom(error)),
        };
        Ok(Place(Some(Location {
            latitude: object.latitude,
            longitude: object.longitude,
        })))
    }
}

#[derive(serde::Deserialize)]
struct RawLocation {
    #[serde(alias = "lat")]
    latitude: f64,
    #[serde(alias = "lon", alias = "lng")]
    longitude: f64,
}

#[cfg(test)]
mod tests;
