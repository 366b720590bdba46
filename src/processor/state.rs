//! The state cell's bytes: a sensor's state, and back. The encoding is canonical, so that two processes that folded the
//! same records write the same bytes. `docs/windows-and-alerts.md` has the layout.

use std::sync::Arc;

use super::detectors::{Active, Detectors, Memory, RuleMemory};
use crate::model::{Kind, Severity, TimeMs};

/// Without a status, and with one.
const VERSION_PLAIN: u8 = 1;
const VERSION_WITH_STATUS: u8 = 2;

/// What the state cell holds before the measures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Offset of the last record folded.
    pub last_offset: i64,
    /// Largest event time folded.
    pub newest: TimeMs,
}

/// The status that the sensor said last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// Event time.
    pub said_at: TimeMs,
    pub status: Arc<str>,
}

/// What the state cell holds.
#[derive(Clone, PartialEq, Debug)]
pub struct State {
    pub head: Head,
    pub status: Option<Status>,
    /// Sorted by name.
    pub measures: Vec<(Kind, Detectors)>,
}

/// The cell's bytes. `measures` are sorted by name.
pub fn encode<'a>(
    head: Head,
    status: Option<&Status>,
    measures: impl Iterator<Item = (&'a Kind, &'a Detectors)>,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    bytes.push(match status {
        None => VERSION_PLAIN,
        Some(_) => VERSION_WITH_STATUS,
    });
    put_i64(&mut bytes, head.last_offset);
    put_i64(&mut bytes, head.newest.0);
    if let Some(status) = status {
        put_i64(&mut bytes, status.said_at.0);
        put_text(&mut bytes, &status.status);
    }
    let count_at = bytes.len();
    bytes.extend([0, 0]);
    let mut count: u16 = 0;
    for (kind, detectors) in measures {
        count += 1;
        put_text(&mut bytes, kind.as_str());
        put_detectors(&mut bytes, detectors);
    }
    bytes[count_at..count_at + 2].copy_from_slice(&count.to_be_bytes());
    bytes
}

fn put_detectors(bytes: &mut Vec<u8>, detectors: &Detectors) {
    let memory = &detectors.memory;
    put_i64(bytes, memory.newest.0);
    put_f64(bytes, memory.last);
    put_u32(bytes, memory.run);
    put_u32(bytes, memory.count);
    put_f64(bytes, memory.level);
    put_f64(bytes, memory.spread);
    put_u32(bytes, memory.intervals);
    put_f64(bytes, memory.interval);
    bytes.extend(u16::try_from(detectors.rules.len()).unwrap_or(u16::MAX).to_be_bytes());
    for rule in &detectors.rules {
        put_text(bytes, &rule.rule);
        put_u32(bytes, rule.streak);
        bytes.push(u8::from(rule.active.is_some()));
        if let Some(active) = &rule.active {
            put_i64(bytes, active.onset);
            put_i64(bytes, active.raised_at.0);
            for value in [active.value, active.peak, active.excess, active.told] {
                put_f64(bytes, value);
            }
            bytes.push(active.severity as u8);
        }
    }
}

fn put_i64(bytes: &mut Vec<u8>, value: i64) {
    bytes.extend(value.to_be_bytes());
}

fn put_u32(bytes: &mut Vec<u8>, value: u32) {
    bytes.extend(value.to_be_bytes());
}

fn put_f64(bytes: &mut Vec<u8>, value: f64) {
    bytes.extend(value.to_bits().to_be_bytes());
}

/// Names are bounded where they come in: kinds and statuses by the decoder, rules by the configuration.
fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend(text.as_bytes());
}

/// The cell's content. Fails with what is wrong where the bytes are not of this version's making.
pub fn decode(bytes: &[u8]) -> Result<State, String> {
    let mut from = From { bytes };
    let version = from.u8()?;
    if !matches!(version, VERSION_PLAIN | VERSION_WITH_STATUS) {
        return Err(format!(
            "it has version {version}, this program knows {VERSION_PLAIN} and {VERSION_WITH_STATUS}"
        ));
    }
    let head = Head {
        last_offset: from.i64()?,
        newest: TimeMs(from.i64()?),
    };
    let status = match version {
        VERSION_PLAIN => None,
        _ => Some(Status {
            said_at: TimeMs(from.i64()?),
            status: Arc::from(from.text()?),
        }),
    };
    let mut measures = Vec::new();
    for _ in 0..from.u16()? {
        measures.push((Kind::new(from.text()?), from.detectors()?));
    }
    if !from.bytes.is_empty() {
        return Err(format!("{} bytes are left over", from.bytes.len()));
    }
    Ok(State { head, status, measures })
}

