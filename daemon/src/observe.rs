//! From the node's events to what people see: one row of the log, one event of the API, one change of `watch`.
//!
//! Nothing observes by other means. The names of events and fields are stable; interface and logs share them.

use crate::listeners::Listeners;
use chinwag_api::event::Level;
use chinwag_api::{Bytes, Change, Count, NodeEvent, What};
use chinwag_base::{Name, NodeId, WallTime};
use chinwag_dht::Event as Record;
use chinwag_gossip::{Event as Gossip, Path};
use chinwag_membership::Event as Membership;
use chinwag_node::Event;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What is told to everyone who listens.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The event, as logs and `GET /v1/events` have it.
    pub event: NodeEvent,
    /// The change that it made visible, as `GET /v1/watch` has it.
    pub change: Option<Change>,
}

/// Turns events into rows, logs them and hands them on.
#[derive(Debug)]
pub(crate) struct Observer {
    names: BTreeMap<NodeId, Name>,
    listeners: Listeners,
    /// Warnings of each name, since when and how many: a peer must not choose how long the log is.
    warnings: BTreeMap<&'static str, Warnings>,
    /// How often each event has happened, told or not.
    counts: BTreeMap<&'static str, u64>,
}

/// Warnings of one name within the present second.
#[derive(Debug, Default)]
struct Warnings {
    since: WallTime,
    count: u64,
    unsaid: u64,
}

/// Warnings of one name that are told within a second. The next one that is told says how many were not.
const WARNINGS_PER_SECOND: u64 = 5;

impl Observer {
    pub(crate) fn new(me: NodeId, name: Name, listeners: Listeners) -> Self {
        Observer {
            names: BTreeMap::from([(me, name)]),
            listeners,
            warnings: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }

    /// Learns a name from the address book.
    pub(crate) fn knows(&mut self, id: NodeId, name: &Name) {
        self.names.insert(id, name.clone());
    }

    /// What people call a node; a short form of its id if it has never said its name here.
    pub(crate) fn name(&self, id: &NodeId) -> String {
        self.names.get(id).map_or_else(|| id.short(), Name::to_string)
    }

    /// How often each event has happened since the start.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts.iter().map(|(event, count)| (*event, *count))
    }

    /// Tells of an event of the node.
    pub(crate) fn node_event(&mut self, at: WallTime, event: &Event) {
        if let Event::Membership(Membership::Alive { id, name, .. }) = event {
            self.knows(*id, name);
        }
        let row = self.row(event);
        let change = match event {
            Event::Gossip(Gossip::Applied { change, path, age_ms }) => {
                self.change(at, change, *path, *age_ms)
            }
            _ => None,
        };
        self.tell(at, row, change);
    }

    /// Tells of something outside the node: the network, the disk.
    pub(crate) fn tell(&mut self, at: WallTime, row: Row, change: Option<Change>) {
        *self.counts.entry(row.event).or_default() += 1;
        let Some(row) = self.within_reason(at, row) else { return };
        log(&row);
        let Row { level, event, fields } = row;
        let event = NodeEvent { at_unix_ms: at.unix_ms(), level, event: event.to_owned(), fields };
        self.listeners.tell(event, change);
    }

    /// Drops warnings of which there are too many.
    fn within_reason(&mut self, at: WallTime, row: Row) -> Option<Row> {
        // What a peer says of itself, and how often, is its choice.
        if row.level != Level::Warn && row.event != "member.tagged" {
            return Some(row);
        }
        let seen = self.warnings.entry(row.event).or_default();
        if at < seen.since || at >= seen.since.plus_ms(1_000) {
            seen.since = at;
            seen.count = 0;
        }
        seen.count += 1;
        if seen.count > WARNINGS_PER_SECOND {
            seen.unsaid += 1;
            return None;
        }
        match std::mem::take(&mut seen.unsaid) {
            0 => Some(row),
            unsaid => Some(row.with("unsaid", unsaid)),
        }
    }

    fn row(&self, event: &Event) -> Row {
        match event {
            Event::Membership(event) => self.membership(event),
            Event::Gossip(event) => self.gossip(event),
            Event::Dht(event) => self.record(event),
            Event::FrameRefused { from, lane, why } => Row::new(Level::Warn, "frame.refused")
                .with("peer", self.name(from))
                .with("lane", format!("{lane:?}").to_lowercase())
                .with("why", why.to_string()),
        }
    }

