//! Objects of any size, to and from files, with a few pieces in memory at a time.
//!
//! S3 has no condition for what is sent in parts, as `object_store` sends it. So a write under a condition is one
//! request, for any size up to [`CONDITIONAL`], and the file is in memory until it is answered. [`Objects::replace`]
//! takes larger files, too, and asks for the tag just before it ends them.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::path::Path as Key;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutPayload};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use super::{CALL_TIMEOUT, Objects, PART_TIMEOUT, Put, WriteCondition, io_error_in, put_options, within};
use crate::ObjectsError;

/// The bytes of a part; larger files are sent in parts. S3 accepts no smaller ones.
const PART: usize = 5 << 20;
/// The most parts in flight, which with [`PART`] bounds the memory of an upload.
const PARTS_AT_ONCE: u32 = 3;
/// The most bytes of an upload under a condition, all of which are in memory at once.
const CONDITIONAL: u64 = 128 << 20;

impl Objects {
    /// Uploads a file, in parts if it is large. Under a condition it is one request, and has at most 128 MiB.
    pub fn upload(&self, key: &str, file: &Path, condition: WriteCondition) -> Result<Put, ObjectsError> {
        let mut source = File::open(file).map_err(|error| ObjectsError::io(file, error))?;
        let is_conditional = !matches!(condition, WriteCondition::Always);
        let parts = if is_conditional { CONDITIONAL / PART as u64 + 1 } else { 1 };
        let first = read_parts(&mut source, parts).map_err(|error| ObjectsError::io(file, error))?;
        let bytes = first.iter().map(Bytes::len).sum::<usize>();
        if is_conditional && bytes as u64 > CONDITIONAL {
            return Err(ObjectsError::Damaged {
                path: file.display().to_string(),
                message: format!(
                    "has more than {} MiB, too much to be written to {} under a condition",
                    CONDITIONAL >> 20,
                    self.shown(key)
                ),
            });
        }
        let (store, path) = (Arc::clone(&self.store), self.key(key)?);
        if is_conditional || bytes < PART {
            let (payload, options) = (PutPayload::from_iter(first), put_options(condition));
            let limit = time_limit(bytes);
            let put =
                self.wait_long(async move { within(limit, store.put_opts(&path, payload, options)).await });
            return self.judge_put(key, put);
        }
        let first = first.into_iter().next().unwrap_or_default();
        self.upload_parts(key, file, first, source, None)
    }

    /// Puts a file in the place of the object with the tag `former`. If there is another one by now, or none, nothing
    /// changes.
    ///
    /// Up to 128 MiB it is one request with a condition. More is sent in parts, and the tag is asked for between the
    /// last part and the request that makes them the object: what is written in that moment is lost.
    ///
    /// # Errors
    /// Those of the operating system and of the bucket; the former object is there then.
    pub fn replace(&self, key: &str, file: &Path, former: &str) -> Result<Put, ObjectsError> {
        let failed = |error| ObjectsError::io(file, error);
        let mut source = File::open(file).map_err(failed)?;
        if source.metadata().map_err(failed)?.len() <= CONDITIONAL {
            return self.upload(key, file, WriteCondition::Matches(former.to_owned()));
        }
        let first = read_part(&mut source).map_err(failed)?;
        self.upload_parts(key, file, first, source, Some(former.to_owned()))
    }

    /// Sends `first` and what follows in `source`. `former`: the tag that the object must have when all was sent.
    fn upload_parts(
        &self,
        key: &str,
        file: &Path,
        first: Bytes,
        source: File,
        former: Option<String>,
    ) -> Result<Put, ObjectsError> {
        let (store, path) = (Arc::clone(&self.store), self.key(key)?);
        let sent =
            self.wait_long(async move { send_parts(&*store, &path, first, source, former.as_deref()).await });
        sent.map_err(|error| match io_error_in(&error) {
            Some(source) => ObjectsError::io(file, source),
            None => self.failed(key, &error),
        })
    }

    /// Downloads an object to a new file. Returns the tag of what was downloaded.
    pub fn download(&self, key: &str, file: &Path) -> Result<String, ObjectsError> {
        let mut target = File::create(file).map_err(|error| ObjectsError::io(file, error))?;
        self.stream(key, move |bytes| target.write_all(bytes)).map_err(|error| match error {
            Streaming::Local(error) => ObjectsError::io(file, error),
            Streaming::Remote(error) => error,
        })
    }

