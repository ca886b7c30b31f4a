use super::trace;
use crate::commands::Context;
use crate::commands::write::{seconds, to_ms};
use crate::output::Tone;
use crate::{End, text};
use chinwag_api::{BlobHash, DhtFound, Exit, Failure, Kind};
use chinwag_base::key::printable;

/// Show who holds a record
#[derive(Debug, clap::Args)]
pub(super) struct FindArgs {
    /// A cell's key, or a blob's or file's hash
    #[arg(value_name = "KEY|HASH")]
    target: String,
    /// Draw each member that was asked: its rank, its round trip and its verdict
    #[arg(long)]
    trace: bool,
    /// Wait so many seconds at most [default: the daemon's]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<f64>,
}

/// What is looked for.
#[derive(Debug, PartialEq, Eq)]
enum Target<'a> {
    Cell(&'a str),
    Blob(BlobHash),
}

/// A record as any door of the DHT spells it, or in short: 64 digits are a hash, all else is a key.
fn target(text: &str) -> Result<Target<'_>, Failure> {
    if let Some(key) = text.strip_prefix("/chinwag/cell/") {
        return Ok(Target::Cell(key));
    }
    let spelled = text.strip_prefix("/chinwag/blob/");
    match (spelled.unwrap_or(text).parse(), spelled) {
        (Ok(hash), _) => Ok(Target::Blob(hash)),
        (Err(_), None) => Ok(Target::Cell(text)),
        (Err(error), Some(_)) => {
            Err(Failure::new(Kind::BadRequest, "that is no blob's hash").because(error.to_string()))
        }
    }
}

impl FindArgs {
    pub(super) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let target = target(&self.target)?;
        let timeout_ms = self.timeout.map(to_ms);
        let client = context.client()?;
        let found = match target {
            Target::Cell(key) => client.dht_find_cell(key, timeout_ms).await?,
            Target::Blob(hash) => client.dht_find_blob(hash, timeout_ms).await?,
        };
        if context.out.is_json() {
            context.out.json(&found)?;
        } else {
            if self.trace {
                for (i, line) in trace::lines(&found.asked).iter().enumerate() {
                    let line = if i == 0 { context.out.paint(Tone::Heading, line) } else { line.clone() };
                    context.out.line(&line)?;
                }
            }
            context.out.line(&summary(&self.target, &found))?;
        }
        Ok(if found.holders > 0 { Exit::Yes } else { Exit::No })
    }
}

/// `greeting is on 3 of 5 owners: alpha, beta and gamma · after 1.2 ms`.
fn summary(target: &str, found: &DhtFound) -> String {
    let holds = found.asked.iter().filter(|asked| asked.verdict.holds());
    let names: Vec<String> = holds.map(|asked| printable(&asked.name).into_owned()).collect();
    let (target, took) = (printable(target), text::time_ms(found.took_ms));
    match names.is_empty() {
        true => format!("nobody of {} asked holds {target} · after {took}", found.asked.len()),
        false => {
            let noun = if found.owners == 1 { "owner" } else { "owners" };
            format!(
                "{target} is on {} of {} {noun}: {} · after {took}",
                names.len(),
                found.owners,
                text::list(&names)
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_a_hash_and_all_else_a_key() {
        let digits = "ab".repeat(32);
        let hash = BlobHash::from_bytes([0xab; 32]);
        assert_eq!(target(&digits), Ok(Target::Blob(hash)));
        assert_eq!(target(&format!("/chinwag/blob/{digits}")), Ok(Target::Blob(hash)));
        assert_eq!(target("greeting"), Ok(Target::Cell("greeting")));
        assert_eq!(
            target(&format!("/chinwag/cell/{digits}")),
            Ok(Target::Cell(&digits)),
            "a key of 64 digits"
        );
        assert_eq!(target("/chinwag/blob/x").unwrap_err().kind, Kind::BadRequest);
    }
}
