//! Arguments to a command to an exit code; nothing else.

use std::process::ExitCode;

use iotpipe::{cli, command, config::Environment};

fn main() -> ExitCode {
    let outcome = match cli::parse(std::env::args_os()) {
        Ok(invocation) => command::run(&invocation, Environment::of_process()),
        Err(answer) => command::answer(&answer),
    };
    command::exit(outcome).into()
}
