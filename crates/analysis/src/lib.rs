//! What experiments and offers have achieved: metrics from records and outcomes, statistics on them, and the report.
//!
//! Rows of decisions and outcomes are read twice over, day by day: first the decisions, which say who is in which arm
//! and since when, then the outcomes, each of which belongs to the customer of its decision. At the end of each day the
//! arms are compared, so that the sequences of a report are what a reader of that day would have seen. Crate
//! `experiment` says what a metric adds up, `statistics` what follows from sums, and `report.rs` what a report has.
//! Nothing here decides, writes, or reads a clock.
//!
//! Start reading at [`experiment()`], then `collect.rs` (decisions) and `days.rs` (outcomes and sequences); `ledger.rs`
//! has what both keep in memory. [`judge()`] says what guardrails allow, [`business()`] reports without an experiment.

mod business;
mod collect;
mod compare;
mod counted;
mod days;
mod error;
mod experiment;
mod id;
mod judge;
mod ledger;
mod plan;
mod planning;
pub mod render;
pub mod report;
pub mod rows;
mod sources;
mod subject;
#[cfg(test)]
mod tests;
mod verdict;
mod words;

pub use self::business::{By, Question, business, business_of};
pub use self::compare::{CONVERSIONS, CUSTOMERS};
pub use self::error::AnalysisError;
pub use self::experiment::{MISMATCH, MISMATCH_AT_ONCE, experiment, experiment_of};
pub use self::judge::{Evidence, Judgement, judge};
pub use self::planning::{Wish, WishedDifference, plan, plan_of};
pub use self::subject::{Limits, Subject};
