//! Members, and why each is held for what it is.

use super::read::standings;
use super::{Answered, Daemon, Reply};
use crate::engine::Unanswered;
use crate::observe::Observer;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use chinwag_api::{
    Clue, ClueKind, Explained, Failure, Hindrance, Kind, Member, MemberState, Members, Reach, ReachAnswer,
    ReachMember, Unheard,
};
use chinwag_base::{Moment, NodeId};
use chinwag_gossip::PeerView;
use chinwag_membership::{DialFailure, Evidence, Found, Noted, Report, State as Standing};
use chinwag_node::Node;
use std::collections::BTreeSet;
use std::time::Duration;

pub(super) async fn members(State(daemon): Daemon) -> Answered<Members> {
    let look = |node: &Node, observer: &Observer, now: Moment| Members {
        members: list_members(node, observer, now),
        probe_loss: Some(node.membership().loss()),
    };
    Ok(Reply(daemon.running().await?.look(look).await?))
}

fn list_members(node: &Node, observer: &Observer, now: Moment) -> Vec<Member> {
    let standings = standings(node);
    let shown = |m: chinwag_membership::Member| {
        let standing = standings.get(&m.id);
        member(node, observer, standing, m)
    };
    let mut members: Vec<Member> = node.membership().members(now).map(shown).collect();
    members.sort_by(|a, b| (!a.is_self, &a.name, a.id).cmp(&(!b.is_self, &b.name, b.id)));
    members
}

fn member(
    node: &Node,
    observer: &Observer,
    standing: Option<&PeerView>,
    m: chinwag_membership::Member,
) -> Member {
    let is_self = m.id == node.membership().me();
    let observed = !is_self && m.observed && m.state.is_present();
    Member {
        name: m.name.to_string(),
        id: m.id,
        is_self,
        state: state(m.state),
        unverified: m.unverified,
        phi: observed.then_some(m.phi),
        incarnation: m.incarnation.get(),
        generation: m.generation,
        rtt_ms: m.rtt.map(|rtt| rtt.as_secs_f64() * 1_000.0),
        heard_ms: m.heard.map(|heard| heard.as_millis() as u64),
        behind: if is_self { Some(0) } else { standing.and_then(|s| s.behind) },
        digest: if is_self {
            Some(node.gossip().replica().digest().into())
        } else {
            standing.and_then(|s| s.digest).map(Into::into)
        },
        addresses: m.addresses,
        tags: m.tags,
        rto_ms: observed.then_some(m.rto.as_secs_f64() * 1_000.0),
        stall_ms: Some(m.stall_mean.as_millis() as u64),
        suspected_by: m.suspected_by.iter().map(|id| observer.name(id)).collect(),
        down_in_ms: m.down_in.map(|d| d.as_millis() as u64),
    }
}

const fn state(state: Standing) -> MemberState {
    match state {
        Standing::Alive => MemberState::Alive,
        Standing::Suspect => MemberState::Suspect,
        Standing::Down => MemberState::Down,
        Standing::Left => MemberState::Left,
    }
}

pub(super) async fn explain(
    State(daemon): Daemon,
    name: Result<Path<String>, PathRejection>,
) -> Answered<Explained> {
    let Path(name) = name
        .map_err(|e| Failure::new(Kind::BadRequest, "the path is not understood").because(e.body_text()))?;
    let look = move |node: &Node, observer: &Observer, now: Moment| {
        let meant = meant(node, observer, now, &name)?;
        Ok::<_, Failure>(explained(node, observer, now, meant))
    };
    Ok(Reply(daemon.running().await?.look(look).await??))
}

/// The member of that name or id.
pub(super) fn meant(node: &Node, observer: &Observer, now: Moment, name: &str) -> Result<Member, Failure> {
    let mut meant: Vec<Member> = list_members(node, observer, now);
    meant.retain(|member| member.name == name || member.id.to_string() == name);
    match meant.len() {
        0 => Err(Failure::new(Kind::NoSuchMember, format!("no member is called {}", name.escape_debug()))
            .hint("chinwag members")),
        1 => Ok(meant.remove(0)),
        n => {
            let ids: Vec<String> = meant.iter().map(|member| member.id.to_string()).collect();
            Err(Failure::new(Kind::BadRequest, format!("{n} members are called {name}"))
                .because(format!("say which by its id: {}", ids.join(", "))))
        }
    }
}

