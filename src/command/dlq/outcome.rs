//! What a replay did, letter by letter and in sum.
//!
//! For programs a line stands for a letter: `{"partition","offset","outcome","reason","topic","attempts","maybe_twice",
//! "why"}`. `outcome` is `replayed`, `would_replay` (dry run), `replayed_before`, `left_alone` (replayed too often),
//! `cannot`, `refused` (certainly not sent) or `unconfirmed` (perhaps sent); `attempts` is how often it was replayed before
//! it became this letter, `maybe_twice` that a replay that was cut off may have sent it already, and `why` null or a text.

use std::io::Write;

use serde::Serialize;

use crate::kafka::letters::Letter;
use crate::report::{Column, Format, JsonRows, Out, Table, grouped, summary};

/// What became of one letter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Replayed,
    WouldReplay,
    ReplayedBefore,
    LeftAlone,
    Cannot(String),
    Refused(String),
    Unconfirmed(String),
}

impl Outcome {
    fn as_str(&self) -> &'static str {
        match self {
            Outcome::Replayed => "replayed",
            Outcome::WouldReplay => "would_replay",
            Outcome::ReplayedBefore => "replayed_before",
            Outcome::LeftAlone => "left_alone",
            Outcome::Cannot(_) => "cannot",
            Outcome::Refused(_) => "refused",
            Outcome::Unconfirmed(_) => "unconfirmed",
        }
    }

    fn why(&self) -> Option<&str> {
        match self {
            Outcome::Cannot(why) | Outcome::Refused(why) | Outcome::Unconfirmed(why) => Some(why),
            _ => None,
        }
    }
}

/// Letters that get a line each on stderr: of a million cut ones nobody reads more.
const NOTED_LETTERS: u64 = 20;

const DRY_RUN_COLUMNS: [Column; 5] = [
    Column::left("position"),
    Column::left("reason"),
    Column::left("to topic"),
    Column::right("attempts"),
    Column::left("note"),
];

#[derive(Serialize)]
struct JsonOutcome<'a> {
    partition: i32,
    offset: i64,
    outcome: &'static str,
    reason: Option<&'a str>,
    topic: Option<&'a str>,
    attempts: u32,
    maybe_twice: bool,
    why: Option<&'a str>,
}

enum Rows {
    Json(JsonRows),
    /// Of a dry run: what would be sent.
    Table(Table),
    /// The sum is enough.
    None,
}

#[derive(Default)]
struct Counts {
    replayed: u64,
    maybe_twice: u64,
    before: u64,
    left_alone: u64,
    cannot: u64,
    refused: u64,
    unconfirmed: u64,
}

/// Prints and counts outcomes.
pub struct Tally {
    out: Out,
    rows: Rows,
    is_dry_run: bool,
    counts: Counts,
    /// Letters with something to say about.
    troubled: u64,
}

impl Tally {
    pub fn begin(out: Out, format: Format, is_dry_run: bool) -> Tally {
        let rows = match (format, is_dry_run) {
            (Format::Table, true) => Rows::Table(Table::new(&DRY_RUN_COLUMNS)),
            (Format::Table, false) => Rows::None,
            _ => Rows::Json(JsonRows::of(format)),
        };
        Tally {
            out,
            rows,
            is_dry_run,
            counts: Counts::default(),
            troubled: 0,
        }
    }

    /// A line for the person.
    pub fn note(&mut self, text: &str) {
        self.out.note(text);
    }

    pub fn record(&mut self, letter: &Letter, outcome: &Outcome, maybe_twice: bool) -> anyhow::Result<()> {
        self.count(outcome, maybe_twice);
        if let Some(why) = outcome.why() {
            self.troubled += 1;
            if self.troubled <= NOTED_LETTERS {
                let word = outcome.as_str();
                let word = if word == "cannot" { "cannot be replayed" } else { word };
                self.out.note(&format!("letter {} {word}: {why}", letter.place));
            }
        }
        let topic = letter.origin.as_ref().map(|origin| origin.topic.as_str());
        match &mut self.rows {
            Rows::Json(printer) => printer.row(
                &mut self.out,
                &JsonOutcome {
                    partition: letter.place.partition,
                    offset: letter.place.offset,
                    outcome: outcome.as_str(),
                    reason: letter.reason.as_deref(),
                    topic,
                    attempts: letter.attempts,
                    maybe_twice,
                    why: outcome.why(),
                },
            )?,
            Rows::Table(table) if *outcome == Outcome::WouldReplay => table.row(
                &mut self.out,
                vec![
                    letter.place.to_string(),
                    letter.reason.clone().unwrap_or_default(),
                    topic.unwrap_or_default().to_owned(),
                    letter.attempts.to_string(),
                    if maybe_twice { "may arrive a second time" } else { "" }.to_owned(),
                ],
            )?,
            Rows::Table(_) | Rows::None => {}
        }
        Ok(())
    }

