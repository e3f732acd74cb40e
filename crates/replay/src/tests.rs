//! What goes through records, replay, what-if and simulation at once.

mod experiments;
mod holdout;
