//! What of each server the store should have: the positions that were sealed and are not too old.
//!
//! `extents/<server>.toml`. Without it, the first or the last files of a server would not be missed, and a server that
//! has lost its log would give its positions to other events. The end is raised before a log is deleted, and the
//! beginning before files that are too old are.

use std::collections::BTreeMap;
use std::fs;

use objects::{DirectoryLock, Put, WriteCondition, files};
use serde::{Deserialize, Serialize};

use super::EventStore;
use crate::kind::Kind;
use crate::log::{LogEnd, LogFile};
use crate::numbers::checked;
use crate::sealed::key::is_server;
use crate::sealed::{Description, SealedError, SealedFile, SealedKey};

/// The folder of extents in a store.
const EXTENTS: &str = "extents";
const EXTENT: &str = ".toml";

/// The format that this version writes, and the greatest that it reads.
const FORMAT: u32 = 1;

/// How often an extent is changed again because another process was faster.
const ATTEMPTS: usize = 20;

/// The positions of a server that the store should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extent {
    format: u32,
    /// The first; absent where older versions have sealed what is not there any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first: Option<u64>,
    /// The last log that was sealed.
    pub(crate) sequence: u64,
    /// The last position in it.
    pub(crate) last: u64,
}

impl Extent {
    /// With what is in another log.
    fn with(self, log: &LogFile) -> Self {
        Self {
            // An older log may be sealed late.
            first: self.first.map(|first| first.min(log.first)),
            sequence: self.sequence.max(log.sequence),
            last: self.last.max(log.last),
            ..self
        }
    }

    /// Whether the store should have nothing any more.
    pub(crate) fn is_expired(&self) -> bool {
        self.first.is_some_and(|first| first > self.last)
    }
}

impl EventStore {
    /// Up to where a server's log is sealed.
    ///
    /// # Errors
    /// When the store cannot be reached, or the extent not be understood.
    pub(crate) fn sealed_up_to(&self, server: &str) -> Result<LogEnd, SealedError> {
        let extent = self.extent(server)?;
        Ok(extent.map_or_else(LogEnd::default, |extent| LogEnd {
            sequence: extent.sequence,
            position: extent.last,
        }))
    }

    /// As [`sealed_up_to`](Self::sealed_up_to); where older versions have sealed its log, by looking at its files.
    ///
    /// # Errors
    /// When the store cannot be reached, or the last file not be read.
    pub(crate) fn find_sealed_end(&self, server: &str) -> Result<LogEnd, SealedError> {
        let reached = self.sealed_up_to(server)?;
        if reached != LogEnd::default() {
            return Ok(reached);
        }
        let Some(last) = self.files_of(server)?.into_iter().max_by_key(|key| key.sequence) else {
            return Ok(reached);
        };
        let file = self.local(&last)?.map(SealedFile::open).transpose()?;
        let log = file.as_ref().and_then(SealedFile::description).and_then(|found| found.log.as_ref());
        Ok(log.map_or(reached, |log| LogEnd { sequence: log.sequence, position: log.last_position }))
    }

    /// The extent of a server, if there is one.
    ///
    /// # Errors
    /// When the store cannot be reached, or it cannot be understood.
    pub(crate) fn extent(&self, server: &str) -> Result<Option<Extent>, SealedError> {
        let key = key(server);
        self.0.objects.text(&key)?.map(|text| self.parse(&key, &text)).transpose()
    }

