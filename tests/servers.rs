//! The servers that tests run against: real ones, started once through `stack/stack` and stopped by its watchdog when this
//! process is gone, however it went. `IOTPIPE_TEST_KAFKA` and `IOTPIPE_TEST_CASSANDRA` (host:port each) name servers that
//! already run instead. Each test takes names of its own on them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Where the servers listen, `host:port`.
pub struct Servers {
    pub kafka: String,
    pub cassandra: String,
}

/// The servers that all tests share; started by the first that asks.
pub fn servers() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(|| {
        let given = |name| std::env::var(name).ok().filter(|address| !address.is_empty());
        match (given("IOTPIPE_TEST_KAFKA"), given("IOTPIPE_TEST_CASSANDRA")) {
            (Some(kafka), Some(cassandra)) => Servers { kafka, cassandra },
            (None, None) => {
                let stack = Stack::up("stack");
                Servers {
                    kafka: stack.variable("KAFKA_BOOTSTRAP_SERVERS"),
                    cassandra: stack.cassandra(),
                }
            }
            _ => panic!("set both IOTPIPE_TEST_KAFKA and IOTPIPE_TEST_CASSANDRA, or neither"),
        }
    })
}

/// The address of a schema registry, started beside the other servers by the first that asks; or the one that
/// `IOTPIPE_TEST_REGISTRY` names.
pub fn registry() -> &'static str {
    static REGISTRY: OnceLock<String> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let given = std::env::var("IOTPIPE_TEST_REGISTRY")
            .ok()
            .filter(|url| !url.is_empty());
        given.unwrap_or_else(|| {
            // Its state directory is that of the others: they are there before, and stay as they are.
            if std::env::var_os("IOTPIPE_TEST_KAFKA").is_none() {
                servers();
            }
            Stack::up_with("stack", &["--registry"]).registry()
        })
    })
}

/// A stack of one test process's own: fault tests stop and kill its servers.
pub struct Stack {
    state: PathBuf,
    /// Variables of the script.
    settings: Settings,
    env: String,
}

type Settings = &'static [(&'static str, &'static str)];

const KEEPING: (&str, &str) = ("IOTPIPE_STACK_COMMITLOG_SYNC", "batch");

impl Stack {
    /// Starts one; its watchdog takes it away with this process.
    pub fn up(name: &str) -> Stack {
        Stack::with(name, &[], &[])
    }

    /// The same with more arguments, for example `--registry`.
    pub fn up_with(name: &str, more: &[&str]) -> Stack {
        Stack::with(name, &[], more)
    }

    /// The same for tests that kill the one replica: what Cassandra has acknowledged is there when it comes back, which by
    /// its defaults is not so.
    pub fn that_keeps_what_it_acknowledged(name: &str) -> Stack {
        Stack::with(name, &[KEEPING], &[])
    }

    /// Three nodes of each server, which keep what they acknowledge when they are killed. Six cold servers leave little of two
    /// cores to anybody: they have the quick compiler only.
    pub fn of_three(name: &str) -> Stack {
        Stack::with(name, &[KEEPING, ("IOTPIPE_STACK_FAST_START", "1")], &["--nodes", "3"])
    }

    fn with(name: &str, settings: Settings, more: &[&str]) -> Stack {
        let process = std::process::id();
        let state = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{process}"));
        let mut stack = Stack {
            state,
            settings,
            env: String::new(),
        };
        let process = process.to_string();
        stack.run(&[&["up", "--watch", &process, "--wipe"], more].concat());
        stack.env = stack.run(&["env"]);
        stack
    }

