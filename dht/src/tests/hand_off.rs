//! Members come and go: records stay with their owners.

use super::world::*;
use crate::testing::{NOW, node};
use crate::{Config, Event};

fn keys(n: usize) -> Vec<String> {
    (0..n).map(|n| format!("key/{n}")).collect()
}

fn all_agree(world: &World, keys: &[String]) -> bool {
    keys.iter().all(|key| {
        let any = world.machines.values().next().unwrap();
        let owners = any.dht.owners_of(&cell(key)).into_iter().collect();
        world.owners_agree(&cell(key)) && world.holders(&cell(key)) == owners
    })
}

#[test]
fn records_follow_ownership_when_members_join_and_leave() {
    let mut world = World::of(8);
    let keys = keys(300);
    for (n, key) in keys.iter().enumerate() {
        world.put(1 + (n % 8) as u8, key, key);
    }
    for n in 9..=12 {
        world.start(n, Disk::default());
        world.run(ms(500));
    }
    world.run(ms(120_000));
    assert!(all_agree(&world, &keys), "after four have joined");
    let handed: usize = world
        .events
        .iter()
        .map(|(_, e)| if let Event::HandedOff { records, .. } = e { *records } else { 0 })
        .sum();
    assert!(handed >= 300, "non-vacuous: {handed}");
    for n in [2, 5] {
        world.kill(n);
        world.run(ms(120_000));
    }
    assert!(all_agree(&world, &keys), "after two were lost");
    for (n, key) in keys.iter().enumerate() {
        let through = [1, 3, 4, 6, 7, 8, 9, 10, 11, 12][n % 10];
        assert_eq!(world.get(through, key), [key.as_str()]);
    }
    // The one that was away for a while finds its place again.
    world.restart(2);
    world.run(ms(120_000));
    assert!(all_agree(&world, &keys), "after one came back");
}

#[test]
fn reads_right_after_two_of_five_are_killed_and_one_joins_find_everything() {
    let mut world = World::of(5);
    let keys = keys(200);
    for (n, key) in keys.iter().enumerate() {
        assert!(world.put(1 + (n % 5) as u8, key, key).0.result.is_ok());
    }
    world.kill(2);
    world.kill(4);
    for key in &keys {
        assert_eq!(world.get(3, key), [key.as_str()], "two are gone");
    }
    world.start(6, Disk::default());
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(world.get([1, 3, 5, 6][n % 4], key), [key.as_str()], "one has just joined");
    }
}

#[test]
fn a_quiet_overlay_says_little() {
    let mut world = World::of(16);
    for key in keys(100) {
        world.put(1, &key, "x");
    }
    world.run(ms(120_000));
    world.sent.clear();
    world.run(ms(600_000));
    assert_eq!(world.sent.keys().copied().collect::<Vec<_>>(), ["compare"]);
    // Ten minutes, sixteen nodes, fifteen others each, once a minute.
    assert!(world.sent["compare"] <= 11 * 16 * 15, "{:?}", world.sent);
}

#[test]
fn republishing_many_records_takes_one_exchange_an_owner() {
    let mut world = World::new(3, Config { owners: 2, ..Config::default() });
    for key in keys(500) {
        world.put(1, &key, "x");
    }
    world.run(ms(120_000));
    world.sent.clear();
    world.kill(2);
    world.restart(2);
    world.run(ms(60_000));
    let offers = world.sent.get("offer").copied().unwrap_or_default();
    let passed_on = world.sent.get("passed on").copied().unwrap_or_default();
    assert!(offers <= 2 * 2 * 3, "{:?}", world.sent);
    // While the third was away the two others were the owners of everything.
    assert!(passed_on <= 500, "{:?}", world.sent);
    assert!(all_agree(&world, &keys(500)));
}

#[test]
fn what_an_owner_had_no_room_for_is_handed_to_it_once_it_has() {
    // No comparison in time would mend it.
    let hourly = std::time::Duration::from_secs(3_600);
    let mut world = World::new(3, Config { compare_every: hourly, ..Config::default() });
    world.kill(2);
    assert!(world.put(1, "k", "hello").0.result.is_ok());
    world.disks_of_the_dead.get_mut(&node(2)).unwrap().full = true;
    world.restart(2);
    world.run(ms(5_000));
    assert!(!world.holders(&cell("k")).contains(&node(2)), "its disk is full");
    let at_work = |world: &World| [1, 3].map(|n| world.machines[&node(n)].dht.handing_off());
    assert_eq!(at_work(&world), [1, 1], "it is not forgotten");
    let offers = world.sent["offer"];
    world.run(ms(20_000));
    assert_eq!(world.sent["offer"], offers, "it is left alone for a while");
    world.machines.get_mut(&node(2)).unwrap().disk.full = false;
    world.run(ms(30_000));
    assert!(world.owners_agree(&cell("k")));
    assert_eq!(at_work(&world), [0, 0]);
}

#[test]
fn a_record_that_an_owner_refuses_does_not_keep_back_the_others() {
    let hourly = std::time::Duration::from_secs(3_600);
    let mut world = World::new(3, Config { compare_every: hourly, ..Config::default() });
    world.kill(2);
    let keys = keys(100);
    let expires = Some(NOW.plus_ms(hourly.as_millis() as u64));
    for (n, key) in keys.iter().enumerate() {
        let ask = crate::Ask::Put {
            key: key.parse().unwrap(),
            edit: crate::Edit::Set(value(key)),
            expires: expires.filter(|_| n % 20 == 0),
            quorum: None,
        };
        assert!(world.asked(1, ask).0.result.is_ok());
    }
    // By its clock some of them have ended.
    world.restart(2);
    world.set_ahead(2, 2 * hourly);
    world.run(ms(20_000));
    let lacking: Vec<usize> =
        (0..100).filter(|n| !world.holders(&cell(&keys[*n])).contains(&node(2))).collect();
    assert_eq!(lacking, [0, 20, 40, 60, 80]);
}

#[test]
fn deleted_records_do_not_come_back_with_an_owner_that_was_away() {
    // A month passes in this test.
    let hourly = std::time::Duration::from_secs(3_600);
    let mut world = World::new(5, Config { compare_every: hourly, scrub_every: hourly, ..Config::default() });
    world.put(1, "k", "hello");
    world.run(ms(100));
    world.kill(4);
    world.run(ms(10_000));
    assert!(world.asked(1, edit("k", crate::Edit::Delete)).0.result.is_ok());
    world.run(ms(10_000));
    world.restart(4);
    world.run(ms(10_000));
    for n in 1..=5 {
        assert_eq!(world.get(n, "k"), [""; 0]);
    }
    // The tombstone ends, and the record is gone for good.
    world.run(std::time::Duration::from_millis(chinwag_base::limits::TOMBSTONE_LIFE_MS) + 3 * hourly);
    assert!(world.machines.values().all(|machine| machine.dht.store().usage().records == 0));
    assert!(world.machines.values().all(|machine| machine.disk.index.is_empty()));
}
