//! Layers over layers, contradictions, and that a secret shows up nowhere.

mod profile;

use std::fs;
use std::time::Duration;

use tempfile::TempDir;
use tracing::level_filters::LevelFilter;

use super::*;
use crate::store::{Replication, StoreUrl};

pub(super) const CANARY: &str = "canary-5f2a9";

/// Inputs with the given layers; the directory lives as long as the value.
pub(super) struct Case {
    inputs: Inputs,
    directory: TempDir,
}

pub(super) fn case(file: &str, environment: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Case {
    let directory = tempfile::tempdir().unwrap();
    if !file.is_empty() {
        fs::write(directory.path().join("iotpipe.toml"), file).unwrap();
    }
    let inputs = Inputs {
        flags: flags
            .iter()
            .map(|(key, text)| FlagSetting {
                key,
                text: (*text).to_owned(),
            })
            .collect(),
        file: None,
        environment: environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect(),
        directory: directory.path().to_owned(),
    };
    Case { inputs, directory }
}

pub(super) fn resolve(
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> Result<Config, String> {
    Config::resolve(&case(file, environment, flags).inputs).map_err(|error| error.0)
}

pub(super) fn error_of(file: &str, environment: &[(&str, &str)], flags: &[(&'static str, &str)]) -> String {
    let error = resolve(file, environment, flags).expect_err("it should be refused");
    assert!(!error.contains('\n'), "{error}");
    error
}

pub(super) fn origin(config: &Config, key: &str) -> String {
    config
        .listing
        .iter()
        .find(|it| it.key == key)
        .map(|it| it.origin.to_string())
        .expect(key)
}

pub(super) fn listed(config: &Config, key: &str) -> String {
    config
        .listing
        .iter()
        .find(|it| it.key == key)
        .map(|it| it.value.clone())
        .expect(key)
}

#[test]
fn nothing_given_is_the_defaults() {
    let config = Config::default();
    assert_eq!(config.kafka.brokers, "127.0.0.1:9092");
    assert_eq!(config.kafka.dlq_topic, "iot_sensor_data.dlq");
    assert_eq!(config.kafka.analytics_partitions, 12);
    assert_eq!(config.kafka.retention, Some(Duration::from_secs(7 * 86_400)));
    assert_eq!(config.store.url.to_string(), "cassandra://127.0.0.1:9042/iot_data");
    assert_eq!(config.consume.max_payload, ByteSize(1 << 20));
    assert_eq!((config.produce.sensors, config.produce.rate), (1000, 3500.0));
    assert_eq!(config.produce.interval_s(), 1000.0 / 3500.0);
    assert_eq!(config.log.level, LevelFilter::INFO);
    assert!(config.warnings.is_empty() && config.listing.iter().all(|it| it.origin == Origin::Default));
    let rules = config.listing.iter().filter(|it| it.key.starts_with("rules.")).count();
    assert_eq!(config.listing.len() - rules, SETTINGS.len());
    assert_eq!(
        config.windows,
        WindowsConfig {
            enabled: true,
            sizes: WindowSizes(vec![60, 3600])
        }
    );
    assert!(config.alerts.enabled && !config.analytics.enabled);
}

#[test]
fn each_layer_wins_over_the_one_below() {
    let file = "[kafka]\ntopic = \"of-file\"\n";
    let variable = [("KAFKA_TOPIC_NAME", "of-variable")];
    let flag = [("kafka.topic", "of-flag")];
    let (none, no_flag) = ([].as_slice(), [].as_slice());
    let (variable, flag) = (variable.as_slice(), flag.as_slice());
    let cases = [
        (file, none, no_flag, "of-file", "file iotpipe.toml:2"),
        ("", variable, no_flag, "of-variable", "env KAFKA_TOPIC_NAME"),
        ("", none, flag, "of-flag", "flag --topic"),
        (file, variable, no_flag, "of-variable", "env KAFKA_TOPIC_NAME"),
        (file, none, flag, "of-flag", "flag --topic"),
        ("", variable, flag, "of-flag", "flag --topic"),
    ];
    for (file, environment, flags, topic, from) in cases {
        let config = resolve(file, environment, flags).unwrap();
        assert_eq!(
            (config.kafka.topic.as_str(), origin(&config, "kafka.topic").as_str()),
            (topic, from)
        );
        assert_eq!(config.kafka.dlq_topic, format!("{topic}.dlq"), "the default follows");
        assert_eq!(origin(&config, "kafka.dlq_topic"), "default");
    }
}

#[test]
fn every_setting_can_come_from_its_own_variable() {
    for setting in SETTINGS {
        let text = Config::default()
            .listing
            .iter()
            .find(|it| it.key == setting.key)
            .unwrap()
            .value
            .clone();
        if text.is_empty() {
            continue;
        }
        let config = resolve("", &[(&setting.variable(), &text)], &[]).unwrap();
        assert_eq!(origin(&config, setting.key), format!("env {}", setting.variable()));
        assert!(config.warnings.is_empty());
    }
}

#[test]
fn names_that_people_use_already_work() {
    let environment = [
        ("KAFKA_BOOTSTRAP_SERVERS", "k1:9092,k2:9092"),
        ("KAFKA_CONSUMER_GROUP_ID", "g"),
        ("KAFKA_AUTO_OFFSET_RESET", "latest"),
        ("KAFKA_NUM_PARTITIONS", "6"),
        ("KAFKA_REPLICATION_FACTOR", "3"),
        ("CASSANDRA_HOST", "c1, c2"),
        ("CASSANDRA_PORT", "9142"),
        ("PRODUCER_TARGET_RATE", "100"),
        ("IOT_NUM_DEVICES", "50"),
        ("IOT_DEVICE_TYPES", "temperature, motion"),
        ("IOT_ANOMALY_PROBABILITY", "0.05"),
        ("LOG_LEVEL", "WARNING"),
        ("ENVIRONMENT", "production"),
    ];
    let config = resolve("", &environment, &[]).unwrap();
    assert_eq!(
        (config.kafka.brokers.as_str(), config.kafka.partitions),
        ("k1:9092,k2:9092", 6)
    );
    assert_eq!(
        (config.consume.group.as_str(), config.consume.start),
        ("g", Start::Latest)
    );
    assert_eq!(config.kafka.replication_factor, 3);
    assert_eq!(config.store.url.to_string(), "cassandra://c1:9142,c2:9142/iot_data");
    assert_eq!(config.produce.interval_s(), 0.5);
    assert_eq!(config.produce.kinds, ["temperature", "motion"]);
    assert_eq!(config.faults.anomaly_probability, 0.05);
    assert_eq!(
        (config.log.level, config.log.file.as_deref()),
        (LevelFilter::WARN, Some("iotpipe.log"))
    );
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn two_names_of_one_setting_must_agree() {
    let agreeing = [("KAFKA_PARTITIONS", "6"), ("KAFKA_NUM_PARTITIONS", "6")];
    assert_eq!(resolve("", &agreeing, &[]).unwrap().kafka.partitions, 6);
    let contradicting = [("KAFKA_PARTITIONS", "6"), ("KAFKA_NUM_PARTITIONS", "7")];
    let error = "KAFKA_PARTITIONS and KAFKA_NUM_PARTITIONS contradict each other: 6 and 7";
    assert_eq!(error_of("", &contradicting, &[]), error);
    assert_eq!(
        error_of("", &contradicting, &[("kafka.partitions", "8")]),
        error,
        "a slip stays one"
    );
    let error = error_of(
        "",
        &[
            ("IOTPIPE_STORE", "cassandra://u:canary@h/k"),
            ("IOTPIPE_STORE_URL", "sqlite:x"),
        ],
        &[],
    );
    assert_eq!(error, "IOTPIPE_STORE_URL and IOTPIPE_STORE contradict each other");
}

#[test]
fn host_and_port_are_parts_of_the_stores_address() {
    let url = |file, environment: &[(&str, &str)]| resolve(file, environment, &[]).map(|it| it.store.url.to_string());
    let host = ("CASSANDRA_HOST", "db");
    assert_eq!(url("", &[host]), Ok("cassandra://db:9042/iot_data".into()));
    assert_eq!(
        url("", &[("CASSANDRA_PORT", "1")]),
        Ok("cassandra://127.0.0.1:1/iot_data".into())
    );
    assert!(url("", &[("CASSANDRA_HOST", "::1")]).is_err(), "brackets are missing");
    assert_eq!(
        url("", &[("CASSANDRA_HOST", "[::1]"), ("CASSANDRA_PORT", "99")]),
        Ok("cassandra://[::1]:99/iot_data".into())
    );
    let file = "[store]\nurl = \"cassandra://elsewhere:77/k\"\n";
    assert_eq!(
        url(file, &[host]),
        Ok("cassandra://db:9042/k".into()),
        "the keyspace stays"
    );
    assert_eq!(
        url(file, &[("CASSANDRA_PORT", "78")]),
        Ok("cassandra://elsewhere:78/k".into()),
        "the host stays"
    );
    assert_eq!(
        url("[store]\nurl = \"sqlite:x\"\n", &[host]),
        Ok("cassandra://db:9042/iot_data".into())
    );
    assert_eq!(
        url("", &[host, ("IOTPIPE_STORE", "cassandra://db/k")]),
        Ok("cassandra://db:9042/k".into())
    );

    let other = [host, ("IOTPIPE_STORE", "cassandra://other/k")];
    let error =
        "IOTPIPE_STORE and CASSANDRA_HOST contradict each other: cassandra://other:9042/k and cassandra://db:9042/k";
    assert_eq!(error_of("", &other, &[]), error);
    assert!(error_of("", &[host, ("IOTPIPE_STORE", "sqlite:x")], &[]).contains("contradict each other"));
    assert!(error_of("", &[("CASSANDRA_HOST", "db:1"), ("CASSANDRA_PORT", "2")], &[]).contains("1 and 2"));
    assert!(error_of("", &[("CASSANDRA_PORT", "many")], &[]).starts_with("CASSANDRA_PORT: "));
    let config = resolve("", &[host], &[("store.url", "sqlite:x")]).unwrap();
    assert_eq!(
        config.store.url,
        StoreUrl::Sqlite { path: "x".into() },
        "the flag wins over its parts below"
    );
}

#[test]
fn of_rate_and_interval_the_higher_layer_wins_and_the_other_follows() {
    let load = |environment: &[(&str, &str)], flags: &[(&'static str, &str)]| {
        let produce = resolve("", environment, flags).unwrap().produce;
        (produce.sensors, produce.rate, produce.interval_s())
    };
    let (rate, interval) = (("PRODUCER_TARGET_RATE", "100"), ("IOT_DATA_INTERVAL_SEC", "10"));
    assert_eq!(load(&[interval], &[]), (1000, 100.0, 10.0), "over the default rate");
    assert_eq!(load(&[rate], &[("produce.interval", "2")]), (1000, 500.0, 2.0));
    assert_eq!(load(&[interval], &[("produce.rate", "500")]), (1000, 500.0, 2.0));
    assert_eq!(load(&[], &[("produce.sensors", "70")]), (70, 3500.0, 0.02));
    assert_eq!(
        load(&[], &[("produce.rate", "10"), ("produce.interval", "5")]),
        (50, 10.0, 5.0),
        "sensors follow"
    );
    assert_eq!(load(&[], &[("produce.rate", "0")]), (1000, 0.0, 1.0));
    assert_eq!(
        load(&[interval], &[("produce.rate", "0")]),
        (1000, 0.0, 10.0),
        "as fast as possible, 10 s of event time"
    );
    let config = resolve("", &[rate], &[("produce.interval", "2")]).unwrap();
    assert_eq!(
        (
            listed(&config, "produce.rate").as_str(),
            origin(&config, "produce.rate").as_str()
        ),
        ("500", "flag --interval")
    );
}

#[test]
fn sensors_rate_and_interval_of_one_layer_must_agree() {
    let given = |sensors| {
        [
            ("produce.sensors", sensors),
            ("produce.rate", "10"),
            ("produce.interval", "500ms"),
        ]
    };
    assert!(resolve("", &[], &given("5")).is_ok());
    let error =
        "--sensors, --rate and --interval contradict each other: 6 sensors every 0.5 s are 12 records/s, not 10";
    assert_eq!(error_of("", &[], &given("6")), error);
    let below = [("PRODUCER_TARGET_RATE", "10"), ("IOT_DATA_INTERVAL_SEC", "1")];
    assert!(
        error_of("", &below, &[("produce.sensors", "50")]).contains("PRODUCER_TARGET_RATE and IOT_DATA_INTERVAL_SEC")
    );
    let file = "[produce]\nsensors = 6\nrate = 10\ninterval = 0.5\n";
    assert!(error_of(file, &[], &[]).starts_with("iotpipe.toml:2: produce.sensors, iotpipe.toml:3: produce.rate"));
}

#[test]
fn an_interval_under_a_millisecond_is_refused() {
    assert!(error_of("", &[], &[("produce.interval", "0.0005")]).starts_with("--interval: "));
    assert!(error_of("", &[], &[("produce.rate", "2000000")]).starts_with("--rate: "));
    assert!(error_of("", &[], &[("produce.interval", "-1")]).starts_with("--interval: "));
}

#[test]
fn a_bad_value_is_named_by_where_it_stands() {
    let wanted = r#""x" is no whole number of -2147483648..=2147483647"#;
    assert_eq!(
        error_of("", &[], &[("kafka.partitions", "x")]),
        format!("--partitions: {wanted}")
    );
    assert_eq!(
        error_of("", &[("KAFKA_NUM_PARTITIONS", "x")], &[]),
        format!("KAFKA_NUM_PARTITIONS: {wanted}")
    );
    assert_eq!(
        error_of("[kafka]\npartitions = 0\n", &[], &[]),
        "iotpipe.toml:2: kafka.partitions: 0 is not in 1..=100000"
    );
    assert!(
        error_of("", &[("IOT_ANOMALY_PROBABILITY", "1.5")], &[]).starts_with("IOT_ANOMALY_PROBABILITY: 1.5 is not in")
    );
    assert!(error_of("", &[], &[("store.readings_ttl", "1h")]).starts_with("--readings-ttl: 1h is not in 2d..="));
    assert!(error_of("", &[], &[("store.url", "postgres://x")]).starts_with("--store: "));
    assert!(error_of("", &[], &[("kafka.brokers", "")]).starts_with("--brokers: is empty"));
}

#[test]
fn a_missing_file_is_an_error_only_where_it_was_named() {
    assert!(resolve("", &[], &[]).is_ok());
    assert!(
        error_of("", &[("IOTPIPE_CONFIG", "gone.toml")], &[]).starts_with("IOTPIPE_CONFIG: cannot read gone.toml: ")
    );
    let mut case = case(
        "[kafka]\ntopic = \"default-file\"\n",
        &[("IOTPIPE_CONFIG", "other.toml")],
        &[],
    );
    fs::write(case.directory.path().join("other.toml"), "[kafka]\ntopic = \"other\"\n").unwrap();
    assert_eq!(Config::resolve(&case.inputs).unwrap().kafka.topic, "other");
    case.inputs.file = Some("gone.toml".into());
    assert!(
        Config::resolve(&case.inputs)
            .unwrap_err()
            .0
            .starts_with("--config: cannot read gone.toml: ")
    );
}

#[test]
fn an_unknown_variable_of_ours_is_a_warning() {
    let environment = [
        ("IOTPIPE_KAFKA_TOPICS", "x"),
        ("IOTPIPE_TEST_X", "x"),
        ("IOTPIPE_STACK_DIR", "x"),
        ("OTHER", "x"),
    ];
    let config = resolve("", &environment, &[]).unwrap();
    assert_eq!(
        config.warnings,
        ["IOTPIPE_KAFKA_TOPICS is no variable of iotpipe; did you mean IOTPIPE_KAFKA_TOPIC?"]
    );
}

#[test]
fn production_logs_to_a_file_unless_told_which() {
    let production = ("ENVIRONMENT", "production");
    let file = |file, environment: &[(&str, &str)]| resolve(file, environment, &[]).unwrap().log.file;
    assert_eq!(file("", &[production]).as_deref(), Some("iotpipe.log"));
    assert_eq!(
        file("[log]\nfile = \"x.log\"\n", &[production]).as_deref(),
        Some("x.log")
    );
    assert_eq!(file("", &[production, ("IOTPIPE_LOG_FILE", "none")]), None);
    assert_eq!(file("", &[("ENVIRONMENT", "development")]), None);
}

#[test]
fn a_secret_shows_up_nowhere() {
    let file =
        format!("[kafka]\nusername = \"me\"\n[kafka.properties]\nssl.key.password = \"{CANARY}\"\nlinger.ms = 5\n");
    let environment = [
        ("IOTPIPE_KAFKA_PASSWORD", CANARY),
        ("IOTPIPE_CASSANDRA_PASSWORD", CANARY),
        ("IOTPIPE_REGISTRY_PASSWORD", CANARY),
    ];
    let config = resolve(&file, &environment, &[]).unwrap();
    let shown = format!(
        "{config:?} {:#?} {:?} {:?}",
        config.listing,
        config.kafka(),
        config.store()
    );
    assert!(!shown.contains(CANARY), "{shown}");
    assert_eq!(listed(&config, "kafka.password"), "***");
    assert_eq!(origin(&config, "store.password"), "env IOTPIPE_CASSANDRA_PASSWORD");
    assert_eq!(listed(&config, "kafka.properties.ssl.key.password"), "***");
    assert_eq!(listed(&config, "kafka.properties.linger.ms"), "5");

    let properties = config.kafka().properties;
    assert_eq!(
        (
            properties["sasl.username"].as_str(),
            properties["sasl.password"].as_str()
        ),
        ("me", CANARY)
    );
    assert_eq!(properties["ssl.key.password"], CANARY, "the client gets it");
    assert_eq!(
        config.store().password.map(|it| it.expose().to_owned()).as_deref(),
        Some(CANARY)
    );
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    let url = format!("cassandra://me:{CANARY}@db/k");
    let in_array = format!("[kafka]\nproperties = \"{CANARY}\"\n");
    let broken = format!("[kafka.properties]\nsasl.password = {CANARY}\n");
    for error in [
        error_of("", &[], &[("store.url", &url)]),
        error_of("", &[("IOTPIPE_STORE", &url)], &[]),
        error_of("", &[("IOTPIPE_STORE", &url), ("CASSANDRA_HOST", "db")], &[]),
        error_of(&format!("[store]\nurl = \"{url}\"\n"), &[], &[]),
        error_of(&format!("[kafka]\npassword = \"{CANARY}\"\n"), &[], &[]),
        error_of(&in_array, &[], &[]),
        error_of(&broken, &[], &[]),
    ] {
        assert!(!error.contains(CANARY), "{error}");
    }
}

#[test]
fn a_password_can_be_in_a_file_of_its_own() {
    let case = case("", &[], &[]);
    let path = case.directory.path().join("password");
    fs::write(&path, format!("{CANARY} \n")).unwrap();
    let path = path.to_str().unwrap();
    let config = resolve("", &[("IOTPIPE_KAFKA_PASSWORD_FILE", path)], &[]).unwrap();
    assert_eq!(
        config.passwords.kafka.as_ref().map(Secret::expose),
        Some(format!("{CANARY} ").as_str()),
        "blanks belong to it"
    );
    assert_eq!(origin(&config, "kafka.password"), "env IOTPIPE_KAFKA_PASSWORD_FILE");

    let both = [
        ("IOTPIPE_KAFKA_PASSWORD", CANARY),
        ("IOTPIPE_KAFKA_PASSWORD_FILE", path),
    ];
    let error = error_of("", &both, &[]);
    assert!(error.contains("both set") && !error.contains(CANARY), "{error}");
    let error = error_of("", &[("IOTPIPE_CASSANDRA_PASSWORD_FILE", "/nonexistent/x")], &[]);
    assert!(
        error.starts_with("IOTPIPE_CASSANDRA_PASSWORD_FILE: cannot read /nonexistent/x: "),
        "{error}"
    );
}

#[test]
fn the_rooms_get_their_settings() {
    let config = resolve(
        "[store]\nreplication = \"a=3,b=2\"\nreadings_ttl = \"90d\"\nsqlite_synchronous = \"off\"\n",
        &[],
        &[],
    );
    let config = config.unwrap();
    assert_eq!(config.schema().readings_ttl_s, Some(90 * 86_400));
    let factors = [("a".to_owned(), 3), ("b".to_owned(), 2)].into();
    assert_eq!(config.schema().replication, Replication::PerDataCentre(factors));
    assert!(!config.store().sqlite_synchronous_full);
    assert_eq!(config.kafka().brokers, "127.0.0.1:9092");
    assert!(config.kafka().properties.is_empty());
}
