//! What a server does for erasures: it looks for markers, obeys, and acknowledges.

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
}

/// What a poll has come to.
#[derive(Debug, Default)]
pub struct Polled {
    /// What was acknowledged, by the ids of the markers.
    pub acknowledged: Vec<(String, Acknowledgement)>,
    /// Markers that cannot be obeyed, and why. The next poll tries again.
    pub refused: Vec<ErasureError>,
}

impl ServerErasures {
    /// Those of a store. `version` is that of the server.
    #[must_use]
    pub fn new(store: ErasureStore, pseudonyms: Pseudonyms, version: &str) -> Self {
        Self { erasures: Erasures::new(store), pseudonyms, version: version.to_owned() }
    }

    /// Does what new markers ask for: has `forget` drop the erased from the customers in memory and `log` what was
    /// worked out of their events, blanks their records in the log, and acknowledges. Where nothing is new, it costs
    /// one listing.
    ///
    /// # Errors
    /// When the store cannot be reached, the erased not be forgotten, or the log not be read or written. Nothing is
    /// acknowledged then, and the next poll tries again.
    pub fn poll(
        &self,
        log: &dyn ServerLog,
        forget: &mut dyn FnMut(&Erased) -> Result<(), String>,
        now: DateTime<Utc>,
    ) -> Result<Polled, ErasureError> {
        let files = log.log_files();
        let server = files.server().to_owned();
        let mut polled = Polled::default();
        let markers = self.new_markers(&server, &mut polled.refused)?;
        if markers.is_empty() {
            return Ok(polled);
        }
        let erased = Erased::new(markers, &self.pseudonyms);
        // First, so that what is recorded of them from now on is not of what was known.
        forget(&erased).map_err(ErasureError::NotForgotten)?;
        point("erase.forgotten");
        log.close_file()?;
        point("erase.closed");
        log.forget_events(&erased).map_err(ErasureError::NotForgotten)?;
        let Blanked { records, keys, left } = blank_all(&files, &erased, &|| log.is_ending())?;
        for (marker, records) in erased.markers().iter().zip(records) {
            let done = Acknowledgement {
                server: server.clone(),
                version: self.version.clone(),
                at: written(now),
                records,
                unknown_keys: keys.iter().filter(|key| !marker.knows_key(key)).cloned().collect(),
                left: left.clone(),
            };
            self.erasures.acknowledge(marker, &done)?;
            polled.acknowledged.push((marker.id().to_owned(), done));
        }
        point("erase.acknowledged");
        Ok(polled)
    }

    /// Markers that this server has not acknowledged. Those that it cannot obey go to `refused`.
    fn new_markers(
        &self,
        server: &str,
        refused: &mut Vec<ErasureError>,
    ) -> Result<Vec<Marker>, ErasureError> {
        let mut new = Vec::new();
        for (id, acknowledged) in self.erasures.list()? {
            if acknowledged.contains(server) {
                continue;
            }
            let marker = match self.erasures.get(&id) {
                // What is left of one that is complete.
                Ok(None) => continue,
                Ok(Some(marker)) => marker.check_keys(&self.pseudonyms).map(|()| marker),
                Err(error) if error.is_of_content() => Err(error),
                Err(error) => return Err(error),
            };
            match marker {
                Ok(marker) => new.push(marker),
                Err(error) => refused.push(error),
            }
        }
        Ok(new)
    }
}

impl Erasures {
    /// The markers that can be understood, the oldest first, and why others cannot.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub fn open_readable(&self) -> Result<(Vec<Marker>, Vec<ErasureError>), ErasureError> {
        let (mut open, mut refused) = (Vec::new(), Vec::new());
        for id in self.list()?.into_keys() {
            match self.get(&id) {
                Ok(marker) => open.extend(marker),
                Err(error) if error.is_of_content() => refused.push(error),
                Err(error) => return Err(error),
            }
        }
        Ok((open, refused))
    }
}

impl Erased {
    /// The ids of the markers.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.markers().iter().map(Marker::id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privacy::Subject;

    #[test]
    fn a_damaged_marker_hides_no_other() {
        let root = tempfile::tempdir().unwrap();
        let erasures = Erasures::new(ErasureStore::open(root.path().to_str().unwrap(), []).unwrap());
        let subject = Subject::new("C-1", &Pseudonyms::default()).unwrap();
        let [damaged, whole] = [(); 2].map(|()| Marker::new(&subject, "anna", Utc::now()).unwrap());
        erasures.add(&damaged).unwrap();
        erasures.add(&whole).unwrap();
        let path = root.path().join(format!("erasures/{}.toml", damaged.id()));
        std::fs::write(path, "format = ").unwrap();
        let (open, refused) = erasures.open_readable().unwrap();
        assert_eq!(open, [whole]);
        assert_eq!(refused.len(), 1);
        assert!(refused[0].to_string().contains(damaged.id()), "{}", refused[0]);
    }
}
