//! Random puts, deletes, crashes, restarts, hung nodes and lost messages: no acknowledged put is lost.

use super::world::*;
use crate::testing::node;
use crate::{Edit, Outcome, RequestId};
use std::collections::{BTreeMap, BTreeSet};

const NODES: u8 = 7;

/// What a key may show in the end: an acknowledged put is there, or a later write through anybody has taken its place.
fn check(seed: u64) -> (usize, usize) {
    let mut world = World::of(NODES);
    world.seed(seed);
    world.loss = [0, 0, 8, 25][world.draw(4) as usize];
    let mut open: BTreeMap<RequestId, (String, u64)> = BTreeMap::new();
    // By key: the elements whose adds were acknowledged.
    let mut acknowledged: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    let (mut dead, mut hung): (Option<u8>, Option<u8>) = (None, None);
    let mut crashes = 0;
    for turn in 0..150 {
        let key = format!("set/{}", world.draw(5));
        let alive: Vec<u8> = (1..=NODES).filter(|n| Some(*n) != dead && Some(*n) != hung).collect();
        let n = alive[world.draw(alive.len() as u64) as usize];
        let request = world.ask(n, edit(&key, Edit::Add(value(&turn.to_string()))));
        open.insert(request, (key, turn));
        let pause = world.draw(200);
        world.run(ms(pause));
        match world.draw(20) {
            // Fewer than w = 3 owners are down at once: one is dead, another one hung.
            0 if dead.is_none() => {
                let n = 1 + world.draw(u64::from(NODES)) as u8;
                if hung != Some(n) {
                    world.kill(n);
                    (dead, crashes) = (Some(n), crashes + 1);
                }
            }
            1 | 2 => {
                if let Some(n) = dead.take() {
                    world.restart(n);
                }
            }
            3 if hung.is_none() => {
                let n = 1 + world.draw(u64::from(NODES)) as u8;
                if let Some(machine) = world.machines.get_mut(&node(n)) {
                    machine.hung = true;
                    hung = Some(n);
                }
            }
            4 | 5 => {
                if let Some(machine) = hung.take().and_then(|n| world.machines.get_mut(&node(n))) {
                    machine.hung = false;
                }
            }
            _ => {}
        }
        open.retain(|request, (key, turn)| match world.answered(*request) {
            Some(reply) => {
                if let Ok(Outcome::Stored { .. }) = reply.result {
                    acknowledged.entry(key.clone()).or_default().insert(*turn);
                }
                false
            }
            None => true,
        });
    }
    if let Some(machine) = hung.and_then(|n| world.machines.get_mut(&node(n))) {
        machine.hung = false;
    }
    if let Some(n) = dead {
        world.restart(n);
    }
    world.loss = 0;
    world.run(ms(200_000));
    let mut total = 0;
    for (key, turns) in &acknowledged {
        let shown: BTreeSet<u64> = world.get(1, key).iter().map(|text| text.parse().unwrap()).collect();
        let lost: Vec<_> = turns.difference(&shown).collect();
        assert!(lost.is_empty(), "seed {seed}: {key} has lost {lost:?}");
        assert!(world.owners_agree(&cell(key)), "seed {seed}: the owners of {key} differ");
        total += turns.len();
    }
    for (id, machine) in &world.machines {
        assert_eq!(machine.dht.open_requests(), 0, "seed {seed}: {id} has open requests");
        assert_eq!(machine.dht.handing_off(), 0, "seed {seed}: {id} still hands off");
    }
    (total, crashes)
}

#[test]
fn no_acknowledged_put_is_lost() {
    let seeds = if std::env::var_os("CHINWAG_LONG").is_some() { 10_000 } else { 8 };
    let (mut puts, mut crashes) = (0, 0);
    for seed in 0..seeds {
        let (p, c) = check(seed);
        puts += p;
        crashes += c;
    }
    assert!(puts > seeds as usize * 100 && crashes > seeds as usize / 2, "{puts} puts, {crashes} crashes");
}
