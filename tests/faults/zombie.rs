//! A consumer that was stopped for so long that another has taken over, and then goes on where it was.

use std::collections::HashMap;

use scylla::client::session_builder::SessionBuilder;
use uuid::Uuid;

use super::group::Group;
use super::oracle::compare;
use super::process::{Process, until, words};
use super::relay::Relay;
use crate::servers::Place;

const RECORDS: i64 = 120_000;

#[test]
fn writes_of_a_zombie_reach_the_server_and_lose() {
    let place = Place::new("zombie");
    place.ok(&["init-schema"]);
    let produce = format!("produce --count {RECORDS} --rate 0 --sensors 200 --seed 13 --anomaly-probability 0.01");
    place.ok(&words(&produce));
    let group = Group::new(&place);
    let relay = Relay::to(&place.cassandra);
    let store = format!("cassandra://{}/{}", relay.address(), place.keyspace);
    let zombie = Process::start_with(&place, "zombie", &["consume"], &[("IOTPIPE_STORE", &store)]);
    until("the zombie commits", 60, || group.committed() > RECORDS / 20);
    // What it sends from here on is on the network until it wakes up.
    relay.hold();
    until("states are on their way", 20, || relay.held() > 0);
    zombie.signal("STOP");
    let at_stop = group.committed();
    assert!(at_stop < RECORDS, "it was stopped in the middle");

    let heir = Process::start(&place, "heir", &["consume"]);
    until("the heir has taken over and is through", 120, || {
        group.committed() == RECORDS
    });
    let stored = stored_offsets(&place);
    let before = relay.acknowledged().len();

    relay.release();
    zombie.signal("CONT");
    let lost = || {
        let acknowledged = relay.acknowledged().split_off(before);
        let is_older = |write: &&_| is_older(write, &stored);
        acknowledged.iter().filter(is_older).count()
    };
    until(
        "writes of the zombie are acknowledged that are older than what is stored",
        60,
        || lost() > 0,
    );
    until("the zombie learns that its partitions are gone", 60, || {
        zombie.said("partitions lost") > 0
    });
    println!(
        "stopped at {at_stop} of {RECORDS}; {} acknowledged states of the zombie were older",
        lost()
    );
    assert_eq!(stored_offsets(&place), stored, "they lost");
    zombie.stop();
    heir.stop();
    assert_eq!(stored_offsets(&place), stored, "they lost");
    compare(&place);
}

/// Offset of the last record in a state, by sensor and source.
type Offsets = HashMap<(Uuid, String), i64>;

fn is_older(write: &super::relay::StateWrite, stored: &Offsets) -> bool {
    let key = (write.sensor, write.source.clone());
    stored.get(&key).is_some_and(|stored| write.last_offset < *stored)
}

/// As the server says by the write times of the states.
fn stored_offsets(place: &Place) -> Offsets {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let session = SessionBuilder::new()
            .known_node(&place.cassandra)
            .build()
            .await
            .expect("Cassandra answers");
        let statement = format!(
            "SELECT sensor_id, source, WRITETIME(state) FROM {}.sensor_state",
            place.keyspace
        );
        let answer = session.query_unpaged(statement, ()).await.expect("the table is there");
        let rows = answer.into_rows_result().expect("rows");
        let rows = rows.rows::<(Uuid, String, i64)>().expect("three columns");
        let offsets = rows.map(|row| row.map(|(sensor, source, written)| ((sensor, source), written - 1)));
        offsets.collect::<Result<Offsets, _>>().expect("whole rows")
    })
}
