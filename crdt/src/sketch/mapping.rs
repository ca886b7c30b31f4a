//! In which symbols an item takes part: what its keyed hash decides, alike on every machine.

use std::fmt;

/// The keyed hash of an item: SipHash-2-4 (Aumasson, Bernstein: *SipHash: a fast short-input PRF*, 2012), which is
/// made for short inputs and 128-bit keys, and which the paper uses too (section 4.3).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Keyed(u64, u64);

impl Keyed {
    pub(super) fn new(key: [u8; 16]) -> Self {
        let key = u128::from_le_bytes(key);
        Keyed(key as u64, (key >> 64) as u64)
    }

    pub(super) fn key(&self) -> [u8; 16] {
        (u128::from(self.1) << 64 | u128::from(self.0)).to_le_bytes()
    }

    /// SipHash-2-4 of the item's eight bytes, the lowest first.
    pub(super) fn hash(&self, item: u64) -> u64 {
        const LENGTH_BLOCK: u64 = 8 << 56;
        let mut v = [
            self.0 ^ 0x736f_6d65_7073_6575,
            self.1 ^ 0x646f_7261_6e64_6f6d,
            self.0 ^ 0x6c79_6765_6e65_7261,
            self.1 ^ 0x7465_6462_7974_6573,
        ];
        for block in [item, LENGTH_BLOCK] {
            v[3] ^= block;
            (0..2).for_each(|_| sip_round(&mut v));
            v[0] ^= block;
        }
        v[2] ^= 0xff;
        (0..4).for_each(|_| sip_round(&mut v));
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }
}

impl fmt::Debug for Keyed {
    /// Logs are read by more people than should know a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyed(..)")
    }
}

fn sip_round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[2] = v[2].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[1]);
    v[0] = v[0].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].rotate_left(32);
}

/// The indices below `len` of the symbols in which an item with this hash takes part, ascending. The first is 0, and
/// index i is among them with probability 1 / (1 + i / 2), independently of the others: about 2 ln(len) of them.
///
/// `len` is at most [`SKETCH_SYMBOLS_MAX`](chinwag_base::limits::SKETCH_SYMBOLS_MAX).
pub(super) fn indices(hash: u64, len: usize) -> impl Iterator<Item = usize> {
    // SplitMix64 (Steele, Lea, Flood: *Fast Splittable Pseudorandom Number Generators*, 2014). It need not be secure:
    // nobody who lacks the key knows the seed.
    let mut state = hash;
    let mut random = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    };
    let mut next = 0;
    std::iter::from_fn(move || {
        let index = next;
        (index < len as u64).then(|| {
            next = following(index, random());
            index as usize
        })
    })
}

/// Bits in which a random fraction is cut.
const FRACTION_BITS: u32 = 31;

/// The square roots of (i + 1)(i + 2) for the first i, nearly. For a later one i + 3/2 is near enough.
const ROOTS: [f32; 64] = {
    const SCALE_BITS: u32 = 20;
    let mut roots = [0.0; 64];
    let mut i = 0;
    while i < roots.len() {
        let product = ((i + 1) * (i + 2)) as u64;
        roots[i] = (product << (2 * SCALE_BITS)).isqrt() as f32 / (1_u64 << SCALE_BITS) as f32;
        i += 1;
    }
    roots
};

