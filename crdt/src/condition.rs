//! Conditional writes: compare and set.
//!
//! A condition is judged in the step that stages its write, against the cell as it will be once everything staged is
//! committed. So of two writes on one condition that wait for the same commit, one is done and the other refused.
//!
//! It is *local*: it speaks of what this replica knows. Two replicas that do not hear each other may both find theirs
//! true, and both writes stand, concurrent. To promise more would take a quorum, and then a minority could not write.

use crate::account::Item;
use crate::map::Place;
use crate::{Cell, Kind, OpError, Read};
use chinwag_base::{Digest, Key, Value};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What must hold of a key for a write to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// Nothing is there.
    Absent,
    /// It is a register, and this is its only value. With several concurrent values it is not: a write would replace
    /// the others too.
    Value(Value),
    /// It has this [version](crate::Replica::version): nothing has come or gone since it was read.
    Version(Digest),
}

/// What is there instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A register with this value, the winner of so many.
    Register {
        /// The value that a plain read shows.
        value: Value,
        /// How many concurrent values there are, this one included.
        values: usize,
    },
    /// A counter, and its total.
    Counter(i128),
    /// A set of so many elements.
    Set(usize),
    /// A flag that is on.
    Flag,
    /// A map with so many cells beneath.
    Map(usize),
    /// Several kinds, written concurrently.
    Conflict,
}

impl Condition {
    /// Whether it holds of what is under a key.
    ///
    /// # Errors
    /// [`OpError::Unmet`], with what is there.
    pub(crate) fn check(&self, key: &Key, place: &Place) -> Result<(), OpError> {
        let holds = match self {
            Condition::Absent => place.kinds().is_empty(),
            Condition::Value(value) => {
                let register = &place.cell.register;
                let only_register = place.kinds() == [Kind::Register] && !register.has_siblings();
                only_register && register.winner().is_some_and(|it| it.value == *value)
            }
            Condition::Version(version) => place.version(key) == Some(*version),
        };
        if holds {
            return Ok(());
        }
        Err(OpError::Unmet { key: key.clone(), found: place.found(), version: place.version(key) })
    }
}

impl Found {
    pub(crate) fn in_cell(cell: &Cell) -> Self {
        let mut kinds = cell.kinds();
        match (kinds.next(), kinds.next()) {
            (None, _) => Found::Nothing,
            (Some(Kind::Set), None) => Found::Set(cell.set().map_or(0, |set| set.len())),
            (Some(_), None) => match cell.read() {
                Some(Read::Register { value, siblings }) => Found::Register { value, values: siblings.len() },
                Some(Read::Counter(total)) => Found::Counter(total),
                Some(Read::Flag) => Found::Flag,
                _ => Found::Nothing,
            },
            (Some(_), Some(_)) => Found::Conflict,
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::Nothing => f.write_str("nothing is there"),
            Found::Register { value, values: 1 } => write!(f, "it is {value:?}"),
            Found::Register { value, values } => {
                write!(f, "it has {values} concurrent values, {value:?} before the others")
            }
            Found::Counter(total) => write!(f, "it is a counter at {total}"),
            Found::Set(1) => f.write_str("it is a set of one element"),
            Found::Set(len) => write!(f, "it is a set of {len} elements"),
            Found::Flag => f.write_str("it is a flag that is on"),
            Found::Map(1) => f.write_str("it is a map of one field"),
            Found::Map(len) => write!(f, "it is a map of {len} fields"),
            Found::Conflict => f.write_str("it was written concurrently as several types"),
        }
    }
}

impl Cell {
    /// What names the cell's present content: a digest of its live dots, and of a counter's runs and total. None if
    /// nothing is live. Replicas that hold the same have the same; a write that changes anything changes it.
    pub fn version(&self) -> Option<Digest> {
        let mut version = Digest::EMPTY;
        for kind in self.kinds() {
            // A sum, so that a set of ten thousand elements needs no sorting.
            let dots: &mut dyn Iterator<Item = crate::Dot> = match kind {
                Kind::Register => &mut self.register.dots(),
                Kind::Set => &mut self.set().into_iter().flat_map(|set| set.dots()),
                Kind::Flag => &mut self.flag_dots(),
                Kind::Map => continue,
                Kind::Counter => {
                    version += self.counter().map_or(Digest::EMPTY, counter_version);
                    continue;
                }
            };
            version = dots.fold(version, |sum, dot| sum + Item::new("chinwag version").dot(dot).digest());
        }
        self.is_live().then_some(version)
    }
}

