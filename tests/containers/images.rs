//! What the images of Kafka and Cassandra make of compose.yaml: Kafka's image is asked itself, since the program in it that
//! turns variables into a configuration is in Kafka's jars.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::compose::Service;
use super::{ROOT, text};

/// Variables that the image's scripts read and that are no setting of the broker.
const NO_SETTING: [&str; 2] = ["CLUSTER_ID", "KAFKA_HEAP_OPTS"];

/// What the entry point of Cassandra's image puts into cassandra.yaml, and what cassandra-env.sh reads.
const OF_CASSANDRA: [&str; 13] = [
    "CASSANDRA_BROADCAST_ADDRESS",
    "CASSANDRA_BROADCAST_RPC_ADDRESS",
    "CASSANDRA_CLUSTER_NAME",
    "CASSANDRA_DC",
    "CASSANDRA_ENDPOINT_SNITCH",
    "CASSANDRA_LISTEN_ADDRESS",
    "CASSANDRA_NUM_TOKENS",
    "CASSANDRA_RACK",
    "CASSANDRA_RPC_ADDRESS",
    "CASSANDRA_SEEDS",
    "HEAP_NEWSIZE",
    "JVM_EXTRA_OPTS",
    "MAX_HEAP_SIZE",
];

/// Kafka's jars, which the stack fetches where they are not yet.
fn class_path() -> &'static str {
    static CLASS_PATH: OnceLock<String> = OnceLock::new();
    CLASS_PATH.get_or_init(|| {
        let output = Command::new(Path::new(ROOT).join("stack/stack"))
            .args(["jars", "kafka"])
            .output()
            .expect("the script runs");
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).lines().last().expect("a line").to_owned()
    })
}

/// Java with Kafka's jars and no other variable.
fn java() -> Command {
    let home = std::env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
    let mut java = Command::new(home.unwrap_or_else(|| "java".into()));
    java.env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("CLASSPATH", class_path())
        .args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    java
}

/// Names of all settings of a broker, from Kafka itself.
fn settings_of_a_broker() -> BTreeSet<String> {
    let directory = tempfile::tempdir().expect("a directory");
    let source = directory.path().join("Names.java");
    let program = "public class Names { public static void main(String[] none) { \
        org.apache.kafka.server.config.AbstractKafkaConfig.CONFIG_DEF.names().forEach(System.out::println); } }";
    fs::write(&source, program).expect("writable");
    let output = java().arg(&source).output().expect("java runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(str::to_owned).collect()
}

/// What the image does before it starts the broker: writes server.properties and formats the directory of the data.
fn set_up(environment: &BTreeMap<String, String>, directory: &Path) -> Result<BTreeMap<String, String>, String> {
    let folder = |name: &str| {
        let folder = directory.join(name);
        fs::create_dir_all(&folder).expect("writable");
        folder
    };
    let output = java()
        .envs(environment)
        .env("KAFKA_LOG_DIRS", folder("data"))
        .args(["kafka.docker.KafkaDockerWrapper", "setup"])
        .arg("--default-configs-dir")
        .arg(folder("default"))
        .arg("--mounted-configs-dir")
        .arg(folder("mounted"))
        .arg("--final-configs-dir")
        .arg(folder("final"))
        .output()
        .expect("java runs");
    if !output.status.success() {
        return Err(text(&output.stdout) + &text(&output.stderr));
    }
    assert!(directory.join("data/meta.properties").exists(), "not formatted");
    let properties = fs::read_to_string(directory.join("final/server.properties")).expect("written");
    let properties = properties.lines().filter_map(|line| line.split_once('='));
    Ok(properties
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect())
}

#[test]
fn the_image_of_kafka_makes_a_broker_of_the_settings() {
    let known = settings_of_a_broker();
    assert!(known.contains("min.insync.replicas") && known.len() > 200);
    for profile in ["single", "cluster"] {
        for broker in Service::of(profile).iter().filter(|it| it.runs("apache/kafka")) {
            let (name, directory) = (&broker.name, tempfile::tempdir().expect("a directory"));
            let environment = broker.environment();
            let properties = set_up(&environment, directory.path()).unwrap_or_else(|said| panic!("{name}: {said}"));
            for key in properties.keys() {
                assert!(known.contains(key), "{name}: a broker has no setting {key}");
            }
            let wanted = environment
                .keys()
                .filter(|name| !NO_SETTING.contains(&name.as_str()))
                .count();
            assert_eq!(properties.len(), wanted, "{name}: {properties:?}");
            assert_eq!(properties["node.id"], environment["KAFKA_NODE_ID"]);
            let id = fs::read_to_string(directory.path().join("data/meta.properties")).expect("readable");
            assert!(
                id.contains(&format!("cluster.id={}", environment["CLUSTER_ID"])),
                "{id}"
            );
        }
    }
}

#[test]
fn the_image_of_kafka_refuses_settings_that_do_not_fit() {
    let broker = &Service::of("cluster")[..];
    let broker = broker.iter().find(|it| it.runs("apache/kafka")).expect("a broker");
    let mut environment = broker.environment();
    environment.insert("KAFKA_NODE_ID".to_owned(), "9".to_owned());
    let directory = tempfile::tempdir().expect("a directory");
    let refused = set_up(&environment, directory.path());
    assert!(
        refused.as_ref().is_err_and(|said| said.contains("voters")),
        "{refused:?}"
    );
}

#[test]
fn the_image_of_cassandra_knows_the_variables() {
    for profile in ["single", "cluster"] {
        let services = Service::of(profile);
        for node in services.iter().filter(|it| it.runs("cassandra")) {
            for variable in node.environment().keys() {
                assert!(OF_CASSANDRA.contains(&variable.as_str()), "{}: {variable}", node.name);
            }
            let seed = node.environment().get("CASSANDRA_SEEDS").cloned();
            let is_node = |seed: &String| services.iter().any(|it| it.runs("cassandra") && it.name == *seed);
            assert!(seed.as_ref().is_none_or(is_node), "{}: {seed:?}", node.name);
            assert_eq!(seed.is_some(), profile == "cluster");
        }
    }
}
