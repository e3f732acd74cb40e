//! Words of 32 and 64 bits in AVX-512 registers, and tables of leaves that are looked up in registers.

#![expect(clippy::inline_always, reason = "it must become part of the function that has the instruction set")]

use std::arch::x86_64::{
    __m512, __m512i, _mm512_add_epi32, _mm512_add_epi64, _mm512_add_ps, _mm512_and_si512,
    _mm512_andnot_si512, _mm512_castsi256_si512, _mm512_cmpgt_epi32_mask, _mm512_cvtepi64_epi32,
    _mm512_inserti64x4, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_and_epi32, _mm512_mask_and_epi64,
    _mm512_mask_blend_ps, _mm512_permutex2var_ps, _mm512_popcnt_epi32, _mm512_popcnt_epi64,
    _mm512_set1_epi32, _mm512_set1_epi64, _mm512_storeu_ps, _mm512_storeu_si512,
};

use super::{InstructionSet, Leaves, Vector};
use crate::ensemble::word::Word;
use crate::instructions::SIMD_WIDTH;

/// AVX-512 with the extensions that `Instructions` checks.
pub(crate) struct Avx512;

impl InstructionSet for Avx512 {
    type Vector<W: Word> = W::Wide;
}

/// Sixteen words of 32 bits.
#[derive(Clone, Copy)]
pub(crate) struct Z32(__m512i);

/// Sixteen words of 64 bits.
#[derive(Clone, Copy)]
pub(crate) struct Z64([__m512i; 2]);

/// Runs an expression that needs the instruction set.
macro_rules! on_avx512 {
    ($work:expr) => {{
        #[expect(unsafe_code, reason = "instructions that the compiler does not know to be there")]
        // SAFETY: only `Instructions::Avx512` uses these vectors, and it exists only where the processor has AVX-512.
        // References that are read or written cover a whole register.
        unsafe {
            $work
        }
    }};
}

#[inline(always)]
fn load<T>(from: &[T; SIMD_WIDTH]) -> __m512i {
    const { assert!(size_of::<T>() == 4) };
    on_avx512!(_mm512_loadu_si512(std::ptr::from_ref(from).cast()))
}

impl Vector<u32> for Z32 {
    type Leaves = ZLeaves;

    #[inline(always)]
    fn splat(word: u32) -> Self {
        Self(on_avx512!(_mm512_set1_epi32(word as i32)))
    }

    #[inline(always)]
    fn load(words: &[u32; SIMD_WIDTH]) -> Self {
        Self(load(words))
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Self(on_avx512!(_mm512_and_si512(self.0, other.0)))
    }

    #[inline(always)]
    fn and_where(self, keys: &[i32; SIMD_WIDTH], cut: i32, mask: u32) -> Self {
        let keys = load(keys);
        Self(on_avx512!({
            let fails = _mm512_cmpgt_epi32_mask(keys, _mm512_set1_epi32(cut));
            _mm512_mask_and_epi32(self.0, fails, self.0, _mm512_set1_epi32(mask as i32))
        }))
    }

    #[inline(always)]
    fn lowest(self) -> ZLeaves {
        ZLeaves(on_avx512!({
            let below = _mm512_add_epi32(self.0, _mm512_set1_epi32(-1));
            _mm512_popcnt_epi32(_mm512_andnot_si512(self.0, below))
        }))
    }
}

impl Vector<u64> for Z64 {
    type Leaves = ZLeaves;

    #[inline(always)]
    fn splat(word: u64) -> Self {
        Self([on_avx512!(_mm512_set1_epi64(word as i64)); 2])
    }

    #[inline(always)]
    fn load(words: &[u64; SIMD_WIDTH]) -> Self {
        let halves = words.as_chunks::<8>().0;
        let half = |at: usize| on_avx512!(_mm512_loadu_si512(std::ptr::from_ref(&halves[at]).cast()));
        Self([half(0), half(1)])
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Self(std::array::from_fn(|half| on_avx512!(_mm512_and_si512(self.0[half], other.0[half]))))
    }

    #[inline(always)]
    fn and_where(self, keys: &[i32; SIMD_WIDTH], cut: i32, mask: u64) -> Self {
        let keys = load(keys);
        Self(on_avx512!({
            let fails = _mm512_cmpgt_epi32_mask(keys, _mm512_set1_epi32(cut));
            let mask = _mm512_set1_epi64(mask as i64);
            [
                _mm512_mask_and_epi64(self.0[0], fails as u8, self.0[0], mask),
                _mm512_mask_and_epi64(self.0[1], (fails >> 8) as u8, self.0[1], mask),
            ]
        }))
    }

    #[inline(always)]
    fn lowest(self) -> ZLeaves {
        ZLeaves(on_avx512!({
            let [low, high] = self.0.map(|words| {
                let below = _mm512_add_epi64(words, _mm512_set1_epi64(-1));
                _mm512_cvtepi64_epi32(_mm512_popcnt_epi64(_mm512_andnot_si512(words, below)))
            });
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
        }))
    }
}

/// Numbers of leaves in a register.
#[derive(Clone, Copy)]
pub(crate) struct ZLeaves(__m512i);

impl Leaves for ZLeaves {
    #[inline(always)]
    fn numbers(self) -> [u32; SIMD_WIDTH] {
        let mut numbers = [0; SIMD_WIDTH];
        on_avx512!(_mm512_storeu_si512(std::ptr::from_mut(&mut numbers).cast(), self.0));
        numbers
    }

    #[inline(always)]
    fn add_32(self, table: &[f32; 32], sums: &mut [f32; SIMD_WIDTH]) {
        let [low, high] = registers(table);
        on_avx512!(add(_mm512_permutex2var_ps(low, self.0, high), sums));
    }

    #[inline(always)]
    fn add_64(self, table: &[f32; 64], sums: &mut [f32; SIMD_WIDTH]) {
        let [first, second, third, fourth] = registers(table);
        on_avx512!({
            let upper = _mm512_cmpgt_epi32_mask(self.0, _mm512_set1_epi32(31));
            let values = _mm512_permutex2var_ps(first, self.0, second);
            let others = _mm512_permutex2var_ps(third, self.0, fourth);
            add(_mm512_mask_blend_ps(upper, values, others), sums);
        });
    }
}

/// A table as registers.
#[inline(always)]
fn registers<const SIZE: usize, const N: usize>(table: &[f32; SIZE]) -> [__m512; N] {
    const { assert!(SIZE == N * SIMD_WIDTH) };
    let parts = table.as_chunks::<SIMD_WIDTH>().0;
    std::array::from_fn(|at| on_avx512!(_mm512_loadu_ps(parts[at].as_ptr())))
}

#[inline(always)]
fn add(values: __m512, sums: &mut [f32; SIMD_WIDTH]) {
    on_avx512!(_mm512_storeu_ps(sums.as_mut_ptr(), _mm512_add_ps(_mm512_loadu_ps(sums.as_ptr()), values)));
}