/// Bytes that are still to be read.
struct From<'b> {
    bytes: &'b [u8],
}

impl<'b> From<'b> {
    fn take(&mut self, count: usize) -> Result<&'b [u8], String> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or("it ends too early")?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N)?.try_into().map_err(|_| "it ends too early".to_owned())
    }

    fn u8(&mut self) -> Result<u8, String> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, String> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, String> {
        self.array().map(i64::from_be_bytes)
    }

    fn f64(&mut self) -> Result<f64, String> {
        self.array().map(|bytes| f64::from_bits(u64::from_be_bytes(bytes)))
    }

    fn text(&mut self) -> Result<&'b str, String> {
        let length = self.u16()?;
        std::str::from_utf8(self.take(usize::from(length))?).map_err(|error| error.to_string())
    }

    fn detectors(&mut self) -> Result<Detectors, String> {
        let memory = Memory {
            newest: TimeMs(self.i64()?),
            last: self.f64()?,
            run: self.u32()?,
            count: self.u32()?,
            level: self.f64()?,
            spread: self.f64()?,
            intervals: self.u32()?,
            interval: self.f64()?,
        };
        let mut rules = Vec::new();
        for _ in 0..self.u16()? {
            rules.push(RuleMemory {
                rule: Arc::from(self.text()?),
                streak: self.u32()?,
                active: if self.u8()? == 0 { None } else { Some(self.active()?) },
            });
        }
        Ok(Detectors { memory, rules })
    }

    fn active(&mut self) -> Result<Active, String> {
        Ok(Active {
            onset: self.i64()?,
            raised_at: TimeMs(self.i64()?),
            value: self.f64()?,
            peak: self.f64()?,
            excess: self.f64()?,
            told: self.f64()?,
            severity: {
                let number = self.u8()?;
                let known = Severity::ALL.into_iter().find(|severity| *severity as u8 == number);
                known.ok_or_else(|| format!("{number} is no severity"))?
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measures() -> Vec<(Kind, Detectors)> {
        let memory = Memory {
            newest: TimeMs(7),
            last: -0.0,
            run: 2,
            count: 3,
            level: 1.5,
            spread: 0.25,
            intervals: 2,
            interval: 1000.0,
        };
        let active = Active {
            onset: 40,
            raised_at: TimeMs(6),
            value: 31.0,
            peak: 33.0,
            excess: 3.0,
            told: 1.0,
            severity: Severity::Critical,
        };
        let rule = |rule: &str, streak, active| RuleMemory {
            rule: Arc::from(rule),
            streak,
            active,
        };
        vec![
            (Kind::new("motion"), Detectors { memory, rules: vec![] }),
            (
                Kind::new("temperature"),
                Detectors {
                    memory,
                    rules: vec![rule("hot", 1, Some(active)), rule("step", 2, None)],
                },
            ),
        ]
    }

    #[test]
    fn what_is_encoded_is_decoded_and_anything_else_is_refused() {
        let head = Head {
            last_offset: 41,
            newest: TimeMs(-5),
        };
        let status = Status {
            said_at: TimeMs(-6),
            status: Arc::from("active"),
        };
        for status in [None, Some(status)] {
            let measures = measures();
            let of_measures = measures.iter().map(|(kind, detectors)| (kind, detectors));
            let bytes = encode(head, status.as_ref(), of_measures);
            assert_eq!(decode(&bytes), Ok(State { head, status, measures }));
            for cut in 0..bytes.len() {
                assert!(decode(&bytes[..cut]).is_err(), "cut after {cut}");
            }
            assert!(decode(&[bytes.as_slice(), &[0]].concat()).is_err());
        }
        assert!(decode(&[3]).unwrap_err().contains("version 3"));
    }
}
