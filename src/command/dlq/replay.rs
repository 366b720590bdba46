//! `iotpipe dlq replay`: original records back to their topics, each once, or it says so.
//!
//! Letters are sent by the chunk. Before a chunk is sent its letters are marked in a topic of their own, and again once
//! they are acknowledged; so whoever replays next, here or elsewhere, knows which were sent, and of which it cannot be
//! known because the replay was cut off in between.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use super::outcome::{Outcome, Tally};
use super::{Exit, missing, places};
use crate::cli::DlqReplayArgs;
use crate::command::stop;
use crate::config::Config;
use crate::kafka::letters::{Fate, Letter, LetterSender, Mark, Outgoing, Place, ReplayMarks, Span, TopicReader};
use crate::report::Out;

/// Letters of one chunk: all that a crash can leave in doubt.
const CHUNK_LETTERS: usize = 100;
/// Payload bytes of one chunk, give or take a letter: a bound on memory.
const CHUNK_BYTES: usize = 8 << 20;

pub fn run(config: &Config, args: &DlqReplayArgs) -> anyhow::Result<Exit> {
    let (kafka, topic) = (config.kafka(), &config.kafka.dlq_topic);
    let reader = TopicReader::open(&kafka, topic)?;
    let marks = ReplayMarks::read(&kafka, topic, reader.topic_id()?)
        .context("which letters were replayed before is not known")?;
    let stop = stop::on_signals()?;
    let mut replay = Replay {
        config,
        args,
        reader: &reader,
        marks,
        sender: LetterSender::new(&kafka)?,
        stop: &stop,
        topics: HashMap::new(),
        chunk: Vec::new(),
        chunk_bytes: 0,
        selected: 0,
        tally: Tally::begin(Out::stdout(), args.format, args.dry_run),
        has_failed: false,
    };
    if reader.spans().iter().all(Span::is_empty) {
        replay.tally.note(&format!("no dead letters in topic {topic}"));
    }
    let outcome = replay.all();
    // What was done is told whatever came in between.
    let has_failed = replay.has_failed;
    let were_refused = replay.tally.finish()?;
    outcome?;
    Ok(if has_failed || were_refused {
        Exit::Failed
    } else {
        Exit::Ok
    })
}

struct Replay<'a> {
    config: &'a Config,
    args: &'a DlqReplayArgs,
    reader: &'a TopicReader,
    marks: ReplayMarks,
    sender: LetterSender,
    stop: &'a AtomicBool,
    /// The source topics met so far, and what is wrong with each.
    topics: HashMap<String, Option<String>>,
    chunk: Vec<Due>,
    chunk_bytes: usize,
    /// Letters that were put into chunks.
    selected: u64,
    tally: Tally,
    has_failed: bool,
}

/// A letter that is to be sent.
struct Due {
    letter: Letter,
    topic: String,
    /// It may have been sent before, by a replay that was cut off.
    maybe_twice: bool,
}

impl Replay<'_> {
    fn all(&mut self) -> anyhow::Result<()> {
        if self.args.positions.is_empty() {
            let reader = self.reader;
            for letter in reader.letters(reader.spans())? {
                if self.is_enough() {
                    break;
                }
                self.take(letter?)?;
            }
        }
        for place in places(&self.args.positions) {
            if self.is_enough() {
                break;
            }
            match self.reader.letter_at(place)? {
                Some(letter) => self.take(letter)?,
                None => {
                    self.tally.note(&missing(self.config, place));
                    self.has_failed = true;
                }
            }
        }
        if self.is_stopped() {
            // What waits in the chunk is not marked yet: the next replay begins with it.
            self.tally.note("stopped before the end: run it again for the rest");
            return Ok(());
        }
        self.send_chunk()
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn is_enough(&self) -> bool {
        let is_limit_reached = self.args.filter.limit.is_some_and(|limit| self.selected >= limit);
        is_limit_reached || self.is_stopped()
    }

    fn take(&mut self, letter: Letter) -> anyhow::Result<()> {
        let wanted = self.args.filter.reason.map(|reason| reason.as_str());
        if wanted.is_some() && letter.reason.as_deref() != wanted {
            return Ok(());
        }
        let (topic, maybe_twice) = match judge(&letter, self.marks.of(letter.place), self.args.max_attempts) {
            Verdict::Send { topic, maybe_twice } => (topic, maybe_twice),
            Verdict::Leave(outcome) => return self.tally.record(&letter, &outcome, false),
        };
        if let Some(why) = self.trouble_with(&topic) {
            return self.tally.record(&letter, &Outcome::Refused(why), maybe_twice);
        }
        self.chunk_bytes += letter.payload_bytes();
        self.chunk.push(Due {
            letter,
            topic,
            maybe_twice,
        });
        self.selected += 1;
        if self.chunk.len() >= CHUNK_LETTERS || self.chunk_bytes >= CHUNK_BYTES {
            self.send_chunk()?;
        }
        Ok(())
    }

    /// Asked before anything is sent: a producer would wait for half a minute for a topic that is not there, or make it.
    fn trouble_with(&mut self, topic: &str) -> Option<String> {
        if let Some(known) = self.topics.get(topic) {
            return known.clone();
        }
        let trouble = self.reader.partitions_of(topic).err().map(|error| error.to_string());
        self.topics.insert(topic.to_owned(), trouble.clone());
        trouble
    }

    fn send_chunk(&mut self) -> anyhow::Result<()> {
        let chunk = std::mem::take(&mut self.chunk);
        self.chunk_bytes = 0;
        if chunk.is_empty() {
            return Ok(());
        }
        self.tell_doubtful(&chunk);
        if self.args.dry_run {
            return chunk
                .iter()
                .try_for_each(|due| self.tally.record(&due.letter, &Outcome::WouldReplay, due.maybe_twice));
        }
        let all: Vec<Place> = chunk.iter().map(|due| due.letter.place).collect();
        self.marks
            .write(&self.sender, &all, Mark::Sending)
            .context("nothing more was sent")?;
        let records: Vec<Outgoing<'_>> = chunk.iter().map(outgoing).collect();
        let fates = self.sender.send(&records);

        let mut marked: HashMap<Mark, Vec<Place>> = HashMap::new();
        for (due, fate) in chunk.iter().zip(&fates) {
            if let Some(mark) = mark_after(fate, due.maybe_twice) {
                marked.entry(mark).or_default().push(due.letter.place);
            }
        }
        let remembered = marked
            .iter()
            .try_for_each(|(mark, places)| self.marks.write(&self.sender, places, *mark));
        let mut is_in_doubt = false;
        for (due, fate) in chunk.iter().zip(fates) {
            let outcome = match fate {
                Fate::Acknowledged => Outcome::Replayed,
                Fate::Refused(why) => Outcome::Refused(why),
                Fate::Unknown(why) => Outcome::Unconfirmed(why),
            };
            is_in_doubt |= matches!(outcome, Outcome::Unconfirmed(_));
            self.tally.record(&due.letter, &outcome, due.maybe_twice)?;
        }
        remembered.context("letters were sent, but that could not be noted: the next replay may send them again")?;
        if is_in_doubt {
            anyhow::bail!("letters were not acknowledged: nothing more was sent");
        }
        Ok(())
    }

    fn tell_doubtful(&mut self, chunk: &[Due]) {
        let doubtful: Vec<String> = chunk
            .iter()
            .filter(|due| due.maybe_twice)
            .map(|due| due.letter.place.to_string())
            .collect();
        if doubtful.is_empty() {
            return;
        }
        let letters = if doubtful.len() == 1 { "letter" } else { "letters" };
        self.tally.note(&format!(
            "{} {letters} may arrive a second time: the replay was interrupted: {}",
            doubtful.len(),
            doubtful.join(" ")
        ));
    }
}

