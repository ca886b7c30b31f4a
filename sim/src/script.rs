//! Scenario files: protocol behaviour as prose, commands and the trace that they lead to.
//!
//! A file is read from top to bottom (in the manner of etcd raft's `testdata`). Lines that begin with `#` are prose.
//! Other lines up to `----` are commands, and what stands between `----` and the next empty line is what they print. So a
//! change of behaviour is a readable difference, and a bug becomes a file. Playing a file gives the file as it should
//! be now.
//!
//! | command | does |
//! |---|---|
//! | `overlay HOSTS [seed=N] [profile=lan] [transport=tcp] [latency=MS] [loss=SHARE]` | an overlay, all hosts joined to n0; nothing has happened yet |
//! | `run TIME [frames \| WORD…]` | lets time pass; prints events, and what arrives: every frame, or those with one of these words |
//! | `quietly TIME` | lets time pass and prints nothing |
//! | `kill H`, `power-cut H`, `leave H`, `pause H`, `resume H`, `start H [wiped\|rolled-back]`, `snapshot H` | what happens to a host |
//! | `forget H ABOUT` | a client of H, which must be n0, the admin, orders that member to be forgotten |
//! | `cut A B`, `mend A B`, `partition A…`, `mend-all`, `reset A B` | what happens to the network |
//! | `set H KEY VALUE`, `delete H KEY`, `add H KEY ELEMENT`, `remove H KEY ELEMENT`, `count H KEY N` | a client writes, and is not waited for |
//! | `hold H KIND` | frames of this kind (`push`, `chunk`, …) are kept back before H sees them |
//! | `release H [in-reverse]` | they arrive |
//! | `show H [KEY]` | what H holds |
//! | `members H` | what H believes |

use crate::observation::{Damage, Host};
use crate::plan::{Action, NetworkPlan, Plan, Transport};
use crate::sabotage::Saboteur;
use crate::words::{self, Line};
use crate::world::World;
use chinwag_base::{Key, Moment, Value};
use chinwag_crdt::{Op, Read};
use chinwag_membership::Profile;
use chinwag_node::Input;
use std::cell::RefCell;
use std::fmt::Write;
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

/// A script that cannot be played.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct ScriptError {
    /// Where, from 1.
    pub line: usize,
    /// What is wrong there.
    pub why: String,
}

/// Plays a scenario file: the file with what its commands print now.
///
/// # Errors
/// [`ScriptError`]: a command that is not one, or that does not fit.
pub fn play(text: &str) -> Result<String, ScriptError> {
    let mut out = String::new();
    let mut stage = Stage::default();
    let mut printed = String::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        out.push_str(line);
        out.push('\n');
        if line == "----" {
            out.push_str(&printed);
            printed.clear();
            // What was expected, up to the next empty line, which stays.
            for (_, expected) in lines.by_ref() {
                if expected.is_empty() {
                    out.push('\n');
                    break;
                }
            }
        } else if !line.is_empty() && !line.starts_with('#') {
            let told = stage.command(line).map_err(|why| ScriptError { line: number + 1, why })?;
            printed.push_str(&told);
        }
    }
    Ok(out)
}

/// The lines in which two texts differ, for people.
pub fn difference(expected: &str, played: &str) -> String {
    let mut text = String::new();
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), played.lines().collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let _ = writeln!(text, "from line {}:", same + 1);
    for line in old.iter().skip(same).take(12) {
        let _ = writeln!(text, "- {line}");
    }
    for line in new.iter().skip(same).take(12) {
        let _ = writeln!(text, "+ {line}");
    }
    text
}

/// Frames that are kept back.
#[derive(Default)]
struct Held {
    rules: Vec<(Host, String)>,
    frames: Vec<(Host, Input)>,
}

/// Keeps frames back for a script.
struct Holder(Rc<RefCell<Held>>);

impl Saboteur for Holder {
    fn input(&mut self, host: Host, input: Input) -> Option<Input> {
        let mut held = self.0.borrow_mut();
        if let Input::Frame { lane, bytes, .. } = &input
            && let Some(kind) = words::kind_of(*lane, bytes)
            && held.rules.iter().any(|(at, what)| *at == host && *what == kind)
        {
            held.frames.push((host, input));
            return None;
        }
        Some(input)
    }
}

#[derive(Default)]
struct Stage {
    world: Option<World>,
    trace: Rc<RefCell<Vec<(Moment, Line, String)>>>,
    held: Rc<RefCell<Held>>,
}

