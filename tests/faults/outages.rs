//! Servers that go away and come back.

use std::time::Duration;

use super::group::Group;
use super::oracle::compare;
use super::process::{Process, until, words};
use crate::servers::{Place, Stack};

#[test]
#[ignore = "about two minutes"]
fn an_outage_of_cassandra_costs_a_pause_and_not_the_membership() {
    let stack = Stack::up("outage");
    let place = Place::on(&stack.kafka(), &stack.cassandra(), "outage");
    place.ok(&["init-schema"]);
    let produce = words("produce --rate 5000 --duration 60s --seed 5 --anomaly-probability 0.01");
    let producer = Process::start(&place, "producer", &produce);
    let consumer = Process::start(&place, "consumer", &["consume"]);
    let group = Group::new(&place);
    until("something is committed", 30, || group.committed() > 10_000);
    stack.run(&["stop", "cassandra"]);
    std::thread::sleep(Duration::from_secs(30));
    let stood_still = group.committed();
    stack.run(&["start", "cassandra"]);
    until("it goes on by itself", 60, || group.committed() > stood_still + 50_000);
    producer.ends_well(120);
    until("all is committed", 60, || group.committed() == group.end());
    assert_eq!(
        consumer.said("partitions assigned"),
        1,
        "it stayed a member: {}",
        consumer.log()
    );
    for words in ["store unavailable", "store recovered", "fetching paused"] {
        assert!(consumer.said(words) > 0, "the outage was not seen: {}", consumer.log());
    }
    consumer.stop();
    compare(&place);
}

#[test]
#[ignore = "about two minutes"]
fn an_outage_of_kafka_while_producing_loses_no_acknowledged_record() {
    let stack = Stack::up("broker");
    let place = Place::on(&stack.kafka(), &stack.cassandra(), "broker");
    place.ok(&["init-schema"]);
    let produce = words("produce --rate 5000 --count 225000 --seed 6 --anomaly-probability 0.01");
    let producer = Process::start(&place, "producer", &produce);
    let consumer = Process::start(&place, "consumer", &["consume"]);
    let group = Group::new(&place);
    until("something is committed", 30, || group.committed() > 10_000);
    stack.run(&["stop", "kafka"]);
    std::thread::sleep(Duration::from_secs(20));
    stack.run(&["start", "kafka"]);
    // Every record must be acknowledged in the end.
    producer.ends_well(180);
    until("all is committed", 90, || {
        group.end() >= 225_000 && group.committed() == group.end()
    });
    assert!(
        consumer.said("kafka unavailable") > 0,
        "the outage was not seen: {}",
        consumer.log()
    );
    consumer.stop();
    compare(&place);
}

/// While nothing is stored fetching is paused, and a pause outlives the assignment that it was made in.
#[test]
#[ignore = "about two minutes"]
fn a_consumer_that_loses_its_partitions_while_it_is_paused_goes_on_afterwards() {
    let stack = Stack::that_keeps_what_it_acknowledged("paused");
    let place = Place::on(&stack.kafka(), &stack.cassandra(), "paused");
    place.ok(&["init-schema"]);
    place.ok(&words(
        "produce --count 200000 --rate 0 --seed 7 --anomaly-probability 0.01",
    ));
    let consumer = Process::start(&place, "consumer", &["consume"]);
    let group = Group::new(&place);
    until("something is committed", 60, || group.committed() > 10_000);
    stack.run(&["kill", "cassandra"]);
    until("fetching is paused", 30, || consumer.said("fetching paused") > 0);
    assert!(group.committed() < group.end(), "in the middle");
    consumer.signal("STOP");
    until("the brokers give it up", 60, || group.members() == 0);
    consumer.signal("CONT");
    until("it learns that its partitions are gone", 60, || {
        consumer.said("partitions lost") > 0
    });
    stack.run(&["start", "cassandra"]);
    until("it goes on by itself", 120, || group.committed() == group.end());
    assert!(consumer.said("partitions assigned") >= 2, "{}", consumer.log());
    consumer.stop();
    compare(&place);
}
