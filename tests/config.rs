//! The real binary: exit codes, messages and the output of `iotpipe config`, in an empty environment and directory.

use std::fs;
use std::process::{Command, Output, Stdio};
#[cfg(target_os = "linux")]
use std::time::Duration;

use tempfile::TempDir;

const CANARY: &str = "canary-5f2a9";

struct Place(TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_iotpipe"));
        command
            .env_clear()
            .current_dir(self.0.path())
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
        let output: Output = self
            .command(arguments)
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// Runs it for the one line on stderr that a usage error is.
    fn usage_error(&self, arguments: &[&str], environment: &[(&str, &str)]) -> String {
        let (code, stdout, stderr) = self.run(arguments, environment);
        assert_eq!(
            (code, stdout.as_str(), stderr.lines().count()),
            (Some(2), "", 1),
            "{stderr}"
        );
        stderr.strip_prefix("iotpipe: ").expect(&stderr).trim_end().to_owned()
    }
}

#[test]
fn help_and_version_end_with_0_and_no_command_with_2() {
    let place = Place::new();
    let (code, stdout, _) = place.run(&["--help"], &[]);
    assert!(code == Some(0) && stdout.contains("Usage: iotpipe") && stdout.contains("Examples:"));
    let (code, stdout, _) = place.run(&["--version"], &[]);
    assert_eq!(
        (code, stdout.trim_end()),
        (Some(0), concat!("iotpipe ", env!("CARGO_PKG_VERSION")))
    );
    let (code, stdout, stderr) = place.run(&[], &[]);
    assert!(
        code == Some(2) && stdout.is_empty() && stderr.contains("Usage: iotpipe"),
        "{stderr}"
    );
}

#[test]
fn wrong_arguments_are_one_line_and_exit_2() {
    let place = Place::new();
    assert!(place.usage_error(&["config", "--colour"], &[]).contains("'--colour'"));
    assert!(place.usage_error(&["confih"], &[]).contains("'confih'"));
    assert!(
        place
            .usage_error(&["config", "--partitions", "many"], &[])
            .starts_with("--partitions: \"many\" is no whole")
    );
    assert!(
        place
            .usage_error(&["config", "--config", "gone.toml"], &[])
            .starts_with("--config: cannot read gone.toml: ")
    );
}

#[test]
fn a_wrong_environment_or_file_is_one_line_and_exit_2() {
    let place = Place::new();
    let contradicting = [("KAFKA_PARTITIONS", "6"), ("KAFKA_NUM_PARTITIONS", "7")];
    assert!(
        place
            .usage_error(&["consume"], &contradicting)
            .contains("contradict each other")
    );
    assert!(
        place
            .usage_error(&["consume"], &[("LOG_LEVEL", "loud")])
            .starts_with("LOG_LEVEL: \"loud\" is not one of")
    );
    fs::write(place.0.path().join("iotpipe.toml"), "[kafka]\nborkers = \"x\"\n").unwrap();
    let error = place.usage_error(&["consume"], &[]);
    assert_eq!(
        error,
        "iotpipe.toml:2: unknown key kafka.borkers; did you mean kafka.brokers?"
    );
    fs::write(place.0.path().join("iotpipe.toml"), "[kafka\n").unwrap();
    assert!(place.usage_error(&["consume"], &[]).starts_with("iotpipe.toml:1: "));
}

