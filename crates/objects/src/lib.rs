//! The objects of a store in a directory or a bucket: the only crate that names `object_store` and waits for it.
//!
//! `object_store` is asynchronous, the store is not. [`Objects`] runs the work on a runtime of one thread, and the
//! caller's thread waits for the result. Objects are read from a directory and from a bucket alike. The writing
//! methods are for buckets alone, since a directory has better ways (`files.rs`). Every call ends: a small one within
//! [`CALL_TIMEOUT`], a transfer in parts when a part takes longer than [`PART_TIMEOUT`] for each part in flight, and an
//! upload in one request after as much time as its parts would have had.

mod connect;
mod error;
pub mod files;
mod lease;
mod lock;
mod staging;
mod transfer;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use object_store::path::Path as Key;
use object_store::{
    Error, GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
    UpdateVersion,
};
use tokio::task::JoinSet;

pub use self::error::ObjectsError;
pub use self::lease::{Claim, Holder, Lease, LeaseTerms, Renewal};
pub use self::lock::DirectoryLock;
pub use self::staging::{Staging, sweep};
use connect::Background;

/// The time limit of a small call.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// The time limit for one part of a transfer, times the parts in flight: a connection of 2.1 Mbit/s makes it.
const PART_TIMEOUT: Duration = Duration::from_secs(20);
/// How many small objects are read concurrently.
const READ_AT_ONCE: usize = 16;

/// The objects below a directory or a prefix of a bucket.
#[derive(Debug)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    /// The prefix of keys in messages.
    shown: String,
    /// The directory; `None` for a bucket.
    root: Option<PathBuf>,
    background: Background,
}

/// An object in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// In bytes.
    pub size: u64,
    /// Changes with the content.
    pub tag: String,
    /// The time of the last write.
    pub modified: DateTime<Utc>,
}

/// The content of an object, and the tag that identifies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The content.
    pub bytes: Bytes,
    /// Changes with the content.
    pub tag: String,
}

/// The result of a conditional write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// The object was written, with this tag.
    Done(String),
    /// The condition failed; another object is there, and stays.
    Taken,
}

/// The condition of a write: what must be there before.
#[derive(Debug, Clone)]
pub enum WriteCondition {
    /// There must be no object.
    Absent,
    /// The object must have this tag.
    Matches(String),
    /// No condition.
    Always,
}

impl Objects {
    /// The name of an object in messages.
    pub fn shown(&self, key: &str) -> String {
        if key.is_empty() { self.shown.clone() } else { format!("{}/{key}", self.shown) }
    }

    /// The content of an object, if there is one.
    pub fn get(&self, key: &str) -> Result<Option<Content>, ObjectsError> {
        match self.get_if(key, GetOptions::default())? {
            Found::Content(content) => Ok(Some(content)),
            Found::Nothing | Found::Same => Ok(None),
        }
    }

    /// The text of an object, if there is one.
    pub fn text(&self, key: &str) -> Result<Option<String>, ObjectsError> {
        self.get(key)?.map(|content| content.text(&self.shown(key))).transpose()
    }

    /// The texts of several objects, in their order; a few are read concurrently.
    pub fn texts(&self, keys: &[String]) -> Result<Vec<Option<String>>, ObjectsError> {
        let mut texts = Vec::with_capacity(keys.len());
        for some in keys.chunks(READ_AT_ONCE) {
            let paths = some.iter().map(|key| self.key(key)).collect::<Result<Vec<_>, _>>()?;
            let store = Arc::clone(&self.store);
            let read = self.wait_long(async move { read_all(&store, paths).await });
            let read = read.map_err(|error| self.failed(some.first().map_or("", String::as_str), &error))?;
            for (key, content) in some.iter().zip(read) {
                texts.push(content.map(|content| content.text(&self.shown(key))).transpose()?);
            }
        }
        Ok(texts)
    }

