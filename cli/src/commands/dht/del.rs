use super::{with_nearest, written};
use crate::End;
use crate::commands::Context;
use crate::commands::write::{seconds, shown, to_ms};
use chinwag_api::{Bytes, DhtOp, DhtWrite, Exit};
use chinwag_base::key::printable;

/// Delete what a key holds, or an element of its set
#[derive(Debug, clap::Args)]
pub(super) struct DelArgs {
    /// The key
    key: String,
    /// Only this element of the set that it holds
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    element: Option<String>,
    /// Return once so many owners have it durably [default: a majority]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    w: Option<u32>,
    /// Wait so many seconds at most [default: the daemon's]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<f64>,
}

impl DelArgs {
    pub(super) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let key = printable(&self.key).into_owned();
        let (op, what) = match self.element.as_deref().map(Bytes::from) {
            Some(value) => (DhtOp::Rm { value: value.clone() }, format!("{key} - {}", shown(&value))),
            None => (DhtOp::Del {}, format!("{key} deleted")),
        };
        let timeout_ms = self.timeout.map(to_ms);
        let request = DhtWrite { quorum: self.w, timeout_ms, ..DhtWrite::new(self.key.clone(), op) };
        let client = context.client()?;
        match client.dht_write(&request).await {
            Ok(reply) => written(context, &what, &reply),
            Err(failure) => Err(with_nearest(&client, failure, &self.key, "del").await.into()),
        }
    }
}
