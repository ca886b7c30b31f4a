//! Calling the roll: who answers, and who cannot reach whom.
//!
//! A *call* goes over the connections to everybody. Whoever hears it for the first time passes it on, remembers from whom it
//! came, looks whether it hears all those whom it should, and sends what it found back by the way that the call came. That
//! is the echo algorithm (Chang: *Echo Algorithms: Depth Parallel Operations on General Graphs*, IEEE Transactions on
//! Software Engineering, 1982), but for two things. Reports are passed on one by one, as they come, instead of being summed
//! up on the way, so that nobody waits for a neighbour that has died. And each goes by the two ways on which the call came
//! first, in case that one of them is cut in the other direction.
//!
//! A member says whom it *hears*: of that it knows for certain, and so a path that is cut one way is told from one that is
//! cut both ways. It decides nothing by it. Its pings are like any others; a failed one may open an investigation, as
//! always, and no more. A report is its relays' word for what its author said: it is for people.

use crate::agenda::Task;
use crate::membership::Membership;
use crate::message::{Answer, Call, Hindrance, Message, Purpose, Report, Unheard};
use crate::port::{Output, Reached};
use crate::version::State;
use chinwag_base::limits::{CALLS_MAX, CALLS_OF_ONE_MAX, CALLS_REMEMBERED_MAX, UNHEARD_MAX};
use chinwag_base::{Lane, Moment, NodeId};
use rand::RngExt;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often those are pinged again that have not answered. A datagram may be lost, either way.
const PING_EVERY: Duration = Duration::from_millis(150);
/// How long a member listens before it reports whom it does not hear. At a loss of a fifth each way, all of these pings
/// fail once in twenty thousand times.
const LOOK_FOR: Duration = Duration::from_millis(1_500);
/// How long the caller waits for reports: two looks, and the ways between.
const CALL_FOR: Duration = Duration::from_secs(4);
/// By how many ways a report goes.
const WAYS: usize = 2;
/// How long a call is remembered, so that it is not heard twice and its reports find their way.
const REMEMBERED_FOR: Duration = Duration::from_secs(6);

/// The calls that have been heard of late, ours among them.
#[derive(Debug, Default)]
pub(crate) struct Calls(Vec<Heard>);

#[derive(Debug)]
struct Heard {
    call: Call,
    began: Moment,
    /// When those who are silent are pinged again.
    ping_at: Moment,
    /// From whom it came first, and from whom again. Nobody if it is ours.
    via: Vec<NodeId>,
    /// How many of those whom we should hear we have heard since.
    heard: u32,
    /// The others. Empty once reported.
    silent: BTreeSet<NodeId>,
    /// What we found, once we have said so.
    report: Option<Report>,
    /// Whose reports were passed on.
    relayed: BTreeSet<NodeId>,
    ours: Option<Collected>,
}

/// What has come in for a call of ours.
#[derive(Debug)]
struct Collected {
    request: u64,
    asked: BTreeSet<NodeId>,
    reports: BTreeMap<NodeId, (Report, Duration)>,
}

impl Calls {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&mut self, caller: NodeId, number: u64) -> Option<&mut Heard> {
        self.0.iter_mut().find(|heard| (heard.call.caller, heard.call.number) == (caller, number))
    }

    /// Calls of others are looked into some at a time. Those that have been looked into are remembered apart.
    fn has_room_for(&self, caller: NodeId) -> bool {
        let open = self.0.iter().filter(|heard| heard.ours.is_none() && heard.report.is_none());
        let of_caller = open.clone().filter(|heard| heard.call.caller == caller).count();
        open.count() < CALLS_MAX && of_caller < CALLS_OF_ONE_MAX && self.0.len() < CALLS_REMEMBERED_MAX
    }

    fn ours(&self) -> usize {
        self.0.iter().filter(|heard| heard.ours.is_some()).count()
    }

    /// When something is due for one of them.
    fn next(&self) -> Option<Moment> {
        self.0.iter().map(Heard::next).min()
    }
}