fn counter_version(counter: &crate::counter::Counter) -> Digest {
    let total = Item::new("chinwag version of a counter").bytes(&counter.total().to_le_bytes());
    let runs =
        counter.floors().into_iter().fold(total, |item, (replica, run)| item.replica(replica).run(run));
    runs.digest()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Op;
    use crate::tests::world::{World, add, increment, key, set, value};

    fn on(condition: Condition, op: Op) -> Op {
        Op::If { condition, op: Box::new(op) }
    }

    fn found(world: &mut World, at: usize, condition: Condition) -> Option<Found> {
        match world.write(at, on(condition, set("k", "new"))) {
            Ok(_) => None,
            Err(OpError::Unmet { found, version, .. }) => {
                assert_eq!(version, world.replicas[at].version(&key("k")));
                Some(found)
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn what_is_there_is_compared_by_absence_value_and_version() {
        let mut world = World::new(1);
        let register = |v: &str, values| Some(Found::Register { value: value(v), values });
        assert_eq!(found(&mut world, 0, Condition::Value(value("new"))), Some(Found::Nothing));
        assert_eq!(found(&mut world, 0, Condition::Version(Digest::EMPTY)), Some(Found::Nothing));
        assert_eq!(found(&mut world, 0, Condition::Absent), None);
        assert_eq!(found(&mut world, 0, Condition::Absent), register("new", 1));
        assert_eq!(found(&mut world, 0, Condition::Value(value("old"))), register("new", 1));

        let version = world.replicas[0].version(&key("k")).unwrap();
        assert_eq!(found(&mut world, 0, Condition::Value(value("new"))), None, "the same value again");
        let later = world.replicas[0].version(&key("k")).unwrap();
        assert_ne!(version, later, "it was written, if only with the same value");
        assert_eq!(found(&mut world, 0, Condition::Version(version)), register("new", 1));
        assert_eq!(found(&mut world, 0, Condition::Version(later)), None);
    }

    #[test]
    fn a_value_among_concurrent_ones_is_not_the_value() {
        let mut world = World::new(2);
        let (a, b) = (world.write(0, set("k", "a")).unwrap(), world.write(1, set("k", "b")).unwrap());
        assert!(world.deliver(&a, 1) && world.deliver(&b, 0));
        let Some(Read::Register { value: shown, siblings }) = world.replicas[0].get(&key("k")) else {
            panic!()
        };
        assert_eq!(siblings.len(), 2);
        let two = Some(Found::Register { value: shown.clone(), values: 2 });
        assert_eq!(found(&mut world, 0, Condition::Value(shown)), two);
        let version = world.replicas[0].version(&key("k")).unwrap();
        assert_eq!(
            world.replicas[1].version(&key("k")),
            Some(version),
            "who holds the same has the same version"
        );
        assert_eq!(found(&mut world, 1, Condition::Version(version)), None);
    }

    #[test]
    fn sets_and_counters_have_versions_that_every_change_changes() {
        let mut world = World::new(1);
        let mut versions = vec![];
        let mut note = |world: &World, k: &str| versions.push(world.replicas[0].version(&key(k)));
        for op in [increment("k", 1), increment("k", 0), increment("k", -1)] {
            world.write(0, op).unwrap();
            note(&world, "k");
        }
        for op in [add("s", "a"), add("s", "b"), add("s", "a")] {
            world.write(0, op).unwrap();
            note(&world, "s");
        }
        let count = versions.len();
        versions.sort_unstable();
        versions.dedup();
        assert_eq!(versions.len(), count);
        assert_eq!(found(&mut world, 0, Condition::Absent), Some(Found::Counter(0)));
        let of_set = world.write(0, on(Condition::Value(value("a")), add("s", "c"))).unwrap_err();
        assert!(matches!(of_set, OpError::Unmet { found: Found::Set(2), .. }), "{of_set}");
        // A condition that holds does not make an impossible operation possible.
        let version = world.replicas[0].version(&key("k")).unwrap();
        let wrong = world.write(0, on(Condition::Version(version), set("k", "x"))).unwrap_err();
        assert!(matches!(wrong, OpError::WrongKind { .. }), "{wrong}");
    }
}
