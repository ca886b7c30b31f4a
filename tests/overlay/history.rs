//! What clients were told, held against what daemons show: the checkers of the mixed load.
//!
//! Each register and each element has one writer, which asks one daemon at a time, so its answers have an order.
//! Counters are everyone's. The rules:
//! - *registers*: the last acknowledged write is read, or one after it that was never answered; a refused one never
//! - *sets*: an element whose addition was acknowledged is there, one whose removal was acknowledged is not
//! - *counters*: the acknowledged increments all count, once, and of the unanswered ones some subset does

use chinwag_api::Content;
use std::collections::{BTreeMap, BTreeSet};

/// What a writer was told of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is durable.
    Acknowledged,
    /// It was not done.
    Refused,
    /// Nothing, or that the daemon went away: it is done or not.
    None,
}

/// What one writer did to a set's element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touch {
    Add,
    Remove,
}

/// All that clients did, with the answers they got.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    /// By key, the values in the order of writing; `None` is a delete.
    registers: BTreeMap<String, Vec<(Option<String>, Answer)>>,
    /// By key and element, in the order of writing.
    elements: BTreeMap<(String, String), Vec<(Touch, Answer)>>,
    /// By key, in no order.
    increments: BTreeMap<String, Vec<(i64, Answer)>>,
}

impl History {
    pub(crate) fn wrote(&mut self, key: &str, value: Option<&str>, answer: Answer) {
        self.registers.entry(key.into()).or_default().push((value.map(Into::into), answer));
    }

    pub(crate) fn touched(&mut self, key: &str, element: &str, touch: Touch, answer: Answer) {
        self.elements.entry((key.into(), element.into())).or_default().push((touch, answer));
    }

    pub(crate) fn incremented(&mut self, key: &str, by: i64, answer: Answer) {
        self.increments.entry(key.into()).or_default().push((by, answer));
    }

    /// Adds what the same writer did afterwards, or what another one did, whose registers and elements are others.
    pub(crate) fn follow(&mut self, later: History) {
        for (key, writes) in later.registers {
            self.registers.entry(key).or_default().extend(writes);
        }
        for (at, touches) in later.elements {
            self.elements.entry(at).or_default().extend(touches);
        }
        for (key, increments) in later.increments {
            self.increments.entry(key).or_default().extend(increments);
        }
    }

    /// The part of it that is about the keys that are `wanted`.
    pub(crate) fn under(&self, wanted: impl Fn(&str) -> bool) -> History {
        let mut part = self.clone();
        part.registers.retain(|key, _| wanted(key));
        part.elements.retain(|(key, _), _| wanted(key));
        part.increments.retain(|key, _| wanted(key));
        part
    }

    /// How many writes got this answer.
    pub(crate) fn count(&self, answer: Answer) -> usize {
        let registers = self.registers.values().flatten().map(|(_, a)| a);
        let elements = self.elements.values().flatten().map(|(_, a)| a);
        let increments = self.increments.values().flatten().map(|(_, a)| a);
        registers.chain(elements).chain(increments).filter(|a| **a == answer).count()
    }

    /// What is wrong with a state that is said to be the outcome; nothing, if all is well.
    pub(crate) fn violations(&self, state: &BTreeMap<String, Content>) -> Vec<String> {
        let mut wrong = Vec::new();
        wrong.extend(self.registers.iter().filter_map(|(key, writes)| wrong_register(key, writes, state)));
        wrong.extend(self.elements.iter().filter_map(|(at, touches)| wrong_element(at, touches, state)));
        wrong.extend(self.increments.iter().filter_map(|(key, by)| wrong_counter(key, by, state)));
        let sets = self.elements.keys().map(|(key, _)| key);
        let known: BTreeSet<&String> =
            self.registers.keys().chain(sets).chain(self.increments.keys()).collect();
        wrong.extend(
            state.keys().filter(|key| !known.contains(key)).map(|key| format!("{key}: from nowhere")),
        );
        wrong.extend(invented(&self.elements, state));
        wrong
    }
}

