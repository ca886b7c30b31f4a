//! What each type promises, as stories.

use super::world::*;
use crate::{Change, Effect, Entry, Kind, OpError, Read, Replica, Staged, Term, What};
use chinwag_base::limits::{BATCH_OPS_MAX, ELEMENT_BYTES_MAX, MAP_FIELDS_MAX, SET_ELEMENTS_MAX};
use chinwag_base::{Digest, Value};
use std::sync::Arc;

fn shown(world: &World, at: usize, k: &str) -> Option<String> {
    match world.replicas[at].get(&key(k))? {
        Read::Register { value, .. } => Some(value.as_text().unwrap().to_owned()),
        other => panic!("{other:?}"),
    }
}

fn total(world: &World, at: usize, k: &str) -> Option<i128> {
    match world.replicas[at].get(&key(k))? {
        Read::Counter(total) => Some(total),
        other => panic!("{other:?}"),
    }
}

fn what(world: &mut World, entry: &Arc<Entry>, to: usize) -> What {
    assert_eq!(world.replicas[to].stage_remote((**entry).clone(), NOON), Staged::New);
    let changes: Vec<Change> = world.replicas[to].commit();
    assert_eq!((changes.len(), changes[0].dot, changes[0].local), (1, Some(entry.dot), false));
    changes[0].what.clone()
}

#[test]
fn a_write_that_has_seen_another_replaces_it_whatever_the_clocks_say() {
    let mut world = World::new(2);
    world.ahead_ms[0] = 3_600_000;
    let first = world.write(0, set("k", "an hour ahead")).unwrap();
    assert!(first.hlc.ahead_ms(NOON).is_some());
    world.converge();
    let second = world.write(1, set("k", "later")).unwrap();
    assert!(second.hlc < first.hlc, "the local clock was not dragged along");
    world.converge();
    for at in 0..2 {
        assert_eq!(shown(&world, at, "k").as_deref(), Some("later"));
        assert!(
            matches!(world.replicas[at].get(&key("k")), Some(Read::Register { siblings, .. }) if siblings.len() == 1)
        );
    }
}

#[test]
fn concurrent_writes_all_survive_and_the_later_one_is_shown() {
    let mut world = World::new(2);
    let early = world.write(0, set("k", "early")).unwrap();
    let late = world.write(1, set("k", "late")).unwrap();
    let seen = what(&mut world, &late, 0);
    assert_eq!(seen, What::Set { value: value("late"), was: vec![], concurrent: true, shown: true });
    let seen = what(&mut world, &early, 1);
    assert_eq!(seen, What::Set { value: value("early"), was: vec![], concurrent: true, shown: false });
    let Some(Read::Register { value: shown, siblings }) = world.replicas[0].get(&key("k")) else { panic!() };
    assert_eq!(shown, value("late"));
    assert_eq!(siblings.iter().map(|s| s.dot).collect::<Vec<_>>(), [late.dot, early.dot]);
    // One write that has seen both ends it.
    let settled = world.write(0, set("k", "settled")).unwrap();
    let seen = what(&mut world, &settled, 1);
    let was = vec![value("early"), value("late")];
    assert_eq!(seen, What::Set { value: value("settled"), was, concurrent: false, shown: true });
}

#[test]
fn a_write_beats_a_concurrent_delete() {
    let mut world = World::new(2);
    world.ahead_ms[1] = 3_600_000;
    world.write(0, set("k", "old")).unwrap();
    world.converge();
    world.write(0, set("k", "new")).unwrap();
    let delete = world.write(1, delete("k", None)).unwrap();
    assert_eq!(world.replicas[1].get(&key("k")), None);
    assert_eq!(what(&mut world, &delete, 0), What::NoEffect);
    world.converge();
    for at in 0..2 {
        assert_eq!(shown(&world, at, "k").as_deref(), Some("new"));
    }
}

#[test]
fn deletes_leave_nothing() {
    let mut world = World::new(2);
    for i in 0..50 {
        world.write(0, set(&format!("app/{i}"), "x")).unwrap();
        world.write(0, add("things", &i.to_string())).unwrap();
    }
    for i in 0..50 {
        world.write(0, delete(&format!("app/{i}"), None)).unwrap();
    }
    world.write(0, delete("things", Some(Kind::Set))).unwrap();
    world.converge();
    for replica in &world.replicas {
        assert_eq!((replica.len(), replica.digest(), replica.doomed()), (0, Digest::EMPTY, 0));
        assert_eq!(replica.namespace_digests().count(), 0);
        assert_eq!(replica.keys().count(), 0);
    }
}

