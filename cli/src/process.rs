//! Other processes: whether they run, and how to end them.

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Whether the process has ended. One that only waits for its parent to notice has.
pub(crate) fn is_gone(pid: u32) -> bool {
    let Some(target) = of(pid) else { return true };
    if matches!(test_kill_process(target), Err(rustix::io::Errno::SRCH)) {
        return true;
    }
    // Where there is no /proc, a zombie counts as running until it is reaped.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| stat.rsplit(") ").next().map(|rest| rest.starts_with('Z')))
        .unwrap_or(false)
}

/// Sends a signal. That the process is gone already is no error to anyone.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(target) = of(pid) {
        let _ = kill_process(target, signal);
    }
}

/// Never the process group (0) and never all processes (-1).
fn of(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_gone_once_it_has_ended() {
        assert!(!is_gone(std::process::id()));
        assert!(is_gone(0));
        assert!(is_gone(u32::MAX));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(!is_gone(child.id()));
        signal(child.id(), Signal::KILL);
        let ended = (0..200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            is_gone(child.id())
        });
        assert!(ended, "a zombie has ended");
        child.wait().unwrap();
    }
}
