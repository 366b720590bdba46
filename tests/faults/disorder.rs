//! Records that come late, twice or with absurd values, over midnight.

use super::group::Group;
use super::oracle::compare;
use super::process::{Process, words};
use crate::servers::Place;

const RECORDS: i64 = 60_000;

/// Consumers one after another, so that each has to load what the one before has folded.
const CONSUMERS: i64 = 5;

/// Exit code of a consumer that met records it could not decode.
const DEAD_LETTERED: i32 = 3;

#[test]
fn late_repeated_and_anomalous_records_over_midnight_are_folded_exactly() {
    let place = Place::new("disorder");
    // Retention goes by the records' own timestamps, which lie in the past here.
    place.ok(&["init-schema", "--retention", "none"]);
    let produce = format!(
        "produce --count {RECORDS} --rate 0 --sensors 120 --interval 10m --seed 12 --start-time 2025-11-05T12:00:00Z \
         --late-probability 0.05 --late-max 48h --duplicate-probability 0.02 \
         --anomaly-probability 0.01 --malformed-probability 0.001"
    );
    place.ok(&words(&produce));
    let group = Group::new(&place);
    let part = (group.end() / CONSUMERS).to_string();
    for _ in 1..CONSUMERS {
        Process::start(&place, "consumer", &["consume", "--max-records", &part]).ends_well(60);
    }
    assert!(group.committed() < group.end(), "something is left for the last");
    Process::start(&place, "consumer", &["consume", "--until-end"]).ends_with(DEAD_LETTERED, 60);
    let counts = compare(&place);
    let share = |name: &str| counts.of(name) as f64 / counts.of("records") as f64;
    assert!(
        (0.03..0.07).contains(&share("records_late")),
        "late: {}",
        share("records_late")
    );
    assert!(
        (0.01..0.03).contains(&share("readings_repeated")),
        "twice: {}",
        share("readings_repeated")
    );
    assert!(counts.of("rejected") > 0 && counts.of("alerts_raised") > 0 && counts.of("alerts_cleared") > 0);
    assert!(counts.of("days") >= 4, "three midnights: {}", counts.of("days"));
}
