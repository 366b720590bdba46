//! Reads of state and windows: those of up to ten sensors that wait together go to the store as one, and so many at a time.

use std::collections::VecDeque;

use super::writers::SENSORS_TOGETHER;
use crate::model::Load;

/// What waits for its turn, and how many requests are in flight.
pub struct Loads {
    /// Bounded by what the processor lets fly, as is `apart`.
    waiting: VecDeque<Load>,
    /// Those that have failed together, each to be tried alone.
    apart: VecDeque<Load>,
    in_flight: usize,
    in_flight_max: usize,
}

impl Loads {
    /// For a processor that lets `loads_max` loads fly: so many requests that all of them fly when each request is full.
    pub fn new(loads_max: usize) -> Loads {
        Loads {
            waiting: VecDeque::new(),
            apart: VecDeque::new(),
            in_flight: 0,
            in_flight_max: loads_max.div_ceil(SENSORS_TOGETHER),
        }
    }

    /// Puts a load in line; [`Loads::next_request`] takes it out.
    pub fn push(&mut self, load: Load) {
        self.waiting.push_back(load);
    }

    /// The next request that may be sent. Called when all that could be put in line now is; [`Loads::answered`] or
    /// [`Loads::failed_together`] follows each.
    pub fn next_request(&mut self) -> Option<Vec<Load>> {
        if self.in_flight >= self.in_flight_max {
            return None;
        }
        let request: Vec<Load> = match self.apart.pop_front() {
            Some(load) => vec![load],
            None => {
                let count = self.waiting.len().min(SENSORS_TOGETHER);
                self.waiting.drain(..count).collect()
            }
        };
        if request.is_empty() {
            return None;
        }
        self.in_flight += 1;
        Some(request)
    }

    pub fn answered(&mut self) {
        self.in_flight -= 1;
    }

    /// The request failed, and perhaps because of one of its loads alone, which is not to hold up the others.
    pub fn failed_together(&mut self, loads: Vec<Load>) {
        self.in_flight -= 1;
        self.apart.extend(loads);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{LoadId, SensorId, Source, TopicId};

    fn a_load(number: u64) -> Load {
        Load {
            id: LoadId(number),
            sensor: SensorId(uuid::Uuid::from_u128(number.into())),
            source: Arc::new(Source {
                topic: Arc::from("t"),
                topic_id: TopicId::UNKNOWN,
                partition: 0,
            }),
            state: true,
            windows: Vec::new(),
        }
    }

    fn sizes(loads: &mut Loads) -> Vec<usize> {
        std::iter::from_fn(|| loads.next_request())
            .map(|request| request.len())
            .collect()
    }

    #[test]
    fn one_goes_alone_and_what_waits_goes_together_and_in_order() {
        let mut loads = Loads::new(20);
        loads.push(a_load(0));
        assert_eq!(sizes(&mut loads), [1], "it waits for no company");
        loads.push(a_load(1));
        assert_eq!(sizes(&mut loads), [1]);
        (2..25).for_each(|number| loads.push(a_load(number)));
        assert_eq!(sizes(&mut loads), [0; 0], "two requests are in flight");
        loads.answered();
        let request = loads.next_request().expect("one was answered");
        assert!(request.iter().map(|load| load.id.0).eq(2..12), "{request:?}");
        assert_eq!(sizes(&mut loads), [0; 0]);
        loads.answered();
        loads.answered();
        assert_eq!(sizes(&mut loads), [10, 3]);
    }

    #[test]
    fn what_failed_together_is_tried_one_by_one_and_first() {
        let mut loads = Loads::new(20);
        (0..4).for_each(|number| loads.push(a_load(number)));
        let request = loads.next_request().expect("it may be sent");
        loads.push(a_load(4));
        loads.failed_together(request);
        assert_eq!(sizes(&mut loads), [1, 1], "two at a time");
        loads.answered();
        loads.answered();
        let next = loads.next_request().expect("it may be sent");
        assert_eq!(next, [a_load(2)]);
        loads.answered();
        assert_eq!(sizes(&mut loads), [1, 1]);
        loads.answered();
        assert_eq!(sizes(&mut loads), [0; 0]);
    }
}
