use super::Context;
use crate::End;
use crate::text::{bytes, count, list};
use chinwag_api::{Compacted, Exit};

/// Write the state down now, and give back the room that the store's file does not need
///
/// A file grows by doubling and does not shrink by itself. The log of writes is cut to what members still lack; writes
/// wait while the file is rewritten.
#[derive(Debug, clap::Args)]
pub(crate) struct CompactArgs {}

impl CompactArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let compacted = context.client()?.compact().await?;
        if context.out.is_json() {
            context.out.json(&compacted)?;
        } else {
            context.out.line(&summary(&compacted))?;
        }
        Ok(Exit::Yes)
    }
}

fn summary(compacted: &Compacted) -> String {
    let Compacted { before_bytes, after_bytes, log_entries, log_for } = compacted;
    let (before, after) = (bytes(*before_bytes as f64), bytes(*after_bytes as f64));
    let size = match before_bytes.saturating_sub(*after_bytes) {
        0 => format!("the store has {after}, and none to give back"),
        saved => format!("the store had {before}, and has {after}: {} given back", bytes(saved as f64)),
    };
    let log = match (*log_entries, log_for.as_slice()) {
        (0, _) => "; its log is empty".to_owned(),
        (n, []) => format!("; {} of its log go with the next round", count(n, "write")),
        (n, names) => format!("; {} of its log are kept for {}", count(n, "write"), list(names)),
    };
    size + &log
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_was_given_back_and_what_is_kept_for_whom() {
        let of = |before_bytes, after_bytes, log_entries, log_for: &[&str]| {
            let log_for = log_for.iter().map(|name| (*name).to_owned()).collect();
            summary(&Compacted { before_bytes, after_bytes, log_entries, log_for })
        };
        assert_eq!(
            of(4 << 20, 1 << 20, 0, &[]),
            "the store had 4.0 MiB, and has 1.0 MiB: 3.0 MiB given back; its log is empty"
        );
        assert_eq!(
            of(1 << 20, 1 << 20, 2, &["beta", "gamma"]),
            "the store has 1.0 MiB, and none to give back; 2 writes of its log are kept for beta and gamma"
        );
    }
}