    /// Whether an object has a tag other than `known`; an error if there is no object.
    pub fn has_changed(&self, key: &str, known: &str) -> Result<bool, ObjectsError> {
        let options = GetOptions { if_none_match: Some(known.to_owned()), ..GetOptions::default() };
        match self.get_if(key, options)? {
            Found::Content(_) => Ok(true),
            Found::Same => Ok(false),
            Found::Nothing => {
                Err(ObjectsError::NotFound { place: self.shown.clone(), reason: format!("it has no {key}") })
            }
        }
    }

    /// Whether there is such an object.
    pub fn exists(&self, key: &str) -> Result<bool, ObjectsError> {
        let (store, path) = (Arc::clone(&self.store), self.key(key)?);
        match self.wait(async move { store.head(&path).await }) {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.failed(key, &error)),
        }
    }

    /// The objects below a folder, by their keys without it; empty if the folder does not exist. Skips names that are
    /// not UTF-8.
    pub fn list(&self, folder: &str) -> Result<BTreeMap<String, Listed>, ObjectsError> {
        if let Some(root) = &self.root {
            return files::list(&root.join(folder));
        }
        let (store, prefix) = (Arc::clone(&self.store), self.key(folder)?);
        let prefix_length = prefix.as_ref().len() + 1;
        let listed = self.wait_long(async move {
            let mut objects = store.list(Some(&prefix));
            let mut found = Vec::new();
            while let Some(object) = within(CALL_TIMEOUT, objects.try_next()).await? {
                found.push(object);
            }
            Ok(found)
        });
        let listed: Vec<ObjectMeta> = listed.map_err(|error| self.failed(folder, &error))?;
        let named = |object: ObjectMeta| {
            let key = object.location.as_ref().get(prefix_length..)?.to_owned();
            let tag = object.e_tag.unwrap_or_default();
            Some((key, Listed { size: object.size, tag, modified: object.last_modified }))
        };
        Ok(listed.into_iter().filter_map(named).collect())
    }

    /// Writes a small object.
    pub fn put(
        &self,
        key: &str,
        bytes: impl Into<Bytes>,
        condition: WriteCondition,
    ) -> Result<Put, ObjectsError> {
        let (store, path, bytes) = (Arc::clone(&self.store), self.key(key)?, bytes.into());
        let options = put_options(condition);
        let put =
            self.wait(async move { store.put_opts(&path, PutPayload::from_bytes(bytes), options).await });
        self.judge_put(key, put)
    }

    /// Removes an object if it exists.
    pub fn delete(&self, key: &str) -> Result<(), ObjectsError> {
        let (store, path) = (Arc::clone(&self.store), self.key(key)?);
        match self.wait(async move { store.delete(&path).await }) {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(key, &error)),
        }
    }

    fn get_if(&self, key: &str, options: GetOptions) -> Result<Found, ObjectsError> {
        let (store, path) = (Arc::clone(&self.store), self.key(key)?);
        let read = self.wait(async move { read(&*store, &path, options).await });
        match read {
            Ok(content) => Ok(Found::Content(content)),
            Err(Error::NotFound { .. }) => Ok(Found::Nothing),
            Err(Error::NotModified { .. }) => Ok(Found::Same),
            Err(error) => Err(self.failed(key, &error)),
        }
    }

    fn judge_put(&self, key: &str, put: Result<object_store::PutResult, Error>) -> Result<Put, ObjectsError> {
        match put {
            Ok(done) => Ok(Put::Done(done.e_tag.unwrap_or_default())),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(Put::Taken),
            Err(error) => Err(self.failed(key, &error)),
        }
    }

    fn key(&self, key: &str) -> Result<Key, ObjectsError> {
        Key::parse(key)
            .map_err(|error| ObjectsError::Damaged { path: self.shown(key), message: error.to_string() })
    }

    /// Waits for work that must end within [`CALL_TIMEOUT`].
    fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.wait_long(within(CALL_TIMEOUT, work))
    }

    /// Waits for work that limits its own time. Threads of a runtime may wait, too, but should not.
    fn wait_long<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.background.handle.spawn(async move {
            // Sending fails if the calling thread has panicked.
            let _ = answer.send(work.await);
        });
        answered.recv().unwrap_or_else(|_| Err(other("the work was dropped before its end")))
    }

    /// Translates an error of `object_store`.
    fn failed(&self, key: &str, error: &Error) -> ObjectsError {
        let path = self.shown(key);
        if let Some(source) = io_error_in(error).filter(|_| self.root.is_some()) {
            return ObjectsError::Io { path, source };
        }
        let told = if let Error::Generic { source, .. } = error { &**source } else { error as &_ };
        let message = innermost(told);
        if matches!(error, Error::NotFound { .. }) {
            let reason = format!("there is no such bucket, or {key} has just been removed");
            return ObjectsError::NotFound { place: self.shown.clone(), reason };
        }
        if matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. }) {
            return ObjectsError::Refused { path, message };
        }
        if matches!(error, Error::InvalidPath { .. }) {
            return ObjectsError::Damaged { path, message };
        }
        ObjectsError::Unreachable { place: path, message }
    }
}

