//! Arguments to a command to an exit code; nothing else.

use std::process::ExitCode;

use iotpipe::{cli, command, config::Environment};

/// Rows and records are made on one thread and freed on another, all the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let outcome = match cli::parse(std::env::args_os()) {
        Ok(invocation) => command::run(&invocation, Environment::of_process()),
        Err(answer) => command::answer(&answer),
    };
    command::exit(outcome).into()
}
