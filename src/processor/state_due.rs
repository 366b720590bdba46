//! When a sensor's state is to be written: along with one of its writes, and alone where none comes.

/// When the state is to be written again.
#[derive(Debug)]
pub struct StateDue {
    /// Writes since the last one that brought the state along.
    writes: u32,
    /// From then on it rides along with the next write that is a [`STATE_WRITES`]th.
    ride_from_ms: i64,
    /// From then on it rides along with any write, or is one by itself.
    by_ms: i64,
}

/// A state rides along with every so manieth write of its sensor at most: for a fleet of many sensors that send a reading now and
/// then, it would otherwise double the requests.
const STATE_WRITES: u32 = 4;
/// It rides along no earlier than after this part of the longest that it may wait,
const RIDE_AFTER: i64 = 5;
/// or once so many records wait for it: in a drain their offsets would otherwise be most of what a sensor takes in memory.
const STATE_RECORDS: usize = 128;

impl StateDue {
    /// Before the first: at once.
    pub const NOW: StateDue = StateDue {
        writes: 0,
        ride_from_ms: i64::MIN,
        by_ms: i64::MIN,
    };

    /// Whether it rides along with a write after which so many records would wait for it.
    pub fn rides(&self, now_ms: i64, waiting: usize) -> bool {
        let is_time = now_ms >= self.ride_from_ms || waiting >= STATE_RECORDS;
        now_ms >= self.by_ms || (is_time && self.writes + 1 >= STATE_WRITES)
    }

    /// It was written, alone or with a write.
    pub fn written(&mut self, now_ms: i64, interval_ms: i64) {
        *self = StateDue {
            writes: 0,
            ride_from_ms: now_ms.saturating_add(interval_ms / RIDE_AFTER),
            by_ms: now_ms.saturating_add(interval_ms),
        };
    }

    /// There was a write, and it stayed behind.
    pub fn left_behind(&mut self) {
        self.writes += 1;
    }

    /// From then on it waits for no write.
    pub fn by_ms(&self) -> i64 {
        self.by_ms
    }
}
