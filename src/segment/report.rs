//! report
pub(in crate::segment) mod numbers;
