//! Which sensor reads when: slot `i` belongs to sensor `i % sensors` and is that sensor's reading number `i / sensors`.
//! Event times follow from the slot alone, so a run can be computed again from its settings, and the latency of a
//! record that is sent late counts from when it was due, not from when its turn came (no coordinated omission).

use std::time::Duration;

use crate::model::TimeMs;

use super::FleetError;
use super::faults::SILENT_SLOTS;

/// Unpaced runs of a given duration start as if so many records a second were sent: more than a machine sends, so that
/// their event times end before now and not after it.
const UNPACED_RECORDS_PER_S: f64 = 2_000_000.0;

const NANOS_PER_MS: i64 = 1_000_000;
const NANOS_PER_S: f64 = 1e9;

/// When every slot's reading is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Schedule {
    sensors: u32,
    interval_ns: u64,
    start: TimeMs,
}

impl Schedule {
    /// `interval` lies between two readings of one sensor; `start` is the event time of slot 0.
    pub fn new(sensors: u32, interval: Duration, start: TimeMs) -> Result<Schedule, FleetError> {
        if sensors == 0 {
            return Err(FleetError::NoSensors);
        }
        if interval < Duration::from_millis(1) {
            return Err(FleetError::IntervalTooShort { interval, sensors });
        }
        let interval_ns = u64::try_from(interval.as_nanos())
            .ok()
            .filter(|&ns| i64::try_from(ns).is_ok());
        let interval_ns = interval_ns.ok_or(FleetError::IntervalTooLong { interval })?;
        Ok(Schedule {
            sensors,
            interval_ns,
            start,
        })
    }

    pub fn sensors(&self) -> u32 {
        self.sensors
    }

    pub fn interval(&self) -> Duration {
        Duration::from_nanos(self.interval_ns)
    }

    /// Event time of slot 0.
    pub fn start(&self) -> TimeMs {
        self.start
    }

    /// The same schedule from another time on.
    pub fn starting_at(self, start: TimeMs) -> Schedule {
        Schedule { start, ..self }
    }

    /// Slots a second of event time.
    pub fn slots_per_s(&self) -> f64 {
        f64::from(self.sensors) * NANOS_PER_S / self.interval_ns as f64
    }

    /// Event time of a slot: the schedule in whole nanoseconds, floored to milliseconds.
    pub fn event_time(&self, slot: u64) -> TimeMs {
        let sensors = u64::from(self.sensors);
        let (k, sensor) = (i128::from(slot / sensors), i128::from(slot % sensors));
        let interval = i128::from(self.interval_ns);
        let after_start_ns = k * interval + sensor * interval / i128::from(sensors);
        let ms = i128::from(self.start.0) + after_start_ns.div_euclid(i128::from(NANOS_PER_MS));
        TimeMs(i64::try_from(ms).unwrap_or(i64::MAX))
    }

    /// The slots in order, from slot 0.
    pub(super) fn cursor(&self) -> Cursor {
        Cursor {
            schedule: *self,
            slot: 0,
            sensor: 0,
            k: 0,
            round_ns: 0,
            in_round_ns: 0,
            remainder: 0,
            step_ns: self.interval_ns / u64::from(self.sensors),
            step_remainder: self.interval_ns % u64::from(self.sensors),
        }
    }
}

/// Walks the slots without a division of 128 bits a record; says what [`Schedule::event_time`] says.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    schedule: Schedule,
    pub(super) slot: u64,
    pub(super) sensor: u32,
    /// The sensor's reading number.
    pub(super) k: u64,
    /// From the schedule's start to the beginning of round `k`.
    round_ns: i64,
    /// From there to the sensor's turn: `sensor * interval / sensors`, whose remainder is carried along.
    in_round_ns: u64,
    remainder: u64,
    step_ns: u64,
    step_remainder: u64,
}

impl Cursor {
    pub(super) fn event_time(&self) -> TimeMs {
        let after_start_ns = self.round_ns.saturating_add_unsigned(self.in_round_ns);
        TimeMs(self.schedule.start.0.saturating_add(after_start_ns / NANOS_PER_MS))
    }

