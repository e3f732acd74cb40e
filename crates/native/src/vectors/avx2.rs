//! Words of 32 bits in AVX2 registers. Wider ones are left to the compiler.

#![expect(clippy::inline_always, reason = "it must become part of the function that has the instruction set")]

use std::arch::x86_64::{
    __m256, __m256i, _mm256_add_ps, _mm256_and_si256, _mm256_andnot_si256, _mm256_blendv_ps,
    _mm256_castps_si256, _mm256_castsi256_ps, _mm256_cmpgt_epi32, _mm256_cvtepi32_ps, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_permutevar8x32_ps, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_slli_epi32,
    _mm256_srli_epi32, _mm256_storeu_ps, _mm256_storeu_si256, _mm256_sub_epi32,
};

use super::{InstructionSet, Leaves, Vector};
use crate::ensemble::word::Word;
use crate::instructions::SIMD_WIDTH;

/// AVX2 with the extensions that `Instructions` checks.
pub(crate) struct Avx2;

impl InstructionSet for Avx2 {
    type Vector<W: Word> = W::Half;
}

/// Sixteen words of 32 bits.
#[derive(Clone, Copy)]
pub(crate) struct Y32([__m256i; 2]);

/// Runs an expression that needs the instruction set.
macro_rules! on_avx2 {
    ($work:expr) => {{
        #[expect(unsafe_code, reason = "instructions that the compiler does not know to be there")]
        // SAFETY: only `Instructions::Avx2` uses these vectors, and it exists only where the processor has AVX2.
        // References that are read or written cover a whole register.
        unsafe {
            $work
        }
    }};
}

/// The two halves of sixteen numbers of 32 bits.
#[inline(always)]
fn load<T>(from: &[T; SIMD_WIDTH]) -> [__m256i; 2] {
    const { assert!(size_of::<T>() == 4) };
    let halves = from.as_chunks::<8>().0;
    std::array::from_fn(|half| on_avx2!(_mm256_loadu_si256(std::ptr::from_ref(&halves[half]).cast())))
}

impl Vector<u32> for Y32 {
    type Leaves = YLeaves;

    #[inline(always)]
    fn splat(word: u32) -> Self {
        Self([on_avx2!(_mm256_set1_epi32(word as i32)); 2])
    }

    #[inline(always)]
    fn load(words: &[u32; SIMD_WIDTH]) -> Self {
        Self(load(words))
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Self(std::array::from_fn(|half| on_avx2!(_mm256_and_si256(self.0[half], other.0[half]))))
    }

    #[inline(always)]
    fn and_where(self, keys: &[i32; SIMD_WIDTH], cut: i32, mask: u32) -> Self {
        let keys = load(keys);
        Self(std::array::from_fn(|half| {
            on_avx2!({
                let fails = _mm256_cmpgt_epi32(keys[half], _mm256_set1_epi32(cut));
                let taken = _mm256_and_si256(fails, _mm256_set1_epi32(!mask as i32));
                _mm256_andnot_si256(taken, self.0[half])
            })
        }))
    }

    #[inline(always)]
    fn lowest(self) -> YLeaves {
        YLeaves(self.0.map(|words| {
            on_avx2!({
                // A power of two as a float has its logarithm as the exponent; the sign of the highest bit is cut off.
                let lowest = _mm256_and_si256(words, _mm256_sub_epi32(_mm256_setzero_si256(), words));
                let bits = _mm256_castps_si256(_mm256_cvtepi32_ps(lowest));
                let exponent = _mm256_and_si256(_mm256_srli_epi32::<23>(bits), _mm256_set1_epi32(0xff));
                _mm256_sub_epi32(exponent, _mm256_set1_epi32(127))
            })
        }))
    }
}

/// Numbers of leaves in registers.
#[derive(Clone, Copy)]
pub(crate) struct YLeaves([__m256i; 2]);

impl Leaves for YLeaves {
    #[inline(always)]
    fn numbers(self) -> [u32; SIMD_WIDTH] {
        let mut numbers = [0_u32; SIMD_WIDTH];
        for (numbers, half) in numbers.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            on_avx2!(_mm256_storeu_si256(std::ptr::from_mut(numbers).cast(), half));
        }
        numbers
    }

    #[inline(always)]
    fn add_32(self, table: &[f32; 32], sums: &mut [f32; SIMD_WIDTH]) {
        let parts = table.as_chunks::<8>().0;
        let parts: [__m256; 4] = std::array::from_fn(|at| on_avx2!(_mm256_loadu_ps(parts[at].as_ptr())));
        for (sums, leaves) in sums.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            on_avx2!({
                // The lower three bits select within a part, the next two the part.
                let [first, second, third, fourth] = parts.map(|part| _mm256_permutevar8x32_ps(part, leaves));
                let odd = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(leaves));
                let upper = _mm256_castsi256_ps(_mm256_slli_epi32::<27>(leaves));
                let low = _mm256_blendv_ps(first, second, odd);
                let high = _mm256_blendv_ps(third, fourth, odd);
                let values = _mm256_blendv_ps(low, high, upper);
                _mm256_storeu_ps(sums.as_mut_ptr(), _mm256_add_ps(_mm256_loadu_ps(sums.as_ptr()), values));
            });
        }
    }
}
