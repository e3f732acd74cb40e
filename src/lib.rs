//! Proffer decides the next best offer for a credit-card customer, over gRPC.
//!
//! See `ARCHITECTURE.md` for the map of the modules and the invariants between them.

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod grpc;