    fn count(&mut self, outcome: &Outcome, maybe_twice: bool) {
        let counts = &mut self.counts;
        match outcome {
            Outcome::Replayed | Outcome::WouldReplay => {
                counts.replayed += 1;
                counts.maybe_twice += u64::from(maybe_twice);
            }
            Outcome::ReplayedBefore => counts.before += 1,
            Outcome::LeftAlone => counts.left_alone += 1,
            Outcome::Cannot(_) => counts.cannot += 1,
            Outcome::Refused(_) => counts.refused += 1,
            Outcome::Unconfirmed(_) => counts.unconfirmed += 1,
        }
    }

    /// Prints the sum; answers whether letters that should have been sent were not, or perhaps not.
    pub fn finish(mut self) -> anyhow::Result<bool> {
        let pairs = self.pairs();
        let is_for_programs = matches!(self.rows, Rows::Json(_));
        match self.rows {
            Rows::Json(printer) => printer.finish(&mut self.out)?,
            Rows::Table(table) => table.finish(&mut self.out)?,
            Rows::None => {}
        }
        if !is_for_programs {
            write!(self.out, "{}", summary(&pairs))?;
        }
        self.out.flush()?;
        if self.troubled > NOTED_LETTERS {
            let more = grouped(self.troubled - NOTED_LETTERS);
            self.out
                .note(&format!("and {more} letters more; --format jsonl names all"));
        }
        if is_for_programs {
            let texts: Vec<String> = pairs.iter().map(|(name, value)| format!("{name} {value}")).collect();
            self.out.note(&texts.join(", "));
        }
        Ok(self.counts.refused + self.counts.unconfirmed > 0)
    }

    fn pairs(&self) -> Vec<(&'static str, String)> {
        let counts = &self.counts;
        let twice = match counts.maybe_twice {
            0 => String::new(),
            twice => format!(" ({} perhaps a second time)", grouped(twice)),
        };
        let replayed = if self.is_dry_run {
            "would be replayed"
        } else {
            "replayed"
        };
        let mut pairs = vec![
            (replayed, grouped(counts.replayed) + &twice),
            ("replayed before", grouped(counts.before)),
            ("left alone", grouped(counts.left_alone)),
            ("cannot be replayed", grouped(counts.cannot)),
        ];
        let failures = [("refused", counts.refused), ("unconfirmed", counts.unconfirmed)];
        pairs.extend(
            failures
                .into_iter()
                .filter(|(_, count)| *count > 0)
                .map(|(name, count)| (name, grouped(count))),
        );
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::letter;
    use super::*;

    #[test]
    fn the_schema_of_an_outcome_is_fixed() {
        let (out, captured) = Out::captured(None);
        let mut tally = Tally::begin(out, Format::Jsonl, false);
        tally.record(&letter(), &Outcome::Replayed, true).unwrap();
        tally.record(&letter(), &Outcome::Cannot("cut".into()), false).unwrap();
        assert!(
            !tally.finish().unwrap(),
            "a letter that cannot be replayed is no failure"
        );
        let line = |outcome: &str, maybe_twice: bool, why: &str| {
            format!(
                r#"{{"partition":3,"offset":17,"outcome":"{outcome}","reason":"invalid_utf8","topic":"readings","attempts":1,"maybe_twice":{maybe_twice},"why":{why}}}"#
            ) + "\n"
        };
        assert_eq!(
            captured.data(),
            line("replayed", true, "null") + &line("cannot", false, "\"cut\"")
        );
        let sum = "replayed 1 (1 perhaps a second time), replayed before 0, left alone 0, cannot be replayed 1";
        assert_eq!(
            captured.notes(),
            format!("iotpipe: letter 3:17 cannot be replayed: cut\niotpipe: {sum}\n")
        );
    }

    #[test]
    fn refused_and_unconfirmed_letters_are_a_failure() {
        for outcome in [
            Outcome::Refused("too large".into()),
            Outcome::Unconfirmed("timed out".into()),
        ] {
            let mut tally = Tally::begin(Out::captured(None).0, Format::Table, false);
            tally.record(&letter(), &outcome, false).unwrap();
            assert!(tally.finish().unwrap(), "{outcome:?}");
        }
    }

    #[test]
    fn many_letters_in_trouble_are_counted_rather_than_named() {
        let (out, captured) = Out::captured(None);
        let mut tally = Tally::begin(out, Format::Table, false);
        for _ in 0..NOTED_LETTERS + 1234 {
            tally.record(&letter(), &Outcome::Cannot("cut".into()), false).unwrap();
        }
        tally.finish().unwrap();
        assert_eq!(captured.notes().lines().count() as u64, NOTED_LETTERS + 1);
        assert!(
            captured
                .notes()
                .ends_with("and 1,234 letters more; --format jsonl names all\n")
        );
        assert!(captured.data().contains("cannot be replayed  1,254\n"));
    }
}