pub(super) async fn reach(State(daemon): Daemon) -> Answered<Reach> {
    let engine = daemon.running().await?;
    let Some(reached) = engine.reach().await? else { return Err(Unanswered::Busy.into()) };
    let look = move |node: &Node, observer: &Observer, now: Moment| {
        let me = node.membership().me();
        let answered: BTreeSet<NodeId> = reached.reports.iter().map(|(report, _)| report.by).collect();
        let (mut missing, mut down) = (Vec::new(), Vec::new());
        for member in node.membership().members(now).filter(|m| !answered.contains(&m.id)) {
            let shown =
                ReachMember { name: observer.name(&member.id), id: member.id, state: state(member.state) };
            match member.state {
                // Nobody answers after a goodbye.
                Standing::Left => {}
                _ if reached.asked.contains(&member.id) => missing.push(shown),
                Standing::Down => down.push(shown),
                // Somebody who came meanwhile.
                Standing::Alive | Standing::Suspect => {}
            }
        }
        for members in [&mut missing, &mut down] {
            members.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        }
        let is_meant = |id: &NodeId| answered.contains(id) || reached.asked.contains(id);
        let answers = reached.reports.into_iter().map(|(mut report, after)| {
            report.unheard.retain(|unheard| is_meant(&unheard.id));
            answer(observer, report, after)
        });
        let mut answers: Vec<ReachAnswer> = answers.collect();
        answers.sort_by(|a, b| (a.id != me, &a.name, a.id).cmp(&(b.id != me, &b.name, b.id)));
        Reach { after_ms: reached.after.as_secs_f64() * 1_000.0, answers, missing, down }
    };
    Ok(Reply(engine.look(look).await?))
}

fn answer(observer: &Observer, report: Report, after: Duration) -> ReachAnswer {
    let unheard = report.unheard.into_iter().map(|unheard| Unheard {
        name: observer.name(&unheard.id),
        id: unheard.id,
        why: match unheard.why {
            chinwag_membership::Hindrance::Silent => Hindrance::Silent,
            chinwag_membership::Hindrance::Unconnected => Hindrance::Unconnected,
            chinwag_membership::Hindrance::Down => Hindrance::Down,
        },
    });
    ReachAnswer {
        name: observer.name(&report.by),
        id: report.by,
        after_ms: after.as_secs_f64() * 1_000.0,
        hears: report.heard,
        unheard: unheard.collect(),
        more: report.more,
    }
}

fn explained(node: &Node, observer: &Observer, now: Moment, member: Member) -> Explained {
    let membership = node.membership();
    let evidence = membership.evidence(&member.id).map(|noted| clue(observer, now, noted)).collect();
    Explained { phi_down: membership.phi_down(), evidence, member }
}

fn clue(observer: &Observer, now: Moment, noted: &Noted) -> Clue {
    let ago = |moment: Moment| now.since(moment).as_millis() as u64;
    let what = match &noted.evidence {
        Evidence::Unanswered { rto } => ClueKind::Unanswered { rto_ms: rto.as_secs_f64() * 1_000.0 },
        Evidence::Broken => ClueKind::Broken,
        Evidence::NotReached(why) => ClueKind::NotReached {
            why: match why {
                DialFailure::Refused => "refused",
                DialFailure::TimedOut => "timed_out",
                DialFailure::Denied(_) => "denied",
                DialFailure::Other => "other",
            }
            .to_owned(),
        },
        Evidence::Asked(ids) => ClueKind::Asked { members: ids.iter().map(|id| observer.name(id)).collect() },
        Evidence::Found { by, found } => ClueKind::Found {
            by: observer.name(by),
            found: match found {
                Found::Life => "life",
                Found::Silent => "silent",
                Found::Refused => "refused",
            }
            .to_owned(),
        },
        Evidence::Told { by, phi } => ClueKind::Told { by: observer.name(by), phi: *phi },
        Evidence::Accused { state: of, by, phi } => {
            ClueKind::Accused { state: state(*of), by: observer.name(by), phi: *phi }
        }
        Evidence::GivenUp { silent } => ClueKind::GivenUp { silent_ms: silent.as_millis() as u64 },
        Evidence::Voided => ClueKind::Voided,
        Evidence::Answered => ClueKind::Answered,
        Evidence::Alive(incarnation) => ClueKind::Alive { incarnation: incarnation.get() },
        Evidence::Vouched => ClueKind::Vouched,
        Evidence::Left => ClueKind::Left,
    };
    Clue { first_ms: ago(noted.first), last_ms: ago(noted.last), times: noted.times, what }
}
