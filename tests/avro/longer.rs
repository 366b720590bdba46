//! The real registry, killed in the middle. On servers of its own: other tests need theirs.

use crate::avro::{client, consumer, ok, values};
use crate::faults::process::until;
use crate::servers::{Place, Stack};

const CONTRACT: &str = include_str!("../../schemas/sensor-reading.avsc");

#[test]
#[ignore = "long: starts servers of its own"]
fn a_registry_that_is_killed_and_comes_back_costs_a_pause() {
    let stack = Stack::up_with("registry-stack", &["--registry"]);
    let place = Place::on(&stack.kafka(), &stack.cassandra(), "avro_killed");
    let url = stack.registry();
    place.init_schema_with_partitions(3);
    ok(
        &place,
        &url,
        "produce --codec avro --count 20000 --rate 0 --sensors 50 --seed 1 --manifest first.json",
    );
    let consumer = consumer(&place, &url, "consume", "consume");
    until("the first run is stored", 120, || {
        place.run(&["verify", "first.json"]).0 == Some(0)
    });

    stack.run(&["kill", "registry"]);
    // What is known is read all the same; a schema that is not known must wait.
    super::send(
        &place,
        &[
            (0, super::json("known", 1)),
            (0, super::avro(1_000_000, "later", 1)),
            (0, super::json("later", 2)),
        ],
    );
    until("it notices", 60, || consumer.said("partitions that need it wait") == 1);
    stack.run(&["start", "registry"]);
    until("it goes on by itself", 60, || consumer.said("registry recovered") == 1);
    // The schemas have outlived the server, with their ids.
    let registry = client(&url);
    let subject = format!("{}-value", place.topic);
    assert!(registry.latest(&subject).expect("an answer").is_some());
    let id = registry.register(&subject, CONTRACT).expect("registered");
    super::send(&place, &[(1, super::avro(id, "new", 1))]);
    until("new records are stored", 60, || {
        super::values_or_none(&place, "new") == [1.0]
    });
    assert_eq!(values(&place, "known"), [1.0]);
    assert_eq!(consumer.said("partitions that need it wait"), 1, "{}", consumer.log());
    consumer.stop();
    place.ok(&["verify", "first.json"]);
}
