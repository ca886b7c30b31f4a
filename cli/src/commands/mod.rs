//! The commands: one file each. A further one is its file, its line in [`crate::args`] and its line here.

pub(crate) mod add;
mod after;
pub(crate) mod batch;
pub(crate) mod check;
pub(crate) mod compact;
pub(crate) mod completions;
pub(crate) mod del;
pub(crate) mod dht;
pub(crate) mod diff;
pub(crate) mod disable;
pub(crate) mod doctor;
pub(crate) mod enable;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod forget;
pub(crate) mod get;
pub(crate) mod import;
pub(crate) mod incr;
pub(crate) mod init;
pub(crate) mod invite;
pub(crate) mod join;
pub(crate) mod keys;
pub(crate) mod lab;
pub(crate) mod leave;
pub(crate) mod man;
pub(crate) mod members;
mod progress;
pub(crate) mod reach;
pub(crate) mod rm;
pub(crate) mod set;
pub(crate) mod status;
pub(crate) mod trace;
pub(crate) mod up;
pub(crate) mod version;
pub(crate) mod watch;
mod write;

use crate::args::{Cli, Command, Global};
use crate::choose;
use crate::output::Output;
use crate::{End, finish};
use chinwag_api::runtime::Runtime;
use chinwag_api::{Client, Exit, Failure, Kind};
use std::process::ExitCode;
use std::time::Instant;

/// What every command works with.
pub(crate) struct Context {
    pub(crate) global: Global,
    pub(crate) runtime: Runtime,
    pub(crate) out: Output,
    /// When the process started, for times that a person has waited.
    pub(crate) started: Instant,
}

impl Context {
    /// A client of the daemon that the flags mean, or of the only one.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        choose::daemon(&self.global, &self.runtime)
    }
}

/// Runs a command from its arguments to its exit code.
pub(crate) fn run(cli: Cli, started: Instant) -> ExitCode {
    let Cli { global, command } = cli;
    let mut out = Output::standard(global.json, global.color);
    if let Command::Up(args) = command {
        // A daemon brings its own runtime.
        return up::run(&args);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure =
                Failure::new(Kind::Permission, "the system gives no event queue").because(error.to_string());
            return finish(Err(failure.into()), &mut out);
        }
    };
    let mut context = Context { global, runtime: Runtime::of_user(), out, started };
    let result = runtime.block_on(dispatch(command, &mut context));
    finish(result, &mut context.out)
}

/// Runs a command that asks a daemon.
pub(crate) async fn dispatch(command: Command, context: &mut Context) -> Result<Exit, End> {
    match command {
        Command::Up(_) => unreachable!("`run` takes it, because a daemon brings its own runtime"),
        Command::Lab(args) => args.run(context).await,
        Command::Init(args) => args.run(context).await,
        Command::Invite(args) => args.run(context).await,
        Command::Join(args) => args.run(context).await,
        Command::Leave(args) => args.run(context).await,
        Command::Status(args) => args.run(context).await,
        Command::Members(args) => args.run(context).await,
        Command::Explain(args) => args.run(context).await,
        Command::Reach(args) => args.run(context).await,
        Command::Doctor(args) => args.run(context).await,
        Command::Check(args) => args.run(context).await,
        Command::Diff(args) => args.run(context).await,
        Command::Trace(args) => args.run(context).await,
        Command::Forget(args) => args.run(context).await,
        Command::Compact(args) => args.run(context).await,
        Command::Set(args) => args.run(context).await,
        Command::Get(args) => args.run(context).await,
        Command::Del(args) => args.run(context).await,
        Command::Incr(args) => args.run(context).await,
        Command::Add(args) => args.run(context).await,
        Command::Rm(args) => args.run(context).await,
        Command::Enable(args) => args.run(context).await,
        Command::Disable(args) => args.run(context).await,
        Command::Batch(args) => args.run(context).await,
        Command::Keys(args) => args.run(context).await,
        Command::Export(args) => args.run(context).await,
        Command::Import(args) => args.run(context).await,
        Command::Watch(args) => args.run(context).await,
        Command::Dht(args) => args.run(context).await,
        Command::Completions(args) => args.run(context).await,
        Command::Man(args) => args.run(context).await,
        Command::Version(args) => args.run(context).await,
    }
}
