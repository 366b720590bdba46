//! The words of the domain as plain types. Imports nothing of ours, and everyone may import it.

mod dead_letter;
mod ledger;
mod query;
mod reading;
mod secret;
mod sensor;
mod source;
mod time;
mod write;

pub use dead_letter::{DeadLetter, Header, Reason};
pub use ledger::{LedgerEntry, ProcessingConfig};
pub use query::{Order, ReadingsQuery, SensorRow, StoredReading};
pub use reading::{Kind, Location, Reading, Record, RecordBatch, newer_cell};
pub use secret::{MASK, Secret, is_secret_name};
pub use sensor::{MAX_SENSOR_ID_BYTES, SENSOR_NAMESPACE, SensorId};
pub use source::{Source, TopicId};
pub use time::{Day, MILLIS_PER_DAY, TimeMs};
pub use write::{ReadingRow, SensorWrite, Sighting, WriteId};
