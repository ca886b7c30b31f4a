//! Histories by hand, for the checkers' tests.

use super::{Checker, Patience};
use crate::observation::{Answer, Damage, Fact, Host, Lost, Observation, Request, Stop};
use chinwag_base::{Generation, Incarnation, Key, Moment, ReplicaId, Value};
use chinwag_crdt::{Dot, Hlc, Kind, Op, Read, Sibling, What};
use chinwag_membership::State;
use std::time::Duration;

/// A second for everything, and half of one for aftermaths.
pub(crate) fn patience() -> Patience {
    let second = Duration::from_secs(1);
    Patience { crash_known: second, meshed: second, converged: second, aftermath: second / 2 }
}

pub(crate) fn at(ms: u64, fact: Fact) -> Observation {
    Observation { at: Moment::from_millis(ms), fact }
}

/// Shows a history with times in milliseconds to a checker.
pub(crate) fn judge(
    checker: &mut dyn Checker,
    history: impl IntoIterator<Item = (u64, Fact)>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    history.into_iter().for_each(|(ms, fact)| checker.observe(&at(ms, fact), &mut wrong));
    wrong
}

/// Shows a history in which time does not matter.
pub(crate) fn judge_untimed(
    checker: &mut dyn Checker,
    history: impl IntoIterator<Item = Fact>,
) -> Vec<String> {
    judge(checker, history.into_iter().enumerate().map(|(n, fact)| (n as u64, fact)))
}

/// One of what it looked at.
pub(crate) fn looked_at(checker: &dyn Checker, name: &str) -> u64 {
    let all = checker.looked_at();
    all.iter().find(|(it, _)| *it == name).unwrap_or_else(|| panic!("no {name} among {all:?}")).1
}

pub(crate) fn key(key: &str) -> Key {
    key.parse().unwrap()
}

pub(crate) fn value(text: &str) -> Value {
    Value::new(text.as_bytes()).unwrap()
}

pub(crate) fn values(texts: &[&str]) -> Vec<Value> {
    texts.iter().map(|text| value(text)).collect()
}

pub(crate) fn set(k: &str, v: &str) -> Op {
    Op::Set { key: key(k), value: value(v) }
}

pub(crate) fn delete(k: &str) -> Op {
    Op::Delete { key: key(k), kind: None }
}

pub(crate) fn add(k: &str, v: &str) -> Op {
    Op::Add { key: key(k), element: value(v) }
}

pub(crate) fn remove(k: &str, v: &str) -> Op {
    Op::Remove { key: key(k), element: value(v) }
}

pub(crate) fn increment(k: &str, by: i64) -> Op {
    Op::Increment { key: key(k), by }
}

pub(crate) fn started(host: u32) -> Fact {
    Fact::Started { host: Host(host) }
}

pub(crate) fn stopped(host: u32) -> Fact {
    Fact::Stopped { host: Host(host), how: Stop::Killed }
}

pub(crate) fn paused(host: u32) -> Fact {
    Fact::Paused { host: Host(host) }
}

pub(crate) fn resumed(host: u32) -> Fact {
    Fact::Resumed { host: Host(host) }
}

pub(crate) fn cut(from: u32, to: u32) -> Fact {
    Fact::Cut { from: Host(from), to: Host(to) }
}

pub(crate) fn mended(from: u32, to: u32) -> Fact {
    Fact::Mended { from: Host(from), to: Host(to) }
}

pub(crate) fn damaged(host: u32, lost: impl Into<Vec<Lost>>) -> Fact {
    Fact::Damaged { host: Host(host), how: Damage::Wiped, lost: lost.into() }
}

pub(crate) fn lost(k: &str, v: &str, request: Option<u64>) -> Lost {
    Lost { key: key(k), value: Some(value(v)), request: request.map(Request) }
}

pub(crate) fn lost_request(k: &str, request: u64) -> Lost {
    Lost { key: key(k), value: None, request: Some(Request(request)) }
}

pub(crate) fn asked<const N: usize>(request: u64, host: u32, ops: [Op; N]) -> Fact {
    Fact::Asked { request: Request(request), host: Host(host), ops: ops.into() }
}

pub(crate) fn written(request: u64) -> Fact {
    let answer = Answer::Written { holders: 1, durable_on: 1, met: true };
    Fact::Answered { request: Request(request), answer }
}

pub(crate) fn refused(request: u64) -> Fact {
    Fact::Answered { request: Request(request), answer: Answer::Refused }
}

pub(crate) fn applied(host: u32, k: &str, what: What, local: bool) -> Fact {
    Fact::Applied { host: Host(host), key: key(k), what, local }
}

pub(crate) fn was_set(v: &str, was: &[&str]) -> What {
    What::Set { value: value(v), was: values(was), concurrent: false, shown: true }
}

pub(crate) fn was_deleted(was: &[&str]) -> What {
    What::Deleted { kind: Kind::Register, was: values(was), survives: false }
}

pub(crate) fn was_added(v: &str) -> What {
    What::Added { element: value(v) }
}

pub(crate) fn was_removed(v: &str) -> What {
    What::Removed { element: value(v) }
}

pub(crate) fn shown(host: u32, k: &str, read: Option<Read>) -> Fact {
    Fact::Shown { host: Host(host), key: key(k), read }
}

/// A read of a register with these values; none if there is none.
pub(crate) fn register(texts: &[&str]) -> Option<Read> {
    let node = chinwag_base::NodeId::from_bytes([7; 32]);
    let replica = ReplicaId { node, generation: Generation::new(1) };
    let sibling = |text: &&str| Sibling { value: value(text), hlc: Hlc::ZERO, dot: Dot::new(replica, 1) };
    let siblings: Vec<Sibling> = texts.iter().map(sibling).collect();
    Some(Read::Register { value: siblings.first()?.value.clone(), siblings })
}

/// A read of a set.
pub(crate) fn elements(texts: &[&str]) -> Option<Read> {
    Some(Read::Set(values(texts)))
}

/// A belief that tells its process life 1 and incarnation 0.
pub(crate) fn believed(host: u32, about: u32, state: State) -> Fact {
    believed_at(host, about, state, Some((1, 0)))
}

pub(crate) fn believed_at(host: u32, about: u32, state: State, version: Option<(u64, u64)>) -> Fact {
    Fact::Believed {
        host: Host(host),
        about: Host(about),
        state,
        generation: version.map(|(generation, _)| Generation::new(generation)),
        incarnation: version.map(|(_, incarnation)| Incarnation::new(incarnation)),
        unverified: false,
    }
}

pub(crate) fn believes(host: u32, about: u32, state: Option<State>) -> Fact {
    Fact::Believes { host: Host(host), about: Host(about), state }
}

pub(crate) fn reaped(host: u32, about: u32) -> Fact {
    Fact::Reaped { host: Host(host), about: Host(about) }
}
