use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::ops::Range;

const KEY: [u8; 16] = [9; 16];

/// Some well-mixed items: those of one seed with these numbers.
fn items(seed: u8, numbers: Range<usize>) -> Vec<u64> {
    let keyed = Keyed::new([seed; 16]);
    numbers.map(|number| keyed.hash(number as u64)).collect()
}

fn sketch(key: [u8; 16], len: usize, items: &[u64]) -> Sketch {
    let mut sketch = Sketch::new(key, len);
    items.iter().for_each(|&item| sketch.insert(item));
    sketch
}

fn sorted(mut items: Vec<u64>) -> Vec<u64> {
    items.sort_unstable();
    items
}

/// What two sets of one seed differ in, that have the numbers of `both` in common.
fn difference(seed: u8, both: usize, ours: usize, theirs: usize) -> (Vec<u64>, Vec<u64>, Difference) {
    let ours_only = items(seed, both..both + ours);
    let theirs_only = items(seed, both + ours..both + ours + theirs);
    let with = |more: &[u64]| [items(seed, 0..both), more.to_vec()].concat();
    let sets = (with(&ours_only), with(&theirs_only));
    let difference = Difference { ours_only: sorted(ours_only), theirs_only: sorted(theirs_only) };
    (sets.0, sets.1, difference)
}

/// How many symbols it takes, until they decode to this difference.
fn symbols_needed(ours: &Sketch, theirs: &Sketch, expected: &Difference) -> usize {
    let mut decoder = Decoder::new(ours);
    for symbol in theirs.symbols() {
        decoder.push(symbol).unwrap();
        if decoder.is_decoded() {
            break;
        }
    }
    let received = decoder.received();
    assert_eq!(decoder.finish().as_ref(), Ok(expected));
    received
}

#[test]
fn equal_sets_need_one_symbol() {
    for set in [items(1, 0..0), items(1, 0..1), items(1, 0..5_000)] {
        let sketch = sketch(KEY, 8, &set);
        assert_eq!(symbols_needed(&sketch, &sketch, &Difference::default()), 1);
    }
}

#[test]
fn nothing_is_known_before_the_first_symbol() {
    let decoder = Decoder::new(&sketch(KEY, 8, &[]));
    assert!(!decoder.is_decoded());
    assert_eq!(decoder.finish(), Err(SketchError::Undecoded));
}

/// Section 5 derives 1.35 for large differences, and its simulations have a peak of 1.72, at d = 4. Over many seeds
/// ours has 1.61 at d = 2, 1.76 at 4, its peak of 1.77 at 5, 1.73 at 10, 1.51 at 50, 1.45 at 100, 1.376 at 1,000 and
/// 1.359 at 10,000; up to d = 100 that was held against a model in which each item is in symbol i by the toss of a
/// coin of its own, and they agree. The bounds are some four standard errors around that.
#[test]
fn the_overhead_has_its_peak_at_five_and_goes_to_that_of_the_paper() {
    // A difference of d, how often it is tried, and the mean number of symbols over d, at least and at most.
    let cases = [
        (1, 50, 1.0..=1.0),
        (2, 1_000, 1.49..=1.72),
        (5, 1_000, 1.68..=1.86),
        (10, 500, 1.64..=1.81),
        (50, 100, 1.44..=1.58),
        (100, 60, 1.40..=1.50),
        (1_000, 10, 1.35..=1.41),
        (10_000, 2, 1.35..=1.38),
    ];
    for (d, tries, bounds) in cases {
        let mut needed = 0;
        for number in 0..tries {
            let set = items(2, number * d..(number + 1) * d);
            let (ours_only, theirs_only) = set.split_at(d / 2);
            let expected = Difference {
                ours_only: sorted(ours_only.to_vec()),
                theirs_only: sorted(theirs_only.to_vec()),
            };
            // A few items may share more symbols than twice their number.
            let len = 2 * d + 200;
            needed += symbols_needed(&sketch(KEY, len, ours_only), &sketch(KEY, len, theirs_only), &expected);
        }
        let overhead = needed as f64 / (tries * d) as f64;
        assert!(bounds.contains(&overhead), "d = {d}: {overhead}");
    }
}

#[test]
fn symbols_beyond_our_sketch_are_refused() {
    let (ours, theirs, expected) = difference(3, 10, 20, 20);
    let (long, short) = (sketch(KEY, 200, &theirs), sketch(KEY, 30, &ours));
    let mut decoder = Decoder::new(&short);
    assert_eq!(decoder.extend(long.symbols()), Err(SketchError::Beyond { len: 30 }));
    assert_eq!(decoder.received(), 30);
    assert_eq!(decoder.push(&long.symbols()[30]), Err(SketchError::Beyond { len: 30 }));
    assert_eq!(decoder.finish(), Err(SketchError::Undecoded));
    // What a peer sends after the difference is known does no harm.
    let mut decoder = Decoder::new(&sketch(KEY, 100, &ours));
    assert_eq!(decoder.extend(long.symbols()), Ok(()));
    assert_eq!(decoder.push(&Symbol { sum: 1, check: 2, count: 3 }), Ok(()));
    assert!(decoder.is_decoded() && decoder.received() < 100);
    assert_eq!(decoder.finish(), Ok(expected));
    let mut none = Decoder::new(&sketch(KEY, 0, &[]));
    assert_eq!(none.push(&Symbol::EMPTY), Err(SketchError::Beyond { len: 0 }));
}

