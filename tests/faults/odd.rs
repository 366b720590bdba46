//! Odd but valid records, rules of every test, little memory, and a kill now and then.

use super::group::Group;
use super::oracle::{RULES_OF_EVERY_TEST, compare_by_rules, write_odd_records};
use super::process::{Process, until, words};
use crate::servers::Place;

const RECORDS: i64 = 15_000;
const SEED: i64 = 21;

#[test]
fn odd_records_are_folded_exactly_by_rules_of_every_test() {
    let place = Place::new("odd");
    place.ok(&["init-schema"]);
    write_odd_records(&place, RECORDS, SEED);
    let rules = std::fs::read_to_string(RULES_OF_EVERY_TEST).expect("the file is there");
    std::fs::write(place.directory().join("iotpipe.toml"), rules).expect("writable");
    let group = Group::new(&place);
    // As little memory as there may be: sensors are forgotten and loaded again all the time.
    let consume = words("consume --state-memory 1MiB --state-interval 200ms");
    for kill in 1..=2 {
        let consumer = Process::start(&place, "consumer", &consume);
        until("it commits", 60, || group.committed() > RECORDS * kill / 8);
        consumer.kill();
    }
    assert!(group.committed() < RECORDS, "it was killed in the middle");
    let consumer = Process::start(&place, "consumer", &[&consume[..], &["--until-end"]].concat());
    consumer.ends_well(120);
    let counts = compare_by_rules(&place, RULES_OF_EVERY_TEST);
    for what in [
        "alerts_raised",
        "alerts_updated",
        "alerts_cleared",
        "records_late",
        "status_changes",
    ] {
        assert!(counts.of(what) > 100, "{what}: {}", counts.of(what));
    }
}
