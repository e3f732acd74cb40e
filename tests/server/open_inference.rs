//! The Open Inference Protocol: its guarantees for every model, and recorded models through the whole server. The
//! clients are our own (raw and typed) and Triton's.
//!
//! The recordings are outputs of Python's onnxruntime on fixed inputs. Without them (`PROFFER_DATA`, default
//! `../shared/data`) the tests that need them are skipped with a message.

mod protocol;
mod recorded;
mod recordings;
mod service;
mod tiny;
mod triton;
