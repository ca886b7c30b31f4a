use super::Context;
use super::write::{self, WaitArgs};
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
    wait: WaitArgs,
}

impl AddArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let elements = self.elements.iter().map(|e| Bytes::from(e.as_str())).collect();
        write::one(context, WriteOp::Add { key: self.key, elements }, &self.wait).await
    }
}
