//! Which consistency each request has, as it passes on its way to the server.

use crate::faults::oracle::compare;
use crate::faults::process::words;
use crate::faults::relay::{About, Levels, ONE, QUORUM, Relay};
use crate::servers::Place;

#[test]
fn readings_have_a_consistency_of_their_own_and_batches_of_their_own_with_it() {
    let place = Place::new("levels");
    place.ok(&["init-schema"]);
    place.ok(&words(
        "produce --count 20000 --rate 0 --sensors 50 --seed 21 --manifest run.json",
    ));
    let written = through_relay(&place, &["consume", "--until-end"], "one");
    assert!(written[&(About::Readings, ONE)] > 0 && written[&(About::Windows, QUORUM)] > 0);
    assert!(written[&(About::State, QUORUM)] > 0);
    assert_eq!(written.len(), 3, "nothing else was written, or otherwise: {written:?}");
    compare(&place);

    let sensors = place.ok(&words("query --sensors --limit 1 --format csv"));
    let sensor = sensors
        .lines()
        .nth(1)
        .and_then(|line| line.split(',').next())
        .expect(&sensors);
    let asked = through_relay(&place, &["query", "--sensor", sensor, "--limit", "3"], "one");
    assert_eq!(asked.keys().collect::<Vec<_>>(), [&(About::ReadingsAsked, ONE)]);
}

#[test]
fn readings_that_are_as_consistent_as_windows_share_a_batch_with_them() {
    let place = Place::new("level");
    place.ok(&["init-schema"]);
    place.ok(&words("produce --count 5000 --rate 0 --sensors 50 --seed 22"));
    let written = through_relay(&place, &["consume", "--until-end"], "quorum");
    assert!(written[&(About::ReadingsAndWindows, QUORUM)] > 0);
    assert!(written.keys().all(|(_, level)| *level == QUORUM), "{written:?}");
}

/// Runs the program to its good end, with all but readings at QUORUM. Answers what it asked of the server.
fn through_relay(place: &Place, arguments: &[&str], readings: &str) -> Levels {
    let relay = Relay::to(&place.cassandra);
    let store = format!("cassandra://{}/{}", relay.address(), place.keyspace);
    let output = place
        .command(arguments)
        .env("IOTPIPE_STORE", store)
        .env("IOTPIPE_STORE_CONSISTENCY", "quorum")
        .env("IOTPIPE_STORE_READINGS_CONSISTENCY", readings)
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    relay.levels()
}
