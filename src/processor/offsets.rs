//! The low watermark of one partition: up to which offset all is acknowledged.

use std::collections::VecDeque;

/// Offsets that were polled, in order, and which of them are acknowledged: a byte each. Gaps between offsets (transactions,
/// compaction) are no records and are passed over.
#[derive(Debug)]
pub struct Offsets {
    /// The offsets that were entered; the first holds the oldest that is not acknowledged.
    runs: VecDeque<Run>,
    /// By record, whether it is acknowledged; the front is never acknowledged.
    acknowledged: VecDeque<bool>,
    /// Records that were entered before the front.
    front: u64,
    /// One past the largest offset entered.
    next_offset: i64,
}

/// Consecutive offsets, up to where the next run begins.
#[derive(Debug)]
struct Run {
    first_offset: i64,
    /// Records that were entered before its first.
    entered: u64,
}

impl Run {
    /// Records that were entered before the one of this offset, if it belongs to the run.
    fn place(&self, offset: i64) -> Option<u64> {
        Some(self.entered + u64::try_from(offset.checked_sub(self.first_offset)?).ok()?)
    }
}

impl Offsets {
    pub fn starting_at(offset: i64) -> Offsets {
        Offsets {
            runs: VecDeque::new(),
            acknowledged: VecDeque::new(),
            front: 0,
            next_offset: offset,
        }
    }

    /// Enters the next record; answers `false` where its offset was entered before, so that nothing is processed twice.
    pub fn enter(&mut self, offset: i64) -> bool {
        if offset < self.next_offset {
            return false;
        }
        if self.is_idle() {
            self.runs.clear();
        }
        if offset > self.next_offset || self.runs.is_empty() {
            self.runs.push_back(Run {
                first_offset: offset,
                entered: self.front + self.acknowledged.len() as u64,
            });
        }
        self.acknowledged.push_back(false);
        self.next_offset = offset + 1;
        true
    }

    /// Marks the record of an offset that was entered as acknowledged; a second time changes nothing.
    pub fn acknowledge(&mut self, offset: i64) {
        let run = self.runs.partition_point(|run| run.first_offset <= offset);
        let place = run.checked_sub(1).and_then(|run| self.runs[run].place(offset));
        let index = place.and_then(|place| usize::try_from(place.checked_sub(self.front)?).ok());
        let Some(acknowledged) = index.and_then(|index| self.acknowledged.get_mut(index)) else {
            return;
        };
        *acknowledged = true;
        while self.acknowledged.front() == Some(&true) {
            self.acknowledged.pop_front();
            self.front += 1;
        }
        while self.runs.get(1).is_some_and(|next| next.entered <= self.front) {
            self.runs.pop_front();
        }
    }

    /// The position that may be committed: all offsets below it are acknowledged.
    pub fn acknowledged_to(&self) -> i64 {
        match self.runs.front() {
            Some(run) if !self.is_idle() => run.first_offset + (self.front - run.entered) as i64,
            _ => self.next_offset,
        }
    }

    /// Whether nothing that was entered still waits.
    pub fn is_idle(&self) -> bool {
        self.acknowledged.is_empty()
    }

    /// Records from the oldest that is not acknowledged on.
    pub fn outstanding(&self) -> usize {
        self.acknowledged.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_position_stays_before_the_oldest_that_is_not_acknowledged() {
        let mut offsets = Offsets::starting_at(10);
        assert_eq!((offsets.acknowledged_to(), offsets.is_idle()), (10, true));
        assert!([10, 11, 15].iter().all(|offset| offsets.enter(*offset)));
        assert!(!offsets.enter(11));
        offsets.acknowledge(11);
        assert_eq!(offsets.acknowledged_to(), 10);
        offsets.acknowledge(10);
        assert_eq!(offsets.acknowledged_to(), 15, "12 to 14 are a gap");
        offsets.acknowledge(10);
        offsets.acknowledge(15);
        assert_eq!((offsets.acknowledged_to(), offsets.is_idle()), (16, true));
        offsets.acknowledge(16);
        assert!(offsets.enter(20));
        assert_eq!((offsets.acknowledged_to(), offsets.outstanding()), (20, 1));
    }

    proptest! {
        /// Forty offsets with gaps before some of them, entered by and by, acknowledged in any order.
        #[test]
        fn in_any_order_the_position_equals_the_naive_one(
            gaps in proptest::collection::vec(0..3i64, 40),
            order in Just((0..40usize).collect::<Vec<_>>()).prop_shuffle(),
            ahead in 1..40usize,
        ) {
            let mut entered = Vec::new();
            let mut next = 0;
            for gap in gaps {
                entered.push(next + gap);
                next += gap + 1;
            }
            let mut offsets = Offsets::starting_at(0);
            let mut to_enter = entered.iter();
            to_enter.by_ref().take(ahead).for_each(|offset| assert!(offsets.enter(*offset)));
            let mut done = [false; 40];
            // What is not there yet comes later: acknowledged once it is.
            let (first, later): (Vec<usize>, Vec<usize>) = order.iter().partition(|index| **index < ahead);
            for index in first.into_iter().chain(later) {
                if index >= ahead && to_enter.len() > 0 {
                    to_enter.by_ref().for_each(|offset| assert!(offsets.enter(*offset)));
                    prop_assert_eq!(offsets.acknowledged_to(), entered[ahead], "all before it was acknowledged");
                }
                offsets.acknowledge(entered[index]);
                done[index] = true;
                let known = entered.len() - to_enter.len();
                let naive = (0..known).find(|index| !done[*index]).map_or(entered[known - 1] + 1, |first| entered[first]);
                prop_assert_eq!(offsets.acknowledged_to(), naive);
                prop_assert_eq!(offsets.is_idle(), done[..known].iter().all(|done| *done));
            }
        }
    }
}
