//! Who may know what: each room of `src/` imports only the rooms that it may, as docs/architecture.md says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Rooms and whom they may import. What is not listed may import nothing of ours.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("telemetry", &["model"]),
    ("tls", &["model"]),
    ("codec", &["model", "telemetry"]),
    ("fleet", &["model", "telemetry"]),
    ("kafka", &["model", "telemetry", "tls"]),
    ("processor", &["model", "telemetry"]),
    ("registry", &["model", "telemetry", "tls"]),
    ("store", &["model", "telemetry", "tls"]),
    ("report", &["model", "telemetry"]),
    // Computes again what others did: it knows the fleet and the store, and nothing of the processor.
    ("proof", &["model", "telemetry", "fleet", "store"]),
    // Resolves what the user said into the rooms' own settings.
    ("config", &["model", "kafka", "store", "codec", "registry", "tls"]),
    (
        "pipeline",
        &[
            "model",
            "telemetry",
            "codec",
            "fleet",
            "kafka",
            "processor",
            "registry",
            "store",
        ],
    ),
    ("cli", &["model", "config", "report"]),
    (
        "command",
        &[
            "model",
            "telemetry",
            "codec",
            "fleet",
            "kafka",
            "processor",
            "registry",
            "store",
            "report",
            "config",
            "pipeline",
            "proof",
            "cli",
        ],
    ),
    ("main", &["cli", "command", "config"]),
];

/// Crates that only one room may know.
const DRIVERS: &[(&str, &[&str])] = &[
    ("rdkafka", &["kafka"]),
    ("rdkafka_sys", &["kafka"]),
    ("scylla", &["store"]),
    ("rusqlite", &["store"]),
    ("ureq", &["registry"]),
    ("openssl", &["tls"]),
    ("apache_avro", &["codec", "fleet"]),
    ("clap", &["cli", "command", "main"]),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder)
        .expect("readable")
        .map(|entry| entry.expect("an entry").path())
    {
        if entry.is_dir() {
            sources(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push(entry);
        }
    }
}

/// The names that follow `crate::` (or `iotpipe::` in `main`), single or in braces.
fn imported_rooms(text: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for prefix in ["crate::", "iotpipe::"] {
        for (at, _) in text.match_indices(prefix) {
            let rest = &text[at + prefix.len()..];
            let names = match rest.strip_prefix('{') {
                Some(list) => top_level_names(list),
                None => vec![rest],
            };
            for name in names {
                let name: String = name
                    .trim()
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                rooms.insert(name);
            }
        }
    }
    rooms
}

/// Splits `a::x, b::{c, d}, e}` at the commas of the outermost list.
fn top_level_names(list: &str) -> Vec<&str> {
    let (mut names, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(&list[start..at]);
                return names;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    names
}

fn code_only(text: &str) -> String {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn every_room_imports_only_the_rooms_that_it_may() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 50, "the sources are where they are looked for");
    let mut breaches = Vec::new();
    for file in files {
        let path = file.strip_prefix(&root).expect("below src");
        let first = path.components().next().expect("a name").as_os_str().to_string_lossy();
        let room = first.trim_end_matches(".rs").to_owned();
        if room == "lib" {
            continue;
        }
        let text = code_only(&std::fs::read_to_string(&file).expect("readable"));
        let may = allowed
            .get(room.as_str())
            .unwrap_or_else(|| panic!("src/{room} is no known room"));
        for import in imported_rooms(&text) {
            if allowed.contains_key(import.as_str()) && import != room && !may.contains(&import.as_str()) {
                breaches.push(format!("{} imports {import}", path.display()));
            }
        }
        for (driver, rooms) in DRIVERS {
            let used = text.contains(&format!("{driver}::")) || text.contains(&format!("use {driver} "));
            if used && !rooms.contains(&room.as_str()) {
                breaches.push(format!("{} knows {driver}", path.display()));
            }
        }
        let prints = ["println!", "print!(", "eprintln!", "eprint!("]
            .iter()
            .any(|call| text.contains(call));
        if prints && room != "report" {
            breaches.push(format!("{} prints", path.display()));
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn the_check_sees_what_it_looks_for() {
    let seen = imported_rooms("use crate::{kafka::{a, b}, store};\nuse crate::model::X;\ncrate::fleet::f();");
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        ["fleet", "kafka", "model", "store"]
    );
}
