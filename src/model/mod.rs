//! The words of the domain as plain types. Imports nothing of ours, and everyone may import it.

mod alert;
mod dead_letter;
mod finding;
mod ledger;
mod query;
mod reading;
mod rule;
mod secret;
mod sensor;
mod source;
mod status;
mod time;
mod window;
mod write;

pub use alert::{Alert, AlertChange, AlertEvent, AlertId, AlertWrite, Severity};
pub use dead_letter::{DeadLetter, Header, Reason};
pub use finding::{Finding, Verdict};
pub use ledger::{LedgerEntry, ProcessingConfig};
pub use query::{AlertsQuery, Order, ReadingsQuery, SensorRow, StoredReading, StoredWindow, WindowsQuery};
pub use reading::{Kind, Location, Reading, Record, RecordBatch, newer_cell};
pub use rule::{Rule, Test};
pub use secret::{MASK, Secret, is_secret_name};
pub use sensor::{MAX_SENSOR_ID_BYTES, SENSOR_NAMESPACE, SensorId};
pub use source::{Source, TopicId};
pub use status::StatusChange;
pub use time::{Day, MILLIS_PER_DAY, TimeMs};
pub use window::{Aggregate, WindowCell, WindowKey, WindowSize, window_start};
pub use write::{Load, LoadId, Loaded, ReadingRow, SensorWrite, Sighting, StateCell, WriteId};