/// The trap in taking removed dots for applied ones: B removes A before A has come, and A had removed Z. If the clock
/// covered A already, A would be a duplicate, and Z would stay here for ever.
#[test]
fn what_a_doomed_entry_removes_is_removed() {
    let mut world = World::new(3);
    let z = world.write(0, set("k", "z")).unwrap();
    let a = world.write(0, set("k", "a")).unwrap();
    assert!(a.removed.contains(z.dot));
    world.deliver(&a, 1);
    let b = world.write(1, set("k", "b")).unwrap();
    assert!(b.removed.contains(a.dot) && !b.removed.contains(z.dot), "B's writer never saw Z");

    world.deliver(&z, 2);
    world.deliver(&b, 2);
    let Some(Read::Register { siblings, .. }) = world.replicas[2].get(&key("k")) else { panic!() };
    assert_eq!(siblings.len(), 2, "nothing that has come says that Z is replaced");
    assert!(!world.replicas[2].clock().covers(a.dot), "the clock does not cover what has not come");
    assert_eq!(world.replicas[2].doomed(), 1);

    let seen = what(&mut world, &a, 2);
    assert_eq!(seen, What::Deleted { kind: Kind::Register, was: vec![value("z")], survives: true });
    assert_eq!(world.replicas[2].doomed(), 0);
    world.converge();
    for at in 0..3 {
        assert_eq!(shown(&world, at, "k").as_deref(), Some("b"));
        assert_eq!(state(&world.replicas[at]), state(&world.replicas[0]));
    }
}

#[test]
fn a_doomed_entry_is_doomed_within_one_batch_too() {
    let mut world = World::new(1);
    let a = world.write(0, set("k", "a")).unwrap();
    let gone = world.write(0, delete("k", None)).unwrap();
    let mut replica = Replica::new(replica_id(7));
    assert_eq!(replica.stage_remote((*gone).clone(), NOON), Staged::New);
    assert_eq!(replica.stage_remote((*a).clone(), NOON), Staged::New);
    assert_eq!(replica.stage_remote((*a).clone(), NOON), Staged::Duplicate);
    // A local operation sees the key as it will be: not there.
    let error = replica.stage_local(&[delete("k", None)], NOON).unwrap_err();
    assert_eq!(error.to_string(), "there is no `k`");
    replica.stage_local(&[increment("k", 1)], NOON).unwrap();
    assert!(replica.get(&key("k")).is_none() && replica.clock().is_empty());
    let changes = replica.commit();
    let whats: Vec<What> = changes.into_iter().map(|change| change.what).collect();
    assert_eq!(whats, [What::NoEffect, What::NoEffect, What::Incremented { by: 1, total: 1 }]);
}

#[test]
fn add_wins() {
    let mut world = World::new(2);
    world.write(0, add("s", "apple")).unwrap();
    world.converge();
    let removed = world.write(0, remove("s", "apple")).unwrap();
    let again = world.write(1, add("s", "apple")).unwrap();
    assert_eq!(what(&mut world, &again, 0), What::Added { element: value("apple") });
    assert_eq!(what(&mut world, &removed, 1), What::NoEffect);
    for at in 0..2 {
        assert_eq!(world.replicas[at].get(&key("s")), Some(Read::Set(vec![value("apple")])));
    }
    let removed = world.write(0, remove("s", "apple")).unwrap();
    assert_eq!(what(&mut world, &removed, 1), What::Removed { element: value("apple") });
    assert_eq!(world.replicas[1].get(&key("s")), None);
}

