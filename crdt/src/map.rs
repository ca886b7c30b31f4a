//! Maps: what is beneath a key.
//!
//! A map is no store of its own. Each of its fields is a cell, under a [`Key`] that has the names of the fields in it, and
//! the map is what a reader sees of all that is beneath one key. So a map merges field by field as its cells merge, two
//! members that differ in one field exchange that field, and a damaged field is one damaged cell. Fields may be of any kind,
//! maps among them.
//!
//! To delete a map, or a field that is one, is a batch: one write for each cell beneath, each taking away what it has seen
//! there. What was written concurrently survives, and with it the map.
//!
//! A key has one kind: a register with fields beneath is a conflict, and comes about only where the two were written
//! concurrently.

use crate::account::Item;
use crate::lease::{Terms, some};
use crate::op::{Plan, plan_delete};
use crate::{Cell, Dot, Dots, Effect, Found, Kind, Op, OpError, Read, Replica};
use chinwag_base::limits::{BATCH_OPS_MAX, MAP_FIELDS_MAX, SET_ELEMENTS_MAX};
use chinwag_base::{Digest, Key};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Reading, as far as maps are concerned.
impl Replica {
    /// What is under a key; none if nothing is shown there.
    pub fn get(&self, key: &Key) -> Option<Read> {
        let mut reads = match self.cells.get(key).and_then(|cell| self.terms.shown(key, cell).read()) {
            Some(Read::Conflict(reads)) => reads,
            read => read.into_iter().collect(),
        };
        let mut fields = BTreeMap::new();
        for (beneath, cell) in self.beneath(key) {
            if let Some(name) = beneath.step_from(key)
                && !fields.contains_key(name)
                && self.shows(beneath, cell)
                && let Some(read) = key.field(name).ok().and_then(|field| self.get(&field))
            {
                fields.insert(name.to_owned(), read);
            }
        }
        if !fields.is_empty() {
            reads.push(Read::Map(fields));
        }
        if reads.len() > 1 { Some(Read::Conflict(reads)) } else { reads.pop() }
    }

    /// The kinds of what is shown under a key: one, or several in conflict, or none.
    pub fn kinds(&self, key: &Key) -> Vec<Kind> {
        let own = self.cells.get(key).map(|cell| self.terms.shown(key, cell));
        let mut kinds: Vec<Kind> = own.iter().flat_map(|cell| cell.kinds()).collect();
        if self.beneath(key).any(|(key, cell)| self.shows(key, cell)) {
            kinds.push(Kind::Map);
        }
        kinds
    }

    /// What names the present content under a key: a digest of what is shown there. None if nothing is. Replicas that
    /// show the same have the same; a write that changes anything changes it.
    pub fn version(&self, key: &Key) -> Option<Digest> {
        let own = self.cells.get(key).map(|cell| self.terms.shown(key, cell));
        version(key, own, self.beneath(key).map(|(key, cell)| (key, self.terms.shown(key, cell))))
    }

    /// The keys under which something is shown, sorted, without fields.
    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.roots(self.cells.iter())
    }

    /// The same, of those that begin with `prefix` and sort after `after`, which need be no key.
    pub fn keys_after<'a>(&'a self, prefix: &'a str, after: &'a str) -> impl Iterator<Item = Key> + 'a {
        // The scan starts at `after` where that can be done: a page costs no more the further it is from the first.
        let from = after.parse::<Key>().ok().filter(|after| after.as_str() >= prefix);
        let all = from.is_none().then(|| self.keys_with_prefix(prefix));
        let rest = from.map(|from| self.cells.range((Bound::Excluded(from), Bound::Unbounded)));
        let rest = rest.into_iter().flatten().take_while(move |(key, _)| key.as_str().starts_with(prefix));
        // What follows directly may be beneath `after`.
        self.roots(rest).chain(all.into_iter().flatten()).filter(move |key| key.as_str() > after)
    }

    /// The keys under which something is shown that begin with `prefix`, sorted, without fields.
    pub fn keys_with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = Key> + 'a {
        // A prefix that is no key itself is either empty, and then it is everyone's, or nobody's.
        let from = match prefix.parse::<Key>() {
            Ok(key) => Bound::Included(key),
            Err(_) => Bound::Unbounded,
        };
        let is_possible = prefix.is_empty() || matches!(from, Bound::Included(_));
        let range = is_possible.then(|| self.cells.range((from, Bound::Unbounded)));
        let cells = range.into_iter().flatten();
        self.roots(cells.take_while(move |(key, _)| key.as_str().starts_with(prefix)))
    }

    fn roots<'a>(
        &'a self,
        cells: impl Iterator<Item = (&'a Key, &'a Cell)> + 'a,
    ) -> impl Iterator<Item = Key> + 'a {
        let mut last: Option<Key> = None;
        cells.filter(|(key, cell)| self.shows(key, cell)).filter_map(move |(key, _)| {
            if last.as_ref().is_some_and(|last| last.as_str() == key.root_str()) {
                return None;
            }
            last = Some(key.root());
            last.clone()
        })
    }

    fn shows(&self, key: &Key, cell: &Cell) -> bool {
        self.terms.shown(key, cell).is_live()
    }

    /// The cells beneath a key, in order.
    pub(crate) fn beneath<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = (&'a Key, &'a Cell)> {
        let cells = self.cells.range::<Key, _>((Bound::Excluded(key), Bound::Unbounded));
        cells.take_while(|(beneath, _)| beneath.step_from(key).is_some())
    }

    /// Whether anything is live under a key without fields, or beneath it, other than under `but`.
    pub(crate) fn is_live_but(&self, root: &Key, but: &Key) -> bool {
        if root == but && self.fields == 0 {
            return false;
        }
        let own = (root != but).then(|| self.cells.get_key_value(root)).flatten();
        own.into_iter().chain(self.beneath(root)).any(|(key, cell)| key != but && cell.is_live())
    }
}

