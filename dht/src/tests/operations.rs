//! Puts and gets: round trips, quorums, hung owners, concurrent writers.

use super::world::*;
use crate::testing::node;
use crate::{Ask, AskError, BlobHash, CellError, Edit, Event, Id, Outcome, RecordKey, Refusal, Verdict};
use std::collections::BTreeSet;
use std::time::Duration;

const ROUND_TRIP: Duration = Duration::from_millis(50);

fn blob(bytes: &[u8]) -> Ask {
    Ask::PutBlob { bytes: bytes.into(), expires: None, quorum: None }
}

/// A member that does not own the key, and the owners.
fn outsider(world: &World, key: &RecordKey) -> (u8, Vec<u8>) {
    let owners = world.machines[&node(1)].dht.owners_of(key);
    let number = |id| (1..=world.machines.len() as u8).find(|n| node(*n) == id).unwrap();
    let owners: Vec<u8> = owners.into_iter().map(number).collect();
    let outsider = (1..=world.machines.len() as u8).find(|n| !owners.contains(n)).unwrap();
    (outsider, owners)
}

#[test]
fn a_put_and_a_get_take_one_round_trip_whoever_asks() {
    for nodes in [3, 16, 64] {
        let mut world = World::of(nodes);
        for n in 1..=nodes.min(20) {
            let key = format!("key/{n}");
            let (reply, took) = world.put(n, &key, "hello");
            assert!(
                matches!(reply.result, Ok(Outcome::Stored { holders, owners, .. }) if holders > owners / 2)
            );
            assert!(took <= ROUND_TRIP + 3 * DISK, "{nodes} nodes: a put took {took:?}");
            let (reply, took) = world.asked(nodes + 1 - n, get(&key));
            assert_eq!(values(&reply), ["hello"]);
            assert!(took <= ROUND_TRIP + DISK, "{nodes} nodes: a get took {took:?}");
        }
    }
}

#[test]
fn one_node_alone_keeps_records_too() {
    let mut world = World::of(1);
    assert_eq!(world.get(1, "k"), [""; 0]);
    assert!(world.put(1, "k", "hello").0.result.is_ok());
    assert_eq!(world.get(1, "k"), ["hello"]);
}

#[test]
fn a_put_replaces_what_was_there_even_if_it_had_not_seen_it() {
    let mut world = World::of(16);
    let (stranger, owners) = outsider(&world, &cell("k"));
    world.put(owners[0], "k", "one");
    // An outsider has not seen it: two round trips, and then it has.
    let (_, took) = world.put(stranger, "k", "two");
    assert!(took > ROUND_TRIP && took <= 2 * ROUND_TRIP + 5 * DISK, "{took:?}");
    assert_eq!(world.get(owners[1], "k"), ["two"]);
    let (_, took) = world.put(stranger, "k", "three");
    assert!(took <= ROUND_TRIP + 3 * DISK, "{took:?}");
    assert_eq!(world.get(owners[2], "k"), ["three"]);
}

#[test]
fn concurrent_puts_are_all_kept_until_one_has_seen_them() {
    let mut world = World::of(16);
    let requests: Vec<_> = (1..=4).map(|n| world.ask(n, put("k", &format!("from {n}")))).collect();
    world.run(ms(1_000));
    for request in requests {
        assert!(world.answered(request).unwrap().result.is_ok());
    }
    let seen: BTreeSet<String> = world.get(9, "k").into_iter().collect();
    assert_eq!(seen.len(), 4, "{seen:?}");
    world.put(9, "k", "resolved");
    assert_eq!(world.get(3, "k"), ["resolved"]);
}

#[test]
fn sets_grow_and_shrink_from_everywhere() {
    let mut world = World::of(16);
    let requests: Vec<_> =
        (1..=6).map(|n| world.ask(n, edit("fruit", Edit::Add(value(&format!("fruit {n}")))))).collect();
    world.run(ms(500));
    assert!(requests.into_iter().all(|request| world.answered(request).unwrap().result.is_ok()));
    assert_eq!(world.get(7, "fruit").len(), 6);
    let (reply, _) = world.asked(8, edit("fruit", Edit::Remove(value("fruit 3"))));
    assert!(reply.result.is_ok());
    let left = world.get(9, "fruit");
    assert_eq!(left.len(), 5);
    assert!(!left.contains(&"fruit 3".to_owned()));
    let (reply, _) = world.asked(8, edit("fruit", Edit::Remove(value("fruit 3"))));
    assert_eq!(reply.result, Err(AskError::Cell(CellError::NoSuchElement)));
}

