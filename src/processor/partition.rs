//! What is known of an assigned partition, and how far its next commit has got.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::offsets::Offsets;
use super::{ChangedWindow, SensorWrite, Source, WindowCell, WindowKey};
use crate::model::{Aggregate, SensorId};

/// What is known of an assigned partition.
pub struct Partition {
    pub source: Arc<Source>,
    pub offsets: Offsets,
    /// The ledger's position as this process last raised it.
    pub ledger_to: i64,
    /// The committed position as this process last set it.
    pub committed_to: Option<i64>,
    /// Where this assignment began.
    pub started_at: i64,
    /// Below this offset records were acknowledged before this assignment.
    pub redelivered_below: i64,
    pub revoked: bool,
    /// Windows written since the last commit, each as it was last written: for the analytics topic.
    changed: BTreeMap<(SensorId, WindowKey), Aggregate>,
}

/// The one commit in flight, with the positions that it is about.
#[derive(Debug)]
pub enum Round {
    Idle,
    Publishing(Vec<(i32, i64)>),
    Ledger(Vec<(i32, i64)>),
    Committing(Vec<(i32, i64)>),
}

impl Round {
    /// A partition goes away: it is somebody else's to commit now, and if it comes back, what was to be committed of it is
    /// no business of the new assignment.
    pub fn forget(&mut self, partition: i32) {
        match self {
            Round::Idle => {}
            Round::Publishing(advanced) | Round::Ledger(advanced) | Round::Committing(advanced) => {
                advanced.retain(|(of, _)| *of != partition);
            }
        }
    }
}

impl Partition {
    pub fn new(source: Source, offset: i64, acked_to: i64) -> Partition {
        Partition {
            source: Arc::new(source),
            offsets: Offsets::starting_at(offset),
            ledger_to: acked_to,
            committed_to: None,
            started_at: offset,
            redelivered_below: acked_to,
            revoked: false,
            changed: BTreeMap::new(),
        }
    }

    /// All that was polled is acknowledged and committed.
    pub fn is_settled(&self) -> bool {
        self.offsets.is_idle() && self.committed_to.is_some_and(|to| to >= self.offsets.acknowledged_to())
    }

    pub fn note_changed(&mut self, write: &SensorWrite) {
        for cell in &write.windows {
            self.changed.insert((write.sensor, cell.key.clone()), cell.aggregate);
        }
    }

    pub fn take_changed(&mut self, changed: &mut Vec<ChangedWindow>) {
        let windows = std::mem::take(&mut self.changed).into_iter();
        changed.extend(windows.map(|((sensor, key), aggregate)| ChangedWindow {
            sensor,
            source: self.source.clone(),
            cell: WindowCell { key, aggregate },
        }));
    }
}
