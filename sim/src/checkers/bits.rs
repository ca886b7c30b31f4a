//! A set of small numbers: hosts, or values that were numbered. One bit each, since there may be hosts × hosts.

/// A set of small numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn insert(&mut self, number: usize) {
        if self.0.len() <= number / 64 {
            self.0.resize(number / 64 + 1, 0);
        }
        self.0[number / 64] |= 1 << (number % 64);
    }

    /// Takes it out. Says whether it was in there.
    pub(super) fn remove(&mut self, number: usize) -> bool {
        let was = self.contains(number);
        if was {
            self.0[number / 64] &= !(1 << (number % 64));
        }
        was
    }

    pub(super) fn contains(&self, number: usize) -> bool {
        self.0.get(number / 64).is_some_and(|word| word & 1 << (number % 64) != 0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What is in both.
    pub(super) fn and(&self, other: &Bits) -> Bits {
        Bits(self.0.iter().zip(&other.0).map(|(a, b)| a & b).collect())
    }

    /// All in there, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.0.len() * 64).filter(|&number| self.contains(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_in_and_out() {
        let mut bits = Bits::default();
        assert!(bits.is_empty() && !bits.contains(700));
        bits.insert(3);
        bits.insert(130);
        assert_eq!(bits.iter().collect::<Vec<_>>(), [3, 130]);
        let mut other = Bits::default();
        other.insert(3);
        assert_eq!(bits.and(&other).iter().collect::<Vec<_>>(), [3]);
        assert!(bits.remove(3) && !bits.remove(3) && !bits.remove(9_999));
        assert_eq!(bits.len(), 1);
    }
}
