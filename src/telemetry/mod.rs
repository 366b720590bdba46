//! Logs: where they go, and what is said about each event of the domain ([`events`]), all in one place. Everyone may
//! come in; it imports the model alone.

pub mod events;

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::sync::{LazyLock, Mutex};

use anyhow::Context;
use indicatif::MultiProgress;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

/// There is one stderr, so there is one set of bars on it.
static PROGRESS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Where progress bars go: log lines make room for bars that are added here. Nothing shows unless stderr is a terminal.
pub fn progress() -> MultiProgress {
    PROGRESS.clone()
}

/// Starts logging to stderr, and to the file if there is one. Called once, before anything is worth a line.
pub fn start(level: LevelFilter, file: Option<&str>) -> anyhow::Result<()> {
    let stderr = fmt::layer()
        .compact()
        .with_target(false)
        .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_writer(AboveProgress);
    let file = match file {
        Some(path) => {
            let file = OpenOptions::new().create(true).append(true).open(path);
            let file = file.with_context(|| format!("cannot open the log file {path}"))?;
            let layer = fmt::layer()
                .compact()
                .with_target(false)
                .with_ansi(false)
                .with_writer(Mutex::new(file));
            Some(layer)
        }
        None => None,
    };
    // One filter for both, not one each: rdkafka asks whether a level is enabled when it makes a client, and with filters
    // of single layers such a question swallows the thread's next line.
    tracing_subscriber::registry()
        .with(filter(level))
        .with(stderr)
        .with(file)
        .try_init()
        .context("logging was started already")
}

/// Libraries are a level quieter than we are: their routine is our detail.
fn filter(level: LevelFilter) -> EnvFilter {
    let libraries = match level {
        LevelFilter::TRACE => LevelFilter::DEBUG,
        LevelFilter::DEBUG => LevelFilter::INFO,
        LevelFilter::INFO => LevelFilter::WARN,
        LevelFilter::WARN | LevelFilter::ERROR => LevelFilter::ERROR,
        _ => LevelFilter::OFF,
    };
    // The driver's own words about a lost connection repeat what our events say once.
    let driver = if level >= LevelFilter::DEBUG {
        libraries
    } else {
        LevelFilter::OFF
    };
    EnvFilter::new(format!("{libraries},scylla={driver},iotpipe={level}"))
}

/// Writes lines to stderr above the progress bars.
struct AboveProgress;

impl<'a> MakeWriter<'a> for AboveProgress {
    type Writer = AboveProgress;

    fn make_writer(&'a self) -> AboveProgress {
        AboveProgress
    }
}

impl Write for AboveProgress {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        PROGRESS.suspend(|| io::stderr().write_all(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
