//! Reports on experiments and offers, and guardrails that end an experiment: what is recorded, counted again.

mod guardrails;
mod reports;
mod scene;
mod starbucks;