/// What is to be done about a letter.
#[derive(PartialEq, Eq, Debug)]
enum Verdict {
    Send { topic: String, maybe_twice: bool },
    Leave(Outcome),
}

fn judge(letter: &Letter, mark: Option<Mark>, max_attempts: u32) -> Verdict {
    Verdict::Leave(if mark == Some(Mark::Sent) {
        Outcome::ReplayedBefore
    } else if let Some(original) = letter.cut_from_bytes {
        let kept = letter.payload_bytes();
        Outcome::Cannot(format!(
            "its payload was cut to {kept} of {original} bytes to fit the dead-letter topic"
        ))
    } else if letter.attempts >= max_attempts {
        Outcome::LeftAlone
    } else if let Some(origin) = &letter.origin {
        return Verdict::Send {
            topic: origin.topic.clone(),
            maybe_twice: mark == Some(Mark::Sending),
        };
    } else {
        Outcome::Cannot("it does not say where it came from: iotpipe did not write it".to_owned())
    })
}

fn outgoing(due: &Due) -> Outgoing<'_> {
    Outgoing {
        topic: &due.topic,
        key: due.letter.key.as_deref(),
        payload: due.letter.payload.as_deref(),
        headers: due.letter.replay_headers(),
    }
}

/// How a letter is marked once it was tried. That it was refused now says nothing of a time before.
fn mark_after(fate: &Fate, maybe_twice: bool) -> Option<Mark> {
    match fate {
        Fate::Acknowledged => Some(Mark::Sent),
        Fate::Refused(_) if !maybe_twice => Some(Mark::Refused),
        Fate::Refused(_) | Fate::Unknown(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::letter;
    use super::*;

    #[test]
    fn what_is_done_about_a_letter_follows_from_its_mark_and_its_attempts() {
        let send = |maybe_twice| Verdict::Send {
            topic: "readings".into(),
            maybe_twice,
        };
        assert_eq!(judge(&letter(), None, 2), send(false));
        assert_eq!(judge(&letter(), Some(Mark::Refused), 2), send(false));
        assert_eq!(judge(&letter(), Some(Mark::Sending), 2), send(true));
        assert_eq!(
            judge(&letter(), Some(Mark::Sent), 2),
            Verdict::Leave(Outcome::ReplayedBefore)
        );
        assert_eq!(judge(&letter(), None, 1), Verdict::Leave(Outcome::LeftAlone));
        let cut = Letter {
            cut_from_bytes: Some(9),
            ..letter()
        };
        let foreign = Letter {
            origin: None,
            ..letter()
        };
        for whole in [cut, foreign] {
            assert!(matches!(judge(&whole, None, 2), Verdict::Leave(Outcome::Cannot(_))));
        }
    }

    #[test]
    fn a_letter_in_doubt_stays_in_doubt_when_it_is_refused() {
        let refused = Fate::Refused("too large".into());
        assert_eq!(mark_after(&refused, false), Some(Mark::Refused));
        assert_eq!(mark_after(&refused, true), None);
        assert_eq!(mark_after(&Fate::Unknown("timed out".into()), false), None);
        assert_eq!(mark_after(&Fate::Acknowledged, true), Some(Mark::Sent));
    }
}
