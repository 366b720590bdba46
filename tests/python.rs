//! Python environments for what is checked with packages that are not ours: each is made once below `target/`, and anew when
//! its list of packages changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// The directory, below `bin/` of which there are a Python and its packages' programs. `folder` is one of `tests/` that holds
/// a `requirements.txt`.
pub fn environment(folder: &str) -> PathBuf {
    static MADE: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.entry(folder.to_owned()).or_insert_with(|| make(folder)).clone()
}

fn make(folder: &str) -> PathBuf {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{folder}-venv"));
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/{folder}/requirements.txt"));
    let wanted = std::fs::read_to_string(&requirements).expect("readable");
    let complete = venv.join("complete");
    if std::fs::read_to_string(&complete).is_ok_and(|has| has == wanted) {
        return venv;
    }
    run(
        Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv),
        "python3 -m venv",
    );
    let mut install = Command::new(venv.join("bin/python"));
    run(
        install.args(["-m", "pip", "install", "-q", "-r"]).arg(&requirements),
        "pip install",
    );
    std::fs::write(complete, wanted).expect("writable");
    venv
}

fn run(command: &mut Command, what: &str) {
    let status = command.stdout(Stdio::null()).status();
    let hint = "install python3 (3.11 or newer) and python3-venv";
    assert!(status.is_ok_and(|status| status.success()), "{what} failed: {hint}");
}