    /// All extents, by server; those that cannot be understood with the reason.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub(crate) fn extents(&self) -> Result<BTreeMap<String, Result<Extent, SealedError>>, SealedError> {
        let listed = self.0.objects.list(EXTENTS)?;
        let servers = listed.keys().filter_map(|name| name.strip_suffix(EXTENT));
        let servers: Vec<&str> = servers.filter(|server| is_server(server)).collect();
        let keys: Vec<String> = servers.iter().map(|server| key(server)).collect();
        let texts = self.0.objects.texts(&keys)?;
        let found = servers.iter().zip(&keys).zip(texts);
        Ok(found
            .filter_map(|((server, key), text)| Some(((*server).to_owned(), self.parse(key, &text?))))
            .collect())
    }

    /// Notes that the events of a log are sealed. Its files are in the store.
    ///
    /// # Errors
    /// When the store cannot be reached or written to.
    pub(crate) fn note_sealed(&self, server: &str, log: &LogFile) -> Result<(), SealedError> {
        let mut first = None;
        self.change_extent(server, &mut |former| {
            if let Some(former) = former {
                return Ok(Some(former.with(log)));
            }
            let first = match first {
                Some(first) => first,
                None => *first.insert(self.first_beside(server, log)?),
            };
            let extent = Extent { format: FORMAT, first, sequence: log.sequence, last: log.last };
            Ok(Some(extent.with(log)))
        })
    }

    /// Notes that files are about to be deleted, since they are too old: the events in them are not missed.
    ///
    /// # Errors
    /// When the store cannot be reached or written to.
    pub(crate) fn note_expired<'k>(
        &self,
        keys: impl DoubleEndedIterator<Item = &'k SealedKey>,
    ) -> Result<(), SealedError> {
        let mut ends: BTreeMap<&str, Option<u64>> = BTreeMap::new();
        // The last file of each server that can be read.
        for key in keys.rev() {
            let end = ends.entry(&key.server).or_default();
            if end.is_none() {
                *end = self.description_of(key)?.map(|found| found.last_position);
            }
        }
        for (server, end) in ends {
            let Some(end) = end else { continue };
            self.change_extent(server, &mut |former| {
                let raised =
                    |extent: Extent| Extent { first: extent.first.map(|first| first.max(end + 1)), ..extent };
                Ok(former.map(raised))
            })?;
        }
        Ok(())
    }

    /// The first position that the store should have of a server that has no extent yet: that of a log that was sealed
    /// now, or of the first file that older versions have sealed. `None` if that cannot be read.
    fn first_beside(&self, server: &str, log: &LogFile) -> Result<Option<u64>, SealedError> {
        let mut others = self.files_of(server)?;
        others.retain(|key| key.sequence < log.sequence);
        match others.iter().min_by_key(|key| key.sequence) {
            None => Ok(Some(log.first)),
            Some(key) => {
                let log = self.description_of(key)?.and_then(|found| found.log);
                Ok(log.map(|log| log.first_position))
            }
        }
    }

    /// The sealed files of a server.
    fn files_of(&self, server: &str) -> Result<Vec<SealedKey>, SealedError> {
        let mut found = Vec::new();
        for kind in Kind::ALL {
            let keys = self.list(kind, None)?.into_iter().map(|(key, _)| key);
            found.extend(keys.filter(|key| key.server == server));
        }
        Ok(found)
    }

    /// What a file says of itself; `None` if it cannot be read.
    fn description_of(&self, key: &SealedKey) -> Result<Option<Description>, SealedError> {
        match self.local(key)?.map(SealedFile::open).transpose() {
            Ok(file) => Ok(file.as_ref().and_then(SealedFile::description).cloned()),
            Err(error @ (SealedError::Objects(_) | SealedError::Io { .. })) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Changes an extent, again if another process was faster. One that cannot be understood is taken for none: a log
    /// must not stay for it. `None`: there will be none.
    fn change_extent(
        &self,
        server: &str,
        change: &mut dyn FnMut(Option<Extent>) -> Result<Option<Extent>, SealedError>,
    ) -> Result<(), SealedError> {
        let key = key(server);
        for _ in 0..ATTEMPTS {
            let content = self.0.objects.get(&key)?;
            let tag = content.as_ref().map(|content| content.tag.clone());
            let shown = self.0.objects.shown(&key);
            let text = content.map(|content| content.text(&shown).map_err(SealedError::from)).transpose();
            let former = match text.and_then(|text| text.map(|text| self.parse(&key, &text)).transpose()) {
                Ok(former) => former,
                // That version keeps it.
                Err(SealedError::Newer { .. }) => return Ok(()),
                Err(error) => {
                    tracing::warn!(%error, "the extent of a server is written anew");
                    None
                }
            };
            let Some(extent) = change(former)?.filter(|extent| Some(*extent) != former) else {
                return Ok(());
            };
            if self.put_extent(&key, tag, former, extent)? {
                return Ok(());
            }
        }
        Err(SealedError::damaged(
            &self.0.objects.shown(&key),
            "it keeps changing; is another program writing it?",
        ))
    }

    /// Writes an extent in the place of the former; `false` if that is another one by now.
    fn put_extent(
        &self,
        key: &str,
        tag: Option<String>,
        former: Option<Extent>,
        extent: Extent,
    ) -> Result<bool, SealedError> {
        let shown = self.0.objects.shown(key);
        let text =
            toml::to_string(&extent).map_err(|error| SealedError::damaged(&shown, error.to_string()))?;
        let Some(root) = &self.0.root else {
            let condition = tag.map_or(WriteCondition::Absent, WriteCondition::Matches);
            return Ok(self.0.objects.put(key, text, condition)? != Put::Taken);
        };
        let staging = self.stage()?;
        let made = staging.path().join("extent");
        files::write(&made, text.as_bytes())?;
        let target = root.join(key);
        let _held = DirectoryLock::take(root)?;
        let present = self.0.objects.get(key)?.map(|content| content.text(&shown)).transpose();
        let present = present
            .map_err(SealedError::from)
            .and_then(|text| text.map(|text| self.parse(key, &text)).transpose());
        if present.unwrap_or_default() != former {
            return Ok(false);
        }
        files::make_directory(files::parent(&target))?;
        fs::rename(&made, &target).map_err(SealedError::io(&target))?;
        files::sync(files::parent(&target))?;
        Ok(true)
    }

    fn parse(&self, key: &str, text: &str) -> Result<Extent, SealedError> {
        let shown = || self.0.objects.shown(key);
        let damaged = |message: &str| SealedError::damaged(&shown(), message);
        let extent: Extent = toml::from_str(text).map_err(|error| damaged(error.message()))?;
        if extent.format > FORMAT {
            return Err(SealedError::Newer {
                path: shown(),
                message: format!("it is in format {}", extent.format),
            });
        }
        let numbers = [extent.first.unwrap_or_default(), extent.sequence, extent.last];
        if numbers.into_iter().any(|number| checked(number).is_none()) {
            return Err(damaged("it has a number that is greater than any server reaches"));
        }
        Ok(extent)
    }
}

fn key(server: &str) -> String {
    format!("{EXTENTS}/{server}{EXTENT}")
}

#[cfg(test)]
mod tests;
