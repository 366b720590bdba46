//! The log: what producers wrote, partition by partition.

use std::ops::Range;

use super::dice::Dice;
use super::plan::{PARTITIONS_MAX, Plan, STATUSES};
use crate::model::MILLIS_PER_DAY;

/// Event times lie around the start of this day.
const DAY_MS: i64 = 20_000 * MILLIS_PER_DAY;

/// One record.
#[derive(Clone, Debug)]
pub struct Entry {
    pub offset: i64,
    /// Kafka's, milliseconds.
    pub timestamp: i64,
    /// Which rules were in force when it was first processed.
    pub rules: usize,
    /// `None` for a record that cannot be decoded.
    pub said: Option<Said>,
}

/// What a record says: readings of one sensor at one time.
#[derive(Clone, Debug)]
pub struct Said {
    pub sensor: usize,
    /// Event time, milliseconds.
    pub time: i64,
    /// Where its readings lie in [`Log::readings`].
    pub readings: Range<usize>,
    /// Which of [`super::plan::STATUSES`].
    pub status: Option<usize>,
}

/// The log of one source.
#[derive(Default)]
pub struct PartitionLog {
    /// The first offset that there ever was.
    base: i64,
    pub entries: Vec<Entry>,
    /// So many entries are written by now.
    pub written: usize,
    /// So many entries are deleted by now.
    pub deleted: usize,
    /// Entries at the end of each phase.
    pub phase_ends: Vec<usize>,
}

impl PartitionLog {
    pub fn low(&self) -> i64 {
        match self.deleted {
            0 => self.base,
            deleted => self.entries[deleted - 1].offset + 1,
        }
    }

    pub fn high(&self) -> i64 {
        match self.written {
            0 => self.base,
            written => self.entries[written - 1].offset + 1,
        }
    }

    /// The first entry at this offset or after it.
    pub fn index_of(&self, offset: i64) -> usize {
        self.entries.partition_point(|entry| entry.offset < offset)
    }
}

/// The topic in all its lives.
pub struct Log {
    /// By source.
    pub partitions: Vec<PartitionLog>,
    /// Kind and value.
    pub readings: Vec<(usize, f64)>,
}

/// What producers do, while the log is made.
struct Producers<'a> {
    plan: &'a Plan,
    dice: &'a mut Dice,
    /// Event time that each sensor is at.
    clocks: Vec<i64>,
    /// What each sensor said before.
    said: Vec<Vec<Said>>,
    readings: Vec<(usize, f64)>,
}

impl Log {
    pub fn new(plan: &Plan, dice: &mut Dice) -> Log {
        let clocks = plan
            .sensors
            .iter()
            .map(|_| DAY_MS + dice.between(-20_000, 20_000))
            .collect();
        let mut partitions: Vec<PartitionLog> = (0..plan.sources()).map(|_| PartitionLog::default()).collect();
        for partition in &mut partitions {
            partition.base = dice.pick(&[0, 0, 0, 7]);
        }
        let mut producers = Producers {
            plan,
            dice,
            clocks,
            said: vec![Vec::new(); plan.sensors.len()],
            readings: Vec::new(),
        };
        let mut now = DAY_MS + 1_000;
        for phase in &plan.phases {
            for partition in 0..plan.partitions {
                let log = &mut partitions[phase.incarnation * PARTITIONS_MAX + partition];
                producers.write(log, partition, phase.rules, now);
                log.phase_ends.push(log.entries.len());
            }
            now += 20;
        }
        Log {
            partitions,
            readings: producers.readings,
        }
    }
}

impl Producers<'_> {
    /// One phase of one partition.
    fn write(&mut self, log: &mut PartitionLog, partition: usize, rules: usize, mut now: i64) {
        let mut offset = log.entries.last().map_or(log.base, |entry| entry.offset + 1);
        for _ in 0..self.dice.below(self.plan.records_max + 1) {
            if self.dice.chance(120) {
                offset += self.dice.between(1, 4); // no records: transactions leave such gaps
            }
            now += self.dice.pick(&[0, 0, 1, 3]);
            let sensor = self.sensor(partition);
            let sensor = sensor.filter(|_| !self.dice.chance(50));
            let said = sensor.map(|sensor| self.say(sensor));
            log.entries.push(Entry {
                offset,
                timestamp: now,
                rules,
                said,
            });
            offset += 1;
        }
    }

    /// A sensor that writes to this partition, if there is one.
    fn sensor(&mut self, partition: usize) -> Option<usize> {
        let sensors = self.plan.sensors.len();
        let sensor = self.dice.below(sensors);
        let is_here = !self.plan.keyed || sensor % self.plan.partitions == partition;
        match is_here {
            true => Some(sensor),
            false => (0..sensors).find(|other| other % self.plan.partitions == partition),
        }
    }

    fn say(&mut self, sensor: usize) -> Said {
        if !self.said[sensor].is_empty() && self.dice.chance(100) {
            // Sent once more, or the same time with another value.
            let index = self.dice.below(self.said[sensor].len());
            let earlier = self.said[sensor][index].clone();
            if self.dice.chance(600) {
                return earlier;
            }
            return self.values(sensor, earlier.time);
        }
        let time = self.time(sensor);
        let said = self.values(sensor, time);
        self.said[sensor].push(said.clone());
        said
    }

    fn time(&mut self, sensor: usize) -> i64 {
        let clock = self.clocks[sensor];
        match self.dice.below(20) {
            // Late, by a little or by days.
            0 => clock - self.dice.between(0, 120_000),
            1 => clock - self.dice.between(0, 3 * MILLIS_PER_DAY),
            2 => DAY_MS - MILLIS_PER_DAY + self.dice.between(-2, 3),
            at => {
                let step = self.dice.pick(&[1, 10_000, 10_000, 10_000, 25_000]);
                let next = match at {
                    // To the border of a window or past it.
                    3..6 => {
                        let size = self.dice.pick(&[30_000, 60_000, 60_000, 300_000, 3_600_000]);
                        clock - clock.rem_euclid(size) + size + self.dice.between(-1, 2)
                    }
                    6 => clock + self.dice.between(0, MILLIS_PER_DAY),
                    _ => clock + step,
                };
                self.clocks[sensor] = next;
                next
            }
        }
    }

    /// One reading, or several; now and then two of one kind.
    fn values(&mut self, sensor: usize, time: i64) -> Said {
        let kinds = self.plan.kinds.len();
        let start = self.readings.len();
        let first = self.dice.below(kinds);
        let count = if self.dice.chance(300) {
            1 + self.dice.below(kinds)
        } else {
            1
        };
        for step in 0..count {
            let kind = (first + step) % kinds;
            let value = self.value();
            self.readings.push((kind, value));
            if self.dice.chance(50) {
                let value = self.value();
                self.readings.push((kind, value));
            }
        }
        let says_status = self.plan.speaks_of_status && self.dice.chance(700);
        Said {
            sensor,
            time,
            readings: start..self.readings.len(),
            status: says_status.then(|| self.dice.below(STATUSES.len())),
        }
    }

    fn value(&mut self) -> f64 {
        if self.plan.overflows && self.dice.chance(200) {
            return self.dice.pick(&[1.7e308, -1.7e308, f64::MAX]);
        }
        match self.dice.below(12) {
            0 => 0.0,
            1 => -0.0,
            2 => 30.1,
            3 => 45.7,
            4 => 12.3,
            5 => -7.0,
            6 | 7 => 20.0,
            _ => 20.0 + self.dice.between(-10, 11) as f64 * 0.1,
        }
    }
}
