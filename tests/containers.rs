//! compose.yaml, Dockerfile and deploy/kubernetes: checked by validators that are not ours, and against the program itself.

mod compose;
mod dockerfile;
mod images;
mod kubernetes;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use iotpipe::cli;
use serde_json::Value;

pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");
pub const MANIFESTS: [&str; 3] = ["configuration.yaml", "init-schema.yaml", "consumer.yaml"];

/// A program of the Python environment that the validators are in.
fn validator(program: &str) -> Command {
    Command::new(crate::python::environment("containers").join("bin").join(program))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The documents of a YAML file, merges and variables' defaults resolved.
fn documents(file: &str) -> Vec<Value> {
    static ALL: OnceLock<Value> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let manifests = MANIFESTS.map(|name| format!("deploy/kubernetes/{name}"));
        let output = validator("python")
            .args(["-B", "tests/containers/read.py", "compose.yaml"])
            .arg("deploy/kubernetes/kustomization.yaml")
            .args(manifests)
            .current_dir(ROOT)
            .output()
            .expect("python runs");
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    });
    all[file]
        .as_array()
        .unwrap_or_else(|| panic!("{file} was not read"))
        .clone()
}

/// A copy of a file with one piece of its text replaced, for a check that must notice it.
fn spoiled(file: &str, from: &str, to: &str, directory: &Path) -> PathBuf {
    let whole = read(file);
    assert!(whole.contains(from), "{file} says nothing of {from}");
    let copy = directory.join(Path::new(file).file_name().expect("a name"));
    fs::write(&copy, whole.replacen(from, to, 1)).expect("writable");
    copy
}

/// What a container tells the program.
struct Told {
    /// Who, for messages.
    name: String,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
}

/// A setting's value and where it came from, by its key.
type Effective = BTreeMap<String, (String, String)>;

impl Told {
    /// The settings that result, from the program itself: it must understand the arguments, and each variable must be where
    /// some setting came from.
    fn effective(&self) -> Effective {
        let (name, directory) = (&self.name, tempfile::tempdir().expect("a directory"));
        let line = ["iotpipe".to_owned()].into_iter().chain(self.arguments.iter().cloned());
        if let Err(error) = cli::parse(line) {
            panic!("{name}: {}", cli::one_line(&error));
        }
        let flags = self.arguments.iter().skip(1);
        let output: Output = Command::new(env!("CARGO_BIN_EXE_iotpipe"))
            .args(["config", "--format", "json"])
            .args(flags)
            .env_clear()
            .envs(&self.environment)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .output()
            .expect("the program runs");
        let stderr = text(&output.stderr);
        assert!(output.status.success() && stderr.is_empty(), "{name}: {stderr}");
        let listing: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
        let words = |row: &Value| ["key", "value", "origin"].map(|key| row[key].as_str().expect(key).to_owned());
        let effective: Effective = listing
            .iter()
            .map(words)
            .map(|[key, value, origin]| (key, (value, origin)))
            .collect();
        for variable in self.environment.keys().filter(|name| *name != "IOTPIPE_CONFIG") {
            let origin = format!("env {variable}");
            assert!(
                effective.values().any(|(_, from)| *from == origin),
                "{name}: {variable} sets nothing"
            );
        }
        effective
    }
}

fn value<'a>(effective: &'a Effective, key: &str) -> &'a str {
    &effective.get(key).unwrap_or_else(|| panic!("no setting {key}")).0
}

/// Kubernetes' and compose's sizes: 512m, 2g, 256Mi, 1G.
fn bytes(size: &str) -> u64 {
    let digits = size.find(|c: char| !c.is_ascii_digit()).unwrap_or(size.len());
    let unit = match size[digits..].trim_end_matches(['i', 'B', 'b']) {
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        other => panic!("{size}: {other} is no unit"),
    };
    size[..digits].parse::<u64>().expect(size) * unit
}

/// `1m30s`, `40s`, in seconds.
fn seconds(duration: &str) -> u64 {
    iotpipe::config::parse_duration(duration).expect(duration).as_secs()
}

/// The words of a YAML list.
fn words(list: &Value) -> Vec<String> {
    let list = list.as_array().unwrap_or_else(|| panic!("{list} is no list"));
    let word = |item: &Value| item.as_str().unwrap_or_else(|| panic!("{item} is no text")).to_owned();
    list.iter().map(word).collect()
}

/// The image's tag, which names one version and not the newest of several.
fn pinned(image: &str) -> &str {
    let (_, tag) = image.rsplit_once(':').unwrap_or_else(|| panic!("{image} has no tag"));
    let is_version = |part: &str| part.chars().filter(|c| *c == '.').count() == 2 || part.len() == 8;
    let parts = tag.trim_start_matches('v').split('-');
    let is_version = parts
        .filter(|part| part.starts_with(|c: char| c.is_ascii_digit()))
        .any(is_version);
    assert!(is_version, "{image} is no one version");
    tag
}