#[test]
fn enable_wins() {
    let mut world = World::new(2);
    let what = |world: &mut World, entry: &Arc<Entry>, at: usize| {
        let replica = &mut world.replicas[at];
        replica.stage_remote((**entry).clone(), NOON);
        replica.commit()[0].what.clone()
    };
    let on = world.write(0, enable("f")).unwrap();
    assert_eq!(what(&mut world, &on, 1), What::Enabled);
    // One switches it off while the other confirms it.
    let off = world.write(0, disable("f")).unwrap();
    let again = world.write(1, enable("f")).unwrap();
    assert_eq!(what(&mut world, &again, 0), What::Enabled);
    assert_eq!(what(&mut world, &off, 1), What::NoEffect);
    world.replicas.iter().for_each(|replica| assert_eq!(replica.get(&key("f")), Some(Read::Flag)));
    // Both switch it off: nothing is left, not even a kind.
    let (one, other) = (world.write(0, disable("f")).unwrap(), world.write(1, disable("f")).unwrap());
    assert_eq!(what(&mut world, &one, 1), What::NoEffect);
    assert_eq!(what(&mut world, &other, 0), What::NoEffect);
    assert!(world.replicas.iter().all(|replica| replica.is_empty() && replica.state_bytes() == 0));
    assert_eq!(world.write(0, disable("f")), Err(OpError::NoSuchKey { key: key("f") }));
    world.write(0, set("f", "a register now")).unwrap();
    assert!(matches!(world.write(0, enable("f")), Err(OpError::WrongKind { .. })));
}

#[test]
fn a_map_merges_field_by_field() {
    let mut world = World::new(2);
    for op in
        [set("m.name", "ada"), add("m.tags", "a"), increment("m.visits", 2), set("m.address.city", "rome")]
    {
        world.write(0, op).unwrap();
    }
    world.converge();
    let Some(Read::Map(fields)) = world.replicas[1].get(&key("m")) else { panic!() };
    assert_eq!(fields.keys().collect::<Vec<_>>(), ["address", "name", "tags", "visits"]);
    assert_eq!(fields["visits"], Read::Counter(2));
    let Read::Map(address) = &fields["address"] else { panic!() };
    assert!(matches!(&address["city"], Read::Register { value, .. } if value.as_text() == Some("rome")));
    assert_eq!(world.replicas[1].kinds(&key("m")), [Kind::Map]);
    assert_eq!(world.replicas[1].len(), 1, "one key");
    let (one, other) = (world.replicas[0].version(&key("m")), world.replicas[1].version(&key("m")));
    assert!(one.is_some() && one == other);

    // A map is one kind, at every level.
    let wrong = |world: &mut World, op| match world.write(0, op) {
        Err(OpError::WrongKind { key, is, wanted }) => (key.to_string(), is, wanted),
        other => panic!("{other:?}"),
    };
    assert_eq!(wrong(&mut world, set("m", "x")), ("m".into(), Kind::Map, Kind::Register));
    assert_eq!(wrong(&mut world, set("m.name.first", "x")), ("m[name]".into(), Kind::Register, Kind::Map));
    assert_eq!(wrong(&mut world, add("m.address", "x")), ("m[address]".into(), Kind::Map, Kind::Set));
    assert_eq!(wrong(&mut world, increment("m.name", 1)), ("m[name]".into(), Kind::Register, Kind::Counter));

    // One deletes the map while the other writes a field that is there, one that is not, and counts on.
    world.write(0, delete("m", None)).unwrap();
    assert!(world.replicas[0].is_empty() && world.replicas[0].get(&key("m")).is_none());
    for op in [set("m.name", "bob"), set("m.new", "x"), increment("m.visits", 5)] {
        world.write(1, op).unwrap();
    }
    world.converge();
    for replica in &world.replicas {
        let Some(Read::Map(fields)) = replica.get(&key("m")) else { panic!() };
        assert_eq!(fields.keys().collect::<Vec<_>>(), ["name", "new", "visits"], "what was seen is gone");
        assert_eq!(fields["visits"], Read::Counter(5));
    }
    assert_ne!(world.replicas[0].version(&key("m")), one);
}

#[test]
fn a_register_with_fields_is_a_conflict_until_one_is_deleted() {
    let mut world = World::new(2);
    world.write(0, set("k", "plain")).unwrap();
    world.write(1, set("k.a", "1")).unwrap();
    world.write(1, set("k.b", "2")).unwrap();
    world.converge();
    assert_eq!(world.replicas[0].kinds(&key("k")), [Kind::Register, Kind::Map]);
    assert!(matches!(world.replicas[0].get(&key("k")), Some(Read::Conflict(reads)) if reads.len() == 2));
    assert!(matches!(world.write(0, delete("k", None)), Err(OpError::Conflict { .. })));
    assert!(matches!(world.write(0, set("k.c", "3")), Err(OpError::WrongKind { is: Kind::Register, .. })));
    world.write(0, delete("k", Some(Kind::Map))).unwrap();
    world.converge();
    assert!(world.replicas.iter().all(|replica| replica.kinds(&key("k")) == [Kind::Register]));
    assert!(matches!(world.write(0, delete("k", Some(Kind::Map))), Err(OpError::KindNotLive { .. })));
}