/// The next index after `index`, at most 65,535, in which an item takes part.
///
/// Looking at each index in turn would be slow, so the paper draws the next one (section 4.2, inverse transform
/// sampling). That index x is passed over has probability 1 - 1 / (1 + x / 2) = x / (x + 2), so that all of i + 1 to x
/// are has (i + 1)(i + 2) / (x + 1)(x + 2): the product telescopes. The next index is the least x at which this is no
/// more than a random fraction.
///
/// Decided in integers, because two machines that round differently would never agree. The paper's closed form needs a
/// power, whose last bit no standard settles; and it is an approximation, which this is not. A square root in floating
/// point says only where to look.
#[inline]
fn following(index: u64, random: u64) -> u64 {
    // An odd number of 2^-31: the middle of one of 2^30 equal parts of (0, 1), and never 0.
    let fraction = random >> (u64::BITS - FRACTION_BITS) | 1;
    let passed = (index + 1) * (index + 2);
    // `passed` is below 2^33, and the products near x are little above this, so that all of them fit.
    let enough = passed << FRACTION_BITS;
    let is_enough = |x: u64| (x + 1) * (x + 2) * fraction >= enough;
    // (x + 1)(x + 2) is (x + 3/2)^2 - 1/4. The second root does not wait for `index`, so it costs little.
    let root = ROOTS.get(index as usize).copied().unwrap_or(index as f32 + 1.5);
    let root = root * ((1_u64 << FRACTION_BITS) as f32 / fraction as f32).sqrt();
    let mut x = (root - 0.5) as i64 as u64;
    while !is_enough(x) {
        x += 1;
    }
    while x > index + 1 && is_enough(x - 1) {
        x -= 1;
    }
    x.max(index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chinwag_base::limits::SKETCH_SYMBOLS_MAX;
    use proptest::prelude::*;

    #[test]
    fn the_hash_is_siphash() {
        // From the paper's appendix: the key 00 01 … 0f, the input 00 01 … 07.
        let keyed = Keyed::new(std::array::from_fn(|i| i as u8));
        assert_eq!(keyed.hash(0x0706_0504_0302_0100), 0x93f5_f579_9a93_2462);
    }

    #[test]
    fn indices_are_as_dense_as_the_paper_says() {
        const ITEMS: u32 = 4_000;
        const LEN: usize = 2_000;
        let keyed = Keyed::new([1; 16]);
        let mut hits = vec![0_u32; LEN];
        (0..ITEMS).for_each(|item| indices(keyed.hash(item.into()), LEN).for_each(|index| hits[index] += 1));
        assert_eq!(hits[0], ITEMS, "everything is in the first symbol");
        // Ranges that each expect hundreds of hits; five standard deviations.
        for range in [1..2, 2..3, 3..4, 4..8, 8..16, 16..64, 64..256, 256..1_000, 1_000..LEN] {
            let rho = |index: usize| 1.0 / (1.0 + index as f64 / 2.0);
            let expected = range.clone().map(rho).sum::<f64>() * f64::from(ITEMS);
            let variance = range.clone().map(|i| rho(i) * (1.0 - rho(i))).sum::<f64>() * f64::from(ITEMS);
            let found: u32 = hits[range.clone()].iter().sum();
            assert!(
                (f64::from(found) - expected).abs() < 5.0 * variance.sqrt(),
                "{range:?}: {found} {expected}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_next_index_is_the_least_that_is_far_enough(
            index in prop_oneof![0_u64..100, 0..SKETCH_SYMBOLS_MAX as u64],
            // Any, and those of the smallest and the largest fractions.
            random in (any::<u64>(), 0_u32..3).prop_map(|(random, edge)| match edge {
                0 => random,
                1 => random >> 30,
                _ => random | !0 << 36,
            }),
        ) {
            let fraction = u128::from(random >> 33 | 1);
            let is_enough = |x: u64| {
                let product = |x: u64| u128::from(x + 1) * u128::from(x + 2);
                product(x) * fraction >= product(index) << 31
            };
            let next = following(index, random);
            prop_assert!(next > index && is_enough(next) && !is_enough(next - 1));
        }

        #[test]
        fn indices_ascend_from_zero_and_end(hash: u64, len in 0..=SKETCH_SYMBOLS_MAX) {
            let all: Vec<usize> = indices(hash, len).collect();
            prop_assert!(all.is_sorted_by(|a, b| a < b));
            prop_assert_eq!(all.first(), (len > 0).then_some(&0));
            prop_assert!(all.iter().all(|&index| index < len));
        }
    }
}
