//! Programs that are expected to end: one that does not fails its test instead of holding it up for ever.

use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Several times what the longest of them takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(300);

/// What the program said and how it ended.
pub fn output(command: &mut Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("the program starts");
    let id = child.id().to_string();
    let (ended, has_ended) = channel::<()>();
    let watch = std::thread::spawn(move || {
        let is_late = has_ended.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout);
        if is_late {
            let _ = Command::new("kill").args(["-s", "KILL", &id]).status();
        }
        is_late
    });
    let output = child.wait_with_output().expect("a child of ours");
    drop(ended);
    let is_late = watch.join().expect("it only waits");
    assert!(
        !is_late,
        "{command:?} did not end within {} s: {output:?}",
        LIMIT.as_secs()
    );
    output
}