    pub(super) fn advance(&mut self) {
        self.slot += 1;
        self.sensor += 1;
        if self.sensor == self.schedule.sensors {
            self.sensor = 0;
            self.k += 1;
            self.round_ns = self.round_ns.saturating_add_unsigned(self.schedule.interval_ns);
            self.in_round_ns = 0;
            self.remainder = 0;
            return;
        }
        self.in_round_ns += self.step_ns;
        self.remainder += self.step_remainder;
        if self.remainder >= u64::from(self.schedule.sensors) {
            self.remainder -= u64::from(self.schedule.sensors);
            self.in_round_ns += 1;
        }
    }
}

/// What a user says about time, before it is a schedule.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Timing {
    pub sensors: u32,
    /// Records a second; 0 sends as fast as possible. Absent: one reading per sensor and interval, or unpaced without an
    /// interval.
    pub rate: Option<f64>,
    /// Between two readings of one sensor. Absent: follows from the rate; one second where that is 0.
    pub interval: Option<Duration>,
    /// Records to schedule.
    pub count: Option<u64>,
    /// How long to send.
    pub duration: Option<Duration>,
    /// Event time of the first reading. Absent: now where there is a rate, and so that the last lies at now otherwise.
    pub start: Option<TimeMs>,
    /// Probability that a sensor goes silent, which stretches the slots that a count needs.
    pub silence: f64,
}

/// What follows from a [`Timing`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Plan {
    pub schedule: Schedule,
    /// Slots a second by the wall clock; absent where nothing holds the run back.
    pub slots_per_s: Option<f64>,
    /// Slots of the run, where a rate and a duration bound them.
    pub slots: Option<u64>,
}

impl Timing {
    /// `now` is the wall clock at the start of the run.
    pub fn plan(&self, now: TimeMs) -> Result<Plan, FleetError> {
        if self.sensors == 0 {
            return Err(FleetError::NoSensors);
        }
        let sensors = f64::from(self.sensors);
        let rate = match (self.rate, self.interval) {
            (Some(rate), _) if !rate.is_finite() || rate < 0.0 => return Err(FleetError::BadRate { rate }),
            (Some(rate), _) => rate,
            (None, Some(interval)) if !interval.is_zero() => sensors / interval.as_secs_f64(),
            (None, _) => 0.0,
        };
        let interval = match self.interval {
            Some(interval) => interval,
            None if rate > 0.0 => Duration::try_from_secs_f64(sensors / rate).unwrap_or(Duration::MAX),
            None => Duration::from_secs(1),
        };
        let schedule = Schedule::new(self.sensors, interval, now)?;
        if rate == 0.0 {
            return self.plan_unpaced(schedule, now);
        }
        let mut slots_per_s = rate;
        if self.start.is_none() {
            // Event time is wall-clock time here, so one of the two must follow from the other; people round.
            if (schedule.slots_per_s() / rate - 1.0).abs() > 0.01 {
                return Err(FleetError::RateAgainstInterval {
                    rate,
                    interval,
                    sensors: self.sensors,
                });
            }
            slots_per_s = schedule.slots_per_s();
        }
        Ok(Plan {
            schedule: schedule.starting_at(self.start.unwrap_or(now)),
            slots_per_s: Some(slots_per_s),
            slots: self
                .duration
                .map(|duration| (duration.as_secs_f64() * slots_per_s).ceil() as u64),
        })
    }

    fn plan_unpaced(&self, schedule: Schedule, now: TimeMs) -> Result<Plan, FleetError> {
        let slots = match (self.count, self.duration) {
            (Some(count), _) => self.slots_for(count),
            (None, Some(duration)) => (duration.as_secs_f64() * UNPACED_RECORDS_PER_S) as u64,
            (None, None) => return Err(FleetError::Endless),
        };
        let length_ms = schedule.starting_at(TimeMs(0)).event_time(slots.saturating_sub(1)).0;
        let start = self.start.unwrap_or(TimeMs(now.0.saturating_sub(length_ms)));
        Ok(Plan {
            schedule: schedule.starting_at(start),
            slots_per_s: None,
            slots: None,
        })
    }

