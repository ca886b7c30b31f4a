//! Forged records, jumps, ghosts, names taken twice, and frames of nonsense.

use crate::harness::{Network, identity, keypair, overlay, root, s};
use crate::*;
use chinwag_base::{
    Digest, Generation, Grant, GrantError, Incarnation, Keypair, Moment, NodeId, OverlayId, Role, WallTime,
};
use proptest::prelude::*;
use std::sync::Arc;

fn grant(n: usize) -> Grant {
    identity(n, 1).grant
}

fn statement(n: usize, generation: u64, incarnation: u64) -> Statement {
    let me = identity(n, generation);
    Statement {
        overlay: overlay(),
        id: me.keypair.id(),
        generation: me.generation,
        incarnation: Incarnation::new(incarnation),
        standing: Standing::Alive,
        name: me.name,
        addresses: me.addresses,
        tags: me.tags,
        stall_mean_ms: 300,
        protocols: (1, 1),
    }
}

fn record(n: usize, generation: u64, incarnation: u64) -> Record {
    Record::sign_statement(&keypair(n), grant(n), statement(n, generation, incarnation))
}

fn tell(network: &mut Network, to: usize, update: Update) {
    let from = network.id(0);
    network.input(to, Input::Message { from, message: Message::News(vec![update]) });
}

/// What node 1 says to a record that node 0 passes on.
fn refusal(network: &mut Network, record: Record) -> Option<RecordError> {
    network.events.clear();
    tell(network, 1, Update::Record(Arc::new(record)));
    network.events.iter().find_map(|(_, n, e)| match e {
        Event::RecordRefused { why, .. } if *n == 1 => Some(*why),
        _ => None,
    })
}

#[test]
fn only_a_members_own_words_are_believed() {
    let mut network = Network::grown(Profile::Lan, 1, 3, s(5));
    let signed_by_another = Record::sign_statement(&keypair(0), grant(2), statement(2, 1, 9));
    assert_eq!(refusal(&mut network, signed_by_another), Some(RecordError::Forged));
    let borrowed = Record::sign_statement(&keypair(9), grant(2), statement(9, 1, 1));
    assert_eq!(refusal(&mut network, borrowed), Some(RecordError::Grant(GrantError::Borrowed)));

    let stranger = Keypair::from_secret([3; 32]);
    let foreign = Grant::by_root(&stranger, keypair(9).id(), Role::Member, WallTime::from_unix_ms(1));
    let self_made = Record::sign_statement(&keypair(9), foreign.clone(), statement(9, 1, 1));
    assert_eq!(refusal(&mut network, self_made), Some(RecordError::Grant(GrantError::Foreign)));
    let elsewhere = Statement { overlay: OverlayId::of_root(&stranger.id()), ..statement(9, 1, 1) };
    let elsewhere = Record::sign_statement(&keypair(9), foreign, elsewhere);
    assert_eq!(refusal(&mut network, elsewhere), Some(RecordError::Foreign));

    let farewell = Statement { standing: Standing::Left, ..statement(2, 1, 9) };
    let retired = Record::sign_statement(&keypair(0), grant(2), farewell);
    assert_eq!(refusal(&mut network, retired), Some(RecordError::Forged));
    assert_eq!(network.state(1, 2), Some(State::Alive));
    assert!(network.is_complete());
    assert_eq!(refusal(&mut network, record(9, 1, 1)), None, "what is right is believed");
}

#[test]
fn incarnations_rise_by_bounded_steps() {
    let mut network = Network::grown(Profile::Lan, 1, 3, s(5));
    assert_eq!(refusal(&mut network, record(2, 1, 1 << 20)), Some(RecordError::Jump));
    assert_eq!(refusal(&mut network, record(9, 1, u64::MAX)), Some(RecordError::Jump));
    // An accusation of an incarnation that the accused never had does not drive it there.
    let claim = Claim {
        id: network.id(1),
        generation: Generation::new(1),
        incarnation: Incarnation::new(u64::MAX),
        verdict: Verdict::Down,
        by: network.id(0),
        phi_tenths: 80,
    };
    tell(&mut network, 1, Update::Claim(claim));
    assert!(network.belief(1, 1).unwrap().incarnation.get() < 100);
}

