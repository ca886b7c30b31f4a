//! Spreading news: on every probe frame, and pushed while it is hot.
//!
//! SWIM's infection-style dissemination (section 4.1) piggybacks each update on a number of frames that grows with
//! log N, least-sent first. Here news is pushed besides, at once and to three random members, and again at each
//! interval while it is hot: a change is known everywhere after a few round trips, not after a few periods.
//! The queue holds ids only; what is sent is what is believed at that moment.
//!
//! News cools sooner where it is no news: whoever hears what it is itself spreading counts that as [`HEARD_SENDS`] sends
//! (feedback with a counter: Demers and others, "Epidemic Algorithms for Replicated Database Maintenance", PODC
//! 1987, section 1.4). When a thousand join at once, each news is sent a few times by each, not 2 log2(N) + 4 times.
//! News of a suspicion or a death does not cool by it: whoever hears of that late works with the dead meanwhile.

use crate::agenda::Task;
use crate::membership::Membership;
use crate::message::{Brief, Message, Update};
use crate::version::State;
use chinwag_base::{Lane, Moment, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Random members that each push goes to.
const FANOUT: usize = 3;
/// A record goes out in full this many times; then as a pointer, which whoever lacks the record follows.
const FULL_SENDS: u32 = 4;
/// To be told what one spreads oneself weighs as much as to have told it so often.
const HEARD_SENDS: u32 = 3;
/// Bytes of one pushed frame: dozens of records when many join at once, and a slow link still takes it at once.
const PUSH_BYTES_MAX: usize = 16 * 1024;

/// News too large for the rest of a frame that is passed over in the hope of something small. Without this bound a frame
/// with room for two of a thousand new records would look at all of them.
const MISFITS_MAX: usize = 32;

/// What is hot: how often each member's news was sent.
#[derive(Debug, Default)]
pub(crate) struct News {
    sends: BTreeMap<NodeId, u32>,
    least_sent: BTreeSet<(u32, NodeId)>,
    /// Whether something came up since the last push.
    fresh: bool,
    pushed: Moment,
}

impl News {
    /// There is news of this member.
    pub(crate) fn mark(&mut self, id: NodeId) {
        self.count(id, Some(0));
        self.fresh = true;
    }

    /// There may be somebody new to tell.
    pub(crate) fn freshen(&mut self) {
        self.fresh = !self.sends.is_empty();
    }

    fn count(&mut self, id: NodeId, sends: Option<u32>) {
        let old = match sends {
            Some(sends) => self.sends.insert(id, sends),
            None => self.sends.remove(&id),
        };
        if old == sends {
            return;
        }
        if let Some(old) = old {
            self.least_sent.remove(&(old, id));
        }
        if let Some(sends) = sends {
            self.least_sent.insert((sends, id));
        }
    }

    /// Somebody told us what we spread ourselves.
    pub(crate) fn heard(&mut self, id: NodeId) {
        if let Some(sends) = self.sends.get(&id).copied() {
            self.count(id, Some(sends.saturating_add(HEARD_SENDS)));
        }
    }

    pub(crate) fn forget(&mut self, id: &NodeId) {
        self.count(*id, None);
    }

    /// Whether anything was sent less than `sends_max` times.
    pub(crate) fn is_hot(&self, sends_max: u32) -> bool {
        self.least_sent.first().is_some_and(|(sends, _)| *sends < sends_max)
    }
}

impl Membership {
    /// How often an update is sent: 2 log2(N) + 4 times.
    pub(crate) fn news_sends_max(&self) -> u32 {
        2 * (self.view.present_count() as u32 + 1).ilog2() + 4
    }

    /// The least-sent news that fit, for one frame to `to`.
    pub(crate) fn pick_news(&mut self, to: NodeId, mut room: usize) -> Vec<Update> {
        let sends_max = self.news_sends_max();
        let mut picked = Vec::new();
        let mut counts = Vec::new();
        let mut misfits = 0;
        for &(sends, id) in &self.news.least_sent {
            if room < SMALLEST_UPDATE || picked.len() + 2 > chinwag_base::limits::UPDATES_PER_FRAME_MAX {
                break;
            }
            if sends >= sends_max {
                counts.push((id, None));
                continue;
            }
            if id == to {
                // It knows best; but with nobody else to tell, the news must cool all the same.
                counts.push((id, Some(sends + 1)));
                continue;
            }
            let update = match (self.view.get(&id), self.orders.get(&id)) {
                (None, None) => {
                    counts.push((id, None));
                    continue;
                }
                (None, Some(order)) => Update::Forget(order.clone()),
                (Some(entry), _) => {
                    let full = matches!(entry.version.state, State::Left) || sends < FULL_SENDS;
                    match self.held_claim(&id).or_else(|| entry.claim(id)) {
                        Some(claim) => Update::Claim(claim),
                        None if full => Update::Record(entry.record.clone()),
                        None => Update::Brief(Brief { id, version: entry.version }),
                    }
                }
            };
            if update.weight() <= room {
                room -= update.weight();
                picked.push(update);
                counts.push((id, Some(sends + 1)));
            } else {
                misfits += 1;
                if misfits == MISFITS_MAX {
                    break;
                }
            }
        }
        for (id, sends) in counts {
            self.news.count(id, sends);
        }
        picked
    }

    /// Pushes hot news to three random members.
    pub(crate) fn push(&mut self, now: Moment) {
        let peers: Vec<NodeId> = self
            .connected()
            .filter(|id| self.view.is_present(id) && !self.investigations.contains_key(id))
            .collect();
        for peer in self.sample(peers, FANOUT) {
            let updates = self.pick_news(peer, PUSH_BYTES_MAX);
            if !updates.is_empty() {
                self.send(peer, Lane::Gossip, Message::News(updates));
            }
        }
        self.news.pushed = now;
        if self.connections > 0 && self.has_hot_news() {
            self.agenda.set(Task::Push, now + self.config.profile.news_interval());
        }
    }

    /// What has just come up is pushed at once, together with what the same burst of inputs brings.
    pub(crate) fn schedule_push(&mut self, now: Moment) {
        if std::mem::take(&mut self.news.fresh) && self.connections > 0 {
            let at = (now + PUSH_DELAY).max(self.news.pushed + PUSH_SPACING);
            self.agenda.set_earlier(Task::Push, at);
        }
    }

    /// Whether news is on its way, so that views may differ without harm.
    pub(crate) fn has_hot_news(&self) -> bool {
        self.news.is_hot(self.news_sends_max())
    }
}

/// How long news waits for company.
const PUSH_DELAY: Duration = Duration::from_millis(1);
/// Pushes of a storm of news are at least this far apart.
const PUSH_SPACING: Duration = Duration::from_millis(20);
/// No update is smaller than a brief.
const SMALLEST_UPDATE: usize = 1 + crate::message::BRIEF_BYTES;
