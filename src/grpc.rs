//! The protocols on the wire: convert in, call one domain function, convert out.
//!
//! `tonic` and the generated messages stay in this module.

mod inference;

pub use inference::{InferenceError, InferenceService};

/// The generated messages and services.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod proto {
    /// Open Inference Protocol v2.
    pub mod inference {
        tonic::include_proto!("inference");
    }
}

/// What the caller is owed: a deadline from `grpc-timeout`, if it has one.
pub(crate) fn call_of<T>(_request: &tonic::Request<T>) -> crate::model::Call {
    crate::model::Call::default()
}
