//! The objects of a store, wherever they are: the one folder that names `object_store`, and the one that waits for it.
//!
//! `object_store` is asynchronous, the store is not: [`Objects`] has a runtime of one thread, hands it the work and waits for the
//! answer on the thread that asked. Objects are read from a directory and from a bucket alike; the writing methods are for buckets
//! alone, since a directory can do better (`directory.rs`). Every call ends: a small one within [`PATIENCE`], a large one when nothing
//! moves for [`PART_PATIENCE`].

mod connect;
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

use super::{StoreError, files};
use connect::Background;

/// How long a small call may take in all.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the transfer of a part may take: 5 MiB within 20 s is 2 Mbit/s.
const PART_PATIENCE: Duration = Duration::from_secs(20);
/// Small objects that are read at a time where there are many.
const READ_AT_ONCE: usize = 16;

/// The objects below a directory or a prefix of a bucket.
#[derive(Debug)]
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    /// What a key is put behind when it is shown.
    shown: String,
    /// Where they are a directory.
    root: Option<PathBuf>,
    background: Background,
}

/// An object in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) size: u64,
    /// Changes with the content.
    pub(super) tag: String,
    pub(super) modified: DateTime<Utc>,
}

/// The content of an object, and what tells it from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) bytes: Bytes,
    pub(super) tag: String,
}

/// What became of an object that was to be put under a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Put {
    /// It is there, with this tag.
    Done(String),
    /// Another is there, and stays.
    Taken,
}

/// What is required of the object that is in the place of a new one.
#[derive(Debug, Clone)]
pub(super) enum Over {
    /// There must be none.
    Nothing,
    /// It must have this tag.
    Tagged(String),
    /// It does not matter.
    Anything,
}

impl Objects {
    /// What people know an object by.
    pub(super) fn shown(&self, key: &str) -> String {
        if key.is_empty() { self.shown.clone() } else { format!("{}/{key}", self.shown) }
    }

    /// The content of an object, where there is one.
    pub(super) fn get(&self, key: &str) -> Result<Option<Content>, StoreError> {
        match self.get_if(key, GetOptions::default())? {
            Found::Content(content) => Ok(Some(content)),
            Found::Nothing | Found::Same => Ok(None),
        }
    }

