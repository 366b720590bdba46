//! Nodes of a cluster killed in the middle of produce and consume. Afterwards every reading, window, state and alert is read at
//! ALL by the oracle and compared with the topic.
//!
//! The servers of these tests acknowledge only what survives a kill (`commitlog_sync: batch`): with Cassandra's default,
//! readings at ONE may be on one node alone, which loses its last tenth of a second when it is killed.

use crate::faults::group::Group;
use crate::faults::oracle::compare_at_all;
use crate::faults::process::{Process, until, words};
use crate::servers::{Place, Stack};

const PARTITIONS: i32 = 6;
/// The profile, and enough in flight for servers that are asked over a network of their own.
const PROFILE: &[(&str, &str)] = &[
    ("IOTPIPE_PROFILE", "cluster"),
    ("IOTPIPE_CONSUME_WRITERS", "32"),
    ("IOTPIPE_CONSUME_PENDING_READINGS", "10000"),
];

/// Three nodes of each server; gone with the test, however that ends.
struct Cluster {
    stack: Stack,
}

impl Cluster {
    fn start(name: &str) -> Cluster {
        Cluster {
            stack: Stack::of_three(name),
        }
    }

    fn place(&self, name: &str) -> Place {
        let place = Place::on(&self.stack.kafka(), &self.stack.cassandra(), name);
        place.ok(&["init-schema", "--profile", "cluster"]);
        place
    }

    fn kill(&self, nodes: &[&str]) {
        for node in nodes {
            self.stack.run(&["kill", node]);
        }
    }

    /// The fault is there: exactly these have died.
    fn assert_dead(&self, nodes: &[&str]) {
        let status = self.stack.output(&["status"]);
        let status = String::from_utf8_lossy(&status.stdout);
        // What is indented is the end of a log.
        let dead = status
            .lines()
            .filter(|line| !line.starts_with(' ') && line.contains(" died "));
        let dead: Vec<&str> = dead.filter_map(|line| line.split_whitespace().next()).collect();
        let mut wanted = nodes.to_vec();
        wanted.sort_unstable();
        assert_eq!(dead, wanted, "{status}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stack.output(&["down", "--wipe"]);
    }
}

#[test]
#[ignore = "about three minutes, six servers"]
fn a_broker_and_a_node_that_are_killed_hold_up_nothing_and_lose_nothing() {
    let cluster = Cluster::start("one-of-three");
    let place = cluster.place("one_down");
    let produce = words("produce --rate 1000 --duration 90s --seed 31 --anomaly-probability 0.01 --manifest run.json");
    let producer = Process::start_with(&place, "producer", &produce, PROFILE);
    let consumer = Process::start_with(&place, "consumer", &["consume"], PROFILE);
    let group = Group::of(&place, PARTITIONS);
    until("something is committed", 120, || group.committed() > 5_000);
    assert_eq!(group.in_sync(), 3);

    let dead = ["cassandra-2", "kafka-2"];
    cluster.kill(&dead);
    cluster.assert_dead(&dead);
    until("the brokers do without it", 30, || group.in_sync() == 2);
    let (end, committed) = (group.end(), group.committed());
    until("both go on with two of three", 90, || {
        group.end() > end + 15_000 && group.committed() > committed + 15_000
    });
    cluster.assert_dead(&dead);
    for node in dead {
        cluster.stack.run(&["start", node]);
    }
    until("it is in sync again", 60, || group.in_sync() == 3);
    producer.ends_well(180);
    until("all is committed", 120, || group.committed() == group.end());
    consumer.stop();

    let counts = compare_at_all(&place);
    assert_eq!(counts.of("records").cast_signed(), group.end());
    assert!(counts.of("alerts_raised") > 0);
    place.ok(&["verify", "run.json", "--profile", "cluster"]);
}

#[test]
#[ignore = "about four minutes, six servers"]
fn with_two_of_three_killed_all_wait_and_go_on_by_themselves() {
    let cluster = Cluster::start("two-of-three");
    let place = cluster.place("two_down");
    let produce = words("produce --rate 1000 --count 150000 --seed 32 --anomaly-probability 0.01 --manifest run.json");
    // Without a store, in which it would enter the run: it may end while there is none.
    let no_store = [PROFILE, &[("IOTPIPE_STORE", "")]].concat();
    let producer = Process::start_with(&place, "producer", &produce, &no_store);
    let consumer = Process::start_with(&place, "consumer", &["consume"], PROFILE);
    let group = Group::of(&place, PARTITIONS);
    until("something is committed", 120, || group.committed() > 5_000);

    cluster.kill(&["cassandra-1", "cassandra-2"]);
    until("it is said", 60, || consumer.said("store unavailable") > 0);
    until("fetching is paused", 60, || consumer.said("fetching paused") > 0);
    until("it is said why it lasts", 90, || {
        consumer.said("store still unavailable") > 0 && consumer.said("consistency level QUORUM") > 0
    });
    assert_eq!(
        (
            consumer.said("partitions assigned"),
            consumer.said("partitions lost"),
            group.members()
        ),
        (1, 0, 1),
        "it stayed a member: {}",
        consumer.log()
    );
    let stood_still = group.committed();
    // With most of the brokers the group is gone as well: its member may lose its partitions and has to come back.
    cluster.kill(&["kafka-1", "kafka-2"]);
    until("both say it", 60, || {
        consumer.said("kafka unavailable") > 0 && producer.said("kafka unavailable") > 0
    });
    cluster.assert_dead(&["cassandra-1", "cassandra-2", "kafka-1", "kafka-2"]);

    cluster.stack.run(&["start", "kafka"]);
    until("the offsets can be read again, and none was committed", 60, || {
        group.committed() == stood_still
    });
    cluster.stack.run(&["start", "cassandra"]);
    until("it goes on by itself", 120, || group.committed() > stood_still + 10_000);
    producer.ends_well(240);
    until("all is committed", 120, || {
        group.end() >= 150_000 && group.committed() == group.end()
    });
    assert!(consumer.said("store recovered") > 0, "{}", consumer.log());
    consumer.stop();

    let counts = compare_at_all(&place);
    assert_eq!(counts.of("records").cast_signed(), group.end());
    place.ok(&["verify", "run.json", "--profile", "cluster"]);
}
