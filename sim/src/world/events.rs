//! What nodes tell, as observations, and the sizes that have bounds.

use super::World;
use crate::observation::{Fact, Host};
use crate::words::Line;
use chinwag_base::limits;
use chinwag_base::{Generation, Incarnation, NodeId};
use chinwag_gossip::Path;
use chinwag_membership::State;
use chinwag_node::Event;

impl World {
    pub(crate) fn event(&mut self, host: Host, event: Event) {
        if self.is_traced()
            && let Some(text) = crate::words::of_event(self, host, &event)
        {
            self.trace(Line::Event, &text);
        }
        match event {
            Event::Membership(event) => self.membership_event(host, event),
            Event::Gossip(event) => self.gossip_event(host, event),
            Event::Dht(event) => self.dht_event(&event),
            Event::FrameRefused { .. } => self.count("frames_not_understood"),
        }
    }

    fn membership_event(&mut self, host: Host, event: chinwag_membership::Event) {
        use chinwag_membership::Event as E;
        match event {
            E::Alive { id, generation, incarnation, .. } => {
                self.believed(host, id, State::Alive, Some(generation), Some(incarnation), false);
            }
            E::Tagged { .. } => self.count("tags_changed"),
            E::Suspect { id, incarnation, .. } => {
                self.count("suspicions");
                self.believed(host, id, State::Suspect, None, Some(incarnation), false);
            }
            E::Down { id, incarnation, unverified, .. } => {
                self.count("verdicts");
                self.believed(host, id, State::Down, None, Some(incarnation), unverified);
            }
            E::Left { id, .. } => self.believed(host, id, State::Left, None, None, false),
            E::Reaped { id, by, .. } => {
                if by.is_some() {
                    self.count("members_forgotten");
                }
                if let Some(about) = self.host_of(&id) {
                    self.observe(Fact::Reaped { host, about });
                }
            }
            E::SelfRefuted { .. } => self.count("refutations"),
            E::SelfStalled { .. } => self.count("stalls_noticed"),
            E::NameConflict { .. } => self.count("name_conflicts"),
            E::Conflict { .. } => {
                // The daemon stops then, and says why.
                self.count("key_conflicts");
                let life = self.machines[host.index()].life;
                self.queue.put(self.now, super::queue::Happening::Fails(host, life));
            }
            E::RecordRefused { .. } => self.count("member_records_refused"),
            E::FrameRefused { .. } => self.count("member_frames_refused"),
            E::Denied { .. } => self.count("denied"),
            E::Diverged { .. } => self.count("view_reconciliations"),
        }
    }

    fn believed(
        &mut self,
        host: Host,
        id: NodeId,
        state: State,
        generation: Option<Generation>,
        incarnation: Option<Incarnation>,
        unverified: bool,
    ) {
        if let Some(about) = self.host_of(&id)
            && about != host
        {
            self.observe(Fact::Believed { host, about, state, generation, incarnation, unverified });
        }
    }

    fn gossip_event(&mut self, host: Host, event: chinwag_gossip::Event) {
        use chinwag_gossip::Event as E;
        match event {
            E::Applied { change, path, .. } => {
                self.count(match path {
                    Path::Local => "applied_local",
                    Path::Pushed { .. } => "applied_pushed",
                    Path::Relayed { .. } => "applied_relayed",
                    Path::Synced { .. } => "applied_synced",
                    Path::Joined { .. } => "applied_joined",
                });
                if let chinwag_crdt::What::Set { concurrent: true, .. } = change.what {
                    self.count("concurrent_writes");
                }
                let local = path == Path::Local;
                self.observe(Fact::Applied { host, key: change.key, what: change.what, local });
            }
            E::ExchangeDone { equal: true, .. } => self.count("exchanges_equal"),
            E::ExchangeDone { .. } => self.count("exchanges"),
            E::ExchangeAbandoned { .. } => self.count("exchanges_abandoned"),
            E::Converged { .. } => self.count("converged"),
            E::Diverged { .. } => self.count("diverged"),
            E::Behind { .. } => self.count("behind"),
            E::Corrupt { .. } => {
                self.count("corrupt");
                self.observe(Fact::Measured {
                    host,
                    bound: "equal clocks with unequal states",
                    value: 1,
                    max: 0,
                });
            }
            E::ClockAhead { .. } => self.count("clocks_ahead"),
            E::EntryRefused { .. } => self.count("entries_refused"),
            E::MessageRefused { .. } => self.count("messages_refused"),
            E::CellsComing { .. } => {}
            E::CellsDone { .. } => self.count("sessions"),
            E::CellsLost { .. } => self.count("cells_lost"),
            E::CellsRefused { .. } => self.count("cells_refused"),
            E::CheckpointFailed { .. } => self.count("checkpoints_refused"),
            E::Overflow { .. } => self.count("overflows"),
            E::StorageFailed { .. } => self.count("commits_refused"),
        }
    }

