//! A dead letter taken apart: the original record, and our words on it.

use std::fmt;

use rdkafka::message::{BorrowedMessage, Headers, Message};

use crate::kafka::dead_letters::{
    HEADER_CUT, HEADER_DETAIL, HEADER_OFFSET, HEADER_PARTITION, HEADER_REASON, HEADER_TIMESTAMP, HEADER_TOPIC,
};
use crate::model::{Header, TimeMs};

/// How often the record was replayed, decimal. It travels with the record, so a letter that is made of it has it too.
pub const HEADER_ATTEMPTS: &str = "iotpipe.replay.attempts";
/// The dead letter that the record was replayed from last: `partition:offset` of the dead-letter topic.
pub const HEADER_FROM: &str = "iotpipe.replay.from";

/// Where a letter lies in the dead-letter topic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    pub partition: i32,
    pub offset: i64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}

/// Where a dead letter's record came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// The record's Kafka timestamp.
    pub time: Option<TimeMs>,
}

/// A dead letter as it lies in the topic.
#[derive(Clone, PartialEq, Debug)]
pub struct Letter {
    pub place: Place,
    /// When it was written, by Kafka's timestamp.
    pub time: Option<TimeMs>,
    /// Absent, as `detail` and `origin` are, where something else than iotpipe wrote the record.
    pub reason: Option<String>,
    pub detail: Option<String>,
    pub origin: Option<Origin>,
    /// Original bytes of a payload that was cut to fit the topic.
    pub cut_from_bytes: Option<u64>,
    /// How often the record was replayed before it became this letter.
    pub attempts: u32,
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
    /// The original record's headers.
    pub headers: Vec<Header>,
}

impl Letter {
    pub(super) fn of(message: &BorrowedMessage<'_>) -> Letter {
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            let owned = headers
                .iter()
                .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)));
            owned.collect()
        });
        Letter::from_headers(
            Place {
                partition: message.partition(),
                offset: message.offset(),
            },
            message.timestamp().to_millis().map(TimeMs),
            (message.key().map(<[u8]>::to_vec), message.payload().map(<[u8]>::to_vec)),
            headers,
        )
    }

    /// Our headers stand behind the original ones and begin with the reason, so an original header that looks like one of
    /// ours is not taken for it, and not lost either.
    fn from_headers(
        place: Place,
        time: Option<TimeMs>,
        (key, payload): (Option<Vec<u8>>, Option<Vec<u8>>),
        mut headers: Vec<Header>,
    ) -> Letter {
        let ours_from = headers
            .iter()
            .rposition(|(name, _)| name == HEADER_REASON)
            .unwrap_or(headers.len());
        let ours = headers.split_off(ours_from);
        let origin = || {
            Some(Origin {
                topic: text(&ours, HEADER_TOPIC)?,
                partition: number(&ours, HEADER_PARTITION)?,
                offset: number(&ours, HEADER_OFFSET)?,
                time: number(&ours, HEADER_TIMESTAMP).map(TimeMs),
            })
        };
        Letter {
            place,
            time,
            reason: text(&ours, HEADER_REASON),
            detail: text(&ours, HEADER_DETAIL),
            origin: origin(),
            cut_from_bytes: number(&ours, HEADER_CUT),
            attempts: number(&headers, HEADER_ATTEMPTS).unwrap_or(0),
            key,
            payload,
            headers,
        }
    }

    pub fn payload_bytes(&self) -> usize {
        self.payload.as_ref().map_or(0, Vec::len)
    }

    /// The headers of the record when it is sent again: the original ones, and how often and where from it was replayed.
    pub fn replay_headers(&self) -> Vec<Header> {
        let is_kept = |(name, _): &&Header| name != HEADER_ATTEMPTS && name != HEADER_FROM;
        let mut headers: Vec<Header> = self.headers.iter().filter(is_kept).cloned().collect();
        let attempts = self.attempts.saturating_add(1).to_string();
        headers.push((HEADER_ATTEMPTS.to_owned(), Some(attempts.into_bytes())));
        headers.push((HEADER_FROM.to_owned(), Some(self.place.to_string().into_bytes())));
        headers
    }
}

