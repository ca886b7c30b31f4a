//! The peer CLI: what a person types, and what they read.
//!
//! A command is one file in `commands`: its arguments' doc comments are its help, its `run` asks a daemon through
//! [`chinwag_api::Client`] and writes through `output::Output`. Data goes to standard output and prose to standard
//! error; with `--json` standard output is one object and an error is one object on standard error, so that whoever
//! reads standard output never has to tell the two apart. Nothing that came from another member reaches a terminal
//! before what could steer it has been escaped.

mod args;
mod choose;
mod commands;
mod complete;
mod daemon;
mod ndjson;
mod nearest;
mod output;
mod process;
mod text;

use args::Cli;
use chinwag_api::{Exit, Failure};
use output::Output;
use std::process::ExitCode;
use std::time::Instant;

/// The whole program: arguments in, exit code out.
pub fn main() -> ExitCode {
    complete::answer();
    let started = Instant::now();
    let cli = Cli::from_process();
    commands::run(cli, started)
}

/// Why a command ends early.
#[derive(Debug)]
enum End {
    /// It could not do what it was asked.
    Failure(Failure),
    /// Whoever read the output has gone, as in `chinwag keys | head`: nobody is left to tell anything.
    ReaderGone,
    /// A process that was started for it has told why already.
    Told(Exit),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        End::Failure(failure)
    }
}

impl From<std::io::Error> for End {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => End::ReaderGone,
            _ => End::Failure(
                Failure::new(chinwag_api::Kind::Permission, "the output cannot be written")
                    .because(error.to_string()),
            ),
        }
    }
}

/// Tells how a command ended, and makes its exit code.
fn finish(result: Result<Exit, End>, out: &mut Output) -> ExitCode {
    let exit = match result {
        Ok(exit) | Err(End::Told(exit)) => exit,
        Err(End::ReaderGone) => Exit::Yes,
        Err(End::Failure(failure)) => {
            // If standard error is closed too, the exit code is all that is left to say.
            let _ = out.failure(&failure);
            failure.exit()
        }
    };
    ExitCode::from(exit.code())
}

#[cfg(test)]
mod tests;
