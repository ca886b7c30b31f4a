//! Entries, each told by how it differs from the one before.

use super::{DotTold, Eye, HlcTold, KeyTold, Names, Pen};
use crate::{Dot, Dots, Effect, Entry, Lease, Lent, Run};
use chinwag_base::{ReplicaId, Value};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// One entry.
#[derive(Serialize, Deserialize)]
struct EntryTold<'a> {
    dot: DotTold,
    hlc: HlcTold,
    key: KeyTold<'a>,
    effect: EffectTold,
    /// Replica by replica: its place in the table, how many dots of it, and of each by how much its counter differs from the
    /// one before. One list, because many of them take more memory than bytes.
    removed: Vec<i64>,
}

/// An [`Effect`].
#[derive(Serialize, Deserialize)]
enum EffectTold {
    Delete,
    Set { value: Value },
    Add { element: Value },
    Remove,
    Count { run: Run },
    Reset { floors: Vec<(u32, Run)> },
    Enable,
    Lend { lent: Lent, lease: Lease },
}

/// A bound of what an entry takes among others, or alone, in bytes.
pub fn weight(entry: &Entry) -> usize {
    entry.weight() + super::NAME_BYTES * replicas(entry).count()
}

/// Writes them.
///
/// # Errors
/// Whatever the serializer says.
pub fn serialize<S: Serializer>(entries: &[Arc<Entry>], serializer: S) -> Result<S::Ok, S::Error> {
    let names = Names::of(entries.iter().flat_map(|entry| replicas(entry)));
    (names.told(), (), List(entries, &names)).serialize(serializer)
}

/// Reads them.
///
/// # Errors
/// Whatever the deserializer says; or they are not what [`serialize`] writes, or more than a frame may have.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Arc<Entry>>, D::Error> {
    let mut entries = Vec::new();
    super::read(deserializer, |eye, told: EntryTold<'_>| {
        let entry = eye.entry(told)?;
        eye.weigh(entry.weight())?;
        entries.push(Arc::new(entry));
        Ok(())
    })
    .map(|()| entries)
}

/// All replicas that an entry names; some more than once.
fn replicas(entry: &Entry) -> impl Iterator<Item = ReplicaId> {
    let floors = match &entry.effect {
        Effect::Reset { floors } => Some(floors.keys().copied()),
        _ => None,
    };
    let removed = entry.removed.groups().map(|(replica, _)| replica);
    std::iter::once(entry.dot.replica).chain(removed).chain(floors.into_iter().flatten())
}

struct List<'a>(&'a [Arc<Entry>], &'a Names);

impl Serialize for List<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pen = Pen::new(self.1);
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        self.0.iter().try_for_each(|entry| list.serialize_element(&pen.entry(entry)))?;
        list.end()
    }
}

impl<'a> Pen<'a> {
    fn entry(&mut self, entry: &'a Entry) -> EntryTold<'a> {
        EntryTold {
            dot: self.dot(entry.dot),
            hlc: self.hlc(entry.hlc),
            key: self.key(&entry.key),
            effect: self.effect(&entry.effect),
            removed: self.removed(&entry.removed),
        }
    }

    fn effect(&mut self, effect: &Effect) -> EffectTold {
        match effect {
            Effect::Delete => EffectTold::Delete,
            Effect::Set { value } => EffectTold::Set { value: value.clone() },
            Effect::Add { element } => EffectTold::Add { element: element.clone() },
            Effect::Remove => EffectTold::Remove,
            Effect::Count { run } => EffectTold::Count { run: *run },
            Effect::Reset { floors } => EffectTold::Reset {
                floors: floors.iter().map(|(replica, run)| (self.replica(*replica), *run)).collect(),
            },
            Effect::Enable => EffectTold::Enable,
            Effect::Lend { lent, lease } => EffectTold::Lend { lent: lent.clone(), lease: *lease },
        }
    }

    fn removed(&mut self, dots: &Dots) -> Vec<i64> {
        let mut removed = Vec::with_capacity(3);
        for (replica, counters) in dots.groups() {
            removed.extend([self.replica(replica).into(), counters.len() as i64]);
            removed.extend(counters.iter().map(|counter| self.dot(Dot::new(replica, *counter)).1));
        }
        removed
    }
}

impl Eye {
    fn entry(&mut self, told: EntryTold<'_>) -> Result<Entry, &'static str> {
        Ok(Entry {
            dot: self.dot(told.dot)?,
            hlc: self.hlc(told.hlc)?,
            key: self.key(told.key)?,
            effect: self.effect(told.effect)?,
            removed: self.removed(&told.removed)?,
        })
    }

    fn effect(&self, told: EffectTold) -> Result<Effect, &'static str> {
        Ok(match told {
            EffectTold::Delete => Effect::Delete,
            EffectTold::Set { value } => Effect::Set { value },
            EffectTold::Add { element } => Effect::Add { element },
            EffectTold::Remove => Effect::Remove,
            EffectTold::Count { run } => Effect::Count { run },
            EffectTold::Reset { floors } => {
                if !floors.is_sorted_by(|(one, _), (next, _)| one < next) {
                    return Err("the floors of a reset are not ascending");
                }
                let floor = |(place, run)| self.replica(place).map(|replica| (replica, run));
                Effect::Reset { floors: floors.into_iter().map(floor).collect::<Result<_, _>>()? }
            }
            EffectTold::Enable => Effect::Enable,
            EffectTold::Lend { lent, lease } => Effect::Lend { lent, lease },
        })
    }

    fn removed(&mut self, mut told: &[i64]) -> Result<Dots, &'static str> {
        // Counted first, so that no more memory is taken than is used.
        let (mut groups, mut rest) = (0, told);
        while let Some((_, after)) = head_of(rest)? {
            (groups, rest) = (groups + 1, after);
        }
        let mut removed = Vec::with_capacity(groups);
        while let Some(((place, steps), after)) = head_of(told)? {
            let replica = self.replica(place)?;
            let counters = steps.iter().map(|step| Ok(self.dot((place, *step))?.counter));
            removed.push((replica, counters.collect::<Result<_, &'static str>>()?));
            told = after;
        }
        Dots::of_groups(removed)
    }
}

/// The first replica in a list of removed dots, with its steps, and what comes after it.
#[expect(clippy::type_complexity, reason = "it is taken apart at once")]
fn head_of(told: &[i64]) -> Result<Option<((u32, &[i64]), &[i64])>, &'static str> {
    const SHORT: &str = "a set of dots ends too soon";
    let [place, count, rest @ ..] = told else {
        return if told.is_empty() { Ok(None) } else { Err(SHORT) };
    };
    let place = u32::try_from(*place).map_err(|_| "a replica that was not named")?;
    let steps = usize::try_from(*count).ok().and_then(|count| rest.split_at_checked(count));
    steps.map(|(steps, after)| Some(((place, steps), after))).ok_or(SHORT)
}
