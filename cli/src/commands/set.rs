use super::Context;
use super::write::{self, FieldArgs, IfArgs, LendArgs, WaitArgs};
use crate::End;
use crate::complete;
use chinwag_api::{Bytes, Exit, Failure, Kind, WriteOp};
use chinwag_base::limits::VALUE_BYTES_MAX;
use std::io::Read as _;

/// Set a key to a value
#[derive(Debug, clap::Args)]
pub(crate) struct SetArgs {
    /// The key
    #[arg(add = complete::keys())]
    key: String,
    /// The value; - reads it from standard input, byte for byte
    #[arg(allow_negative_numbers = true)]
    value: String,
    #[command(flatten)]
    field: FieldArgs,
    #[command(flatten)]
    lend: LendArgs,
    #[command(flatten)]
    condition: IfArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

impl SetArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let value = if self.value == "-" { standard_input()? } else { self.value.as_str().into() };
        let operation = self.lend.lend(self.field.of(WriteOp::Set { key: self.key, value }));
        write::one(context, self.condition.on(operation), &self.wait).await
    }
}

/// All of standard input, one byte more than fits at most: the daemon then says what the limit is.
pub(crate) fn standard_input() -> Result<Bytes, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(VALUE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(|e| {
        Failure::new(Kind::BadRequest, "standard input cannot be read").because(e.to_string())
    })?;
    if bytes.len() > VALUE_BYTES_MAX {
        return Err(Failure::new(Kind::TooLarge, format!("a value has at most {VALUE_BYTES_MAX} bytes"))
            .because("every member holds every value in memory"));
    }
    Ok(bytes.into())
}