#[test]
fn a_map_has_a_bounded_number_of_fields_and_what_is_staged_counts() {
    let mut replica = Replica::new(replica_id(1));
    let fields: Vec<_> = (0..MAP_FIELDS_MAX).map(|n| set(&format!("m.f{n:04}"), "x")).collect();
    let (most, last) = fields.split_at(MAP_FIELDS_MAX - 1);
    replica.stage_local(most, NOON).unwrap();
    replica.commit();
    replica.stage_local(last, NOON).unwrap();
    assert_eq!(replica.stage_local(&[set("m.more", "x")], NOON), Err(OpError::MapFull { key: key("m") }));
    replica.stage_local(&[set("m.f0000", "again"), set("other.f", "x")], NOON).unwrap();
    replica.commit();
    assert_eq!(replica.len(), 2);
    let error = replica.stage_local(&[set("a", "1"), delete("m", None)], NOON).unwrap_err();
    assert_eq!(error.parts(), (1, OpError::BatchTooLong { len: MAP_FIELDS_MAX + 1 }));
    let dots = replica.stage_local(&[delete("m", None)], NOON).unwrap();
    assert_eq!(dots.len(), MAP_FIELDS_MAX);
    // What is staged to go is gone for the next in line.
    assert!(matches!(replica.stage_local(&[delete("m", None)], NOON), Err(OpError::NoSuchKey { .. })));
    replica.stage_local(&[set("m", "a register")], NOON).unwrap();
    replica.commit();
    assert_eq!((replica.kinds(&key("m")), replica.len()), (vec![Kind::Register], 2));
}

#[test]
fn a_map_that_grew_too_large_is_deleted_in_parts() {
    let mut world = World::new(2);
    for (at, name) in ["a", "b"].into_iter().enumerate() {
        let ops: Vec<_> = (0..700).map(|n| set(&format!("m.{name}{n}"), "x")).collect();
        world.replicas[at].stage_local(&ops, NOON).unwrap();
        world.entries.extend(world.replicas[at].staged().to_vec());
        world.replicas[at].commit();
    }
    world.converge();
    let replica = &mut world.replicas[0];
    let all = replica.stage_local(&[delete("m", None)], NOON);
    assert_eq!(all, Err(OpError::TooManyFields { key: key("m"), len: 1_400 }));
    let some: Vec<_> = (0..400).map(|n| delete(&format!("m.b{n}"), None)).collect();
    replica.stage_local(&some, NOON).unwrap();
    assert_eq!(replica.stage_local(&[delete("m", None)], NOON).unwrap().len(), 1_000);
    replica.commit();
    assert!(replica.is_empty());
}

/// What is shown under `k` of a replica, if it is a register.
fn at(world: &World, at: usize) -> Option<String> {
    shown(world, at, "k")
}

#[test]
fn what_is_lent_goes_from_sight_by_each_ones_clock_and_for_good_by_one_write() {
    let mut world = World::new(2);
    let entry = world.write(0, lend(Term::Ms(5_000), set("k", "lent"))).unwrap();
    assert!(world.deliver(&entry, 1));
    let until = NOON.plus_ms(5_001);
    assert_eq!(world.replicas[1].next_expiry(), Some(until));
    assert_eq!(world.replicas[1].leases_of(&key("k")), (Some(until), false));
    let digest = world.replicas[1].digest();
    world.replicas[1].pass_time(NOON.plus_ms(5_000));
    assert_eq!(at(&world, 1).as_deref(), Some("lent"));
    world.replicas[1].pass_time(until);
    assert_eq!((at(&world, 1), at(&world, 0).as_deref()), (None, Some("lent")), "clocks differ");
    assert_eq!((world.replicas[1].digest(), world.replicas[1].next_expiry()), (digest, None));
    assert!(world.replicas[1].kinds(&key("k")).is_empty() && world.replicas[1].keys().next().is_none());
    assert!(matches!(world.write(1, delete("k", None)), Err(OpError::NoSuchKey { .. })));

    let expired: Vec<_> = world.replicas[1].expired().map(|(key, dot, _)| (key.clone(), dot)).collect();
    assert_eq!(expired, [(key("k"), entry.dot)]);
    world.replicas[1].stage_expiry(&key("k"), entry.dot, until).unwrap().unwrap();
    assert_eq!(world.replicas[1].stage_expiry(&key("k"), entry.dot, until), Ok(None), "it is on its way");
    let gone = world.replicas[1].staged()[0].clone();
    world.replicas[1].commit();
    assert!(world.deliver(&gone, 0));
    assert!(world.replicas.iter().all(|replica| replica.is_empty() && replica.state_bytes() == 0));
    assert_eq!(world.replicas[1].expired().count(), 0);
}

