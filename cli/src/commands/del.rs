use super::Context;
use super::write::{self, FieldArgs, IfArgs, WaitArgs};
use crate::End;
use crate::complete;
use chinwag_api::{CellKind, Exit, WriteOp};

/// Delete what a key holds
#[derive(Debug, clap::Args)]
pub(crate) struct DelArgs {
    /// The key
    #[arg(add = complete::keys())]
    key: String,
    #[command(flatten)]
    field: FieldArgs,
    /// Only this type, where two were written concurrently
    #[arg(long, value_enum, value_name = "TYPE")]
    kind: Option<Type>,
    #[command(flatten)]
    condition: IfArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

/// The types that a cell can have.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Type {
    Register,
    Counter,
    Set,
    Flag,
    Map,
}

impl DelArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let kind = self.kind.map(|kind| match kind {
            Type::Register => CellKind::Register,
            Type::Counter => CellKind::Counter,
            Type::Set => CellKind::Set,
            Type::Flag => CellKind::Flag,
            Type::Map => CellKind::Map,
        });
        let operation = self.condition.on(self.field.of(WriteOp::Del { key: self.key, kind }));
        write::one(context, operation, &self.wait).await
    }
}
