//! Sensor identity.

use std::fmt;

use uuid::Uuid;

/// Longest sensor id accepted, in bytes.
pub const MAX_SENSOR_ID_BYTES: usize = 256;

/// Namespace of the UUIDv5 that stands for an id that is no UUID. Fixed for ever: changing it renames sensors.
pub const SENSOR_NAMESPACE: Uuid = Uuid::from_u128(0xb2c5a1b0_6f0e_5d0a_9c53_1f0c7d3a0e11);

/// A sensor's identity in the store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SensorId(pub Uuid);

impl SensorId {
    /// Maps an id as it stands in a record or on the command line: a hyphenated UUID is itself, any other text is its
    /// UUIDv5 in [`SENSOR_NAMESPACE`] and is to be kept as the sensor's label (`true`).
    /// The caller has checked that the text is not empty and at most [`MAX_SENSOR_ID_BYTES`].
    pub fn from_text(text: &str) -> (SensorId, bool) {
        match SensorId::from_uuid(text) {
            Some(id) => (id, false),
            None => (SensorId::from_label(text), true),
        }
    }

    /// The id that a hyphenated UUID is; `None` for any other text.
    pub fn from_uuid(text: &str) -> Option<SensorId> {
        let is_hyphenated = text.len() == 36;
        is_hyphenated
            .then(|| Uuid::try_parse(text).ok().map(SensorId))
            .flatten()
    }

    /// The id of a sensor that goes by a label.
    pub fn from_label(label: &str) -> SensorId {
        SensorId(Uuid::new_v5(&SENSOR_NAMESPACE, label.as_bytes()))
    }
}

impl fmt::Display for SensorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_itself_and_any_other_text_a_label() {
        let text = "6f1c2d3e-0000-4000-8000-00000000abcd";
        let (id, is_label) = SensorId::from_text(&text.to_uppercase());
        assert_eq!((id.to_string().as_str(), is_label), (text, false));
        // Computed by Python: uuid.uuid5(uuid.UUID("b2c5a1b0-6f0e-5d0a-9c53-1f0c7d3a0e11"), "SENSOR_001")
        let (id, is_label) = SensorId::from_text("SENSOR_001");
        assert_eq!(
            (id.to_string().as_str(), is_label),
            ("f77f329f-35cb-57d8-83fd-e89fbdc4b031", true)
        );
        // Without hyphens it is 32 characters long: a label, not a UUID.
        assert!(SensorId::from_text("6f1c2d3e00004000800000000000abcd").1);
    }
}