fn version<'a>(
    key: &Key,
    own: Option<Cow<'a, Cell>>,
    beneath: impl Iterator<Item = (&'a Key, Cow<'a, Cell>)>,
) -> Option<Digest> {
    let own = own.and_then(|cell| cell.version());
    let fields = beneath.filter_map(|(field, cell)| Some((field, cell.version()?)));
    let fields = fields.map(|(field, version)| {
        let name = &field.as_str()[key.as_str().len()..];
        Item::new("chinwag version of a field").bytes(name.as_bytes()).bytes(&version.to_bytes()).digest()
    });
    own.into_iter().chain(fields).reduce(|sum, version| sum + version)
}

/// What is under a key as it will be once everything that is staged is committed, as a reader will be shown it.
pub(crate) struct Place {
    pub(crate) cell: Cell,
    /// The cells beneath that are shown.
    pub(crate) beneath: Vec<(Key, Cell)>,
}

impl Place {
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        self.cell.kinds().chain((!self.beneath.is_empty()).then_some(Kind::Map)).collect()
    }

    pub(crate) fn version(&self, key: &Key) -> Option<Digest> {
        let beneath = self.beneath.iter().map(|(key, cell)| (key, Cow::Borrowed(cell)));
        version(key, Some(Cow::Borrowed(&self.cell)), beneath)
    }

    pub(crate) fn found(&self) -> Found {
        match self.kinds()[..] {
            [Kind::Map] => Found::Map(self.beneath.len()),
            ref kinds if kinds.contains(&Kind::Map) => Found::Conflict,
            _ => Found::in_cell(&self.cell),
        }
    }
}

/// Writing, as far as maps are concerned.
impl Replica {
    pub(crate) fn place(&mut self, key: &Key) -> Place {
        let cell = self.shown_with_staged(key).into_owned();
        let mut beneath = Vec::new();
        for key in self.keys_beneath_with_staged(key) {
            let cell = self.shown_with_staged(&key);
            if cell.is_live() {
                let cell = cell.into_owned();
                beneath.push((key, cell));
            }
        }
        Place { cell, beneath }
    }

