use super::expires::{self, Expires};
use super::written;
use crate::End;
use crate::commands::Context;
use crate::commands::set::standard_input;
use crate::commands::write::{seconds, shown, to_ms};
use chinwag_api::{DhtOp, DhtWrite, Exit};
use chinwag_base::key::printable;

/// Put a value under a key
///
/// Values that are put at the same moment are all kept: see `dht get --siblings`. The last one to have seen the others
/// replaces them.
#[derive(Debug, clap::Args)]
pub(super) struct PutArgs {
    /// The key
    key: String,
    /// The value; - reads it from standard input, byte for byte
    #[arg(allow_negative_numbers = true)]
    value: String,
    /// The key holds a set: put the value into it as an element
    #[arg(long)]
    element: bool,
    /// Keep it for so long: 90s, 10m, 2h, 7d or never
    #[arg(long, value_name = "TIME", default_value = "never", value_parser = expires::parse)]
    expires: Expires,
    /// Return once so many owners hold it durably [default: a majority]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    w: Option<u32>,
    /// Wait so many seconds at most [default: the daemon's]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<f64>,
    /// Draw whom it was asked of
    #[arg(long)]
    trace: bool,
}

impl PutArgs {
    pub(super) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let value = if self.value == "-" { standard_input()? } else { self.value.as_str().into() };
        let sign = if self.element { "+" } else { "=" };
        let what = format!("{} {sign} {}", printable(&self.key), shown(&value));
        let op = if self.element { DhtOp::Add { value } } else { DhtOp::Set { value } };
        let request = DhtWrite {
            expires_ms: self.expires.ms,
            quorum: self.w,
            timeout_ms: self.timeout.map(to_ms),
            trace: self.trace,
            ..DhtWrite::new(self.key, op)
        };
        let reply = context.client()?.dht_write(&request).await?;
        written(context, &what, &reply)
    }
}
