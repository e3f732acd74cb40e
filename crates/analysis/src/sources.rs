//! How old the newest event of each server is.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::report::Source;
use crate::rows::time;

/// The newest event of each server, in microseconds since 1970.
#[derive(Debug, Default)]
pub(crate) struct Newest(BTreeMap<String, i64>);

impl Newest {
    pub(crate) fn note(&mut self, server: &str, at: i64) {
        match self.0.get_mut(server) {
            Some(newest) => *newest = at.max(*newest),
            None => {
                self.0.insert(server.to_owned(), at);
            }
        }
    }

    pub(crate) fn sources(&self, now: DateTime<Utc>) -> Vec<Source> {
        let source = |(server, newest): (&String, &i64)| Source {
            server: server.clone(),
            newest: time(*newest),
            age_seconds: (now.timestamp_micros().saturating_sub(*newest) / 1_000_000).max(0).cast_unsigned(),
        };
        self.0.iter().map(source).collect()
    }
}