    /// The SHA-256 of an object.
    pub fn sha256(&self, key: &str) -> Result<[u8; 32], ObjectsError> {
        let digest = Arc::new(Mutex::new(Sha256::new()));
        let hasher = Arc::clone(&digest);
        let update = move |bytes: &[u8]| {
            hasher.lock().unwrap_or_else(PoisonError::into_inner).update(bytes);
            Ok(())
        };
        match self.stream(key, update) {
            Ok(_) => {
                let digest = digest.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Ok(digest.finalize().into())
            }
            Err(Streaming::Local(error)) => Err(ObjectsError::io(Path::new(key), error)),
            Err(Streaming::Remote(error)) => Err(error),
        }
    }

    /// Passes the bytes of an object to `take`, one piece at a time. Returns its tag.
    fn stream(
        &self,
        key: &str,
        mut take: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static,
    ) -> Result<String, Streaming> {
        let (store, path) = (Arc::clone(&self.store), self.key(key).map_err(Streaming::Remote)?);
        let streamed = self.wait_long(async move {
            let found = within(CALL_TIMEOUT, store.get(&path)).await?;
            let tag = found.meta.e_tag.clone().unwrap_or_default();
            let mut pieces = found.into_stream();
            while let Some(piece) = within(PART_TIMEOUT, pieces.try_next()).await? {
                if let Err(error) = tokio::task::block_in_place(|| take(&piece)) {
                    return Ok(Err(error));
                }
            }
            Ok(Ok(tag))
        });
        match streamed {
            Ok(taken) => taken.map_err(Streaming::Local),
            Err(error) => Err(Streaming::Remote(self.failed(key, &error))),
        }
    }
}

enum Streaming {
    Local(io::Error),
    Remote(ObjectsError),
}

/// Uploads a file in parts, a few at a time; aborts the upload if one fails, or the object does not have the tag
/// `former` by then.
async fn send_parts(
    store: &dyn ObjectStore,
    key: &Key,
    first: Bytes,
    mut source: File,
    former: Option<&str>,
) -> Result<Put, Error> {
    let mut upload = within(CALL_TIMEOUT, store.put_multipart(key)).await?;
    let mut parts = JoinSet::new();
    let mut next = first;
    let sent: Result<(), Error> = loop {
        if next.is_empty() {
            break Ok(());
        }
        let part = upload.put_part(PutPayload::from_bytes(next));
        // They share the connection.
        parts.spawn(within(PARTS_AT_ONCE * PART_TIMEOUT, part));
        if parts.len() >= PARTS_AT_ONCE as usize
            && let Some(Err(error)) = parts.join_next().await.map(flatten)
        {
            break Err(error);
        }
        match tokio::task::block_in_place(|| read_part(&mut source)) {
            Ok(part) => next = part,
            Err(error) => break Err(Error::Generic { store: "file", source: Box::new(error) }),
        }
    };
    let mut ended = sent;
    while let Some(part) = parts.join_next().await {
        ended = ended.and(flatten(part));
    }
    let is_taken = match (ended, former) {
        (Ok(()), Some(former)) => tag(store, key).await.map(|found| found.as_deref() != Some(former)),
        (ended, _) => ended.map(|()| false),
    };
    match is_taken {
        Ok(false) => {
            let done = within(PART_TIMEOUT, upload.complete()).await?;
            Ok(Put::Done(done.e_tag.unwrap_or_default()))
        }
        other => {
            let _ = within(CALL_TIMEOUT, upload.abort()).await;
            other.map(|_| Put::Taken)
        }
    }
}

