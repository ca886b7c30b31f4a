//! A run in words: what `--trace` prints and scenario files expect.

use crate::observation::{Fact, Host, Stop};
use crate::world::World;
use chinwag_base::NodeId;
use chinwag_crdt::What;
use chinwag_dht::Message as Dht;
use chinwag_gossip::Message as Gossip;
use chinwag_membership::{Found, Message as Membership, Update};
use chinwag_node::wire::{self, Frame};
use chinwag_node::{Event, Input};

/// Where a line of a trace comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Something reached a node: a frame, a connection.
    Input,
    /// A node told of something.
    Event,
    /// Clients, fate, or a change of what a node holds.
    Fact,
}

/// The kind of a frame, in one word.
pub(crate) fn kind_of(lane: chinwag_base::Lane, bytes: &[u8]) -> Option<&'static str> {
    Some(match wire::decode(lane, bytes).ok()? {
        Frame::Membership(message) => match message {
            Membership::Ping(_) => "ping",
            Membership::Ack(_) => "ack",
            Membership::Verify(_) => "verify",
            Membership::Finding(_) => "finding",
            Membership::News(_) => "news",
            Membership::View(_) => "view",
            Membership::Want(_) => "want",
            Membership::Hello(_) => "hello",
            Membership::Summary(_) => "view-summary",
            Membership::Parts(_) => "parts",
            Membership::Call(_) => "call",
            Membership::Answer(_) => "answer",
        },
        Frame::Gossip(message) => message.name(),
        Frame::Dht(_) => "record",
    })
}

/// An input, if it is worth a line.
pub(crate) fn of_input(world: &World, host: Host, input: &Input) -> Option<String> {
    match input {
        Input::Frame { from, lane, bytes } => {
            let from = name(world, from);
            let what = match wire::decode(*lane, bytes) {
                Ok(frame) => of_frame(world, &frame),
                Err(why) => format!("{why}"),
            };
            Some(format!("{host} <- {from}  {what}"))
        }
        Input::Connected { peer } => Some(format!("{host} connected to {}", name(world, peer))),
        Input::Disconnected { peer, reason } => {
            Some(format!("{host} lost {} ({reason:?})", name(world, peer)).to_lowercase())
        }
        Input::DialFailed { peer, why } => {
            Some(format!("{host} cannot reach {} ({why:?})", name(world, peer)).to_lowercase())
        }
        Input::Stalled { lasted } => Some(format!("{host} did not run for {} ms", lasted.as_millis())),
        Input::PersistFailed { why, .. } => Some(format!("{host} disk: {why}")),
        _ => None,
    }
}

fn name(world: &World, id: &NodeId) -> String {
    world.host_of(id).map_or_else(|| id.short(), |host| host.to_string())
}

fn of_frame(world: &World, frame: &Frame) -> String {
    match frame {
        Frame::Membership(message) => match message {
            Membership::Ping(ping) => format!("ping {}", ping.sequence),
            Membership::Ack(ack) => format!("ack {}", ack.sequence),
            Membership::Verify(verify) => format!("verify {}", name(world, &verify.subject)),
            Membership::Finding(finding) => {
                let found = match finding.found {
                    Found::Life => "life",
                    Found::Silent => "silence",
                    Found::Refused => "refusal",
                };
                format!("found {found} at {}", name(world, &finding.subject))
            }
            Membership::News(updates) | Membership::View(updates) => {
                let told: Vec<String> = updates.iter().map(|update| of_update(world, update)).collect();
                format!("news {}", told.join(", "))
            }
            Membership::Want(ids) => format!("wants {} records", ids.len()),
            Membership::Hello(_) => "hello".to_owned(),
            Membership::Summary(_) => "view summary".to_owned(),
            Membership::Parts(_) => "view parts".to_owned(),
            Membership::Call(call) => format!("call of {}", name(world, &call.caller)),
            Membership::Answer(answer) => format!("answer of {}", name(world, &answer.report.by)),
        },
        Frame::Gossip(message) => match message {
            Gossip::Push { entries } | Gossip::Relay { entries } => {
                let keys: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
                format!("{} {}", message.name(), keys.join(", "))
            }
            Gossip::Chunk { entries, .. } => format!("chunk of {}", entries.len()),
            other => other.name().to_owned(),
        },
        Frame::Dht(message) => match message {
            Dht::Put { .. } => "record put",
            Dht::Stored { .. } => "record stored",
            Dht::Get { .. } => "record get",
            Dht::Got { .. } => "record got",
            Dht::Compare { .. } => "records compare",
            Dht::Offer { .. } => "records offer",
            Dht::Lack { .. } => "records lack",
        }
        .to_owned(),
    }
}

fn of_update(world: &World, update: &Update) -> String {
    match update {
        Update::Record(record) => {
            let version = record.version();
            format!("{} {} {}", name(world, &record.id()), version.state, version.incarnation)
        }
        Update::Brief(brief) => format!("{} known", name(world, &brief.id)),
        Update::Forget(order) => format!("forget {}", name(world, &order.id)),
        Update::Claim(claim) => format!("{} {:?}", name(world, &claim.id), claim.verdict).to_lowercase(),
    }
}