impl Heard {
    fn next(&self) -> Moment {
        let end = self.began + if self.ours.is_some() { CALL_FOR } else { REMEMBERED_FOR };
        if self.report.is_some() { end } else { self.ping_at.min(self.began + LOOK_FOR) }
    }
}

/// The caller.
impl Membership {
    /// A client wants to know. Answered by [`Output::Reached`].
    pub(crate) fn on_reach(&mut self, now: Moment, request: u64) {
        if self.calls.ours() >= CALLS_OF_ONE_MAX {
            return self.emit(Output::Reached { request, reached: None });
        }
        let asked: BTreeSet<NodeId> = self.alive_peers().collect();
        let call = Call { caller: self.id, number: self.rng.random() };
        let ours = Collected { request, asked, reports: BTreeMap::new() };
        self.hear_call(now, None, call, Some(ours));
    }

    pub(crate) fn on_answer(&mut self, now: Moment, from: NodeId, answer: Answer) {
        // Nobody else speaks for us, and nobody for strangers.
        if answer.report.by == self.id || self.view.get(&answer.report.by).is_none() {
            return;
        }
        let Some(heard) = self.calls.find(answer.caller, answer.number) else { return };
        match &mut heard.ours {
            Some(ours) => {
                let after = now.since(heard.began);
                ours.reports.entry(answer.report.by).or_insert((answer.report, after));
                self.close_calls(now);
            }
            None if heard.relayed.insert(answer.report.by) => {
                for to in heard.via.clone().into_iter().filter(|to| *to != from && *to != answer.report.by) {
                    self.send(to, Lane::Bulk, Message::Answer(answer.clone()));
                }
            }
            None => {}
        }
    }

    /// Ends calls of ours to which all have answered, or whose time is over, and forgets those that are over.
    fn close_calls(&mut self, now: Moment) {
        let Membership { calls, view, outputs, .. } = self;
        calls.0.retain_mut(|heard| {
            let is_late = |after| heard.began + after <= now;
            let Some(ours) = &mut heard.ours else { return !is_late(REMEMBERED_FOR) };
            let is_answered = |id: &NodeId| ours.reports.contains_key(id) || !view.is_present(id);
            let is_whole = heard.report.is_some() && ours.asked.iter().all(is_answered);
            if !is_whole && !is_late(CALL_FOR) {
                return true;
            }
            let reached = Reached {
                asked: std::mem::take(&mut ours.asked),
                reports: std::mem::take(&mut ours.reports).into_values().collect(),
                after: now.since(heard.began),
            };
            outputs.push_back(Output::Reached { request: ours.request, reached: Some(reached) });
            false
        });
        self.schedule_calls();
    }
}

/// Everybody who hears of it, the caller included.
impl Membership {
    pub(crate) fn on_call(&mut self, now: Moment, from: NodeId, call: Call) {
        if call.caller == self.id {
            return;
        }
        if let Some(heard) = self.calls.find(call.caller, call.number) {
            if heard.via.len() < WAYS && !heard.via.contains(&from) {
                heard.via.push(from);
                if let Some(report) = heard.report.clone() {
                    self.answer(from, call, report);
                }
            }
            return;
        }
        let is_a_members = self.view.is_present(&call.caller);
        let is_leaving = self.standing == crate::Standing::Left;
        if !is_a_members || is_leaving || !self.calls.has_room_for(call.caller) {
            return;
        }
        self.hear_call(now, Some(from), call, None);
    }

