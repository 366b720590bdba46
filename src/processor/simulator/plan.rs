//! What varies from schedule to schedule: how large things are, how they are configured, and which faults there are.

use std::sync::Arc;

use super::super::{OnDataLoss, Settings, StartPolicy};
use super::dice::Dice;
use crate::model::{Kind, ProcessingConfig, Rule, SensorId, Severity, Source, Test, TopicId};

/// Partitions of a topic, at most.
pub const PARTITIONS_MAX: usize = 2;

/// Kinds, in no order of their names.
const KINDS: [&str; 4] = ["volt", "hum", "temperature", "motion"];

/// What happens to a process, a group or the log, beside what the network does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A process is gone, with all that it knew.
    Crash,
    /// A process stands still for a while, and then goes on as if nothing had been.
    Pause,
    /// The group gives a partition to another process; the one that had it hears nothing of it.
    TakeOver,
    /// The group takes a partition back, and waits for its release.
    Revoke,
    /// The group takes a partition away without waiting.
    Lose,
    /// A process hears at last that a partition is another's.
    TellLost,
    /// All processes of the group stop, and its offsets go back.
    Reset,
    /// All processes of the group stop, and somebody sets its offsets past what was processed.
    Misplace,
    /// A request to the store takes too long: it is sent again, whatever became of the first.
    Timeout,
    /// One of the three replicas is not there for a while.
    ReplicaDown,
    /// All that is on its way is held up.
    Congestion,
    /// The oldest records, processed, are deleted.
    Retention,
}

const FAULTS: [Fault; 12] = [
    Fault::Crash,
    Fault::Pause,
    Fault::TakeOver,
    Fault::Revoke,
    Fault::Lose,
    Fault::TellLost,
    Fault::Reset,
    Fault::Misplace,
    Fault::Timeout,
    Fault::ReplicaDown,
    Fault::Congestion,
    Fault::Retention,
];

/// What becomes of a message, in parts of a thousand.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// Held back, perhaps for long.
    pub late: usize,
    pub lost: usize,
    /// Arrives, and once more later.
    pub twice: usize,
    /// Arrives, and the answer does not.
    pub unanswered: usize,
    /// A commit fails, whether or not it was done.
    pub commits_fail: usize,
}

/// A part of the schedule; it ends when all of the log that there is by then is processed.
#[derive(Clone, Copy, Debug)]
pub struct Phase {
    /// Which life of the topic: a recreated topic has another id.
    pub incarnation: usize,
    /// Which of [`Plan::rules`].
    pub rules: usize,
    pub steps: usize,
}

/// What a sensor may say that it is.
pub const STATUSES: [&str; 3] = ["active", "idle", "fault"];

/// What one schedule is made of.
pub struct Plan {
    pub partitions: usize,
    pub groups: usize,
    /// Processes alive at one time.
    pub lives_max: usize,
    pub sensors: Vec<SensorId>,
    /// The id as written, where that is no UUID.
    pub labels: Vec<Option<Arc<str>>>,
    pub kinds: Vec<Kind>,
    /// Whether each sensor keeps to one partition.
    pub keyed: bool,
    /// Records of one partition and one phase, at most.
    pub records_max: usize,
    /// Whether values so large occur that sums overflow.
    pub overflows: bool,
    /// Whether sensors say their status.
    pub speaks_of_status: bool,
    pub settings: Settings,
    pub rules: Vec<Arc<Vec<Rule>>>,
    pub phases: Vec<Phase>,
    /// Whether a replica takes a mutation as a whole; else cell by cell.
    pub atomic: bool,
    pub network: Network,
    pub faults: Vec<Fault>,
    /// One step in so many is a fault.
    pub fault_every: usize,
}

impl Plan {
    pub fn new(dice: &mut Dice) -> Plan {
        let sensors = dice.pick(&[1, 2, 2, 3, 3, 4, 6]);
        let kinds = 1 + dice.below(3);
        let kinds: Vec<Kind> = KINDS[..kinds].iter().map(|name| Kind::new(name)).collect();
        let window_sizes_s = dice
            .pick(&[
                &[][..],
                &[60],
                &[60, 3600],
                &[3600],
                &[86_400],
                &[60, 86_400],
                &[30, 300, 43_200],
            ])
            .to_vec();
        let alerts = dice.chance(700);
        let rules = vec![rules(dice, &kinds), rules(dice, &kinds)];
        let label = |index: usize| (index % 2 == 1).then(|| Arc::from(format!("SENSOR_{index}")));
        let groups = 1 + usize::from(dice.chance(200));
        Plan {
            partitions: 1 + usize::from(dice.chance(400)),
            groups,
            lives_max: groups + 1 + dice.below(2),
            sensors: (0..sensors)
                .map(|index| SensorId(uuid::Uuid::from_u128(index as u128)))
                .collect(),
            labels: (0..sensors).map(label).collect(),
            keyed: dice.chance(800),
            records_max: dice.pick(&[6, 12, 20, 30]),
            overflows: dice.chance(50),
            speaks_of_status: dice.chance(400),
            settings: settings(dice, window_sizes_s, alerts, rules[0].clone()),
            rules,
            kinds,
            phases: phases(dice),
            atomic: dice.chance(700),
            network: network(dice),
            faults: faults(dice),
            fault_every: dice.pick(&[12, 20, 40]),
        }
    }

    pub fn sources(&self) -> usize {
        PARTITIONS_MAX * (1 + self.phases.last().map_or(0, |phase| phase.incarnation))
    }

    pub fn source_index(&self, source: &Source) -> usize {
        let incarnation = (source.topic_id.0.as_u128() - topic_id(0).0.as_u128()) as usize;
        incarnation * PARTITIONS_MAX + source.partition as usize
    }

