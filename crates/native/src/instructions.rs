//! The instruction sets that kernels are compiled for, and the choice among them at run time.
//!
//! A [`Kernel`] is compiled once for each. All use the same arithmetic and give the same bits.

#[cfg(target_arch = "x86_64")]
use crate::vectors::{Avx2, Avx512};
use crate::vectors::{InstructionSet, Portable};

/// Rows or offers in one vector. As numbers of 32 bits they fill one AVX-512 register, two of AVX2 or four of SSE2.
pub(super) const SIMD_WIDTH: usize = 16;

/// An instruction set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instructions {
    /// Available on every processor of the architecture.
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// Code that is compiled for every instruction set. `run` must always be inlined.
pub(super) trait Kernel {
    fn run<M: InstructionSet>(self);
}

impl Instructions {
    /// The best set of this processor.
    pub(super) fn best() -> Self {
        Self::all().last().unwrap_or(Self::Portable)
    }

    /// All sets of this processor, the best last.
    pub(super) fn all() -> impl DoubleEndedIterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let found = {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("popcnt");
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vpopcntdq");
            [Some(Self::Portable), avx2.then_some(Self::Avx2), avx512.then_some(Self::Avx512)]
        };
        #[cfg(not(target_arch = "x86_64"))]
        let found = [Some(Self::Portable)];
        found.into_iter().flatten()
    }

    /// Runs `kernel` with this instruction set, which must be one of [`Instructions::all`].
    pub(super) fn run(self, kernel: impl Kernel) {
        match self {
            Self::Portable => kernel.run::<Portable>(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                #[expect(
                    unsafe_code,
                    reason = "the only way to call code for an instruction set found at run time"
                )]
                // SAFETY: this value only comes from `all`, which checked the processor.
                unsafe {
                    avx2(kernel);
                }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                #[expect(
                    unsafe_code,
                    reason = "the only way to call code for an instruction set found at run time"
                )]
                // SAFETY: this value only comes from `all`, which checked the processor.
                unsafe {
                    avx512(kernel);
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,popcnt")]
fn avx2(kernel: impl Kernel) {
    kernel.run::<Avx2>();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq")]
fn avx512(kernel: impl Kernel) {
    kernel.run::<Avx512>();
}
