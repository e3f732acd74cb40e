//! The instruction sets that work is compiled for, and the choice among them at run time.
//!
//! A [`Job`] is compiled once for each; none has more than its own arithmetic, so that all give the same bits.

/// Rows or offers that are worked on side by side: sixteen numbers of 32 bits are one register of AVX-512, two of AVX2, four
/// of SSE2.
pub(super) const LANES: usize = 16;

/// An instruction set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Machine {
    /// What every processor of its kind has.
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// Work that is to be compiled for every instruction set. `run` must be inlined always.
pub(super) trait Job {
    fn run(self);
}

impl Machine {
    /// The best that this processor has.
    pub(super) fn best() -> Self {
        Self::all().last().unwrap_or(Self::Portable)
    }

    /// All that this processor has, the best last.
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

    /// Does the work in this instruction set, which must be one of [`Machine::all`].
    pub(super) fn work(self, job: impl Job) {
        match self {
            Self::Portable => job.run(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                #[expect(unsafe_code, reason = "the only way to call code for an instruction set found at run time")]
                // SAFETY: there is no other way to this value than `all`, which asked the processor.
                unsafe {
                    avx2(job);
                }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                #[expect(unsafe_code, reason = "the only way to call code for an instruction set found at run time")]
                // SAFETY: there is no other way to this value than `all`, which asked the processor.
                unsafe {
                    avx512(job);
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,popcnt")]
fn avx2(job: impl Job) {
    job.run();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq")]
fn avx512(job: impl Job) {
    job.run();
}