#[test]
fn config_shows_every_value_with_its_origin_and_no_secret() {
    let place = Place::new();
    let file = format!("[kafka]\npartitions = 3\n[kafka.properties]\n\"ssl.key.password\" = \"{CANARY}\"\n");
    fs::write(place.0.path().join("iotpipe.toml"), file).unwrap();
    let environment = [
        ("IOT_NUM_DEVICES", "50"),
        ("IOTPIPE_KAFKA_PASSWORD", CANARY),
        ("LOG_LEVEL", "trace"),
    ];
    let (code, json, stderr) = place.run(&["config", "--topic", "t", "--format", "json"], &environment);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let settings: serde_json::Value = serde_json::from_str(&json).unwrap();
    let find = |key: &str| {
        let found = settings
            .as_array()
            .unwrap()
            .iter()
            .find(|it| it["key"] == key)
            .expect(key);
        (
            found["value"].as_str().unwrap().to_owned(),
            found["origin"].as_str().unwrap().to_owned(),
        )
    };
    let pair = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    assert_eq!(find("kafka.topic"), pair("t", "flag --topic"));
    assert_eq!(find("kafka.dlq_topic"), pair("t.dlq", "default"));
    assert_eq!(find("produce.sensors"), pair("50", "env IOT_NUM_DEVICES"));
    assert_eq!(find("kafka.partitions"), pair("3", "file iotpipe.toml:2"));
    assert_eq!(find("kafka.password"), pair("***", "env IOTPIPE_KAFKA_PASSWORD"));
    assert_eq!(
        find("kafka.properties.ssl.key.password"),
        pair("***", "file iotpipe.toml:4")
    );

    let (code, table, stderr) = place.run(&["config"], &environment);
    assert!(code == Some(0) && table.contains("produce.sensors") && table.contains("env IOT_NUM_DEVICES"));
    assert!(!(json + &table + &stderr).contains(CANARY));
}

#[test]
fn a_rule_that_does_not_parse_is_one_line_and_exit_2() {
    let place = Place::new();
    let write = |text: &str| fs::write(place.0.path().join("iotpipe.toml"), text).unwrap();
    write("[rules.cold]\nkinds = [\"temperature\"]\ntest = \"low\"\nthreshold = nan\n");
    let error = "iotpipe.toml:4: rules.cold.threshold: \"nan\" is no finite number";
    assert_eq!(place.usage_error(&["consume"], &[]), error);
    write("[rules.cold]\nkinds = [\"temperature\"]\ntest = \"low\"\nlimit = 3\n");
    assert!(
        place
            .usage_error(&["consume"], &[])
            .starts_with("iotpipe.toml:4: rules.cold: unknown key limit")
    );
    write("[windows]\nsizes = []\n");
    let error = place.usage_error(&["consume"], &[]);
    assert!(
        error.starts_with("iotpipe.toml:2: windows.sizes: is empty") && error.contains("--no-windows"),
        "{error}"
    );
    write("[windows]\nsizes = [\"1m\", \"7m\"]\n");
    assert!(
        place
            .usage_error(&["consume"], &[])
            .contains("\"7m\" is no size of a window")
    );
}

