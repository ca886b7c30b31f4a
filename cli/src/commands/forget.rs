use super::Context;
use crate::output::Tone;
use crate::{End, complete};
use chinwag_api::{Exit, ForgetRequest};
use chinwag_base::key::printable;
use clap::builder::NonEmptyStringValueParser;

/// Forget a member that will not return
///
/// Only an admin may, and only one that is down or has left can be forgotten. It is then shown nowhere and dialled by
/// nobody, and no history is kept for it. Its writes stay. If it starts after all, it is a member again.
#[derive(Debug, clap::Args)]
pub(crate) struct ForgetArgs {
    /// The name or the id of a member
    #[arg(value_name = "MEMBER", add = complete::members(), value_parser = NonEmptyStringValueParser::new())]
    member: String,
}

impl ForgetArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let forgotten = context.client()?.forget(&ForgetRequest { member: self.member }).await?;
        if context.out.is_json() {
            context.out.json(&forgotten)?;
        } else {
            let tick = context.out.paint(Tone::Good, "✓");
            let name = printable(&forgotten.name);
            context.out.line(&format!("{tick} {name} is forgotten here, and the others are told"))?;
        }
        Ok(Exit::Yes)
    }
}
