//! What all reads share: following writes that were made elsewhere.

use super::write::{seconds, to_ms};
use chinwag_api::Token;

/// Which writes to follow.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct AfterArgs {
    /// Wait until this write is visible here: the token that a write with `--json` answered with. It may be given
    /// several times
    #[arg(long, value_name = "TOKEN", value_delimiter = ',')]
    after: Vec<String>,
    /// Wait so many seconds at most [default: the daemon's]
    #[arg(long, value_name = "SECONDS", requires = "after", value_parser = seconds)]
    timeout: Option<f64>,
}

impl AfterArgs {
    /// The tokens, as the API has them.
    pub(crate) fn token(&self) -> Option<Token> {
        (!self.after.is_empty()).then(|| Token(self.after.join(",")))
    }

    /// How long to wait.
    pub(crate) fn timeout_ms(&self) -> Option<u64> {
        self.timeout.map(to_ms)
    }
}