/// The last header of the name as text.
fn text(headers: &[Header], name: &str) -> Option<String> {
    let (_, value) = headers.iter().rfind(|(found, _)| found == name)?;
    Some(String::from_utf8_lossy(value.as_deref()?).into_owned())
}

fn number<T: std::str::FromStr>(headers: &[Header], name: &str) -> Option<T> {
    text(headers, name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place {
        partition: 3,
        offset: 17,
    };

    fn header(name: &str, value: &str) -> Header {
        (name.to_owned(), Some(value.as_bytes().to_vec()))
    }

    fn letter(headers: Vec<Header>) -> Letter {
        Letter::from_headers(PLACE, Some(TimeMs(5)), (None, Some(b"{".to_vec())), headers)
    }

    fn ours() -> Vec<Header> {
        vec![
            header(HEADER_REASON, "invalid_json"),
            header(HEADER_DETAIL, "line 1"),
            header(HEADER_TOPIC, "readings"),
            header(HEADER_PARTITION, "2"),
            header(HEADER_OFFSET, "99"),
            header(HEADER_TIMESTAMP, "1234"),
        ]
    }

    #[test]
    fn a_letter_is_the_original_record_and_our_words_on_it() {
        let null = ("trace".to_owned(), None);
        let found = letter([vec![null.clone()], ours()].concat());
        let origin = Origin {
            topic: "readings".into(),
            partition: 2,
            offset: 99,
            time: Some(TimeMs(1234)),
        };
        assert_eq!(found.origin, Some(origin));
        assert_eq!(
            (found.reason.as_deref(), found.detail.as_deref()),
            (Some("invalid_json"), Some("line 1"))
        );
        assert_eq!(
            (found.headers, found.attempts, found.cut_from_bytes),
            (vec![null], 0, None)
        );
        let cut = letter([ours(), vec![header(HEADER_CUT, "2000000")]].concat());
        assert_eq!(cut.cut_from_bytes, Some(2_000_000));
    }

    #[test]
    fn original_headers_that_look_like_ours_stay_original() {
        let posing = vec![
            header(HEADER_REASON, "expired"),
            header(HEADER_TOPIC, "payroll"),
            header(HEADER_CUT, "9"),
        ];
        let found = letter([posing.clone(), ours()].concat());
        assert_eq!(found.reason.as_deref(), Some("invalid_json"));
        assert_eq!(found.origin.as_ref().unwrap().topic, "readings");
        assert_eq!((&found.headers, found.cut_from_bytes), (&posing, None));
        assert_eq!(found.replay_headers()[..3], posing);
    }

    #[test]
    fn a_replay_keeps_original_headers_and_counts_attempts() {
        let first = letter([vec![header("iotpipe.fault", "spike")], ours()].concat());
        let sent = first.replay_headers();
        let expected = [
            header("iotpipe.fault", "spike"),
            header(HEADER_ATTEMPTS, "1"),
            header(HEADER_FROM, "3:17"),
        ];
        assert_eq!(sent, expected);

        // The record fails again and becomes another letter.
        let second = letter([sent, ours()].concat());
        assert_eq!(second.attempts, 1);
        let expected = [
            header("iotpipe.fault", "spike"),
            header(HEADER_ATTEMPTS, "2"),
            header(HEADER_FROM, "3:17"),
        ];
        assert_eq!(second.replay_headers(), expected);
    }

    #[test]
    fn a_record_of_someone_else_has_no_reason_and_no_origin() {
        let found = letter(vec![header("trace", "x"), header(HEADER_ATTEMPTS, "many")]);
        assert_eq!((found.reason, found.origin, found.attempts), (None, None, 0));
        let partly = letter(vec![header(HEADER_REASON, "expired"), header(HEADER_TOPIC, "t")]);
        assert_eq!((partly.reason.as_deref(), partly.origin), (Some("expired"), None));
    }
}
