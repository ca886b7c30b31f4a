//! Every member, as this node believes it.

use crate::away::Away;
use crate::message::{Claim, Update, Verdict};
use crate::record::Record;
use crate::rings::Rings;
use crate::rumour::Known;
use crate::version::{State, Version};
use chinwag_base::limits::MEMBERS_MAX;
use chinwag_base::{Digest, Moment, Name, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Why this node alone holds a member for gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unverified {
    /// It is silent, and too few others could be asked.
    Silent,
    /// It is known from an earlier process life, and has not been heard of since.
    Remembered,
}

/// One member.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its own words: the newest that we have.
    pub(crate) record: Arc<Record>,
    /// What we believe, and tell others.
    pub(crate) version: Version,
    /// What we believe and do not tell others.
    pub(crate) unverified: Option<Unverified>,
    /// Since when.
    pub(crate) since: Moment,
    /// Who accuses it, and with which phi.
    pub(crate) accuser: Option<Box<(NodeId, f64)>>,
    item: Digest,
}

impl Entry {
    /// Whether it takes part: it is observed and asked for help.
    pub(crate) fn is_present(&self) -> bool {
        self.version.state.is_present() && self.unverified.is_none()
    }

    /// Whether others are told that it is here. What is only remembered is hearsay of an earlier process life.
    pub(crate) fn is_told(&self) -> bool {
        self.version.state.is_present() && self.unverified != Some(Unverified::Remembered)
    }

    /// Whether it is dialled in the hope that it comes back.
    pub(crate) fn is_lost(&self) -> bool {
        self.version.state == State::Down || self.version.state.is_present() && self.unverified.is_some()
    }

    /// The mean stall that it admits, or the floor.
    pub(crate) fn stall_mean(&self, floor: Duration) -> Duration {
        Duration::from_millis(u64::from(self.record.statement().stall_mean_ms))
            .clamp(floor, crate::estimate::STALL_MEAN_MAX)
    }

    /// The accusation against this member, if there is one.
    pub(crate) fn claim(&self, id: NodeId) -> Option<Claim> {
        let Version { generation, incarnation, state } = self.version;
        let verdict = match state {
            State::Suspect => Verdict::Suspect,
            State::Down => Verdict::Down,
            State::Alive | State::Left => return None,
        };
        let (by, phi) = *self.accuser.as_deref()?;
        Some(Claim { id, generation, incarnation, verdict, by, phi_tenths: (phi * 10.0) as u16 })
    }
}

#[derive(Debug)]
pub(crate) struct View {
    entries: BTreeMap<NodeId, Entry>,
    digest: Digest,
    rings: Rings,
    names: BTreeSet<(Name, NodeId)>,
    away: Away,
    /// Whether anybody came onto the rings or left them since that was last asked.
    moved: bool,
    /// Members of which anything changed since that was last asked: of the view, or reaped since.
    changed: BTreeSet<NodeId>,
}

impl View {
    /// A view of nobody, in which `me` will look for those to observe.
    pub(crate) fn new(me: NodeId) -> Self {
        View {
            entries: BTreeMap::new(),
            digest: Digest::EMPTY,
            rings: Rings::new(me),
            names: BTreeSet::new(),
            away: Away::default(),
            moved: false,
            changed: BTreeSet::new(),
        }
    }

