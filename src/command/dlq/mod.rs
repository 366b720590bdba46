//! `iotpipe dlq`: what could not be stored, why, and how to send it again.
//!
//! `list` and `show` only read. For programs their schema is fixed; a letter is
//!
//! `{"partition","offset","time","time_ms","reason","detail","source","attempts","key","payload_bytes","cut_from_bytes"}`
//!
//! where `time` is when it was dead-lettered, `source` is null or
//! `{"topic","partition","offset","time","time_ms"}`, `key` is null or `{"text","base16"}` with a null text where it is not
//! UTF-8, and `cut_from_bytes` is the original length of a payload that was cut, else null. `show` adds `headers`, a list
//! of `{"name","value"}`, and `payload`, each value like `key`. What `replay` prints stands in `outcome.rs`.

mod list;
mod outcome;
mod replay;
mod show;

use std::fmt::Write as _;

use serde::Serialize;

use super::Exit;
use crate::cli::{DlqCommand, Position};
use crate::config::Config;
use crate::kafka::letters::{Letter, Origin, Place};

pub fn run(config: &Config, command: &DlqCommand) -> anyhow::Result<Exit> {
    match command {
        DlqCommand::List(args) => list::run(config, args),
        DlqCommand::Show(args) => show::run(config, args),
        DlqCommand::Replay(args) => replay::run(config, args),
    }
}

/// In order, each once.
fn places(positions: &[Position]) -> Vec<Place> {
    let mut places: Vec<Place> = positions
        .iter()
        .map(|position| Place {
            partition: position.partition,
            offset: position.offset,
        })
        .collect();
    places.sort_unstable();
    places.dedup();
    places
}

fn missing(config: &Config, place: Place) -> String {
    let topic = &config.kafka.dlq_topic;
    format!("no dead letter at {place} of topic {topic}; `iotpipe dlq list` shows what is there")
}

/// Where a record came from, as a person reads it.
fn source(origin: &Origin) -> String {
    format!("{}/{}:{}", origin.topic, origin.partition, origin.offset)
}

/// Bytes as text, or as hexadecimal digits where they are no text.
fn text_or_base16(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| format!("0x{}", base16(bytes)), str::to_owned)
}

fn base16(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[derive(Serialize)]
struct JsonLetter<'a> {
    partition: i32,
    offset: i64,
    time: Option<String>,
    time_ms: Option<i64>,
    reason: Option<&'a str>,
    detail: Option<&'a str>,
    source: Option<JsonSource<'a>>,
    attempts: u32,
    key: Option<JsonBytes<'a>>,
    payload_bytes: usize,
    cut_from_bytes: Option<u64>,
}

#[derive(Serialize)]
struct JsonSource<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    time: Option<String>,
    time_ms: Option<i64>,
}

#[derive(Serialize)]
struct JsonBytes<'a> {
    text: Option<&'a str>,
    base16: String,
}

impl JsonBytes<'_> {
    fn of(bytes: &[u8]) -> JsonBytes<'_> {
        JsonBytes {
            text: std::str::from_utf8(bytes).ok(),
            base16: base16(bytes),
        }
    }
}

impl JsonLetter<'_> {
    fn of(letter: &Letter, payload_bytes: usize) -> JsonLetter<'_> {
        let source = letter.origin.as_ref().map(|origin| JsonSource {
            topic: &origin.topic,
            partition: origin.partition,
            offset: origin.offset,
            time: origin.time.map(|time| time.to_string()),
            time_ms: origin.time.map(|time| time.0),
        });
        JsonLetter {
            partition: letter.place.partition,
            offset: letter.place.offset,
            time: letter.time.map(|time| time.to_string()),
            time_ms: letter.time.map(|time| time.0),
            reason: letter.reason.as_deref(),
            detail: letter.detail.as_deref(),
            source,
            attempts: letter.attempts,
            key: letter.key.as_deref().map(JsonBytes::of),
            payload_bytes,
            cut_from_bytes: letter.cut_from_bytes,
        }
    }
}

#[cfg(test)]
mod tests;
