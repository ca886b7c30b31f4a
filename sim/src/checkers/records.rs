//! A record of the DHT that was stored can be read through every node, once all is healed.
//!
//! A put that is answered as stored is durable on as many owners as were asked for, and owners hand over what they
//! hold; so each such element must be in every read at the end. One that was on a damaged disk alone is excused, and
//! one whose put was not answered, or not as stored, may be there or not. Nothing else is.

use super::Checker;
use super::bits::Bits;
use crate::observation::{Fact, Host, Observation, Request};
use chinwag_base::{Key, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Compares reads of records with what was put.
#[derive(Debug, Default)]
pub struct Records {
    requests: BTreeMap<Request, (Key, Value)>,
    elements: BTreeMap<Key, BTreeMap<Value, Element>>,
    is_healed: bool,
    readers: Bits,
    compared: u64,
}

#[derive(Debug, Default)]
struct Element {
    is_stored: bool,
    is_lost: bool,
}

impl Checker for Records {
    fn name(&self) -> &'static str {
        "records"
    }

    fn observe(&mut self, observation: &Observation, wrong: &mut Vec<String>) {
        match &observation.fact {
            Fact::RecordAsked { request, key, element, .. } => {
                self.requests.insert(*request, (key.clone(), element.clone()));
                self.elements.entry(key.clone()).or_default().entry(element.clone()).or_default();
            }
            Fact::RecordAnswered { request, stored: true } => {
                if let Some(element) = self.element_of(*request) {
                    element.is_stored = true;
                }
            }
            Fact::Damaged { lost, .. } => {
                for lost in lost {
                    if let Some(request) = lost.request
                        && let Some(element) = self.element_of(request)
                    {
                        element.is_lost = true;
                    } else if lost.request.is_none()
                        && let Some(elements) = self.elements.get_mut(&lost.key)
                    {
                        let fits = |value: &Value| lost.value.as_ref().is_none_or(|it| it == value);
                        elements.iter_mut().for_each(|(value, it)| it.is_lost |= fits(value));
                    }
                }
            }
            Fact::Healed => self.is_healed = true,
            Fact::RecordShown { host, key, elements } => {
                self.judge(*host, key, elements.as_deref(), wrong);
            }
            _ => {}
        }
    }

    fn looked_at(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("stored elements of records compared", self.compared),
            ("hosts that records were read through", self.readers.len() as u64),
        ]
    }
}

impl Records {
    fn element_of(&mut self, request: Request) -> Option<&mut Element> {
        let (key, value) = self.requests.get(&request)?;
        self.elements.get_mut(key)?.get_mut(value)
    }

    fn judge(&mut self, host: Host, key: &Key, shown: Option<&[Value]>, wrong: &mut Vec<String>) {
        let Some(shown) = shown else {
            if self.is_healed {
                wrong.push(format!("the record {key} cannot be read through {host}, though all is healed"));
            }
            return;
        };
        let shown: BTreeSet<&Value> = shown.iter().collect();
        let none = BTreeMap::new();
        let elements = self.elements.get(key).unwrap_or(&none);
        for stray in shown.iter().filter(|element| !elements.contains_key(**element)) {
            wrong.push(format!("the record {key}, read through {host}, has {stray:?}, which nobody put"));
        }
        if !self.is_healed {
            return;
        }
        self.readers.insert(host.index());
        for (element, _) in elements.iter().filter(|(_, it)| it.is_stored && !it.is_lost) {
            self.compared += 1;
            if !shown.contains(element) {
                wrong.push(format!("the record {key}, read through {host}, has lost {element:?}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::*;
    use super::*;

    fn put(request: u64, v: &str) -> Fact {
        Fact::RecordAsked { request: Request(request), host: Host(0), key: key("rec"), element: value(v) }
    }

    fn stored(request: u64, stored: bool) -> Fact {
        Fact::RecordAnswered { request: Request(request), stored }
    }

    fn read(host: u32, elements: Option<&[&str]>) -> Fact {
        Fact::RecordShown { host: Host(host), key: key("rec"), elements: elements.map(values) }
    }

    /// `a` is stored, `b` is not, `c` has no answer; then `more`.
    fn wrong(more: impl IntoIterator<Item = Fact>) -> Vec<String> {
        let history = [put(1, "a"), put(2, "b"), put(3, "c"), stored(1, true), stored(2, false)];
        judge_untimed(&mut Records::default(), history.into_iter().chain(more))
    }

    #[test]
    fn what_is_stored_is_read_everywhere() {
        let mut records = Records::default();
        let history =
            [put(1, "a"), stored(1, true), Fact::Healed, read(0, Some(&["a"])), read(1, Some(&["a"]))];
        assert!(judge_untimed(&mut records, history).is_empty());
        assert_eq!(looked_at(&records, "stored elements of records compared"), 2);
        assert_eq!(wrong([Fact::Healed, read(0, Some(&["a", "b", "c"])), read(1, Some(&["a"]))]).len(), 0);
    }

    #[test]
    fn a_stored_element_is_missing() {
        assert_eq!(wrong([Fact::Healed, read(0, Some(&["a"])), read(1, Some(&["b", "c"]))]).len(), 1);
    }

    #[test]
    fn a_read_fails() {
        assert_eq!(wrong([Fact::Healed, read(0, None)]).len(), 1);
        assert_eq!(wrong([read(0, None), read(0, Some(&[]))]).len(), 0, "as it may, before all is healed");
    }

    #[test]
    fn an_element_comes_from_nowhere() {
        assert_eq!(wrong([Fact::Healed, read(0, Some(&["a", "x"]))]).len(), 1);
        assert_eq!(wrong([read(0, Some(&["x"]))]).len(), 1);
    }

    #[test]
    fn a_lost_element_may_be_missing() {
        let then = |lost| wrong([damaged(0, [lost]), Fact::Healed, read(0, Some(&[]))]).len();
        assert_eq!(then(lost("rec", "a", None)), 0);
        assert_eq!(then(lost("rec", "a", Some(1))), 0);
        assert_eq!(then(lost("rec", "b", Some(2))), 1);
        assert_eq!(then(lost("other", "a", None)), 1);
    }
}
