//! The cells of a checkpoint, made ready apart from any replica.
//!
//! Nearly all that a start does is to build cells, and to sum up what the replica knows of all of them. Neither needs the
//! replica. So whoever reads a disk makes a [`Stock`] of each stretch of the keys, on as many processors as it has, and
//! puts them one behind another; the replica takes up the whole at once ([`Replica::recover_checkpoint`]).

use crate::account::Account;
use crate::index::{Index, id_of};
use crate::mark::Writers;
use crate::replica::overhead_bytes;
use crate::{Cell, CellId, Dot, Hlc, Lease, Part, Replica};
use chinwag_base::{Digest, Key};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// So many ids are put into the index at once.
const IDS_MAX: usize = 256;

/// Cells by key, with all that a replica sums up of its own.
#[derive(Clone, Default)]
pub struct Stock {
    /// Ascending, the runs and what is in each. None is empty.
    runs: Vec<Vec<(Key, Cell)>>,
    index: Index,
    /// What is to be put into the index: many at once are quicker.
    ids: Vec<CellId>,
    writers: Writers,
    digest: Digest,
    namespaces: BTreeMap<String, Digest>,
    bytes: usize,
    fields: usize,
    /// Cells that are live, fields among them.
    live: usize,
    floors: BTreeSet<Key>,
    leases: Vec<(Key, (Dot, Lease, bool))>,
    newest: Hlc,
}

impl Stock {
    /// Puts parts into the cell under a key. Quickest in the order of the keys, with all parts of a cell at once.
    pub fn put(&mut self, key: Key, parts: impl IntoIterator<Item = Part>) {
        let Stock { runs, writers, .. } = self;
        let (run, at) = place(runs, &key);
        let is_new = runs[run].get(at).is_none_or(|(other, _)| *other != key);
        let mut fresh = Cell::EMPTY;
        let cell = if is_new { &mut fresh } else { &mut runs[run][at].1 };
        let before = cell.sum;
        let (was_live, had_floors) = (cell.is_live(), cell.has_lone_floors());
        let mut account = Account::new(&key, before, writers);
        for part in parts {
            if let Part::Sibling { hlc, .. } = &part {
                self.newest = self.newest.max(*hlc);
            }
            cell.insert(part, &mut account);
        }
        let Account { digest, bytes_more, bytes_less, leases, .. } = account;
        cell.sum += digest;
        let (after, is_live, has_floors) = (cell.sum, cell.is_live(), cell.has_lone_floors());
        // What parts are put in may take away only floors that were put in before.
        self.bytes = self.bytes + bytes_more - bytes_less;
        self.live = self.live + usize::from(is_live) - usize::from(was_live);
        match (had_floors, has_floors) {
            (false, true) => drop(self.floors.insert(key.clone())),
            (true, false) => drop(self.floors.remove(&key)),
            _ => {}
        }
        self.leases.extend(leases.into_iter().map(|lease| (key.clone(), lease)));
        self.digest += digest;
        add(&mut self.namespaces, key.namespace(), digest);
        if before != after {
            id_of(before).into_iter().for_each(|id| self.index.take(id));
            self.ids.extend(id_of(after));
            if self.ids.len() >= IDS_MAX {
                self.settle();
            }
        }
        if is_new && !fresh.is_empty() {
            self.bytes += overhead_bytes(&key);
            self.fields += usize::from(key.has_fields());
            self.runs[run].insert(at, (key, fresh));
        }
        self.runs.pop_if(|run| run.is_empty());
    }

    /// Puts a further stock in. Quick where what was put into each of them in order lies apart from the rest.
    pub fn append(&mut self, mut further: Stock) {
        further.settle();
        let mut all: Vec<(&Key, &Key)> =
            self.runs.iter().chain(&further.runs).filter_map(|run| ends(run)).collect();
        all.sort_unstable();
        if !all.is_sorted_by(|(_, last), (first, _)| last < first) {
            for (key, parts) in further.iter() {
                self.put(key.clone(), parts);
            }
            return;
        }
        self.runs.append(&mut further.runs);
        self.runs.sort_unstable_by(|one, other| ends(one).cmp(&ends(other)));
        let Stock {
            runs: _,
            index,
            ids: _,
            writers,
            digest,
            namespaces,
            bytes,
            fields,
            live,
            floors,
            leases,
            newest,
        } = further;
        self.index.append(&index);
        self.writers.append(writers);
        self.digest += digest;
        for (namespace, digest) in namespaces {
            add(&mut self.namespaces, &namespace, digest);
        }
        self.bytes += bytes;
        self.fields += fields;
        self.live += live;
        self.floors.extend(floors);
        self.leases.extend(leases);
        self.newest = self.newest.max(newest);
    }

