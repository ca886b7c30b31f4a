//! SIGHUP: the configuration is read again. The log filter and the tags change at once; whatever else has changed is
//! named, and waits for a restart.
//!
//! A daemon on a terminal is another case: there HUP says that the terminal is gone, and the daemon leaves with it.

use crate::config::{Config, DaemonArgs, Logging};
use crate::daemon::Handle;
use crate::log;
use chinwag_api::Failure;

/// What a running daemon was started with.
pub(crate) struct Reload {
    args: DaemonArgs,
    config: Config,
    logging: Logging,
    /// The filter as it is now.
    filter: String,
}

impl Reload {
    pub(crate) fn new(args: DaemonArgs, config: Config, logging: Logging) -> Self {
        let filter = logging.filter.clone();
        Reload { args, config, logging, filter }
    }

    /// Reads the configuration again and tells in the log what came of it. A configuration that is wrong changes
    /// nothing.
    pub(crate) async fn again(&mut self, log: &log::Guard, daemon: &Handle) {
        match self.try_again(log, daemon).await {
            Ok(waiting) => {
                tracing::info!(target: "chinwag", event = "config.reloaded", log = self.filter);
                if !waiting.is_empty() {
                    let settings = waiting.join(", ");
                    tracing::warn!(target: "chinwag", event = "config.needs_restart", settings);
                }
            }
            Err(failure) => {
                let why = failure.to_string();
                tracing::error!(target: "chinwag", event = "config.refused", why);
            }
        }
    }

    async fn try_again(&mut self, log: &log::Guard, daemon: &Handle) -> Result<Vec<&'static str>, Failure> {
        let (config, logging) = Config::from_args(&self.args)?;
        if logging.filter != self.filter {
            log.refilter(&logging.filter)?;
            self.filter.clone_from(&logging.filter);
        }
        if config.tags != self.config.tags {
            daemon.set_tags(config.tags.clone()).await?;
            self.config.tags.clone_from(&config.tags);
        }
        Ok(waiting(&self.config, &config, self.logging.format != logging.format))
    }
}

/// The settings that differ from those that the daemon runs with, and that only a restart can change.
fn waiting(running: &Config, read: &Config, log_format: bool) -> Vec<&'static str> {
    let mut waiting = Vec::new();
    if running.name != read.name {
        waiting.push("name");
    }
    if running.listen != read.listen {
        waiting.push("listen");
    }
    if running.profile != read.profile {
        waiting.push("profile");
    }
    if running.on_member != read.on_member {
        waiting.push("on_member");
    }
    if running.mdns != read.mdns {
        waiting.push("mdns");
    }
    if running.history_max != read.history_max {
        waiting.push("history_max");
    }
    if running.checkpoint_every != read.checkpoint_every {
        waiting.push("checkpoint_every");
    }
    if log_format {
        waiting.push("log_format");
    }
    // No setting is passed over in silence, not even one that was not thought of here.
    let rest = Config {
        name: running.name.clone(),
        listen: running.listen.clone(),
        profile: running.profile,
        on_member: running.on_member.clone(),
        mdns: running.mdns,
        history_max: running.history_max,
        checkpoint_every: running.checkpoint_every,
        ..read.clone()
    };
    if rest != *running {
        waiting.push("others");
    }
    waiting
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ProfileName;

    #[test]
    fn what_needs_a_restart_is_named() {
        let running = Config::new("/d", "ada".parse().unwrap());
        assert_eq!(waiting(&running, &running, false), [""; 0]);
        let profile = Config { profile: ProfileName::Wan, ..running.clone() };
        assert_eq!(waiting(&running, &profile, false), ["profile"]);
        let silent = Config { mdns: false, ..running.clone() };
        assert_eq!(waiting(&running, &silent, false), ["mdns"]);
        let shorter = Config { history_max: 65_536, checkpoint_every: 64, ..running.clone() };
        assert_eq!(waiting(&running, &shorter, false), ["history_max", "checkpoint_every"]);
        let more =
            Config { name: "bob".parse().unwrap(), listen: vec!["9000".parse().unwrap()], ..running.clone() };
        assert_eq!(waiting(&running, &more, true), ["name", "listen", "log_format"]);
        let other = Config { merge: true, ..running.clone() };
        assert_eq!(waiting(&running, &other, false), ["others"]);
    }
}
