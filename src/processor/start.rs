//! Where a partition may start, so that no hole is ever passed off as whole.

use std::fmt;

use super::teeth::{self, Tooth};
use crate::model::{LedgerEntry, ProcessingConfig, Source, TopicId};

/// What to do when records that were never processed are gone, or would be jumped over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnDataLoss {
    /// Stop with what to do.
    Refuse,
    /// Record the hole and go on.
    Continue,
}

/// Where to start, and what to do about a hole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StartPolicy {
    /// A source that this store never saw starts at its end, not at its beginning.
    pub latest: bool,
    pub on_data_loss: OnDataLoss,
}

/// What broker and ledger say of an assigned partition.
#[derive(Clone, PartialEq, Debug)]
pub struct StartFacts {
    pub partition: i32,
    pub topic_id: TopicId,
    /// The group's committed position.
    pub committed: Option<i64>,
    /// The first offset that the log still holds.
    pub low: i64,
    /// The log's end.
    pub high: i64,
    /// The source's row, where this store has folded it before.
    pub ledger: Option<LedgerEntry>,
}

/// Why a partition may not start, for a person: what, where, why, what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal(pub String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where to start, and the hole that this leaves, if one was accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    pub offset: i64,
    pub hole: Option<String>,
}

/// Decides the start of one partition.
pub fn decide(
    facts: &StartFacts,
    source: &Source,
    policy: &StartPolicy,
    processing: &ProcessingConfig,
) -> Result<Decision, Refusal> {
    let (low, high) = (facts.low, facts.high);
    let Some(entry) = &facts.ledger else {
        // Nothing of this source is in the store. A committed position only says that something else was fed from it.
        let offset = match (policy.latest, facts.committed) {
            (false, _) => low,
            (true, Some(committed)) if (low..=high).contains(&committed) => committed,
            (true, _) => high,
        };
        return Ok(Decision { offset, hole: None });
    };
    let wanted = facts.committed.unwrap_or_else(|| entry.from.max(low));
    let mut hole = None;
    let mut offset = wanted;
    if wanted < low && wanted < entry.acked_to {
        // What lies in between was processed before, though this group has yet to see it: nothing is missing.
        offset = low;
    } else if wanted < low {
        hole = Some(accept(policy, || {
            format!(
                "{source}: records {wanted} to {} were deleted by the topic's retention before they were processed",
                low - 1
            )
        })?);
        offset = low;
    } else if wanted > high {
        hole = Some(accept(policy, || {
            format!(
                "{source}: the committed offset {wanted} lies past the end {high} of the log: the topic lost records, or \
                 the offsets were set by hand"
            )
        })?);
        offset = high;
    }
    let ledger_hole = check_entry(entry, source, offset, policy, processing)?;
    Ok(Decision {
        offset,
        hole: hole.or(ledger_hole),
    })
}

/// Whether a source may be folded from `offset` on, given its row in the ledger. Answers the hole that was accepted.
pub fn check_entry(
    entry: &LedgerEntry,
    source: &Source,
    offset: i64,
    policy: &StartPolicy,
    processing: &ProcessingConfig,
) -> Result<Option<String>, Refusal> {
    if entry.processing != *processing {
        return Err(Refusal(format!(
            "{source}: this store was filled under another configuration ({}), now it is ({}): go back to the earlier \
             one ([windows], --no-windows, --no-alerts, [fields]), or use a new keyspace",
            describe(&entry.processing),
            describe(processing)
        )));
    }
    if teeth::is_out(Tooth::Ledger) {
        return Ok(None);
    }
    if offset < entry.from {
        return accept(policy, || {
            format!(
                "{source}: the start {offset} lies before {}, the first offset this store ever took",
                entry.from
            )
        })
        .map(Some);
    }
    if offset > entry.acked_to {
        return accept(policy, || {
            format!(
                "{source}: records {} to {} would be jumped over",
                entry.acked_to,
                offset - 1
            )
        })
        .map(Some);
    }
    Ok(None)
}

