//! How often what happened: a simulator whose faults do not fire proves nothing.

use std::ops::AddAssign;

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    Schedules,
    Steps,
    Lives,
    Crashes,
    Pauses,
    TakeOvers,
    Releases,
    /// Revoked, and not released within the bound.
    ReleasesTooLate,
    Lost,
    Resets,
    /// Refused for a start outside what was processed.
    Refusals,
    Recreations,
    RuleChanges,
    Redelivered,
    Writes,
    /// A process that had lost its partition wrote what was older than what a replica had.
    ZombieWritesLost,
    /// A commit by a process that had lost its partition.
    ZombieCommits,
    /// Sent again though the first was done.
    RetriedThoughDone,
    Loads,
    /// Of windows.
    LateLoads,
    /// The state of a sensor was loaded again within one assignment.
    Evictions,
    Repairs,
    Alerts,
    /// On the topic of alerts once more.
    AlertsAgain,
    /// Changes of status, and on the topic of events once more.
    Statuses,
    StatusesAgain,
    DeadLetters,
    CommitsFailed,
    Commits,
    Published,
    Deleted,
}

const NAMES: usize = Count::Deleted as usize + 1;

impl Count {
    pub const ALL: [Count; NAMES] = [
        Count::Schedules,
        Count::Steps,
        Count::Lives,
        Count::Crashes,
        Count::Pauses,
        Count::TakeOvers,
        Count::Releases,
        Count::ReleasesTooLate,
        Count::Lost,
        Count::Resets,
        Count::Refusals,
        Count::Recreations,
        Count::RuleChanges,
        Count::Redelivered,
        Count::Writes,
        Count::ZombieWritesLost,
        Count::ZombieCommits,
        Count::RetriedThoughDone,
        Count::Loads,
        Count::LateLoads,
        Count::Evictions,
        Count::Repairs,
        Count::Alerts,
        Count::AlertsAgain,
        Count::Statuses,
        Count::StatusesAgain,
        Count::DeadLetters,
        Count::CommitsFailed,
        Count::Commits,
        Count::Published,
        Count::Deleted,
    ];
}

#[derive(Clone, Debug)]
pub struct Counts([u64; NAMES]);

impl Default for Counts {
    fn default() -> Counts {
        Counts([0; NAMES])
    }
}

impl Counts {
    pub fn add(&mut self, what: Count, times: u64) {
        self.0[what as usize] += times;
    }

    pub fn get(&self, what: Count) -> u64 {
        self.0[what as usize]
    }
}

impl AddAssign<&Counts> for Counts {
    fn add_assign(&mut self, other: &Counts) {
        self.0
            .iter_mut()
            .zip(other.0)
            .for_each(|(mine, others)| *mine += others);
    }
}
