//! The check: the life of an overlay in seven steps, each with the time it took and the time it should take.
//!
//! The exit code judges behaviour, with [`STEP_TIMEOUT`] a step: a slow machine is not a broken overlay. What took
//! longer than its budget is marked.

use super::child::{self, Child};
use super::{Context, Lab, POLL, STEP_TIMEOUT};
use crate::output::Tone;
use crate::{End, text};
use chinwag_api::{
    Bytes, CellQuery, Client, Content, Count, DhtCellQuery, DhtOp, DhtWrite, Exit, Failure, Kind, Member,
    MemberState, Outcome, Schema, WriteOp, WriteRequest,
};
use serde::Serialize;
use std::time::{Duration, Instant};

/// With two, nobody is left to confirm that the other is dead.
pub(super) const DAEMONS_MIN: u8 = 3;

const AGREE_BUDGET: Duration = Duration::from_millis(1_000);
const SUSPECT_BUDGET: Duration = Duration::from_millis(600);
const DOWN_BUDGET: Duration = Duration::from_millis(1_500);
const LEAVE_BUDGET: Duration = Duration::from_millis(1_000);
const STOP_BUDGET: Duration = Duration::from_millis(2_000);

/// What was seen in one step.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Seen {
    step: &'static str,
    ok: bool,
    what: String,
    took_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget_ms: Option<f64>,
    over_budget: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    because: Vec<String>,
}

/// `lab --check --json`.
#[derive(Debug, Serialize)]
struct CheckReply {
    ok: bool,
    daemons: usize,
    over_budget: usize,
    steps: Vec<Seen>,
}

impl Schema for CheckReply {
    const SCHEMA: &'static str = "chinwag.check/1";
}

/// The record that the check puts.
const RECORD_KEY: &str = "check/record";
const RECORD: &str = "held by its owners";

/// What a step found: a sentence and a time for each thing seen.
type Found = Vec<(String, Duration, Option<Duration>)>;

struct Check<'a> {
    lab: &'a mut Lab,
    context: &'a mut Context,
    seen: Vec<Seen>,
}

/// Runs all steps, or up to the first that fails. The lab is stopped by the last of them.
pub(super) async fn run(lab: &mut Lab, context: &mut Context, keep_going: bool) -> Result<Exit, End> {
    let daemons = lab.count;
    let mut check = Check { lab, context, seen: Vec::new() };
    for step in Step::ALL {
        let begun = Instant::now();
        // Each step has its own limits; this one is for what should never hang.
        let result = tokio::time::timeout(STEP_TIMEOUT * 2, check.take(step)).await;
        check.lab.log.collect();
        let result = result.unwrap_or_else(|_| Err(Failure::new(Kind::Timeout, "the step does not end")));
        let failed = result.is_err();
        check.note(step, begun.elapsed(), result)?;
        // Without daemons there is nothing to go on with.
        if failed && (!keep_going || step == Step::Agree) {
            break;
        }
    }
    let failed = check.seen.iter().filter(|s| !s.ok).count();
    let over_budget = check.seen.iter().filter(|s| s.over_budget).count();
    let Check { context, seen, lab } = check;
    let exit = if failed == 0 { Exit::Yes } else { Exit::No };
    if context.out.is_json() {
        context.out.json(&CheckReply { ok: failed == 0, daemons, over_budget, steps: seen })?;
        return Ok(exit);
    }
    if failed == 0 {
        let over = match over_budget {
            0 => "every time within its budget".to_owned(),
            n => format!("{} over budget", text::count(n as u64, "time")),
        };
        let tick = context.out.paint(Tone::Good, "✓");
        context.out.line(&format!("{tick} {daemons} daemons behave; {over}."))?;
        return Ok(Exit::Yes);
    }
    const LINES: usize = 30;
    let lines: Vec<String> = lab
        .log
        .last(LINES)
        .map(|l| format!("{}  {}", l.source, chinwag_base::key::printable(&l.text)))
        .collect();
    for line in lines {
        context.out.prose(&line)?;
    }
    Err(Failure::new(Kind::CheckFailed, format!("{} failed", text::count(failed as u64, "step"))).into())
}

/// Reads the record through a daemon.
async fn find_record(through: &Child) -> Result<(), Failure> {
    let cell = through.client()?.dht_cell(RECORD_KEY, &DhtCellQuery::default()).await?;
    let expected = Content::Register { value: RECORD.into(), siblings: Vec::new() };
    if cell.content == expected {
        return Ok(());
    }
    let what = format!("{} finds another record than was put", through.label());
    Err(Failure::new(Kind::CheckFailed, what).because(format!("it reads {:?}", cell.content)))
}

