//! What the tests of several modules share.

use crate::cell::{Cell, Edit};
use crate::record::{BlobHash, Content, Record, RecordKey};
use chinwag_base::limits::TOMBSTONE_LIFE_MS;
use chinwag_base::{Generation, NodeId, ReplicaId, Value, WallTime};
use chinwag_crdt::{Dot, Hlc};
use proptest::prelude::*;
use std::sync::Arc;

pub(crate) const NOW: WallTime = WallTime::from_unix_ms(1_800_000_000_000);

pub(crate) fn node(n: u8) -> NodeId {
    NodeId::from_bytes([n; 32])
}

pub(crate) fn replica(n: u8) -> ReplicaId {
    ReplicaId { node: node(n), generation: Generation::new(1) }
}

/// A register that was put once.
pub(crate) fn put(who: u8, counter: u64, text: &str) -> Cell {
    let edit = Edit::Set(Value::new(text.as_bytes()).unwrap());
    Cell::new().plan(&edit, Dot::new(replica(who), counter), Hlc::new(counter, 0), None).unwrap()
}

/// A cell after some edits by three coordinators, each of which has seen some of the others' changes. Every dot names one
/// write, as it does in an overlay: its edit follows from the dot.
pub(crate) fn any_cell() -> impl Strategy<Value = Cell> {
    let edit = |(who, counter): (u8, u64)| {
        let value = Value::new([who, counter as u8 % 3].as_slice()).unwrap();
        if counter.is_multiple_of(2) { Edit::Set(value) } else { Edit::Add(value) }
    };
    let end = |counter: u64| (!counter.is_multiple_of(3)).then(|| NOW.plus_ms(counter));
    proptest::collection::vec(((1_u8..4, 1_u64..6), any::<bool>(), any::<bool>()), 0..8).prop_map(
        move |puts| {
            let mut cell = Cell::new();
            for ((who, counter), sees, delete) in puts {
                let dot = Dot::new(replica(who), counter);
                let seen = if sees { cell.clone() } else { Cell::new() };
                let change = if delete {
                    seen.plan(&Edit::Delete, dot, Hlc::ZERO, None)
                } else {
                    seen.plan(&edit((who, counter)), dot, Hlc::new(counter, 0), end(counter))
                };
                if let Ok(change) = change {
                    cell.join(&change).unwrap();
                }
            }
            cell
        },
    )
}

/// Records as a hostile member sends them: any kind under any key, any end; some are valid.
pub(crate) fn any_record() -> impl Strategy<Value = Record> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..64).prop_map(Arc::<[u8]>::from);
    let content = prop_oneof![bytes.prop_map(Content::Blob), any_cell().prop_map(Content::Cell)];
    let end = prop_oneof![
        3 => (0..TOMBSTONE_LIFE_MS).prop_map(|ms| Some(NOW.plus_ms(ms))),
        1 => any::<u64>().prop_map(|ms| Some(WallTime::from_unix_ms(ms))),
        1 => Just(None),
    ];
    let named = prop_oneof![3 => Just(true), 1 => Just(false)];
    (content, named, "[ab]", 0..3_u8, end).prop_map(|(content, honest, name, publisher, expires)| {
        let cell = || RecordKey::Cell(name.parse().unwrap());
        let key = match (&content, honest) {
            (Content::Blob(bytes), true) => RecordKey::Blob(BlobHash::of(bytes)),
            (Content::Blob(_), false) if publisher == 0 => cell(),
            (Content::Cell(_), true) => cell(),
            (_, false) => RecordKey::Blob(BlobHash::of(name.as_bytes())),
        };
        Record { key, content, publisher: node(publisher), expires }
    })
}
