//! Experiments: who is in which arm, what an arm changes, and exploration with exact probabilities.
//!
//! Owns `[[experiment]]`, `[[metric]]`, `[[shadow]]` and `[holdout]` of `policy.toml`, `exploration` of its placements,
//! and `[offer.prior]` and `[offer.maturity]` of `offers.toml`. Everything here is a pure function: an arm depends on
//! the customer's id, the seed and the weights alone, never on the order of a request, the server or the clock. Only the
//! holdout may be drawn anew at the end of a month. This crate knows no offers and no rules. The reader takes the ids
//! that the files may name ([`Names`]) and a function that compiles a rule. Who is shown what remains the work of crate
//! `decision`, and crate `analysis` adds up what is measured.
//!
//! Start reading at [`read()`], then [`Experiments::at`] and [`Draws::assign`] for assignment, and [`Exploration::slate`]
//! for exploration. [`Metric`] is what can be measured, [`Measured`] what an experiment is judged by. `scheme.rs` says
//! which systems agree with ours on an arm. [`edit`] changes an experiment in the text of a policy, and [`outline()`]
//! says what that text has, for those who ramp experiments.

mod assign;
pub mod edit;
mod explore;
mod hash;
mod holdout;
mod metric;
mod model;
mod newcomer;
mod outline;
mod phase;
mod read;
mod scheme;
mod shadow;
mod split;
#[cfg(test)]
mod tests;

pub use assign::{Assignment, Draws, ForceError, Forced, How, Standing};
pub use explore::{Candidate, Choice, Exploration, Method, OfferKey, Scratch, Seed, Slate};
pub use holdout::{Holdout, Redraw};
pub use metric::{
    Amount, Better, BuiltIn, Denominator, Guardrail, Measured, Metric, MetricKind, Numerator, Sum, built_in,
};
pub use model::{
    Changes, Experiment, Experiments, Group, ModelVersion, Newcomer, State, Step, Strategy, Variant, When,
};
pub use newcomer::{Maturity, Prior};
pub use outline::{Outline, OutlinedVariant, outline};
pub use phase::Phase;
pub use read::{CategoryNames, Names, PlacementNames, named_versions, read, variant_versions, versions};
pub use scheme::Scheme;
pub use shadow::Shadow;
pub use split::{Split, SplitError};