#[test]
fn rules_and_switches_are_shown_with_their_origins() {
    let place = Place::new();
    let file = "[rules.motion]\nenabled = false\n[rules.cold]\nkinds = [\"*\"]\ntest = \"low\"\nthreshold = -5.5\n";
    fs::write(place.0.path().join("iotpipe.toml"), file).unwrap();
    let environment = [("IOTPIPE_ALERTS_ENABLED", "false"), ("IOTPIPE_WINDOWS_SIZES", "1h,30s")];
    let (code, table, stderr) = place.run(&["config", "--no-windows", "--analytics"], &environment);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let line = |key: &str| {
        let line = table.lines().find(|line| line.split_whitespace().next() == Some(key));
        line.expect(key)
            .split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(line("windows.enabled"), "false flag --no-windows");
    assert_eq!(line("analytics.enabled"), "true flag --analytics");
    assert_eq!(line("alerts.enabled"), "false env IOTPIPE_ALERTS_ENABLED");
    assert_eq!(line("windows.sizes"), "1h,30s env IOTPIPE_WINDOWS_SIZES");
    assert_eq!(line("rules.motion.enabled"), "false file iotpipe.toml:2");
    assert_eq!(line("rules.cold.kinds"), "* file iotpipe.toml:4");
    assert_eq!(line("rules.cold.threshold"), "-5.5 file iotpipe.toml:6");
    assert_eq!(line("rules.cold.debounce"), "1 default");
    assert_eq!(line("rules.outlier.warm_up"), "64 default");
    assert!(!table.contains("rules.motion.test"), "{table}");
}

/// Starts the program with leave to dump, lets it crash in the middle of its work, and says who owned its files in `/proc`
/// and whether it left a core.
#[cfg(target_os = "linux")]
fn crash(environment: &[(&str, &str)]) -> (u32, bool) {
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::process::ExitStatusExt;
    let place = Place::new();
    // It takes connections and never says a word.
    let store = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    store.set_nonblocking(true).unwrap();
    let url = format!("cassandra://{}/k", store.local_addr().unwrap());
    let program = place.command(&["query", "--sensors"]);
    let mut crashing = Command::new("/bin/sh");
    crashing
        .args(["-c", "ulimit -S -c $(ulimit -H -c); exec \"$0\" \"$@\""])
        .arg(program.get_program())
        .args(program.get_args())
        .env_clear()
        .env("IOTPIPE_STORE", url)
        .envs(environment.iter().copied())
        .current_dir(place.0.path())
        .stderr(Stdio::null());
    let mut process = crashing.spawn().unwrap();
    let connection = (0..600).find_map(|_| {
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(process.try_wait().unwrap(), None, "it ended before it asked the store");
        store.accept().ok()
    });
    assert!(connection.is_some(), "it asked nobody");
    let owner = fs::metadata(format!("/proc/{}/environ", process.id())).unwrap().uid();
    let kill = format!("kill -s ABRT {}", process.id());
    assert!(Command::new("/bin/sh").args(["-c", &kill]).status().unwrap().success());
    let status = process.wait().unwrap();
    drop(connection);
    assert!(status.signal().is_some(), "{status}");
    (owner, status.core_dumped())
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_with_a_secret_leaves_no_core() {
    let login = [
        ("IOTPIPE_STORE_USERNAME", "iot"),
        ("IOTPIPE_CASSANDRA_PASSWORD", CANARY),
    ];
    assert_eq!(crash(&login), (0, false), "owner root, no core");
    // Where limits or the system permit no cores and all is root's besides, this would be so without a secret, too.
    if crash(&[]) == (0, false) {
        eprintln!("nothing can be told from cores on this machine");
    }
}

#[test]
fn a_profile_is_shown_as_where_its_defaults_came_from() {
    let place = Place::new();
    let environment = [("IOTPIPE_PROFILE", "single"), ("KAFKA_REPLICATION_FACTOR", "2")];
    let (code, table, stderr) = place.run(&["config", "--profile", "cluster"], &environment);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let words = |key: &str| {
        let line = table.lines().find(|line| line.starts_with(&format!("{key} ")));
        line.expect(key)
            .split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(words("profile"), "cluster flag --profile");
    assert_eq!(words("kafka.min_insync_replicas"), "2 profile cluster");
    assert_eq!(words("kafka.replication_factor"), "2 env KAFKA_REPLICATION_FACTOR");
    assert_eq!(words("store.readings_consistency"), "one profile cluster");
    assert_eq!(words("store.consistency"), "quorum profile cluster");
    assert!(
        place
            .usage_error(&["config", "--profile", "three"], &[])
            .contains("single|cluster")
    );
}

#[test]
fn an_unknown_variable_is_a_warning_and_the_log_file_is_made() {
    let place = Place::new();
    let environment = [("IOTPIPE_KAFKA_TOPICS", "x"), ("ENVIRONMENT", "production")];
    let (code, _, stderr) = place.run(&["config"], &environment);
    let warning =
        "iotpipe: warning: IOTPIPE_KAFKA_TOPICS is no variable of iotpipe; did you mean IOTPIPE_KAFKA_TOPIC?\n";
    assert_eq!((code, stderr.as_str()), (Some(0), warning));
    assert!(place.0.path().join("iotpipe.log").exists());
    let (code, _, stderr) = place.run(&["config"], &[("IOTPIPE_LOG_FILE", "no/such/directory")]);
    assert!(
        code == Some(1) && stderr.starts_with("iotpipe: cannot open the log file no/such/directory: "),
        "{stderr}"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let place = Place::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = place.command(&["config"]).stdout(writer).output().unwrap();
    assert_eq!(
        (output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()),
        (Some(0), "")
    );
}
