//! The Open Inference Protocol: recorded models through the whole server, asked by a gRPC client of ours (raw and typed)
//! and by Triton's own; and what the protocol promises whatever the model.
//!
//! The recordings are of Python's onnxruntime on fixed inputs. Without them (`PROFFER_DATA`, default `../shared/data`) the
//! tests that need them say so and do nothing.

mod protocol;
mod recorded;
mod recordings;
mod service;
mod tiny;
mod triton;
