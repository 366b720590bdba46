//! One sensor: who it is, and what is wrong with it at the moment.

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use uuid::{Builder, Uuid};

use crate::model::Location;

use super::encode::Format;
use super::faults::{EPISODE_READINGS, Fate, Fates, SILENT_SLOTS, pick};
use super::signal::{mix, substream};
use super::slot_stream;

/// A million sensors are a setting that must work, so this is kept at a cache line.
#[derive(Clone, Debug)]
pub(super) struct Sensor {
    /// The id of narrow records, as text.
    pub(super) id: [u8; 36],
    /// Index of the kind of narrow records.
    pub(super) kind: u8,
    condition: Condition,
    /// The sensor's character: where its signals lie, and the seed of its random numbers.
    pub(super) traits: u64,
    /// Reading numbers of the condition, the end exclusive.
    pub(super) from_k: u64,
    until_k: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Condition {
    Well,
    Drifts,
    IsStuck,
    IsSilent,
}

impl Sensor {
    pub(super) fn new(seed: u64, index: u32, kinds: usize, format: Format) -> Sensor {
        let mut rng = SplitMix64::seed_from_u64(substream(seed, u64::from(index)));
        let bytes = (u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())).to_be_bytes();
        let uuid = Builder::from_random_bytes(bytes).into_uuid();
        let mut id = [0; 36];
        uuid.hyphenated().encode_lower(&mut id);
        let kind = match format {
            Format::Narrow => kind_of(uuid, kinds),
            Format::Wide => 0,
        };
        Sensor {
            id,
            kind,
            condition: Condition::Well,
            traits: rng.next_u64(),
            from_k: 0,
            until_k: 0,
        }
    }

    /// What becomes of reading `k`, with the random number that its details follow from; `None` while the sensor is silent.
    /// To be asked of each reading once, in order.
    #[inline]
    pub(super) fn fate(&mut self, fates: &Fates, k: u64) -> Option<(Fate, u64)> {
        if k >= self.until_k {
            self.condition = Condition::Well;
        }
        // Drawn in any case, so that the values are the same whatever the probabilities are.
        let random = slot_stream(self, k).next_u64();
        let fate = match self.condition {
            Condition::Well => fates.of(random),
            Condition::Drifts => Fate::Drift,
            Condition::IsStuck => Fate::Stuck,
            Condition::IsSilent => return None,
        };
        // `random` decided the fate, so its further uses are mixed.
        let details = mix(random);
        if self.condition == Condition::Well && fate != Fate::Fine {
            self.fall_ill(fate, k, details);
        }
        Some((fate, details))
    }

    /// A fate that lasts begins with reading `k`, silence with the one after it.
    fn fall_ill(&mut self, fate: Fate, k: u64, random: u64) {
        let (condition, from_k, readings) = match fate {
            Fate::Drift => (Condition::Drifts, k, pick(&EPISODE_READINGS, random)),
            Fate::Stuck => (Condition::IsStuck, k, pick(&EPISODE_READINGS, random)),
            Fate::Silence => (Condition::IsSilent, k + 1, pick(&SILENT_SLOTS, random)),
            _ => return,
        };
        (self.condition, self.from_k, self.until_k) = (condition, from_k, from_k + readings);
    }

    /// Somewhere in Europe, to 10 m.
    pub(super) fn location(&self) -> Location {
        let random = mix(self.traits);
        let between = |low: i64, span: i64, bits: u64| (low + span * (bits & 0xffff) as i64 / 0x1_0000) as f64 / 1e4;
        Location {
            latitude: between(360_000, 240_000, random),
            longitude: between(-90_000, 380_000, random >> 16),
        }
    }
}

/// A stable hash of the id, spread evenly over the kinds.
fn kind_of(id: Uuid, kinds: usize) -> u8 {
    let (high, low) = id.as_u64_pair();
    let hash = mix(high ^ mix(low));
    // The upper half of the product: no modulo bias, and below `kinds`, which is at most 255.
    ((u128::from(hash) * kinds as u128) >> 64) as u8
}

/// `SENSOR_000001` for the first.
pub(super) fn write_label(out: &mut Vec<u8>, index: usize) {
    out.extend_from_slice(b"SENSOR_");
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(index + 1).as_bytes();
    out.resize(out.len() + 6usize.saturating_sub(digits.len()), b'0');
    out.extend_from_slice(digits);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sensor_fits_a_cache_line() {
        assert_eq!(size_of::<Sensor>(), 64);
    }

    #[test]
    fn kinds_are_spread_evenly_and_ids_are_distinct_uuids() {
        let sensors: Vec<Sensor> = (0..60_000)
            .map(|index| Sensor::new(7, index, 6, Format::Narrow))
            .collect();
        let mut per_kind = [0u32; 6];
        let mut ids = std::collections::BTreeSet::new();
        for sensor in &sensors {
            per_kind[usize::from(sensor.kind)] += 1;
            let uuid = Uuid::try_parse_ascii(&sensor.id).unwrap();
            assert_eq!(uuid.get_version_num(), 4);
            ids.insert(uuid);
        }
        assert_eq!(ids.len(), sensors.len());
        // Five standard deviations of a fair draw around 10,000.
        assert!(
            per_kind.iter().all(|count| (9_540..10_460).contains(count)),
            "{per_kind:?}"
        );
    }

    #[test]
    fn labels_have_six_digits_or_more() {
        let label = |index| {
            let mut out = Vec::new();
            write_label(&mut out, index);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(label(0), "SENSOR_000001");
        assert_eq!(label(999_999), "SENSOR_1000000");
    }
}
