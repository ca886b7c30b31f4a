//! `chinwag`: the peer CLI.

use std::process::ExitCode;

fn main() -> ExitCode {
    chinwag_cli::main()
}
