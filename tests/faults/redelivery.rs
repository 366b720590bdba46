//! Everything once more: readings are written again, and nothing changes, not even a write time.

use super::group::Group;
use super::oracle::{assert_same, compare, dump};
use super::process::words;
use crate::servers::Place;

#[test]
fn what_is_delivered_again_changes_no_cell() {
    let place = Place::new("again");
    place.ok(&["init-schema"]);
    place.ok(&words(
        "produce --count 40000 --rate 0 --sensors 200 --interval 1m --seed 11 --late-probability 0.05 --late-max 2h \
         --anomaly-probability 0.01",
    ));
    let first = place.ok(&["consume", "--until-end"]);
    assert_eq!(processed_before(&first).as_deref(), Some("0"), "{first}");
    let counts = compare(&place);
    assert!(counts.of("alerts_raised") > 0 && counts.of("window_aggregates_found") > 0);
    let before = dump(&place);

    Group::new(&place).reset();
    let again = place.ok(&["consume", "--until-end"]);
    assert_eq!(processed_before(&again).as_deref(), Some("40,000"), "{again}");
    assert_same(&before, &dump(&place));

    let second = place.ok(&["consume", "--group", "second", "--until-end"]);
    assert_eq!(processed_before(&second).as_deref(), Some("40,000"), "{second}");
    assert_same(&before, &dump(&place));
    compare(&place);
}

/// The number in the summary's line on records that were processed before.
fn processed_before(summary: &str) -> Option<String> {
    let line = summary.lines().find(|line| line.contains("processed before"))?;
    let digits = |word: &&str| word.chars().all(|c| c.is_ascii_digit() || c == ',');
    line.split_whitespace().find(digits).map(str::to_owned)
}
