use super::Context;
use super::write::{self, FieldArgs, LendArgs, WaitArgs};
use crate::End;
use crate::complete;
use chinwag_api::{Bytes, Exit, WriteOp};

/// Add elements to a set
#[derive(Debug, clap::Args)]
pub(crate) struct AddArgs {
    /// The key
    #[arg(add = complete::keys())]
    key: String,
    /// The elements
    #[arg(required = true, value_name = "ELEMENT", allow_negative_numbers = true)]
    elements: Vec<String>,
    #[command(flatten)]
    field: FieldArgs,
    #[command(flatten)]
    lend: LendArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

impl AddArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let elements = self.elements.iter().map(|e| Bytes::from(e.as_str())).collect();
        let operation = self.lend.lend(self.field.of(WriteOp::Add { key: self.key, elements }));
        write::one(context, operation, &self.wait).await
    }
}