#[test]
fn a_delete_is_seen_and_deleting_nothing_is_an_honest_no() {
    let mut world = World::of(16);
    world.put(1, "k", "hello");
    assert!(world.asked(2, edit("k", Edit::Delete)).0.result.is_ok());
    assert_eq!(world.get(3, "k"), [""; 0]);
    let (reply, _) = world.asked(4, edit("k", Edit::Delete));
    assert_eq!(reply.result, Err(AskError::Cell(CellError::NoSuchRecord)));
    let (reply, _) = world.asked(4, edit("never", Edit::Delete));
    assert_eq!(reply.result, Err(AskError::Cell(CellError::NoSuchRecord)));
    world.put(5, "k", "again");
    assert_eq!(world.get(6, "k"), ["again"]);
}

#[test]
fn a_hung_owner_costs_nothing_where_the_others_are_a_quorum() {
    let mut world = World::of(32);
    let (stranger, owners) = outsider(&world, &cell("k"));
    world.machines.get_mut(&node(owners[1])).unwrap().hung = true;
    let (_, took) = world.put(stranger, "k", "hello");
    assert!(took <= ROUND_TRIP + 3 * DISK, "from the first operation: {took:?}");
    let (reply, took) = world.asked(stranger, get("k"));
    assert_eq!(values(&reply), ["hello"]);
    assert!(took <= ROUND_TRIP + DISK, "{took:?}");
}

#[test]
fn a_majority_of_hung_owners_costs_an_rto_and_stand_ins_take_their_place() {
    let mut world = World::of(32);
    let (stranger, owners) = outsider(&world, &cell("k"));
    for owner in &owners[..3] {
        world.machines.get_mut(&node(*owner)).unwrap().hung = true;
    }
    let (reply, took) = world.put(stranger, "k", "hello");
    assert!(reply.result.is_ok(), "{reply:?}");
    assert!(took <= 5 * ROUND_TRIP, "{took:?}");
    let late = reply.trace.iter().filter(|asked| asked.verdict == Verdict::Late).count();
    let stand_ins = reply.trace.iter().filter(|asked| asked.rank >= 5).count();
    assert!(late == 3 && stand_ins >= 1, "{:?}", reply.trace);
    assert_eq!(world.get(owners[4], "k"), ["hello"]);
    // They wake up: everything comes to where it belongs, and the stand-ins let go.
    for owner in &owners[..3] {
        world.machines.get_mut(&node(*owner)).unwrap().hung = false;
    }
    world.run(ms(200_000));
    let expected: BTreeSet<_> = owners.iter().map(|n| node(*n)).collect();
    assert_eq!(world.holders(&cell("k")), expected);
    assert!(world.owners_agree(&cell("k")));
}

/// Owners that are late hold the record; those beside them were never sent it.
#[test]
fn stand_ins_that_hold_nothing_do_not_outvote_owners_that_are_late() {
    let mut world = World::of(32);
    let (stranger, owners) = outsider(&world, &cell("k"));
    world.put(owners[0], "k", "hello");
    world.run(ms(200));
    for all in [&owners[..], &owners[..3]] {
        for owner in all {
            world.machines.get_mut(&node(*owner)).unwrap().hung = true;
        }
        let request = world.ask(stranger, get("k"));
        world.run(ms(1_500));
        assert_eq!(world.answered(request), None, "nobody who could know has said anything");
        for owner in all {
            world.machines.get_mut(&node(*owner)).unwrap().hung = false;
        }
        world.run(ms(500));
        assert_eq!(values(&world.answered(request).unwrap()), ["hello"]);
    }
}

