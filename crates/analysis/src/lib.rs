//! What experiments and offers have achieved.

pub mod report;
