//! Training of segments, the report on it, and drift of customers since.

pub mod drift;
mod percent;
pub mod report;
pub mod train;
pub mod write;