#[test]
fn another_key_decodes_to_nothing() {
    let (ours, theirs, _) = difference(4, 100, 3, 3);
    let theirs = sketch([8; 16], 300, &theirs);
    for ours in [&ours[..], &ours[..1], &[]] {
        let mut decoder = Decoder::new(&sketch(KEY, 300, ours));
        assert_eq!(decoder.extend(theirs.symbols()), Ok(()));
        assert_eq!(decoder.finish(), Err(SketchError::Undecoded));
    }
}

/// An item that was put in twice is in no difference, but it is noticed, and forgotten once it is taken out.
#[test]
fn an_item_that_is_there_twice_does_not_decode() {
    let set = items(5, 0..50);
    let theirs = sketch(KEY, 100, &set);
    let mut ours = sketch(KEY, 100, &set);
    ours.insert(set[7]);
    ours.insert(set[7]);
    let mut decoder = Decoder::new(&ours);
    assert_eq!(decoder.extend(theirs.symbols()), Ok(()));
    assert_eq!(decoder.finish(), Err(SketchError::Undecoded));
    ours.remove(set[7]);
    ours.remove(set[7]);
    assert_eq!(symbols_needed(&ours, &theirs, &Difference::default()), 1);
}

/// Symbols of somebody who knows the key, and bends one of them.
#[test]
fn an_item_in_the_wrong_places_is_noticed() {
    const LEN: usize = 40;
    let ours = Sketch::new(KEY, LEN);
    let [one, two]: [u64; 2] = items(6, 0..2).try_into().unwrap();
    let first = sketch(KEY, LEN, &[one]).symbols()[0];
    let hash = ours.keyed.hash(one);
    let elsewhere = (1..LEN).find(|at| !indices(hash, LEN).any(|index| index == *at)).unwrap();
    let contradiction = |bend: &dyn Fn(&mut Vec<Symbol>)| {
        let mut symbols = sketch(KEY, LEN, &[two, 77]).symbols().to_vec();
        bend(&mut symbols);
        let mut decoder = Decoder::new(&ours);
        assert_eq!(decoder.extend(&symbols), Err(SketchError::Inconsistent));
        assert_eq!(decoder.push(&Symbol::EMPTY), Err(SketchError::Inconsistent), "it stays so");
        assert!(!decoder.is_decoded());
        assert_eq!(decoder.finish(), Err(SketchError::Inconsistent));
    };
    // Where it does not belong; which is noticed there, while the other symbols are still full.
    contradiction(&|symbols| symbols[elsewhere] = first);
    let mut decoder = Decoder::new(&ours);
    let full = sketch(KEY, LEN, &items(6, 2..500));
    assert_eq!(decoder.extend(&full.symbols()[..elsewhere]), Ok(()));
    assert_eq!(decoder.push(&first), Err(SketchError::Inconsistent));
    // In one symbol alone, of all in which it should be; so that it is taken out of the others, and found there again.
    contradiction(&|symbols| symbols[0] += first);
    // In all but one.
    let symbols_of_one = sketch(KEY, LEN, &[one]);
    let second = indices(hash, LEN).nth(1).unwrap();
    for missing in [0, second] {
        contradiction(&|symbols| {
            symbols.iter_mut().zip(symbols_of_one.symbols()).for_each(|(symbol, add)| *symbol += *add);
            symbols[missing] -= first;
        });
    }
}

/// Whatever decodes is the difference to the set whose first symbols these are, if there is any such set.
fn assert_sound(ours: &Sketch, symbols: &[Symbol]) -> Result<(), TestCaseError> {
    let mut decoder = Decoder::new(ours);
    let taken = decoder.extend(symbols);
    let received = decoder.received();
    prop_assert!(received <= ours.symbols().len());
    let is_decoded = decoder.is_decoded();
    let decoded = decoder.finish();
    prop_assert_eq!(is_decoded, decoded.is_ok());
    let Ok(Difference { ours_only, theirs_only }) = decoded else { return Ok(()) };
    prop_assert_eq!(taken, Ok(()));
    prop_assert!(ours_only.len() + theirs_only.len() <= received);
    let all = sorted([&ours_only[..], &theirs_only[..]].concat());
    prop_assert!(all.is_sorted_by(|a, b| a < b), "no item twice");
    let mut theirs = ours.clone();
    ours_only.iter().for_each(|&item| theirs.remove(item));
    theirs_only.iter().for_each(|&item| theirs.insert(item));
    prop_assert_eq!(&theirs.symbols()[..received], &symbols[..received]);
    Ok(())
}

