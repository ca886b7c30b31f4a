//! How often another process has data brought to the disk, as `strace` sees it. It slows that process down, so nothing else is
//! measured meanwhile.

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, Command, Stdio};

/// The calls that do it.
const CALLS: [&str; 4] = ["fsync", "fdatasync", "sync_file_range", "msync"];

/// Whether there is an `strace` on this machine.
pub fn can_be_counted() -> bool {
    let version = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// A process that is being watched. It runs on when this is dropped.
#[derive(Debug)]
pub struct Counting {
    strace: Child,
    said: BufReader<ChildStderr>,
}

impl Counting {
    /// Begins to watch all threads of a process.
    ///
    /// # Errors
    /// If we may not.
    pub async fn of(pid: u32) -> Result<Self> {
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-e", &format!("trace={}", CALLS.join(",")), "-p", &pid.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut strace = command.spawn().context("cannot run strace; try: apt-get install strace")?;
        let stderr = strace.stderr.take().context("strace has no standard error")?;
        let mut said = BufReader::new(stderr);
        let mut line = String::new();
        tokio::task::block_in_place(|| said.read_line(&mut line))?;
        let counting = Counting { strace, said };
        ensure!(line.contains("attached"), "strace: {}", line.trim());
        Ok(counting)
    }

    /// Ends that, and says how many calls there were.
    ///
    /// # Errors
    /// If strace does not say.
    pub async fn end(mut self) -> Result<u64> {
        let pid = Pid::from_raw(self.strace.id() as i32).context("strace has no id")?;
        kill_process(pid, Signal::INT)?;
        let mut text = String::new();
        tokio::task::block_in_place(|| self.said.read_to_string(&mut text))?;
        Ok(calls(&text))
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        // Both fail only if it has ended.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

/// Calls in the table that strace ends with: `% time, seconds, usecs/call, calls, errors, syscall`.
fn calls(table: &str) -> u64 {
    let of = |line: &str| -> Option<u64> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = words.last()?;
        if CALLS.contains(name) { words.get(3)?.parse().ok() } else { None }
    };
    table.lines().filter_map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read() {
        let table = "strace: Process 1 detached\n% time     seconds  usecs/call     calls    errors syscall\n\
                     ------ ----------- ----------- --------- --------- ----------------\n \
                     99.00    0.5         100           40           fdatasync\n  \
                     1.00    0.1          10            2         1 fsync\n\
                     100.00    0.6                        42         1 total\n";
        assert_eq!(calls(table), 42);
        assert_eq!(calls("strace: no such process"), 0);
    }
}
