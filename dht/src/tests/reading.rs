//! Faults that a reading of this crate found, each as the scenario that showed it.
use super::world::*;
use crate::testing::{NOW, node};
use crate::*;
use chinwag_base::{Generation, Moment, ReplicaId};

#[test]
fn put_delete_cycles_do_not_grow_the_context() {
    let mut world = World::of(3);
    for _ in 0..300 {
        assert!(world.put(1, "k", "x").0.result.is_ok());
        assert!(world.asked(1, edit("k", Edit::Delete)).0.result.is_ok());
    }
    let held = world.machines[&node(1)].disk.index.values().next().unwrap();
    assert!(held.cell().unwrap().context().runs() < 5, "runs: {}", held.cell().unwrap().context().runs());
}

#[test]
fn a_set_used_as_a_queue_keeps_a_small_context() {
    let mut world = World::of(3);
    for n in 0..300 {
        let v = value(&n.to_string());
        assert!(world.asked(1, edit("k", Edit::Add(v.clone()))).0.result.is_ok());
        assert!(world.asked(1, edit("k", Edit::Remove(v))).0.result.is_ok());
    }
    let held = world.machines[&node(1)].disk.index.values().next().unwrap();
    assert!(held.cell().unwrap().context().runs() < 5, "runs: {}", held.cell().unwrap().context().runs());
}

#[test]
fn a_short_lived_value_does_not_bring_back_what_it_replaced() {
    let mut world = World::of(5);
    assert!(world.put(1, "k", "old").0.result.is_ok());
    world.run(ms(200));
    world.kill(5);
    let expires = Some(NOW.plus_ms(world.now.as_millis() + 10_000));
    let ask = Ask::Put { key: "k".parse().unwrap(), edit: Edit::Set(value("new")), expires, quorum: None };
    assert!(world.asked(1, ask).0.result.is_ok());
    assert_eq!(world.get(2, "k"), ["new"]);
    world.run(ms(20_000));
    assert_eq!(world.get(2, "k"), [""; 0], "it has ended");
    world.restart(5);
    world.run(ms(130_000));
    assert_eq!(world.get(2, "k"), [""; 0], "what was replaced stays replaced");
}

fn dht(n: u8) -> Dht {
    let replica = ReplicaId { node: node(n), generation: Generation::new(1) };
    let mut dht = Dht::new(Config::default(), Identity { replica }, Recovered::default(), 1, Moment::ZERO);
    dht.handle(Moment::ZERO, Input::Wall(NOW));
    dht
}