#[test]
fn a_false_accusation_is_refuted_everywhere() {
    let mut network = Network::grown(Profile::Lan, 1, 5, s(5));
    let claim = |network: &Network, incarnation| Claim {
        id: network.id(2),
        generation: Generation::new(1),
        incarnation: Incarnation::new(incarnation),
        verdict: Verdict::Down,
        by: network.id(0),
        phi_tenths: 80,
    };
    let update = Update::Claim(claim(&network, network.belief(1, 2).unwrap().incarnation.get()));
    (1..5).for_each(|n| tell(&mut network, n, update.clone()));
    network.run(s(1));
    assert!(network.is_complete(), "{}", network.describe());
    assert!((0..5).all(|n| network.belief(n, 2).unwrap().incarnation.get() > 1));
}

#[test]
fn ghosts_do_not_return() {
    let mut network = Network::new(Profile::Lan, 1);
    network.config.retention = s(600);
    let mut network = network.grow(4, s(5));
    let old = network.nodes[3].membership.record().clone();
    network.kill(3);
    network.run(s(5));
    assert_eq!(network.state(1, 3), Some(State::Down));
    network.run(s(620));
    assert_eq!(network.state(1, 3), None, "reaped");
    assert!(network.events.iter().any(|(_, n, e)| *n == 1 && matches!(e, Event::Reaped { .. })));
    tell(&mut network, 1, Update::Record(old));
    network.run(s(5));
    assert_eq!(network.state(1, 3), None, "an old record of it is a ghost");
    network.restart(3, 3);
    network.run(s(5));
    assert_eq!(network.state(1, 3), Some(State::Alive), "a real return has a new generation");
}

#[test]
fn news_of_the_dead_is_nothing_to_strangers() {
    let mut network = Network::grown(Profile::Lan, 1, 3, s(5));
    let left = Statement { standing: Standing::Left, ..statement(9, 1, 1) };
    tell(&mut network, 1, Update::Record(Arc::new(Record::sign_statement(&keypair(9), grant(9), left))));
    let version =
        Version { generation: Generation::new(1), incarnation: Incarnation::new(1), state: State::Down };
    tell(&mut network, 1, Update::Brief(Brief { id: keypair(9).id(), version }));
    network.run(s(2));
    assert!(network.nodes[1].membership.member(network.now, &keypair(9).id()).is_none());
}

#[test]
fn a_name_taken_twice_is_shown_and_both_are_kept() {
    let mut network = Network::grown(Profile::Lan, 1, 3, s(5));
    let twin = Statement { name: "node-2".parse().unwrap(), ..statement(9, 1, 1) };
    tell(&mut network, 1, Update::Record(Arc::new(Record::sign_statement(&keypair(9), grant(9), twin))));
    assert!(network.events.iter().any(|(_, n, e)| *n == 1 && matches!(e, Event::NameConflict { .. })));
    assert!(network.belief(1, 2).unwrap().name_conflict);
    assert!(!network.belief(1, 0).unwrap().name_conflict);
}

#[test]
fn a_second_life_under_our_key_is_an_error() {
    let mut network = Network::grown(Profile::Lan, 1, 3, s(5));
    tell(&mut network, 1, Update::Record(Arc::new(record(1, 7, 1))));
    let generation = Generation::new(7);
    assert!(network.events.iter().any(|(_, n, e)| *n == 1 && *e == Event::Conflict { generation }));
}

