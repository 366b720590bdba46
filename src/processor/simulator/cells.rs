//! The cells of the store, their versions, and how two versions of one are reconciled.

use std::cmp::Ordering;
use std::hash::{BuildHasherDefault, Hasher};

use crate::model::{Aggregate, AlertChange, AlertId, StatusChange};

/// What a cell is of. Sources, sensors and kinds are named by their number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cell {
    Reading {
        sensor: u8,
        kind: u8,
        time: i64,
    },
    Window {
        source: u8,
        sensor: u8,
        kind: u8,
        size_s: u32,
        start: i64,
    },
    State {
        source: u8,
        sensor: u8,
    },
    /// A row of alerts; all its columns are written together.
    Alert(AlertId),
    ActiveAlerts {
        source: u8,
        sensor: u8,
    },
    FirstDay {
        sensor: u8,
    },
    LastDay {
        sensor: u8,
    },
    /// How far the ledger says that a source is acknowledged.
    AckedTo {
        source: u8,
    },
}

impl Cell {
    /// Whether a version's value is the value itself, not where it lies.
    fn is_number(self) -> bool {
        !matches!(
            self,
            Cell::Window { .. } | Cell::State { .. } | Cell::Alert(_) | Cell::ActiveAlerts { .. }
        )
    }
}

/// A value that is no number.
#[derive(Clone, Debug)]
pub enum Value {
    Window(Aggregate),
    State(Vec<u8>),
    Alert(Box<AlertChange>),
    /// Alert and the time that it was raised at, sorted.
    ActiveAlerts(Vec<(AlertId, i64)>),
    /// No cell's: only the topic of events has it.
    Status(StatusChange),
}

/// What one replica holds of a cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version {
    /// The write timestamp.
    pub timestamp: i64,
    /// Bits of the number, or the place of the [`Value`].
    pub value: u64,
    /// When the write was sent: what settles versions where nothing is fenced.
    pub sent: u32,
}

/// Nothing was ever written.
pub const ABSENT: Version = Version {
    timestamp: i64::MIN,
    value: 0,
    sent: 0,
};

impl Version {
    pub fn is_absent(self) -> bool {
        self.timestamp == i64::MIN
    }

    /// The same content, whenever it was sent.
    pub fn is_same(self, other: Version) -> bool {
        (self.timestamp, self.value) == (other.timestamp, other.value)
    }
}

/// All values of a schedule that are no numbers.
#[derive(Default)]
pub struct Values(pub Vec<Value>);

impl Values {
    pub fn push(&mut self, value: Value) -> u64 {
        self.0.push(value);
        self.0.len() as u64 - 1
    }

    pub fn get(&self, place: u64) -> &Value {
        &self.0[place as usize]
    }

    /// Whether `new` replaces `old`: the larger timestamp wins, among equal ones the larger bytes.
    pub fn replaces(&self, cell: Cell, new: Version, old: Version) -> bool {
        match new.timestamp.cmp(&old.timestamp) {
            Ordering::Greater => true,
            Ordering::Less => false,
            Ordering::Equal if new.value == old.value => false,
            Ordering::Equal if cell.is_number() => new.value > old.value,
            Ordering::Equal => bytes(self.get(new.value)) > bytes(self.get(old.value)),
        }
    }
}

/// As a store would compare them; only two values that should have been the same ever come here.
fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::State(bytes) => bytes.clone(),
        Value::Window(aggregate) => {
            let fields = window_bits(aggregate);
            fields.iter().flat_map(|field| field.to_be_bytes()).collect()
        }
        other => format!("{other:?}").into_bytes(),
    }
}

/// All of a window, to be compared to the bit.
pub fn window_bits(window: &Aggregate) -> [u64; 11] {
    [
        window.last_offset as u64,
        window.count as u64,
        window.sum.to_bits(),
        window.mean.to_bits(),
        window.m2.to_bits(),
        window.min.to_bits(),
        window.max.to_bits(),
        window.first.to_bits(),
        window.first_at.0 as u64,
        window.last.to_bits(),
        window.last_at.0 as u64,
    ]
}

/// Whether two changes say the same, to the bit.
pub fn same_change(a: &AlertChange, b: &AlertChange) -> bool {
    let bits = |change: &AlertChange| (change.alert.value.to_bits(), change.alert.peak.to_bits());
    a == b && bits(a) == bits(b)
}

/// Quick, and the same in every run: the keys come from nobody who wants them to collide.
#[derive(Default)]
pub struct CellHasher(u64);

pub type HashCells = BuildHasherDefault<CellHasher>;

impl Hasher for CellHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(5) ^ n).wrapping_mul(0x517c_c1b7_2722_0a95);
        self.0 ^= self.0 >> 29;
    }

    fn write_i64(&mut self, n: i64) {
        self.write_u64(n as u64);
    }

    fn write_isize(&mut self, n: isize) {
        self.write_u64(n as u64);
    }
}
