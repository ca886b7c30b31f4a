//! What a daemon counts itself: its commits, from its metrics.

use crate::http::Connections;
use anyhow::{Context as _, Result};
use std::ops::{AddAssign, Sub};

/// Commits of a daemon's store since its start, or between two looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Commits {
    /// Those of the log alone.
    pub commits: u64,
    /// Rows that they made durable.
    pub rows: u64,
    /// Those that wrote the state down.
    pub checkpoints: u64,
}

impl Commits {
    /// Until now.
    ///
    /// # Errors
    /// If the daemon does not answer, or does not count them.
    pub async fn of(connections: &Connections) -> Result<Self> {
        let text = connections.get("/metrics").await?;
        let text = String::from_utf8_lossy(&text);
        read(&text).with_context(|| format!("the metrics are not understood:\n{text}"))
    }
}

fn read(text: &str) -> Option<Commits> {
    let value = |name: &str| -> Option<u64> {
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        let value: f64 = lines.find(|(found, _)| *found == name)?.1.parse().ok()?;
        Some(value as u64)
    };
    Some(Commits {
        commits: value("chinwag_commit_seconds_count")?,
        rows: value("chinwag_commit_rows_sum")?,
        checkpoints: value("chinwag_checkpoint_seconds_count")?,
    })
}

impl Sub for Commits {
    type Output = Commits;

    fn sub(self, before: Commits) -> Commits {
        Commits {
            commits: self.commits.saturating_sub(before.commits),
            rows: self.rows.saturating_sub(before.rows),
            checkpoints: self.checkpoints.saturating_sub(before.checkpoints),
        }
    }
}

impl AddAssign for Commits {
    fn add_assign(&mut self, more: Commits) {
        self.commits += more.commits;
        self.rows += more.rows;
        self.checkpoints += more.checkpoints;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_read_by_name() {
        let text = "# HELP chinwag_commit_seconds How long\nchinwag_commit_seconds_sum 1.5\n\
                    chinwag_commit_seconds_count 12\nchinwag_commit_rows_sum 30.0\nchinwag_commit_rows_count 12\n\
                    chinwag_checkpoint_seconds_count 1\n# EOF\n";
        let all = read(text).unwrap();
        assert_eq!(all, Commits { commits: 12, rows: 30, checkpoints: 1 });
        let mut sum = all - Commits { commits: 2, rows: 10, checkpoints: 0 };
        sum += all;
        assert_eq!(sum, Commits { commits: 22, rows: 50, checkpoints: 2 });
        assert_eq!(read("chinwag_commit_seconds_count 12"), None);
    }
}
