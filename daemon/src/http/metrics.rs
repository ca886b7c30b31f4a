//! Metrics, as Prometheus and its kin read them (OpenMetrics 1.0). Each is taken when it is asked for, from what the
//! node holds anyway, but for how long the disk takes ([`crate::storage::Meter`]). Labels are names of members, states and events, never keys.

use super::read::{Seen, standings};
use super::{Daemon, Refused};
use crate::clock;
use crate::gauges::Gauges;
use crate::observe::Observer;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use chinwag_api::{Failure, Kind};
use chinwag_base::Moment;
use chinwag_base::limits::STATE_BYTES_MAX;
use chinwag_node::Node;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// What OpenMetrics text is called on the wire.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) async fn metrics(State(daemon): Daemon) -> Result<Response, Refused> {
    let engine = daemon.running().await?;
    let gauges = engine.gauges();
    let meter = engine.meter().clone();
    let uptime = clock::now().since(daemon.started);
    let look = move |node: &Node, observer: &Observer, now: Moment| {
        let mut registry = Registry::with_prefix("chinwag");
        of_process(&mut registry, uptime);
        of_members(&mut registry, node, observer, now);
        of_state(&mut registry, node, observer, now, &gauges);
        meter.register(&mut registry);
        of_events(&mut registry, observer);
        let mut text = String::new();
        encode(&mut text, &registry).map(|()| text)
    };
    let text =
        engine.look(look).await?.map_err(|_| Failure::new(Kind::Internal, "the metrics do not encode"))?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

/// A value for each of some labels of one name.
type Labelled = Family<[(&'static str, String); 1], Gauge<f64, AtomicU64>>;

fn of_process(registry: &mut Registry, uptime: Duration) {
    let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "The daemon's version", build);
    let help = "Since the daemon was started";
    registry.register_with_unit("uptime", help, Unit::Seconds, ConstGauge::new(uptime.as_secs_f64()));
}

fn of_members(registry: &mut Registry, node: &Node, observer: &Observer, now: Moment) {
    let membership = node.membership();
    let [states, phi, rtt, rto, stall, behind] = std::array::from_fn(|_| Labelled::default());
    for state in ["alive", "suspect", "down", "left"] {
        drop(states.get_or_create(&[("state", state.to_owned())]));
    }
    let standings = standings(node);
    let mut names: BTreeMap<String, u32> = BTreeMap::new();
    for member in membership.members(now) {
        *names.entry(observer.name(&member.id)).or_default() += 1;
    }
    for member in membership.members(now) {
        states.get_or_create(&[("state", member.state.to_string())]).inc();
        let name = observer.name(&member.id);
        // Names may be taken twice; a series may not.
        let is_alone = names.get(&name).is_none_or(|members| *members < 2);
        let label = [("member", if is_alone { name } else { format!("{name} ({})", member.id) })];
        if let Some(operations) = standings.get(&member.id).and_then(|standing| standing.behind) {
            behind.get_or_create(&label).set(operations as f64);
        }
        // The others are observed by somebody else.
        if member.id == membership.me() || !member.observed || !member.state.is_present() {
            continue;
        }
        phi.get_or_create(&label).set(member.phi);
        rto.get_or_create(&label).set(member.rto.as_secs_f64());
        stall.get_or_create(&label).set(member.stall_mean.as_secs_f64());
        if let Some(round_trip) = member.rtt {
            rtt.get_or_create(&label).set(round_trip.as_secs_f64());
        }
    }
    registry.register("members", "Members by what is believed of them", states);
    let help = format!("How suspicious each observed member's silence is; down at {}", membership.phi_down());
    registry.register("member_phi", help, phi);
    let seconds = Unit::Seconds;
    let help = "The smoothed round trip to each observed member";
    registry.register_with_unit("member_round_trip", help, seconds.clone(), rtt);
    let help = "After how long without an answer a ping to it counts as lost";
    registry.register_with_unit("member_timeout", help, seconds.clone(), rto);
    let help = "How long each observed member admits to stall on the average";
    registry.register_with_unit("member_stall", help, seconds.clone(), stall);
    registry.register("member_behind_entries", "Entries that each connected member lacks", behind);
    let loss = ConstGauge::new(membership.loss());
    registry.register_with_unit(
        "probe_loss",
        "The part of this daemon's pings that fails",
        Unit::Ratios,
        loss,
    );
    let own = ConstGauge::new(membership.stall_mean().as_secs_f64());
    registry.register_with_unit("stall", "How long this daemon admits to stall on the average", seconds, own);
    let connections = ConstGauge::new(membership.connected().count() as i64);
    registry.register("connections", "Members that are connected", connections);
}

fn of_state(registry: &mut Registry, node: &Node, observer: &Observer, now: Moment, gauges: &Gauges) {
    let seen = Seen::look(node, observer, now);
    let mut gauge = |name: &str, help: &str, value: u64| {
        registry.register(name, help, ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)));
    };
    gauge("keys", "Keys of the replicated state", seen.keys);
    gauge("queue_entries", "Writes and received entries that wait for the disk", seen.queue);
    gauge("members_in_step", "Connected members that hold the same state", seen.in_step.peers);
    gauge("dht_records", "Records of the DHT that are here", seen.dht.records);
    gauge("dht_handing_off_records", "Records that other owners are yet to get", seen.dht.handing_off);
    gauge("storage_healthy", "1 if the disk takes writes, else 0", u64::from(gauges.storage_fault.is_none()));
    gauge(
        "records_healthy",
        "1 if the disk takes records, else 0",
        u64::from(gauges.records_fault.is_none()),
    );
    let gossip = node.gossip();
    gauge("log_rows", "Writes that are kept for members who lack them", gossip.replica().log_len() as u64);
    gauge(
        "waits",
        "Clients whose write is durable here and who wait for other members",
        gossip.open_waits() as u64,
    );
    let mut gauge_bytes = |name: &str, help: &str, bytes: usize| {
        let value = ConstGauge::new(i64::try_from(bytes).unwrap_or(i64::MAX));
        registry.register_with_unit(name, help, Unit::Bytes, value);
    };
    gauge_bytes("state", "Memory that the replicated state takes, about", gossip.replica().state_bytes());
    gauge_bytes("state_max", "At how much of it this daemon takes no further writes", STATE_BYTES_MAX);
    gauge_bytes("log", "Memory that the kept writes take, about", gossip.replica().log_bytes());
    gauge_bytes("queue", "What waits for the disk", gossip.queued_bytes());
    gauge_bytes(
        "dht",
        "Bytes of the records that are here",
        usize::try_from(seen.dht.bytes).unwrap_or(usize::MAX),
    );
    registry.register(
        "gossip_rounds",
        "Anti-entropy exchanges that have ended",
        ConstCounter::new(gauges.rounds),
    );
    let mut bytes = |name: &str, help: &str, value: u64| {
        registry.register_with_unit(name, help, Unit::Bytes, ConstCounter::new(value));
    };
    bytes("received", "What members have sent", gauges.in_bytes);
    bytes("sent", "What was sent to members", gauges.out_bytes);
}

fn of_events(registry: &mut Registry, observer: &Observer) {
    let events = Family::<[(&str, &str); 1], Counter>::default();
    for (event, count) in observer.counts() {
        events.get_or_create(&[("event", event)]).inc_by(count);
    }
    registry.register("events", "Events by name, as the log and the API have them", events);
}
