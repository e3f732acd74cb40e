//! Proffer decides the next best offer for a credit-card customer, over gRPC.
//!
//! See `ARCHITECTURE.md` for the map of the modules and the invariants between them.

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod decision;
pub mod document;
pub mod feature;
pub mod grpc;
pub mod model;
pub mod offer;
pub mod priority;
pub mod release;
pub mod segment;
pub mod table;
pub mod telemetry;
