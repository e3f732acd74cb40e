//! The real server, started on free ports, and real clients: one file per behaviour.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(deprecated, reason = "deprecated fields keep their values for one version, which is tested")]

mod bad_files;
mod bad_models;
mod bad_requests;
mod binary;
mod bombs;
mod callers;
mod command_line;
mod connections;
mod consents;
mod crashes;
mod decisions;
mod directions;
mod documents;
mod golden;
mod harness;
mod hostile;
mod hour;
mod lanes;
mod lifecycle;
mod logs;
mod management;
mod metrics;
mod open_inference;
mod outcomes;
mod pipeline;
mod privacy;
mod promotions;
mod properties;
mod recent_rows;
mod records;
mod records_faults;
mod records_limits;
mod records_read;
mod records_replay;
mod releases;
mod replicas;
mod s3;
mod segment_command;
mod segments;
mod sizes;
mod small;
mod statuses;
mod store_trouble;
mod stores;
mod swap;
mod swap_costs;
mod telemetry;
mod traces;
mod unlimited;
mod upgrades;
mod workspaces;