    /// The text of an object, where there is one.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>, StoreError> {
        self.get(key)?.map(|content| content.text(&self.shown(key))).transpose()
    }

    /// The texts of several objects, in their order; a few are read at a time.
    pub(super) fn texts(&self, keys: &[String]) -> Result<Vec<Option<String>>, StoreError> {
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

    /// Whether an object has another tag than the one that is `known`; an error where there is none.
    pub(super) fn has_changed(&self, key: &str, known: &str) -> Result<bool, StoreError> {
        let options = GetOptions { if_none_match: Some(known.to_owned()), ..GetOptions::default() };
        match self.get_if(key, options)? {
            Found::Content(_) => Ok(true),
            Found::Same => Ok(false),
            Found::Nothing => {
                Err(StoreError::NotAStore { path: self.shown.clone(), reason: format!("it has no {key}") })
            }
        }
    }

    /// Whether there is such an object.
    pub(super) fn exists(&self, key: &str) -> Result<bool, StoreError> {
        let (store, path) = (Arc::clone(&self.store), self.key(key)?);
        match self.wait(async move { store.head(&path).await }) {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.failed(key, &error)),
        }
    }

    /// The objects below a folder, by their keys without it; a folder that is not there holds none. What has a name that cannot
    /// be written down is none of ours.
    pub(super) fn list(&self, folder: &str) -> Result<BTreeMap<String, Listed>, StoreError> {
        if let Some(root) = &self.root {
            return files::list(&root.join(folder));
        }
        let (store, prefix) = (Arc::clone(&self.store), self.key(folder)?);
        let prefix_length = prefix.as_ref().len() + 1;
        let listed = self.wait_long(async move {
            let mut objects = store.list(Some(&prefix));
            let mut found = Vec::new();
            while let Some(object) = within(PATIENCE, objects.try_next()).await? {
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

    /// Puts a small object.
    pub(super) fn put(&self, key: &str, bytes: impl Into<Bytes>, over: Over) -> Result<Put, StoreError> {
        let (store, path, bytes) = (Arc::clone(&self.store), self.key(key)?, bytes.into());
        let options = put_options(over);
        let put =
            self.wait(async move { store.put_opts(&path, PutPayload::from_bytes(bytes), options).await });
        self.judge_put(key, put)
    }

    /// Removes an object, whether it is there or not.
    pub(super) fn delete(&self, key: &str) -> Result<(), StoreError> {
        let (store, path) = (Arc::clone(&self.store), self.key(key)?);
        match self.wait(async move { store.delete(&path).await }) {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(key, &error)),
        }
    }

    fn get_if(&self, key: &str, options: GetOptions) -> Result<Found, StoreError> {
        let (store, path) = (Arc::clone(&self.store), self.key(key)?);
        let read = self.wait(async move { read(&*store, &path, options).await });
        match read {
            Ok(content) => Ok(Found::Content(content)),
            Err(Error::NotFound { .. }) => Ok(Found::Nothing),
            Err(Error::NotModified { .. }) => Ok(Found::Same),
            Err(error) => Err(self.failed(key, &error)),
        }
    }

    fn judge_put(&self, key: &str, put: Result<object_store::PutResult, Error>) -> Result<Put, StoreError> {
        match put {
            Ok(done) => Ok(Put::Done(done.e_tag.unwrap_or_default())),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(Put::Taken),
            Err(error) => Err(self.failed(key, &error)),
        }
    }

    fn key(&self, key: &str) -> Result<Key, StoreError> {
        Key::parse(key)
            .map_err(|error| StoreError::Damaged { path: self.shown(key), message: error.to_string() })
    }

    /// Waits for work that is over within [`PATIENCE`].
    fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.wait_long(within(PATIENCE, work))
    }

    /// Waits for work that bounds itself. Any thread may wait, one of a runtime too, though it had better not.
    fn wait_long<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.background.handle.spawn(async move {
            // Nobody waits where the asking thread has panicked.
            let _ = answer.send(work.await);
        });
        answered.recv().unwrap_or_else(|_| Err(other("the work was dropped before it ended")))
    }

    /// What an error means to those who know nothing of objects.
    fn failed(&self, key: &str, error: &Error) -> StoreError {
        let path = self.shown(key);
        if let Some(source) = io_error_in(error).filter(|_| self.root.is_some()) {
            return StoreError::Io { path, source };
        }
        let told = if let Error::Generic { source, .. } = error { &**source } else { error as &_ };
        let message = innermost(told);
        if matches!(error, Error::NotFound { .. }) {
            let reason = format!("there is no such bucket, or {key} has just gone");
            return StoreError::NotAStore { path: self.shown.clone(), reason };
        }
        if matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. }) {
            return StoreError::Refused { path, message };
        }
        if matches!(error, Error::InvalidPath { .. }) {
            return StoreError::Damaged { path, message };
        }
        StoreError::Unreachable { store: path, message }
    }
}

impl Content {
    /// As text; `path` is what an error calls it.
    pub(super) fn text(self, path: &str) -> Result<String, StoreError> {
        String::from_utf8(self.bytes.into()).map_err(|error| StoreError::Damaged {
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

fn put_options(over: Over) -> PutOptions {
    PutOptions::from(match over {
        Over::Nothing => PutMode::Create,
        Over::Tagged(tag) => PutMode::Update(UpdateVersion { e_tag: Some(tag), version: None }),
        Over::Anything => PutMode::Overwrite,
    })
}

async fn read(store: &dyn ObjectStore, key: &Key, options: GetOptions) -> Result<Content, Error> {
    let answer = store.get_opts(key, options).await?;
    let tag = answer.meta.e_tag.clone().unwrap_or_default();
    Ok(Content { bytes: answer.bytes().await?, tag })
}

/// Reads objects at the same time; one that is not there is `None`.
async fn read_all(store: &Arc<dyn ObjectStore>, keys: Vec<Key>) -> Result<Vec<Option<Content>>, Error> {
    let mut reading = JoinSet::new();
    let mut found = vec![None; keys.len()];
    for (index, key) in keys.into_iter().enumerate() {
        let store = Arc::clone(store);
        reading.spawn(
            async move { (index, within(PATIENCE, read(&*store, &key, GetOptions::default())).await) },
        );
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

async fn within<T>(patience: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let late = || other(&format!("no answer within {} s", patience.as_secs()));
    tokio::time::timeout(patience, work).await.unwrap_or_else(|_| Err(late()))
}

fn other(message: &str) -> Error {
    Error::Generic { store: "store", source: message.into() }
}

/// The error of the operating system that an error goes back to.
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

/// The message at the root of an error, with that of the error itself where they differ.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    let (outer, inner) = (error.to_string(), deepest.to_string());
    if outer.contains(&inner) { outer } else { format!("{outer}: {inner}") }
}