fn wrong_register(
    key: &str,
    writes: &[(Option<String>, Answer)],
    state: &BTreeMap<String, Content>,
) -> Option<String> {
    let read = match state.get(key) {
        None => None,
        Some(Content::Register { value, .. }) => value.as_text().map(str::to_owned),
        Some(other) => return Some(format!("{key}: a register is {other:?}")),
    };
    let last = writes.iter().rposition(|(_, answer)| *answer == Answer::Acknowledged);
    let mut possible: Vec<&Option<String>> = Vec::new();
    match last {
        Some(last) => possible.push(&writes[last].0),
        None => possible.push(&None),
    }
    let later = &writes[last.map_or(0, |last| last + 1)..];
    possible.extend(later.iter().filter(|(_, answer)| *answer == Answer::None).map(|(value, _)| value));
    (!possible.contains(&&read)).then(|| format!("{key}: read {read:?}, expected one of {possible:?}"))
}

fn members<'a>(key: &str, state: &'a BTreeMap<String, Content>) -> Result<BTreeSet<&'a str>, String> {
    match state.get(key) {
        None => Ok(BTreeSet::new()),
        Some(Content::Set { elements }) => Ok(elements.iter().filter_map(|e| e.as_text()).collect()),
        Some(other) => Err(format!("{key}: a set is {other:?}")),
    }
}

fn wrong_element(
    (key, element): &(String, String),
    touches: &[(Touch, Answer)],
    state: &BTreeMap<String, Content>,
) -> Option<String> {
    let there = match members(key, state) {
        Ok(members) => members.contains(element.as_str()),
        Err(why) => return Some(why),
    };
    let last = touches.iter().rposition(|(_, answer)| *answer == Answer::Acknowledged);
    let settled = last.is_some_and(|last| touches[last].0 == Touch::Add);
    let later = &touches[last.map_or(0, |last| last + 1)..];
    let unanswered = |touch| later.iter().any(|(t, answer)| *t == touch && *answer == Answer::None);
    match there {
        true if !settled && !unanswered(Touch::Add) => Some(format!("{key}: {element} should not be there")),
        false if settled && !unanswered(Touch::Remove) => Some(format!("{key}: {element} has vanished")),
        _ => None,
    }
}

/// Elements that nobody added.
fn invented(
    elements: &BTreeMap<(String, String), Vec<(Touch, Answer)>>,
    state: &BTreeMap<String, Content>,
) -> Vec<String> {
    let sets: BTreeSet<&String> = elements.keys().map(|(key, _)| key).collect();
    let mut wrong = Vec::new();
    for key in sets {
        for element in members(key, state).unwrap_or_default() {
            if !elements.contains_key(&(key.clone(), element.to_owned())) {
                wrong.push(format!("{key}: nobody added {element}"));
            }
        }
    }
    wrong
}

fn wrong_counter(key: &str, by: &[(i64, Answer)], state: &BTreeMap<String, Content>) -> Option<String> {
    let read = match state.get(key) {
        None => 0,
        Some(Content::Counter { count }) => count.0,
        Some(other) => return Some(format!("{key}: a counter is {other:?}")),
    };
    let of = |wanted| by.iter().filter(move |(_, answer)| *answer == wanted).map(|(by, _)| i128::from(*by));
    let acknowledged: i128 = of(Answer::Acknowledged).sum();
    let mut possible = BTreeSet::from([acknowledged]);
    for by in of(Answer::None) {
        possible.extend(possible.clone().into_iter().map(|sum| sum + by));
    }
    (!possible.contains(&read)).then(|| {
        let unanswered: Vec<i128> = of(Answer::None).collect();
        format!("{key}: read {read}, acknowledged {acknowledged}, unanswered {unanswered:?}")
    })
}

/// The checkers are themselves checked: on wrong histories they must complain.
#[cfg(test)]
mod checked {
    use super::*;
    use crate::harness::register;
    use chinwag_api::Count;