    fn hear_call(&mut self, now: Moment, via: Option<NodeId>, call: Call, ours: Option<Collected>) {
        for to in self.connected().filter(|to| Some(*to) != via && *to != call.caller).collect::<Vec<_>>() {
            self.send(to, Lane::Bulk, Message::Call(call));
        }
        let mut silent: BTreeSet<NodeId> = self.alive_peers().filter(|id| self.should_hear(id)).collect();
        // Its frame has just come.
        let heard = u32::from(via.is_some_and(|via| silent.remove(&via)));
        let heard = Heard {
            call,
            began: now,
            ping_at: now + PING_EVERY,
            via: Vec::from_iter(via),
            heard,
            silent: silent.clone(),
            report: None,
            relayed: BTreeSet::new(),
            ours,
        };
        self.calls.0.push(heard);
        for peer in silent {
            if self.is_connected(&peer) {
                self.ping(now, peer, Purpose::Check, None);
            } else {
                // Once: each failure puts the next planned dial off.
                self.dial_now(now, peer);
            }
        }
        self.report_calls(now);
    }

    /// A frame of that peer has come.
    pub(crate) fn hear_for_calls(&mut self, now: Moment, peer: NodeId) {
        let mut is_complete = false;
        for heard in self.calls.0.iter_mut().filter(|heard| heard.report.is_none()) {
            heard.heard += u32::from(heard.silent.remove(&peer));
            is_complete |= heard.silent.is_empty();
        }
        if is_complete {
            self.report_calls(now);
        }
    }

    /// Reports where all are heard or it is time to.
    fn report_calls(&mut self, now: Moment) {
        let (mut due, open): (Vec<Heard>, Vec<Heard>) =
            std::mem::take(&mut self.calls.0).into_iter().partition(|heard| {
                heard.report.is_none() && (heard.silent.is_empty() || heard.began + LOOK_FOR <= now)
            });
        for heard in &mut due {
            let report = self.take_report(heard);
            if let Some(ours) = &mut heard.ours {
                ours.reports.insert(self.id, (report.clone(), now.since(heard.began)));
            }
            for via in &heard.via {
                self.answer(*via, heard.call, report.clone());
            }
            heard.report = Some(report);
        }
        self.calls.0 = open;
        self.calls.0.append(&mut due);
        self.close_calls(now);
    }

    fn answer(&mut self, to: NodeId, call: Call, report: Report) {
        let Call { caller, number } = call;
        self.send(to, Lane::Bulk, Message::Answer(Answer { caller, number, report }));
    }

    /// Whether we should hear that member: not if it has left or is held for down, nor if a connection that was of no use
    /// has been closed.
    fn should_hear(&self, id: &NodeId) -> bool {
        self.view.is_present(id) && (self.is_connected(id) || self.is_dialled(id))
    }

    fn take_report(&self, heard: &mut Heard) -> Report {
        let silent = std::mem::take(&mut heard.silent).into_iter().filter(|id| self.should_hear(id));
        let silent = silent.map(|id| {
            let why = if self.is_connected(&id) { Hindrance::Silent } else { Hindrance::Unconnected };
            Unheard { id, why }
        });
        let is_down = |entry: &crate::view::Entry| entry.version.state == State::Down || entry.is_lost();
        let down = self.view.iter().filter(|(_, entry)| is_down(entry));
        let down = down.map(|(id, _)| Unheard { id: *id, why: Hindrance::Down });
        let silent: Vec<Unheard> = silent.collect();
        let more = u32::try_from(silent.len().saturating_sub(UNHEARD_MAX)).unwrap_or(u32::MAX);
        let unheard = silent.into_iter().chain(down).take(UNHEARD_MAX).collect();
        Report { by: self.id, heard: heard.heard, unheard, more }
    }

    /// Something is due for a call.
    pub(crate) fn run_calls(&mut self, now: Moment) {
        let mut again = BTreeSet::new();
        let mut calls = std::mem::take(&mut self.calls);
        for heard in calls.0.iter_mut().filter(|heard| heard.report.is_none() && heard.ping_at <= now) {
            heard.ping_at = now + PING_EVERY;
            heard.silent.retain(|id| self.should_hear(id));
            again.extend(heard.silent.iter().copied());
        }
        self.calls = calls;
        for peer in again {
            self.ping(now, peer, Purpose::Check, None);
        }
        self.report_calls(now);
    }

