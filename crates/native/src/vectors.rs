//! Sixteen words side by side, as an instruction set holds them.
//!
//! [`PlainVector`] is an array and the reference. [`avx2`] and [`avx512`] hold the special forms of AVX2 and AVX-512.
//! All give the same results.

#![expect(clippy::inline_always, reason = "it must become part of the function that has the instruction set")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

use crate::ensemble::word::Word;
use crate::instructions::SIMD_WIDTH;

#[cfg(target_arch = "x86_64")]
pub(super) use avx2::{Avx2, Y32};
#[cfg(target_arch = "x86_64")]
pub(super) use avx512::{Avx512, Z32, Z64};

/// How an instruction set holds words.
pub(super) trait InstructionSet {
    type Vector<W: Word>: Vector<W>;
}

/// A word for each of [`SIMD_WIDTH`] rows.
pub(super) trait Vector<W: Word>: Copy {
    /// The number of a leaf for each row.
    type Leaves: Leaves;

    fn splat(word: W) -> Self;
    fn load(words: &[W; SIMD_WIDTH]) -> Self;
    fn and(self, other: Self) -> Self;
    /// Where a row's key is greater than the cut, intersects with the mask.
    fn and_where(self, keys: &[i32; SIMD_WIDTH], cut: i32, mask: W) -> Self;
    /// See [`Word::lowest`].
    fn lowest(self) -> Self::Leaves;
}

/// The number of a leaf for each of [`SIMD_WIDTH`] rows.
pub(super) trait Leaves: Copy {
    fn numbers(self) -> [u32; SIMD_WIDTH];

    /// Adds the value of each row's leaf to its sum.
    #[inline(always)]
    fn add_32(self, table: &[f32; 32], sums: &mut [f32; SIMD_WIDTH]) {
        add(self.numbers(), table, sums);
    }

    /// Adds the value of each row's leaf to its sum.
    #[inline(always)]
    fn add_64(self, table: &[f32; 64], sums: &mut [f32; SIMD_WIDTH]) {
        add(self.numbers(), table, sums);
    }
}

/// Adds the value of each row's leaf to its sum. `SIZE`: a power of two.
#[inline(always)]
pub(super) fn add<S: Copy + std::ops::Add<Output = S>, const SIZE: usize>(
    leaves: [u32; SIMD_WIDTH],
    table: &[S; SIZE],
    sums: &mut [S; SIMD_WIDTH],
) {
    for (sum, leaf) in sums.iter_mut().zip(leaves) {
        // Always within the table, which avoids a bounds check.
        *sum = *sum + table[leaf as usize & (SIZE - 1)];
    }
}

/// For every processor, with the compiler's own vectorisation.
pub(super) struct Portable;

impl InstructionSet for Portable {
    type Vector<W: Word> = PlainVector<W>;
}

/// Words in an array.
#[derive(Clone, Copy)]
pub(super) struct PlainVector<W>([W; SIMD_WIDTH]);

impl<W: Word> Vector<W> for PlainVector<W> {
    type Leaves = [u32; SIMD_WIDTH];

    #[inline(always)]
    fn splat(word: W) -> Self {
        Self([word; SIMD_WIDTH])
    }

    #[inline(always)]
    fn load(words: &[W; SIMD_WIDTH]) -> Self {
        Self(*words)
    }

    #[inline(always)]
    fn and(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word = word.and(other));
        self
    }

    #[inline(always)]
    fn and_where(mut self, keys: &[i32; SIMD_WIDTH], cut: i32, mask: W) -> Self {
        self.0.iter_mut().zip(keys).for_each(|(word, key)| *word = word.and_if(*key > cut, mask));
        self
    }

    #[inline(always)]
    fn lowest(self) -> Self::Leaves {
        self.0.map(Word::lowest)
    }
}

impl Leaves for [u32; SIMD_WIDTH] {
    #[inline(always)]
    fn numbers(self) -> [u32; SIMD_WIDTH] {
        self
    }
}
