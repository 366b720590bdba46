//! Alerts: what a rule found about a measure of a sensor, from the record that raised it to the one that cleared it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use uuid::Uuid;

use super::{Kind, SensorId, Source, StatusChange, TimeMs};

/// Namespace of alert ids. Fixed for ever: changing it would raise every alert a second time after a replay.
const ALERT_NAMESPACE: Uuid = Uuid::from_u128(0x5b0c_8f0e_4a7d_5c3e_9d1f_27c1_6a90_e4b8);

/// An alert's identity: the same however often its record is processed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AlertId(pub Uuid);

impl AlertId {
    /// UUIDv5 of `sensor/kind/rule/source/offset`, the offset being that of the record that raised the alert.
    pub fn new(sensor: SensorId, kind: &Kind, rule: &str, source: &str, onset_offset: i64) -> AlertId {
        let name = format!("{sensor}/{kind}/{rule}/{source}/{onset_offset}");
        AlertId(Uuid::new_v5(&ALERT_NAMESPACE, name.as_bytes()))
    }
}

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// How much an alert matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    Info,
    Warning,
    Critical,
}

impl Severity {
    pub const ALL: [Severity; 3] = [Severity::Info, Severity::Warning, Severity::Critical];

    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> Result<Severity, String> {
        let known = Severity::ALL.into_iter().find(|severity| severity.as_str() == text);
        known.ok_or_else(|| format!("\"{text}\" is no severity: info, warning or critical"))
    }
}

/// An alert as it stands.
#[derive(Clone, PartialEq, Debug)]
pub struct Alert {
    pub id: AlertId,
    pub sensor: SensorId,
    /// The sensor's id as it was written, where that is no UUID.
    pub label: Option<Arc<str>>,
    pub kind: Kind,
    /// The rule's name.
    pub rule: Arc<str>,
    pub severity: Severity,
    /// Event time.
    pub raised_at: TimeMs,
    /// What the rule judged when it raised the alert: the reading, or for a step the change, for a gap its seconds.
    pub value: f64,
    /// The most extreme of these as last told.
    pub peak: f64,
    /// Event time; absent while the alert is active.
    pub cleared_at: Option<TimeMs>,
}

/// What a record did to an alert.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AlertEvent {
    Raised,
    /// It became much worse.
    Updated,
    Cleared,
}

impl AlertEvent {
    pub fn as_str(self) -> &'static str {
        match self {
            AlertEvent::Raised => "raised",
            AlertEvent::Updated => "updated",
            AlertEvent::Cleared => "cleared",
        }
    }
}

/// An alert as it stands after one record.
#[derive(Clone, PartialEq, Debug)]
pub struct AlertChange {
    pub event: AlertEvent,
    /// The record's offset: the write timestamp of the alert's row is this + 1.
    pub offset: i64,
    pub alert: Alert,
}

/// Changes of alerts and of the status of one sensor, in the order of offsets, with what is active after the last of them. The
/// store keeps the alerts; the topics get both.
#[derive(Clone, PartialEq, Debug)]
pub struct AlertWrite {
    pub id: super::WriteId,
    pub partition: i32,
    pub sensor: SensorId,
    pub source: Arc<Source>,
    /// Not empty where `statuses` is.
    pub changes: Vec<AlertChange>,
    pub statuses: Vec<StatusChange>,
    /// Active alerts of this sensor and source once the last change is in, with the time they were raised at.
    pub active: Vec<(AlertId, TimeMs)>,
}

impl AlertWrite {
    /// Offset of the last change of an alert.
    pub fn last_offset(&self) -> i64 {
        self.changes.last().map_or(-1, |change| change.offset)
    }
}