    fn schedule_calls(&mut self) {
        match self.calls.next() {
            Some(at) => self.agenda.set(Task::Calls, at),
            None => self.agenda.clear(Task::Calls),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Profile;
    use crate::harness::{Machine, Network, s};

    /// What a call by `n` came to, and by then how many frames had been sent for it and all else.
    fn reach(network: &mut Network, n: usize) -> Reached {
        network.input(n, crate::Input::Reach { request: 7 });
        network.run(s(5));
        let at = network.reached.iter().position(|(of, request, _)| (*of, *request) == (n, 7));
        let (_, _, reached) = network.reached.remove(at.expect("a call is answered"));
        reached.expect("there is room for one")
    }

    /// Who cannot reach whom, by number, as those say who answered.
    fn hindrances(network: &Network, reached: &Reached) -> Vec<(usize, usize, Hindrance)> {
        let number = |id: &NodeId| (0..network.nodes.len()).find(|n| network.id(*n) == *id).unwrap();
        let of = |report: &Report| {
            let by = number(&report.by);
            report.unheard.iter().map(|u| (by, number(&u.id), u.why)).collect::<Vec<_>>()
        };
        let mut all: Vec<_> = reached.reports.iter().flat_map(|(report, _)| of(report)).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn everybody_answers_within_some_round_trips() {
        for n in [1, 2, 5, 40] {
            let mut network = Network::grown(Profile::Lan, 1, n, s(20));
            let reached = reach(&mut network, n / 2);
            assert_eq!((reached.asked.len(), reached.reports.len()), (n - 1, n));
            assert_eq!(hindrances(&network, &reached), []);
            assert!(reached.reports.iter().all(|(report, _)| report.heard as usize == n - 1), "{reached:?}");
            assert!(reached.after < crate::harness::ms(400), "{:?}", reached.after);
        }
    }

    #[test]
    fn in_a_large_overlay_a_call_is_passed_on() {
        let mut network = Network::new(Profile::Lan, 1);
        network.config.mesh_max = 16;
        let mut network = network.grow(60, s(60));
        let connected = network.nodes[3].membership.connected().count();
        assert!(connected < 40, "{connected}");
        let before = network.frames;
        let reached = reach(&mut network, 3);
        assert_eq!((reached.asked.len(), reached.reports.len()), (59, 60));
        assert_eq!(hindrances(&network, &reached), []);
        assert!(reached.after < s(1), "{:?}", reached.after);
        // A call and a ping with its ack on each connection, from both ends, and the reports; and five seconds of all else.
        let frames = network.frames - before;
        assert!(frames < 60 * 40 * 6, "{frames}");
    }

    #[test]
    fn who_cannot_reach_whom_is_found_although_others_can() {
        let mut network = Network::grown(Profile::Lan, 1, 6, s(20));
        network.cut.insert((2, 4));
        let reached = reach(&mut network, 0);
        assert_eq!(reached.reports.len(), 6, "the call reaches both, and their reports come");
        assert_eq!(hindrances(&network, &reached), [(4, 2, Hindrance::Silent)], "the other way all is well");
        assert!(reached.after >= LOOK_FOR, "{:?}", reached.after);
    }

    #[test]
    fn who_does_not_answer_is_named_and_nobody_waits_for_ever() {
        let mut network = Network::grown(Profile::Lan, 1, 6, s(20));
        network.pause(5);
        let reached = reach(&mut network, 0);
        let silent = network.id(5);
        assert!(reached.asked.contains(&silent) && reached.reports.iter().all(|(r, _)| r.by != silent));
        assert_eq!(reached.reports.len(), 5);
        let expected: Vec<_> = (0..5).map(|n| (n, 5, Hindrance::Silent)).collect();
        assert_eq!(hindrances(&network, &reached), expected);
        assert!(reached.after < CALL_FOR + crate::harness::ms(10), "{:?}", reached.after);
        // A verdict that falls while they listen is not told twice.
        network.run(s(2));
        let reached = reach(&mut network, 1);
        assert!(reached.reports.iter().all(|(r, _)| r.unheard.len() == 1), "{reached:?}");
        // Once it is down it is not asked any more, and named by all as what it is.
        network.run(s(60));
        let reached = reach(&mut network, 0);
        assert_eq!((reached.asked.len(), reached.reports.len()), (4, 5));
        let expected: Vec<_> = (0..5).map(|n| (n, 5, Hindrance::Down)).collect();
        assert_eq!(hindrances(&network, &reached), expected);
        assert!(reached.after < s(1), "{:?}", reached.after);
    }

    #[test]
    fn a_cut_is_found_also_from_its_ends() {
        for (from, to) in [(0, 4), (4, 0)] {
            let mut network = Network::grown(Profile::Lan, 1, 6, s(20));
            network.cut.insert((from, to));
            let reached = reach(&mut network, 0);
            assert_eq!(reached.reports.len(), 6, "{from} to {to}: others pass the call and the report on");
            assert_eq!(hindrances(&network, &reached), [(to, from, Hindrance::Silent)]);
        }
    }

    #[test]
    fn one_may_call_again_and_again() {
        let mut network = Network::grown(Profile::Lan, 1, 5, s(20));
        for request in 0..40 {
            network.input(0, crate::Input::Reach { request });
            network.run(crate::harness::ms(200));
            let (_, of, reached) = network.reached.pop().expect("an answer within some round trips");
            assert_eq!((of, reached.map(|reached| reached.reports.len())), (request, Some(5)));
        }
    }

    #[test]
    fn lost_datagrams_hinder_nobody() {
        let mut network = Network::grown(Profile::Lan, 5, 12, s(20));
        network.loss = 0.1;
        network.run(s(10));
        let mut hindered = 0;
        for n in 0..6 {
            let reached = reach(&mut network, n);
            assert_eq!(reached.reports.len(), 12);
            hindered += hindrances(&network, &reached).len();
        }
        assert!(hindered <= 1, "{hindered} of {} pairs", 6 * 12 * 11);
    }

    #[test]
    fn calls_are_bounded_and_forgotten() {
        let mut network = Network::grown(Profile::Lan, 1, 3, s(20));
        network.nodes[2].machine = Machine::Vanished;
        for request in 0..=CALLS_OF_ONE_MAX as u64 {
            network.input(0, crate::Input::Reach { request });
        }
        let refused: Vec<_> = network.reached.iter().map(|(_, request, r)| (*request, r.is_none())).collect();
        assert_eq!(refused, [(CALLS_OF_ONE_MAX as u64, true)], "there is no room for one more");
        network.run(s(1));
        let heard = |network: &Network, n: usize| network.nodes[n].membership.calls.0.len();
        assert_eq!((heard(&network, 0), heard(&network, 1)), (CALLS_OF_ONE_MAX, CALLS_OF_ONE_MAX));
        // A stranger's reports, and calls beyond measure.
        let by = network.id(1);
        let report = Report { by, heard: 0, unheard: Vec::new(), more: 0 };
        let answer = Answer { caller: by, number: 1, report };
        network.input(0, crate::Input::Message { from: by, message: Message::Answer(answer) });
        let callers = [chinwag_base::Keypair::from_secret([9; 32]).id(), network.id(2)];
        for (number, caller) in (0..100).flat_map(|n| callers.map(|caller| (n, caller))) {
            let message = Message::Call(Call { caller, number });
            network.input(0, crate::Input::Message { from: by, message });
        }
        assert_eq!(
            heard(&network, 0),
            2 * CALLS_OF_ONE_MAX,
            "two of ours, two of one member, none of a stranger"
        );
        network.run(s(10));
        assert_eq!((heard(&network, 0), heard(&network, 1)), (0, 0));
        assert!(network.nodes[0].membership.agenda.get(Task::Calls).is_none());
    }
}