    pub fn source(&self, index: usize) -> Source {
        Source {
            topic: self.settings.topic.clone(),
            topic_id: topic_id(index / PARTITIONS_MAX),
            partition: (index % PARTITIONS_MAX) as i32,
        }
    }

    pub fn sensor_index(&self, sensor: SensorId) -> usize {
        sensor.0.as_u128() as usize
    }

    pub fn kind_index(&self, kind: &Kind) -> Option<usize> {
        let same = |known: &Kind| Arc::ptr_eq(&known.0, &kind.0);
        self.kinds
            .iter()
            .position(same)
            .or_else(|| self.kinds.iter().position(|known| known == kind))
    }

    /// Whether the store holds state cells at all.
    pub fn keeps_state(&self) -> bool {
        self.settings.processing.alerts || !self.settings.processing.window_sizes_s.is_empty()
    }
}

/// The topic's id in its first life and in later ones.
pub fn topic_id(incarnation: usize) -> TopicId {
    TopicId(uuid::Uuid::from_u128(0x7000 + incarnation as u128))
}

fn settings(dice: &mut Dice, window_sizes_s: Vec<u32>, alerts: bool, rules: Arc<Vec<Rule>>) -> Settings {
    Settings {
        writes_in_flight: 1 + dice.below(4),
        readings_in_flight: dice.pick(&[1, 3, 1_000]),
        busy_writes: dice.pick(&[0, 1, 2, 1_000]),
        rest_ms: dice.pick(&[1, 30, 200]),
        readings_per_write: dice.pick(&[1, 2, 4, 8, 50]),
        pending_readings: dice.pick(&[4, 10, 40]),
        pending_dead_letter_bytes: dice.pick(&[300, 5_000]),
        // Room for one sensor, for two or so, for all.
        cache_bytes: dice.pick(&[1, 1, 1_500, 2_500, 4_000, 1 << 20, 1 << 20]),
        commit_interval_ms: dice.pick(&[10, 50, 200]),
        sighting_interval_ms: dice.pick(&[50, 1_000, 60_000]),
        start: StartPolicy {
            latest: false,
            on_data_loss: OnDataLoss::Refuse,
        },
        processing: ProcessingConfig {
            window_sizes_s,
            alerts,
            id_fields: vec![],
            time_fields: vec![],
            ignored_fields: vec![],
        },
        topic: Arc::from("t"),
        rules,
        state_interval_ms: dice.pick(&[0, 0, 30, 150, 1_000]),
        loads_in_flight: 1 + dice.below(3),
        analytics: dice.chance(200),
    }
}

/// Some rules, of which some judge one kind only; their names say nothing of their order.
fn rules(dice: &mut Dice, kinds: &[Kind]) -> Arc<Vec<Rule>> {
    let severities = Severity::ALL;
    let mut rules = Vec::new();
    for name in ["hot", "cold", "step", "flat", "on", "odd", "gap"] {
        if dice.chance(450) {
            continue;
        }
        let hysteresis = dice.pick(&[0.0, 0.5, 5.0]);
        let test = match name {
            "hot" => Test::High {
                threshold: 22.0,
                hysteresis,
            },
            "cold" => Test::Low {
                threshold: 19.0,
                hysteresis,
            },
            "step" => Test::Step { threshold: 1.5 },
            "flat" => Test::Flatline {
                readings: 2 + dice.below(2) as u32,
            },
            "on" => Test::Boolean,
            "odd" => Test::Zscore {
                threshold: 2.0,
                hysteresis: dice.pick(&[0.0, 1.0]),
                warm_up: 2 + dice.below(3) as u32,
            },
            _ => Test::Gap {
                times: 2.5,
                warm_up: 1 + dice.below(3) as u32,
            },
        };
        rules.push(Rule {
            // Now and then a name that another test had under other rules.
            name: Arc::from(if dice.chance(100) { "hot!" } else { name }),
            kinds: dice.chance(400).then(|| vec![kinds[dice.below(kinds.len())].clone()]),
            test,
            debounce: 1 + dice.below(2) as u32,
            severity: dice.pick(&severities),
        });
    }
    rules.sort_by(|a, b| a.name.cmp(&b.name));
    rules.dedup_by(|a, b| a.name == b.name);
    let turn = dice.below(rules.len() + 1);
    rules.rotate_left(turn);
    Arc::new(rules)
}

fn phases(dice: &mut Dice) -> Vec<Phase> {
    let steps = |dice: &mut Dice| dice.pick(&[200, 400, 700]);
    let mut phases = vec![Phase {
        incarnation: 0,
        rules: 0,
        steps: steps(dice),
    }];
    match dice.below(10) {
        0 | 1 => phases.push(Phase {
            incarnation: 1,
            rules: 0,
            steps: steps(dice),
        }),
        2 => phases.push(Phase {
            incarnation: 0,
            rules: 1,
            steps: steps(dice),
        }),
        _ => {}
    }
    phases
}

fn network(dice: &mut Dice) -> Network {
    Network {
        late: dice.pick(&[0, 30, 150]),
        lost: dice.pick(&[0, 10, 60]),
        twice: dice.pick(&[0, 20, 100]),
        unanswered: dice.pick(&[0, 20, 60]),
        commits_fail: dice.pick(&[0, 150]),
    }
}

/// Each schedule has some of the faults: with all of them at once none gets far.
fn faults(dice: &mut Dice) -> Vec<Fault> {
    let mut faults = vec![Fault::Timeout, Fault::Timeout];
    for fault in FAULTS {
        if dice.chance(450) {
            faults.push(fault);
        }
    }
    faults
}