#[test]
fn a_blob_goes_in_and_comes_out_and_a_hung_holder_is_passed_by() {
    let mut world = World::of(16);
    let bytes = vec![7; 200_000];
    let key = RecordKey::Blob(BlobHash::of(&bytes));
    let (stranger, owners) = outsider(&world, &key);
    assert!(world.asked(stranger, blob(&bytes)).0.result.is_ok());
    world.run(ms(200));
    let ask = || Ask::Get { key: key.clone(), quorum: None };
    let (reply, took) = world.asked(stranger, ask());
    assert_eq!(values(&reply), ["200000 bytes"]);
    assert_eq!(reply.trace.len(), 1, "one holder is enough: {:?}", reply.trace);
    assert!(took <= ROUND_TRIP + 2 * DISK, "{took:?}");
    for owner in &owners[..4] {
        world.machines.get_mut(&node(*owner)).unwrap().hung = true;
    }
    let (reply, took) = world.asked(stranger, ask());
    assert_eq!(values(&reply), ["200000 bytes"]);
    assert!(took < ms(1_000), "four of five hung: {took:?}");
    let missing = Ask::Get { key: RecordKey::Blob(BlobHash::of(b"nothing")), quorum: None };
    let (reply, _) = world.asked(owners[4], missing);
    assert!(reply.result.is_err() || values(&reply).is_empty());
}

#[test]
fn a_member_that_was_out_of_reach_is_asked_when_it_is_here() {
    let mut world = World::of(3);
    let bytes = vec![5; 1_000];
    let key = RecordKey::Blob(BlobHash::of(&bytes));
    world.asked(1, blob(&bytes));
    world.run(ms(200));
    // Node 3 has just started: its own copy is damaged, and it has no connections yet.
    let disk = &mut world.machines.get_mut(&node(3)).unwrap().disk;
    disk.blobs.insert(key.id(), vec![0; 1_000].into());
    world.link(3, 1, false);
    world.link(3, 2, false);
    let request = world.ask(3, Ask::Get { key, quorum: None });
    world.run(ms(300));
    assert_eq!(world.answered(request), None);
    world.link(3, 2, true);
    world.run(ms(200));
    assert_eq!(values(&world.answered(request).unwrap()), ["1000 bytes"]);
}

#[test]
fn a_read_repairs_the_owners_that_hold_less() {
    let mut world = World::of(5);
    world.put(1, "k", "one");
    world.run(ms(100));
    // One owner's disk and memory lose it, as if it had been away.
    let id = cell("k").id();
    world.kill(3);
    world.disks_of_the_dead.get_mut(&node(3)).unwrap().index.remove(&id);
    world.restart(3);
    assert_eq!(world.get(1, "k"), ["one"]);
    world.run(ms(200));
    assert!(world.owners_agree(&cell("k")));
    assert!(world.events.iter().any(|(_, event)| matches!(event, Event::ReadRepaired { owners: 1, .. })));
}

#[test]
fn a_damaged_blob_is_noticed_told_and_repaired() {
    let mut world = World::of(5);
    let bytes = vec![9; 1_000];
    let key = RecordKey::Blob(BlobHash::of(&bytes));
    world.asked(1, blob(&bytes));
    world.run(ms(200));
    let flip = |world: &mut World, n: u8| {
        let disk = &mut world.machines.get_mut(&node(n)).unwrap().disk;
        let mut damaged = disk.blobs[&key.id()].to_vec();
        damaged[500] ^= 1;
        disk.blobs.insert(key.id(), damaged.into());
    };
    // A read through the damaged owner notices, and is answered all the same.
    flip(&mut world, 2);
    let (reply, _) = world.asked(2, Ask::Get { key: key.clone(), quorum: None });
    assert_eq!(values(&reply), ["1000 bytes"]);
    world.run(ms(500));
    let told =
        |world: &World, wanted: fn(&Event) -> bool| world.events.iter().any(|(_, event)| wanted(event));
    assert!(told(&world, |event| matches!(event, Event::Damaged { .. })));
    assert!(told(&world, |event| matches!(event, Event::Repaired { .. })));
    assert_eq!(&world.machines[&node(2)].disk.blobs[&key.id()][..], &bytes[..]);
    // One that nobody reads is found by the scrub.
    world.events.clear();
    flip(&mut world, 4);
    world.run(ms(60_000));
    assert!(told(&world, |event| matches!(event, Event::Repaired { .. })));
    assert_eq!(&world.machines[&node(4)].disk.blobs[&key.id()][..], &bytes[..]);
}

