//! What a server does for erasures: it looks for markers, obeys, and acknowledges.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::log::{Blanked, blank_all};
use super::marker::written;
use super::{Acknowledgement, Erased, ErasureError, ErasureStore, Erasures, Marker, ServerLog, point};
use crate::privacy::Pseudonyms;

/// The erasures of a store, as a server sees them. Call [`poll`](Self::poll) on a thread that may block, at each poll
/// of the store, once before the log of an earlier process is sealed, and never on two threads at once.
#[derive(Debug)]
pub struct ServerErasures {
    erasures: Erasures,
    pseudonyms: Pseudonyms,
    version: String,
    /// Erasures that are done, or were complete when they were seen first.
    done: BTreeSet<String>,
}

impl ServerErasures {
    /// Those of a store. `version` is that of the server.
    #[must_use]
    pub fn new(store: ErasureStore, pseudonyms: Pseudonyms, version: &str) -> Self {
        Self {
            erasures: Erasures::new(store),
            pseudonyms,
            version: version.to_owned(),
            done: BTreeSet::new(),
        }
    }

    /// Does what new markers ask for: blanks records in the log, has `forget` drop the erased from memory, and
    /// acknowledges. Returns what it has acknowledged, by the ids of the markers. Where nothing is new, it costs one
    /// listing.
    ///
    /// # Errors
    /// When the store cannot be reached, a marker not be understood, or the log not be read or written. Nothing is
    /// acknowledged then, and the next poll tries again.
    pub fn poll(
        &mut self,
        log: &dyn ServerLog,
        forget: &mut dyn FnMut(&Erased),
        now: DateTime<Utc>,
    ) -> Result<Vec<(String, Acknowledgement)>, ErasureError> {
        let files = log.log_files();
        let server = files.server().to_owned();
        let markers = self.new_markers(&server)?;
        if markers.is_empty() {
            return Ok(Vec::new());
        }
        let erased = Erased::new(markers.clone(), &self.pseudonyms)?;
        log.close_file()?;
        point("erase.closed");
        let Blanked { records, unknown_keys, left } = blank_all(&files, &erased)?;
        forget(&erased);
        point("erase.forgotten");
        let (version, at) = (self.version.clone(), written(now));
        let done = Acknowledgement { server, version, at, records, unknown_keys, left };
        let mut acknowledged = Vec::new();
        for marker in markers {
            self.erasures.acknowledge(&marker, &done)?;
            self.done.insert(marker.id().to_owned());
            acknowledged.push((marker.id().to_owned(), done.clone()));
        }
        point("erase.acknowledged");
        Ok(acknowledged)
    }

    /// Markers that this server has not acknowledged.
    fn new_markers(&mut self, server: &str) -> Result<Vec<Marker>, ErasureError> {
        let mut new = Vec::new();
        for (id, acknowledged) in self.erasures.list()? {
            if acknowledged.contains(server) || self.done.contains(&id) {
                continue;
            }
            match self.erasures.get(&id)? {
                Some(marker) if !marker.is_complete() => new.push(marker),
                _ => {
                    self.done.insert(id);
                }
            }
        }
        Ok(new)
    }
}
