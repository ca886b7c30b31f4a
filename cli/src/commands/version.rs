use super::Context;
use crate::{End, choose};
use chinwag_api::{Exit, Schema, Version};
use chinwag_base::key::printable;
use chinwag_base::{PROTOCOL_VERSION, PROTOCOL_VERSION_MIN};
use serde::Serialize;

/// Show the version of this program, and of the daemon if one runs
#[derive(Debug, clap::Args)]
pub(crate) struct VersionArgs {}

/// What `version --json` answers: this program, and the daemon.
#[derive(Debug, Serialize)]
struct Versions {
    version: String,
    protocol: u16,
    protocol_min: u16,
    daemon: Option<Version>,
}

impl Schema for Versions {
    const SCHEMA: &'static str = "chinwag.versions/1";
}

impl VersionArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        // The question is about this program; that no daemon can be asked is no failure.
        let daemon = match choose::find(&context.global, &context.runtime) {
            Ok(Some(client)) => client.version().await.ok(),
            _ => None,
        };
        let versions = Versions {
            version: env!("CARGO_PKG_VERSION").into(),
            protocol: PROTOCOL_VERSION,
            protocol_min: PROTOCOL_VERSION_MIN,
            daemon,
        };
        if context.out.is_json() {
            context.out.json(&versions)?;
            return Ok(Exit::Yes);
        }
        context.out.line(&format!("chinwag  {}, protocol {}", versions.version, versions.protocol))?;
        if let Some(daemon) = &versions.daemon {
            context.out.line(&format!(
                "chinwagd {}, protocol {}",
                printable(&daemon.version),
                daemon.protocol
            ))?;
        }
        Ok(Exit::Yes)
    }
}