    fn record(&self, event: &Record) -> Row {
        let about =
            |level, name, key: &chinwag_dht::RecordKey| Row::new(level, name).with("key", key.to_string());
        match event {
            Record::Refused { from, key, why } => {
                let by = from.map_or_else(|| "kademlia".to_owned(), |from| self.name(&from));
                about(Level::Warn, "record.refused", key).with("peer", by).with("why", why.as_str())
            }
            Record::Damaged { key, why } => {
                about(Level::Error, "record.damaged", key).with("why", why.as_str())
            }
            Record::Repaired { key } => about(Level::Info, "record.repaired", key),
            Record::Irreparable { key } => about(Level::Error, "record.irreparable", key),
            Record::ReadRepaired { key, owners } => {
                about(Level::Debug, "record.read_repaired", key).with("owners", *owners as u64)
            }
            Record::HandedOff { to, records } => Row::new(Level::Debug, "record.handed_off")
                .with("to", self.name(to))
                .with("records", *records as u64),
            Record::Dropped { records } => {
                Row::new(Level::Debug, "record.dropped").with("records", *records as u64)
            }
            Record::Expired { records } => {
                Row::new(Level::Debug, "record.expired").with("records", *records as u64)
            }
        }
    }

    fn membership(&self, event: &Membership) -> Row {
        match event {
            Membership::Alive { name, generation, incarnation, .. } => Row::new(Level::Info, "member.alive")
                .with("name", name.as_str())
                .with("inc", incarnation.get())
                .with("generation", generation.to_string()),
            Membership::Tagged { name, tags, .. } => {
                let tags: Vec<String> = tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
                Row::new(Level::Info, "member.tagged")
                    .with("name", name.as_str())
                    .with("tags", tags.join(" "))
            }
            Membership::Suspect { name, incarnation, by, phi, .. } => Row::new(Level::Info, "member.suspect")
                .with("name", name.as_str())
                .with("by", self.name(by))
                .with("phi", tenths(*phi))
                .with("inc", incarnation.get()),
            Membership::Down { name, incarnation, by, phi, unverified, .. } => {
                Row::new(Level::Info, "member.down")
                    .with("name", name.as_str())
                    .with("by", self.name(by))
                    .with("phi", tenths(*phi))
                    .with("inc", incarnation.get())
                    .with("unverified", *unverified)
            }
            Membership::Left { name, .. } => Row::new(Level::Info, "member.left").with("name", name.as_str()),
            Membership::Reaped { name, by: None, .. } => {
                Row::new(Level::Debug, "member.reaped").with("name", name.as_str())
            }
            Membership::Reaped { name, by: Some(by), .. } => Row::new(Level::Info, "member.forgotten")
                .with("name", name.as_str())
                .with("by", self.name(by)),
            Membership::SelfRefuted { incarnation } => {
                Row::new(Level::Info, "self.refuted").with("inc", incarnation.get())
            }
            Membership::SelfStalled { ms } => Row::new(Level::Info, "self.stalled").with("ms", *ms),
            Membership::NameConflict { name, first, second } => Row::new(Level::Warn, "member.name_conflict")
                .with("name", name.as_str())
                .with("first", first.short())
                .with("second", second.short()),
            Membership::Conflict { generation } => {
                Row::new(Level::Error, "self.conflict").with("generation", generation.to_string())
            }
            Membership::RecordRefused { from, about, why } => Row::new(Level::Warn, "record.refused")
                .with("peer", self.name(from))
                .with("name", self.name(about))
                .with("why", why.to_string()),
            Membership::FrameRefused { from, why } => {
                Row::new(Level::Warn, "frame.refused").with("peer", self.name(from)).with("why", *why)
            }
            Membership::Denied { peer, why } => {
                Row::new(Level::Warn, "grant.refused").with("peer", self.name(peer)).with("why", why.as_str())
            }
            Membership::Diverged { peer, digest } => Row::new(Level::Debug, "view.diverged")
                .with("peer", self.name(peer))
                .with("digest", digest.to_string()),
        }
    }

