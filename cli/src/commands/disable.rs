use super::Context;
use super::write::{self, FieldArgs, IfArgs, WaitArgs};
use crate::End;
use crate::complete;
use chinwag_api::{Exit, WriteOp};

/// Switch a flag off
///
/// A flag that is off is not there.
#[derive(Debug, clap::Args)]
pub(crate) struct DisableArgs {
    /// The key
    #[arg(add = complete::keys())]
    key: String,
    #[command(flatten)]
    field: FieldArgs,
    #[command(flatten)]
    condition: IfArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

impl DisableArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let operation = self.condition.on(self.field.of(WriteOp::Disable { key: self.key }));
        write::one(context, operation, &self.wait).await
    }
}
