//! How entries, cells and symbols are written in messages: for the wire alone, never for a disk.
//!
//! What travels together mostly has the same few writers, times and beginnings of keys. So a message begins with a table of
//! the replicas that it names (`Names`), 41 bytes each, and everything after says which of them it means, in a byte or
//! two. Counters, times and keys are told by how they differ from the ones before (`Pen` writes, `Eye` reads). An
//! entry that replaces a value of 64 bytes takes some 85 instead of 190.
//!
//! For `#[serde(with = "…")]`: [`entries`], [`slice`](mod@slice), [`symbols`], [`ids`].
//!
//! # What a stranger can do
//!
//! Three bytes may stand for a part that takes a hundred and more in memory. So a reader adds up what it has read by the weight
//! that it has when nothing is shared, which is what honest senders cut their messages by, and stops at what a frame may have
//! ([`BULK_FRAME_BYTES_MAX`]).

pub mod entries;
pub mod ids;
pub mod slice;
pub mod symbols;

use crate::{Dot, Hlc};
use chinwag_base::limits::BULK_FRAME_BYTES_MAX;
use chinwag_base::{Generation, Key, NodeId, ReplicaId};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// The most that a replica takes beyond its 41 bytes: how many generations its node has in the table, and its place there.
pub(crate) const NAME_BYTES: usize = 6;

/// How much of the key before may be meant by a length. A byte of it takes one, and what a byte may take is bounded.
const SHARED_BYTES_MAX: usize = 64;

/// The replicas that a message names, each once, ascending.
#[derive(Debug, Default)]
struct Names(Vec<ReplicaId>);

/// Of each node its generations, each as the difference from the one before.
type NamesTold = Vec<(NodeId, Vec<u64>)>;

impl Names {
    fn of(replicas: impl Iterator<Item = ReplicaId>) -> Self {
        let mut names: Vec<ReplicaId> = Vec::new();
        for replica in replicas {
            // Neighbours are mostly of one writer.
            if names.last() != Some(&replica) {
                names.push(replica);
            }
        }
        names.sort_unstable();
        names.dedup();
        Names(names)
    }

    fn told(&self) -> NamesTold {
        let mut told = NamesTold::new();
        let mut before = 0;
        for ReplicaId { node, generation } in &self.0 {
            let generation = generation.get();
            match told.last_mut() {
                Some((same, steps)) if same == node => steps.push(generation - before),
                _ => told.push((*node, vec![generation])),
            }
            before = generation;
        }
        told
    }

    fn heard(told: NamesTold) -> Result<Self, &'static str> {
        if !told.is_sorted_by(|(one, _), (next, _)| one < next) {
            return Err("nodes are named in another order or twice");
        }
        let count = told.iter().map(|(_, steps)| steps.len()).sum();
        if count > BULK_FRAME_BYTES_MAX / crate::dots::REPLICA_ID_BYTES {
            return Err("too many replicas are named");
        }
        let mut names = Vec::with_capacity(count);
        for (node, steps) in told {
            let mut generation = 0_u64;
            for (n, step) in steps.into_iter().enumerate() {
                let next = generation.checked_add(step).filter(|_| n == 0 || step > 0);
                generation = next.ok_or("the generations of a node are not ascending")?;
                names.push(ReplicaId { node, generation: Generation::new(generation) });
            }
        }
        Ok(Names(names))
    }
}

/// A dot: its replica by its place in the table, and by how much its counter differs from that replica's last.
type DotTold = (u32, i64);
/// A time: by how many milliseconds it differs from the last, and its counter.
type HlcTold = (i64, u16);
/// A key: how many of its first bytes are those of the last, and the others.
type KeyTold<'a> = (u8, Cow<'a, str>);

/// What was said last, of which what follows tells the difference.
#[derive(Debug)]
struct Last<K> {
    counters: Vec<u64>,
    millis: u64,
    key: K,
}

impl<K: Default> Last<K> {
    fn beside(names: &Names) -> Self {
        Last { counters: vec![0; names.0.len()], millis: 0, key: K::default() }
    }
}

/// Writes.
#[derive(Debug)]
struct Pen<'a> {
    names: &'a Names,
    /// Where the last replica stands.
    at: usize,
    last: Last<&'a str>,
}

impl<'a> Pen<'a> {
    fn new(names: &'a Names) -> Self {
        Pen { names, at: 0, last: Last::beside(names) }
    }

    fn replica(&mut self, replica: ReplicaId) -> u32 {
        if self.names.0.get(self.at) != Some(&replica) {
            let found = self.names.0.binary_search(&replica);
            self.at = found.expect("it is there, because all that the message names were put there");
        }
        self.at as u32
    }

