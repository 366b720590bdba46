//! `iotpipe dlq list`: the newest dead letters, in memory no more than are asked for, and those without their payload.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::Write;

use console::{measure_text_width, truncate_str};

use super::{Exit, JsonLetter, source, text_or_base16};
use crate::cli::DlqListArgs;
use crate::config::Config;
use crate::kafka::letters::{Letter, Place, Span, TopicReader};
use crate::model::TimeMs;
use crate::report::{Column, Format, JsonRows, Out, Table, bytes, grouped, printable};

const DEFAULT_LIMIT: u64 = 50;
const COLUMNS: [Column; 8] = [
    Column::left("position"),
    Column::left("time"),
    Column::left("reason"),
    Column::left("source"),
    Column::right("attempts"),
    Column::left("key"),
    Column::right("payload"),
    Column::left("detail"),
];
/// A key may be anything; what is in the way of the other columns is cut.
const KEY_MAX_COLUMNS: usize = 40;
/// Less of a detail says nothing: better a line that wraps.
const DETAIL_MIN_COLUMNS: usize = 20;

pub fn run(config: &Config, args: &DlqListArgs) -> anyhow::Result<Exit> {
    let reader = TopicReader::open(&config.kafka(), &config.kafka.dlq_topic)?;
    let reason = args.filter.reason.map(|reason| reason.as_str());
    let limit = args.filter.limit.unwrap_or(DEFAULT_LIMIT);
    // All of a partition's newest are enough, unless most of them are not wanted.
    let spans: Vec<Span> = match reason {
        None => reader.spans().iter().map(|span| span.newest(limit)).collect(),
        Some(_) => reader.spans().to_vec(),
    };
    let mut newest = Newest::of(limit);
    let mut matching = 0;
    for letter in reader.letters(&spans)? {
        let letter = letter?;
        if reason.is_none() || letter.reason.as_deref() == reason {
            matching += 1;
            newest.push(letter);
        }
    }
    let total = reader.spans().iter().map(Span::len).sum();
    let found = Found {
        reason,
        total,
        matching: if reason.is_none() { total } else { matching },
        is_limit_default: args.filter.limit.is_none(),
    };
    let mut out = Out::stdout();
    print(
        &mut out,
        args.format,
        &newest.into_sorted(),
        &config.kafka.dlq_topic,
        &found,
    )?;
    out.flush()?;
    Ok(Exit::Ok)
}

/// A letter without its payload. The order is that of time; among equals, the later place is newer.
struct Listed {
    letter: Letter,
    payload_bytes: usize,
}

impl Listed {
    fn age(&self) -> (Option<TimeMs>, Place) {
        (self.letter.time, self.letter.place)
    }
}

impl PartialEq for Listed {
    fn eq(&self, other: &Listed) -> bool {
        self.age() == other.age()
    }
}

impl Eq for Listed {}

impl PartialOrd for Listed {
    fn partial_cmp(&self, other: &Listed) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Listed {
    fn cmp(&self, other: &Listed) -> std::cmp::Ordering {
        self.age().cmp(&other.age())
    }
}

/// The newest letters of all partitions together.
struct Newest {
    limit: usize,
    /// The oldest is on top.
    letters: BinaryHeap<Reverse<Listed>>,
}

impl Newest {
    fn of(limit: u64) -> Newest {
        Newest {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            letters: BinaryHeap::new(),
        }
    }

    fn push(&mut self, mut letter: Letter) {
        let payload_bytes = letter.payload_bytes();
        letter.payload = None;
        self.letters.push(Reverse(Listed { letter, payload_bytes }));
        if self.letters.len() > self.limit {
            self.letters.pop();
        }
    }

