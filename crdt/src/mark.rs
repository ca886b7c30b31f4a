//! Dots as they are kept in memory.
//!
//! A replica's id has 40 bytes, and there are few replicas and many dots. So the id of each *writer* is kept once, and
//! whatever is kept of its dots points to it: a [`Mark`] has 16 bytes. Pointers say nothing about order: marks compare as
//! their dots do, so that what is seen of them is the same at every replica, whichever writer it heard of first.

use crate::Dot;
use chinwag_base::ReplicaId;
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::sync::Arc;

/// A replica's id, kept once for all dots of it. Compares as the id does.
#[derive(Debug, Clone)]
pub(crate) struct Writer(Arc<ReplicaId>);

impl Writer {
    pub(crate) fn id(&self) -> ReplicaId {
        *self.0
    }
}

impl Ord for Writer {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl PartialOrd for Writer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Writer {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Writer {}

impl Borrow<ReplicaId> for Writer {
    fn borrow(&self) -> &ReplicaId {
        &self.0
    }
}

/// A dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    writer: Writer,
    counter: u64,
}

impl Mark {
    pub(crate) fn new(writer: Writer, counter: u64) -> Self {
        Mark { writer, counter }
    }

    pub(crate) fn dot(&self) -> Dot {
        Dot::new(self.writer.id(), self.counter)
    }

    /// As the dots compare.
    pub(crate) fn cmp_dot(&self, dot: &Dot) -> Ordering {
        (&*self.writer.0, self.counter).cmp(&(&dot.replica, dot.counter))
    }
}

/// The writers that something in the cells points to, by id.
///
/// One that nothing points to any more is dropped when the list has doubled since the last look. So it has at most twice as
/// many as there are writers of live dots, and [`UNSWEPT`]. (The clock's replicas are bounded by themselves: see
/// `admission`.)
#[derive(Debug, Clone, Default)]
pub(crate) struct Writers {
    known: Vec<Writer>,
    /// Where the last one was found: writes of one writer come together.
    last: usize,
    /// How many there may be before those that nothing points to are looked for.
    sweep_at: usize,
}

/// So few are not worth a look.
const UNSWEPT: usize = 64;

impl Writers {
    pub(crate) fn writer(&mut self, id: ReplicaId) -> Writer {
        if let Some(last) = self.known.get(self.last)
            && *last.0 == id
        {
            return last.clone();
        }
        let mut at = self.find(id);
        if at.is_err() && self.known.len() >= self.sweep_at {
            self.known.retain(|writer| Arc::strong_count(&writer.0) > 1);
            self.sweep_at = (2 * self.known.len()).max(UNSWEPT);
            at = self.find(id);
        }
        self.last = at.unwrap_or_else(|at| {
            self.known.insert(at, Writer(Arc::new(id)));
            at
        });
        self.known[self.last].clone()
    }

    /// Takes over those of another list. What points to one that is here already goes on pointing to its own.
    pub(crate) fn append(&mut self, other: Writers) {
        for writer in other.known {
            if let Err(at) = self.find(writer.id()) {
                self.known.insert(at, writer);
            }
        }
    }

    fn find(&self, id: ReplicaId) -> Result<usize, usize> {
        self.known.binary_search_by(|writer| writer.0.as_ref().cmp(&id))
    }
}

/// For a copy of a cell that is not kept: a writer that nothing else points to.
impl From<ReplicaId> for Writer {
    fn from(id: ReplicaId) -> Self {
        Writer(Arc::new(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::world::replica_id;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn a_dot_takes_sixteen_bytes() {
        assert_eq!((size_of::<Dot>(), size_of::<Mark>()), (48, 16));
    }

    #[test]
    fn writers_that_nothing_points_to_are_dropped() {
        let mut writers = Writers::default();
        let kept: Vec<Writer> = (0..100).map(|n| writers.writer(replica_id(n))).collect();
        for n in 0..10_000_u64 {
            let mut id = replica_id(200);
            id.generation = chinwag_base::Generation::new(n);
            assert_eq!(writers.writer(id).id(), id);
            assert!(writers.known.len() <= 200);
        }
        assert!(writers.known.is_sorted());
        for (n, writer) in (0..100).zip(&kept) {
            assert!(Arc::ptr_eq(&writers.writer(replica_id(n)).0, &writer.0), "the same one as before");
        }
    }

    proptest! {
        /// Whichever list they come from, and whichever was heard of first.
        #[test]
        fn marks_compare_as_their_dots_do(dots in vec((1_u8..6, 1_u64..6), 2..20)) {
            let mut writers = [Writers::default(), Writers::default()];
            let marks: Vec<(Dot, Mark)> = dots.into_iter().enumerate().map(|(i, (r, counter))| {
                let dot = Dot::new(replica_id(r), counter);
                (dot, Mark::new(writers[i % 2].writer(dot.replica), counter))
            }).collect();
            for (dot, mark) in &marks {
                prop_assert_eq!(mark.dot(), *dot);
                for (other_dot, other) in &marks {
                    prop_assert_eq!(mark.cmp(other), dot.cmp(other_dot));
                    prop_assert_eq!(mark == other, dot == other_dot);
                    prop_assert_eq!(mark.cmp_dot(other_dot), dot.cmp(other_dot));
                }
            }
        }
    }
}
