//! How much each guest may do within a minute.
//!
//! A window that starts over, rather than a bucket that refills: one map, cleared once a minute, bounds what strangers with
//! ever new keys can make us remember. At its edge a guest may do twice as much within a minute, which is still a bound.

use chinwag_base::limits::{
    DOOR_FETCHES_PER_MINUTE_MAX, DOOR_GETS_PER_MINUTE_MAX, DOOR_METERED_MAX,
    DOOR_PEER_FETCHES_PER_MINUTE_MAX, DOOR_PEER_GETS_PER_MINUTE_MAX, DOOR_PEER_PUTS_PER_MINUTE_MAX,
    DOOR_PEER_SENT_BYTES_PER_MINUTE_MAX, DOOR_PUTS_PER_MINUTE_MAX, DOOR_SENT_BYTES_PER_MINUTE_MAX,
};
use libp2p::PeerId;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(60);

#[derive(Default, Clone, Copy)]
struct Used {
    puts: u32,
    fetches: u32,
    gets: u32,
    sent_bytes: u64,
}

/// Puts, questions and answers of the present minute.
pub(super) struct Meter {
    since: Instant,
    all: Used,
    peers: BTreeMap<PeerId, Used>,
}

impl Meter {
    pub(super) fn new(now: Instant) -> Self {
        Meter { since: now, all: Used::default(), peers: BTreeMap::new() }
    }

    /// Whether `peer` may put now; it is counted if so.
    pub(super) fn may_put(&mut self, peer: PeerId, now: Instant) -> bool {
        self.may(peer, now, |used| &mut used.puts, DOOR_PEER_PUTS_PER_MINUTE_MAX, DOOR_PUTS_PER_MINUTE_MAX)
    }

    /// Whether a question of `peer` may be passed on to the overlay now; it is counted if so.
    pub(super) fn may_fetch(&mut self, peer: PeerId, now: Instant) -> bool {
        let (peer_max, all_max) = (DOOR_PEER_FETCHES_PER_MINUTE_MAX, DOOR_FETCHES_PER_MINUTE_MAX);
        self.may(peer, now, |used| &mut used.fetches, peer_max, all_max)
    }

    /// Whether a question of `peer` is looked up now; it is counted if so. How long the answer is shows only then, so the
    /// last one may go beyond the bound on bytes.
    pub(super) fn may_get(&mut self, peer: PeerId, now: Instant) -> bool {
        let (peer_max, all_max) = (DOOR_PEER_GETS_PER_MINUTE_MAX, DOOR_GETS_PER_MINUTE_MAX);
        let has_sent = self.peers.get(&peer).map_or(0, |used| used.sent_bytes);
        let is_full = has_sent >= DOOR_PEER_SENT_BYTES_PER_MINUTE_MAX
            || self.all.sent_bytes >= DOOR_SENT_BYTES_PER_MINUTE_MAX;
        let is_over = now.duration_since(self.since) >= WINDOW;
        (is_over || !is_full) && self.may(peer, now, |used| &mut used.gets, peer_max, all_max)
    }

    /// An answer of so many bytes goes out to `peer`, which may ask.
    pub(super) fn sent(&mut self, peer: PeerId, bytes: usize) {
        self.all.sent_bytes += bytes as u64;
        if let Some(used) = self.peers.get_mut(&peer) {
            used.sent_bytes += bytes as u64;
        }
    }

    fn may(
        &mut self,
        peer: PeerId,
        now: Instant,
        of: impl Fn(&mut Used) -> &mut u32,
        peer_max: u32,
        all_max: u32,
    ) -> bool {
        if now.duration_since(self.since) >= WINDOW {
            *self = Meter::new(now);
        }
        if self.peers.len() >= DOOR_METERED_MAX && !self.peers.contains_key(&peer) {
            return false;
        }
        let (used, all) = (of(self.peers.entry(peer).or_default()), of(&mut self.all));
        if *used >= peer_max || *all >= all_max {
            return false;
        }
        *used += 1;
        *all += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_and_all_of_them_have_so_much_a_minute() {
        let began = Instant::now();
        let mut meter = Meter::new(began);
        let puts_of = |meter: &mut Meter, now| {
            let peer = PeerId::random();
            std::iter::repeat_with(|| meter.may_put(peer, now)).take_while(|may| *may).count() as u32
        };
        let taken: Vec<u32> = (0..6).map(|_| puts_of(&mut meter, began)).collect();
        assert_eq!(taken[..5], [DOOR_PEER_PUTS_PER_MINUTE_MAX; 5]);
        assert_eq!(taken.iter().sum::<u32>(), DOOR_PUTS_PER_MINUTE_MAX);
        assert!(meter.may_fetch(PeerId::random(), began), "puts do not use questions up");
        assert_eq!(puts_of(&mut meter, began + WINDOW), DOOR_PEER_PUTS_PER_MINUTE_MAX);
    }

    #[test]
    fn questions_and_the_bytes_of_answers_are_counted() {
        let began = Instant::now();
        let mut meter = Meter::new(began);
        let (ada, bob) = (PeerId::random(), PeerId::random());
        let gets_of = |meter: &mut Meter, peer, now| {
            std::iter::repeat_with(|| meter.may_get(peer, now)).take_while(|may| *may).count() as u32
        };
        assert_eq!(gets_of(&mut meter, ada, began), DOOR_PEER_GETS_PER_MINUTE_MAX);
        assert!(meter.may_put(ada, began), "questions do not use puts up");
        assert!(meter.may_get(bob, began));
        meter.sent(bob, DOOR_PEER_SENT_BYTES_PER_MINUTE_MAX as usize);
        assert!(!meter.may_get(bob, began), "bob has had enough");
        let cyd = PeerId::random();
        assert!(meter.may_get(cyd, began), "others have not");
        meter.sent(cyd, DOOR_SENT_BYTES_PER_MINUTE_MAX as usize);
        assert!(!meter.may_get(PeerId::random(), began), "all have");
        assert!(meter.may_get(bob, began + WINDOW), "until the next minute");
    }

    #[test]
    fn ever_new_keys_fill_no_memory() {
        let now = Instant::now();
        let mut meter = Meter::new(now);
        (0..2 * DOOR_METERED_MAX).for_each(|_| {
            meter.may_put(PeerId::random(), now);
        });
        assert_eq!(meter.peers.len(), DOOR_METERED_MAX);
    }
}
