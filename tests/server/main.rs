//! The real server, started whole on free ports, and real clients: one file per behaviour.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_files;
mod bad_requests;
mod binary;
mod command_line;
mod decisions;
mod golden;
mod harness;
mod lifecycle;
mod open_inference;
mod properties;
mod segments;
mod swap;
mod telemetry;
