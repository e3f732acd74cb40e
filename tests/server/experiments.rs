//! Experiments at the real server: arms that hold, a holdout that nothing reaches, variants that change what they say
//! and nothing else, probabilities that are true, and files whose mistakes are named.

mod arms;
mod bucket;
mod exploration;
mod files;
mod holdout;
mod newcomers;
mod overrides;
mod replayed;
pub(crate) mod scene;