    pub(crate) fn get(&self, id: &NodeId) -> Option<&Entry> {
        self.entries.get(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&NodeId, &Entry)> {
        self.entries.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Members that take part, ourselves included.
    pub(crate) fn present_count(&self) -> usize {
        self.rings.len()
    }

    pub(crate) fn is_present(&self, id: &NodeId) -> bool {
        self.entries.get(id).is_some_and(Entry::is_present)
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    pub(crate) fn rings(&self) -> &Rings {
        &self.rings
    }

    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= MEMBERS_MAX
    }

    /// What the rules for rumours go by.
    pub(crate) fn known(&self, id: &NodeId) -> Known {
        self.entries.get(id).map_or_else(|| self.away.known(id), |entry| Known::Here(entry.version))
    }

    /// Those who left the view.
    pub(crate) fn away(&self) -> &Away {
        &self.away
    }

    /// Whether a member is known that is not here and has not left: in the view, or away from it.
    pub(crate) fn is_lost(&self, id: &NodeId) -> bool {
        self.entries.get(id).is_some_and(Entry::is_lost) || self.away.record(id).is_some()
    }

    /// A member that is away has said goodbye.
    pub(crate) fn part_with(&mut self, record: Arc<Record>, now: Moment) {
        self.away.insert(now, record.version(), record);
    }

    /// What is believed of a member; of those away, only what they should refute.
    pub(crate) fn belief(&self, id: &NodeId) -> Option<Version> {
        self.entries.get(id).map(|entry| entry.version).or_else(|| self.away.verdict(id))
    }

    /// Takes a record that was verified and is newer than what is known. Returns another live member of that name.
    pub(crate) fn put(
        &mut self,
        record: Arc<Record>,
        unverified: Option<Unverified>,
        now: Moment,
    ) -> Option<NodeId> {
        let id = record.id();
        let before = self.derived(&id);
        self.away.remove(&id);
        let version = record.version();
        let item = item(&record);
        self.entries.insert(id, Entry { record, version, unverified, since: now, accuser: None, item });
        self.follow(&id, before);
        self.namesake(&id)
    }

    /// Believes a claim about the known incarnation.
    pub(crate) fn accuse(&mut self, id: &NodeId, state: State, by: NodeId, phi: f64, now: Moment) {
        let before = self.derived(id);
        if let Some(entry) = self.entries.get_mut(id) {
            entry.version.state = state;
            entry.since = now;
            entry.accuser = Some(Box::new((by, phi)));
            if state == State::Down {
                entry.unverified = None;
            }
        }
        self.follow(id, before);
    }

    /// Holds a member for gone, or not, on our own account. Returns whether that is a change.
    pub(crate) fn set_unverified(
        &mut self,
        id: &NodeId,
        unverified: Option<Unverified>,
        now: Moment,
    ) -> bool {
        if self.entries.get(id).is_none_or(|entry| entry.unverified == unverified) {
            return false;
        }
        let before = self.derived(id);
        if let Some(entry) = self.entries.get_mut(id) {
            entry.unverified = unverified;
            entry.since = now;
        }
        self.follow(id, before);
        true
    }

    /// Another live member of the same name.
    pub(crate) fn namesake(&self, id: &NodeId) -> Option<NodeId> {
        let name = &self.entries.get(id)?.record.statement().name;
        let first = NodeId::from_bytes([0; 32]);
        let same = self.names.range((name.clone(), first)..).take_while(|(other, _)| other == name);
        same.map(|(_, other)| *other).find(|other| other != id)
    }

    /// Takes members out of the view that have been down or left, or unheard, for `retention`.
    pub(crate) fn reap(&mut self, now: Moment, retention: Duration) -> Vec<(NodeId, Name)> {
        self.away.expire(now, retention);
        let old = |entry: &Entry| !entry.is_present() && now.since(entry.since) >= retention;
        let ids: Vec<NodeId> = self.entries.iter().filter(|(_, e)| old(e)).map(|(id, _)| *id).collect();
        let mut gone = Vec::new();
        for id in ids {
            let before = self.derived(&id);
            if let Some(entry) = self.entries.remove(&id) {
                self.follow(&id, before);
                gone.push((id, entry.record.statement().name.clone()));
                self.away.insert(now, entry.version, entry.record);
            }
        }
        gone
    }

    /// Takes a member out of the view, if it is in it, and remembers it as gone at this version and not to be dialled.
    /// Returns the name that it had.
    pub(crate) fn forget(&mut self, id: &NodeId, version: Version, now: Moment) -> Option<Name> {
        let before = self.derived(id);
        let gone = self.entries.remove(id);
        self.follow(id, before);
        self.away.forget(now, *id, version);
        gone.map(|entry| entry.record.statement().name.clone())
    }

    /// Keeps the bound: members shown and away are together no more than an overlay has.
    pub(crate) fn drop_longest_away(&mut self) -> Option<NodeId> {
        if self.entries.len() + self.away.len() > MEMBERS_MAX { self.away.pop_longest() } else { None }
    }

    /// All that another needs in order to believe what we believe of a member.
    pub(crate) fn updates(&self, id: &NodeId) -> Vec<Update> {
        let hearsay = |entry: &&Entry| entry.unverified != Some(Unverified::Remembered);
        let Some(entry) = self.entries.get(id).filter(hearsay) else { return Vec::new() };
        let mut updates = vec![Update::Record(entry.record.clone())];
        updates.extend(entry.claim(*id).map(Update::Claim));
        updates
    }

    /// How many bits number the parts of a view of this size: about eight members a part.
    pub(crate) fn part_bits(&self) -> u8 {
        let parts = (self.entries.len() / 8).max(1);
        (parts.ilog2() as u8).min(crate::message::PARTS_BITS_MAX)
    }

    /// The digest of each part, shortened.
    pub(crate) fn parts(&self, bits: u8) -> Vec<u64> {
        let mut parts = vec![Digest::EMPTY; 1 << bits];
        for (id, entry) in &self.entries {
            if entry.is_told() {
                parts[usize::from(part_of(id, bits))] += entry.item;
            }
        }
        parts.iter().map(|d| d.to_bytes()[..8].iter().fold(0, |sum, &b| sum << 8 | u64::from(b))).collect()
    }

    /// Whether anybody came onto the rings or left them since the last call.
    pub(crate) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Members of which anything changed since the last call.
    pub(crate) fn take_changed(&mut self) -> BTreeSet<NodeId> {
        std::mem::take(&mut self.changed)
    }

    /// What an entry adds to what is derived from the entries.
    fn derived(&self, id: &NodeId) -> Derived {
        let Some(entry) = self.entries.get(id) else { return Derived::default() };
        let name = || entry.record.statement().name.clone();
        Derived { told: entry.is_told().then_some(entry.item), present: entry.is_present().then(name) }
    }

    /// Sets right what is derived, after an entry has changed.
    fn follow(&mut self, id: &NodeId, before: Derived) {
        let after = self.derived(id);
        self.changed.insert(*id);
        self.digest -= before.told.unwrap_or(Digest::EMPTY);
        self.digest += after.told.unwrap_or(Digest::EMPTY);
        if before.present.is_some() != after.present.is_some() {
            self.moved = true;
            if after.present.is_some() {
                self.rings.insert(*id);
            } else if self.rings.remove(id) {
                let present = self.entries.iter().filter(|(_, entry)| entry.is_present());
                self.rings.refill(present.map(|(id, _)| *id));
            }
        }
        if before.present != after.present {
            if let Some(name) = before.present {
                self.names.remove(&(name, *id));
            }
            if let Some(name) = after.present {
                self.names.insert((name, *id));
            }
        }
    }
}

/// What one entry adds to what is derived from all.
#[derive(Debug, Default)]
struct Derived {
    /// To the digest.
    told: Option<Digest>,
    /// To the rings, and to the names.
    present: Option<Name>,
}

/// Which part a member belongs to: the leading bits of its id.
pub(crate) fn part_of(id: &NodeId, bits: u8) -> u16 {
    let bytes = id.as_bytes();
    let leading = u32::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    (leading >> (16 - u32::from(bits.min(16)))) as u16
}

/// What a member adds to the digest: id, generation and incarnation. Suspicion comes and goes and adds nothing.
fn item(record: &Record) -> Digest {
    let version = record.version();
    let mut bytes = [0; 48];
    bytes[..32].copy_from_slice(record.id().as_bytes());
    bytes[32..40].copy_from_slice(&version.generation.get().to_be_bytes());
    bytes[40..].copy_from_slice(&version.incarnation.get().to_be_bytes());
    Digest::of("member", &bytes)
}
