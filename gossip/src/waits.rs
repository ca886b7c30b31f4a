//! Clients that wait until other members hold their write durably.

use crate::queue::Write;
use crate::{RequestId, Wait, Written};
use chinwag_base::limits::WAITS_MAX;
use chinwag_base::{Moment, NodeId};
use chinwag_crdt::{Clock, Dot};
use std::collections::{BTreeMap, BTreeSet};

/// Every open wait, and their deadlines in order.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    open: BTreeMap<RequestId, OpenWait>,
    deadlines: BTreeSet<(Moment, RequestId)>,
}

/// A write that is durable here and waits for others.
#[derive(Debug)]
struct OpenWait {
    token: Vec<Dot>,
    goal: Goal,
    holders: BTreeSet<NodeId>,
    asked: Moment,
    until: Option<Moment>,
}

/// What a wait means in the membership as it stood when the write was durable here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Goal {
    pub(crate) needed: usize,
    pub(crate) of: usize,
    /// With [`Wait::All`], whose holding counts. Otherwise any member's does.
    pub(crate) targets: Option<BTreeSet<NodeId>>,
}

impl Goal {
    /// `members` are all that have not left, with whether they are alive; we ourselves (`me`) are among them
    /// whatever the view says.
    pub(crate) fn new(wait: Wait, me: NodeId, members: impl Iterator<Item = (NodeId, bool)>) -> Self {
        let mut all = BTreeSet::from([me]);
        let mut alive = BTreeSet::from([me]);
        for (node, is_alive) in members {
            all.insert(node);
            if is_alive {
                alive.insert(node);
            }
        }
        let any = |needed| Goal { needed, of: all.len(), targets: None };
        match wait {
            Wait::Local => any(1),
            Wait::Count(n) => any(n),
            Wait::Majority => any(all.len() / 2 + 1),
            Wait::All => Goal { needed: alive.len(), of: alive.len(), targets: Some(alive) },
        }
    }

    fn counts(&self, node: NodeId) -> bool {
        self.targets.as_ref().is_none_or(|targets| targets.contains(&node))
    }
}

impl Waits {
    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether one more may be opened besides `queued` that are on their way.
    pub(crate) fn has_room(&self, queued: usize) -> bool {
        self.open.len() + queued < WAITS_MAX
    }

    /// When the first one gives up.
    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// A write is durable here (at `me`). The answer, if nothing needs to be waited for.
    pub(crate) fn open(
        &mut self,
        write: &Write,
        token: Vec<Dot>,
        goal: Goal,
        me: NodeId,
        now: Moment,
    ) -> Option<Written> {
        let (request, until) = (write.request, write.until);
        let wait = OpenWait { token, goal, holders: BTreeSet::from([me]), asked: write.asked, until };
        if wait.is_met() || until.is_some_and(|until| until <= now) {
            return Some(wait.close(now));
        }
        if let Some(until) = until {
            self.deadlines.insert((until, request));
        }
        self.open.insert(request, wait);
        None
    }

    /// `node` is known to hold `known` durably. Returns the waits that this meets.
    pub(crate) fn learn(&mut self, node: NodeId, known: &Clock, now: Moment) -> Vec<(RequestId, Written)> {
        let mut met = Vec::new();
        for (request, wait) in &mut self.open {
            if !wait.goal.counts(node) || wait.holders.contains(&node) || !wait.is_covered_by(known) {
                continue;
            }
            wait.holders.insert(node);
            if wait.is_met() {
                met.push(*request);
            }
        }
        met.into_iter().filter_map(|request| Some((request, self.take(request)?.close(now)))).collect()
    }

    /// Waits whose time is over.
    pub(crate) fn expire(&mut self, now: Moment) -> Vec<(RequestId, Written)> {
        let mut over = Vec::new();
        while let Some((at, request)) = self.deadlines.first().copied()
            && at <= now
        {
            self.deadlines.pop_first();
            over.extend(self.take(request).map(|wait| (request, wait.close(now))));
        }
        over
    }

    /// The client is gone.
    pub(crate) fn cancel(&mut self, request: RequestId) -> bool {
        self.take(request).is_some()
    }

    fn take(&mut self, request: RequestId) -> Option<OpenWait> {
        let wait = self.open.remove(&request)?;
        if let Some(until) = wait.until {
            self.deadlines.remove(&(until, request));
        }
        Some(wait)
    }
}

impl OpenWait {
    fn is_met(&self) -> bool {
        self.holders.len() >= self.goal.needed
    }

    fn is_covered_by(&self, known: &Clock) -> bool {
        // The dots of a write are consecutive, so one look settles nearly every case.
        let by_base = self.token.last().is_some_and(|dot| known.base(dot.replica) >= dot.counter);
        by_base || self.token.iter().all(|dot| known.covers(*dot))
    }

    fn close(self, now: Moment) -> Written {
        let met = self.is_met();
        Written {
            token: self.token,
            holders: self.holders.len(),
            needed: self.goal.needed,
            of: self.goal.of,
            met,
            after: now.since(self.asked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u8) -> NodeId {
        NodeId::from_bytes([n; 32])
    }

    #[test]
    fn a_majority_counts_the_dead_and_all_does_not() {
        let members = [(node(1), true), (node(2), true), (node(3), false), (node(4), false)];
        let goal = |wait| {
            let goal = Goal::new(wait, node(1), members.into_iter());
            (goal.needed, goal.of)
        };
        assert_eq!(goal(Wait::Local), (1, 4));
        assert_eq!(goal(Wait::Count(2)), (2, 4));
        assert_eq!(goal(Wait::Majority), (3, 4));
        assert_eq!(goal(Wait::All), (2, 2));
        // Alone, before any view is known, we are a majority of one.
        let alone = Goal::new(Wait::Majority, node(1), [].into_iter());
        assert_eq!((alone.needed, alone.of), (1, 1));
    }
}