#[test]
fn what_is_written_over_something_hidden_removes_it() {
    let mut world = World::new(2);
    let lent = world.write(0, lend(Term::Ms(10), enable("k"))).unwrap();
    world.deliver(&lent, 1);
    world.replicas[1].pass_time(NOON.plus_ms(60_000));
    // Nothing is shown, so a counter may be there; at the other, whose clock is behind, the flag is still on.
    let counted = world.write(1, increment("k", 3)).unwrap();
    assert!(counted.removed.contains(lent.dot));
    assert_eq!(world.replicas[0].get(&key("k")), Some(Read::Flag));
    world.deliver(&counted, 0);
    assert!(world.replicas.iter().all(|replica| replica.get(&key("k")) == Some(Read::Counter(3))));
    // To write again is to write for ever, or anew for a time.
    world.write(0, lend(Term::Ms(10), set("r", "lent"))).unwrap();
    world.write(0, set("r", "kept")).unwrap();
    assert_eq!(world.replicas[0].next_expiry(), None);
    for op in [increment("k", 1), delete("k", None), remove("k", "x")] {
        assert!(world.write(0, lend(Term::Life, op)).is_err());
    }
    assert_eq!(
        world.write(0, lend(Term::Life, increment("k", 1))),
        Err(OpError::NotForATime { key: key("k") })
    );
}

#[test]
fn what_is_lent_for_life_is_shown_while_its_writer_is_a_member() {
    let mut world = World::new(2);
    let entry = world.write(0, lend(Term::Life, set("k", "here"))).unwrap();
    let life = entry.dot.replica.generation;
    assert_eq!(at(&world, 0).as_deref(), Some("here"), "a writer is there for itself");
    world.deliver(&entry, 1);
    assert_eq!(at(&world, 1), None, "nobody has said that it is a member");
    world.replicas[1].set_present(entry.dot.replica.node, Some(life));
    assert_eq!(at(&world, 1).as_deref(), Some("here"));
    assert_eq!(world.replicas[1].leases_of(&key("k")), (None, true));
    world.replicas[1].set_present(entry.dot.replica.node, None);
    assert_eq!(at(&world, 1), None);
    let next = chinwag_base::Generation::new(life.get() + 1);
    world.replicas[1].set_present(entry.dot.replica.node, Some(next));
    assert_eq!(at(&world, 1), None, "another life of the same node");
    let own = entry.dot.replica.node;
    world.replicas[0].set_present(own, None);
    assert_eq!(at(&world, 0).as_deref(), Some("here"), "nobody talks us out of being here");
}

#[test]
fn deleting_a_set_takes_what_it_has_seen() {
    let mut world = World::new(2);
    world.write(0, add("s", "a")).unwrap();
    world.write(0, add("s", "b")).unwrap();
    world.converge();
    let cleared = world.write(0, delete("s", None)).unwrap();
    world.write(1, add("s", "c")).unwrap();
    let was = vec![value("a"), value("b")];
    assert_eq!(what(&mut world, &cleared, 1), What::Deleted { kind: Kind::Set, was, survives: true });
    world.converge();
    assert_eq!(world.replicas[0].get(&key("s")), Some(Read::Set(vec![value("c")])));
    assert_eq!(world.replicas[0].set_len(&key("s")), 1);
    assert!(world.replicas[0].contains(&key("s"), &value("c")));
    assert!(!world.replicas[0].contains(&key("s"), &value("a")));
    assert_eq!(world.replicas[0].set_len(&key("nothing")), 0);
}

