//! What this process may use of the machine.

use chinwag_api::Finding;
use chinwag_base::limits::{ADMISSIONS_MAX, CONNECTIONS_MAX};
use rustix::process::{Resource, getrlimit};

/// Files beside connections: store, log, sockets to listen on, clients of the API.
const FILES_BESIDE: u64 = 128;
/// Files of a daemon whose every place is taken. QUIC's connections share one socket, so this is TCP's worst case.
const FILES_NEEDED: u64 = (CONNECTIONS_MAX + ADMISSIONS_MAX) as u64 + FILES_BESIDE;

/// Examines the limits of the process that calls it.
pub fn examine_machine() -> Vec<Finding> {
    let limit = getrlimit(Resource::Nofile).current;
    let open = std::fs::read_dir("/proc/self/fd").map(|files| files.count() as u64).ok();
    vec![files(limit, open)]
}

/// `None` as a limit means that there is none.
fn files(limit: Option<u64>, open: Option<u64>) -> Finding {
    let Some(limit) = limit else { return Finding::good("files", "no limit to open files") };
    let open = open.map_or_else(String::new, |open| format!(", {open} are open"));
    let message = format!("{limit} files may be open{open}");
    if limit < FILES_NEEDED {
        let message = format!("{message}; with every connection taken a daemon needs {FILES_NEEDED}");
        return Finding::warning("files", message, format!("ulimit -n {}", FILES_NEEDED.next_power_of_two()))
            .hint(format!("under systemd: LimitNOFILE={}", FILES_NEEDED.next_power_of_two()));
    }
    Finding::good("files", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chinwag_api::Verdict;

    #[test]
    fn too_few_files_are_told_with_the_number_that_is_enough() {
        let few = files(Some(256), Some(30));
        assert_eq!(few.verdict, Verdict::Warning);
        assert!(few.message.contains("256 files may be open, 30 are open"), "{few:?}");
        assert_eq!(few.tries[0], "ulimit -n 1024");
        assert_eq!(files(Some(1_024), None).verdict, Verdict::Good);
        assert_eq!(files(None, None).verdict, Verdict::Good);
        assert_eq!(examine_machine().len(), 1);
    }
}
