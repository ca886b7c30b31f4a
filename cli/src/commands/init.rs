use super::Context;
use crate::{End, choose, daemon, output::Tone};
use chinwag_api::{Exit, InitRequest};
use chinwag_base::{Name, OverlayName};
use std::path::PathBuf;

/// Make an overlay with this machine as its first member
///
/// With a daemon running it becomes the first member; without one its data directory is prepared, and `chinwag up`
/// starts it.
#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// What to call the overlay: lower-case letters and digits
    overlay: OverlayName,
    /// Prepare this data directory, whether a daemon runs or not
    #[arg(long, value_name = "DIR", env = "CHINWAG_DATA")]
    data: Option<PathBuf>,
}

impl InitArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let running = match &self.data {
            Some(data) => choose::find_at(data, &context.runtime)?,
            None => choose::find(&context.global, &context.runtime)?,
        };
        let is_running = running.is_some();
        let name: Option<Name> = context.global.name.clone();
        let reply = match running {
            Some(client) => client.init(&InitRequest { name: self.overlay }).await?,
            None => daemon::found(self.data.as_deref(), name, self.overlay)?,
        };
        if context.out.is_json() {
            context.out.json(&reply)?;
            return Ok(Exit::Yes);
        }
        let tick = context.out.paint(Tone::Good, "✓");
        context.out.line(&format!(
            "{tick} overlay {} made, {} is its first member",
            reply.overlay.name, reply.name
        ))?;
        context.out.say(if is_running {
            "Next: chinwag invite"
        } else {
            "Next: chinwag up    and then: chinwag invite"
        })?;
        Ok(Exit::Yes)
    }
}
