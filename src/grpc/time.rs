//! Times on the wire.

use std::fmt::Display;

use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use tonic::Status;

use super::status::invalid;

/// Reads a time.
pub(super) fn read(field: impl Display, time: Timestamp) -> Result<DateTime<Utc>, Status> {
    let nanos = u32::try_from(time.nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
    nanos
        .and_then(|nanos| DateTime::from_timestamp(time.seconds, nanos))
        .ok_or_else(|| invalid(field, "is not a moment that a calendar knows"))
}

/// Writes a time.
pub(super) fn write(time: DateTime<Utc>) -> Timestamp {
    Timestamp { seconds: time.timestamp(), nanos: time.timestamp_subsec_nanos() as i32 }
}

/// Writes a time in microseconds since 1970-01-01T00:00:00Z.
pub(super) fn write_micros(micros: i64) -> Timestamp {
    let (seconds, rest) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    Timestamp { seconds, nanos: rest as i32 * 1000 }
}