/// Any symbol, often one with small numbers, or a single item in it.
fn any_symbol() -> impl Strategy<Value = Symbol> {
    let count = prop_oneof![-2_i64..3, any::<i64>(), Just(i64::MIN), Just(i64::MAX)];
    let single = (0_u64..6, any::<bool>()).prop_map(|(item, is_theirs)| {
        let symbol = Symbol { sum: item, check: Keyed::new(KEY).hash(item), count: 1 };
        if is_theirs { symbol } else { -symbol }
    });
    let arbitrary =
        (any::<u64>(), any::<u64>(), count).prop_map(|(sum, check, count)| Symbol { sum, check, count });
    prop_oneof![arbitrary, single, Just(Symbol::EMPTY)]
}

proptest! {
    #[test]
    fn hostile_symbols_never_panic_and_end(
        ours in vec(any::<u64>(), 0..20),
        symbols in vec(any_symbol(), 0..60),
        len in 0_usize..80,
    ) {
        assert_sound(&sketch(KEY, len, &ours), &symbols)?;
        assert_sound(&sketch(KEY, len, &[]), &symbols)?;
    }

    /// Items of an attacker who knows the key, put where they belong and where they do not.
    #[test]
    fn almost_honest_symbols_never_decode_wrongly(
        (ours, theirs) in (0_usize..12, 0_usize..12),
        bends in vec((0_usize..40, any_symbol()), 0..4),
        moves in vec((0_usize..40, 0_usize..40), 0..3),
        seed: u8,
    ) {
        let (ours, theirs, _) = difference(seed, 5, ours, theirs);
        let mut symbols = sketch(KEY, 40, &theirs).symbols().to_vec();
        bends.into_iter().for_each(|(at, symbol)| symbols[at] += symbol);
        moves.into_iter().for_each(|(a, b)| symbols.swap(a, b));
        assert_sound(&sketch(KEY, 40, &ours), &symbols)?;
    }

    #[test]
    fn any_prefix_that_decodes_decodes_rightly(
        (both, ours, theirs) in (0_usize..60, 0_usize..12, 0_usize..12),
        seed: u8,
        key: [u8; 16],
    ) {
        let (ours, theirs, expected) = difference(seed, both, ours, theirs);
        let (ours, theirs) = (sketch(key, 200, &ours), sketch(key, 200, &theirs));
        let needed = symbols_needed(&ours, &theirs, &expected);
        for len in 0..needed + 5 {
            let mut decoder = Decoder::new(&ours);
            prop_assert_eq!(decoder.extend(&theirs.symbols()[..len]), Ok(()));
            let decoded = if len < needed { Err(SketchError::Undecoded) } else { Ok(expected.clone()) };
            prop_assert_eq!(decoder.finish(), decoded);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 32, ..ProptestConfig::default() })]
    #[test]
    fn the_difference_of_large_sets_is_exact(
        both in 0_usize..20_000,
        (ours, theirs) in (0_usize..1_500, 0_usize..1_500),
        seed: u8,
    ) {
        let (ours, theirs, expected) = difference(seed, both, ours, theirs);
        symbols_needed(&sketch(KEY, 5_000, &ours), &sketch(KEY, 5_000, &theirs), &expected);
    }
}

/// What a peer is asked for, piece by piece, and told with counts of eight bits.
#[test]
fn a_stream_in_pieces_is_hardly_longer_than_it_must_be() {
    // A difference, how many symbols are asked for at first, and the mean of all over those that it takes, at most.
    let cases =
        [(2, 9, 3.6), (20, 23, 1.5), (200, 158, 1.25), (2_000, 1_508, 1.12), (200, 8, 1.4), (2_000, 8, 1.4)];
    for (d, first, most) in cases {
        let (mut told, mut needed) = (0, 0);
        for seed in 0..20 {
            let (ours, theirs, expected) = difference(seed, 1_000, d / 2, d - d / 2);
            let (ours, theirs) = (sketch(KEY, 8_192, &ours), sketch(KEY, 8_192, &theirs));
            let symbols: Vec<Symbol> = theirs.symbols().iter().map(|symbol| symbol.told()).collect();
            let (mut len, mut pieces) = (first, 1);
            loop {
                let mut decoder = Decoder::new(&ours);
                decoder.extend(&symbols[..len]).unwrap();
                if decoder.is_decoded() {
                    needed += decoder.received();
                    assert_eq!(decoder.finish().as_ref(), Ok(&expected));
                    break;
                }
                let enough = ours.enough(&symbols[..len]);
                assert!(enough > len && enough <= 3 * len + 8, "{enough} after {len}");
                (len, pieces) = (enough, pieces + 1);
            }
            told += len;
            assert!(pieces <= 9, "{pieces} for {d} from {first}");
        }
        let ratio = told as f64 / needed as f64;
        assert!(ratio <= most, "{d} from {first}: {ratio}");
        assert!(ratio >= 1.0);
    }
}