    fn state(cells: &[(&str, Content)]) -> BTreeMap<String, Content> {
        cells.iter().map(|(key, content)| ((*key).to_owned(), content.clone())).collect()
    }

    fn elements(elements: &[&str]) -> Content {
        Content::Set { elements: elements.iter().map(|e| (*e).into()).collect() }
    }

    fn counter(count: i128) -> Content {
        Content::Counter { count: Count(count) }
    }

    #[test]
    fn a_lost_write_is_flagged() {
        let mut history = History::default();
        history.wrote("a", Some("1"), Answer::Acknowledged);
        history.wrote("a", Some("2"), Answer::Acknowledged);
        assert_eq!(history.violations(&state(&[("a", register("2"))])), [""; 0]);
        assert_eq!(history.violations(&state(&[("a", register("1"))])).len(), 1, "the older one");
        assert_eq!(history.violations(&state(&[])).len(), 1, "none");
        assert_eq!(history.violations(&state(&[("a", counter(2))])).len(), 1, "another type");
    }

    #[test]
    fn an_unanswered_write_may_be_read_and_a_refused_one_may_not() {
        let mut history = History::default();
        history.wrote("a", Some("0"), Answer::None);
        history.wrote("a", Some("1"), Answer::Acknowledged);
        history.wrote("a", Some("2"), Answer::None);
        history.wrote("a", Some("3"), Answer::Refused);
        for (read, wrong) in [("0", 1), ("1", 0), ("2", 0), ("3", 1)] {
            assert_eq!(history.violations(&state(&[("a", register(read))])).len(), wrong, "{read}");
        }
        history.wrote("a", None, Answer::Acknowledged);
        assert_eq!(history.violations(&state(&[])), [""; 0], "deleted");
        assert_eq!(history.violations(&state(&[("a", register("1"))])).len(), 1, "a deleted one is back");
    }

    #[test]
    fn a_vanished_a_returned_and_an_invented_element_are_flagged() {
        let mut history = History::default();
        history.touched("s", "kept", Touch::Add, Answer::Acknowledged);
        history.touched("s", "maybe", Touch::Add, Answer::None);
        history.touched("s", "gone", Touch::Add, Answer::Acknowledged);
        history.touched("s", "gone", Touch::Remove, Answer::Acknowledged);
        assert_eq!(history.violations(&state(&[("s", elements(&["kept"]))])), [""; 0]);
        assert_eq!(history.violations(&state(&[("s", elements(&["kept", "maybe"]))])), [""; 0]);
        assert_eq!(history.violations(&state(&[("s", elements(&["maybe"]))])).len(), 1, "vanished");
        assert_eq!(history.violations(&state(&[])).len(), 1, "vanished with its set");
        assert_eq!(history.violations(&state(&[("s", elements(&["kept", "gone"]))])).len(), 1, "returned");
        assert_eq!(history.violations(&state(&[("s", elements(&["kept", "new"]))])).len(), 1, "invented");
        history.touched("s", "kept", Touch::Remove, Answer::None);
        assert_eq!(history.violations(&state(&[])), [""; 0], "perhaps removed");
    }

    #[test]
    fn a_lost_and_a_double_increment_are_flagged() {
        let mut history = History::default();
        for (by, answer) in [(1, Answer::Acknowledged), (10, Answer::Acknowledged), (100, Answer::None)] {
            history.incremented("n", by, answer);
        }
        history.incremented("n", 1_000, Answer::None);
        history.incremented("n", 7, Answer::Refused);
        for right in [11, 111, 1_011, 1_111] {
            assert_eq!(history.violations(&state(&[("n", counter(right))])), [""; 0], "{right}");
        }
        for wrong in [0, 1, 10, 12, 21, 18, 211, 2_111] {
            assert_eq!(history.violations(&state(&[("n", counter(wrong))])).len(), 1, "{wrong}");
        }
    }

    #[test]
    fn a_key_from_nowhere_is_flagged() {
        assert_eq!(History::default().violations(&state(&[("x", register("1"))])).len(), 1);
    }
}