    /// Slots that `count` records take. Exact without silence; with it the expectation and six standard deviations, so
    /// that the last event time lies shortly before now and never in the future, where it would be refused.
    fn slots_for(&self, count: u64) -> u64 {
        let silences = count as f64 * self.silence;
        let skipped = (silences + 6.0 * silences.sqrt()) * (*SILENT_SLOTS.end() as f64);
        count.saturating_add(skipped.ceil() as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn timing(sensors: u32) -> Timing {
        Timing {
            sensors,
            ..Timing::default()
        }
    }

    const NOW: TimeMs = TimeMs(1_762_344_000_123);

    proptest! {
        #[test]
        fn times_of_a_sensor_are_distinct_and_no_slot_lies_before_the_last(
            sensors in 1u32..5_000, interval_ns in 1_000_000u64..10_000_000_000, start in 0i64..2_000_000_000_000,
        ) {
            let schedule = Schedule::new(sensors, Duration::from_nanos(interval_ns), TimeMs(start)).unwrap();
            let mut cursor = schedule.cursor();
            let mut last_of_sensor = vec![TimeMs(i64::MIN); sensors as usize];
            let mut last = TimeMs(i64::MIN);
            for slot in 0..u64::from(sensors) * 3 + 7 {
                let time = schedule.event_time(slot);
                prop_assert_eq!((cursor.slot, cursor.event_time()), (slot, time));
                prop_assert_eq!(u64::from(cursor.sensor) + cursor.k * u64::from(sensors), slot);
                prop_assert!(time >= last);
                prop_assert!(time > last_of_sensor[cursor.sensor as usize]);
                (last, last_of_sensor[cursor.sensor as usize]) = (time, time);
                cursor.advance();
            }
        }

        #[test]
        fn event_times_keep_their_distance_however_far_the_run_goes(
            sensors in 1u32..2_000_000, interval_ms in 1i64..100_000, k in 0u64..10_000_000,
        ) {
            let schedule = Schedule::new(sensors, Duration::from_millis(interval_ms as u64), TimeMs(0)).unwrap();
            let first = k * u64::from(sensors);
            prop_assert_eq!(schedule.event_time(first), TimeMs(k as i64 * interval_ms));
            prop_assert_eq!(schedule.event_time(first + u64::from(sensors)), TimeMs((k as i64 + 1) * interval_ms));
        }
    }

    #[test]
    fn the_interval_follows_from_the_rate_and_the_other_way_round() {
        let plan = Timing {
            rate: Some(3500.0),
            ..timing(7000)
        }
        .plan(NOW)
        .unwrap();
        assert_eq!(
            (plan.schedule.interval(), plan.schedule.start()),
            (Duration::from_secs(2), NOW)
        );
        assert_eq!(plan.slots_per_s, Some(3500.0));
        let plan = Timing {
            interval: Some(Duration::from_secs(2)),
            ..timing(7000)
        }
        .plan(NOW)
        .unwrap();
        assert_eq!(plan.slots_per_s, Some(3500.0));
    }

    #[test]
    fn an_unpaced_run_ends_at_now() {
        let plan = Timing {
            rate: Some(0.0),
            count: Some(2500),
            ..timing(1000)
        }
        .plan(NOW)
        .unwrap();
        assert_eq!(plan.slots_per_s, None);
        assert_eq!(plan.schedule.interval(), Duration::from_secs(1));
        assert_eq!(plan.schedule.event_time(2499), NOW);
        let plan = Timing {
            rate: Some(0.0),
            duration: Some(Duration::from_secs(3)),
            ..timing(1000)
        }
        .plan(NOW)
        .unwrap();
        assert_eq!(plan.schedule.event_time(5_999_999), NOW);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |timing: Timing| timing.plan(NOW).unwrap_err().to_string();
        assert!(
            refused(Timing {
                rate: Some(0.0),
                ..timing(10)
            })
            .contains("--count or --duration")
        );
        assert!(
            refused(Timing {
                rate: Some(2_000_000.0),
                ..timing(10)
            })
            .contains("interval")
        );
        assert!(
            refused(Timing {
                rate: Some(f64::NAN),
                ..timing(10)
            })
            .contains("rate")
        );
        assert!(
            refused(Timing {
                rate: Some(10.0),
                ..timing(0)
            })
            .contains("sensor")
        );
        let both = Timing {
            rate: Some(10.0),
            interval: Some(Duration::from_secs(2)),
            ..timing(10)
        };
        assert!(refused(both.clone()).contains("contradict"));
        // With a start time of its own, event time and the wall clock are two things.
        let plan = Timing {
            start: Some(TimeMs(0)),
            ..both
        }
        .plan(NOW)
        .unwrap();
        assert_eq!(
            (plan.slots_per_s, plan.schedule.interval()),
            (Some(10.0), Duration::from_secs(2))
        );
    }
}
