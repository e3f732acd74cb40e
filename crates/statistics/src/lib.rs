//! Statistics as pure functions of numbers, each with its source.
//!
//! Nothing here knows what a number means, reads a clock or fails: what cannot be computed is `None`. What is collected
//! over many values takes bounded memory and merges: parts that are counted apart and merged give the whole. Counts
//! merge exactly and in any order; [`Moments`] differ in their last bits with the order.
//!
//! | what | where |
//! |---|---|
//! | the normal distribution | [`normal`] |
//! | shares and their intervals | [`wilson`] |
//! | means, deviations, ratios and their intervals | [`Moments`], [`RatioMoments`] |
//! | agreement of two rankings | [`kendall_tau_b`], [`rank_biased_overlap`] |
//! | quantiles of anything | [`Sketch`] |
//! | distributions of scores, and how far one is from another | [`Histogram`], [`psi`], [`kolmogorov`] |

mod binomial;
mod buckets;
mod histogram;
mod interval;
mod kendall;
pub mod kolmogorov;
mod moments;
pub mod normal;
mod overlap;
pub mod psi;
mod ratio;
mod sketch;

pub use histogram::{Histogram, Shift};
pub use interval::{Interval, wilson};
pub use kendall::kendall_tau_b;
pub use moments::Moments;
pub use overlap::rank_biased_overlap;
pub use ratio::RatioMoments;
pub use sketch::Sketch;
