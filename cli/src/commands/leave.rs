use super::Context;
use crate::output::Tone;
use crate::{End, process, text};
use chinwag_api::{Exit, Failure, Kind};
use chinwag_base::key::printable;
use std::time::{Duration, Instant};

/// How long a graceful end may take; the daemon itself gives up after two seconds.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Leave gracefully and end the daemon
///
/// The others are told, so that nobody suspects it. Its data stays: `chinwag up` brings it back.
#[derive(Debug, clap::Args)]
pub(crate) struct LeaveArgs {}

impl LeaveArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let client = context.client()?;
        let reply = client.leave().await?;
        while !process::is_gone(reply.pid) {
            if context.started.elapsed() > LEAVE_TIMEOUT {
                return Err(Failure::new(
                    Kind::Timeout,
                    format!("chinwagd (pid {}) has not ended", reply.pid),
                )
                .because(format!("it was asked to {} s ago", LEAVE_TIMEOUT.as_secs()))
                .hint(format!("kill {}", reply.pid))
                .into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if context.out.is_json() {
            context.out.json(&reply)?;
        } else {
            let tick = context.out.paint(Tone::Good, "✓");
            let took = text::time(Instant::now() - context.started);
            context
                .out
                .line(&format!("{tick} {} has left and ended after {took}", printable(&reply.name)))?;
        }
        Ok(Exit::Yes)
    }
}