#[test]
fn estimated_weights_bound_what_is_encoded() {
    let root = root();
    let admin = keypair(1);
    let own = Grant::by_root(&root, admin.id(), Role::Admin, WallTime::from_unix_ms(u64::MAX));
    let longest =
        Grant::by_admin(&admin, &own, keypair(2).id(), Role::Member, WallTime::from_unix_ms(u64::MAX))
            .unwrap();
    let word = "w".repeat(64);
    let statement = Statement {
        name: "n".repeat(63).parse().unwrap(),
        addresses: vec!["/ip6/2001:db8:ffff:ffff:ffff:ffff:ffff:ffff/udp/65535/quic-v1".parse().unwrap(); 16],
        tags: (0..4).map(|n| (format!("{n}{}", &word[1..]), word.clone())).collect(),
        stall_mean_ms: u32::MAX,
        protocols: (0, u16::MAX),
        ..statement(2, u64::MAX, INCARNATION_MAX)
    };
    let record = Arc::new(Record::sign_statement(&keypair(2), longest, statement));
    let version = Version { state: State::Left, ..record.version() };
    let id = record.id();
    let claim = Claim {
        id,
        generation: version.generation,
        incarnation: Incarnation::new(u64::MAX),
        verdict: Verdict::Down,
        by: id,
        phi_tenths: u16::MAX,
    };
    let news =
        vec![Update::Record(record.clone()), Update::Claim(claim), Update::Brief(Brief { id, version })];
    let digest = Digest::of("t", b"t");
    let (sequence, nonce) = (u64::MAX, u64::MAX);
    for message in [
        Message::Ping(Ping {
            sequence,
            purpose: Purpose::Check,
            belief: Some(version),
            digest,
            news: news.clone(),
        }),
        Message::Ack(Ack {
            sequence,
            next_ms: Some(u32::MAX),
            belief: Some(version),
            digest,
            news: news.clone(),
        }),
        Message::Verify(Verify { subject: id, nonce }),
        Message::Finding(Finding { subject: id, nonce, found: Found::Refused }),
        Message::News(news),
        Message::Want(vec![id; 300]),
        Message::Hello(Hello { record, digest, newcomer: true }),
        Message::Summary(Summary { bits: 3, parts: vec![u64::MAX; 8] }),
        Message::Parts(Parts {
            bits: 10,
            parts: vec![1_000; 300],
            members: vec![Brief { id, version }; 300],
        }),
    ] {
        let bytes = chinwag_base::codec::encode(&message);
        assert!(bytes.len() <= message.weight(), "{} > {}: {message:?}", bytes.len(), message.weight());
        let decoded: Message = chinwag_base::codec::decode::<{ 1 << 20 }, _>(&bytes).unwrap();
        assert_eq!(decoded, message);
    }
}

#[test]
fn a_record_with_what_is_no_tag_is_refused() {
    let signed = |tags: &[(&str, &str)]| {
        let honest = record(1, 1, 1);
        let tags = tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let statement = Statement { tags, ..honest.statement().clone() };
        Record::sign_statement(&keypair(1), honest.grant().clone(), statement).verify(overlay())
    };
    assert_eq!(signed(&[("role", "db")]), Ok(()));
    for tag in [("x", "1 role=db"), ("a b", "c"), ("", "c"), ("x", "\u{1b}[2J"), ("x", &"w".repeat(65))] {
        assert_eq!(signed(&[tag]), Err(RecordError::Tags), "{tag:?}");
    }
}

#[test]
fn a_record_of_a_common_member_fits_a_probe_frame_twice() {
    assert!(2 * record(1, 1 << 60, 5).weight() < 1_000, "{}", record(1, 1 << 60, 5).weight());
}

/// Ids: mostly of members, ourselves included.
fn any_id() -> impl Strategy<Value = NodeId> {
    (0usize..6).prop_map(|n| if n == 5 { NodeId::from_bytes([9; 32]) } else { keypair(n).id() })
}

fn any_version() -> impl Strategy<Value = Version> {
    (prop_oneof![0u64..4, any::<u64>()], prop_oneof![0u64..9, any::<u64>()], 0usize..4).prop_map(
        |(g, i, s)| Version {
            generation: Generation::new(g),
            incarnation: Incarnation::new(i),
            state: [State::Alive, State::Suspect, State::Down, State::Left][s],
        },
    )
}