fn accept(policy: &StartPolicy, hole: impl Fn() -> String) -> Result<String, Refusal> {
    match policy.on_data_loss {
        OnDataLoss::Continue => Ok(hole()),
        OnDataLoss::Refuse => Err(Refusal(format!(
            "{}: set the group's offset into the part that was processed, or accept the hole with --on-data-loss continue",
            hole()
        ))),
    }
}

fn describe(processing: &ProcessingConfig) -> String {
    serde_json::to_string(processing).unwrap_or_else(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const REFUSE: StartPolicy = StartPolicy {
        latest: false,
        on_data_loss: OnDataLoss::Refuse,
    };
    const CONTINUE: StartPolicy = StartPolicy {
        latest: false,
        on_data_loss: OnDataLoss::Continue,
    };

    fn source() -> Source {
        Source {
            topic: Arc::from("t"),
            topic_id: TopicId::UNKNOWN,
            partition: 3,
        }
    }

    fn processing() -> ProcessingConfig {
        ProcessingConfig {
            window_sizes_s: vec![],
            alerts: false,
            id_fields: vec!["id".to_owned()],
            time_fields: vec![],
            ignored_fields: vec![],
        }
    }

    /// Log from 100 to 200; the ledger as given.
    fn start(committed: Option<i64>, ledger: Option<(i64, i64)>, policy: StartPolicy) -> Result<Decision, Refusal> {
        let ledger = ledger.map(|(from, acked_to)| LedgerEntry {
            source: source(),
            from,
            acked_to,
            processing: processing(),
        });
        let facts = StartFacts {
            partition: 3,
            topic_id: TopicId::UNKNOWN,
            committed,
            low: 100,
            high: 200,
            ledger,
        };
        decide(&facts, &source(), &policy, &processing())
    }

    fn at(offset: i64) -> Result<Decision, Refusal> {
        Ok(Decision { offset, hole: None })
    }

    #[test]
    fn a_store_that_never_saw_the_source_starts_at_earliest_whatever_is_committed() {
        assert_eq!(start(None, None, REFUSE), at(100));
        assert_eq!(start(Some(150), None, REFUSE), at(100));
        let latest = StartPolicy { latest: true, ..REFUSE };
        assert_eq!(start(None, None, latest), at(200));
        assert_eq!(start(Some(150), None, latest), at(150));
    }

    #[test]
    fn the_committed_position_holds_within_what_was_processed() {
        assert_eq!(start(Some(150), Some((100, 180)), REFUSE), at(150));
        assert_eq!(start(Some(180), Some((100, 180)), REFUSE), at(180));
        assert_eq!(
            start(None, Some((120, 180)), REFUSE),
            at(120),
            "a second group, where the first began at latest"
        );
        assert_eq!(
            start(Some(50), Some((0, 180)), REFUSE),
            at(100),
            "expired, but processed before"
        );
    }

    #[test]
    fn holes_are_refused_or_accepted_by_name() {
        for (committed, ledger) in [
            (Some(50), (0, 50)),     // expired before it was processed
            (Some(250), (0, 250)),   // past the end of the log
            (Some(190), (100, 180)), // set by hand beyond what was processed
            (Some(110), (120, 180)), // before what was ever taken
            (None, (0, 90)),         // a second group, and retention ran over the first
        ] {
            let refused = start(committed, Some(ledger), REFUSE).unwrap_err();
            assert!(refused.to_string().contains("--on-data-loss continue"), "{refused}");
            let accepted = start(committed, Some(ledger), CONTINUE).unwrap();
            assert!(accepted.hole.is_some(), "{committed:?} {ledger:?}");
            assert!((100..=200).contains(&accepted.offset));
        }
    }

    #[test]
    fn another_configuration_is_refused_even_where_holes_are_accepted() {
        let mut other = processing();
        other.alerts = true;
        let entry = LedgerEntry {
            source: source(),
            from: 0,
            acked_to: 180,
            processing: other,
        };
        assert!(check_entry(&entry, &source(), 150, &CONTINUE, &processing()).is_err());
    }
}