    /// The cell under a key as a reader will be shown it.
    pub(crate) fn shown_with_staged(&mut self, key: &Key) -> Cow<'_, Cell> {
        let (cell, terms) = self.cell_with_staged(key);
        terms.shown(key, cell)
    }

    /// The dots under a key that will be there and not be shown.
    pub(crate) fn hidden_with_staged(&mut self, key: &Key) -> Dots {
        let (cell, terms) = self.cell_with_staged(key);
        terms.hidden(cell)
    }

    /// The cell under a key as it will be once everything staged is committed.
    fn cell_with_staged(&mut self, key: &Key) -> (&Cell, &Terms) {
        static EMPTY: Cell = Cell::EMPTY;
        let Replica { cells, staging, doomed, terms, .. } = self;
        let committed = cells.get(key).unwrap_or(&EMPTY);
        let staged = staging.view(key, committed, |dot, key| doomed.contains(dot, key));
        (staged.unwrap_or(committed), terms)
    }

    fn keys_beneath_with_staged(&mut self, key: &Key) -> BTreeSet<Key> {
        self.staging.sort(|dot, key| self.doomed.contains(dot, key));
        let committed = self.beneath(key).map(|(key, _)| key.clone());
        committed.chain(self.staging.keys_beneath(key).cloned()).collect()
    }

    /// Whether a key may get a value of a kind: nothing above it is of another kind, nothing is beneath it, and its map has
    /// room for one more.
    pub(crate) fn check_place(&mut self, key: &Key, wanted: Kind) -> Result<(), OpError> {
        if self.keys_beneath_with_staged(key).iter().any(|key| self.shown_with_staged(key).is_live()) {
            let mut kinds: Vec<Kind> = self.shown_with_staged(key).kinds().collect();
            if kinds.is_empty() {
                return Err(OpError::WrongKind { key: key.clone(), is: Kind::Map, wanted });
            }
            kinds.push(Kind::Map);
            return Err(OpError::Conflict { key: key.clone(), kinds });
        }
        if !key.has_fields() {
            return Ok(());
        }
        for above in key.parents() {
            if let Some(is) = self.shown_with_staged(&above).kinds().next() {
                return Err(OpError::WrongKind { key: above, is, wanted: Kind::Map });
            }
        }
        if !self.shown_with_staged(key).is_live() {
            let root = key.root();
            if self.fields_at_most(&root) >= MAP_FIELDS_MAX {
                let fields = self.keys_beneath_with_staged(&root);
                let live = fields.iter().filter(|key| self.shown_with_staged(key).is_live()).count();
                if live >= MAP_FIELDS_MAX {
                    return Err(OpError::MapFull { key: root });
                }
            }
        }
        Ok(())
    }

    /// No fewer than a key has fields: quickly counted, so that only a map that is nearly full is looked at closely.
    fn fields_at_most(&mut self, key: &Key) -> usize {
        self.staging.sort(|dot, key| self.doomed.contains(dot, key));
        self.beneath(key).count() + self.staging.keys_beneath(key).count()
    }

    /// The writes that delete what is under a key: one, or one for each cell of a map.
    pub(crate) fn plan_delete(&mut self, key: &Key, kind: Option<Kind>) -> Result<Vec<(Key, Plan)>, OpError> {
        let place = self.place(key);
        let kinds = place.kinds();
        let kind = match (kind, kinds.as_slice()) {
            (_, []) => return Err(OpError::NoSuchKey { key: key.clone() }),
            (Some(kind), kinds) if kinds.contains(&kind) => kind,
            (Some(kind), _) => return Err(OpError::KindNotLive { key: key.clone(), kind, kinds }),
            (None, [kind]) => *kind,
            (None, _) => return Err(OpError::Conflict { key: key.clone(), kinds }),
        };
        let mut plans = Vec::new();
        if kind != Kind::Map {
            plans.push((key.clone(), plan_delete(kind, &place.cell)));
        } else {
            let of_cell = |(key, cell): &(Key, Cell)| {
                cell.kinds().map(|kind| (key.clone(), plan_delete(kind, cell))).collect::<Vec<_>>()
            };
            plans.extend(place.beneath.iter().flat_map(of_cell));
            if plans.len() > BATCH_OPS_MAX {
                return Err(OpError::TooManyFields { key: key.clone(), len: plans.len() });
            }
        }
        for (key, (_, removed)) in &mut plans {
            removed.extend(some(self.hidden_with_staged(key)).iter());
        }
        Ok(plans)
    }

    /// What is hidden where an operation writes and must not come back beside what it writes.
    pub(crate) fn hidden_in_the_way(&mut self, op: &Op) -> Dots {
        let (cell, terms) = self.cell_with_staged(op.key());
        let hidden = terms.hidden(cell);
        let (Op::Add { element, .. } | Op::Remove { element, .. }) = op else { return some(hidden) };
        match cell.set() {
            // A set has room for its other elements, which somebody else may have been shown all along.
            Some(set) if !hidden.is_empty() && set.len() < SET_ELEMENTS_MAX => {
                let others: BTreeSet<Dot> =
                    set.iter().filter(|(_, other)| *other != element).map(|(dot, _)| dot).collect();
                some(hidden.iter().filter(|dot| !others.contains(dot)).collect())
            }
            _ => some(hidden),
        }
    }

    /// The writes that take away what is hidden above a key and beneath it, where it would be of another kind.
    pub(crate) fn plan_way(&mut self, key: &Key) -> Vec<(Key, Plan)> {
        let mut keys: BTreeSet<Key> = self.keys_beneath_with_staged(key);
        keys.extend(key.parents());
        let plan = |key: Key| {
            let hidden = some(self.hidden_with_staged(&key));
            (!hidden.is_empty()).then_some((key, (Effect::Delete, hidden)))
        };
        keys.into_iter().filter_map(plan).collect()
    }
}
