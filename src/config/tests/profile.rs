//! A profile changes defaults, and nothing that anybody has set.

use super::*;
use crate::store::{Consistency, ReadingsConsistency};

/// What profile `cluster` stands for, as `iotpipe config` shows it.
const CLUSTER: &[(&str, &str)] = &[
    ("kafka.partitions", "6"),
    ("kafka.replication_factor", "3"),
    ("kafka.min_insync_replicas", "2"),
    ("store.consistency", "quorum"),
    ("store.readings_consistency", "one"),
    ("store.replication", "3"),
];

#[test]
fn the_cluster_profile_changes_these_defaults_and_no_other() {
    let single = Config::default();
    let cluster = resolve("profile = \"cluster\"\n", &[], &[]).unwrap();
    assert_eq!(listed(&cluster, "profile"), "cluster");
    assert_eq!(origin(&cluster, "profile"), "file iotpipe.toml:1");
    for (key, value) in CLUSTER {
        assert_eq!(listed(&cluster, key), *value, "{key}");
        assert_eq!(origin(&cluster, key), "profile cluster", "{key}");
    }
    let follow = ["kafka.events_partitions", "kafka.analytics_partitions"];
    follow
        .iter()
        .for_each(|key| assert_eq!(listed(&cluster, key), "6", "it follows"));
    let is_of_profile = |key: &str| key == "profile" || CLUSTER.iter().any(|(own, _)| *own == key);
    for (one, three) in single.listing.iter().zip(&cluster.listing) {
        if !is_of_profile(&one.key) && !follow.contains(&one.key.as_str()) {
            assert_eq!(one, three);
        }
    }
    let store = cluster.store();
    assert_eq!(
        (store.consistency, store.readings_consistency),
        (Consistency::Quorum, ReadingsConsistency::One)
    );
    assert_eq!(cluster.schema().replication, Replication::Factor(3));
}

#[test]
fn it_can_come_from_every_layer_and_what_is_set_in_any_wins_over_it() {
    let cases = [
        resolve("profile = \"cluster\"\n", &[], &[]),
        resolve("profile = \"single\"\n", &[("IOTPIPE_PROFILE", "cluster")], &[]),
        resolve("", &[("IOTPIPE_PROFILE", "single")], &[("profile", "Cluster")]),
    ];
    for config in cases {
        assert_eq!(config.unwrap().kafka.replication_factor, 3);
    }
    // A profile that is named on the command line is still under a value that stands in the file.
    let config = resolve(
        "[kafka]\nreplication_factor = 5\n[store]\nconsistency = \"local_quorum\"\n",
        &[("KAFKA_PARTITIONS", "24")],
        &[("profile", "cluster"), ("kafka.min_insync_replicas", "3")],
    )
    .unwrap();
    assert_eq!((config.kafka.replication_factor, config.kafka.partitions), (5, 24));
    assert_eq!(config.kafka.min_insync_replicas, 3);
    assert_eq!(config.store.consistency, Consistency::LocalQuorum);
    assert_eq!(origin(&config, "store.replication"), "profile cluster");
}

/// Whoever copies the example and changes one word must get the profile: no default of its own stands in its way.
#[test]
fn in_a_copy_of_the_example_the_one_word_is_enough() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("iotpipe.example.toml");
    let example = fs::read_to_string(path).unwrap();
    let copy = example.replace("\nprofile = \"single\"\n", "\nprofile = \"cluster\"\n");
    assert_ne!(copy, example);
    let config = resolve(&copy, &[], &[]).unwrap();
    for (key, value) in CLUSTER {
        assert_eq!(
            (listed(&config, key).as_str(), origin(&config, key).as_str()),
            (*value, "profile cluster")
        );
    }
}

#[test]
fn without_it_readings_are_as_consistent_as_all_else() {
    let config = resolve("[store]\nconsistency = \"all\"\n", &[], &[]).unwrap();
    let all = ReadingsConsistency::Majority(Consistency::All);
    assert_eq!(config.store.readings_consistency, all);
    assert_eq!(origin(&config, "store.readings_consistency"), "default");
    let config = resolve(
        "profile = \"cluster\"\n",
        &[("IOTPIPE_STORE_READINGS_CONSISTENCY", "quorum")],
        &[],
    )
    .unwrap();
    let quorum = ReadingsConsistency::Majority(Consistency::Quorum);
    assert_eq!(config.store.readings_consistency, quorum);
    assert_eq!(
        origin(&config, "store.readings_consistency"),
        "env IOTPIPE_STORE_READINGS_CONSISTENCY"
    );
}

#[test]
fn a_verdict_on_what_is_stored_asks_every_replica_where_one_may_have_it_alone() {
    let config = resolve("profile = \"cluster\"\n", &[], &[]).unwrap();
    let settings = config.store_that_misses_nothing();
    let all = ReadingsConsistency::Majority(Consistency::All);
    assert_eq!(
        (settings.consistency, settings.readings_consistency),
        (Consistency::Quorum, all)
    );
}

#[test]
fn one_that_is_unknown_is_named_with_where_it_stands() {
    let words = "is not one of single|cluster";
    assert_eq!(
        error_of("profile = \"tripple\"\n", &[], &[]),
        format!("iotpipe.toml:1: profile: \"tripple\" {words}")
    );
    assert_eq!(
        error_of("", &[("IOTPIPE_PROFILE", "x")], &[]),
        format!("IOTPIPE_PROFILE: \"x\" {words}")
    );
    assert_eq!(
        error_of("", &[], &[("profile", "x")]),
        format!("--profile: \"x\" {words}")
    );
}
