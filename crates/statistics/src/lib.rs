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
//! | arms of experiments: sums over units, and values of an arm | [`Sums`], [`Estimate`] |
//! | differences between arms, for one look and for any number of them | [`Difference`] |
//! | whether units were split as they should be; how many are needed | [`mismatch()`], [`Design`] |
//! | quantiles of anything | [`Sketch`] |
//! | distributions of scores, and how far one is from another | [`Histogram`], [`psi`], [`kolmogorov`] |

mod binomial;
mod buckets;
mod difference;
mod histogram;
mod interval;
mod kendall;
pub mod kolmogorov;
mod mismatch;
mod moments;
pub mod normal;
mod overlap;
mod power;
pub mod psi;
mod ratio;
mod sketch;
mod units;

pub use difference::{Difference, Inference, rho};
pub use histogram::{Histogram, Shift};
pub use interval::{Interval, wilson};
pub use kendall::kendall_tau_b;
pub use mismatch::{Mismatch, mismatch};
pub use moments::Moments;
pub use overlap::rank_biased_overlap;
pub use power::{Design, Look};
pub use ratio::RatioMoments;
pub use sketch::Sketch;
pub use units::{Estimate, Measure, Sums, Unit, theta};