impl Stage {
    fn command(&mut self, line: &str) -> Result<String, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, rest) = words.split_first().ok_or("nothing to do")?;
        if *name == "overlay" {
            self.world = Some(self.overlay(rest)?);
            return Ok(String::new());
        }
        let world = self.world.as_mut().ok_or("there is no overlay yet")?;
        match (*name, rest) {
            ("run", [time, more @ ..]) => {
                let wanted = |text: &str| more.iter().any(|word| *word == "frames" || text.contains(word));
                world.run_until(world.now() + duration(time)?);
                drop(world.observed());
                let lines = std::mem::take(&mut *self.trace.borrow_mut());
                let mut text = String::new();
                for (at, line, words) in lines {
                    if line != Line::Input || wanted(&words) {
                        let _ = writeln!(text, "{:>7} {words}", at.as_millis());
                    }
                }
                return Ok(text);
            }
            ("quietly", [time]) => {
                world.run_until(world.now() + duration(time)?);
                drop(world.observed());
                self.trace.borrow_mut().clear();
            }
            ("hold", [host, kind]) => {
                self.held.borrow_mut().rules.push((find(world, host)?, (*kind).to_owned()));
            }
            ("release", [host, how @ ..]) => {
                let host = find(world, host)?;
                self.held.borrow_mut().rules.retain(|(at, _)| *at != host);
                let all = std::mem::take(&mut self.held.borrow_mut().frames);
                let (mut mine, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|(at, _)| *at == host);
                self.held.borrow_mut().frames = others;
                if how.contains(&"in-reverse") {
                    mine.reverse();
                }
                mine.into_iter().for_each(|(host, input)| world.give(host, input));
            }
            ("show", [host, keys @ ..]) => return show(world, find(world, host)?, keys.first().copied()),
            ("members", [host]) => return members(world, find(world, host)?),
            ("forget", [host, about]) => {
                let (host, about) = (find(world, host)?, find(world, about)?);
                // Nobody waits for the answer: what comes of it is what members believe.
                let request = chinwag_gossip::RequestId(u64::MAX);
                world.give(host, Input::Forget { request, id: world.id_of(about) });
            }
            ("set" | "delete" | "add" | "remove" | "count", [host, key, value @ ..]) => {
                let op = op(name, key, value.first().copied())?;
                let host = find(world, host)?;
                world.write_ops(host, vec![op], crate::plan::WaitFor::Local);
            }
            (name, hosts) => {
                let action = action(name, hosts, world)?;
                world.act(action);
            }
        }
        Ok(String::new())
    }

    fn overlay(&self, words: &[&str]) -> Result<World, String> {
        let (hosts, settings) = words.split_first().ok_or("overlay HOSTS")?;
        let mut plan = Plan {
            seed: 1,
            hosts: number(hosts)?,
            profile: Profile::Lan,
            heal_ms: u64::from(u32::MAX),
            calm_ms: 0,
            network: NetworkPlan { latency_us: (9_000, 11_000), ..NetworkPlan::default() },
            disk: crate::plan::DiskPlan { fsync_us: (1_000, 2_000) },
            state: crate::plan::StatePlan::default(),
            newer: Vec::new(),
            gone: Vec::new(),
            steps: Vec::new(),
        };
        for setting in settings {
            match setting.split_once('=') {
                Some(("seed", seed)) => plan.seed = number(seed)?,
                Some(("profile", "fast")) => plan.profile = Profile::Fast,
                Some(("profile", "lan")) => plan.profile = Profile::Lan,
                Some(("profile", "wan")) => plan.profile = Profile::Wan,
                Some(("transport", "tcp")) => plan.network.transport = Transport::Tcp,
                Some(("transport", "quic")) => plan.network.transport = Transport::Quic,
                Some(("transport", "datagrams")) => plan.network.transport = Transport::Datagrams,
                Some(("latency", ms)) => {
                    let us = number::<u64>(ms)? * 1_000;
                    plan.network.latency_us = (us * 9 / 10, us * 11 / 10);
                }
                Some(("loss", share)) => plan.network.loss = number(share)?,
                _ => return Err(format!("`{setting}` is no setting of an overlay")),
            }
        }
        if let Some(why) = plan.fault() {
            return Err(why);
        }
        let trace = self.trace.clone();
        let world = World::new(plan).with_tracer(Box::new(move |at, line, text| {
            trace.borrow_mut().push((at, line, text.to_owned()))
        }));
        Ok(world.with_saboteur(Box::new(Holder(self.held.clone()))))
    }
}

fn number<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("`{text}` is not such a number"))
}

fn duration(text: &str) -> Result<Duration, String> {
    if let Some(ms) = text.strip_suffix("ms") {
        return Ok(Duration::from_millis(number(ms)?));
    }
    let seconds = text.strip_suffix('s').ok_or_else(|| format!("`{text}` is not a time: 5s or 200ms"))?;
    Ok(Duration::from_secs(number(seconds)?))
}

fn find(world: &World, text: &str) -> Result<Host, String> {
    let host = text.strip_prefix('n').and_then(|n| n.parse().ok()).map(Host);
    host.filter(|host| host.0 < world.plan().hosts).ok_or_else(|| format!("there is no host `{text}`"))
}

