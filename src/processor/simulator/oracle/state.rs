//! The bytes of a sensor's state.

use super::detectors::{Detector, Remembered};
use crate::model::{Kind, Severity};

pub fn encode(
    kinds: &[Kind],
    last_offset: i64,
    newest: i64,
    status: Option<(i64, &str)>,
    detectors: &[Option<Detector>],
) -> Vec<u8> {
    let mut known: Vec<(&str, &Detector)> = kinds
        .iter()
        .zip(detectors)
        .filter_map(|(kind, detector)| Some((kind.as_str(), detector.as_ref()?)))
        .collect();
    known.sort_by_key(|(name, _)| name.as_bytes());
    let mut bytes = Vec::with_capacity(32 + 96 * known.len());
    bytes.push(if status.is_some() { 2 } else { 1 });
    bytes.extend(last_offset.to_be_bytes());
    bytes.extend(newest.to_be_bytes());
    if let Some((said_at, status)) = status {
        bytes.extend(said_at.to_be_bytes());
        text(&mut bytes, status);
    }
    bytes.extend((known.len() as u16).to_be_bytes());
    for (name, detector) in known {
        text(&mut bytes, name);
        bytes.extend(detector.newest.to_be_bytes());
        bytes.extend(detector.last.to_be_bytes());
        bytes.extend(detector.run.to_be_bytes());
        bytes.extend(detector.count.to_be_bytes());
        bytes.extend(detector.level.to_be_bytes());
        bytes.extend(detector.spread.to_be_bytes());
        bytes.extend(detector.intervals.to_be_bytes());
        bytes.extend(detector.interval.to_be_bytes());
        bytes.extend((detector.rules.len() as u16).to_be_bytes());
        detector.rules.iter().for_each(|known| rule(&mut bytes, known));
    }
    bytes
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u16).to_be_bytes());
    bytes.extend(text.as_bytes());
}

fn rule(bytes: &mut Vec<u8>, known: &Remembered) {
    text(bytes, &known.rule);
    bytes.extend(known.streak.to_be_bytes());
    let Some(active) = &known.active else {
        return bytes.push(0);
    };
    bytes.push(1);
    bytes.extend(active.onset.to_be_bytes());
    bytes.extend(active.raised_at.to_be_bytes());
    for number in [active.value, active.peak, active.excess, active.told] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.push(match active.severity {
        Severity::Info => 0,
        Severity::Warning => 1,
        Severity::Critical => 2,
    });
}
