//! Sixteen words side by side, as an instruction set holds them.
//!
//! [`Plain`] is an array and says what is meant; what AVX2 and AVX-512 have of their own is in [`avx2`] and
//! [`avx512`]. All give the same.

#![expect(clippy::inline_always, reason = "it must become part of the function that has the instruction set")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

use super::machine::LANES;
use super::word::Word;

#[cfg(target_arch = "x86_64")]
pub(super) use avx2::{Avx2, Y32};
#[cfg(target_arch = "x86_64")]
pub(super) use avx512::{Avx512, Z32, Z64};

/// How an instruction set holds words.
pub(super) trait Set {
    type Lanes<W: Word>: Lanes<W>;
}

/// A word for each of [`LANES`] rows.
pub(super) trait Lanes<W: Word>: Copy {
    /// The number of a leaf for each row.
    type Leaves: Leaves;

    fn splat(word: W) -> Self;
    fn load(words: &[W; LANES]) -> Self;
    fn and(self, other: Self) -> Self;
    /// Where a row's key is greater than the cut, what it has in common with the mask.
    fn and_where(self, keys: &[i32; LANES], cut: i32, mask: W) -> Self;
    /// See [`Word::lowest`].
    fn lowest(self) -> Self::Leaves;
}

/// The number of a leaf for each of [`LANES`] rows.
pub(super) trait Leaves: Copy {
    fn numbers(self) -> [u32; LANES];

    /// Adds the value of each row's leaf to its sum.
    #[inline(always)]
    fn add_32(self, table: &[f32; 32], sums: &mut [f32; LANES]) {
        add(self.numbers(), table, sums);
    }

    /// Adds the value of each row's leaf to its sum.
    #[inline(always)]
    fn add_64(self, table: &[f32; 64], sums: &mut [f32; LANES]) {
        add(self.numbers(), table, sums);
    }
}

/// Adds the value of each row's leaf to its sum. `SIZE`: a power of two.
#[inline(always)]
pub(super) fn add<S: Copy + std::ops::Add<Output = S>, const SIZE: usize>(
    leaves: [u32; LANES],
    table: &[S; SIZE],
    sums: &mut [S; LANES],
) {
    for (sum, leaf) in sums.iter_mut().zip(leaves) {
        // Within the table in any case, which saves the question.
        *sum = *sum + table[leaf as usize & (SIZE - 1)];
    }
}

/// What every processor has, and the compiler's own vectors.
pub(super) struct Portable;

impl Set for Portable {
    type Lanes<W: Word> = Plain<W>;
}

/// Words in an array.
#[derive(Clone, Copy)]
pub(super) struct Plain<W>([W; LANES]);

impl<W: Word> Lanes<W> for Plain<W> {
    type Leaves = [u32; LANES];

    #[inline(always)]
    fn splat(word: W) -> Self {
        Self([word; LANES])
    }

    #[inline(always)]
    fn load(words: &[W; LANES]) -> Self {
        Self(*words)
    }

    #[inline(always)]
    fn and(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word = word.and(other));
        self
    }

    #[inline(always)]
    fn and_where(mut self, keys: &[i32; LANES], cut: i32, mask: W) -> Self {
        self.0.iter_mut().zip(keys).for_each(|(word, key)| *word = word.and_if(*key > cut, mask));
        self
    }

    #[inline(always)]
    fn lowest(self) -> Self::Leaves {
        self.0.map(Word::lowest)
    }
}

impl Leaves for [u32; LANES] {
    #[inline(always)]
    fn numbers(self) -> [u32; LANES] {
        self
    }
}
