//! Sets of the leaves of a tree that a row may still reach, a bit for each leaf.

use std::fmt::Debug;

/// 32, 64, 128 or 256 bits.
pub(super) trait Word: Copy + Debug + PartialEq + Send + Sync + 'static {
    /// Bits.
    const LEAVES: usize;
    /// Every leaf.
    const ALL: Self;

    /// The leaves that both have.
    fn and(self, other: Self) -> Self;

    /// The leaves that both have, or where the condition holds and takes nothing away, all of `self`.
    fn and_if(self, fails: bool, mask: Self) -> Self;

    /// Every leaf but those from `first` up to `middle`.
    fn without(first: u32, middle: u32) -> Self;

    /// The number of the lowest leaf: the one that the row reaches once every condition that fails has taken its leaves
    /// away. Any number up to [`Word::LEAVES`] where there is none, which no tree leads to.
    fn lowest(self) -> u32;
}

macro_rules! one_number {
    ($number:ty) => {
        impl Word for $number {
            const LEAVES: usize = <$number>::BITS as usize;
            const ALL: Self = <$number>::MAX;

            #[inline(always)]
            fn and(self, other: Self) -> Self {
                self & other
            }

            #[inline(always)]
            fn and_if(self, fails: bool, mask: Self) -> Self {
                if fails { self & mask } else { self }
            }

            fn without(first: u32, middle: u32) -> Self {
                (first..middle.min(Self::BITS)).fold(Self::ALL, |mask, leaf| mask & !(1 << leaf))
            }

            #[inline(always)]
            fn lowest(self) -> u32 {
                // The bits below the lowest, counted: vectors of AVX-512 have no other way.
                (!self & self.wrapping_sub(1)).count_ones()
            }
        }
    };
}

one_number!(u32);
one_number!(u64);

impl<const N: usize> Word for [u64; N] {
    const LEAVES: usize = 64 * N;
    const ALL: Self = [u64::MAX; N];

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        let mut both = self;
        both.iter_mut().zip(other).for_each(|(word, other)| *word &= other);
        both
    }

    #[inline(always)]
    fn and_if(self, fails: bool, mask: Self) -> Self {
        let mut both = self;
        both.iter_mut().zip(mask).for_each(|(word, mask)| *word = word.and_if(fails, mask));
        both
    }

    fn without(first: u32, middle: u32) -> Self {
        let part = |at: u32, word: usize| at.saturating_sub(64 * word as u32).min(64);
        std::array::from_fn(|word| u64::without(part(first, word), part(middle, word)))
    }

    #[inline(always)]
    fn lowest(self) -> u32 {
        let mut found = 0;
        // The highest first, so that the lowest has the last say.
        for (at, word) in self.iter().enumerate().rev() {
            let here = 64 * at as u32 + word.lowest();
            found = if *word == 0 { found } else { here };
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<W: Word>() {
        let leaves = W::LEAVES as u32;
        for first in 0..leaves {
            assert_eq!(W::without(0, first).lowest(), first);
            assert_eq!(W::without(first, leaves).lowest(), if first == 0 { W::without(0, leaves).lowest() } else { 0 });
            assert_eq!(W::ALL.and_if(true, W::without(0, first)).lowest(), first);
            assert_eq!(W::ALL.and_if(false, W::without(0, first)), W::ALL);
            let but_one = W::without(0, first).and(W::without(first + 1, leaves));
            assert_eq!(but_one.lowest(), first);
        }
    }

    #[test]
    fn the_lowest_leaf_that_is_left_is_found_in_every_width() {
        check::<u32>();
        check::<u64>();
        check::<[u64; 2]>();
        check::<[u64; 4]>();
    }
}
