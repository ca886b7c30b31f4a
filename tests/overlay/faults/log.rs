//! From the rows of a daemon's log to the observations that the simulator's checkers read.
//!
//! Names of events and fields are those of `daemon/src/observe.rs`. A log names values by a hash; the test knows what was
//! ever written, and so which value that is. Rows that tell nothing to a checker are passed over, and so are the last ones
//! of a process that was killed before it had written them out.

use crate::harness::Row;
use chinwag_base::{Generation, Incarnation, Moment, Value};
use chinwag_crdt::{Kind, What};
use chinwag_membership::State;
use chinwag_sim::observation::{Answer, Fact, Host, Observation};
use std::collections::{BTreeMap, BTreeSet};

/// Something that happened, with its place among what has the same time: clocks tell milliseconds.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    at_unix_ms: u64,
    place: Place,
    fact: Fact,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    BeforeLogs,
    Log,
    AfterLogs,
}

impl Seen {
    pub(crate) fn before_logs(at_unix_ms: u64, fact: Fact) -> Self {
        Seen { at_unix_ms, place: Place::BeforeLogs, fact }
    }

    pub(crate) fn after_logs(at_unix_ms: u64, fact: Fact) -> Self {
        Seen { at_unix_ms, place: Place::AfterLogs, fact }
    }
}

/// What was seen, in the order of time. What has one time and place stays in the order in which it was seen.
pub(crate) fn in_order(mut seen: Vec<Seen>) -> Vec<Observation> {
    seen.sort_by_key(|it| (it.at_unix_ms, it.place));
    let first = seen.first().map_or(0, |it| it.at_unix_ms);
    seen.into_iter()
        .map(|it| Observation { at: Moment::from_millis(it.at_unix_ms - first), fact: it.fact })
        .collect()
}

/// Takes back the answers whose rows may have died with the process that gave them, and says how many these are.
///
/// A daemon writes its log by a thread of its own and without waiting, so kill -9 takes the last rows along, also those of
/// writes that were acknowledged. To a checker that knows what a write replaced by its row alone, such a write is one that
/// nobody answered. That it is kept all the same is what `history.rs` looks at, which needs no log.
pub(crate) fn strike_answers_without_rows(observations: &mut Vec<Observation>) -> usize {
    let mut host_of = BTreeMap::new();
    let mut since_last_row: BTreeMap<Host, Vec<usize>> = BTreeMap::new();
    let mut struck = Vec::new();
    for (index, observation) in observations.iter().enumerate() {
        match &observation.fact {
            Fact::Asked { request, host, .. } => {
                host_of.insert(*request, *host);
            }
            Fact::Answered { request, answer: Answer::Written { .. } } => {
                since_last_row.entry(host_of[request]).or_default().push(index);
            }
            // Rows are written in order: if this one was, those before it were.
            Fact::Applied { host, local: true, .. } => {
                since_last_row.remove(host);
            }
            Fact::Stopped { host, .. } => struck.extend(since_last_row.remove(host).unwrap_or_default()),
            _ => {}
        }
    }
    let mut index = 0;
    let struck: BTreeSet<usize> = struck.into_iter().collect();
    observations.retain(|_| {
        index += 1;
        !struck.contains(&(index - 1))
    });
    struck.len()
}

/// Reads the log of one daemon.
pub(crate) struct Reader<'a> {
    /// Whose log it is.
    pub(crate) host: Host,
    /// Which host a member's name stands for.
    pub(crate) host_of: &'a dyn Fn(&str) -> Option<Host>,
    /// Every value that was ever asked to be written, by what logs call it.
    pub(crate) values: &'a BTreeMap<String, Value>,
}

