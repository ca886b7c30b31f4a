//! What replicas tell each other: clocks, sets of dots, spans and entries. The first byte chooses. Entries are applied
//! to a replica too, forwards and backwards: what passes its check gives one state in whatever order it comes.
#![no_main]

use chinwag_base::codec;
use chinwag_base::limits::{CLOCK_GAPS_MAX, ENTRY_BYTES_MAX};
use chinwag_crdt::{Clock, Dot, Dots, Entry, Replica, Staged};
use chinwag_fuzz::{alloc, assert_allocation, decoded, decoded_tightly, samples};
use chinwag_gossip::Spans;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;

const LIMIT: usize = 262_144;

fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first() else { return };
    match which % 5 {
        0 => clock(bytes),
        1 => {
            if let Some(dots) = decoded_tightly::<LIMIT, Dots>(bytes) {
                assert_eq!(dots.iter().count(), dots.len());
                assert!(dots.iter().all(|dot| dots.contains(dot) && dot.counter > 0));
                assert_eq!(dots.iter().collect::<Dots>(), dots);
            }
        }
        2 => {
            if let Some(spans) = decoded_tightly::<LIMIT, Spans>(bytes)
                && let Some(dots) = spans.dots()
            {
                assert!(dots >= spans.runs() as u64);
                for (replica, first, last) in spans.iter() {
                    assert!(
                        spans.contains(Dot::new(replica, first)) && spans.contains(Dot::new(replica, last))
                    );
                    let next = spans.skip(replica, first);
                    assert!(next.is_none_or(|next| next == last + 1));
                }
                assert_eq!(spans.meets(&spans), !spans.is_empty());
            }
        }
        3 => {
            if let Some(entry) = decoded::<LIMIT, Entry>(bytes) {
                let _ = (entry.check(), entry.only_removes());
                assert!(codec::encode(&entry).len() <= entry.weight());
            }
        }
        _ => replicas(bytes),
    }
});

fn clock(bytes: &[u8]) {
    let (clock, held) = alloc::peak(|| codec::decode::<LIMIT, Clock>(bytes));
    assert_allocation(bytes.len(), held);
    let Ok(clock) = clock else { return };
    // A clock that names a replica twice may have more gaps than travel; what is told is then less, never more.
    let told: Clock = codec::decode::<{ 4 * LIMIT }, _>(&codec::encode(&clock)).expect("a clock decodes");
    assert!(clock.contains_all(&told));
    if clock.gaps() <= CLOCK_GAPS_MAX {
        assert_eq!(told, clock);
        assert_eq!(told.digest(), clock.digest());
    }
    let ours = samples::clock();
    let mut both = ours.clone();
    both.merge(&clock);
    assert!(both.contains_all(&ours) && both.contains_all(&clock));
    let mut other_way = clock.clone();
    other_way.merge(&ours);
    assert_eq!(both, other_way);
    assert_eq!(clock.count_minus(&both), 0);
    for (replica, range) in clock.minus(&ours) {
        for counter in [*range.start(), *range.end()] {
            let dot = Dot::new(replica, counter);
            assert!(clock.covers(dot) && !ours.covers(dot) && both.covers(dot));
        }
    }
}

fn replicas(mut bytes: &[u8]) {
    let mut entries: BTreeMap<Dot, Entry> = BTreeMap::new();
    // Lengths of two bytes before each, so that one changed byte does not move all that follow.
    while let Some((len, rest)) = bytes.split_first_chunk::<2>()
        && entries.len() < 32
    {
        let (one, rest) = rest.split_at(usize::from(u16::from_le_bytes(*len)).min(rest.len()));
        bytes = rest;
        if let Ok(entry) = codec::decode::<ENTRY_BYTES_MAX, Entry>(one) {
            // Two contents of one dot are two processes with one key: nothing holds then.
            entries.entry(entry.dot).or_insert(entry);
        }
    }
    let apply = |entries: &mut dyn Iterator<Item = &Entry>, together: bool| {
        let mut replica = Replica::new(samples::replica(samples::ME));
        let mut refused = 0;
        for entry in entries {
            match replica.stage_remote(entry.clone(), samples::NOW) {
                Staged::Refused(why) => {
                    refused += 1;
                    let _ = why.to_string();
                }
                Staged::New => assert!(entry.check().is_ok()),
                Staged::Duplicate | Staged::Promised => {
                    panic!("each dot comes once, and no cells are on their way")
                }
            }
            if !together {
                replica.commit();
            }
        }
        replica.commit();
        (replica, refused)
    };
    let (forwards, refused) = apply(&mut entries.values(), false);
    let (backwards, refused_too) = apply(&mut entries.values().rev(), true);
    // What is refused for want of room may depend on the order; what is refused for what it is does not.
    if refused == refused_too {
        assert_eq!(forwards.clock(), backwards.clock());
        assert_eq!(forwards.digest(), backwards.digest());
        assert_eq!(forwards.clock_digest(), forwards.clock().digest());
        for key in forwards.keys() {
            assert_eq!(forwards.get(&key), backwards.get(&key));
        }
    }
}
