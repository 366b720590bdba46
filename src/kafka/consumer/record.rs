//! A record as it was polled, and what may become of it.

use rdkafka::message::{BorrowedMessage, Headers, Message, OwnedMessage};

use crate::model::{Header, TimeMs};

/// What became of a record that was given to be decoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is in the batch: as readings, or as a dead letter.
    Taken,
    /// Nobody can say yet: it is offered again and again, and no record of its partition passes it.
    Later,
    /// Nobody will ever say: why, and what to do.
    Failed(String),
}

/// A record as polled.
pub struct RawRecord<'a>(Polled<'a>);

enum Polled<'a> {
    /// In librdkafka's memory.
    Fresh(&'a BorrowedMessage<'a>),
    /// In ours.
    Kept(&'a OwnedMessage),
}

macro_rules! of {
    ($record:expr, $message:ident => $answer:expr) => {
        match $record.0 {
            Polled::Fresh($message) => $answer,
            Polled::Kept($message) => $answer,
        }
    };
}

impl<'a> RawRecord<'a> {
    pub(super) fn fresh(message: &'a BorrowedMessage<'a>) -> RawRecord<'a> {
        RawRecord(Polled::Fresh(message))
    }

    pub(super) fn kept(message: &'a OwnedMessage) -> RawRecord<'a> {
        RawRecord(Polled::Kept(message))
    }

    pub fn partition(&self) -> i32 {
        of!(self, message => message.partition())
    }

    pub fn offset(&self) -> i64 {
        of!(self, message => message.offset())
    }

    /// The record's Kafka timestamp; absent in the oldest message format.
    pub fn timestamp(&self) -> Option<TimeMs> {
        of!(self, message => message.timestamp()).to_millis().map(TimeMs)
    }

    pub fn key(&self) -> Option<&[u8]> {
        of!(self, message => message.key())
    }

    pub fn payload(&self) -> Option<&[u8]> {
        of!(self, message => message.payload())
    }

    pub fn headers(&self) -> Vec<Header> {
        of!(self, message => message.headers().map(all)).unwrap_or_default()
    }
}

fn all(headers: &impl Headers) -> Vec<Header> {
    headers
        .iter()
        .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
        .collect()
}
