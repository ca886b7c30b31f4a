use super::Context;
use super::write::{self, WaitArgs};
use crate::ndjson::{self, Line, Lines, at_line};
use crate::{End, text};
use chinwag_api::{Exit, Failure, Kind, Operation};
use chinwag_base::limits::{API_BODY_BYTES_MAX, BATCH_OPS_MAX};
use std::path::PathBuf;

/// Do several writes at once: all of them or none
///
/// Each line is one operation, as `POST /v1/write` takes them; one of each sort
///
///   {"op":"set","key":"greeting","value":"hello"}
///   {"op":"set","key":"blob","value_base64":"/wA="}
///   {"op":"del","key":"old"}
///   {"op":"incr","key":"visits","by":2}
///   {"op":"add","key":"fruit","elements":["apple"]}
///   {"op":"rm","key":"fruit","elements":["pear"]}
///   {"op":"enable","key":"open"}
///   {"op":"disable","key":"open"}
///
/// Any of them may be about a field of its key, and what is set, added or enabled may go by itself
///
///   {"op":"set","key":"user","field":["address","city"],"value":"rome"}
///   {"op":"set","key":"seat/7","value":"ada","ttl_ms":30000}
///   {"op":"add","key":"service/web","elements":["10.0.0.7:80"],"ephemeral":true}
///
/// Any of them may have a condition on its key, as for `set --if`
///
///   {"op":"set","key":"lock","value":"ada","if":"absent"}
///   {"op":"set","key":"lock","value":"bob","if":{"value":"ada"}}
///   {"op":"del","key":"lock","if":{"version":"9c1fa07e6d0caaa21f034776ddd8c7d1"}}
///
/// Each sees those before it. If one cannot be done, its line is told and nothing is written.
/// Other members may see a part of it for a moment, while it travels.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct BatchArgs {
    /// The file; - or none is standard input
    #[arg(value_parser = ndjson::file)]
    file: Option<PathBuf>,
    #[command(flatten)]
    wait: WaitArgs,
}

impl BatchArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let client = context.client()?;
        let (ops, numbers) = self.read()?;
        let reply = client.write(&self.wait.request(ops.clone())).await;
        let reply = reply.map_err(|failure| match failure.op.and_then(|op| numbers.get(op)) {
            Some(number) => at_line(*number, failure).because("nothing of the batch is written"),
            None => failure,
        })?;
        if context.out.is_json() {
            context.out.json(&reply)?;
        } else {
            for (result, op) in reply.results.iter().zip(&ops) {
                context.out.line(&write::outcome(result, op))?;
            }
            let summary = format!("{} · {}", text::count(ops.len() as u64, "operation"), write::held(&reply));
            context.out.line(&summary)?;
        }
        self.wait.judge(&reply)
    }

    /// The operations, and the number of each one's line.
    fn read(&self) -> Result<(Vec<Operation>, Vec<u64>), Failure> {
        let mut lines = Lines::open(self.file.as_deref(), API_BODY_BYTES_MAX)?;
        let (mut ops, mut numbers, mut bytes_read) = (Vec::new(), Vec::new(), 0);
        while let Some(Line { number, bytes }) = lines.next()? {
            // Both are the daemon's limits; to know them here keeps an endless input from being read to no end.
            bytes_read += bytes.len();
            if ops.len() == BATCH_OPS_MAX || bytes_read > API_BODY_BYTES_MAX {
                let why =
                    format!("at most {BATCH_OPS_MAX} operations and {API_BODY_BYTES_MAX} bytes are taken");
                let failure = Failure::new(Kind::TooLarge, "the batch is too large").because(why);
                return Err(at_line(number, failure));
            }
            let op = Operation::from_json(&bytes).map_err(|why| {
                let failure = Failure::new(Kind::BadRequest, "that is no operation").because(why);
                at_line(number, failure).because("nothing of the batch is written")
            })?;
            ops.push(op);
            numbers.push(number);
        }
        if ops.is_empty() {
            return Err(Failure::new(Kind::BadRequest, "there is no operation to do")
                .hint(r#"echo '{"op":"set","key":"greeting","value":"hello"}' | chinwag batch"#));
        }
        Ok((ops, numbers))
    }
}
