//! Outcomes against a real event log.

mod recovered;
mod setting;
mod threads;
mod verdicts;
