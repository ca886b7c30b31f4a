//! `chinwagd`: the daemon alone, for servers and containers.

fn main() -> std::process::ExitCode {
    chinwag_daemon::main()
}
