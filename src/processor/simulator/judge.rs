//! What must be true along the way and at the end.

use super::cells::{Cell, Version};
use super::oracle::Demand;
use super::plan::PARTITIONS_MAX;
use super::store::REPLICAS;
use super::world::{Check, Who, World};

impl World {
    /// Every cell that is sent is what the source's records up to its own offset make of it.
    pub fn check_known(&mut self, who: Who, known: bool, what: impl Fn() -> String) {
        if !known && self.judges_what_is_sent {
            self.fail_at(Check::Sent, format!("{who}: sends {}", what()));
        }
    }

    /// Everything below an offset that is about to be committed is on a majority of the replicas and on the topics, and
    /// the ledger knows.
    pub fn check_commit(&mut self, who: Who, source: usize, to: i64) {
        if self.store.opened[source].is_some_and(|from| to > from) {
            let id = self
                .oracle
                .find(Cell::AckedTo { source: source as u8 })
                .expect("each source has one");
            if !self.is_at_quorum(
                id,
                Version {
                    timestamp: to + 1,
                    value: to as u64,
                    sent: 0,
                },
            ) {
                return self.fail_at(
                    Check::Commit,
                    format!("{who}: commits {to} of source {source}, past the ledger"),
                );
            }
        }
        let until = self.log.partitions[source].index_of(to);
        for entry in self.checked_to[source]..until {
            if let Some(missing) = self.missing(source, entry) {
                let offset = self.log.partitions[source].entries[entry].offset;
                let failure = format!("{who}: commits {to} of source {source}; of {offset} is missing: {missing}");
                return self.fail_at(Check::Commit, failure);
            }
        }
        self.checked_to[source] = self.checked_to[source].max(until);
    }

    /// What is not there of a record.
    fn missing(&self, source: usize, entry: usize) -> Option<String> {
        self.oracle
            .demands(source, entry)
            .iter()
            .find_map(|demand| match *demand {
                Demand::Cell { cell, version } if !self.is_at_quorum(cell, version) => Some({
                    let held: Vec<i64> = self
                        .store
                        .replicas
                        .iter()
                        .map(|cells| cells[cell as usize].timestamp)
                        .collect();
                    format!(
                        "{:?} {version:?}, replicas have {held:?}",
                        self.oracle.cells[cell as usize]
                    )
                }),
                Demand::Cell { cell, version }
                    if self.broker.published[cell as usize] < version.timestamp
                        && self.plan.settings.analytics
                        && matches!(self.oracle.cells[cell as usize], Cell::Window { .. }) =>
                {
                    Some(format!(
                        "on the topic of windows {:?} {version:?}",
                        self.oracle.cells[cell as usize]
                    ))
                }
                Demand::OnTopic { change } => (!self.broker.alerts[change as usize])
                    .then(|| format!("on the topic {:?}", self.oracle.values.get(change))),
                Demand::Cell { .. } => None,
                Demand::DeadLetter => (!self.broker.dead[source][entry]).then(|| "the dead letter".to_owned()),
            })
    }

    /// Whether a majority of the replicas has this version of a cell, or what came after it.
    fn is_at_quorum(&self, id: u32, version: Version) -> bool {
        let cell = self.oracle.cells[id as usize];
        let has = |cells: &&Vec<Version>| {
            let held = cells[id as usize];
            match cell {
                Cell::Reading { .. } => (held.timestamp, held.value) >= (version.timestamp, version.value),
                _ => held.timestamp >= version.timestamp,
            }
        };
        self.store.replicas.iter().filter(has).count() * 2 > REPLICAS
    }

    /// After a drain the group's offsets stand at the ends of the log.
    pub fn check_drained(&mut self, who: Who) {
        let Some(life) = self.life(who) else { return };
        let committed = life.committed;
        let pending = (life.processor.pending_readings(), life.processor.writes_in_flight());
        if pending != (0, 0) {
            return self.fail(format!("{who}: drained with readings and writes pending: {pending:?}"));
        }
        for (partition, committed) in committed.iter().enumerate().take(self.plan.partitions) {
            let high = self.log.partitions[self.incarnation * PARTITIONS_MAX + partition].high();
            if *committed != Some(high) {
                return self.fail(format!(
                    "{who}: drained, {partition} is committed to {committed:?}, its end is {high}"
                ));
            }
        }
    }

    /// Whichever two replicas are asked, they say what the oracle says; and so do the topics.
    pub fn check_end(&mut self) {
        let cells = (0..self.oracle.cells.len()).filter_map(|id| Some((id, self.wrong(id)?)));
        // A state that is wrong and did no harm is told of last.
        let is_state = |id: &usize| matches!(self.oracle.cells[*id], Cell::State { .. });
        if let Some((id, failure)) = cells.min_by_key(|(id, _)| is_state(id)) {
            let check = if is_state(&id) {
                Check::StateInTheEnd
            } else {
                Check::End
            };
            return self.fail_at(check, failure);
        }
        for source in 0..self.log.partitions.len() {
            for entry in 0..self.log.partitions[source].entries.len() {
                if let Some(missing) = self.missing(source, entry) {
                    let offset = self.log.partitions[source].entries[entry].offset;
                    let failure = format!("in the end is missing of {source}/{offset}: {missing}");
                    return self.fail_at(Check::End, failure);
                }
            }
        }
    }

    /// What some two replicas say of a cell that is not so.
    fn wrong(&self, id: usize) -> Option<String> {
        let end = self.oracle.ends[id];
        [(0, 1), (0, 2), (1, 2)].into_iter().find_map(|(first, second)| {
            let [a, b] = [first, second].map(|replica: usize| self.store.replicas[replica][id]);
            let found = if self.replaces(id as u32, b, a) { b } else { a };
            (!found.is_same(end)).then(|| {
                let [found, end] = [found, end].map(|version| self.version_text(id, version));
                format!(
                    "replicas {first} and {second} hold of {:?}: {found}, not {end}",
                    self.oracle.cells[id]
                )
            })
        })
    }

    fn version_text(&self, id: usize, version: Version) -> String {
        let value = match self.oracle.cells[id] {
            _ if version.is_absent() => return "nothing".to_owned(),
            Cell::Reading { .. } => format!("{:?}", f64::from_bits(version.value)),
            Cell::FirstDay { .. } | Cell::LastDay { .. } | Cell::AckedTo { .. } => version.value.to_string(),
            _ => format!("{:?}", self.oracle.values.get(version.value)),
        };
        format!("{value} at {}", version.timestamp)
    }
}
