//! The generated messages and services, and their descriptors.

#![allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated from proto/, documented there")]

/// `proto/proffer/v1`.
pub mod proffer {
    /// Version 1.
    pub mod v1 {
        pub use crate::grpc::dense::DenseFeatures;
        tonic::include_proto!("proffer.v1");
    }
}

/// `proto/inference`: the Open Inference Protocol, version 2.
pub mod inference {
    tonic::include_proto!("inference");
}

/// The descriptors that reflection serves.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
