//! The program with what the secure servers want, of which each test changes what it is about.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::faults::process::words;
use crate::servers::{Place, Stack};

/// Servers with TLS, passwords and client certificates, started by the first that asks.
pub fn secure() -> &'static Stack {
    static SECURE: OnceLock<Stack> = OnceLock::new();
    SECURE.get_or_init(|| Stack::up_with("secure", &["--secure", "--registry"]))
}

/// A file among the certificates and passwords of the servers.
pub fn file(name: &str) -> String {
    let ca = PathBuf::from(secure().variable("IOTPIPE_TLS_CA_FILE"));
    ca.with_file_name(name).display().to_string()
}

/// Ways to Kafka besides a login over TLS.
pub enum Door {
    /// A login in the open.
    Sasl,
    /// A client certificate.
    Ssl,
    /// Nothing: for the stack's own questions.
    Plaintext,
}

impl Door {
    pub fn address(&self) -> String {
        let port = |name| format!("127.0.0.1:{}", secure().variable(name));
        match self {
            Door::Sasl => port("IOTPIPE_STACK_KAFKA_SASL_PORT"),
            Door::Ssl => port("IOTPIPE_STACK_KAFKA_SSL_PORT"),
            Door::Plaintext => port("IOTPIPE_STACK_KAFKA_PORT"),
        }
    }
}

/// What a run of the program came to.
pub struct Outcome {
    pub line: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Outcome {
    pub fn is_good(&self) -> &Outcome {
        assert_eq!(self.code, Some(0), "{}: {}{}", self.line, self.stdout, self.stderr);
        self
    }

    /// The one line that a failure is; it must come in time.
    pub fn failure(&self) -> &str {
        let Outcome {
            line, stdout, stderr, ..
        } = self;
        let lines: Vec<&str> = stderr.lines().collect();
        let [error] = &lines[..] else {
            panic!("{line}: not one line: {stdout}{stderr}")
        };
        assert_eq!(self.code, Some(1), "{line}: {error}");
        assert!(
            self.took < Duration::from_secs(12),
            "{line} took {:?}: {error}",
            self.took
        );
        error
            .strip_prefix("iotpipe: ")
            .unwrap_or_else(|| panic!("{line}: {error}"))
    }

    /// That the one line says all of this.
    pub fn says(&self, all: &[&str]) -> &str {
        let error = self.failure();
        for words in all {
            assert!(error.contains(words), "{}: no {words:?} in: {error}", self.line);
        }
        error
    }
}

/// A place on the secure servers and the variables that let one in.
pub struct Site {
    pub place: Place,
    variables: BTreeMap<String, String>,
}

impl Site {
    pub fn new(name: &str) -> Site {
        Site::on(secure(), name)
    }

    pub fn on(stack: &Stack, name: &str) -> Site {
        let place = Place::on(&stack.kafka(), &stack.cassandra(), name);
        let own = ["KAFKA_BOOTSTRAP_SERVERS", "IOTPIPE_STORE"];
        let variables = stack.variables().into_iter();
        let variables =
            variables.filter(|(name, _)| !own.contains(&name.as_str()) && !name.starts_with("IOTPIPE_STACK_"));
        // Just started and with all tests at once, a node may take its time for a first handshake.
        let patient = [("IOTPIPE_STORE_CONNECT_TIMEOUT".to_owned(), "20s".to_owned())];
        Site {
            place,
            variables: variables.chain(patient).collect(),
        }
    }

    /// With topics of its own, and the tables that all of these share: making them takes Cassandra seconds.
    pub fn ready(name: &str) -> Site {
        static KEYSPACE: OnceLock<String> = OnceLock::new();
        let mut site = Site::new(name);
        site.place.keyspace = KEYSPACE.get_or_init(|| site.place.keyspace.clone()).clone();
        site.run("init-schema").is_good();
        site
    }

    /// The same with these variables; one that is set to nothing is not set.
    pub fn with(&self, changes: &[(&str, &str)]) -> Site {
        let mut variables = self.variables.clone();
        for (name, text) in changes {
            variables.insert((*name).to_owned(), (*text).to_owned());
        }
        let Place {
            kafka,
            cassandra,
            topic,
            keyspace,
            ..
        } = &self.place;
        let mut place = Place::on(kafka, cassandra, "x");
        (place.topic, place.keyspace) = (topic.clone(), keyspace.clone());
        Site { place, variables }
    }

    /// The same with Kafka elsewhere.
    pub fn with_kafka(&self, address: &str) -> Site {
        let mut site = self.with(&[]);
        site.place.kafka = address.to_owned();
        site
    }

    /// The same with Cassandra elsewhere.
    pub fn with_cassandra(&self, address: &str) -> Site {
        let mut site = self.with(&[]);
        site.place.cassandra = address.to_owned();
        site
    }

    /// A password in the environment in place of the one in a file.
    pub fn with_password(&self, variable: &str, password: &str) -> Site {
        self.with(&[(variable, password), (&format!("{variable}_FILE"), "")])
    }

    pub fn variables(&self) -> Vec<(&str, &str)> {
        let pairs = self.variables.iter();
        pairs.map(|(name, text)| (name.as_str(), text.as_str())).collect()
    }

    pub fn variable(&self, name: &str) -> &str {
        &self.variables[name]
    }

    pub fn directory(&self) -> &Path {
        self.place.directory()
    }

    pub fn command(&self, line: &str) -> Command {
        let mut command = self.place.command(&words(line));
        command.envs(&self.variables);
        command
    }

    pub fn run(&self, line: &str) -> Outcome {
        let began = Instant::now();
        let output = crate::ended::output(&mut self.command(line));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Outcome {
            line: line.to_owned(),
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
            took: began.elapsed(),
        }
    }
}