#[test]
fn a_reset_takes_what_it_has_seen_and_counters_count_exactly() {
    let mut world = World::new(3);
    for at in 0..3 {
        world.write(at, increment("visits", 10)).unwrap();
    }
    world.write(0, increment("visits", -3)).unwrap();
    world.converge();
    assert_eq!(total(&world, 1, "visits"), Some(27));
    let reset = world.write(0, delete("visits", None)).unwrap();
    assert_eq!(world.replicas[0].get(&key("visits")), None);
    let late = world.write(1, increment("visits", 5)).unwrap();
    assert_eq!(what(&mut world, &reset, 1), What::Reset { taken: 27, total: 5 });
    assert_eq!(what(&mut world, &late, 0), What::Incremented { by: 5, total: 5 });
    world.write(0, increment("visits", i64::MAX)).unwrap();
    world.write(2, increment("visits", i64::MIN)).unwrap();
    world.converge();
    for at in 0..3 {
        assert_eq!(total(&world, at, "visits"), Some(4));
    }
}

#[test]
fn a_run_begins_anew_after_a_reset_and_old_news_of_it_changes_nothing() {
    let mut world = World::new(2);
    let old = world.write(0, increment("n", 7)).unwrap();
    let reset = world.write(0, delete("n", None)).unwrap();
    let new = world.write(0, increment("n", 2)).unwrap();
    assert!(matches!(new.effect, Effect::Count { run } if run.start == new.dot.counter && run.plus == 2));
    assert_eq!(what(&mut world, &new, 1), What::Incremented { by: 2, total: 2 });
    assert_eq!(what(&mut world, &old, 1), What::NoEffect);
    assert_eq!(what(&mut world, &reset, 1), What::NoEffect);
    assert_eq!(state(&world.replicas[0]), state(&world.replicas[1]));
}

#[test]
fn a_counter_refuses_to_overflow() {
    let mut replica = Replica::new(replica_id(1));
    for by in [i64::MAX, i64::MAX, 1] {
        replica.stage_local(&[increment("n", by)], NOON).unwrap();
    }
    let error = replica.stage_local(&[increment("n", 1)], NOON).unwrap_err();
    assert_eq!(error, OpError::Overflow { key: key("n") });
    // The other direction has room of its own.
    replica.stage_local(&[increment("n", i64::MIN)], NOON).unwrap();
    replica.commit();
    assert_eq!(replica.get(&key("n")), Some(Read::Counter(i128::from(u64::MAX) - (1 << 63))));
}

#[test]
fn another_type_is_an_error_here_and_a_conflict_from_elsewhere() {
    let mut world = World::new(2);
    world.write(0, increment("k", 4)).unwrap();
    let error = world.write(0, set("k", "x")).unwrap_err();
    assert_eq!(error.to_string(), "`k` is a counter, not a register");
    world.write(1, set("k", "x")).unwrap();
    world.converge();
    let Some(Read::Conflict(reads)) = world.replicas[0].get(&key("k")) else { panic!() };
    let kinds: Vec<Option<Kind>> = reads.iter().map(Read::kind).collect();
    assert_eq!(kinds, [Some(Kind::Register), Some(Kind::Counter)]);

    for op in [set("k", "y"), increment("k", 1), delete("k", None)] {
        let error = world.write(0, op).unwrap_err().to_string();
        assert_eq!(
            error,
            "`k` is in conflict: it was written concurrently as a register and a counter; delete all but one kind"
        );
    }
    let error = world.write(0, delete("k", Some(Kind::Set))).unwrap_err().to_string();
    assert_eq!(error, "`k` is a register and a counter, not a set");
    world.write(0, delete("k", Some(Kind::Counter))).unwrap();
    world.converge();
    assert_eq!(shown(&world, 1, "k").as_deref(), Some("x"));
    world.write(1, delete("k", Some(Kind::Register))).unwrap();
    // Nothing is live, so the key may become anything.
    world.write(1, add("k", "x")).unwrap();
    world.converge();
    assert_eq!(world.replicas[0].get(&key("k")), Some(Read::Set(vec![value("x")])));
}