/// The steps, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Agree,
    Write,
    Record,
    Kill,
    Restart,
    Leave,
    Stop,
}

impl Step {
    const ALL: [Step; 7] =
        [Step::Agree, Step::Write, Step::Record, Step::Kill, Step::Restart, Step::Leave, Step::Stop];

    fn name(self) -> &'static str {
        match self {
            Step::Agree => "agree",
            Step::Write => "write",
            Step::Record => "record",
            Step::Kill => "kill",
            Step::Restart => "restart",
            Step::Leave => "leave",
            Step::Stop => "stop",
        }
    }
}

impl Check<'_> {
    async fn take(&mut self, step: Step) -> Result<Found, Failure> {
        match step {
            Step::Agree => self.agree().await,
            Step::Write => self.write().await,
            Step::Record => self.record().await,
            Step::Kill => self.kill().await,
            Step::Restart => self.restart().await,
            Step::Leave => self.leave().await,
            Step::Stop => self.stop().await,
        }
    }

    /// Keeps and prints what a step found.
    fn note(&mut self, step: Step, took: Duration, result: Result<Found, Failure>) -> Result<(), End> {
        let step = step.name();
        let ms = |d: Duration| (d.as_secs_f64() * 1e6).round() / 1e3;
        let rows: Vec<Seen> = match result {
            Ok(found) => found
                .into_iter()
                .map(|(what, took, budget)| Seen {
                    step,
                    ok: true,
                    what,
                    took_ms: ms(took),
                    budget_ms: budget.map(ms),
                    over_budget: budget.is_some_and(|b| took > b),
                    because: Vec::new(),
                })
                .collect(),
            Err(failure) => vec![Seen {
                step,
                ok: false,
                what: failure.message,
                took_ms: ms(took),
                budget_ms: None,
                over_budget: false,
                because: failure.because,
            }],
        };
        if !self.context.out.is_json() {
            for row in &rows {
                self.print(row)?;
            }
        }
        self.seen.extend(rows);
        Ok(())
    }

    fn print(&mut self, row: &Seen) -> Result<(), End> {
        let out = &mut self.context.out;
        let mark = match (row.ok, row.over_budget) {
            (false, _) => out.paint(Tone::Bad, "✗"),
            (true, true) => out.paint(Tone::Warning, "!"),
            (true, false) => out.paint(Tone::Good, "✓"),
        };
        let budget = match row.budget_ms {
            Some(budget) if row.over_budget => {
                out.paint(Tone::Warning, &format!("  OVER ITS BUDGET of {}", text::time_ms(budget)))
            }
            Some(budget) => format!("  (budget {})", text::time_ms(budget)),
            None => String::new(),
        };
        out.line(&format!("{mark} {:<58} {:>8}{budget}", row.what, text::time_ms(row.took_ms)))?;
        for why in &row.because {
            out.line(&format!("    {}", chinwag_base::key::printable(why)))?;
        }
        Ok(())
    }

    async fn agree(&mut self) -> Result<Found, Failure> {
        self.lab.start(self.context, false).await.map_err(|end| match end {
            End::Failure(failure) => failure,
            other => Failure::new(Kind::Internal, format!("{other:?}")),
        })?;
        let statuses = self.lab.agreed(self.context.started + STEP_TIMEOUT).await?;
        Ok(vec![(
            format!("{} members agree", statuses.len()),
            self.context.started.elapsed(),
            Some(AGREE_BUDGET),
        )])
    }

    /// One cell of each type through the first, read through the last.
    async fn write(&mut self) -> Result<Found, Failure> {
        let (writer, reader) = (&self.lab.children[0], &self.lab.children[self.lab.count - 1]);
        let (from, to) = (writer.label(), reader.label());
        let (writes, reads) = (writer.client()?, reader.client()?);
        let element: Bytes = "a".into();
        let ops: [(WriteOp, Content); 3] = [
            (
                WriteOp::Set { key: "check/register".into(), value: "hello".into() },
                Content::Register { value: "hello".into(), siblings: Vec::new() },
            ),
            (WriteOp::Incr { key: "check/counter".into(), by: 42 }, Content::Counter { count: Count(42) }),
            (
                WriteOp::Add { key: "check/set".into(), elements: vec![element.clone()] },
                Content::Set { elements: vec![element] },
            ),
        ];
        let mut found = Vec::new();
        for (op, expected) in ops {
            let kind = expected.kind();
            let begun = Instant::now();
            let got = read_after(&writes, &reads, op.clone()).await?.map(|cell| cell.content);
            if got.as_ref() != Some(&expected) && !revived(got.as_ref(), &expected) {
                return Err(Failure::new(
                    Kind::CheckFailed,
                    format!("{to} reads another {kind} than {from} wrote"),
                )
                .because(format!("it reads {got:?}")));
            }
            found.push((
                format!("a {kind} written through {from}, read through {to}"),
                begun.elapsed(),
                None,
            ));
        }
        let begun = Instant::now();
        let del = WriteOp::Del { key: "check/register".into(), kind: None };
        if let Some(cell) = read_after(&writes, &reads, del).await? {
            return Err(Failure::new(Kind::CheckFailed, format!("{to} still reads what {from} deleted"))
                .because(format!("it reads {:?}", cell.content)));
        }
        found.push((format!("the register deleted through {from}, gone from {to}"), begun.elapsed(), None));
        Ok(found)
    }

    /// A record of the DHT, put through the first and found through the last.
    async fn record(&mut self) -> Result<Found, Failure> {
        let (writer, reader) = (&self.lab.children[0], &self.lab.children[self.lab.count - 1]);
        let begun = Instant::now();
        let op = DhtOp::Set { value: RECORD.into() };
        writer.client()?.dht_write(&DhtWrite::new(RECORD_KEY, op)).await?;
        let put = begun.elapsed();
        find_record(reader).await?;
        let (from, to) = (writer.label(), reader.label());
        Ok(vec![
            (format!("a record put through {from}"), put, None),
            (format!("the record found through {to}"), begun.elapsed() - put, None),
        ])
    }

    /// `kill -9` of the last: all others suspect it and then see it down, and nobody else is accused.
    async fn kill(&mut self) -> Result<Found, Failure> {
        let victim = self.lab.count - 1;
        let begun = Instant::now();
        self.lab.children[victim].kill().await;
        let name = self.lab.children[victim].name().to_owned();
        let suspected = self.until(&name, begun, |state| state != MemberState::Alive, "suspect").await?;
        let down = self.until(&name, begun, |state| state == MemberState::Down, "see down").await?;
        Ok(vec![
            (format!("{name} killed with -9, suspected by all"), suspected, Some(SUSPECT_BUDGET)),
            (format!("{name} down for all, nobody else accused"), down, Some(DOWN_BUDGET)),
            self.record_is_left().await?,
        ])
    }

    /// The record is still found, with one of its owners dead.
    async fn record_is_left(&self) -> Result<(String, Duration, Option<Duration>), Failure> {
        let begun = Instant::now();
        let reader = &self.lab.children[1];
        find_record(reader).await?;
        Ok((
            format!("the record found through {}, with an owner dead", reader.label()),
            begun.elapsed(),
            None,
        ))
    }

    async fn restart(&mut self) -> Result<Found, Failure> {
        let victim = self.lab.count - 1;
        let label = self.lab.children[victim].label().to_owned();
        // What it has missed.
        let missed = WriteOp::Incr { key: "check/counter".into(), by: 1 };
        let writer = self.lab.children[0].client()?;
        let written =
            writer.write(&WriteRequest { ops: vec![missed.into()], ..WriteRequest::default() }).await?;
        let Some(Outcome::Incr { count: expected, .. }) = written.results.first() else {
            return Err(Failure::new(Kind::Internal, "an increment was answered without its sum"));
        };
        let begun = Instant::now();
        let mut child = self.lab.spawn(&label, None)?;
        child.wait_until_up(&self.lab.ground.runtime, STEP_TIMEOUT).await?;
        self.lab.children[victim] = child;
        let statuses = self.lab.agreed(begun + STEP_TIMEOUT).await?;
        let took = begun.elapsed();
        let cell = self.lab.children[victim].client()?.cell("check/counter", &CellQuery::default()).await?;
        match cell.content {
            Content::Counter { count } if count == *expected => {}
            other => {
                return Err(Failure::new(Kind::CheckFailed, format!("{label} lacks what it missed"))
                    .because(format!("it reads {other:?}")));
            }
        }
        Ok(vec![(format!("{label} restarted, {} members agree again", statuses.len()), took, None)])
    }

    /// A graceful leave of the second, seen by all others.
    async fn leave(&mut self) -> Result<Found, Failure> {
        let leaver = 1;
        let begun = Instant::now();
        let client = self.lab.children[leaver].client()?;
        let name = self.lab.children[leaver].name().to_owned();
        client.leave().await?;
        let ended = begun + STEP_TIMEOUT;
        // It is asked no more, whether it has ended yet or not.
        let others = self.others(&name)?;
        let left =
            until(&others, &name, begun, |state| state == MemberState::Left, "see that it left").await?;
        if !self.lab.children[leaver].wait_until_ended(ended).await {
            return Err(Failure::new(Kind::CheckFailed, format!("{name} left but did not end")));
        }
        clean(&self.lab.children[leaver])?;
        Ok(vec![(format!("{name} left gracefully, seen by all"), left, Some(LEAVE_BUDGET))])
    }

    async fn stop(&mut self) -> Result<Found, Failure> {
        let begun = Instant::now();
        let running: Vec<usize> =
            (0..self.lab.children.len()).filter(|i| self.lab.children[*i].is_running()).collect();
        if !self.lab.stop().await {
            return Err(Failure::new(Kind::CheckFailed, "a daemon did not end in time")
                .because(format!("it was killed after {} s", child::END_TIMEOUT.as_secs())));
        }
        for number in running {
            clean(&self.lab.children[number])?;
        }
        Ok(vec![("all stopped".to_owned(), begun.elapsed(), Some(STOP_BUDGET))])
    }

    async fn until(
        &self,
        name: &str,
        begun: Instant,
        wanted: impl Fn(MemberState) -> bool,
        verb: &str,
    ) -> Result<Duration, Failure> {
        until(&self.others(name)?, name, begun, wanted, verb).await
    }

    /// Clients of all that run but the one of this name.
    fn others(&self, name: &str) -> Result<Vec<(String, Client)>, Failure> {
        let running = self.lab.children.iter().filter(|c| c.is_running() && c.name() != name);
        running.map(|c| Ok((c.name().to_owned(), c.client()?))).collect()
    }
}

