//! compose.yaml: its form, and that its services fit the program and each other.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use super::{Effective, ROOT, Told, bytes, documents, pinned, read, spoiled, text, validator, value, words};

/// What both ways to start it are called.
const PROFILES: [&str; 2] = ["single", "cluster"];

pub struct Service {
    pub name: String,
    pub yaml: Value,
}

impl Service {
    pub fn all() -> Vec<Service> {
        let compose = &documents("compose.yaml")[0];
        let services = compose["services"].as_object().expect("services").clone();
        services
            .into_iter()
            .map(|(name, yaml)| Service { name, yaml })
            .collect()
    }

    /// What `docker compose --profile PROFILE up` starts.
    pub fn of(profile: &str) -> Vec<Service> {
        let mut services = Service::all();
        services.retain(|service| service.profiles().iter().any(|it| it == profile));
        services
    }

    fn profiles(&self) -> Vec<String> {
        words(&self.yaml["profiles"])
    }

    pub fn image(&self) -> &str {
        self.yaml["image"].as_str().expect("an image")
    }

    pub fn runs(&self, image: &str) -> bool {
        self.image().rsplit_once(':').is_some_and(|(name, _)| name == image)
    }

    pub fn environment(&self) -> BTreeMap<String, String> {
        let variables = self.yaml["environment"].as_object().expect("variables");
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        variables
            .iter()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect()
    }

    /// The command of iotpipe that it runs.
    fn command(&self) -> String {
        words(&self.yaml["command"])[0].clone()
    }

    fn effective(&self) -> Effective {
        let told = Told {
            name: self.name.clone(),
            arguments: words(&self.yaml["command"]),
            environment: self.environment(),
        };
        told.effective()
    }

    /// Whom it waits for, and what for.
    fn waits_for(&self) -> BTreeMap<String, String> {
        let dependencies = self.yaml["depends_on"].as_object().cloned().unwrap_or_default();
        let condition = |it: &Value| it["condition"].as_str().expect("a condition").to_owned();
        dependencies
            .iter()
            .map(|(name, it)| (name.clone(), condition(it)))
            .collect()
    }

    /// Ports on the machine.
    fn ports(&self) -> Vec<u16> {
        let ports = self.yaml.get("ports").map(words).unwrap_or_default();
        let on_loopback = |port: &String| {
            let rest = port.strip_prefix("127.0.0.1:");
            let rest = rest.unwrap_or_else(|| panic!("{}: {port} is open to other machines", self.name));
            rest.split(':').next().and_then(|it| it.parse().ok()).expect("a port")
        };
        ports.iter().map(on_loopback).collect()
    }

    fn memory_bytes(&self) -> u64 {
        bytes(self.yaml["mem_limit"].as_str().expect("mem_limit"))
    }

    /// The largest heap of a Java process.
    fn heap_bytes(&self) -> Option<u64> {
        let environment = self.environment();
        if let Some(heap) = environment.get("MAX_HEAP_SIZE") {
            return Some(bytes(heap));
        }
        let options = ["KAFKA_HEAP_OPTS", "JAVA_OPTS", "JAVA_OPTS_APPEND"].map(|name| environment.get(name));
        let options = options.into_iter().flatten().flat_map(|it| it.split_whitespace());
        options
            .filter_map(|option| option.strip_prefix("-Xmx"))
            .map(bytes)
            .next()
    }
}

fn pipelines() -> Vec<Service> {
    let mut services = Service::all();
    services.retain(|service| service.runs("iotpipe"));
    assert_eq!(services.len(), 6, "init, producer and consumer, twice");
    services
}

