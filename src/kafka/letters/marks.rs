//! Which letters were replayed: a small topic beside the dead-letter topic, so that it is known wherever one runs.
//!
//! A letter is marked `sending` before it is sent and `sent` when it was acknowledged. So a letter with neither is not
//! replayed, one that is `sent` never needs to be again, and of one that stayed `sending` nobody knows.

use std::collections::HashMap;

use rdkafka::message::Message;

use super::sender::{Fate, LetterSender, Outgoing};
use super::{Place, TopicReader};
use crate::kafka::{KafkaError, KafkaSettings};
use crate::model::TopicId;

/// The topic of the marks, of one partition.
pub fn marks_topic(dead_letter_topic: &str) -> String {
    format!("{dead_letter_topic}.replayed")
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mark {
    /// About to be sent: without a later mark it may or may not have been.
    Sending,
    Sent,
    /// Certainly not sent, because the source topic did not take it.
    Refused,
}

impl Mark {
    const ALL: [Mark; 3] = [Mark::Sending, Mark::Sent, Mark::Refused];

    fn as_str(self) -> &'static str {
        match self {
            Mark::Sending => "sending",
            Mark::Sent => "sent",
            Mark::Refused => "refused",
        }
    }

    fn of(bytes: &[u8]) -> Option<Mark> {
        Mark::ALL.into_iter().find(|mark| mark.as_str().as_bytes() == bytes)
    }
}

/// The last mark of every letter that was ever replayed and that the topic still remembers: some 30 bytes each.
#[derive(Debug)]
pub struct ReplayMarks {
    topic: String,
    /// `<id of the dead-letter topic>/`: a topic that was deleted and made again holds other letters at the same places.
    prefix: String,
    marks: HashMap<Place, Mark>,
}

impl ReplayMarks {
    /// Reads all marks. An error that says so where their topic is missing.
    pub fn read(
        kafka: &KafkaSettings,
        dead_letter_topic: &str,
        dead_letter_topic_id: TopicId,
    ) -> Result<ReplayMarks, KafkaError> {
        let topic = marks_topic(dead_letter_topic);
        let reader = TopicReader::open(kafka, &topic)?;
        let mut marks = ReplayMarks {
            topic,
            prefix: format!("{}/", dead_letter_topic_id.0.hyphenated()),
            marks: HashMap::new(),
        };
        for message in reader.scan(reader.spans())? {
            let message = message?;
            marks.take(message.key().unwrap_or_default(), message.payload().unwrap_or_default());
        }
        Ok(marks)
    }

    pub fn of(&self, place: Place) -> Option<Mark> {
        self.marks.get(&place).copied()
    }

    /// Writes the mark for each place; once it returns, no later reader misses them.
    pub fn write(&mut self, sender: &LetterSender, places: &[Place], mark: Mark) -> Result<(), KafkaError> {
        let keys: Vec<String> = places.iter().map(|place| format!("{}{place}", self.prefix)).collect();
        let records: Vec<Outgoing<'_>> = keys
            .iter()
            .map(|key| Outgoing {
                topic: &self.topic,
                key: Some(key.as_bytes()),
                payload: Some(mark.as_str().as_bytes()),
                headers: Vec::new(),
            })
            .collect();
        for (place, fate) in places.iter().zip(sender.send(&records)) {
            match fate {
                Fate::Acknowledged => self.marks.insert(*place, mark),
                Fate::Refused(why) | Fate::Unknown(why) => {
                    return Err(KafkaError(format!(
                        "marking letter {place} as {} failed: {why}",
                        mark.as_str()
                    )));
                }
            };
        }
        Ok(())
    }

    /// Marks of other topics and of later versions are not for us.
    fn take(&mut self, key: &[u8], value: &[u8]) {
        let place = || {
            let (partition, offset) = std::str::from_utf8(key)
                .ok()?
                .strip_prefix(&self.prefix)?
                .split_once(':')?;
            Some(Place {
                partition: partition.parse().ok()?,
                offset: offset.parse().ok()?,
            })
        };
        if let (Some(place), Some(mark)) = (place(), Mark::of(value)) {
            self.marks.insert(place, mark);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_mark_of_this_very_topic_counts() {
        let mut marks = ReplayMarks {
            topic: "t".into(),
            prefix: "id-1/".into(),
            marks: HashMap::new(),
        };
        for (key, value) in [
            ("id-1/0:1", "sending"),
            ("id-1/0:1", "sent"),
            ("id-1/0:2", "sending"),
            ("id-2/0:3", "sent"),
            ("id-1/0:4", "another word"),
            ("id-1/nowhere", "sent"),
            ("id-1/0:5", "sending"),
            ("id-1/0:5", "refused"),
        ] {
            marks.take(key.as_bytes(), value.as_bytes());
        }
        let of = |offset| marks.of(Place { partition: 0, offset });
        assert_eq!(
            (of(1), of(2), of(5)),
            (Some(Mark::Sent), Some(Mark::Sending), Some(Mark::Refused))
        );
        assert_eq!((of(3), of(4)), (None, None));
    }
}