fn any_update() -> impl Strategy<Value = Update> {
    prop_oneof![
        (0usize..6, any_version(), any::<u32>(), 0usize..6).prop_map(|(n, v, stall, signer)| {
            let statement = Statement {
                incarnation: v.incarnation,
                standing: if v.state == State::Left { Standing::Left } else { Standing::Alive },
                stall_mean_ms: stall,
                ..statement(n, v.generation.get(), 0)
            };
            // Half of them are rightly signed.
            let signer = if signer < 3 { n } else { signer };
            Update::Record(Arc::new(Record::sign_statement(&keypair(signer), grant(n), statement)))
        }),
        (any_id(), any_version()).prop_map(|(id, version)| Update::Brief(Brief { id, version })),
        (any_id(), any_version(), any_id(), any::<u16>()).prop_map(|(id, v, by, phi_tenths)| Update::Claim(
            Claim {
                id,
                generation: v.generation,
                incarnation: v.incarnation,
                verdict: if v.state == State::Down { Verdict::Down } else { Verdict::Suspect },
                by,
                phi_tenths,
            }
        )),
    ]
}

fn any_message() -> impl Strategy<Value = Message> {
    let news = || prop::collection::vec(any_update(), 0..4);
    let digest = || any::<u8>().prop_map(|n| Digest::of("t", &[n]));
    let belief = || prop::option::of(any_version());
    let found = (0usize..3).prop_map(|n| [Found::Life, Found::Silent, Found::Refused][n]);
    prop_oneof![
        (any::<u64>(), any::<bool>(), belief(), digest(), news()).prop_map(
            |(sequence, turn, belief, digest, news)| {
                let purpose = if turn { Purpose::Observe } else { Purpose::Check };
                Message::Ping(Ping { sequence, purpose, belief, digest, news })
            }
        ),
        (0u64..40, any::<Option<u32>>(), belief(), digest(), news()).prop_map(
            |(sequence, next_ms, belief, digest, news)| Message::Ack(Ack {
                sequence,
                next_ms,
                belief,
                digest,
                news
            })
        ),
        (any_id(), any::<u64>()).prop_map(|(subject, nonce)| Message::Verify(Verify { subject, nonce })),
        (any_id(), any::<u64>(), found).prop_map(|(subject, nonce, found)| Message::Finding(Finding {
            subject,
            nonce,
            found
        })),
        news().prop_map(Message::News),
        prop::collection::vec(any_id(), 0..9).prop_map(Message::Want),
        (any_update(), digest(), any::<bool>()).prop_filter_map("a record", |(update, digest, newcomer)| {
            match update {
                Update::Record(record) => Some(Message::Hello(Hello { record, digest, newcomer })),
                _ => None,
            }
        }),
        (any::<u8>(), prop::collection::vec(any::<u64>(), 0..9))
            .prop_map(|(bits, parts)| Message::Summary(Summary { bits, parts })),
        (0u8..4).prop_map(|bits| Message::Summary(Summary { bits, parts: vec![1; 1 << bits] })),
        (
            0u8..20,
            prop::collection::vec(any::<u16>(), 0..3),
            prop::collection::vec((any_id(), any_version()), 0..9)
        )
            .prop_map(|(bits, parts, members)| Message::Parts(Parts {
                bits,
                parts,
                members: members.into_iter().map(|(id, version)| Brief { id, version }).collect(),
            })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_frame_makes_a_membership_panic_or_lose_itself(
        frames in prop::collection::vec((any_id(), any_message(), 0u64..3_000), 1..40)
    ) {
        let me = identity(0, 2);
        let id = me.keypair.id();
        let mut now = Moment::from_millis(1);
        let mut membership = Membership::new(Config::new(overlay()), me, Recovered::default(), 1, now);
        for (from, message, wait) in frames {
            if from != id {
                membership.handle(now, Input::Connected { peer: from });
            }
            membership.handle(now, Input::Message { from, message });
            now += std::time::Duration::from_millis(wait);
            while membership.next_deadline().is_some_and(|at| at <= now) {
                let at = membership.next_deadline().unwrap();
                membership.handle(at, Input::Tick);
                while membership.poll_output().is_some() {}
            }
        }
        let own = membership.member(now, &id).unwrap();
        prop_assert_eq!(own.state, State::Alive);
        prop_assert!(own.incarnation.get() <= INCARNATION_MAX);
        prop_assert!(membership.members(now).all(|m| m.phi.is_finite()));
    }
}