    /// Runs a command of the script, for example `["kill", "kafka"]`.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "`stack/stack {}` failed: {stderr}(or name servers that run in IOTPIPE_TEST_KAFKA and IOTPIPE_TEST_CASSANDRA)",
            arguments.join(" ")
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The same, however it ends.
    pub fn output(&self, arguments: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("stack/stack");
        Command::new(&script)
            .args(arguments)
            .env("IOTPIPE_STACK_DIR", &self.state)
            .env("IOTPIPE_STACK_PORTS", "auto")
            // As Cassandra ships it, whatever whoever runs the tests has set for stacks of his own.
            .env("IOTPIPE_STACK_COMMITLOG_SYNC", "periodic")
            .envs(self.settings.iter().copied())
            .output()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", script.display()))
    }

    /// What `env` says.
    pub fn variables(&self) -> Vec<(String, String)> {
        let exports = self.env.lines().filter_map(|line| line.strip_prefix("export "));
        let pairs = exports.filter_map(|pair| pair.split_once('='));
        pairs
            .map(|(name, value)| (name.to_owned(), value.trim_matches(['\'', '"']).to_owned()))
            .collect()
    }

    pub fn variable(&self, name: &str) -> String {
        let value = self
            .env
            .lines()
            .find_map(|line| line.strip_prefix(&format!("export {name}=")));
        value
            .unwrap_or_else(|| panic!("`stack/stack env` says no {name}: {}", self.env))
            .trim_matches(['\'', '"'])
            .to_owned()
    }

    pub fn kafka(&self) -> String {
        self.variable("KAFKA_BOOTSTRAP_SERVERS")
    }

    /// With its path, of a stack that has one.
    pub fn registry(&self) -> String {
        self.variable("IOTPIPE_REGISTRY_URL")
    }

    pub fn cassandra(&self) -> String {
        let url = self.variable("IOTPIPE_STORE");
        let host = url.strip_prefix("cassandra://").and_then(|rest| rest.split('/').next());
        host.unwrap_or_else(|| panic!("no Cassandra in {url}")).to_owned()
    }
}

/// The program in an environment of its own: a topic (its consumer group has the same name) and a keyspace that no other
/// test has.
pub struct Place {
    pub kafka: String,
    pub cassandra: String,
    pub topic: String,
    pub keyspace: String,
    directory: tempfile::TempDir,
}

impl Place {
    /// On the shared servers.
    pub fn new(name: &str) -> Place {
        let servers = servers();
        Place::on(&servers.kafka, &servers.cassandra, name)
    }

    pub fn on(kafka: &str, cassandra: &str, name: &str) -> Place {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        Place {
            kafka: kafka.to_owned(),
            cassandra: cassandra.to_owned(),
            topic: format!("{name}_{}", &unique[..8]),
            keyspace: format!("t_{name}_{}", &unique[..8]),
            directory: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// `init-schema` with so many partitions of its own topics; those that all tests share are as all tests want them.
    pub fn init_schema_with_partitions(&self, partitions: u32) {
        let shared = "[kafka]\nevents_partitions = 12\nanalytics_partitions = 12\n";
        let file = self.directory().join("shared_topics.toml");
        std::fs::write(&file, shared).expect("written");
        let file = file.to_str().expect("plain");
        self.ok(&["init-schema", "--partitions", &partitions.to_string(), "--config", file]);
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_iotpipe"));
        command
            .env_clear()
            .current_dir(self.directory.path())
            .env("KAFKA_BOOTSTRAP_SERVERS", &self.kafka)
            .env("KAFKA_TOPIC_NAME", &self.topic)
            .env("KAFKA_CONSUMER_GROUP_ID", &self.topic)
            .env(
                "IOTPIPE_STORE",
                format!("cassandra://{}/{}", self.cassandra, self.keyspace),
            )
            .stdin(std::process::Stdio::null())
            .args(arguments);
        command
    }

    /// Runs to the end: exit code, stdout, stderr.
    pub fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = crate::ended::output(&mut self.command(arguments));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    /// Runs to the end, which must be good.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(arguments);
        assert_eq!(code, Some(0), "iotpipe {}: {stdout}{stderr}", arguments.join(" "));
        stdout
    }
}
