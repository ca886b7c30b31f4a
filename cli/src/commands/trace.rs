use super::Context;
use super::write::FieldArgs;
use crate::output::Tone;
use crate::text::{self, Side, UNKNOWN};
use crate::{End, complete};
use chinwag_api::{Exit, Trace, TraceMember, TracePath};
use chinwag_base::NodeId;
use chinwag_base::key::printable;
use clap::builder::NonEmptyStringValueParser;
use std::collections::BTreeSet;

/// Show how and when the last write to a key, or to a field of it, came to each member
///
/// Each member is asked, and answers from memory: the last 4,096 writes are remembered, since its daemon started. Times are
/// those of each one's own clock, from when the writer's clock says that the write was made; so they can be off by as much
/// as the clocks differ (`chinwag doctor` compares them). Exits 1 if a member does not hold the write.
#[derive(Debug, clap::Args)]
pub(crate) struct TraceArgs {
    /// The key
    #[arg(value_name = "KEY", add = complete::keys(), value_parser = NonEmptyStringValueParser::new())]
    key: String,
    #[command(flatten)]
    field: FieldArgs,
}

impl TraceArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let trace = context.client()?.trace(&self.key, &self.field.field).await?;
        let is_missed = |member: &TraceMember| matches!(member.path, TracePath::Lacks | TracePath::Silent);
        let exit = if trace.members.iter().any(is_missed) { Exit::No } else { Exit::Yes };
        if context.out.is_json() {
            context.out.json(&trace)?;
            return Ok(exit);
        }
        let columns = [("MEMBER", Side::Left), ("AFTER", Side::Right), ("HOW", Side::Left)];
        let rows = tree(&trace);
        for (n, line) in text::table(&columns, &rows).iter().enumerate() {
            let line = if n == 0 { context.out.paint(Tone::Heading, line) } else { line.clone() };
            context.out.line(&line)?;
        }
        if trace.members.iter().filter(|member| member.durable_unix_ms.is_some()).count() > 1 {
            context.out.say("Each time is by that member's own clock; clocks differ.")?;
        }
        Ok(exit)
    }
}

/// The writer, and below each member those who have it from that one.
fn tree(trace: &Trace) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut shown = BTreeSet::new();
    let is_root = |member: &&TraceMember| {
        let from = member.from_id;
        from.is_none_or(|from| from == member.id || !trace.members.iter().any(|other| other.id == from))
    };
    for root in trace.members.iter().filter(is_root) {
        draw(trace, root, "", "", &mut shown, &mut rows);
    }
    // Two that say they have it from each other: clocks prove nothing, and somebody is mistaken.
    for rest in &trace.members {
        if !shown.contains(&rest.id) {
            draw(trace, rest, "", "", &mut shown, &mut rows);
        }
    }
    rows
}

fn draw(
    trace: &Trace,
    member: &TraceMember,
    first: &str,
    rest: &str,
    shown: &mut BTreeSet<NodeId>,
    rows: &mut Vec<Vec<String>>,
) {
    if !shown.insert(member.id) {
        return;
    }
    rows.push(vec![format!("{first}{}", printable(&member.name)), after(trace, member), how(member)]);
    let below: Vec<&TraceMember> =
        trace.members.iter().filter(|m| m.from_id == Some(member.id) && !shown.contains(&m.id)).collect();
    for (n, child) in below.iter().enumerate() {
        let is_last = n + 1 == below.len();
        let (branch, trunk) = if is_last { ("╰ ", "  ") } else { ("├ ", "│ ") };
        draw(trace, child, &format!("{rest}{branch}"), &format!("{rest}{trunk}"), shown, rows);
    }
}

/// From the write to when it was durable there, by two clocks.
fn after(trace: &Trace, member: &TraceMember) -> String {
    let Some(durable) = member.durable_unix_ms else { return UNKNOWN.to_owned() };
    let ms = i128::from(durable) - i128::from(trace.written_unix_ms);
    match u64::try_from(ms) {
        Ok(ms) if ms < 1_000 => format!("{ms} ms"),
        Ok(ms) => text::time_ms(ms as f64),
        Err(_) => format!("-{}", text::time_ms(ms.unsigned_abs() as f64)),
    }
}

fn how(member: &TraceMember) -> String {
    let from = member.from.as_deref().map_or_else(|| "somebody".into(), |from| printable(from).into_owned());
    let how = match member.path {
        TracePath::Local => "written".to_owned(),
        TracePath::Pushed => format!("pushed by {from}"),
        TracePath::Relayed => format!("passed on by {from}"),
        TracePath::Synced => format!("fetched from {from}"),
        TracePath::Joined => format!("in a whole value from {from}"),
        TracePath::Forgotten => "holds it, and does not remember how it came".to_owned(),
        TracePath::Lacks => "does not hold it".to_owned(),
        TracePath::Silent => "does not answer".to_owned(),
        TracePath::Unconnected => "not connected, so not asked".to_owned(),
        _ => "in a way that this program does not know; is it older than the daemon?".to_owned(),
    };
    if member.arrived_unix_ms.is_some() && member.durable_unix_ms.is_none() {
        return how + ", not durable yet";
    }
    how
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(n: u8, path: TracePath, from: Option<u8>, after: Option<i64>) -> TraceMember {
        let id = |n| NodeId::from_bytes([n; 32]);
        let at = |ms: i64| (1_800_000_000_000 + ms) as u64;
        TraceMember {
            name: format!("m{n}"),
            id: id(n),
            path,
            from: from.map(|n| format!("m{n}")),
            from_id: from.map(id),
            arrived_unix_ms: after.map(at),
            durable_unix_ms: after.map(at),
        }
    }

    fn of(members: Vec<TraceMember>) -> Vec<String> {
        let trace = Trace {
            key: "k".into(),
            dot: "x".into(),
            writer: "m1".into(),
            writer_id: NodeId::from_bytes([1; 32]),
            written_unix_ms: 1_800_000_000_000,
            members,
        };
        tree(&trace).into_iter().map(|row| row.join(" | ")).collect()
    }

    #[test]
    fn a_tree_shows_who_has_it_from_whom() {
        let rows = of(vec![
            member(1, TracePath::Local, None, Some(2)),
            member(2, TracePath::Pushed, Some(1), Some(41)),
            member(3, TracePath::Synced, Some(2), Some(94)),
            member(6, TracePath::Relayed, Some(3), Some(120)),
            member(4, TracePath::Pushed, Some(1), Some(-3_600_000)),
            member(5, TracePath::Lacks, None, None),
        ]);
        assert_eq!(
            rows,
            [
                "m1 | 2 ms | written",
                "├ m2 | 41 ms | pushed by m1",
                "│ ╰ m3 | 94 ms | fetched from m2",
                "│   ╰ m6 | 120 ms | passed on by m3",
                "╰ m4 | -1h00m | pushed by m1",
                "m5 | – | does not hold it",
            ]
        );
    }

    #[test]
    fn whoever_has_it_from_one_who_is_gone_is_shown_and_circles_end() {
        let gone = of(vec![member(3, TracePath::Joined, Some(9), Some(5))]);
        assert_eq!(gone, ["m3 | 5 ms | in a whole value from m9"]);
        let circle = of(vec![
            member(2, TracePath::Synced, Some(3), Some(5)),
            member(3, TracePath::Synced, Some(2), Some(6)),
        ]);
        assert_eq!(circle, ["m2 | 5 ms | fetched from m3", "╰ m3 | 6 ms | fetched from m2"]);
    }
}
