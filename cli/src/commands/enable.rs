use super::Context;
use super::write::{self, FieldArgs, IfArgs, LendArgs, WaitArgs};
use crate::End;
use crate::complete;
use chinwag_api::{Exit, WriteOp};

/// Switch a flag on
///
/// Of two members of which one enables it while the other disables it, the one that enables it wins.
#[derive(Debug, clap::Args)]
pub(crate) struct EnableArgs {
    /// The key
    #[arg(add = complete::keys())]
    key: String,
    #[command(flatten)]
    field: FieldArgs,
    #[command(flatten)]
    lend: LendArgs,
    #[command(flatten)]
    condition: IfArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

impl EnableArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let operation = self.lend.lend(self.field.of(WriteOp::Enable { key: self.key }));
        write::one(context, self.condition.on(operation), &self.wait).await
    }
}
