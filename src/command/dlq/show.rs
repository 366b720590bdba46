//! `iotpipe dlq show`: dead letters whole, the payload as text where it is text and as a hex dump where it is not.

use std::io::Write;

use serde::Serialize;

use super::{Exit, JsonBytes, JsonLetter, missing, places, source, text_or_base16};
use crate::cli::DlqShowArgs;
use crate::config::Config;
use crate::kafka::letters::{Letter, TopicReader};
use crate::report::{Format, JsonRows, Out, Tint, grouped, printable, summary};

pub fn run(config: &Config, args: &DlqShowArgs) -> anyhow::Result<Exit> {
    let reader = TopicReader::open(&config.kafka(), &config.kafka.dlq_topic)?;
    let mut out = Out::stdout();
    let mut printer = (args.format != Format::Table).then(|| JsonRows::of(args.format));
    let mut exit = Exit::Ok;
    for place in places(&args.positions) {
        let Some(letter) = reader.letter_at(place)? else {
            out.flush()?;
            out.note(&missing(config, place));
            exit = Exit::Failed;
            continue;
        };
        match &mut printer {
            Some(printer) => printer.row(&mut out, &json(&letter))?,
            None => print(&mut out, &letter)?,
        }
    }
    if let Some(printer) = printer {
        printer.finish(&mut out)?;
    }
    out.flush()?;
    Ok(exit)
}

#[derive(Serialize)]
struct JsonWhole<'a> {
    #[serde(flatten)]
    letter: JsonLetter<'a>,
    headers: Vec<JsonHeader<'a>>,
    payload: Option<JsonBytes<'a>>,
}

#[derive(Serialize)]
struct JsonHeader<'a> {
    name: &'a str,
    value: Option<JsonBytes<'a>>,
}

fn json(letter: &Letter) -> JsonWhole<'_> {
    let headers = letter.headers.iter().map(|(name, value)| JsonHeader {
        name,
        value: value.as_deref().map(JsonBytes::of),
    });
    JsonWhole {
        letter: JsonLetter::of(letter, letter.payload_bytes()),
        headers: headers.collect(),
        payload: letter.payload.as_deref().map(JsonBytes::of),
    }
}

fn print(out: &mut Out, letter: &Letter) -> anyhow::Result<()> {
    let unknown = || "unknown: not written by iotpipe".to_owned();
    let source = letter.origin.as_ref().map(|origin| match origin.time {
        Some(time) => format!("{} of {time}", source(origin)),
        None => source(origin),
    });
    let bytes = |bytes: &Option<Vec<u8>>| bytes.as_deref().map_or("none".to_owned(), text_or_base16);
    let mut pairs = vec![
        ("reason", letter.reason.clone().unwrap_or_else(unknown)),
        ("detail", letter.detail.clone().unwrap_or_default()),
        ("source", source.unwrap_or_else(unknown)),
        (
            "dead since",
            letter.time.map_or("unknown".to_owned(), |time| time.to_string()),
        ),
        ("attempts", letter.attempts.to_string()),
        ("key", bytes(&letter.key)),
    ];
    for (name, value) in &letter.headers {
        pairs.push(("header", format!("{name}: {}", bytes(value))));
    }
    pairs.push(("payload", payload_line(letter)));
    for (_, value) in &mut pairs {
        *value = printable(value);
    }
    let heading = out.tinted(Tint::Heading, &format!("letter {}", letter.place));
    out.line(&heading)?;
    write!(out, "{}", summary(&pairs))?;
    print_payload(out, letter.payload.as_deref().unwrap_or_default())?;
    out.line("")?;
    Ok(())
}

fn payload_line(letter: &Letter) -> String {
    let Some(payload) = &letter.payload else {
        return "none".to_owned();
    };
    let mut line = format!("{} bytes", grouped(payload.len() as u64));
    if let Some(original) = letter.cut_from_bytes {
        line += &format!(", cut from {}", grouped(original));
    }
    if std::str::from_utf8(payload).is_err() {
        line += ", not UTF-8";
    }
    line
}

/// Indented, so that no payload can pass for a line of ours.
fn print_payload(out: &mut Out, payload: &[u8]) -> anyhow::Result<()> {
    const ROW_BYTES: usize = 16;
    if let Ok(text) = std::str::from_utf8(payload) {
        for line in text.lines() {
            out.line(&format!("    {}", printable(line)))?;
        }
        return Ok(());
    }
    for (row, bytes) in payload.chunks(ROW_BYTES).enumerate() {
        let pair = |bytes: &[u8]| super::base16(bytes);
        let digits: Vec<String> = bytes.chunks(1).map(pair).collect();
        let letters: String = bytes
            .iter()
            .map(|byte| {
                if byte.is_ascii_graphic() || *byte == b' ' {
                    char::from(*byte)
                } else {
                    '.'
                }
            })
            .collect();
        out.line(&format!(
            "    {:08x}  {:<47}  |{letters}|",
            row * ROW_BYTES,
            digits.join(" ")
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::letter;
    use super::*;

    fn shown(letter: &Letter) -> String {
        let (mut out, captured) = Out::captured(None);
        print(&mut out, letter).unwrap();
        captured.data()
    }

    #[test]
    fn bytes_that_are_no_text_are_a_hex_dump() {
        let expected = "\
letter 3:17
  reason      invalid_utf8
  detail      byte 1 is no UTF-8
  source      readings/2:99 of 2025-11-05T12:00:00.000Z
  dead since  2025-11-05T12:00:00.123Z
  attempts    1
  key         attic
  header      trace: abc
  header      null: none
  payload     3 bytes, not UTF-8
    00000000  7b ff 1b                                         |{..|

";
        assert_eq!(shown(&letter()), expected);
    }

    #[test]
    fn text_is_text_without_its_control_characters() {
        let text = Letter {
            payload: Some("{\u{1b}[2J\n \"é\"}".into()),
            key: Some(b"\xff\x00".to_vec()),
            cut_from_bytes: Some(2_000_000),
            ..letter()
        };
        let shown = shown(&text);
        assert!(
            shown.contains("  payload     12 bytes, cut from 2,000,000\n    {\u{fffd}[2J\n     \"é\"}\n"),
            "{shown}"
        );
        assert!(shown.contains("key         0xff00\n"), "{shown}");
        assert!(!shown.contains('\u{1b}'));
    }

    #[test]
    fn the_schema_of_a_whole_letter_is_fixed() {
        let value = serde_json::to_value(json(&letter())).unwrap();
        let headers = serde_json::json!([
            {"name": "trace", "value": {"text": "abc", "base16": "616263"}},
            {"name": "null", "value": null}
        ]);
        assert_eq!(value["headers"], headers);
        assert_eq!(value["payload"], serde_json::json!({"text": null, "base16": "7bff1b"}));
        assert_eq!(value["offset"], 17);
        assert_eq!(value.as_object().unwrap().len(), 13);
    }
}