#[test]
fn puts_of_one_key_while_the_disk_is_slow_are_bounded() {
    let mut dht = dht(1);
    let (peer, now) = (node(2), Moment::ZERO);
    dht.handle(now, Input::PeerUp { peer });
    let big = chinwag_base::Value::new(vec![7; 60_000].as_slice()).unwrap();
    let replica = ReplicaId { node: peer, generation: Generation::new(1) };
    let mut refused = 0;
    let mut taken = 0;
    for n in 1..=10_000_u64 {
        // Each replaces the one before: the cell stays small, and each waiter keeps its own change.
        let dot = |c| chinwag_crdt::Dot::new(replica, c);
        let before = Cell::new()
            .plan(&Edit::Set(value("")), dot(n.max(2) - 1), chinwag_crdt::Hlc::ZERO, None)
            .unwrap();
        let cell = before.plan(&Edit::Set(big.clone()), dot(n), chinwag_crdt::Hlc::ZERO, None).unwrap();
        let record = Record::cell("k".parse().unwrap(), cell, peer, NOW);
        dht.handle(
            now,
            Input::Message {
                from: peer,
                message: Message::Put { question: Question(n), record, passed_on: false },
            },
        );
        taken += 1;
        while let Some(out) = dht.poll_output() {
            if let Output::Send { message: Message::Stored { verdict: Stored::Refused(_), .. }, .. } = out {
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "{taken} puts of 60 kB wait for one commit that never ended, none refused");
}

#[test]
fn a_reader_that_says_passed_on_is_refused() {
    let mut dht = dht(1);
    let (peer, now) = (node(2), Moment::ZERO);
    let member =
        |n: u8, may_write| Member { node: node(n), alive: true, suspect: false, may_write, rtt: None };
    dht.handle(now, Input::Members { members: vec![member(1, true), member(2, false)] });
    dht.handle(now, Input::PeerUp { peer });
    let record = Record::cell("k".parse().unwrap(), crate::testing::put(2, 1, "by a reader"), node(77), NOW);
    let id = record.key.id();
    dht.handle(
        now,
        Input::Message {
            from: peer,
            message: Message::Put { question: Question(1), record, passed_on: true },
        },
    );
    let mut batch = None;
    while let Some(out) = dht.poll_output() {
        if let Output::Persist { batch: b, .. } = out {
            batch = Some(b)
        }
    }
    if let Some(batch) = batch {
        dht.handle(now, Input::Persisted { batch });
    }
    assert!(
        dht.store().get(&id, NOW).is_none(),
        "a reader's put is held, counted for {:?}",
        dht.store().usage_of(&node(77))
    );
}

#[test]
fn a_read_error_keeps_a_good_blob() {
    let mut dht = dht(1);
    let now = Moment::ZERO;
    dht.handle(
        now,
        Input::Ask {
            request: RequestId(1),
            ask: Ask::PutBlob { bytes: (*b"hello").into(), expires: None, quorum: None },
            until: now + ms(5_000),
        },
    );
    let mut outs = vec![];
    while let Some(out) = dht.poll_output() {
        outs.push(out);
    }
    let Some(Output::Persist { batch, .. }) = outs.iter().find(|o| matches!(o, Output::Persist { .. }))
    else {
        panic!()
    };
    dht.handle(now, Input::Persisted { batch: *batch });
    while dht.poll_output().is_some() {}
    let key = RecordKey::Blob(BlobHash::of(b"hello"));
    dht.handle(
        now,
        Input::Ask {
            request: RequestId(2),
            ask: Ask::Get { key: key.clone(), quorum: None },
            until: now + ms(5_000),
        },
    );
    let mut load = None;
    while let Some(out) = dht.poll_output() {
        if let Output::Load { load: l, .. } = out {
            load = Some(l)
        }
    }
    dht.handle(now, Input::Loaded { load: load.unwrap(), blob: Err("previous I/O error".into()) });
    while let Some(out) = dht.poll_output() {
        eprintln!("{out:?}");
    }
    assert!(
        dht.store().get(&key.id(), NOW).is_some(),
        "one failed read, and the durable row is gone until a restart"
    );
}

#[test]
fn a_member_whose_clock_is_slow_reads_a_deleted_key() {
    let mut world = World::of(3);
    world.put(1, "k", "x");
    assert!(world.asked(1, edit("k", Edit::Delete)).0.result.is_ok());
    world.run(ms(500));
    let slow = chinwag_base::WallTime::from_unix_ms(NOW.unix_ms() - 10 * 60_000);
    let m = world.machines.get_mut(&node(3)).unwrap();
    m.dht.handle(world.now, Input::Wall(slow));
    let (reply, _) = world.asked(3, get("k"));
    assert!(matches!(reply.result, Ok(Outcome::Found(None))), "{:?} {:?}", reply.result, reply.trace);
}

#[test]
fn a_hung_owner_does_not_use_up_the_operations() {
    let mut world = World::of(5);
    world.machines.get_mut(&node(5)).unwrap().hung = true;
    let bytes: std::sync::Arc<[u8]> = vec![1; 256 * 1024].into();
    let mut busy = 0;
    for n in 0..300_u32 {
        let mut b = bytes.to_vec();
        b[..4].copy_from_slice(&n.to_be_bytes());
        let (reply, _) = world.asked(1, Ask::PutBlob { bytes: b.into(), expires: None, quorum: None });
        world.run(ms(0));
        if matches!(reply.result, Err(AskError::Busy { .. })) {
            busy += 1;
        }
    }
    assert_eq!((busy, world.machines[&node(1)].dht.open_requests()), (0, 0));
}

fn busy_with(hung: bool) -> usize {
    let mut world = World::of(5);
    if hung {
        world.machines.get_mut(&node(5)).unwrap().hung = true;
    }
    let mut requests = vec![];
    for n in 0..640_u32 {
        let mut b = vec![1_u8; 256 * 1024];
        b[..4].copy_from_slice(&n.to_be_bytes());
        requests.push(world.ask(1, Ask::PutBlob { bytes: b.into(), expires: None, quorum: None }));
        if n % 32 == 31 {
            world.run(ms(100));
        }
    }
    world.run(ms(6_000));
    requests
        .into_iter()
        .filter(|r| matches!(world.answered(*r).unwrap().result, Err(AskError::Busy { .. })))
        .count()
}

#[test]
fn one_hung_owner_makes_no_put_busy() {
    assert_eq!((busy_with(false), busy_with(true)), (0, 0), "(healthy, one hung of five)");
}

#[test]
fn an_acknowledged_add_to_a_nearly_full_set_is_read() {
    let mut world = World::of(5);
    let element = |n: u64| value(&format!("{n:04096}"));
    for n in 0..62 {
        assert!(world.asked(1, edit("k", Edit::Add(element(n)))).0.result.is_ok(), "{n}");
    }
    world.run(ms(1_000));
    let one = world.ask(1, edit("k", Edit::Add(element(1001))));
    let two = world.ask(2, edit("k", Edit::Add(element(1002))));
    world.run(ms(6_000));
    let (one, two) = (world.answered(one).unwrap(), world.answered(two).unwrap());
    world.run(ms(300_000));
    let missed: Vec<u8> = (1..=5)
        .filter(|n| {
            let all = world.get(*n, "k");
            one.result.is_ok() && !all.contains(&format!("{:04096}", 1001))
                || two.result.is_ok() && !all.contains(&format!("{:04096}", 1002))
        })
        .collect();
    let agree = world.owners_agree(&cell("k"));
    assert!(
        missed.is_empty() && agree,
        "one {:?}, two {:?}; missed by reads through {missed:?}; owners agree after five minutes: {agree}; passed on {:?}",
        one.result,
        two.result,
        world.sent
    );
}

#[test]
fn a_stray_is_dropped_only_when_all_owners_hold_it() {
    let now = Moment::ZERO;
    let placement: Placement = (1..=9).map(node).collect();
    let key = (0..)
        .map(|n| cell(&format!("k{n}")))
        .find(|k| !placement.nearest(&k.id(), 5).contains(&node(1)))
        .unwrap();
    let RecordKey::Cell(name) = key.clone() else { panic!() };
    let owners = placement.nearest(&key.id(), 5);
    let mut dht = dht(1);
    let mut members: Vec<Member> = (1..=9)
        .map(|n| Member { node: node(n), alive: true, suspect: false, may_write: true, rtt: None })
        .collect();
    members.sort_by_key(|m| m.node);
    dht.handle(now, Input::Members { members });
    for n in 2..=9 {
        dht.handle(now, Input::PeerUp { peer: node(n) });
    }
    let mut at = now;
    let mut held: std::collections::BTreeMap<_, _> = owners.iter().map(|o| (*o, 1)).collect(); // all hold v1
    let mut delayed: Vec<Input> = vec![];
    let mut late = true;
    let v1 = crate::testing::put(9, 1, "v1");
    let v2 = v1
        .plan(
            &Edit::Set(value("v2")),
            chinwag_crdt::Dot::new(crate::testing::replica(9), 2),
            chinwag_crdt::Hlc::ZERO,
            None,
        )
        .unwrap();
    let record = |c: &Cell| Record::cell(name.clone(), c.clone(), node(9), NOW);
    let mut dropped = None;
    let step = |dht: &mut Dht,
                input: Input,
                at: Moment,
                late: bool,
                delayed: &mut Vec<Input>,
                held: &mut std::collections::BTreeMap<_, i32>,
                dropped: &mut Option<Moment>| {
        let mut queue = std::collections::VecDeque::from([input]);
        while let Some(input) = queue.pop_front() {
            dht.handle(at, input);
            let mut outs = vec![];
            while let Some(out) = dht.poll_output() {
                outs.push(out);
            }
            for out in outs {
                match out {
                    Output::Persist { batch, changes } => {
                        if changes.iter().any(|(_, c)| matches!(c, Change::Drop)) {
                            *dropped = Some(at);
                        }
                        queue.push_back(Input::Persisted { batch });
                    }
                    Output::Send { to, message: Message::Offer { question, records } } => {
                        let mine = if held[&to] == 1 {
                            Held::of(record(&v1).validate(NOW).unwrap()).0.digest()
                        } else {
                            let mut h = Held::of(record(&v1).validate(NOW).unwrap()).0;
                            h.join(&Held::of(record(&v2).validate(NOW).unwrap()).0, NOW).unwrap();
                            h.digest()
                        };
                        let positions = if records.0[0].1 == mine { vec![] } else { vec![0] };
                        let answer =
                            Input::Message { from: to, message: Message::Lack { question, positions } };
                        if late { delayed.push(answer) } else { queue.push_back(answer) }
                    }
                    Output::Send { to, message: Message::Put { question, .. } } => {
                        held.insert(to, 2);
                        queue.push_back(Input::Message {
                            from: to,
                            message: Message::Stored { question, verdict: Stored::Alone },
                        });
                    }
                    _ => {}
                }
            }
        }
    };
    at += ms(1_000);
    for _ in 0..10 {
        step(&mut dht, Input::Tick, at, late, &mut delayed, &mut held, &mut dropped);
        at += ms(1);
    }
    let from = node(9);
    step(
        &mut dht,
        Input::Message {
            from,
            message: Message::Put { question: Question(1), record: record(&v1), passed_on: false },
        },
        at,
        late,
        &mut delayed,
        &mut held,
        &mut dropped,
    );
    for _ in 0..10 {
        step(&mut dht, Input::Tick, at, late, &mut delayed, &mut held, &mut dropped);
        at += ms(1);
    }
    let offers = delayed.len();
    // Offers of v1 are on their way; v2 comes.
    step(
        &mut dht,
        Input::Message {
            from,
            message: Message::Put { question: Question(2), record: record(&v2), passed_on: false },
        },
        at,
        late,
        &mut delayed,
        &mut held,
        &mut dropped,
    );
    late = false;
    for answer in std::mem::take(&mut delayed) {
        step(&mut dht, answer, at, late, &mut delayed, &mut held, &mut dropped);
    }
    for _ in 0..200 {
        at += ms(250);
        step(&mut dht, Input::Tick, at, late, &mut delayed, &mut held, &mut dropped);
        if dropped.is_some() {
            break;
        }
    }
    let without: Vec<_> = held.values().filter(|v| **v == 1).collect();
    assert!(
        dropped.is_none() || without.is_empty(),
        "offers under way {offers}; dropped at {dropped:?} while {} of 5 owners hold v1 only",
        without.len()
    );
}

#[test]
fn a_value_that_ends_while_it_is_read_is_absent() {
    let mut world = World::of(3);
    let expires = Some(NOW.plus_ms(world.now.as_millis() + 10_000));
    let ask = Ask::Put { key: "k".parse().unwrap(), edit: Edit::Set(value("x")), expires, quorum: None };
    assert!(world.asked(1, ask).0.result.is_ok());
    world.run(ms(9_000));
    let wall = NOW.plus_ms(world.now.as_millis() + 2_000);
    world.machines.get_mut(&node(3)).unwrap().dht.handle(world.now, Input::Wall(wall));
    let (reply, _) = world.asked(3, get("k"));
    assert!(reply.result.is_ok(), "{:?}", reply.result);
}

#[test]
fn of_sequential_puts_with_clocks_apart_the_later_is_shown() {
    let mut world = World::of(9);
    let wall = chinwag_base::WallTime::from_unix_ms(NOW.unix_ms() - 3_000);
    world.machines.get_mut(&node(9)).unwrap().dht.handle(world.now, Input::Wall(wall));
    assert!(world.put(1, "k", "one").0.result.is_ok());
    world.run(ms(1_000));
    let (r, _) = world.put(9, "k", "two");
    assert!(r.result.is_ok());
    assert_eq!(world.get(2, "k"), ["two"]);
}

#[test]
fn adding_again_what_is_there_does_not_grow_it() {
    let mut world = World::of(16);
    let owners = world.machines[&node(1)].dht.owners_of(&cell("k"));
    let stranger = (1..=16).find(|n| !owners.contains(&node(*n))).unwrap();
    for n in 0..100 {
        assert!(world.asked(stranger, edit("k", Edit::Add(value(&format!("{n:040}"))))).0.result.is_ok());
    }
    world.run(ms(500));
    let weight = |world: &World| {
        world.machines[&owners[0]].disk.index.values().next().unwrap().cell().unwrap().weight()
    };
    let before = weight(&world);
    let mut failed = None;
    for n in 0..200 {
        let (reply, _) = world.asked(stranger, edit("k", Edit::Add(value(&format!("{:040}", n % 100)))));
        if reply.result.is_err() {
            failed = Some((n, reply.result));
            break;
        }
    }
    assert!(
        weight(&world) < before + before / 2 && failed.is_none(),
        "{before} -> {} bytes, with {} elements; {failed:?}",
        weight(&world),
        world.get(stranger, "k").len()
    );
}

#[test]
fn a_short_life_and_one_lost_put_bring_nothing_back() {
    // Nobody is ever away: one owner was busy for one put of a short life.
    let mut world = World::of(5);
    assert!(world.put(1, "k", "old").0.result.is_ok());
    world.run(ms(3_000));
    world.link(1, 5, false);
    let expires = Some(NOW.plus_ms(world.now.as_millis() + 5_000));
    let ask = Ask::Put { key: "k".parse().unwrap(), edit: Edit::Set(value("new")), expires, quorum: None };
    assert!(world.asked(1, ask).0.result.is_ok());
    world.run(ms(100_000));
    assert_eq!(world.get(2, "k"), [""; 0], "what was replaced stays replaced");
}
