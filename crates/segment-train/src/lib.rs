//! Training of segments, the report on it, and drift of customers since.

pub mod drift;
pub mod report;
pub mod train;
pub mod write;