impl Content {
    /// The content as text; errors name `path`.
    pub fn text(self, path: &str) -> Result<String, ObjectsError> {
        String::from_utf8(self.bytes.into()).map_err(|error| ObjectsError::Damaged {
            path: path.to_owned(),
            message: format!("it is not UTF-8: {error}"),
        })
    }
}

enum Found {
    Content(Content),
    Same,
    Nothing,
}

fn put_options(condition: WriteCondition) -> PutOptions {
    PutOptions::from(match condition {
        WriteCondition::Absent => PutMode::Create,
        WriteCondition::Matches(tag) => PutMode::Update(UpdateVersion { e_tag: Some(tag), version: None }),
        WriteCondition::Always => PutMode::Overwrite,
    })
}

async fn read(store: &dyn ObjectStore, key: &Key, options: GetOptions) -> Result<Content, Error> {
    let answer = store.get_opts(key, options).await?;
    let tag = answer.meta.e_tag.clone().unwrap_or_default();
    Ok(Content { bytes: answer.bytes().await?, tag })
}

/// Reads objects concurrently; `None` for one that does not exist.
async fn read_all(store: &Arc<dyn ObjectStore>, keys: Vec<Key>) -> Result<Vec<Option<Content>>, Error> {
    let mut reading = JoinSet::new();
    let mut found = vec![None; keys.len()];
    for (index, key) in keys.into_iter().enumerate() {
        let store = Arc::clone(store);
        reading.spawn(async move {
            (index, within(CALL_TIMEOUT, read(&*store, &key, GetOptions::default())).await)
        });
    }
    while let Some(done) = reading.join_next().await {
        match done? {
            (index, Ok(content)) => found[index] = Some(content),
            (_, Err(Error::NotFound { .. })) => {}
            (_, Err(error)) => return Err(error),
        }
    }
    Ok(found)
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let late = || other(&format!("no answer within {} s", limit.as_secs()));
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(late()))
}

fn other(message: &str) -> Error {
    Error::Generic { store: "store", source: message.into() }
}

/// The operating system's error among the causes of an error.
fn io_error_in(error: &(dyn std::error::Error + 'static)) -> Option<io::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<io::Error>() {
            let again = |code| io::Error::from_raw_os_error(code);
            return Some(
                found.raw_os_error().map_or_else(|| io::Error::new(found.kind(), found.to_string()), again),
            );
        }
        next = error.source();
    }
    None
}

/// The message of an error's root cause, after the error's own message if that does not contain it.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    let (outer, inner) = (error.to_string(), deepest.to_string());
    if outer.contains(&inner) { outer } else { format!("{outer}: {inner}") }
}