    fn dot(&mut self, dot: Dot) -> DotTold {
        let place = self.replica(dot.replica);
        let last = &mut self.last.counters[place as usize];
        let step = dot.counter.wrapping_sub(*last).cast_signed();
        *last = dot.counter;
        (place, step)
    }

    fn hlc(&mut self, hlc: Hlc) -> HlcTold {
        let step = hlc.millis().wrapping_sub(self.last.millis).cast_signed();
        self.last.millis = hlc.millis();
        (step, hlc.logical())
    }

    fn key(&mut self, key: &'a Key) -> KeyTold<'a> {
        let text = key.as_str();
        let pairs = text.bytes().zip(self.last.key.bytes()).take(SHARED_BYTES_MAX);
        let same = pairs.take_while(|(one, other)| one == other).count();
        let shared = (0..=same).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        self.last.key = text;
        (shared as u8, Cow::Borrowed(&text[shared..]))
    }
}

/// Reads what a [`Pen`] wrote.
#[derive(Debug)]
struct Eye {
    names: Names,
    last: Last<Option<Key>>,
    room: usize,
}

impl Eye {
    fn new(names: Names) -> Self {
        let last = Last::beside(&names);
        Eye { names, last, room: BULK_FRAME_BYTES_MAX }
    }

    /// Something of this weight was read.
    fn weigh(&mut self, weight: usize) -> Result<(), &'static str> {
        self.room = self.room.checked_sub(weight).ok_or("it is more than a frame may have")?;
        Ok(())
    }

    fn replica(&self, place: u32) -> Result<ReplicaId, &'static str> {
        self.names.0.get(place as usize).copied().ok_or("a replica that was not named")
    }

    fn dot(&mut self, (place, step): DotTold) -> Result<Dot, &'static str> {
        let replica = self.replica(place)?;
        let last = &mut self.last.counters[place as usize];
        *last = last.wrapping_add_signed(step);
        Ok(Dot::new(replica, *last))
    }

    fn hlc(&mut self, (step, logical): HlcTold) -> Result<Hlc, &'static str> {
        let millis = self.last.millis.wrapping_add_signed(step);
        self.last.millis = millis;
        let hlc = Hlc::new(millis, logical);
        if hlc.millis() == millis { Ok(hlc) } else { Err("a time beyond the last that there is") }
    }

    fn key(&mut self, (shared, rest): KeyTold<'_>) -> Result<Key, &'static str> {
        let last = self.last.key.as_ref().map_or("", Key::as_str);
        let start = last.get(..usize::from(shared)).filter(|start| start.len() <= SHARED_BYTES_MAX);
        let start = start.ok_or("a key shares what the last one does not have")?;
        let key = Key::try_from([start, &rest].concat()).map_err(|_| "not a key")?;
        self.last.key = Some(key.clone());
        Ok(key)
    }
}

/// Reads the table, something that stands alone, and then a list, element by element, so that each is weighed before the
/// next is there.
struct Reading<'a, X, T, F>(&'a mut F, PhantomData<(X, T)>);

/// The list of a [`Reading`].
struct List<'a, T, F>(Eye, &'a mut F, PhantomData<T>);

/// Reads what [`Names::told`], something that stands alone, and a list were written as. Gives each of the list to `f`.
fn read<'de, D, X, T>(
    deserializer: D,
    mut f: impl FnMut(&mut Eye, T) -> Result<(), &'static str>,
) -> Result<X, D::Error>
where
    D: Deserializer<'de>,
    X: Deserialize<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_tuple(3, Reading(&mut f, PhantomData))
}

impl<'de, X, T, F> Visitor<'de> for Reading<'_, X, T, F>
where
    X: Deserialize<'de>,
    T: Deserialize<'de>,
    F: FnMut(&mut Eye, T) -> Result<(), &'static str>,
{
    type Value = X;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of replicas, and what names them")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<X, A::Error> {
        let is_short = || A::Error::custom("it ends too soon");
        let names = Names::heard(seq.next_element()?.ok_or_else(is_short)?).map_err(A::Error::custom)?;
        let alone = seq.next_element()?.ok_or_else(is_short)?;
        seq.next_element_seed(List(Eye::new(names), self.0, PhantomData))?.ok_or_else(is_short)?;
        Ok(alone)
    }
}

impl<'de, T, F> DeserializeSeed<'de> for List<'_, T, F>
where
    T: Deserialize<'de>,
    F: FnMut(&mut Eye, T) -> Result<(), &'static str>,
{
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T, F> Visitor<'de> for List<'_, T, F>
where
    T: Deserialize<'de>,
    F: FnMut(&mut Eye, T) -> Result<(), &'static str>,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(next) = seq.next_element()? {
            (self.1)(&mut self.0, next).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