#[test]
fn doing_nothing_is_an_error() {
    let mut world = World::new(1);
    assert_eq!(world.write(0, delete("k", None)).unwrap_err(), OpError::NoSuchKey { key: key("k") });
    let error = world.write(0, remove("k", "e\u{1b}")).unwrap_err();
    assert_eq!(error.to_string(), "`k` has no element \"e\\u{1b}\"");
    world.write(0, set("k", "x")).unwrap();
    let error = world.write(0, delete("k", Some(Kind::Set))).unwrap_err();
    assert_eq!(error.to_string(), "`k` is a register, not a set");
}

#[test]
fn sets_batches_and_elements_are_bounded() {
    let mut replica = Replica::new(replica_id(1));
    let ops: Vec<_> = (0..SET_ELEMENTS_MAX).map(|i| add("s", &format!("{i:05}"))).collect();
    assert_eq!(replica.stage_local(&ops, NOON), Err(OpError::BatchTooLong { len: SET_ELEMENTS_MAX }));
    for batch in ops.chunks(BATCH_OPS_MAX) {
        replica.stage_local(batch, NOON).unwrap();
        replica.commit();
    }
    assert_eq!(replica.stage_local(&[add("s", "more")], NOON), Err(OpError::SetFull { key: key("s") }));
    replica.stage_local(&[add("s", "00000")], NOON).expect("it is in there already");
    let long = Value::new(vec![0; ELEMENT_BYTES_MAX + 1]).unwrap();
    let op = crate::Op::Add { key: key("t"), element: long };
    let len = ELEMENT_BYTES_MAX + 1;
    assert_eq!(replica.stage_local(&[op], NOON), Err(OpError::ElementTooLong { key: key("t"), len }));
    // The largest set can be deleted in one entry.
    replica.stage_local(&[delete("s", None)], NOON).unwrap();
    replica.commit();
    assert_eq!((replica.len(), replica.digest()), (0, Digest::EMPTY));
}

#[test]
fn a_full_state_takes_what_only_removes() {
    let mut replica = Replica::new(replica_id(1));
    replica.set_state_bytes_max(2_000);
    let mut n = 0;
    let error = loop {
        match replica.stage_local(&[set(&format!("k{n}"), "x")], NOON) {
            Ok(_) => drop(replica.commit()),
            Err(error) => break error,
        }
        n += 1;
    };
    assert!(n > 0 && replica.state_bytes() <= 2_000 + 600, "{n} {}", replica.state_bytes());
    assert_eq!(error, OpError::StateFull { bytes: replica.state_bytes(), max: 2_000 });
    replica.stage_local(&[delete("k0", None)], NOON).unwrap();
    replica.commit();

    // Others' writes go on until twice as much is used, and then are refused too.
    let mut other = Replica::new(replica_id(2));
    for i in 0.. {
        other.stage_local(&[set(&format!("o{i}"), "x")], NOON).unwrap();
        let entry = (*other.staged()[0]).clone();
        other.commit();
        match replica.stage_remote(entry.clone(), NOON) {
            Staged::New => drop(replica.commit()),
            Staged::Refused(crate::Refusal::StateFull { .. }) => {
                assert!(i > 0 && !replica.clock().covers(entry.dot));
                break;
            }
            odd => panic!("{odd:?}"),
        }
    }
    assert!(replica.state_bytes() <= 4_000 + 600);
}

#[test]
fn staged_writes_are_invisible_and_aborted_dots_are_used_again() {
    let mut replica = Replica::new(replica_id(1));
    let before = state(&replica);
    let dots = replica.stage_local(&[set("a", "1"), set("a", "2"), increment("n", 1)], NOON).unwrap();
    assert_eq!(dots.iter().map(|dot| dot.counter).collect::<Vec<_>>(), [1, 2, 3]);
    let staged: Vec<_> = replica.staged().iter().map(|entry| entry.dot).collect();
    assert_eq!(staged, dots);
    assert_eq!(replica.staged_bytes(), replica.staged().iter().map(|entry| entry.weight()).sum::<usize>());
    assert_eq!(state(&replica), before);
    replica.abort();
    assert!(replica.commit().is_empty());
    assert_eq!(state(&replica), before);
    assert_eq!(replica.stage_local(&[set("b", "1")], NOON).unwrap(), [dots[0]]);
    assert_eq!(replica.commit().len(), 1);
    assert_eq!(replica.clock().base(replica.me()), 1);
}

