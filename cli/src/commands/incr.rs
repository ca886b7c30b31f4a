use super::Context;
use super::write::{self, FieldArgs, WaitArgs};
use crate::End;
use crate::complete;
use chinwag_api::{Exit, WriteOp};

/// Add to a counter
#[derive(Debug, clap::Args)]
pub(crate) struct IncrArgs {
    /// The key
    #[arg(add = complete::keys())]
    key: String,
    /// By how much; a negative number takes away
    #[arg(default_value_t = 1, allow_negative_numbers = true)]
    pub(crate) by: i64,
    #[command(flatten)]
    field: FieldArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

impl IncrArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let operation = self.field.of(WriteOp::Incr { key: self.key, by: self.by });
        write::one(context, operation, &self.wait).await
    }
}
