//! What a reader sees of a cell before whole parts of it come and go, and what is different afterwards.

use crate::cell::Cell;
use crate::whole::Part;
use crate::{Change, Dot, Hlc, Kind, What};
use chinwag_base::{Key, Value};
use std::collections::BTreeSet;

/// What a reader saw before a join: of a set, which may be large, only those elements that it is about.
pub(crate) struct View {
    had_counter: bool,
    was_on: bool,
    elements: BTreeSet<Value>,
    total: i128,
}

impl View {
    pub(crate) fn of(cell: &Cell, gone: &[Part], new: &[&Part]) -> Self {
        let total = cell.counter().map_or(0, |counter| counter.total());
        let elements = gone.iter().chain(new.iter().copied()).filter_map(|part| match part {
            Part::Element { element, .. } if cell.set()?.contains(element) => Some(element.clone()),
            _ => None,
        });
        let had_counter = cell.counter().is_some_and(|counter| counter.is_live());
        View { had_counter, was_on: cell.is_on(), elements: elements.collect(), total }
    }

    /// What is different afterwards.
    pub(crate) fn changes(
        self,
        key: &Key,
        gone: &[Part],
        new: &[&Part],
        after: &Cell,
        changes: &mut Vec<Change>,
    ) {
        let mut tell = |what, dot: Option<Dot>, hlc: Option<Hlc>| {
            changes.push(Change { key: key.clone(), dot, hlc, what, local: false });
        };
        let mut was: Vec<Value> = gone
            .iter()
            .filter_map(|part| match part {
                Part::Sibling { value, .. } => Some(value.clone()),
                _ => None,
            })
            .collect();
        let winner = after.register.winner().map(|winner| winner.dot());
        let mut has_new = false;
        for part in new {
            if let Part::Sibling { dot, hlc, value } = part {
                has_new = true;
                let what = What::Set {
                    value: value.clone(),
                    was: std::mem::take(&mut was),
                    concurrent: after.register.has_siblings(),
                    shown: winner == Some(*dot),
                };
                tell(what, Some(*dot), Some(*hlc));
            }
        }
        if !was.is_empty() && !has_new {
            tell(What::Deleted { kind: Kind::Register, was, survives: winner.is_some() }, None, None);
        }
        let is_in = |element: &Value| after.set().is_some_and(|set| set.contains(element));
        for part in new {
            if let Part::Element { dot, element } = part
                && !self.elements.contains(element)
                && is_in(element)
            {
                tell(What::Added { element: element.clone() }, Some(*dot), None);
            }
        }
        let mut lost: Vec<Value> = self.elements.iter().filter(|element| !is_in(element)).cloned().collect();
        match lost.len() {
            0 => {}
            1 => {
                if let Some(element) = lost.pop() {
                    tell(What::Removed { element }, None, None);
                }
            }
            _ => {
                let survives = after.set().is_some();
                tell(What::Deleted { kind: Kind::Set, was: lost, survives }, None, None);
            }
        }
        if self.was_on != after.is_on() {
            let new =
                new.iter().find_map(|part| if let Part::Flag { dot } = part { Some(*dot) } else { None });
            match after.is_on() {
                true => tell(What::Enabled, new, None),
                false => {
                    tell(What::Deleted { kind: Kind::Flag, was: Vec::new(), survives: false }, None, None);
                }
            }
        }
        let total = after.counter().map_or(0, |counter| counter.total());
        let is_live = after.counter().is_some_and(|counter| counter.is_live());
        if (self.had_counter, self.total) != (is_live, total) {
            tell(
                if is_live || !self.had_counter {
                    What::Incremented { by: total.saturating_sub(self.total), total }
                } else {
                    What::Reset { taken: self.total.saturating_sub(total), total }
                },
                None,
                None,
            );
        }
    }
}