impl Reader<'_> {
    /// What a row tells, if it is of use.
    pub(crate) fn read(&self, row: &Row) -> Option<Seen> {
        let fact = match row.event.as_str() {
            "member.alive" => self.believed(row, State::Alive)?,
            "member.suspect" => self.believed(row, State::Suspect)?,
            "member.down" => self.believed(row, State::Down)?,
            "member.left" => self.believed(row, State::Left)?,
            "member.reaped" => Fact::Reaped { host: self.host, about: (self.host_of)(row.field("name"))? },
            "write.applied" => Fact::Applied {
                host: self.host,
                key: row.field("key").parse().ok()?,
                what: self.what(row)?,
                local: row.field("path") == "local",
            },
            _ => return None,
        };
        Some(Seen { at_unix_ms: row.at_unix_ms, place: Place::Log, fact })
    }

    fn believed(&self, row: &Row, state: State) -> Option<Fact> {
        let generation = u64::from_str_radix(row.field("generation"), 16).ok();
        let incarnation = row.fields.get("inc").and_then(|inc| inc.as_u64());
        Some(Fact::Believed {
            host: self.host,
            about: (self.host_of)(row.field("name"))?,
            state,
            generation: generation.map(Generation::new),
            incarnation: incarnation.map(Incarnation::new),
            unverified: is(row, "unverified"),
        })
    }

    fn what(&self, row: &Row) -> Option<What> {
        let value = || self.values.get(row.field("value")).cloned();
        Some(match row.field("what") {
            "set" => What::Set {
                value: value()?,
                was: self.was(row),
                concurrent: is(row, "concurrent"),
                shown: !is(row, "hidden"),
            },
            "del" => What::Deleted {
                kind: match row.field("kind") {
                    "register" => Kind::Register,
                    "counter" => Kind::Counter,
                    "flag" => Kind::Flag,
                    _ => Kind::Set,
                },
                was: self.was(row),
                survives: is(row, "survives"),
            },
            "incr" => What::Incremented { by: number(row, "by")?, total: number(row, "total")? },
            "reset" => What::Reset { taken: number(row, "taken")?, total: number(row, "total")? },
            "add" => What::Added { element: value()? },
            "rm" => What::Removed { element: value()? },
            "enable" => What::Enabled,
            "none" => What::NoEffect,
            _ => return None,
        })
    }

    fn was(&self, row: &Row) -> Vec<Value> {
        let names = row.fields.get("was").and_then(|was| was.as_array()).into_iter().flatten();
        names.filter_map(|name| self.values.get(name.as_str()?).cloned()).collect()
    }
}

fn is(row: &Row, field: &str) -> bool {
    row.fields.get(field).and_then(|value| value.as_bool()).unwrap_or_default()
}

/// A count: a number where 64 bits hold it, else its digits.
fn number(row: &Row, field: &str) -> Option<i128> {
    let value = row.fields.get(field)?;
    value.as_i64().map(i128::from).or_else(|| value.as_str()?.parse().ok())
}

/// A log that tells of something wrong must be found wrong.
#[cfg(test)]
mod checked {
    use super::*;
    use chinwag_crdt::Op;
    use chinwag_sim::checkers::{self, Patience};
    use chinwag_sim::observation::{Request, Stop};
    use std::time::Duration;