/// Waits until every observer sees the member in a wanted state. That an observer accuses anybody else is a failure.
async fn until(
    observers: &[(String, Client)],
    name: &str,
    begun: Instant,
    wanted: impl Fn(MemberState) -> bool,
    verb: &str,
) -> Result<Duration, Failure> {
    loop {
        let mut unconvinced = Vec::new();
        for (observer, client) in observers {
            let members = client.members().await?.members;
            if let Some(accused) = accused(&members, name, observers) {
                return Err(Failure::new(Kind::CheckFailed, format!("{observer} accuses {}", accused.name))
                    .because(format!("it is {}, and it runs", accused.state)));
            }
            let state = members.iter().find(|m| m.name == name).map(|m| m.state);
            if !state.is_some_and(&wanted) {
                let state = state.map_or("unknown".into(), |s| s.to_string());
                unconvinced.push(format!("to {observer} it is {state}"));
            }
        }
        if unconvinced.is_empty() {
            return Ok(begun.elapsed());
        }
        if begun.elapsed() > STEP_TIMEOUT {
            let mut failure = Failure::new(Kind::CheckFailed, format!("not all {verb} {name}"));
            failure.because = unconvinced;
            return Err(failure);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Somebody who runs and is not held for alive.
fn accused<'a>(members: &'a [Member], name: &str, running: &[(String, Client)]) -> Option<&'a Member> {
    let runs = |member: &Member| running.iter().any(|(running, _)| *running == member.name);
    members.iter().find(|m| m.name != name && m.state != MemberState::Alive && runs(m))
}

/// Writes through one and reads through another once the write is visible there.
async fn read_after(
    writes: &Client,
    reads: &Client,
    op: WriteOp,
) -> Result<Option<chinwag_api::Cell>, Failure> {
    let key = op.key().to_owned();
    let reply = writes.write(&WriteRequest { ops: vec![op.into()], ..WriteRequest::default() }).await?;
    let timeout_ms = Some(STEP_TIMEOUT.as_millis() as u64);
    match reads.cell(&key, &CellQuery { after: Some(reply.token), timeout_ms, ..CellQuery::default() }).await
    {
        Ok(cell) => Ok(Some(cell)),
        Err(failure) if failure.kind == Kind::NoSuchKey => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// A counter in a kept directory counts on from the check before.
fn revived(got: Option<&Content>, expected: &Content) -> bool {
    match (got, expected) {
        (Some(Content::Counter { count }), Content::Counter { count: added }) => count > added,
        _ => false,
    }
}

/// Whether a daemon that was asked to end did so without an error.
fn clean(child: &child::Child) -> Result<(), Failure> {
    match child.exit_status() {
        Some(status) if !status.success() => Err(Failure::new(
            Kind::CheckFailed,
            format!("{} (pid {}) ended with an error", child.name(), child.pid()),
        )
        .because(status.to_string())),
        _ => Ok(()),
    }
}
