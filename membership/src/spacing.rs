//! A subject spaces its observers.
//!
//! Each ack tells its observer when to ping next: the first free turn of a queue whose turns are one period apart.
//! So a member is pinged about once a period, evenly, with no agreed clock and however many observers it has.

use chinwag_base::{Moment, NodeId};
use std::collections::BTreeMap;
use std::time::Duration;

/// Observers that have a turn. Rings give about eight; differing views a few more. Others are sent to the end.
const OBSERVERS_MAX: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Spacing {
    last: Moment,
    turns: BTreeMap<NodeId, Moment>,
}

impl Spacing {
    /// In what time `observer`, which pings now, shall ping again.
    pub(crate) fn next(&mut self, now: Moment, observer: NodeId, period: Duration) -> Duration {
        self.turns.retain(|_, turn| *turn + period > now);
        match self.turns.get(&observer) {
            // It came long before its turn: the turn stays, so that haste gains nothing.
            Some(turn) if turn.since(now) > period / 2 => return turn.since(now),
            _ => {}
        }
        if self.turns.len() >= OBSERVERS_MAX && !self.turns.contains_key(&observer) {
            return period * OBSERVERS_MAX as u32;
        }
        let turn = (self.last + period).max(now + period / 2);
        self.last = turn;
        self.turns.insert(observer, turn);
        turn.since(now)
    }

    /// Our observers are others now. Turns that were given to those who do not come any more would keep those who do
    /// waiting: while a thousand join, a member is pinged by dozens who soon learn of one that is nearer to them.
    pub(crate) fn begin_anew(&mut self, now: Moment) {
        self.last = now;
    }

    /// Whether that member pinged lately.
    pub(crate) fn is_observer(&self, id: &NodeId) -> bool {
        self.turns.contains_key(id)
    }

    /// Those that pinged lately: our observers, as far as we can know them.
    pub(crate) fn observers(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.turns.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observers_take_turns_one_period_apart() {
        const PERIOD: Duration = Duration::from_secs(1);
        let observers: Vec<_> = (0..5).map(|n| NodeId::from_bytes([n; 32])).collect();
        let mut spacing = Spacing::default();
        // All five come at once, then each when it was told to, half a minute long.
        let mut due: BTreeMap<NodeId, Moment> = observers.iter().map(|id| (*id, Moment::ZERO)).collect();
        let mut pings = Vec::new();
        while let Some((&id, &now)) =
            due.iter().min_by_key(|(_, at)| **at).filter(|(_, at)| at.as_millis() < 30_000)
        {
            pings.push(now);
            due.insert(id, now + spacing.next(now, id, PERIOD));
        }
        for pair in pings[5..].windows(2) {
            assert_eq!(pair[1].since(pair[0]), PERIOD);
        }
        // One of them dies: the others close ranks.
        assert_eq!(spacing.observers().count(), 5);
    }

    #[test]
    fn who_comes_no_more_keeps_nobody_waiting() {
        const PERIOD: Duration = Duration::from_secs(1);
        let id = |n: u8| NodeId::from_bytes([n; 32]);
        let mut spacing = Spacing::default();
        let now = Moment::from_millis(10_000);
        (0..30).for_each(|n| {
            spacing.next(now, id(n), PERIOD);
        });
        assert!(spacing.next(now, id(30), PERIOD) > PERIOD * 30);
        spacing.begin_anew(now);
        let waits = [31, 32].map(|n| spacing.next(now, id(n), PERIOD));
        assert_eq!(waits, [PERIOD, PERIOD * 2]);
    }

    #[test]
    fn haste_gains_nothing() {
        let (hasty, other) = (NodeId::from_bytes([1; 32]), NodeId::from_bytes([2; 32]));
        let period = Duration::from_secs(1);
        let mut spacing = Spacing::default();
        let now = Moment::from_millis(10_000);
        spacing.next(now, other, period);
        let turn = spacing.next(now, hasty, period);
        for _ in 0..1_000 {
            assert_eq!(spacing.next(now, hasty, period), turn);
        }
    }
}
