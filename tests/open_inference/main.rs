//! The Open Inference Protocol over a real connection: recorded models through a gRPC client, raw and typed.
//!
//! The recordings are of Python's onnxruntime on fixed inputs. Without them (`PROFFER_DATA`, default `../shared/data`) the
//! tests that need them say so and do nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod protocol;
mod recorded;
mod server;
mod tiny;