#[test]
fn a_full_disk_refuses_and_the_others_take_it() {
    let mut world = World::of(5);
    world.machines.get_mut(&node(2)).unwrap().disk.full = true;
    let (reply, _) = world.put(1, "k", "one");
    assert!(reply.result.is_ok());
    world.run(ms(100));
    assert_eq!(world.holders(&cell("k")).len(), 4);
    for n in [1, 3, 4] {
        world.machines.get_mut(&node(n)).unwrap().disk.full = true;
    }
    let (reply, _) = world.put(1, "other", "one");
    assert!(matches!(reply.result, Err(AskError::Refused { why: Refusal::Disk(_) })), "{reply:?}");
    // There is room again: what was refused is taken when it is put anew, and the first one is caught up.
    for n in 1..=4 {
        world.machines.get_mut(&node(n)).unwrap().disk.full = false;
    }
    world.run(ms(130_000));
    assert_eq!(world.holders(&cell("k")).len(), 5);
    assert!(world.put(1, "other", "one").0.result.is_ok());
}

#[test]
fn bad_requests_do_nothing() {
    let mut world = World::of(3);
    let quorum = |quorum| Ask::Get { key: cell("k"), quorum: Some(quorum) };
    assert_eq!(world.asked(1, quorum(4)).0.result, Err(AskError::Quorum { asked: 4, owners: 3 }));
    assert_eq!(world.asked(1, quorum(0)).0.result, Err(AskError::Quorum { asked: 0, owners: 3 }));
    let (reply, _) = world.asked(1, blob(&vec![0; 300_000]));
    assert!(matches!(reply.result, Err(AskError::Record(_))));
    world.put(1, "k", "register");
    let (reply, _) = world.asked(1, edit("k", Edit::Add(value("x"))));
    assert!(matches!(reply.result, Err(AskError::Cell(CellError::WrongKind { .. }))), "{reply:?}");
}

#[test]
fn a_search_says_who_holds_it() {
    let mut world = World::of(16);
    let (stranger, owners) = outsider(&world, &cell("k"));
    world.put(stranger, "k", "hello");
    world.run(ms(100));
    let (reply, took) = world.asked(stranger, Ask::Find { key: cell("k") });
    assert_eq!(reply.result, Ok(Outcome::Traced));
    assert!(took <= ROUND_TRIP + DISK);
    let holders: Vec<_> =
        reply.trace.iter().filter(|a| a.verdict == Verdict::Holds).map(|a| a.node).collect();
    assert_eq!(holders, owners.iter().map(|n| node(*n)).collect::<Vec<_>>());
    assert_eq!(reply.trace.iter().map(|a| a.rank).collect::<Vec<_>>(), (0..7).collect::<Vec<_>>());
    assert!(reply.trace.iter().all(|a| a.took.is_some_and(|took| took <= ROUND_TRIP)));
    // An owner that searches has its own answer at once, and still asks the others.
    let (reply, _) = world.asked(owners[0], Ask::Find { key: cell("k") });
    assert_eq!(reply.trace.len(), 7);
    assert_eq!(reply.trace.iter().filter(|a| a.verdict == Verdict::Holds).count(), owners.len());
    let (reply, _) = world.asked(stranger, edit("k", Edit::Delete));
    assert!(reply.result.is_ok(), "{reply:?}");
    world.run(ms(100));
    let (reply, _) = world.asked(owners[0], Ask::Find { key: cell("k") });
    assert_eq!(
        reply.trace.iter().filter(|a| a.verdict == Verdict::Deleted).count(),
        owners.len(),
        "{reply:?}"
    );
}

#[test]
fn a_search_waits_a_second_for_who_is_late_and_no_longer() {
    let mut world = World::of(16);
    let (stranger, owners) = outsider(&world, &cell("k"));
    world.put(stranger, "k", "hello");
    world.run(ms(100));
    world.machines.get_mut(&node(owners[2])).unwrap().hung = true;
    let (reply, took) = world.asked(stranger, Ask::Find { key: cell("k") });
    assert_eq!((reply.result, took), (Ok(Outcome::Traced), ms(1_000)));
    let late: Vec<_> = reply.trace.iter().filter(|a| a.verdict == Verdict::Late).map(|a| a.rank).collect();
    assert_eq!(late, [2]);
}

#[test]
fn ranks_are_those_of_the_metric() {
    let world = World::of(16);
    let key = cell("k");
    let owners = world.machines[&node(1)].dht.owners_of(&key);
    let distance = |n: &chinwag_base::NodeId| key.id().distance(&Id::of_node(n));
    assert!(owners.windows(2).all(|pair| distance(&pair[0]) < distance(&pair[1])));
}