fn validate(file: &std::path::Path) -> (bool, String) {
    let output = validator("check-jsonschema")
        .args(["--builtin-schema", "vendor.compose-spec"])
        .arg(file)
        .output()
        .expect("the validator runs");
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn the_compose_file_follows_the_compose_specification() {
    let (valid, said) = validate(&std::path::Path::new(ROOT).join("compose.yaml"));
    assert!(valid, "{said}");
    let directory = tempfile::tempdir().unwrap();
    let wrong = spoiled("compose.yaml", "healthcheck:", "helthcheck:", directory.path());
    let (valid, said) = validate(&wrong);
    assert!(!valid && said.contains("helthcheck"), "{said}");
}

#[test]
fn the_program_understands_what_compose_tells_it() {
    for service in pipelines() {
        let effective = service.effective();
        assert_eq!(value(&effective, "kafka.topic"), "iot_sensor_data");
        assert!(value(&effective, "store.url").ends_with("/iot_data"));
        // The read-only file system has no place for it.
        assert_eq!(value(&effective, "log.file"), "none");
    }
}

#[test]
fn a_variable_that_sets_nothing_is_noticed() {
    let told = |name: &str| Told {
        name: "test".to_owned(),
        arguments: vec!["consume".to_owned()],
        environment: BTreeMap::from([(name.to_owned(), "x".to_owned())]),
    };
    told("KAFKA_TOPIC_NAME").effective();
    let unnoticed = std::panic::catch_unwind(|| told("KAFKA_TOPIC").effective());
    assert!(unnoticed.is_err());
}

#[test]
fn services_find_each_other() {
    for profile in PROFILES {
        let services = Service::of(profile);
        let brokers: BTreeSet<String> = services
            .iter()
            .filter(|service| service.runs("apache/kafka"))
            .map(|service| format!("{}:9092", service.name))
            .collect();
        let nodes: BTreeSet<String> = services
            .iter()
            .filter(|service| service.runs("cassandra"))
            .map(|service| format!("{}:9042", service.name))
            .collect();
        for service in services.iter().filter(|service| service.runs("iotpipe")) {
            let effective = service.effective();
            let named: BTreeSet<String> = value(&effective, "kafka.brokers")
                .split(',')
                .map(str::to_owned)
                .collect();
            assert_eq!(named, brokers, "{}", service.name);
            let url = value(&effective, "store.url").trim_start_matches("cassandra://");
            let hosts = url.split('/').next().expect("hosts");
            assert_eq!(
                hosts.split(',').map(str::to_owned).collect::<BTreeSet<_>>(),
                nodes,
                "{}",
                service.name
            );
        }
        let ui: Vec<&Service> = services
            .iter()
            .filter(|it| it.runs("ghcr.io/kafbat/kafka-ui"))
            .collect();
        assert_eq!((ui.len(), ui[0].ports()), (1, vec![8080]));
        let named = ui[0].environment()["KAFKA_CLUSTERS_0_BOOTSTRAPSERVERS"].clone();
        assert_eq!(named.split(',').map(str::to_owned).collect::<BTreeSet<_>>(), brokers);
    }
}

#[test]
fn brokers_are_reached_from_inside_and_from_the_machine() {
    let mut expected_port = BTreeMap::from([("single", 29092..29093), ("cluster", 29092..29095)]);
    for profile in PROFILES {
        let mut ports = expected_port.remove(profile).expect("known");
        for broker in Service::of(profile).iter().filter(|it| it.runs("apache/kafka")) {
            let port = ports.next().expect("not that many brokers");
            assert_eq!(broker.ports(), [port]);
            let environment = broker.environment();
            let name = &broker.name;
            assert_eq!(
                environment["KAFKA_ADVERTISED_LISTENERS"],
                format!("INSIDE://{name}:9092,HOST://127.0.0.1:{port}")
            );
            let listeners = format!("INSIDE://:9092,HOST://:{port},CONTROLLER://:9093");
            assert_eq!(environment["KAFKA_LISTENERS"], listeners);
            let voter = format!("{}@{name}:9093", environment["KAFKA_NODE_ID"]);
            let voters: Vec<&str> = environment["KAFKA_CONTROLLER_QUORUM_VOTERS"].split(',').collect();
            assert!(voters.contains(&voter.as_str()), "{voter} is none of {voters:?}");
        }
        assert_eq!(ports.next(), None, "{profile}: brokers are missing");
    }
}

#[test]
fn services_start_when_what_they_need_is_there() {
    for profile in PROFILES {
        let services = Service::of(profile);
        let find = |name: &str| {
            let found = services.iter().find(|service| service.name == name);
            found.unwrap_or_else(|| panic!("{profile}: no {name}"))
        };
        for service in &services {
            for (name, condition) in service.waits_for() {
                match condition.as_str() {
                    "service_healthy" => assert!(find(&name).yaml["healthcheck"].is_object(), "{name}"),
                    "service_completed_successfully" => assert_eq!(find(&name).command(), "init-schema"),
                    other => panic!("{}: {other}", service.name),
                }
            }
        }
        // All that must be up before, directly or not.
        let before = |service: &Service| {
            let mut all: BTreeSet<String> = BTreeSet::new();
            let mut next: Vec<String> = service.waits_for().into_keys().collect();
            while let Some(name) = next.pop() {
                next.extend(find(&name).waits_for().into_keys());
                all.insert(name);
            }
            all
        };
        let of = |image: &str| -> Vec<&Service> { services.iter().filter(|it| it.runs(image)).collect() };
        let servers = of("apache/kafka").into_iter().chain(of("cassandra"));
        let servers: BTreeSet<String> = servers.map(|it| it.name.clone()).collect();
        for pipeline in of("iotpipe") {
            assert!(before(pipeline).is_superset(&servers), "{}", pipeline.name);
            if pipeline.command() != "init-schema" {
                let conditions: Vec<String> = pipeline.waits_for().into_values().collect();
                assert_eq!(conditions, ["service_completed_successfully"], "{}", pipeline.name);
            }
        }
        // Nodes join the ring one at a time: of any two, one waits for the other.
        let nodes = of("cassandra");
        for (at, one) in nodes.iter().enumerate() {
            for other in &nodes[at + 1..] {
                assert!(before(other).contains(&one.name) || before(one).contains(&other.name));
            }
        }
    }
}

#[test]
fn consumers_can_be_more_than_one() {
    for service in pipelines().iter().filter(|it| it.command() == "consume") {
        for fixed in ["container_name", "hostname", "ports", "volumes"] {
            assert_eq!(service.yaml[fixed], Value::Null, "{}: {fixed}", service.name);
        }
        assert_eq!(service.effective()["consume.instance_id"].0, "none");
    }
}

#[test]
fn a_consumer_has_the_time_to_finish_its_writes() {
    for service in pipelines().iter().filter(|it| it.command() == "consume") {
        let given = super::seconds(service.yaml["stop_grace_period"].as_str().expect("a duration"));
        let needed = super::seconds(value(&service.effective(), "consume.drain_timeout"));
        assert!(given >= needed + 5, "{}: {given} s", service.name);
        let check = words(&service.yaml["healthcheck"]["test"]);
        assert_eq!(check[0], "CMD");
        iotpipe::cli::parse(&check[1..]).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn topics_and_keyspace_are_made_for_the_servers_that_there_are() {
    let expected = [
        ("single", 12, 1, 1, 1, "replication_factor"),
        ("cluster", 6, 3, 2, 3, "datacenter1"),
    ];
    for (profile, partitions, replicas, in_sync, copies, place) in expected {
        let services = Service::of(profile);
        let count = |image: &str| services.iter().filter(|it| it.runs(image)).count();
        assert_eq!((count("apache/kafka"), count("cassandra")), (replicas, copies));
        let init = services
            .iter()
            .find(|it| it.runs("iotpipe") && it.command() == "init-schema");
        let output = Command::new(env!("CARGO_BIN_EXE_iotpipe"))
            .args(["init-schema", "--dry-run"])
            .env_clear()
            .envs(init.expect("a service").environment())
            .output()
            .expect("the program runs");
        let plan = text(&output.stdout);
        let topic = format!(
            "-- iot_sensor_data: partitions={partitions} replication={replicas} \
             cleanup.policy=delete min.insync.replicas={in_sync}"
        );
        assert!(plan.contains(&topic), "{profile}: {plan}");
        let keyspace = plan.lines().find(|line| line.contains("CREATE KEYSPACE"));
        let keyspace = keyspace.unwrap_or_else(|| panic!("{plan}"));
        assert!(
            keyspace.contains("iot_data") && keyspace.contains(&format!("'{place}': '{copies}'")),
            "{keyspace}"
        );
        // A broker's own topics must outlive the same broker.
        for broker in services.iter().filter(|it| it.runs("apache/kafka")) {
            let environment = broker.environment();
            for (name, value) in environment
                .iter()
                .filter(|(name, _)| name.ends_with("REPLICATION_FACTOR"))
            {
                assert_eq!(*value, replicas.to_string(), "{name}");
            }
            let isr = |name: &&String| name.ends_with("MIN_ISR") || name.ends_with("MIN_INSYNC_REPLICAS");
            for name in environment.keys().filter(isr) {
                assert_eq!(environment[name], in_sync.to_string(), "{name}");
            }
            assert_eq!(environment["KAFKA_UNCLEAN_LEADER_ELECTION_ENABLE"], "false");
        }
    }
}

#[test]
fn either_profile_fits_into_eight_gigabytes() {
    for profile in PROFILES {
        let services = Service::of(profile);
        let limits: u64 = services.iter().map(Service::memory_bytes).sum();
        assert!(limits <= 7 << 30, "{profile}: {} MiB", limits >> 20);
        for service in services.iter().filter(|it| !it.runs("iotpipe")) {
            let heap = service.heap_bytes();
            let heap = heap.unwrap_or_else(|| panic!("{}: its heap has no limit", service.name));
            assert!(
                heap * 4 <= service.memory_bytes() * 3,
                "{}: no room beside its heap",
                service.name
            );
        }
        let mut ports: Vec<u16> = services.iter().flat_map(Service::ports).collect();
        let all = ports.len();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), all, "{profile}: a port is taken twice");
    }
}

#[test]
fn images_are_one_version_each_and_those_that_were_tested() {
    let pom = |server: &str| {
        let pom = read(&format!("stack/{server}/pom.xml"));
        let (_, rest) = pom.split_once("<server.version>").expect("a version");
        rest.split('<').next().expect("a version").to_owned()
    };
    for service in Service::all() {
        let tag = pinned(service.image());
        match service.image().split(':').next() {
            Some("apache/kafka") => assert_eq!(tag, pom("kafka")),
            Some("cassandra") => assert_eq!(tag, pom("cassandra")),
            Some("iotpipe") => assert_eq!(tag, env!("CARGO_PKG_VERSION")),
            _ => {}
        }
    }
}

#[test]
fn without_a_profile_the_single_one_is_started() {
    let default: Vec<String> = read(".env")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    assert_eq!(default, ["COMPOSE_PROFILES=single"]);
    let all = Service::all();
    assert!(all.iter().all(|service| service.profiles().len() == 1));
    let names: Vec<String> = Service::of("single").into_iter().map(|it| it.name).collect();
    assert_eq!(
        names,
        ["cassandra", "consumer", "init", "kafka", "kafka-ui", "producer"]
    );
}

/// Everything named beside the services exists, and what holds data is kept.
#[test]
fn servers_keep_their_data() {
    let compose = &documents("compose.yaml")[0];
    let volumes = compose["volumes"].as_object().expect("volumes");
    let mut used = BTreeSet::new();
    for service in Service::all() {
        let directory = match service.image().split(':').next() {
            Some("apache/kafka") => service.environment()["KAFKA_LOG_DIRS"].clone(),
            Some("cassandra") => "/var/lib/cassandra".to_owned(),
            _ => continue,
        };
        let mounts = words(&service.yaml["volumes"]);
        let mount = mounts
            .iter()
            .filter_map(|it| it.split_once(':'))
            .find(|it| it.1 == directory);
        let (volume, _) = mount.unwrap_or_else(|| panic!("{}: {directory} is lost", service.name));
        assert!(
            volumes.contains_key(volume) && used.insert(volume.to_owned()),
            "{volume}"
        );
    }
    assert_eq!(used.len(), volumes.len());
}
