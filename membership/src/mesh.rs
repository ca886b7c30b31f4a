//! Which connections are kept.
//!
//! Up to [`Config::mesh_max`](crate::Config::mesh_max) members, everybody is connected to everybody, and whatever is new is one hop from all. In a
//! larger overlay that would cost each daemon hundreds of connections, and the overlay their square. There a member
//! dials those alone whom it needs, before it needs them: its K subjects, and a *neighbour* more on some of the rings. Its
//! observers and those whose neighbour it is dial it, so it has about 2K + 2·[`NEIGHBOURS`] connections. The rings
//! are random and independent, and the union of random cycles is an expander: news crosses it in a few hops. (HyParView,
//! Leitão, Pereira, Rodrigues 2007, keeps small active views for the same reason, and shuffles them; here the rings say
//! who is in them, so all who know the same members agree.)
//!
//! Whom other protocols ask for is dialled too, and kept while it is of use.

use crate::membership::{Link, Membership};
use crate::port::Output;
use chinwag_base::limits::CONNECTIONS_MAX;
use chinwag_base::{Moment, NodeId};
use std::collections::BTreeSet;
use std::time::Duration;

/// Members beside the subjects that are dialled in a large overlay: a few, so that news has ways that no failure detector
/// depends on.
pub(crate) const NEIGHBOURS: usize = 4;
/// How long a connection may be of no use before it is closed by the end that dialled it.
const UNUSED_MAX: Duration = Duration::from_secs(60);
/// Nobody who has just met is sent away: views are exchanged first.
const MEETING: Duration = Duration::from_secs(5);
/// From so many connections on, those that are of no use make room for others, such as the newcomers who know no other
/// address than ours.
const CROWD: usize = CONNECTIONS_MAX / 2;
/// Under that pressure a meeting is this short: a view is sent by then.
const MEETING_IN_CROWD: Duration = Duration::from_millis(400);
/// Connections that are closed in one turn.
const CLOSED_AT_ONCE: usize = 64;

/// What is true of our connections as a whole.
#[derive(Debug, Default)]
pub(crate) struct Mesh {
    /// The overlay is too large for everybody to be connected to everybody.
    partial: bool,
    /// Whom we dial beside our subjects.
    neighbours: BTreeSet<NodeId>,
}

impl Membership {
    /// Whether we dial that member without being asked to.
    pub(crate) fn is_dialled(&self, peer: &NodeId) -> bool {
        !self.mesh.partial
            || self.subjects.contains(peer)
            || self.mesh.neighbours.contains(peer)
            || !self.view.is_present(peer)
    }

    /// Whether the overlay is too large for everybody to be connected to everybody.
    pub(crate) fn is_mesh_partial(&self) -> bool {
        self.mesh.partial
    }

    /// Whether a connection to that peer is of use.
    fn is_of_use(&self, now: Moment, peer: &NodeId, link: &Link) -> bool {
        self.is_dialled(peer)
            || self.spacing.is_observer(peer)
            || self.investigations.contains_key(peer)
            || self.verifications.contains_key(peer)
            || link.wanted.is_some_and(|wanted| now.since(wanted) < UNUSED_MAX)
    }

    /// Members have come or gone. Between the size at which a full mesh ends and that at which it begins again there is
    /// room, so that one who comes and goes does not make everybody dial and close.
    pub(crate) fn fit_mesh(&mut self, now: Moment) {
        let (members, max) = (self.view.present_count(), self.config.mesh_max);
        let was = self.mesh.partial;
        self.mesh.partial = members > if was { max } else { max + max / 8 };
        let before = std::mem::take(&mut self.mesh.neighbours);
        if self.mesh.partial {
            self.mesh.neighbours = self.view.rings().neighbours(NEIGHBOURS, &self.subjects);
            for new in self.mesh.neighbours.difference(&before).copied().collect::<Vec<_>>() {
                self.plan_first_dial(now, new);
            }
        } else if was {
            for peer in self.alive_peers().collect::<Vec<_>>() {
                self.plan_first_dial(now, peer);
            }
        }
    }

    /// Another protocol has something to say to that member. In a full mesh it is being dialled already.
    pub(crate) fn on_wanted(&mut self, now: Moment, peer: NodeId) {
        if !self.mesh.partial || !self.view.is_present(&peer) || peer == self.id {
            return;
        }
        self.links.entry(peer).or_default().wanted = Some(now);
        self.dial_now(now, peer);
    }

    /// Closes what we have dialled and is of no use any more. What others have dialled is theirs to close.
    pub(crate) fn close_unused(&mut self, now: Moment) {
        if !self.mesh.partial {
            return;
        }
        let is_over = |link: &Link| link.dialled && link.opened.is_some_and(|at| at + MEETING <= now);
        let unused = self
            .links
            .iter()
            .filter(|(peer, link)| link.connected && is_over(link) && !self.is_of_use(now, peer, link));
        for peer in unused.map(|(peer, _)| *peer).take(CLOSED_AT_ONCE).collect::<Vec<_>>() {
            self.emit(Output::Close { peer });
        }
    }

    /// One more has connected to us: in a crowd, who has been of no use for longest goes.
    pub(crate) fn make_room(&mut self, now: Moment) {
        if !self.mesh.partial || self.connections <= CROWD {
            return;
        }
        let unused = self.links.iter().filter(|(peer, link)| {
            link.connected
                && link.opened.is_some_and(|at| at + MEETING_IN_CROWD <= now)
                && !self.is_of_use(now, peer, link)
        });
        if let Some(peer) = unused.min_by_key(|(peer, link)| (link.opened, **peer)).map(|(peer, _)| *peer) {
            self.emit(Output::Close { peer });
        }
    }
}