/// The tag of an object; `None` if there is none.
async fn tag(store: &dyn ObjectStore, key: &Key) -> Result<Option<String>, Error> {
    match within(CALL_TIMEOUT, store.head(key)).await {
        Ok(found) => Ok(found.e_tag),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn flatten(part: Result<Result<(), Error>, tokio::task::JoinError>) -> Result<(), Error> {
    part.unwrap_or_else(|error| Err(error.into()))
}

/// The time limit of one request with so many bytes: what their parts would have one after another.
fn time_limit(bytes: usize) -> Duration {
    PART_TIMEOUT * u32::try_from(bytes.div_ceil(PART).max(1)).unwrap_or(u32::MAX)
}

/// The next parts of a file, fewer at its end.
fn read_parts(source: &mut File, most: u64) -> io::Result<Vec<Bytes>> {
    let mut parts = Vec::new();
    for _ in 0..most {
        let part = read_part(source)?;
        let is_last = part.len() < PART;
        parts.push(part);
        if is_last {
            break;
        }
    }
    Ok(parts)
}

/// The next [`PART`] bytes of a file, fewer at its end.
fn read_part(source: &mut File) -> io::Result<Bytes> {
    let mut part = Vec::new();
    source.take(PART as u64).read_to_end(&mut part)?;
    Ok(part.into())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A bucket in memory, and a file of so many bytes.
    fn bucket(bytes: u64) -> (TempDir, Objects, std::path::PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let objects = Objects::in_memory();
        let file = root.path().join("file");
        let content: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
        std::fs::write(&file, content).unwrap();
        (root, objects, file)
    }

    const BYTES: u64 = PART as u64;

    #[test]
    fn a_condition_holds_for_any_size() {
        for bytes in [0, 1, BYTES - 1, BYTES, BYTES + 1, 3 * BYTES, CONDITIONAL] {
            let (_root, objects, file) = bucket(bytes);
            let upload = |condition| objects.upload("a/b", &file, condition).unwrap();
            let Put::Done(tag) = upload(WriteCondition::Absent) else { panic!("{bytes}") };
            let whole = std::fs::read(&file).unwrap();
            assert!(objects.get("a/b").unwrap().unwrap().bytes == whole, "{bytes}");
            assert_eq!(upload(WriteCondition::Absent), Put::Taken);
            std::fs::write(&file, "another").unwrap();
            assert_eq!(upload(WriteCondition::Absent), Put::Taken);
            assert!(objects.get("a/b").unwrap().unwrap().bytes == whole, "{bytes}");
            let Put::Done(next) = upload(WriteCondition::Matches(tag.clone())) else { panic!("{bytes}") };
            assert_eq!(upload(WriteCondition::Matches(tag)), Put::Taken);
            assert!(matches!(upload(WriteCondition::Matches(next)), Put::Done(_)));
            assert_eq!(objects.text("a/b").unwrap().unwrap(), "another");
        }
    }

    #[test]
    fn what_is_too_large_for_a_condition_is_refused_by_name() {
        let (_root, objects, file) = bucket(CONDITIONAL + 1);
        let error = objects.upload("a/b", &file, WriteCondition::Absent).unwrap_err().to_string();
        assert!(
            error.contains(&file.display().to_string()) && error.contains("more than 128 MiB"),
            "{error}"
        );
        assert!(!objects.exists("a/b").unwrap());
        // Without a condition, it is sent in parts.
        assert!(matches!(objects.upload("a/b", &file, WriteCondition::Always).unwrap(), Put::Done(_)));
        assert_eq!(objects.list("a").unwrap()["b"].size, CONDITIONAL + 1);
    }

    #[test]
    fn an_object_is_replaced_only_if_it_is_the_one_that_was_read() {
        for bytes in [0, BYTES + 1, CONDITIONAL, CONDITIONAL + 1] {
            let (_root, objects, file) = bucket(bytes);
            let replace = |tag: &str| objects.replace("a/b", &file, tag).unwrap();
            let tag = || objects.list("a").unwrap()["b"].tag.clone();
            let text = || objects.get("a/b").unwrap().unwrap().bytes;
            objects.put("a/b", "first", WriteCondition::Always).unwrap();
            let first = tag();
            objects.put("a/b", "second", WriteCondition::Always).unwrap();
            assert_eq!((replace(&first), text()), (Put::Taken, "second".into()), "{bytes}");
            let Put::Done(written) = replace(&tag()) else { panic!("{bytes}") };
            assert_eq!(written, tag());
            assert!(text() == std::fs::read(&file).unwrap(), "{bytes}");
            objects.delete("a/b").unwrap();
            assert_eq!(replace(&written), Put::Taken);
            assert!(!objects.exists("a/b").unwrap(), "{bytes}");
        }
    }

    #[test]
    fn without_a_condition_any_size_replaces() {
        for bytes in [0, BYTES - 1, BYTES, BYTES + 1, 3 * BYTES + 7] {
            let (_root, objects, file) = bucket(bytes);
            objects.put("a/b", "before", WriteCondition::Always).unwrap();
            assert!(matches!(objects.upload("a/b", &file, WriteCondition::Always).unwrap(), Put::Done(_)));
            assert!(objects.get("a/b").unwrap().unwrap().bytes == std::fs::read(&file).unwrap(), "{bytes}");
        }
    }

    #[test]
    fn the_time_limit_grows_with_the_bytes() {
        assert_eq!(time_limit(0), PART_TIMEOUT);
        assert_eq!(time_limit(PART), PART_TIMEOUT);
        assert_eq!(time_limit(PART + 1), 2 * PART_TIMEOUT);
        assert_eq!(time_limit(CONDITIONAL as usize), 26 * PART_TIMEOUT);
    }
}