/// An event, if it is worth a line.
pub(crate) fn of_event(world: &World, host: Host, event: &Event) -> Option<String> {
    use chinwag_gossip::Event as G;
    use chinwag_membership::Event as M;
    let what = match event {
        Event::Membership(event) => match event {
            M::Alive { id, incarnation, .. } => {
                format!("{} is alive, incarnation {incarnation}", name(world, id))
            }
            M::Suspect { id, by, phi, .. } => {
                format!("suspects {}, by {}, phi {phi:.1}", name(world, id), name(world, by))
            }
            M::Down { id, by, phi, unverified, .. } => {
                let how = if *unverified { ", by silence alone" } else { "" };
                format!("{} is down, by {}, phi {phi:.1}{how}", name(world, id), name(world, by))
            }
            M::Tagged { id, tags, .. } => format!("{} says of itself {tags:?}", name(world, id)),
            M::Left { id, .. } => format!("{} has left", name(world, id)),
            M::Reaped { id, .. } => format!("forgets {}", name(world, id)),
            M::SelfRefuted { incarnation } => format!("says that it is alive, incarnation {incarnation}"),
            M::SelfStalled { ms } => format!("noticed that it did not run for {ms} ms"),
            M::Diverged { peer, .. } => format!("and {} reconcile their views", name(world, peer)),
            other => format!("{other:?}"),
        },
        Event::Gossip(event) => match event {
            // Told as an observation.
            G::Applied { .. } => return None,
            G::ExchangeDone { equal: true, .. } => return None,
            G::ExchangeDone { peer, sent, received, .. } => {
                format!("has met {}: {sent} sent, {received} received", name(world, peer))
            }
            G::ExchangeAbandoned { peer, why } => {
                format!("gives up an exchange with {} ({why:?})", name(world, peer)).to_lowercase()
            }
            G::CellsComing { .. } => return None,
            G::CellsDone { from, cells, .. } => {
                format!("has compared all of the state with {}: {cells} whole cells came", name(world, from))
            }
            G::Converged { members, .. } => format!("knows that {members} members agree"),
            G::Diverged { .. } => "knows that members differ".to_owned(),
            G::Behind { peer, ops } => format!("sees {} behind by {ops}", name(world, peer)),
            other => format!("{other:?}"),
        },
        Event::Dht(event) => format!("{event:?}"),
        Event::FrameRefused { from, why, .. } => format!("refuses a frame of {}: {why}", name(world, from)),
    };
    Some(format!("{host} {what}"))
}

/// An observation, if it is worth a line of its own.
pub(crate) fn of_fact(fact: &Fact) -> Option<String> {
    Some(match fact {
        Fact::Started { host } => format!("-- {host} starts"),
        Fact::Stopped { host, how: Stop::Killed } => format!("-- {host} is killed"),
        Fact::Stopped { host, how: Stop::PowerCut } => format!("-- {host} loses its power"),
        Fact::Stopped { host, how: Stop::Left } => format!("-- {host} ends"),
        Fact::Paused { host } => format!("-- {host} is stopped"),
        Fact::Resumed { host } => format!("-- {host} goes on"),
        Fact::Damaged { host, how, lost } => {
            format!("-- the disk of {host}: {how:?}, {} sole copies gone", lost.len())
        }
        Fact::Cut { from, to } => format!("-- {from} -> {to} is cut"),
        Fact::Mended { from, to } => format!("-- {from} -> {to} is mended"),
        Fact::Healed => "-- all is mended".to_owned(),
        Fact::Meshed => "-- everybody holds everybody for alive".to_owned(),
        Fact::Asked { host, ops, .. } => {
            let ops: Vec<String> = ops.iter().map(of_op).collect();
            format!("{host} is asked to {}", ops.join(", "))
        }
        Fact::Answered { request, answer } => match answer {
            crate::observation::Answer::Written { holders, met, .. } => {
                let wait = if *met { "" } else { ", which is too few" };
                format!("request {} is durable on {holders}{wait}", request.0)
            }
            crate::observation::Answer::Refused => format!("request {} is refused", request.0),
        },
        Fact::Applied { host, key, what, .. } => format!("{host} {}", of_change(key.as_str(), what)),
        _ => return None,
    })
}

fn of_op(op: &chinwag_crdt::Op) -> String {
    use chinwag_crdt::Op;
    let text = |value: &chinwag_base::Value| value.as_text().unwrap_or("?").to_owned();
    match op {
        Op::Set { key, value } => format!("set {key} {}", text(value)),
        Op::Delete { key, .. } => format!("delete {key}"),
        Op::Increment { key, by } => format!("add {by} to {key}"),
        Op::Add { key, element } => format!("add {} to {key}", text(element)),
        Op::Remove { key, element } => format!("remove {} from {key}", text(element)),
        Op::Enable { key } => format!("enable {key}"),
        Op::Disable { key } => format!("disable {key}"),
        Op::Lend { op, .. } => format!("for a time: {}", of_op(op)),
        Op::If { op, .. } => format!("on a condition: {}", of_op(op)),
    }
}

fn of_change(key: &str, what: &What) -> String {
    let text = |value: &chinwag_base::Value| value.as_text().unwrap_or("?").to_owned();
    let list = |values: &[chinwag_base::Value]| values.iter().map(text).collect::<Vec<_>>().join(", ");
    match what {
        What::Set { value, was, concurrent, .. } => {
            let instead = if was.is_empty() { String::new() } else { format!(" instead of {}", list(was)) };
            let beside = if *concurrent { ", beside others" } else { "" };
            format!("has {key} = {}{instead}{beside}", text(value))
        }
        What::Enabled => format!("has {key} on"),
        What::Deleted { kind: chinwag_crdt::Kind::Flag, .. } => format!("has {key} off"),
        What::Deleted { was, survives, .. } => {
            let left = if *survives { ", something is left" } else { "" };
            format!("has lost {} of {key}{left}", list(was))
        }
        What::Incremented { by, total } => format!("has {key} = {total} ({by:+})"),
        What::Reset { taken, total } => format!("has {key} = {total}, reset by {taken}"),
        What::Added { element } => format!("has {} in {key}", text(element)),
        What::Removed { element } => format!("has no {} in {key} any more", text(element)),
        What::NoEffect => format!("knows of a write of {key} that changes nothing"),
    }
}