    fn gossip(&self, event: &Gossip) -> Row {
        match event {
            Gossip::Applied { change, path, age_ms } => {
                // One line for a write, at its origin; the others tell that they converged.
                let level = if *path == Path::Local { Level::Info } else { Level::Debug };
                let (path, from) = match path {
                    Path::Local => ("local", None),
                    Path::Pushed { by } => ("pushed", Some(by)),
                    Path::Relayed { by } => ("relayed", Some(by)),
                    Path::Synced { from } => ("synced", Some(from)),
                    Path::Joined { from } => ("joined", Some(from)),
                };
                let row = Row::new(level, "write.applied").with("key", change.key.to_string());
                // Of what a whole cell does not have any more nobody says who removed it.
                let row = match change.dot {
                    Some(dot) => row.with("origin", self.name(&dot.replica.node)).with("dot", dot_text(&dot)),
                    None => row,
                };
                let row = row.with("age_ms", *age_ms).with("path", path).with_effect(&change.what);
                match from {
                    Some(peer) => row.with("from", self.name(peer)),
                    None => row,
                }
            }
            Gossip::ExchangeDone { peer, equal, sent, received, after } => {
                let level = if *equal { Level::Trace } else { Level::Debug };
                Row::new(level, "sync.round")
                    .with("peer", self.name(peer))
                    .with("equal", *equal)
                    .with("sent", *sent)
                    .with("received", *received)
                    .with("ms", millis(after))
            }
            Gossip::ExchangeAbandoned { peer, why } => Row::new(Level::Debug, "sync.abandoned")
                .with("peer", self.name(peer))
                .with("why", format!("{why:?}").to_lowercase()),
            Gossip::Converged { digest, members, after } => Row::new(Level::Info, "converged")
                .with("digest", digest.to_string())
                .with("members", *members)
                .with("ms", millis(after)),
            Gossip::Diverged { digest } => {
                Row::new(Level::Debug, "diverged").with("digest", digest.to_string())
            }
            Gossip::Behind { peer, ops } => {
                Row::new(Level::Debug, "behind").with("peer", self.name(peer)).with("ops", *ops)
            }
            Gossip::Corrupt { peer, ours, theirs } => Row::new(Level::Error, "state.corrupt")
                .with("peer", self.name(peer))
                .with("ours", ours.to_string())
                .with("theirs", theirs.to_string()),
            Gossip::ClockAhead { peer, ms } => {
                Row::new(Level::Warn, "clock.ahead").with("peer", self.name(peer)).with("ms", *ms)
            }
            Gossip::EntryRefused { from, dot, why } => Row::new(Level::Warn, "entry.refused")
                .with("peer", self.name(from))
                .with("dot", dot_text(dot))
                .with("why", why.as_str()),
            Gossip::CellsComing { from, cells, of } => {
                let row = Row::new(Level::Info, "state.coming").with("peer", self.name(from));
                let row = row.with("cells", *cells);
                match of {
                    Some(of) => row.with("of", *of),
                    None => row,
                }
            }
            Gossip::CellsDone { from, cells, after } => Row::new(Level::Info, "state.came")
                .with("peer", self.name(from))
                .with("cells", *cells)
                .with("ms", millis(after)),
            Gossip::CellsLost { keys } => {
                let some: Vec<String> = keys.iter().take(16).map(|key| key.to_string()).collect();
                Row::new(Level::Error, "cells.lost").with("count", keys.len()).with("keys", some.join(" "))
            }
            Gossip::CellsRefused { from, why } => {
                Row::new(Level::Warn, "state.refused").with("peer", self.name(from)).with("why", why.as_str())
            }
            Gossip::CheckpointFailed { cells, why } => {
                Row::new(Level::Error, "checkpoint.failed").with("cells", *cells).with("why", why.as_str())
            }
            Gossip::MessageRefused { from, why } => Row::new(Level::Warn, "frame.refused")
                .with("peer", self.name(from))
                .with("why", why.to_string()),
            Gossip::Overflow { from, entries } => Row::new(Level::Warn, "entries.dropped")
                .with("peer", self.name(from))
                .with("entries", *entries),
            Gossip::StorageFailed { entries, why } => {
                Row::new(Level::Error, "storage.failed").with("entries", *entries).with("why", why.as_str())
            }
        }
    }

