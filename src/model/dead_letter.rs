//! Records that cannot be stored, and why.

use std::fmt;

use super::TimeMs;

/// A Kafka header: name and value (absent where the header is null).
pub type Header = (String, Option<Vec<u8>>);

/// Why a record is a dead letter: a closed list, so that it can be counted and alarmed on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Reason {
    /// No value at all, or one of no bytes.
    EmptyPayload,
    /// Over the limit of bytes.
    PayloadTooLarge,
    /// The first byte belongs to no known format.
    UnknownFormat,
    /// Not UTF-8.
    InvalidUtf8,
    /// Not JSON.
    InvalidJson,
    /// The registry does not know the id of the record's schema.
    UnknownSchema,
    /// The record's schema is none that a record of readings could have.
    UnusableSchema,
    /// Not a record of its schema.
    InvalidAvro,
    /// More levels of objects and arrays than allowed.
    NestingTooDeep,
    /// One name twice in one object: which one is meant is anyone's guess.
    DuplicateField,
    /// A field that must be there is not.
    MissingField,
    /// A field that must say something is the empty string.
    EmptyField,
    /// A field of the wrong type, for example a number in quotes.
    WrongType,
    /// A sensor id or a kind over the limit of bytes.
    NameTooLong,
    /// NaN, an infinity, or a number beyond a double's range.
    ValueNotFinite,
    /// A time that is no epoch millisecond and no RFC 3339.
    InvalidTime,
    /// Event time before the year 2000.
    TimeTooOld,
    /// Event time more than an hour after the record's own timestamp.
    TimeInFuture,
    /// Event time beyond the readings' time to live.
    Expired,
    /// A record of several measures without one.
    NoReadings,
}

impl Reason {
    pub const ALL: [Reason; 20] = [
        Reason::EmptyPayload,
        Reason::PayloadTooLarge,
        Reason::UnknownFormat,
        Reason::InvalidUtf8,
        Reason::InvalidJson,
        Reason::UnknownSchema,
        Reason::UnusableSchema,
        Reason::InvalidAvro,
        Reason::NestingTooDeep,
        Reason::DuplicateField,
        Reason::MissingField,
        Reason::EmptyField,
        Reason::WrongType,
        Reason::NameTooLong,
        Reason::ValueNotFinite,
        Reason::InvalidTime,
        Reason::TimeTooOld,
        Reason::TimeInFuture,
        Reason::Expired,
        Reason::NoReadings,
    ];

    /// The name in headers, logs and filters.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::EmptyPayload => "empty_payload",
            Reason::PayloadTooLarge => "payload_too_large",
            Reason::UnknownFormat => "unknown_format",
            Reason::InvalidUtf8 => "invalid_utf8",
            Reason::InvalidJson => "invalid_json",
            Reason::UnknownSchema => "unknown_schema",
            Reason::UnusableSchema => "unusable_schema",
            Reason::InvalidAvro => "invalid_avro",
            Reason::NestingTooDeep => "nesting_too_deep",
            Reason::DuplicateField => "duplicate_field",
            Reason::MissingField => "missing_field",
            Reason::EmptyField => "empty_field",
            Reason::WrongType => "wrong_type",
            Reason::NameTooLong => "name_too_long",
            Reason::ValueNotFinite => "value_not_finite",
            Reason::InvalidTime => "invalid_time",
            Reason::TimeTooOld => "time_too_old",
            Reason::TimeInFuture => "time_in_future",
            Reason::Expired => "expired",
            Reason::NoReadings => "no_readings",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A record on its way to the dead-letter topic, with all that is needed to understand and to replay it.
#[derive(Clone, PartialEq, Debug)]
pub struct DeadLetter {
    pub partition: i32,
    pub offset: i64,
    /// The record's Kafka timestamp.
    pub timestamp: TimeMs,
    pub reason: Reason,
    /// What exactly is wrong, for a person.
    pub detail: String,
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
    pub headers: Vec<Header>,
}

impl DeadLetter {
    /// Bytes of key, payload and headers: what the letter costs in memory and on the wire.
    pub fn size_bytes(&self) -> usize {
        let bytes = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + bytes(value)).sum();
        bytes(&self.key) + bytes(&self.payload) + headers + self.detail.len()
    }
}
