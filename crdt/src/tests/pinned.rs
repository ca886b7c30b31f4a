//! What replicas compare, send and store, bit by bit: members of different versions must agree on it.
//!
//! Ids are chosen so that the order in which replicas are first heard of is not the order of their ids.

use super::world::*;
use crate::{Change, Entry, Replica, Term};
use chinwag_base::codec::encode;
use chinwag_base::{Digest, Key};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A history in which every type is written, replaced, removed and written concurrently, and that each replica hears in
/// another order.
fn history() -> (World, Vec<Change>) {
    let mut world = World::new(5);
    let mut changes = Vec::new();
    let mut random = 1_u64;
    let mut choose = move |n: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % n
    };
    for step in 0..400 {
        let at = [4, 1, 3, 0, 2][choose(5)];
        let n = choose(5);
        let op = match choose(14) {
            0 | 1 => set(&format!("app/r{n}"), &format!("value {step}")),
            2 => set(&format!("m.field{n}"), "of a map"),
            3 => delete(&format!("app/r{n}"), None),
            4 | 5 => add("app/set", &format!("element {}", choose(30))),
            6 => remove("app/set", &format!("element {}", choose(30))),
            7 => increment("count", 1 - n as i64),
            8 => delete("count", None),
            9 => enable(&format!("flag{n}")),
            10 => disable(&format!("flag{n}")),
            11 => lend(Term::Ms(1_000_000), set("lent/r", "for a time")),
            12 => lend(Term::Life, add("app/set", &format!("element {}", choose(30)))),
            _ => enable("m"),
        };
        // Some cannot be done, which is as good.
        drop(world.write(at, op));
        if step % 3 == 0 && !world.entries.is_empty() {
            // One of the newest, before what it has seen.
            let back = choose(world.entries.len().min(20));
            let entry = world.entries[world.entries.len() - 1 - back].clone();
            let to = choose(5);
            if world.replicas[to].stage_remote(Entry::clone(&entry), NOON) == crate::Staged::New {
                changes.extend(world.replicas[to].commit());
            }
        }
        if step % 10 == 0 {
            world.send(choose(5), choose(5), |i| i % 3 != 0);
        }
    }
    (world, changes)
}

/// All that a replica says of itself, and the sum of it.
fn said(replica: &mut Replica) -> Digest {
    let mut said = Vec::new();
    let mut say = |bytes: Vec<u8>| said.extend(Digest::of("said", &bytes).to_bytes());
    say(encode(&replica.digest()));
    say(encode(&replica.clock_digest()));
    say(encode(&replica.namespace_digests().map(|(n, d)| (n.to_owned(), d)).collect::<Vec<_>>()));
    say(encode(&replica.slice_after(None, usize::MAX)));
    let mut after = None;
    loop {
        let slice = replica.slice_after(after.as_ref(), 300);
        say(encode(&slice));
        match slice.extent {
            crate::Extent::Range { until: Some(until), .. } => after = Some(until),
            _ => break,
        }
    }
    say(encode(&replica.promised()));
    say(encode(&replica.promised_by_name()));
    say(encode(&replica.sketch().symbols()));
    let keys: Vec<Key> = replica.cells.keys().cloned().collect();
    say(encode(&replica.slice_of(&keys, 3_000)));
    for key in &keys {
        say(format!("{:?} {:?} {:?}", replica.get(key), replica.kinds(key), replica.leases_of(key)).into());
        say(encode(&replica.version(key)));
    }
    say(format!("{:?}", replica.lent_for_life().collect::<Vec<_>>()).into());
    say(format!("{:?}", replica.logged_after(0).collect::<Vec<_>>()).into());
    for writer in 1..=5 {
        say(encode(&replica.entries(replica_id(writer), 3..=40).collect::<Vec<_>>()));
    }
    let crate::Checkpoint { position, clock, digest, doomed, cells, .. } = replica.checkpoint();
    say(encode(&(position, clock, digest, doomed, cells)));
    Digest::of("all that is said", &said)
}

#[test]
fn an_entry_is_encoded_as_ever() {
    let mut world = World::new(1);
    world.write(0, set("app/k", "one")).unwrap();
    let entry = world.write(0, set("app/k", "two")).unwrap();
    let id = "01".repeat(32);
    // Dot, clock time, key, effect and its value, one replica with one removed dot.
    let expected = format!("{id}0102fd00000268e5cf8b01056170702f6b010374776f01{id}010101");
    assert_eq!(hex(&encode(&*entry)), expected);
}

#[test]
fn digests_and_messages_are_the_same_as_ever() {
    let (mut world, changes) = history();
    let encoded = encode(&world.entries);
    assert!(world.entries.len() > 200);
    let short = |r: &mut Replica| said(r).to_string()[..16].to_owned();
    let before: Vec<String> = world.replicas.iter_mut().map(short).collect();
    let doomed: Vec<usize> = world.replicas.iter().map(Replica::doomed).collect();
    world.converge();
    let after: Vec<String> = world.replicas.iter_mut().map(short).collect();
    let digest = world.replicas[0].digest().to_string();
    let told = Digest::of("changes", format!("{changes:?}").as_bytes()).to_string();
    let entries = Digest::of("entries", &encoded).to_string();
    assert!(doomed.iter().sum::<usize>() > 10, "{doomed:?}");
    assert_eq!(
        before,
        ["cb33441cf26e9c33", "91c2b1121672717f", "dc0616273ea76657", "fdb2bac620bfda5d", "5263131d0d5bd970"]
    );
    assert_eq!(
        after,
        ["f8c2265bc0a5dca7", "fd2ee1c8c3c03cb5", "b03c1ab5abfbbc43", "19d735accfe6cba1", "7c3faf44ff3d84a6"]
    );
    assert_eq!(entries, "d9badecfa053aeaf8f3f6d36f9d7cbc5");
    assert_eq!(told, "d6eef4a7ed738e6d515f40719dc173b7");
    assert_eq!(digest, "0924101ae06b52ccea737d8888566139");
}