#[test]
fn keys_are_sorted_and_found_by_prefix() {
    let mut replica = Replica::new(replica_id(1));
    let ops = ["b", "app/z", "app/a", "apple", "app0", "z"].map(|k| set(k, "x"));
    replica.stage_local(&ops, NOON).unwrap();
    replica.stage_local(&[delete("app0", None)], NOON).unwrap();
    replica.commit();
    let keys = |prefix: &str| -> Vec<String> {
        replica.keys_with_prefix(prefix).map(|key| key.to_string()).collect()
    };
    assert_eq!(keys("app/"), ["app/a", "app/z"]);
    assert_eq!(keys("app"), ["app/a", "app/z", "apple"]);
    assert_eq!(keys(""), replica.keys().map(|key| key.to_string()).collect::<Vec<_>>());
    assert!(keys("\n").is_empty() && keys(&"x".repeat(600)).is_empty() && keys("zz").is_empty());
    let after = |prefix: &str, after: &str| -> Vec<String> {
        replica.keys_after(prefix, after).map(|key| key.to_string()).collect()
    };
    assert_eq!(after("app", "app/a"), ["app/z", "apple"]);
    assert_eq!(after("app", "app/b"), ["app/z", "apple"], "it need not be there");
    assert_eq!(after("app", "aa"), ["app/a", "app/z", "apple"]);
    assert_eq!(after("app", "\n"), ["app/a", "app/z", "apple"], "nor be a key");
    assert_eq!(after("app", "apple"), [""; 0]);
    assert_eq!(after("app", "b"), [""; 0]);
    assert_eq!(after("", "b"), ["z"]);
    let namespaces: Vec<&str> = replica.namespace_digests().map(|(name, _)| name).collect();
    assert_eq!(namespaces, ["", "app"]);
}

#[test]
fn the_digest_tells_states_apart() {
    let digest = |ops: &[crate::Op]| {
        let mut replica = Replica::new(replica_id(1));
        replica.stage_local(ops, NOON).unwrap();
        replica.commit();
        replica.digest()
    };
    let ops =
        [set("a", "b"), set("ab", ""), set("a", "c"), add("a", "b"), increment("a", 1), increment("a", 2)];
    let mut digests: Vec<Digest> = ops.iter().map(|op| digest(std::slice::from_ref(op))).collect();
    digests.push(digest(&[increment("a", 1), increment("a", 0)]));
    assert_eq!(digest(&[increment("a", 1), delete("a", None)]), Digest::EMPTY, "nobody sees a floor");
    digests.push(Digest::EMPTY);
    let count = digests.len();
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), count);
}

/// A batch that fails in the middle takes back its own writes, and not those staged before it under the same keys.
#[test]
fn a_failed_batch_leaves_what_was_staged_before_it() {
    let mut replica = Replica::new(replica_id(1));
    let first = replica.stage_local(&[add("s", "a"), increment("n", 1)], NOON).unwrap();
    let spoiled = [remove("s", "a"), increment("n", 5), add("s", "b"), remove("s", "never there")];
    let (index, error) = replica.stage_local(&spoiled, NOON).unwrap_err().parts();
    assert!(matches!(error, OpError::NoSuchElement { .. }), "{error:?}");
    assert_eq!(index, spoiled.len() - 1, "it is told which one spoils the others");
    let then = replica.stage_local(&[remove("s", "a"), increment("n", 2)], NOON).unwrap();
    let counters: Vec<u64> = first.iter().chain(&then).map(|dot| dot.counter).collect();
    assert_eq!(counters, [1, 2, 3, 4], "the dots of the failed batch are used again");
    replica.commit();
    assert_eq!(replica.get(&key("s")), None);
    assert_eq!(replica.get(&key("n")), Some(Read::Counter(3)));
}

#[test]
fn a_key_takes_as_much_room_as_it_is_long() {
    let room = |name: &str| {
        let mut world = World::new(1);
        world.write(0, set(name, "v")).unwrap();
        let taken = world.replicas[0].state_bytes();
        world.write(0, delete(name, None)).unwrap();
        assert_eq!(world.replicas[0].state_bytes(), 0, "and gives it back");
        taken
    };
    assert_eq!(room(&"k".repeat(500)) - room("k"), 499);
}