    /// Brings the index up to date.
    fn settle(&mut self) {
        self.index.put(&self.ids);
        self.ids.clear();
    }

    /// The cells, ascending by key, each with its parts.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, Vec<Part>)> {
        self.cells().map(|(key, cell)| (key, cell.parts().collect()))
    }

    fn cells(&self) -> impl Iterator<Item = &(Key, Cell)> {
        self.runs.iter().flatten()
    }

    /// How many cells.
    pub fn len(&self) -> usize {
        self.runs.iter().map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

/// The first and the last key of a run.
fn ends(run: &[(Key, Cell)]) -> Option<(&Key, &Key)> {
    Some((&run.first()?.0, &run.last()?.0))
}

/// Where the cell under a key is, or belongs: its run, which is there, and its place in it.
fn place(runs: &mut Vec<Vec<(Key, Cell)>>, key: &Key) -> (usize, usize) {
    let is_before = |other: &(Key, Cell)| other.0 < *key;
    let run = match runs.last().and_then(|run| run.last()) {
        Some(last) if last.0 >= *key => runs.partition_point(|run| run.last().is_some_and(is_before)),
        Some(_) => runs.len() - 1,
        None => {
            runs.push(Vec::new());
            0
        }
    };
    let at = match runs[run].last() {
        Some(last) if !is_before(last) => runs[run].partition_point(is_before),
        _ => runs[run].len(),
    };
    (run, at)
}

fn add(namespaces: &mut BTreeMap<String, Digest>, namespace: &str, digest: Digest) {
    match namespaces.get_mut(namespace) {
        Some(sum) => *sum += digest,
        None => drop(namespaces.insert(namespace.to_owned(), digest)),
    }
}

impl From<Vec<(Key, Vec<Part>)>> for Stock {
    fn from(cells: Vec<(Key, Vec<Part>)>) -> Self {
        let mut stock = Stock::default();
        for (key, parts) in cells {
            stock.put(key, parts);
        }
        stock
    }
}

/// Two are equal that have the same cells.
impl PartialEq for Stock {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Stock {}

impl fmt::Debug for Stock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Replica {
    /// Takes up the cells of a stock, where there are none yet.
    pub(crate) fn take_up(&mut self, mut stock: Stock) {
        stock.settle();
        debug_assert!(self.cells.is_empty() && self.digest() == Digest::EMPTY, "it has just been made");
        let Stock {
            runs,
            index,
            ids: _,
            writers,
            digest,
            namespaces,
            bytes,
            fields,
            live,
            floors,
            leases,
            newest,
        } = stock;
        // From a sorted list a map is built without a search for each place.
        self.cells = runs.into_iter().flatten().collect();
        self.index = index;
        self.writers = writers;
        self.digest = digest;
        self.namespaces = namespaces;
        self.namespaces.retain(|_, sum| *sum != Digest::EMPTY);
        self.bytes = bytes;
        self.fields = fields;
        self.live = if fields == 0 { live } else { self.live_roots() };
        self.floors = floors;
        for (key, lease) in leases {
            self.terms.exchange(&key, &[lease]);
        }
        self.hlc.recover(newest);
    }

    /// How many keys are live, counted. All that is beneath a key follows it.
    fn live_roots(&self) -> usize {
        let live = self.cells.iter().filter(|(_, cell)| cell.is_live());
        let mut last = None;
        live.filter(|(key, _)| last.replace(key.root_str()) != Some(key.root_str())).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::world::{World, set};

    /// What is put in order in turns: so threads do.
    #[test]
    fn stretches_that_lie_apart_are_not_looked_into() {
        let mut world = World::new(1);
        for n in 0..20 {
            world.write(0, set(&format!("k{n:02}"), "v")).unwrap();
        }
        let cells = world.replicas[0].checkpoint().cells;
        let mut stocks = [Stock::default(), Stock::default()];
        for (n, stretch) in cells.chunks(3).enumerate() {
            stocks[n % 2].append(Stock::from(stretch.to_vec()));
        }
        let [mut one, other] = stocks;
        one.append(other);
        assert_eq!((one.runs.len(), one.len()), (7, 20));
        assert_eq!(one, Stock::from(cells));
    }
}
