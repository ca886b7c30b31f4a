//! The last look at each key of each host that runs. Replicas that have converged show the same, so each distinct
//! read is kept, and judged, once.

use crate::checkers::bits::Bits;
use crate::observation::{Fact, Host, Observation};
use chinwag_base::Key;
use chinwag_crdt::Read;
use std::collections::BTreeMap;

/// The last look at each key of each host.
#[derive(Debug, Default)]
pub(super) struct LastReads {
    /// None for all namespaces.
    namespace: Option<&'static str>,
    keys: BTreeMap<Key, Looks>,
    running: Bits,
}

/// What some hosts show, and which; none if they show nothing.
pub(super) type Group<'a> = (Option<&'a Read>, Vec<Host>);

#[derive(Debug, Default)]
struct Looks {
    distinct: Vec<Option<Read>>,
    /// By host, which of these it showed last.
    of: Vec<Option<u32>>,
}

impl LastReads {
    pub(super) fn of_namespace(namespace: &'static str) -> Self {
        LastReads { namespace: Some(namespace), ..LastReads::default() }
    }

    pub(super) fn observe(&mut self, observation: &Observation) {
        match &observation.fact {
            Fact::Started { host } => self.running.insert(host.index()),
            Fact::Stopped { host, .. } => {
                self.running.remove(host.index());
            }
            // What was seen during the faults need not be what remains.
            Fact::Healed => self.keys.clear(),
            Fact::Shown { host, key, read } if self.namespace.is_none_or(|it| it == key.namespace()) => {
                match self.keys.get_mut(key) {
                    Some(looks) => looks.take(*host, read),
                    None => self.keys.entry(key.clone()).or_default().take(*host, read),
                }
            }
            _ => {}
        }
    }

    /// For each key that was looked at: every distinct read, with the running hosts that show it.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, Vec<Group<'_>>)> {
        self.keys.iter().map(|(key, looks)| {
            let mut groups: Vec<Group<'_>> =
                looks.distinct.iter().map(|read| (read.as_ref(), Vec::new())).collect();
            for (host, look) in looks.of.iter().enumerate() {
                if let Some(look) = look.filter(|_| self.running.contains(host)) {
                    groups[look as usize].1.push(Host(host as u32));
                }
            }
            groups.retain(|(_, hosts)| !hosts.is_empty());
            (key, groups)
        })
    }
}

impl Looks {
    fn take(&mut self, host: Host, read: &Option<Read>) {
        let known = self.distinct.iter().position(|it| it == read);
        let look = known.unwrap_or_else(|| {
            self.distinct.push(read.clone());
            self.distinct.len() - 1
        });
        if self.of.len() <= host.index() {
            self.of.resize(host.index() + 1, None);
        }
        self.of[host.index()] = Some(look as u32);
    }
}

/// Hosts for people: the first few by name, the rest by number.
pub(super) fn names(hosts: &[Host]) -> String {
    const NAMED_MAX: usize = 5;
    let named: Vec<String> = hosts.iter().take(NAMED_MAX).map(Host::to_string).collect();
    match hosts.len().saturating_sub(NAMED_MAX) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::*;
    use super::*;

    #[test]
    fn the_last_look_counts_and_equal_ones_are_one() {
        let mut reads = LastReads::of_namespace("count");
        for fact in [
            started(0),
            started(1),
            started(2),
            shown(0, "count/a", Some(Read::Counter(1))),
            shown(1, "count/b", Some(Read::Counter(1))),
            Fact::Healed,
            shown(0, "count/a", Some(Read::Counter(2))),
            shown(0, "count/a", Some(Read::Counter(3))),
            shown(1, "count/a", Some(Read::Counter(3))),
            shown(2, "count/a", None),
            shown(2, "tally/a", None),
            stopped(2),
        ] {
            reads.observe(&at(0, fact));
        }
        let all: Vec<_> = reads.iter().collect();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].1, [(Some(&Read::Counter(3)), vec![Host(0), Host(1)])]);
        assert_eq!(names(&(0..7).map(Host).collect::<Vec<_>>()), "n0, n1, n2, n3, n4 and 2 more");
    }
}