    /// Newest first.
    fn into_sorted(self) -> Vec<Listed> {
        self.letters
            .into_sorted_vec()
            .into_iter()
            .map(|Reverse(listed)| listed)
            .collect()
    }
}

/// How much there is besides what is printed.
struct Found {
    reason: Option<&'static str>,
    total: u64,
    matching: u64,
    is_limit_default: bool,
}

fn print(out: &mut Out, format: Format, letters: &[Listed], topic: &str, found: &Found) -> anyhow::Result<()> {
    if format == Format::Table {
        print_table(out, letters)?;
    } else {
        let mut printer = JsonRows::of(format);
        for listed in letters {
            printer.row(out, &JsonLetter::of(&listed.letter, listed.payload_bytes))?;
        }
        printer.finish(out)?;
    }
    // What was found comes first where both go to a terminal.
    out.flush()?;
    let printed = letters.len() as u64;
    match found.reason {
        _ if found.total == 0 => out.note(&format!("no dead letters in topic {topic}")),
        Some(reason) if printed == 0 => {
            let total = grouped(found.total);
            out.note(&format!(
                "no dead letter with reason {reason} in topic {topic}, which holds {total} others"
            ));
        }
        _ if found.is_limit_default && printed < found.matching => out.note(&format!(
            "the newest {printed} of {}; --limit asks for more",
            grouped(found.matching)
        )),
        _ => {}
    }
    Ok(())
}

fn print_table(out: &mut Out, letters: &[Listed]) -> anyhow::Result<()> {
    let mut rows: Vec<Vec<String>> = letters.iter().map(cells).collect();
    // A pipe has no width: what reads it gets all.
    if out.is_terminal() {
        cut_details(&mut rows, out.width());
    }
    let mut table = Table::new(&COLUMNS);
    for row in rows {
        table.row(out, row)?;
    }
    table.finish(out)?;
    Ok(())
}

fn cells(listed: &Listed) -> Vec<String> {
    let Listed { letter, payload_bytes } = listed;
    let key = printable(&letter.key.as_deref().map(text_or_base16).unwrap_or_default());
    let cut = if letter.cut_from_bytes.is_some() { " (cut)" } else { "" };
    vec![
        letter.place.to_string(),
        letter.time.map(|time| time.to_string()).unwrap_or_default(),
        letter.reason.clone().unwrap_or_default(),
        letter.origin.as_ref().map(source).unwrap_or_default(),
        letter.attempts.to_string(),
        truncate_str(&key, KEY_MAX_COLUMNS, "…").into_owned(),
        bytes(*payload_bytes as u64) + cut,
        printable(letter.detail.as_deref().unwrap_or_default()),
    ]
}

/// Cuts the last column to what the others leave of the width.
fn cut_details(rows: &mut [Vec<String>], width: usize) {
    const GAP: usize = 2;
    let last = COLUMNS.len() - 1;
    let column = |index: usize| {
        let cells = rows
            .iter()
            .map(|row| measure_text_width(&row[index]))
            .max()
            .unwrap_or(0);
        cells.max(measure_text_width(COLUMNS[index].name)) + GAP
    };
    let room = width
        .saturating_sub((0..last).map(column).sum())
        .max(DETAIL_MIN_COLUMNS);
    for row in rows {
        row[last] = truncate_str(&row[last], room, "…").into_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::letter;
    use super::*;

    fn at(partition: i32, offset: i64, time: i64) -> Letter {
        Letter {
            place: Place { partition, offset },
            time: Some(TimeMs(time)),
            ..letter()
        }
    }

    #[test]
    fn the_newest_of_all_partitions_are_kept_newest_first() {
        let mut newest = Newest::of(3);
        for letter in [at(0, 0, 10), at(0, 1, 40), at(1, 0, 20), at(1, 1, 30), at(1, 2, 40)] {
            newest.push(letter);
        }
        let kept = newest.into_sorted();
        let places: Vec<String> = kept.iter().map(|listed| listed.letter.place.to_string()).collect();
        assert_eq!(places, ["1:2", "0:1", "1:1"]);
        assert!(
            kept.iter()
                .all(|listed| listed.letter.payload.is_none() && listed.payload_bytes == 3)
        );
    }

    fn table(width: Option<usize>) -> (String, String) {
        let (mut out, captured) = Out::captured(width);
        let mut newest = Newest::of(1);
        newest.push(Letter {
            detail: Some("a detail that is\nlonger than what is left of the line".into()),
            ..letter()
        });
        let found = Found {
            reason: None,
            total: 2,
            matching: 2,
            is_limit_default: true,
        };
        print(&mut out, Format::Table, &newest.into_sorted(), "readings.dlq", &found).unwrap();
        (captured.data(), captured.notes())
    }

    #[test]
    fn details_are_cut_to_the_terminal_and_whole_in_a_pipe() {
        let (text, notes) = table(Some(130));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| measure_text_width(line) <= 130), "{text}");
        assert!(
            lines[2].starts_with("3:17      2025-11-05T12:00:00.123Z  invalid_utf8  readings/2:99         1  attic")
        );
        assert!(lines[2].ends_with('…'));
        assert_eq!(notes, "iotpipe: the newest 1 of 2; --limit asks for more\n");
        assert!(
            table(None)
                .0
                .contains("a detail that is\u{fffd}longer than what is left of the line")
        );
    }
}
