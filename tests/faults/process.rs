//! The program as processes of a test: started, signalled, waited for, and gone with the test however that ends.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::servers::Place;

/// Slow enough that faults land in the middle, quick to notice a member that died, quick to commit.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("IOTPIPE_CONSUME_SESSION_TIMEOUT", "6s"),
    ("IOTPIPE_CONSUME_COMMIT_INTERVAL", "100ms"),
    ("IOTPIPE_CONSUME_WRITERS", "4"),
    ("IOTPIPE_CONSUME_PENDING_READINGS", "4000"),
];

/// A running program with its output in a file.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    pub fn start(place: &Place, name: &str, arguments: &[&str]) -> Process {
        Process::start_with(place, name, arguments, &[])
    }

    /// `more` wins over what is set otherwise.
    pub fn start_with(place: &Place, name: &str, arguments: &[&str], more: &[(&str, &str)]) -> Process {
        let mut command = place.command(arguments);
        command.envs(ENVIRONMENT.iter().chain(more).copied());
        Process::run(place, name, command)
    }

    pub fn run(place: &Place, name: &str, mut command: Command) -> Process {
        let log = place.directory().join(format!("{name}.log"));
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .expect("writable");
        let child = command
            .stdout(file.try_clone().expect("a handle"))
            .stderr(file)
            .spawn()
            .expect("the program starts");
        Process { child, log }
    }

    /// All that it said, with what others said that were started under the same name.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How often it said so.
    pub fn said(&self, words: &str) -> usize {
        self.log().matches(words).count()
    }

    /// Sends a signal by its name, for example `STOP`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success(), "kill -s {name}");
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_none()
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().expect("a child of ours");
        let status = self.child.wait().expect("a child of ours");
        assert!(
            status.code().is_none(),
            "it ended by itself before: {status}: {}",
            self.log()
        );
    }

    /// Asks it to end, and waits until it did so well.
    pub fn stop(self) {
        self.signal("TERM");
        self.ends_well(60);
    }

    /// Waits until it ended well.
    pub fn ends_well(self, seconds: u64) {
        self.ends_with(0, seconds);
    }

    /// Waits until it ended with this exit code.
    pub fn ends_with(mut self, code: i32, seconds: u64) {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        let status = loop {
            match self.child.try_wait().expect("a child of ours") {
                Some(status) => break status,
                None if Instant::now() > deadline => panic!("did not end within {seconds} s: {}", self.log()),
                None => std::thread::sleep(Duration::from_millis(50)),
            }
        };
        assert_eq!(status.code(), Some(code), "{status}: {}", self.log());
    }
}

/// A test that failed leaves nothing running, and tells what was said.
impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}:\n{}", self.log.display(), self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The arguments of a command line.
pub fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// Waits for a condition with a deadline.
pub fn until(what: &str, seconds: u64, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !condition() {
        assert!(Instant::now() < deadline, "waited {seconds} s in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
