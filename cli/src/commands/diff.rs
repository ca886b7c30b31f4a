use super::Context;
use crate::output::Tone;
use crate::text::{self, Side, count, thousands};
use crate::{End, complete};
use chinwag_api::{Diff, Exit};
use chinwag_base::key::printable;
use clap::builder::NonEmptyStringValueParser;

/// Keys that are shown; `--json` has a thousand.
const SHOWN_MAX: usize = 20;

/// Show what a member lacks, and what is lacked of its writes
///
/// By the clocks that both have told each other; nothing is sent for it. A member may hold a little more than it is known to
/// hold. Exits 1 if the two differ.
#[derive(Debug, clap::Args)]
pub(crate) struct DiffArgs {
    /// The name or the id of a member
    #[arg(value_name = "MEMBER", add = complete::members(), value_parser = NonEmptyStringValueParser::new())]
    member: String,
}

impl DiffArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let diff = context.client()?.diff(&self.member).await?;
        let exit = if diff.in_step { Exit::Yes } else { Exit::No };
        if context.out.is_json() {
            context.out.json(&diff)?;
            return Ok(exit);
        }
        for line in summary(&diff) {
            context.out.line(&line)?;
        }
        let rows: Vec<Vec<String>> = diff
            .keys
            .iter()
            .take(SHOWN_MAX)
            .map(|key| vec![printable(&key.key).into_owned(), thousands(key.writes)])
            .collect();
        if rows.is_empty() {
            return Ok(exit);
        }
        for (n, line) in
            text::table(&[("KEY", Side::Left), ("WRITES", Side::Right)], &rows).iter().enumerate()
        {
            let line = if n == 0 { context.out.paint(Tone::Heading, line) } else { line.clone() };
            context.out.line(&line)?;
        }
        match diff.keys.len().saturating_sub(SHOWN_MAX) as u64 + diff.more_keys {
            0 => {}
            more => context.out.line(&format!("… and {} more", count(more, "key")))?,
        }
        Ok(exit)
    }
}

fn summary(diff: &Diff) -> Vec<String> {
    let name = printable(&diff.name);
    if diff.in_step {
        return vec![format!(
            "{name} holds exactly what this daemon holds: digest {}",
            text::digest(&diff.digest)
        )];
    }
    if !diff.told {
        return vec![format!("{name} has not told yet what it holds; again in a moment")];
    }
    let mut lines = Vec::new();
    match diff.they_lack {
        0 => lines.push(format!("{name} lacks nothing")),
        n => lines.push(format!("{name} is not known to hold {}", count(n, "write"))),
    }
    if diff.beyond_log > 0 {
        let n = count(diff.beyond_log, "write");
        lines.push(format!("{n} of them are in the log no more; it will be sent whole values"));
    }
    for writer in &diff.we_lack {
        lines.push(format!("{} by {} are not here", count(writer.writes, "write"), printable(&writer.name)));
    }
    if diff.we_may_lack_more {
        lines.push("there are more, of which it tells once these are here".to_owned());
    }
    if diff.they_lack == 0 && diff.we_lack.is_empty() {
        lines.push(
            "both have seen the same writes and hold other state: report it, and see chinwag check"
                .to_owned(),
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use chinwag_api::{DiffWriter, MemberState};

    fn diff() -> Diff {
        Diff {
            name: "gamma".into(),
            id: chinwag_base::NodeId::from_bytes([3; 32]),
            state: MemberState::Alive,
            in_step: false,
            told: true,
            digest: Default::default(),
            their_digest: None,
            they_lack: 0,
            keys: Vec::new(),
            more_keys: 0,
            beyond_log: 0,
            we_lack: Vec::new(),
            we_may_lack_more: false,
        }
    }

    #[test]
    fn both_ways_are_told() {
        let alpha = DiffWriter { name: "alpha".into(), id: diff().id, writes: 1 };
        let both = Diff { they_lack: 1_204, beyond_log: 4, we_lack: vec![alpha], ..diff() };
        assert_eq!(
            summary(&both),
            [
                "gamma is not known to hold 1,204 writes",
                "4 writes of them are in the log no more; it will be sent whole values",
                "1 write by alpha are not here",
            ]
        );
        assert_eq!(summary(&Diff { in_step: true, ..diff() }).len(), 1);
        assert!(summary(&Diff { told: false, ..diff() })[0].contains("not told yet"));
        assert!(summary(&diff())[1].contains("report it"), "equal clocks and unequal state");
    }
}
