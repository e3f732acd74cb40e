//! Offers: what a customer can be shown, where, and under which rules.
//!
//! Owns the CEL rules ([`Rule`]), type-checked against the feature schema when they are read.
//! Start reading at [`Rule`].

mod rule;

pub use rule::{OfferFields, Rule, RuleError, RuleProblem};
