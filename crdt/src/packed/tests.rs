use super::*;
use crate::tests::world::key;
use crate::{Dots, Effect, Entry, Extent, Lease, Lent, Part, Run, Slice, Symbol};
use chinwag_base::Value;
use chinwag_base::codec::{self, DecodeError};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a message has, as a message has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entries(#[serde(with = "entries")] Vec<Arc<Entry>>);
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Cells(#[serde(with = "slice")] Slice);
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Symbols(#[serde(with = "symbols")] Vec<Symbol>);
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Ids(#[serde(with = "ids")] BTreeSet<u64>);

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    codec::decode::<BULK_FRAME_BYTES_MAX, T>(bytes)
}

fn replica(node: u8, generation: u64) -> ReplicaId {
    ReplicaId { node: NodeId::from_bytes([node; 32]), generation: Generation::new(generation) }
}

fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..6, 1_000_000_u64..1_000_300, any::<u64>(), Just(u64::MAX)]
}

fn any_replica() -> impl Strategy<Value = ReplicaId> {
    (0_u8..4, any_number()).prop_map(|(node, generation)| replica(node, generation))
}

fn any_dot() -> impl Strategy<Value = Dot> {
    (any_replica(), any_number()).prop_map(|(replica, counter)| Dot::new(replica, counter))
}

fn any_hlc() -> impl Strategy<Value = Hlc> {
    (any_number(), any::<u16>()).prop_map(|(millis, logical)| Hlc::new(millis, logical))
}

fn any_key() -> impl Strategy<Value = Key> {
    // Many that begin alike, with characters of several bytes, and some that are longer than what may be shared.
    let long = "k".repeat(SHARED_BYTES_MAX - 2);
    prop_oneof!["[aä]{1,3}/[éèa]{0,4}", ".{1,9}".prop_filter("a key", |k| k.parse::<Key>().is_ok())]
        .prop_flat_map(move |k| prop_oneof![Just(k.clone()), Just(format!("{long}{k}"))])
        .prop_map(|k| k.parse().unwrap())
}

fn any_value() -> impl Strategy<Value = Value> {
    vec(any::<u8>(), 0..20).prop_map(|bytes| Value::new(bytes).unwrap())
}

fn any_run() -> impl Strategy<Value = Run> {
    [any_number(), any_number(), any_number(), any_number()].prop_map(|[start, last, plus, minus]| Run {
        start,
        last,
        plus,
        minus,
    })
}

fn any_lease() -> impl Strategy<Value = Lease> {
    prop_oneof![Just(Lease::Life), any_number().prop_map(|unix_ms| Lease::Until { unix_ms })]
}

fn any_effect() -> impl Strategy<Value = Effect> {
    let lent =
        prop_oneof![Just(Lent::Flag), any_value().prop_map(Lent::Value), any_value().prop_map(Lent::Element)];
    prop_oneof![
        Just(Effect::Delete),
        Just(Effect::Remove),
        Just(Effect::Enable),
        any_value().prop_map(|value| Effect::Set { value }),
        any_value().prop_map(|element| Effect::Add { element }),
        any_run().prop_map(|run| Effect::Count { run }),
        btree_map(any_replica(), any_run(), 0..4).prop_map(|floors| Effect::Reset { floors }),
        (lent, any_lease()).prop_map(|(lent, lease)| Effect::Lend { lent, lease }),
    ]
}

fn any_entry() -> impl Strategy<Value = Arc<Entry>> {
    let removed = vec(any_dot().prop_filter("a write", |dot| dot.counter > 0), 0..5);
    (any_dot(), any_hlc(), any_key(), any_effect(), removed).prop_map(|(dot, hlc, key, effect, removed)| {
        Arc::new(Entry { dot, hlc, key, effect, removed: removed.into_iter().collect::<Dots>() })
    })
}

fn any_part() -> impl Strategy<Value = Part> {
    let run = || prop::option::of(any_run());
    prop_oneof![
        (any_dot(), any_hlc(), any_value()).prop_map(|(dot, hlc, value)| Part::Sibling { dot, hlc, value }),
        (any_dot(), any_value()).prop_map(|(dot, element)| Part::Element { dot, element }),
        (any_replica(), run(), run()).prop_map(|(replica, run, floor)| Part::Share { replica, run, floor }),
        any_dot().prop_map(|dot| Part::Flag { dot }),
        (any_dot(), any_lease()).prop_map(|(dot, lease)| Part::Lease { dot, lease }),
    ]
}

fn any_slice() -> impl Strategy<Value = Slice> {
    vec((any_key(), vec(any_part(), 0..4)), 0..6).prop_map(|cells| Slice { extent: Extent::Keys, cells })
}

/// Of the bytes of `value` one is another, or the end is missing: what is read of that is written as itself, never longer.
fn damaged<T>(value: &T, at: prop::sample::Index, to: u8) -> Result<(), TestCaseError>
where
    T: Serialize + serde::de::DeserializeOwned + PartialEq + fmt::Debug,
{
    let whole = codec::encode(value);
    let at = at.index(whole.len());
    let mut other = whole.clone();
    other[at] = to;
    prop_assert!(decode::<T>(&whole[..at]).is_err(), "cut");
    if let Ok(value) = decode::<T>(&other) {
        let again = codec::encode(&value);
        prop_assert!(again.len() <= other.len());
        prop_assert_eq!(decode::<T>(&again), Ok(value));
    }
    Ok(())
}

proptest! {
    #[test]
    fn entries_come_as_they_went(all in vec(any_entry(), 0..8), at: prop::sample::Index, to: u8) {
        let weight: usize = all.iter().map(|entry| entries::weight(entry)).sum();
        let all = Entries(all);
        let bytes = codec::encode(&all);
        // A few bytes stand beside them: how many names there are, and how many entries.
        prop_assert!(bytes.len() <= weight + 6, "{} {weight}", bytes.len());
        prop_assert_eq!(decode::<Entries>(&bytes), Ok(all.clone()));
        damaged(&all, at, to)?;
    }

    #[test]
    fn cells_come_as_they_went(slice in any_slice(), at: prop::sample::Index, to: u8) {
        let (weight, slice) = (slice::weight(&slice), Cells(slice));
        let bytes = codec::encode(&slice);
        prop_assert!(bytes.len() <= weight, "{} {weight}", bytes.len());
        prop_assert_eq!(decode::<Cells>(&bytes), Ok(slice.clone()));
        damaged(&slice, at, to)?;
    }

    #[test]
    fn symbols_come_as_they_were_told_and_ids_as_they_went(
        all in vec((any::<u64>(), any::<u64>(), any::<i64>()), 0..9),
        names in btree_set(any::<u64>(), 0..9),
    ) {
        let symbol = |(sum, check, count)| Symbol { sum, check, count }.told();
        let all = Symbols(all.into_iter().map(symbol).collect());
        let bytes = codec::encode(&all);
        prop_assert_eq!((bytes.len(), decode(&bytes)), (1 + 17 * all.0.len(), Ok(all)));
        let names = Ids(names);
        let bytes = codec::encode(&names);
        prop_assert_eq!((bytes.len(), decode(&bytes)), (1 + 8 * names.0.len(), Ok(names)));
    }

    #[test]
    fn hostile_bytes_are_refused_or_read_the_same_again(bytes in vec(prop_oneof![any::<u8>(), 0..4_u8], 0..80)) {
        fn try_as<T: Serialize + serde::de::DeserializeOwned + PartialEq + fmt::Debug>(
            bytes: &[u8],
        ) -> Result<(), TestCaseError> {
            if let Ok(value) = decode::<T>(bytes) {
                let again = codec::encode(&value);
                prop_assert!(again.len() <= bytes.len());
                prop_assert_eq!(decode::<T>(&again), Ok(value));
            }
            Ok(())
        }
        try_as::<Entries>(&bytes)?;
        try_as::<Cells>(&bytes)?;
        try_as::<Ids>(&bytes)?;
    }
}

/// With the largest numbers everywhere, all of them in a table.
#[test]
fn the_weight_covers_the_largest_numbers() {
    let run = Run { start: u64::MAX, last: u64::MAX, plus: u64::MAX, minus: u64::MAX };
    let names = |from: u64| (from..from + 300).map(|n| replica((n % 256) as u8, u64::MAX - n * n));
    let entry = |n: u64, effect| Entry {
        dot: Dot::new(replica(n as u8, u64::MAX - n), u64::MAX / (n + 1)),
        hlc: Hlc::new(u64::MAX / (1 + n % 2), u16::MAX),
        key: key(&format!("{n}{}", "k".repeat(500))),
        effect,
        removed: names(n * 300).map(|replica| Dot::new(replica, u64::MAX)).collect(),
    };
    let effects = [
        Effect::Reset { floors: names(9_000).map(|replica| (replica, run)).collect() },
        Effect::Count { run },
    ];
    for effect in effects {
        let all = Entries((0..8).map(|n| Arc::new(entry(n, effect.clone()))).collect());
        for some in [all.clone(), Entries(vec![all.0[0].clone()])] {
            let weight: usize = some.0.iter().map(|entry| entries::weight(entry)).sum();
            let bytes = codec::encode(&some);
            assert!(bytes.len() <= weight + 6, "{} {weight}", bytes.len());
            assert_eq!(decode(&bytes), Ok(some));
        }
    }
    let share = |replica| Part::Share { replica, run: Some(run), floor: Some(run) };
    let sibling = |n: u64| Part::Sibling {
        dot: Dot::new(replica(n as u8, u64::MAX - n * n), u64::MAX),
        hlc: Hlc::new(u64::MAX / (1 + n % 2), u16::MAX),
        value: Value::new([7]).unwrap(),
    };
    for parts in [names(0).map(share).collect::<Vec<_>>(), (0..1_000).map(sibling).collect()] {
        let slice = Cells(Slice { extent: Extent::Keys, cells: vec![(key("k"), parts)] });
        let bytes = codec::encode(&slice);
        let weight = slice::weight(&slice.0);
        assert!(bytes.len() <= weight, "{} {weight}", bytes.len());
        assert_eq!(decode(&bytes), Ok(slice));
    }
}

#[test]
fn what_is_shared_is_told_once() {
    let entry = |n: u64| Entry {
        dot: Dot::new(replica(1, 1 << 60), 1_000 + n),
        hlc: Hlc::new(1_700_000_000_000 + 10 * n, 0),
        key: key(&format!("app/greetings/{n:03}")),
        effect: Effect::Set { value: Value::new(*b"hello").unwrap() },
        removed: Dots::from_iter([Dot::new(replica(2, 1 << 60), 7 + n)]),
    };
    let bytes = |count| codec::encode(&Entries((0..count).map(|n| Arc::new(entry(n))).collect())).len();
    // Two names and a whole key, once.
    assert!(bytes(1) < 45 + 45 + 45, "{}", bytes(1));
    // Dot 2, time 2, key 3, value 7, the removed dot 4.
    assert!(bytes(101) - bytes(1) <= 101 * 19, "{}", bytes(101) - bytes(1));
}

/// A frame that says the same again and again is not taken for more than what its sender may have meant.
#[test]
fn small_bytes_do_not_become_a_large_message() {
    let table: NamesTold = vec![(NodeId::from_bytes([1; 32]), vec![1])];
    let flags = |count: usize| {
        // A key, and flags of three bytes: which variant, the first name, one more than the last.
        let mut bytes = codec::encode(&(table.clone(), Extent::Keys, count as u64 + 1));
        bytes.extend([0, 0, 1, b'k']);
        bytes.extend([4, 0, 2].repeat(count));
        bytes
    };
    let few = decode::<Cells>(&flags(5_000)).unwrap();
    assert_eq!(few.0.cells[0].1.len(), 5_000);
    let why = decode::<Cells>(&flags(50_000)).unwrap_err();
    assert!(why.to_string().contains("more than a frame may have"), "{why}");

    let enable = [0, 2, 0, 0, 0, 1, b'k', 6, 0];
    let entries = |count: usize| {
        let mut bytes = codec::encode(&(table.clone(), count as u64));
        bytes.extend(enable.repeat(count));
        bytes
    };
    assert_eq!(decode::<Entries>(&entries(2_000)).unwrap().0.len(), 2_000);
    let why = decode::<Entries>(&entries(20_000)).unwrap_err();
    assert!(why.to_string().contains("more than a frame may have"), "{why}");
}

#[test]
fn what_nobody_writes_is_refused() {
    let id = NodeId::from_bytes([1; 32]);
    let [a, b] = [1, 2].map(|n| NodeId::from_bytes([n; 32]));
    let first = (0_u32, 1_i64);
    type Told = (DotTold, HlcTold, (u8, &'static str), u32, Vec<i64>);
    let entry = |dot, hlc, key, removed| -> Told { (dot, hlc, key, 0, removed) };
    let read = |names: NamesTold, entries: Vec<Told>| decode::<Entries>(&codec::encode(&(names, entries)));
    let one = || vec![(id, vec![1_u64])];
    let good = || entry(first, (5, 0), (0, "k"), vec![0, 1, 1]);
    assert!(read(one(), vec![good()]).is_ok());
    assert!(read(vec![(b, vec![1]), (a, vec![1])], vec![]).is_err(), "nodes descend");
    assert!(read(vec![(a, vec![1]), (a, vec![1])], vec![]).is_err(), "a node twice");
    assert!(read(vec![(a, vec![1, 0])], vec![]).is_err(), "a generation twice");
    assert!(read(vec![(a, vec![u64::MAX, 1])], vec![]).is_err(), "after the last generation");
    assert!(read(vec![], vec![good()]).is_err(), "not named");
    for (bad, what) in [
        (entry((1, 1), (5, 0), (0, "k"), vec![]), "not named"),
        (entry(first, (-1, 0), (0, "k"), vec![]), "before all time"),
        (entry(first, (5, 0), (1, "k"), vec![]), "there was no key"),
        (entry(first, (5, 0), (0, ""), vec![]), "not a key"),
        (entry(first, (5, 0), (0, "k"), vec![0]), "dots that end"),
        (entry(first, (5, 0), (0, "k"), vec![0, 2, 1]), "dots that end"),
        (entry(first, (5, 0), (0, "k"), vec![0, -1, 1]), "fewer than none"),
        (entry(first, (5, 0), (0, "k"), vec![0, 0]), "none"),
        (entry(first, (5, 0), (0, "k"), vec![0, 2, 1, 0]), "a dot twice"),
        (entry(first, (5, 0), (0, "k"), vec![0, 1, -1]), "a dot of no write"),
        (entry(first, (5, 0), (0, "k"), vec![0, 1, 1, 0, 1, 1]), "a replica twice"),
        (entry(first, (5, 0), (0, "k"), vec![1, 1, 1]), "not named"),
        (entry(first, (5, 0), (0, "k"), vec![i64::MAX, 1, 1]), "not named"),
    ] {
        assert!(read(one(), vec![bad]).is_err(), "{what}");
    }
    // In the middle of a character, and more than may be shared.
    let then = |shared, rest: &'static str| entry(first, (0, 0), (shared, rest), vec![]);
    let after = |key: &'static str, next| read(one(), vec![entry(first, (5, 0), (0, key), vec![]), next]);
    assert!(after("aé", then(3, "x")).is_ok() && after("aé", then(2, "x")).is_err());
    let long: &'static str = Box::leak("k".repeat(200).into_boxed_str());
    assert!(after(long, then(64, "x")).is_ok() && after(long, then(65, "x")).is_err());
    // Floors, and parts without a cell.
    let reset = |floors: Vec<(u32, [u64; 4])>| {
        let told = (first, (5_i64, 0_u16), (0_u8, "k"), (5_u32, floors), Vec::<i64>::new());
        decode::<Entries>(&codec::encode(&(vec![(id, vec![1_u64, 1])], vec![told])))
    };
    assert!(reset(vec![(0, [1; 4]), (1, [1; 4])]).is_ok());
    assert!(reset(vec![(1, [1; 4]), (0, [1; 4])]).is_err() && reset(vec![(2, [1; 4])]).is_err());
    let flag = codec::encode(&(one(), Extent::Keys, vec![(4_u32, first)]));
    assert!(decode::<Cells>(&flag).is_err());
    assert!(decode::<Ids>(&codec::encode(&vec![[2_u8; 8], [1; 8]])).is_err());
}
