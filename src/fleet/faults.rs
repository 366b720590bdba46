//! What goes wrong in a fleet, how often, and how it is named. Decided slot by slot from the fleet's random stream, so
//! that the same seed breaks the same readings however fast they are sent.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::FleetError;

/// The Kafka header that names a record's fault; without a fault there is no header.
pub const FAULT_HEADER: &str = "iotpipe.fault";

/// Readings that a drift or a stuck sensor lasts.
pub(super) const EPISODE_READINGS: RangeInclusive<u64> = 12..=20;

/// Slots that a silent sensor skips.
pub(super) const SILENT_SLOTS: RangeInclusive<u64> = 20..=40;

/// What is wrong with a record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fault {
    /// One value far off.
    Spike,
    /// Values that walk away from the truth.
    Drift,
    /// The same value again and again.
    Stuck,
    /// Sent after its time, with its time.
    Late,
    /// The same record once more.
    Duplicate,
    /// A payload that cannot be decoded.
    Malformed(Malformation),
}

impl Fault {
    /// The header's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Fault::Spike => "spike",
            Fault::Drift => "drift",
            Fault::Stuck => "stuck",
            Fault::Late => "late",
            Fault::Duplicate => "duplicate",
            Fault::Malformed(_) => "malformed",
        }
    }
}

/// How a payload is broken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Malformation {
    TruncatedJson,
    MissingId,
    MissingValue,
    NumberInQuotes,
    NotANumber,
    Year2099,
    InvalidUtf8,
    EmptyPayload,
    DeepNesting,
}

impl Malformation {
    pub const ALL: [Malformation; 9] = [
        Malformation::TruncatedJson,
        Malformation::MissingId,
        Malformation::MissingValue,
        Malformation::NumberInQuotes,
        Malformation::NotANumber,
        Malformation::Year2099,
        Malformation::InvalidUtf8,
        Malformation::EmptyPayload,
        Malformation::DeepNesting,
    ];
}

/// How often things go wrong: probabilities for each slot, of which at most one comes true.
#[derive(Clone, PartialEq, Debug)]
pub struct FaultSettings {
    /// That an anomaly begins: a spike, a drift or a stuck value, a third each.
    pub anomaly: f64,
    pub late: f64,
    /// The longest delay of a late record, in event time.
    pub late_max: Duration,
    pub duplicate: f64,
    pub malformed: f64,
    /// That the sensor skips its next slots, about 30.
    pub silence: f64,
}

impl FaultSettings {
    pub const NONE: FaultSettings = FaultSettings {
        anomaly: 0.0,
        late: 0.0,
        late_max: Duration::from_secs(30),
        duplicate: 0.0,
        malformed: 0.0,
        silence: 0.0,
    };
}

/// What becomes of a slot's reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Fine,
    Spike,
    Drift,
    Stuck,
    Late,
    Duplicate,
    Malformed,
    Silence,
}

/// The probabilities as thresholds that one random number is compared with.
#[derive(Clone, Debug)]
pub(super) struct Fates {
    /// Ascending; the first that exceeds the random number decides.
    thresholds: [(u64, Fate); 7],
    any: u64,
}

impl Fates {
    pub(super) fn new(settings: &FaultSettings) -> Result<Fates, FleetError> {
        let third = settings.anomaly / 3.0;
        let odds = [
            ("anomaly", third, Fate::Spike),
            ("anomaly", third, Fate::Drift),
            ("anomaly", third, Fate::Stuck),
            ("late", settings.late, Fate::Late),
            ("duplicate", settings.duplicate, Fate::Duplicate),
            ("malformed", settings.malformed, Fate::Malformed),
            ("silence", settings.silence, Fate::Silence),
        ];
        let mut sum = 0.0;
        let mut thresholds = [(0, Fate::Fine); 7];
        for (threshold, (name, odd, fate)) in thresholds.iter_mut().zip(odds) {
            if !(0.0..=1.0).contains(&odd) {
                return Err(FleetError::BadProbability { name });
            }
            sum += odd;
            // 2^64: the conversion saturates at certainty.
            *threshold = ((sum * 18_446_744_073_709_551_616.0) as u64, fate);
        }
        if sum > 1.0 + 1e-9 {
            return Err(FleetError::ProbabilitiesOverOne { sum });
        }
        if settings.late > 0.0 && settings.late_max < Duration::from_millis(1) {
            return Err(FleetError::LateMaxTooShort);
        }
        Ok(Fates {
            thresholds,
            any: thresholds[6].0,
        })
    }

    #[inline]
    pub(super) fn of(&self, random: u64) -> Fate {
        if random >= self.any {
            return Fate::Fine;
        }
        self.thresholds
            .iter()
            .find(|(threshold, _)| random < *threshold)
            .map_or(Fate::Fine, |(_, fate)| *fate)
    }
}

/// A number of the range, evenly.
pub(super) fn pick(range: &RangeInclusive<u64>, random: u64) -> u64 {
    range.start() + random % (range.end() - range.start() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_over_one_in_sum_are_refused() {
        let settings = FaultSettings {
            late: 0.6,
            duplicate: 0.5,
            ..FaultSettings::NONE
        };
        assert!(Fates::new(&settings).unwrap_err().to_string().contains("1.1"));
        assert!(
            Fates::new(&FaultSettings {
                late: -0.1,
                ..FaultSettings::NONE
            })
            .is_err()
        );
        assert!(
            Fates::new(&FaultSettings {
                silence: f64::NAN,
                ..FaultSettings::NONE
            })
            .is_err()
        );
    }

    #[test]
    fn certainty_and_impossibility_are_exact() {
        let never = Fates::new(&FaultSettings::NONE).unwrap();
        let always = Fates::new(&FaultSettings {
            malformed: 1.0,
            ..FaultSettings::NONE
        })
        .unwrap();
        for random in [0, 1, u64::MAX / 2, u64::MAX - 1] {
            assert_eq!((never.of(random), always.of(random)), (Fate::Fine, Fate::Malformed));
        }
    }
}
