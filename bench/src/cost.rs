//! What work costs: processor time and memory, of this process and of others.

use anyhow::{Context as _, Result};
use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::time::Duration;

/// Processors that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The processor time that this process has used, of all its threads, in user and kernel mode.
pub fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// The processor time that this thread has used, in user and kernel mode.
pub fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// The processor time that another process has used. The kernel tells it in ticks, usually of 10 ms.
///
/// # Errors
/// If there is no such process.
pub fn cpu_of(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let ticks = ticks(&stat).with_context(|| format!("{path} is not understood: {stat}"))?;
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// User and system time in `/proc/PID/stat`: fields 14 and 15, counted behind the name, which may have spaces.
fn ticks(stat: &str) -> Option<u64> {
    let behind_the_name = stat.rsplit_once(')')?.1;
    let mut fields = behind_the_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// The processor time that everyone on this machine has used, on all cores; also what a host above us took away.
/// `None` where the kernel does not tell.
pub fn cpu_of_all() -> Option<Duration> {
    let ticks = busy_ticks(&fs::read_to_string("/proc/stat").ok()?)?;
    Some(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// All of the first line of `/proc/stat` but idle and waiting for disks, which are the fourth and fifth, and guests,
/// which are counted as user time already.
fn busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let busy = |(at, _): &(usize, u64)| !matches!(at, 3 | 4) && *at < 8;
    Some(fields.into_iter().enumerate().filter(busy).map(|(_, ticks)| ticks).sum())
}

/// Memory of a process that is in RAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Resident, shared pages in full.
    pub resident_bytes: u64,
    /// Resident and its own: what would be free if the process ended.
    pub private_bytes: u64,
}

/// The memory of another process.
///
/// # Errors
/// If there is no such process.
pub fn memory_of(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    memory(&text).with_context(|| format!("{path} is not understood"))
}

fn memory(rollup: &str) -> Option<Memory> {
    let kib = |name: &str| -> Option<u64> {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    Some(Memory {
        resident_bytes: kib("Rss")? * 1_024,
        private_bytes: (kib("Private_Clean")? + kib("Private_Dirty")?) * 1_024,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_time_is_seen_from_inside_and_outside() {
        let (inside, outside) = (cpu(), cpu_of(std::process::id()).unwrap());
        let mut x = 1_u64;
        while cpu() - inside < Duration::from_millis(100) {
            x = std::hint::black_box(x.wrapping_mul(31));
        }
        let seen = cpu_of(std::process::id()).unwrap() - outside;
        assert!(seen >= Duration::from_millis(80), "{seen:?} of 100 ms");
    }

    #[test]
    fn a_name_with_spaces_and_brackets_confuses_nobody() {
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 300 4 0 0 20";
        assert_eq!(ticks(stat), Some(304));
        assert_eq!(ticks("nonsense"), None);
    }

    #[test]
    fn idle_time_is_not_busy() {
        assert_eq!(busy_ticks("cpu  1 2 4 1000 1000 8 16 32 64 128\ncpu0 9"), Some(63));
        assert_eq!(busy_ticks("cpu x"), None);
        assert!(cpu_of_all().unwrap() > cpu());
    }

    #[test]
    fn memory_is_read_by_name() {
        let rollup = "head\nRss:   20 kB\nPss: 9 kB\nPrivate_Clean:  3 kB\nPrivate_Dirty:\t5 kB\n";
        assert_eq!(memory(rollup), Some(Memory { resident_bytes: 20_480, private_bytes: 8_192 }));
        assert_eq!(memory("Rss: 20 kB"), None);
        assert!(memory_of(std::process::id()).unwrap().resident_bytes > 100_000);
    }
}