    /// Which checkers find a run of two daemons wrong of which the second one logged these rows.
    fn wrong(rows: &[&str]) -> Vec<&'static str> {
        let value = Value::new(&b"v"[..]).unwrap();
        let values = BTreeMap::from([(chinwag_daemon::log::name_of(&value), value.clone())]);
        let host_of = |name: &str| ["alpha", "beta"].iter().position(|n| *n == name).map(|n| Host(n as u32));
        let reader = Reader { host: Host(1), host_of: &host_of, values: &values };
        let key = || "set/a".parse().unwrap();
        let request = Request(1);
        let written = Answer::Written { holders: 1, durable_on: 1, met: true };
        let mut seen = vec![
            Seen::after_logs(1_000, Fact::Started { host: Host(0) }),
            Seen::after_logs(1_000, Fact::Started { host: Host(1) }),
            Seen::before_logs(
                2_000,
                Fact::Asked {
                    request,
                    host: Host(1),
                    ops: [Op::Add { key: key(), element: value.clone() }].into(),
                },
            ),
            Seen::after_logs(2_000, Fact::Answered { request, answer: written }),
            Seen::after_logs(90_000, Fact::Healed),
            Seen::after_logs(90_000, Fact::Meshed),
        ];
        for host in [Host(0), Host(1)] {
            let state = chinwag_base::Digest::of("", b"");
            seen.push(Seen::after_logs(90_000, Fact::Summed { host, state, clock: state }));
            let read = Some(chinwag_crdt::Read::Set(vec![value.clone()]));
            seen.push(Seen::after_logs(90_000, Fact::Shown { host, key: key(), read }));
        }
        seen.push(Seen::after_logs(90_000, Fact::Ended));
        for row in rows {
            seen.extend(reader.read(&serde_json::from_str(row).unwrap()));
        }
        let second = Duration::from_secs(1);
        let patience = Patience { crash_known: second, meshed: second, converged: second, aftermath: second };
        let mut checkers = checkers::all(patience);
        in_order(seen).iter().for_each(|observation| checkers.observe(observation));
        checkers.violations().iter().map(|violation| violation.checker).collect()
    }

    fn member(at: u64, event: &str, inc: u64) -> String {
        let fields = format!(r#"{{"name":"alpha","inc":{inc},"generation":"7","unverified":false}}"#);
        format!(r#"{{"at_unix_ms":{at},"level":"info","event":"member.{event}","fields":{fields}}}"#)
    }

    fn applied(at: u64, what: &str) -> String {
        let value = chinwag_daemon::log::name_of(&Value::new(&b"v"[..]).unwrap());
        let fields = format!(r#"{{"key":"set/a","path":"local","what":"{what}","value":"{value}"}}"#);
        format!(r#"{{"at_unix_ms":{at},"level":"info","event":"write.applied","fields":{fields}}}"#)
    }

    #[test]
    fn a_log_in_which_all_is_well_is_found_so() {
        assert_eq!(wrong(&[&member(3_000, "alive", 1), &applied(2_000, "add")]), [""; 0]);
    }

    #[test]
    fn a_death_of_somebody_who_runs_is_found() {
        assert_eq!(wrong(&[&member(3_000, "alive", 1), &member(50_000, "down", 1)]), ["false-death"]);
    }

    #[test]
    fn an_incarnation_that_falls_is_found() {
        assert_eq!(wrong(&[&member(3_000, "alive", 2), &member(4_000, "alive", 1)]), ["incarnations"]);
    }

    #[test]
    fn an_element_that_comes_back_is_found() {
        let rows = [applied(2_000, "add"), applied(3_000, "rm"), applied(4_000, "add")];
        assert!(wrong(&rows.each_ref().map(String::as_str)).contains(&"resurrection"));
    }

    #[test]
    fn an_answer_is_struck_if_its_row_may_have_died_with_the_process() {
        let host = Host(0);
        let asked = |n, at| Seen::before_logs(at, Fact::Asked { request: Request(n), host, ops: [].into() });
        let written = |n, at| {
            let answer = Answer::Written { holders: 1, durable_on: 1, met: true };
            Seen::after_logs(at, Fact::Answered { request: Request(n), answer })
        };
        let row = |at| {
            let fact =
                Fact::Applied { host, key: "set/a".parse().unwrap(), what: What::NoEffect, local: true };
            Seen { at_unix_ms: at, place: Place::Log, fact }
        };
        let seen = vec![
            asked(1, 1),
            row(2),
            written(1, 3),
            asked(2, 4),
            row(5),
            written(2, 6),
            asked(3, 7),
            written(3, 8),
            Seen::after_logs(9, Fact::Stopped { host, how: Stop::Killed }),
            asked(4, 10),
            written(4, 11),
        ];
        let mut observations = in_order(seen);
        assert_eq!(strike_answers_without_rows(&mut observations), 2);
        let answered = |it: &Observation| match it.fact {
            Fact::Answered { request, .. } => Some(request.0),
            _ => None,
        };
        let answered: Vec<u64> = observations.iter().filter_map(answered).collect();
        assert_eq!(answered, [1, 4], "the last row may be that of 2 or of one that was never answered");
    }
}
