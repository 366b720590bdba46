//! Reads of state and windows: a fixed number of requests at a time, and as many sensors in one as wait together.

use std::collections::VecDeque;

use super::writers::SENSORS_TOGETHER;
use crate::model::Load;

/// What waits for a request, and how many are in flight.
pub struct Loads {
    /// Bounded by what the processor lets fly.
    waiting: VecDeque<Load>,
    in_flight: usize,
    in_flight_max: usize,
}

impl Loads {
    /// For a processor that lets `loads_max` loads fly: so many requests that all of them fly when each request is full.
    pub fn new(loads_max: usize) -> Loads {
        Loads {
            waiting: VecDeque::new(),
            in_flight: 0,
            in_flight_max: loads_max.div_ceil(SENSORS_TOGETHER),
        }
    }

    /// Puts a load in line; [`Loads::next_request`] takes it out.
    pub fn wait(&mut self, load: Load) {
        self.waiting.push_back(load);
    }

    /// The next request that may be sent. Called when all that could be put in line now is; [`Loads::answered`] follows each.
    pub fn next_request(&mut self) -> Option<Vec<Load>> {
        if self.in_flight >= self.in_flight_max || self.waiting.is_empty() {
            return None;
        }
        self.in_flight += 1;
        let sensors = self.waiting.len().min(SENSORS_TOGETHER);
        Some(self.waiting.drain(..sensors).collect())
    }

    pub fn answered(&mut self) {
        self.in_flight -= 1;
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
        loads.wait(a_load(0));
        assert_eq!(sizes(&mut loads), [1], "it waits for no company");
        loads.wait(a_load(1));
        assert_eq!(sizes(&mut loads), [1]);
        (2..25).for_each(|number| loads.wait(a_load(number)));
        assert_eq!(sizes(&mut loads), [0; 0], "two requests are in flight");
        loads.answered();
        let request = loads.next_request().expect("one was answered");
        assert!(request.iter().map(|load| load.id.0).eq(2..12), "{request:?}");
        assert_eq!(sizes(&mut loads), [0; 0]);
        loads.answered();
        loads.answered();
        assert_eq!(sizes(&mut loads), [10, 3]);
    }
}