fn action(name: &str, words: &[&str], world: &World) -> Result<Action, String> {
    let hosts = || words.iter().map(|word| find(world, word)).collect::<Result<Vec<Host>, String>>();
    Ok(match (name, words) {
        ("start", [host, "wiped"]) => Action::Start { host: find(world, host)?, damage: Some(Damage::Wiped) },
        ("start", [host, "rolled-back"]) => {
            Action::Start { host: find(world, host)?, damage: Some(Damage::RolledBack) }
        }
        ("mend-all", []) => Action::MendAll,
        ("partition", [_, ..]) => Action::Partition { side: hosts()? },
        (_, [_]) => {
            let host = hosts()?[0];
            match name {
                "kill" => Action::Kill { host },
                "power-cut" => Action::PowerCut { host },
                "leave" => Action::Leave { host },
                "pause" => Action::Pause { host },
                "resume" => Action::Resume { host },
                "snapshot" => Action::Snapshot { host },
                "start" => Action::Start { host, damage: None },
                _ => return Err(format!("`{name}` is no command")),
            }
        }
        (_, [_, _]) => {
            let [from, to] = hosts()?[..] else { return Err("two hosts".to_owned()) };
            match name {
                "cut" => Action::Cut { from, to },
                "mend" => Action::Mend { from, to },
                "reset" => Action::Reset { one: from, other: to },
                _ => return Err(format!("`{name}` is no command")),
            }
        }
        _ => return Err(format!("`{name}` is no command, or not with that")),
    })
}

fn op(name: &str, key: &str, value: Option<&str>) -> Result<Op, String> {
    let key: Key = key.parse().map_err(|e| format!("{e}"))?;
    let text = || -> Result<Value, String> {
        Value::new(value.ok_or("a value is missing")?.as_bytes()).map_err(|e| format!("{e}"))
    };
    Ok(match name {
        "set" => Op::Set { key, value: text()? },
        "add" => Op::Add { key, element: text()? },
        "remove" => Op::Remove { key, element: text()? },
        "count" => Op::Increment { key, by: number(value.ok_or("how much?")?)? },
        _ => Op::Delete { key, kind: None },
    })
}

fn show(world: &World, host: Host, only: Option<&str>) -> Result<String, String> {
    let node = world.node(host).ok_or_else(|| format!("{host} does not run"))?;
    let replica = node.gossip().replica();
    let mut text = String::new();
    for key in replica.keys().filter(|key| only.is_none_or(|only| key.as_str() == only)) {
        let _ = writeln!(
            text,
            "{host} {key} = {}",
            replica.get(&key).as_ref().map_or_else(String::new, words_of_read)
        );
    }
    if text.is_empty() {
        text = format!("{host} has nothing there\n");
    }
    Ok(text)
}

fn words_of_read(read: &Read) -> String {
    let text = |value: &Value| value.as_text().unwrap_or("?").to_owned();
    match read {
        Read::Register { siblings, .. } => {
            siblings.iter().map(|s| text(&s.value)).collect::<Vec<_>>().join(" | ")
        }
        Read::Counter(total) => total.to_string(),
        Read::Set(elements) => format!("{{{}}}", elements.iter().map(text).collect::<Vec<_>>().join(", ")),
        Read::Flag => "on".to_owned(),
        Read::Map(fields) => {
            let fields = fields.iter().map(|(name, read)| format!("{name}: {}", words_of_read(read)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        Read::Conflict(reads) => reads.iter().map(words_of_read).collect::<Vec<_>>().join(" or "),
    }
}

fn members(world: &World, host: Host) -> Result<String, String> {
    let node = world.node(host).ok_or_else(|| format!("{host} does not run"))?;
    let mut all: Vec<(Host, String)> = node
        .membership()
        .members(world.moment_of(host))
        .filter_map(|m| {
            let unverified = if m.unverified { ", by silence alone" } else { "" };
            Some((world.host_of(&m.id)?, format!("{}{unverified}, incarnation {}", m.state, m.incarnation)))
        })
        .collect();
    all.sort();
    let mut text = String::new();
    for (about, words) in all {
        let _ = writeln!(text, "{host} holds {about} for {words}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_played_and_what_it_expected_is_replaced() {
        let text = "# Two meet.\noverlay 2\nquietly 3s\nmembers n0\n----\nwrong\n\n# The end.\n";
        let played = play(text).unwrap();
        let expected = "# Two meet.\noverlay 2\nquietly 3s\nmembers n0\n----\n\
                        n0 holds n0 for alive, incarnation 1\nn0 holds n1 for alive, incarnation 1\n\n# The end.\n";
        assert_eq!(played, expected);
        assert_eq!(play(&played).unwrap(), expected, "what was written stays");
        assert!(difference(text, &played).starts_with("from line 6:\n- wrong\n"));
    }

    #[test]
    fn what_makes_no_sense_is_told_with_its_line() {
        for (text, line) in [
            ("run 5s", 1),
            ("overlay 2\nkill n7", 2),
            ("overlay none", 1),
            ("overlay 2\n\ndance n0", 3),
            ("overlay 2 loss=2", 1),
            ("overlay 2\nset n0", 2),
            ("overlay 2\nrun long", 2),
        ] {
            assert_eq!(play(text).unwrap_err().line, line, "{text}");
        }
    }
}
