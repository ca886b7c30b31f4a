//! Which announcements are worth a dial.
//!
//! A member that is heard on the network and not connected is handed to membership, which dials it. If it is still not
//! connected when it is heard again, that was in vain: the pause before it is handed on again doubles. Whoever announces
//! itself under our overlay's name and does not let us in (a stranger that has heard the name, a member whose grant has
//! ended) is thus handed on ever more rarely, and all of them together a bounded number of times a minute, from a bounded
//! memory. Membership has bounds of its own for what it was handed: 64 such peers, each dialled a minute apart at last.

use chinwag_base::limits::{ADDRESSES_MAX, LAN_PEERS_MAX, LAN_STRANGERS_PER_MINUTE_MAX};
use chinwag_base::{Address, Moment, NodeId};
use std::collections::BTreeMap;
use std::time::Duration;

/// The first pause, long enough for a dial of both transports.
const PAUSE_MIN: Duration = Duration::from_secs(3);
/// The longest pause for whom we have never met.
const PAUSE_STRANGER_MAX: Duration = Duration::from_secs(3_600);
/// The longest pause for a member that we know: it may have been out of reach, and be back.
const PAUSE_MEMBER_MAX: Duration = Duration::from_secs(60);
const MINUTE: Duration = Duration::from_secs(60);

/// What we know of whoever is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// A member that is connected already.
    Connected,
    /// A member in the address book.
    Member,
    /// Nobody that we have met.
    Stranger,
}

#[derive(Debug)]
struct Tried {
    /// The newest addresses first: one member is heard on each network that it shares with us.
    addresses: Vec<Address>,
    vain: u32,
    heard: Moment,
    again: Moment,
}

/// Those that were heard and are not connected.
#[derive(Debug, Default)]
pub(super) struct Hits {
    tried: BTreeMap<NodeId, Tried>,
    minute: Moment,
    strangers: usize,
}

impl Hits {
    /// The addresses to dial, if this is worth a dial now.
    pub(super) fn heard(
        &mut self,
        now: Moment,
        peer: NodeId,
        addresses: &[Address],
        standing: Standing,
    ) -> Option<Vec<Address>> {
        if standing == Standing::Connected {
            self.tried.remove(&peer);
            return None;
        }
        if !self.tried.contains_key(&peer) && self.tried.len() >= LAN_PEERS_MAX {
            self.drop_most_hopeless();
        }
        let tried = self.tried.entry(peer).or_insert_with(|| Tried {
            addresses: Vec::new(),
            vain: 0,
            heard: now,
            again: now,
        });
        tried.heard = now;
        let older: Vec<Address> =
            tried.addresses.iter().filter(|a| !addresses.contains(a)).copied().collect();
        tried.addresses = addresses.iter().copied().chain(older).take(ADDRESSES_MAX).collect();
        if now < tried.again {
            return None;
        }
        if standing == Standing::Stranger {
            if now.since(self.minute) >= MINUTE {
                (self.minute, self.strangers) = (now, 0);
            }
            if self.strangers >= LAN_STRANGERS_PER_MINUTE_MAX {
                return None;
            }
            self.strangers += 1;
        }
        let longest = if standing == Standing::Member { PAUSE_MEMBER_MAX } else { PAUSE_STRANGER_MAX };
        tried.again = now + (PAUSE_MIN * (1 << tried.vain.min(11))).min(longest);
        tried.vain += 1;
        Some(tried.addresses.clone())
    }

    /// Those that were dialled more than once and not connected when they were last heard, and when that was.
    pub(super) fn in_vain(&self) -> Vec<(NodeId, Moment)> {
        let vain = self.tried.iter().filter(|(_, tried)| tried.vain > 1);
        vain.map(|(peer, tried)| (*peer, tried.heard)).collect()
    }

    fn drop_most_hopeless(&mut self) {
        let worst =
            self.tried.iter().max_by_key(|(_, tried)| (tried.vain, tried.again)).map(|(peer, _)| *peer);
        if let Some(peer) = worst {
            self.tried.remove(&peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> NodeId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        NodeId::from_bytes(bytes)
    }

    fn at(s: u64) -> Moment {
        Moment::from_millis(s * 1_000)
    }

    fn address(n: u8) -> Address {
        format!("/ip4/10.0.0.{n}/tcp/7171").parse().unwrap()
    }

    #[test]
    fn who_does_not_let_us_in_is_dialled_ever_more_rarely() {
        let mut hits = Hits::default();
        // Heard every second for a day.
        let dials = |hits: &mut Hits, standing| {
            (0..86_400).filter(|s| hits.heard(at(*s), id(1), &[address(1)], standing).is_some()).count()
        };
        let stranger = dials(&mut hits, Standing::Stranger);
        assert!((20..40).contains(&stranger), "{stranger}");
        assert_eq!(hits.in_vain(), [(id(1), at(86_399))]);
        let member = dials(&mut Hits::default(), Standing::Member);
        assert!((1_400..1_500).contains(&member), "{member}");
    }

    #[test]
    fn a_connection_forgives_all() {
        let mut hits = Hits::default();
        for s in 0..1_000 {
            hits.heard(at(s), id(1), &[address(1)], Standing::Stranger);
        }
        assert_eq!(hits.heard(at(1_000), id(1), &[address(1)], Standing::Connected), None);
        assert!(hits.in_vain().is_empty());
        assert_eq!(hits.heard(at(1_001), id(1), &[address(1)], Standing::Member), Some(vec![address(1)]));
    }

    #[test]
    fn addresses_of_several_networks_come_together_newest_first() {
        let mut hits = Hits::default();
        assert_eq!(hits.heard(at(0), id(1), &[address(1)], Standing::Member), Some(vec![address(1)]));
        assert_eq!(hits.heard(at(1), id(1), &[address(2)], Standing::Member), None);
        let both = hits.heard(at(9), id(1), &[address(2)], Standing::Member);
        assert_eq!(both, Some(vec![address(2), address(1)]));
        for n in 0..=255 {
            hits.heard(at(10), id(1), &[address(n)], Standing::Member);
        }
        let all = hits.heard(at(99), id(1), &[address(1)], Standing::Member).unwrap();
        assert_eq!((all.len(), all[0]), (ADDRESSES_MAX, address(1)));
    }

    #[test]
    fn a_crowd_of_strangers_costs_a_bounded_number_of_dials_and_a_bounded_memory() {
        let mut hits = Hits::default();
        let crowd = (0..10_000).filter(|n| {
            hits.heard(at(u64::from(*n) / 1_000), id(*n), &[address(1)], Standing::Stranger).is_some()
        });
        assert_eq!(crowd.count(), LAN_STRANGERS_PER_MINUTE_MAX);
        assert!(hits.tried.len() <= LAN_PEERS_MAX, "{}", hits.tried.len());
        // A member that we know has its dial all the same, and a stranger the next minute.
        assert!(hits.heard(at(10), id(70_000), &[address(2)], Standing::Member).is_some());
        assert!(hits.heard(at(61), id(70_001), &[address(2)], Standing::Stranger).is_some());
    }
}