    fn dht_event(&mut self, event: &chinwag_dht::Event) {
        use chinwag_dht::Event as E;
        self.count(match event {
            E::Refused { .. } => "records_refused",
            E::Damaged { .. } => "records_damaged",
            E::Repaired { .. } => "records_repaired",
            E::Irreparable { .. } => "records_irreparable",
            E::ReadRepaired { .. } => "reads_repaired",
            E::HandedOff { .. } => "hand_offs",
            E::Dropped { .. } => "records_dropped",
            E::Expired { .. } => "records_expired",
        });
    }

    /// Looks at the sizes that a peer or a client could drive up. Only what is beyond its bound is told.
    pub(crate) fn measure(&mut self, host: Host) {
        let Some(node) = &self.machines[host.index()].node else { return };
        let (gossip, dht) = (node.gossip(), node.dht());
        let usage = dht.store().usage();
        // A commit that is under way counts beside what waits.
        let machine = &self.machines[host.index()];
        // Its node knows that a dial has ended once the peer is connected; ours may still be under way then.
        let dials = machine.dials.keys().filter(|peer| !machine.links.contains_key(*peer)).count();
        let sizes = [
            (
                "STAGED_ENTRIES_MAX",
                gossip.queued_entries(),
                limits::STAGED_ENTRIES_MAX + limits::COMMIT_ENTRIES_MAX,
            ),
            ("STAGED_BYTES_MAX", gossip.queued_bytes(), limits::STAGED_BYTES_MAX + limits::COMMIT_BYTES_MAX),
            ("WAITS_MAX", gossip.open_waits(), limits::WAITS_MAX),
            ("log_bytes", gossip.replica().log_bytes(), self.plan.state.log_bytes),
            ("DOOMED_DOTS_MAX", gossip.replica().doomed(), limits::DOOMED_DOTS_MAX),
            ("STATE_BYTES_MAX", gossip.replica().state_bytes(), 2 * limits::STATE_BYTES_MAX),
            ("DHT_OPERATIONS_MAX", dht.open_requests(), limits::DHT_OPERATIONS_MAX),
            ("RECORDS_MAX", usage.records, limits::RECORDS_MAX),
            ("CONNECTIONS_MAX", machine.links.len(), limits::CONNECTIONS_MAX),
            // Dials for the failure detector's sake come beside the planned ones.
            ("INVESTIGATIONS_MAX", dials, limits::INVESTIGATIONS_MAX),
        ];
        self.count("bounds_measured");
        for (bound, value, max) in sizes {
            if value > max {
                self.observe(Fact::Measured { host, bound, value: value as u64, max: max as u64 });
            }
        }
    }

    /// The sizes of the whole run, at its end.
    pub(crate) fn measure_traffic(&mut self) {
        let traffic = self.traffic;
        let host = Host(0);
        let longest = ["PROBE_FRAME_BYTES_MAX", "GOSSIP_FRAME_BYTES_MAX", "BULK_FRAME_BYTES_MAX"];
        for (lane, bound) in chinwag_base::Lane::ALL.into_iter().zip(longest) {
            let (value, max) = (traffic.longest[lane as usize], lane.frame_bytes_max() as u64);
            self.observe(Fact::Measured { host, bound, value, max });
        }
        let [gossip, bulk] = traffic.waited;
        for (bound, value, max) in [
            ("GOSSIP_QUEUE_FRAMES_MAX", gossip.0, limits::GOSSIP_QUEUE_FRAMES_MAX),
            ("GOSSIP_QUEUE_BYTES_MAX", gossip.1, limits::GOSSIP_QUEUE_BYTES_MAX),
            ("BULK_QUEUE_FRAMES_MAX", bulk.0, limits::BULK_QUEUE_FRAMES_MAX),
            ("BULK_QUEUE_BYTES_MAX", bulk.1, limits::BULK_QUEUE_BYTES_MAX),
        ] {
            self.observe(Fact::Measured { host, bound, value: value as u64, max: max as u64 });
        }
    }
}
