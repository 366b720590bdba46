//! SIGINT and SIGTERM: the first asks a command to finish, the second ends the process at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::Exit;
use crate::telemetry::events;

/// A flag that the first signal raises. Signals are watched from here on, on a thread of their own, until the process
/// ends.
pub fn on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let raise = stop.clone();
    let (armed, is_armed) = crossbeam_channel::bounded(1);
    let watch = move || {
        let watched = || -> io::Result<_> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
            let guard = runtime.enter();
            let signals = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
            drop(guard);
            Ok((runtime, signals))
        };
        let (runtime, (mut interrupt, mut terminate)) = match watched() {
            Ok(watched) => {
                let _ = armed.send(Ok(()));
                watched
            }
            Err(error) => {
                let _ = armed.send(Err(error));
                return;
            }
        };
        runtime.block_on(async {
            loop {
                let name = tokio::select! {
                    _ = interrupt.recv() => "SIGINT",
                    _ = terminate.recv() => "SIGTERM",
                };
                if raise.swap(true, Ordering::Relaxed) {
                    std::process::exit(Exit::Interrupted as i32);
                }
                events::stopping(name);
            }
        });
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(watch)
        .context("starting a thread failed")?;
    is_armed
        .recv()
        .context("watching for signals failed")?
        .context("watching for signals failed")?;
    Ok(stop)
}