    fn change(&self, at: WallTime, change: &chinwag_crdt::Change, path: Path, age_ms: u64) -> Option<Change> {
        use chinwag_crdt::What as From;
        let bytes = |values: &[chinwag_base::Value]| values.iter().map(Bytes::from).collect::<Vec<_>>();
        let origin = match (change.dot, path) {
            (Some(dot), _) => Some(dot.replica.node),
            (None, Path::Joined { from }) => Some(from),
            (None, _) => None,
        };
        let (what, was, concurrent) = match &change.what {
            From::Set { value, was, concurrent, shown } => {
                // A concurrent write that lost is told too: the winner stays, and the loser is what it met.
                let what = match (concurrent, shown) {
                    (false, _) => What::Set { value: value.into() },
                    (true, true) => What::Merge { value: value.into() },
                    (true, false) => What::Merge { value: was.first().unwrap_or(value).into() },
                };
                let was = if *shown { bytes(was) } else { vec![value.into()] };
                (what, was, *concurrent)
            }
            From::Deleted { kind: chinwag_crdt::Kind::Flag, .. } => (What::Disable {}, Vec::new(), false),
            From::Deleted { was, .. } => (What::Del {}, bytes(was), false),
            From::Incremented { by, total } => {
                (What::Incr { by: Count(*by), count: Count(*total) }, Vec::new(), false)
            }
            From::Reset { .. } => (What::Del {}, Vec::new(), false),
            From::Added { element } => (What::Add { value: element.into() }, Vec::new(), false),
            From::Removed { element } => (What::Rm { value: element.into() }, Vec::new(), false),
            From::Enabled => (What::Enable {}, Vec::new(), false),
            From::NoEffect => return None,
        };
        Some(Change {
            at_unix_ms: at.unix_ms(),
            key: change.key.root_str().to_owned(),
            field: change.key.fields().map(str::to_owned).collect(),
            what,
            origin: origin.map_or_else(String::new, |node| self.name(&node)),
            age_ms,
            was,
            concurrent,
            position: None,
        })
    }
}

/// One row of the log.
#[derive(Debug)]
pub(crate) struct Row {
    level: Level,
    event: &'static str,
    fields: Map<String, Value>,
}

impl Row {
    pub(crate) fn new(level: Level, event: &'static str) -> Self {
        Row { level, event, fields: Map::new() }
    }

    #[cfg(test)]
    pub(crate) fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }
}

/// Hands a row to `tracing`, under the target `chinwag`.
fn log(row: &Row) {
    // Levels of `tracing` are static, hence a macro.
    macro_rules! at {
        ($level:ident) => {
            tracing::event!(target: "chinwag", tracing::Level::$level, event = row.event, fields = %Fields(&row.fields))
        };
    }
    match row.level {
        Level::Trace => at!(TRACE),
        Level::Debug => at!(DEBUG),
        Level::Info => at!(INFO),
        Level::Warn => at!(WARN),
        Level::Error => at!(ERROR),
    }
}

/// Fields as JSON. The log's own formatters take them apart again.
struct Fields<'a>(&'a Map<String, Value>);

impl std::fmt::Display for Fields<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&serde_json::to_string(self.0).unwrap_or_default())
    }
}

/// A dot, for people.
pub(crate) fn dot_text(dot: &chinwag_crdt::Dot) -> String {
    format!("{}.{}:{}", dot.replica.node.short(), dot.replica.generation, dot.counter)
}

fn tenths(phi: f64) -> Value {
    json!((phi * 10.0).round() / 10.0)
}

fn millis(d: &std::time::Duration) -> Value {
    json!((d.as_secs_f64() * 10_000.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chinwag_base::Keypair;

    #[test]
    fn a_flood_of_warnings_is_counted_rather_than_told() {
        let listeners = Listeners::new(1);
        let mut told = listeners.listen().receiver;
        let id = Keypair::from_secret([1; 32]).id();
        let mut observer = Observer::new(id, "alpha".parse().unwrap(), listeners);
        let at = WallTime::from_unix_ms(1_000_000);
        let warn = || Row::new(Level::Warn, "grant.refused");
        (0..100).for_each(|_| observer.tell(at, warn(), None));
        observer.tell(at, Row::new(Level::Warn, "clock.ahead"), None);
        observer.tell(at, Row::new(Level::Info, "member.alive"), None);
        observer.tell(at.plus_ms(1_000), warn(), None);
        let rows: Vec<_> = std::iter::from_fn(|| told.try_recv().ok()).collect();
        assert_eq!(rows.len() as u64, WARNINGS_PER_SECOND + 3);
        assert_eq!(rows.last().unwrap().event.fields["unsaid"], 95);
    }
}
