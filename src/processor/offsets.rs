//! The low watermark of one partition: up to which offset all is acknowledged.

use std::collections::VecDeque;

/// Names an entered record; tickets of one partition count up by one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket(u64);

/// Offsets that were polled, in order, and which of them are acknowledged. Gaps between offsets (transactions,
/// compaction) are no records and are passed over.
#[derive(Debug)]
pub struct Offsets {
    /// Offset and whether it is acknowledged; the front is never acknowledged.
    outstanding: VecDeque<(i64, bool)>,
    /// The ticket of the front.
    front: u64,
    /// One past the largest offset entered.
    next_offset: i64,
}

impl Offsets {
    pub fn starting_at(offset: i64) -> Offsets {
        Offsets {
            outstanding: VecDeque::new(),
            front: 0,
            next_offset: offset,
        }
    }

    /// Enters the next record; `None` where its offset was entered before, so that nothing is processed twice.
    pub fn enter(&mut self, offset: i64) -> Option<Ticket> {
        if offset < self.next_offset {
            return None;
        }
        let ticket = Ticket(self.front + self.outstanding.len() as u64);
        self.outstanding.push_back((offset, false));
        self.next_offset = offset + 1;
        Some(ticket)
    }

    /// Marks a record as acknowledged; a second time changes nothing.
    pub fn acknowledge(&mut self, ticket: Ticket) {
        let Some(index) = ticket.0.checked_sub(self.front) else {
            return;
        };
        let Some(entry) = usize::try_from(index)
            .ok()
            .and_then(|index| self.outstanding.get_mut(index))
        else {
            return;
        };
        entry.1 = true;
        while self.outstanding.front().is_some_and(|(_, acknowledged)| *acknowledged) {
            self.outstanding.pop_front();
            self.front += 1;
        }
    }

    /// The position that may be committed: all offsets below it are acknowledged.
    pub fn acknowledged_to(&self) -> i64 {
        self.outstanding.front().map_or(self.next_offset, |(offset, _)| *offset)
    }

    /// Whether nothing that was entered still waits.
    pub fn is_idle(&self) -> bool {
        self.outstanding.is_empty()
    }

    /// Records from the oldest that is not acknowledged on.
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
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
        let tickets: Vec<_> = [10, 11, 15]
            .iter()
            .map(|offset| offsets.enter(*offset).unwrap())
            .collect();
        assert_eq!(offsets.enter(11), None);
        offsets.acknowledge(tickets[1]);
        assert_eq!(offsets.acknowledged_to(), 10);
        offsets.acknowledge(tickets[0]);
        assert_eq!(offsets.acknowledged_to(), 15, "12 to 14 are a gap");
        offsets.acknowledge(tickets[0]);
        offsets.acknowledge(tickets[2]);
        assert_eq!((offsets.acknowledged_to(), offsets.is_idle()), (16, true));
    }

    proptest! {
        #[test]
        fn in_any_order_the_position_equals_the_naive_one(order in Just((0..40usize).collect::<Vec<_>>()).prop_shuffle()) {
            let mut offsets = Offsets::starting_at(0);
            let tickets: Vec<_> = (0..40).map(|i| offsets.enter(i * 3).unwrap()).collect();
            let mut done = [false; 40];
            for index in order {
                offsets.acknowledge(tickets[index]);
                done[index] = true;
                let naive = done.iter().position(|done| !done).map_or(39 * 3 + 1, |first| first as i64 * 3);
                prop_assert_eq!(offsets.acknowledged_to(), naive);
            }
        }
    }
}
