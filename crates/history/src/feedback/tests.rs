//! Outcomes against a real event log.

mod clocks;
mod recovered;
mod saved;
mod setting;
mod threads;
mod verdicts;
