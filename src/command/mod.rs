//! The subcommands, a file each. The only room that joins arguments, configuration and the other rooms, and that decides
//! exit codes.

mod bench;
mod config;
mod consume;
mod core_dumps;
mod demo;
mod dlq;
mod doctor;
mod init_schema;
mod produce;
pub mod query;
mod stop;
mod subjects;
mod verify;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use tokio::runtime::Runtime;

use crate::cli::{self, Command, Invocation};
use crate::config::{Config, Environment, Inputs};
use crate::model::TimeMs;
use crate::{report, telemetry};

pub use crate::config::UsageError;

/// How the program ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    Ok = 0,
    Failed = 1,
    /// Wrong arguments or configuration.
    Usage = 2,
    /// Finished, but records were dead-lettered or differences found.
    Differences = 3,
    /// Significantly slower than the baseline.
    Slower = 4,
    /// Interrupted a second time, before it could finish.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Runs the command that was asked for.
pub fn run(invocation: &Invocation, environment: Environment) -> anyhow::Result<Exit> {
    let config = Config::resolve(&Inputs {
        flags: invocation.settings.clone(),
        file: invocation.config_file.clone(),
        environment,
        directory: PathBuf::new(),
    })?;
    telemetry::start(config.log.level, config.log.file.as_deref())?;
    if config.holds_secrets() {
        core_dumps::prevent()?;
    }
    for warning in &config.warnings {
        error_line(&format!("warning: {warning}"));
    }
    match &invocation.command {
        Command::Config(args) => config::run(&config, args),
        Command::InitSchema(args) => init_schema::run(&config, args),
        Command::Produce(args) => produce::run(&config, args),
        Command::Consume(args) => consume::run(&config, args),
        Command::Verify(args) => verify::run(&config, args),
        Command::Query(args) => query::run(&config, args),
        Command::Dlq(command) => dlq::run(&config, command),
        Command::Bench(command) => bench::run(&config, command),
        Command::Demo(args) => demo::run(&config, args),
        Command::Doctor(args) => doctor::run(&config, args),
    }
}

/// For commands that talk to servers.
fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .context("cannot start the runtime's threads")
}

/// For commands that write to the store without a break: one thread has the loop and its requests, since handing them from
/// thread to thread would cost more than they do. Nothing goes on but in its `block_on`.
fn runtime_of_one_thread() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

/// The wall clock.
fn now() -> TimeMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimeMs(millis(since_epoch))
}

/// A duration in the rooms' unit.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The second is for when the first is busy with a large answer.
const WORKER_THREADS: usize = 2;

/// What clap has to say instead of an invocation: the help and the version that were asked for, or a usage error.
pub fn answer(answer: &clap::Error) -> anyhow::Result<Exit> {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    match answer.kind() {
        DisplayHelp | DisplayVersion => {
            answer.print()?;
            Ok(Exit::Ok)
        }
        DisplayHelpOnMissingArgumentOrSubcommand => {
            answer.print()?;
            Ok(Exit::Usage)
        }
        _ => Err(UsageError(cli::one_line(answer)).into()),
    }
}

/// The exit code of an outcome; an error is told in one line on stderr.
pub fn exit(outcome: anyhow::Result<Exit>) -> Exit {
    let error = match outcome {
        Ok(exit) => return exit,
        Err(error) => error,
    };
    // Who reads our output has seen enough, as in `iotpipe query … | head`.
    if report::is_broken_pipe(error.as_ref()) {
        return Exit::Ok;
    }
    error_line(&one_line(&error));
    match error.downcast_ref::<UsageError>() {
        Some(_) => Exit::Usage,
        None => Exit::Failed,
    }
}

/// Writes a line to stderr; where even that is gone, the exit code has to do.
fn error_line(text: &str) {
    let _ = writeln!(io::stderr(), "iotpipe: {text}");
}

/// The error and its causes, without what a cause merely repeats.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.ends_with(&cause) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&cause);
    }
    line.split(['\n', '\r'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn errors_are_one_line_with_their_causes() {
        let error = Err::<(), _>(anyhow!("refused:\n  at once\n"))
            .context("connecting to db")
            .context("opening the store");
        assert_eq!(
            one_line(&error.unwrap_err()),
            "opening the store: connecting to db: refused:, at once"
        );
        let error = anyhow!("timed out").context("reading x: timed out");
        assert_eq!(one_line(&error), "reading x: timed out");
    }

    #[test]
    fn exit_codes_follow_the_kind_of_error() {
        assert_eq!(exit(Ok(Exit::Differences)), Exit::Differences);
        assert_eq!(
            exit(Err(io::Error::from(io::ErrorKind::BrokenPipe)).context("printing")),
            Exit::Ok
        );
        assert_eq!(
            exit(Err(UsageError("a test's message".into())).context("x")),
            Exit::Usage
        );
        assert_eq!(exit(Err(anyhow!("a test's message"))), Exit::Failed);
    }
}
