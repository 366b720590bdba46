//! What happens, a line an event: time, process, what. Printed when one schedule is replayed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::{fmt, io};

use super::world::{Who, World};
use crate::processor::{Effect, Event};

/// Writes a line for whoever replays a schedule; the tests' own output would hold it back.
pub fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

impl World {
    /// Takes an effect into the digest, if somebody wants it.
    pub fn digest(&mut self, effect: &Effect) {
        if let Some(digest) = &mut self.digest {
            let mut hasher = DefaultHasher::new();
            (*digest, self.clock, format!("{effect:?}")).hash(&mut hasher);
            *digest = hasher.finish();
        }
    }

    pub fn note(&self, who: Who, what: impl FnOnce() -> String) {
        if self.traces {
            say(format_args!("{:>6} {who} {}", self.clock, what()));
        }
    }

    pub fn note_phase(&self, index: usize) {
        if !self.traces {
            return;
        }
        let plan = &self.plan;
        say(format_args!(
            "{:>6} phase {index}: {:?}",
            self.clock, plan.phases[index]
        ));
        if index > 0 {
            return;
        }
        say(format_args!("       settings {:?}", plan.settings));
        say(format_args!(
            "       network {:?} atomic {} faults {:?}",
            plan.network, plan.atomic, plan.faults
        ));
        for (source, log) in self.log.partitions.iter().enumerate() {
            for entry in &log.entries {
                let said = entry.said.as_ref().map(|said| {
                    let readings = &self.log.readings[said.readings.clone()];
                    format!(
                        "sensor {} at {} {readings:?}",
                        said.sensor,
                        crate::model::TimeMs(said.time)
                    )
                });
                let said = said.unwrap_or_else(|| "cannot be decoded".to_owned());
                say(format_args!(
                    "       log {source}/{}: {} {said}",
                    entry.offset, entry.timestamp
                ));
            }
        }
    }

    pub fn note_event(&self, who: Who, event: &Event) {
        self.note(who, || match event {
            Event::Written(write) => format!("<- Written {}", write.id.0),
            event => format!("<- {event:?}"),
        });
    }

    pub fn note_effect(&self, who: Who, effect: &Effect) {
        self.note(who, || match effect {
            Effect::Write(write) => {
                let windows = write.windows.iter().map(|cell| {
                    let (key, aggregate) = (&cell.key, &cell.aggregate);
                    format!(
                        "{}/{}s {} of {} to {}",
                        key.kind, key.size_s, key.start, aggregate.count, aggregate.last_offset
                    )
                });
                let windows: Vec<String> = windows.collect();
                let state = write.state.as_ref().map(|state| state.last_offset);
                let rows: Vec<String> = write
                    .rows
                    .iter()
                    .map(|row| format!("{} {}={}", row.time, row.kind, row.value))
                    .collect();
                let (id, sensor) = (write.id.0, write.sensor.0.as_u128());
                format!(
                    "-> Write {id} of {}/{sensor}: {rows:?} windows {windows:?} state {state:?}",
                    write.source
                )
            }
            Effect::WriteAlerts(write) => {
                let changes: Vec<String> = write
                    .changes
                    .iter()
                    .map(|change| {
                        format!(
                            "{} {} {} at {}",
                            change.event.as_str(),
                            change.alert.kind,
                            change.alert.rule,
                            change.offset
                        )
                    })
                    .collect();
                let statuses: Vec<String> = write
                    .statuses
                    .iter()
                    .map(|change| format!("{} at {}", change.status, change.offset))
                    .collect();
                format!(
                    "-> WriteAlerts {} of {}: {changes:?} {statuses:?}",
                    write.id.0,
                    write.sensor.0.as_u128()
                )
            }
            effect => format!("-> {effect:?}"),
        });
    }
}
