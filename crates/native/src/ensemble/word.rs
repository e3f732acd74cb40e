//! Sets of the leaves that a row may still reach: one bit per leaf.

#![expect(clippy::inline_always, reason = "it must become part of the function that has the instruction set")]

use std::fmt::Debug;

use crate::scratch::Scratch;
use crate::vectors::Vector;
#[cfg(target_arch = "x86_64")]
use crate::vectors::{PlainVector, Y32, Z32, Z64};

/// 32, 64, 128 or 256 bits.
pub(crate) trait Word: Copy + Debug + PartialEq + Send + Sync + 'static {
    /// The number of bits.
    const LEAVES: usize;
    /// The set of all leaves.
    const ALL: Self;

    /// [`SIMD_WIDTH`](crate::instructions::SIMD_WIDTH) sets in AVX2 registers.
    #[cfg(target_arch = "x86_64")]
    type Half: Vector<Self>;

    /// [`SIMD_WIDTH`](crate::instructions::SIMD_WIDTH) sets in AVX-512 registers.
    #[cfg(target_arch = "x86_64")]
    type Wide: Vector<Self>;

    /// The intersection.
    fn and(self, other: Self) -> Self;

    /// The intersection if the condition fails; else `self`.
    fn and_if(self, fails: bool, mask: Self) -> Self;

    /// `count` sets of all leaves, in scratch memory.
    fn scratch_sets(scratch: &mut Scratch, count: usize) -> &mut [Self];

    /// All leaves except those from `first` up to `middle`.
    fn without(first: u32, middle: u32) -> Self;

    /// The lowest leaf: the one that the row reaches once all failed conditions have removed leaves. Unspecified, at
    /// most [`Word::LEAVES`], for the empty set, which cannot occur.
    fn lowest(self) -> u32;
}

macro_rules! one_number {
    ($number:ty, $half:ty, $wide:ty, $field:ident) => {
        impl Word for $number {
            const LEAVES: usize = <$number>::BITS as usize;
            const ALL: Self = <$number>::MAX;
            #[cfg(target_arch = "x86_64")]
            type Half = $half;
            #[cfg(target_arch = "x86_64")]
            type Wide = $wide;

            #[inline(always)]
            fn and(self, other: Self) -> Self {
                self & other
            }

            #[inline(always)]
            fn and_if(self, fails: bool, mask: Self) -> Self {
                // Branch-free, so that it vectorises.
                self & (mask | <$number>::from(fails).wrapping_sub(1))
            }

            fn scratch_sets(scratch: &mut Scratch, count: usize) -> &mut [Self] {
                scratch.$field.clear();
                scratch.$field.resize(count, Self::ALL);
                &mut scratch.$field
            }

            fn without(first: u32, middle: u32) -> Self {
                (first..middle.min(Self::BITS)).fold(Self::ALL, |mask, leaf| mask & !(1 << leaf))
            }

            #[inline(always)]
            fn lowest(self) -> u32 {
                // Counts the bits below the lowest. AVX-512 vectors have no other way.
                (!self & self.wrapping_sub(1)).count_ones()
            }
        }
    };
}

one_number!(u32, Y32, Z32, halves);
one_number!(u64, PlainVector<u64>, Z64, words);

impl<const N: usize> Word for [u64; N] {
    const LEAVES: usize = 64 * N;
    const ALL: Self = [u64::MAX; N];
    #[cfg(target_arch = "x86_64")]
    type Half = PlainVector<Self>;
    #[cfg(target_arch = "x86_64")]
    type Wide = PlainVector<Self>;

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

    fn scratch_sets(scratch: &mut Scratch, count: usize) -> &mut [Self] {
        u64::scratch_sets(scratch, N * count).as_chunks_mut().0
    }

    fn without(first: u32, middle: u32) -> Self {
        let part = |at: u32, word: usize| at.saturating_sub(64 * word as u32).min(64);
        std::array::from_fn(|word| u64::without(part(first, word), part(middle, word)))
    }

    #[inline(always)]
    fn lowest(self) -> u32 {
        let mut found = 0;
        // From the highest, so that the lowest wins.
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
            assert_eq!(
                W::without(first, leaves).lowest(),
                if first == 0 { W::without(0, leaves).lowest() } else { 0 }
            );
            assert_eq!(W::ALL.and_if(true, W::without(0, first)).lowest(), first);
            assert_eq!(W::ALL.and_if(false, W::without(0, first)), W::ALL);
            let but_one = W::without(0, first).and(W::without(first + 1, leaves));
            assert_eq!(but_one.lowest(), first);
        }
    }

    #[test]
    fn the_lowest_remaining_leaf_is_found_in_every_width() {
        check::<u32>();
        check::<u64>();
        check::<[u64; 2]>();
        check::<[u64; 4]>();
    }
}
