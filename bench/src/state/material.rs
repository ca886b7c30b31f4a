//! What is written in the experiments: the same keys and values for every system, and chinwag's entries for them.

use anyhow::{Context as _, Result};
use chinwag_base::{Generation, Key, NodeId, ReplicaId, Value, WallTime, codec};
use chinwag_crdt::{Checkpoint, Dot, Dots, Effect, Entry, Hlc, Op, Place, Replica, Stock};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// The wall clock's reading when an experiment begins, in Unix milliseconds.
pub const WALL_MS: u64 = 1_800_000_000_000;

/// The id of a node: as random as a public key.
pub fn node(number: usize) -> NodeId {
    let mut bytes = [0; 32];
    ChaCha8Rng::seed_from_u64(number as u64 ^ 0x6e6f_6465).fill_bytes(&mut bytes);
    NodeId::from_bytes(bytes)
}

/// A node in one of its process lives, whose generation is as large as a daemon's.
pub fn replica(number: usize, life: u64) -> ReplicaId {
    let wall = WallTime::from_unix_ms(WALL_MS - 1_000_000 + life);
    ReplicaId { node: node(number), generation: Generation::next(None, wall, number as u32) }
}

/// The name of the `n`-th key of all, of which node `n % writers` is the writer.
pub fn key_name(writers: usize, n: usize) -> String {
    format!("app/node-{:04}/key-{:06}", n % writers, n / writers)
}

/// What the `version`-th write to the `n`-th key writes: hexadecimal digits that do not compress to less than half.
pub fn value(n: usize, version: u64, bytes: usize) -> String {
    let mut rng = ChaCha8Rng::seed_from_u64((n as u64) << 20 | version);
    let mut text = String::with_capacity(bytes + 16);
    while text.len() < bytes {
        text.push_str(&format!("{:016x}", rng.next_u64()));
    }
    text.truncate(bytes);
    text
}

/// Keys, each with a value of its own, and who wrote them last.
#[derive(Debug, Clone)]
pub struct Material {
    writers: usize,
    value_bytes: usize,
    /// Of each key its newest dot.
    newest: Vec<Option<Dot>>,
    /// Of each writer in its present life the last counter.
    counters: Vec<u64>,
    life: u64,
    version: u64,
}

impl Material {
    /// So many keys of so many writers, not yet written.
    pub fn new(writers: usize, keys: usize, value_bytes: usize) -> Self {
        Material {
            writers,
            value_bytes,
            newest: vec![None; keys],
            counters: vec![0; writers],
            life: 1,
            version: 0,
        }
    }

    /// How many keys there are.
    pub fn keys(&self) -> usize {
        self.newest.len()
    }

    /// How many write them.
    pub fn writers(&self) -> usize {
        self.writers
    }

    /// From here on all writers are other processes.
    pub fn live_again(&mut self) {
        self.life += 1;
        self.counters.fill(0);
    }

    /// Writes these keys once more, each in place of what it had.
    ///
    /// # Errors
    /// If a key or a value is too long.
    pub fn write(&mut self, keys: impl IntoIterator<Item = usize>) -> Result<Vec<Arc<Entry>>> {
        self.version += 1;
        let mut entries = Vec::new();
        for n in keys {
            let writer = n % self.writers;
            self.counters[writer] += 1;
            let dot = Dot::new(replica(writer, self.life), self.counters[writer]);
            let seen = self.newest[n].replace(dot);
            entries.push(Arc::new(Entry {
                dot,
                hlc: Hlc::new(WALL_MS - 500_000 + self.version, 0),
                key: key(self.writers, n)?,
                effect: Effect::Set { value: as_value(&value(n, self.version, self.value_bytes))? },
                removed: seen.into_iter().collect::<Dots>(),
            }));
        }
        Ok(entries)
    }
}

/// The `n`-th key.
///
/// # Errors
/// If it is too long.
pub fn key(writers: usize, n: usize) -> Result<Key> {
    key_name(writers, n).parse().with_context(|| format!("key {n}"))
}

/// A text as a value.
///
/// # Errors
/// If it is too long.
pub fn as_value(text: &str) -> Result<Value> {
    Value::new(text.as_bytes()).context("a value that is too long")
}

/// The operation that sets a key.
///
/// # Errors
/// If key or value are too long.
pub fn set(key: &str, value: &str) -> Result<Op> {
    Ok(Op::Set { key: key.parse().with_context(|| key.to_owned())?, value: as_value(value)? })
}

/// The bytes that nobody can do without who tells a write: its dot, its key and its value.
pub fn ideal_bytes(entry: &Entry) -> usize {
    let value = match &entry.effect {
        Effect::Set { value } => value.as_bytes().len(),
        Effect::Add { element } => element.as_bytes().len(),
        _ => 0,
    };
    codec::encode(&entry.dot).len() + entry.key.as_str().len() + value
}

/// All of a replica, as its disk would hold it with an empty log.
pub fn checkpoint(replica: &Replica) -> Checkpoint<Stock> {
    let mut cells = Stock::default();
    let mut after: Option<Place> = None;
    loop {
        let slice = replica.slice_after(after.as_ref(), usize::MAX);
        for (key, parts) in slice.cells {
            cells.put(key, parts);
        }
        match slice.extent {
            chinwag_crdt::Extent::Range { until: Some(until), .. } => after = Some(until),
            _ => {
                let clock = replica.clock().clone();
                return Checkpoint { position: 1, clock, cells, ..Checkpoint::default() };
            }
        }
    }
}

/// A replica that has applied these entries.
pub fn replica_of<'a>(me: ReplicaId, entries: impl IntoIterator<Item = &'a Arc<Entry>>) -> Replica {
    let mut replica = Replica::new(me);
    for entry in entries {
        replica.recover(entry.clone());
    }
    replica
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_replace_each_other_and_a_checkpoint_has_all_of_them() {
        let mut material = Material::new(4, 3_000, 40);
        let mut all = material.write(0..3_000).unwrap();
        material.live_again();
        all.extend(material.write([7, 8]).unwrap());
        assert_eq!(all[3_000].removed.iter().next(), Some(all[7].dot));
        let whole = replica_of(replica(100, 1), &all);
        assert_eq!(whole.len(), 3_000);
        let mut again = Replica::new(replica(101, 1));
        again.recover_checkpoint(checkpoint(&whole));
        assert_eq!((again.digest(), again.clock_digest()), (whole.digest(), whole.clock_digest()));
        assert_eq!(again.log_len(), 0);
        assert_eq!(value(3, 1, 40).len(), 40);
        // A key, and 32 bytes of a node's id with some of its generation and counter.
        let ideal = ideal_bytes(&all[0]) - all[0].key.as_str().len() - 40;
        assert!((40..50).contains(&ideal), "{ideal}");
    }
}
