//! Objects of any size, to and from files, with a few pieces in memory at a time.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::path::Path as Key;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutPayload};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use super::{CALL_TIMEOUT, Objects, Over, PART_TIMEOUT, Put, io_error_in, put_options, within};
use crate::ObjectsError;

/// The bytes of a part; larger files are sent in parts. S3 accepts no smaller ones.
const PART: usize = 5 << 20;
/// The most parts in flight, which with [`PART`] bounds the memory of an upload.
const PARTS_AT_ONCE: usize = 3;

impl Objects {
    /// Uploads a file, in parts if it is large. A large object is written without a condition.
    pub fn upload(&self, key: &str, file: &Path, over: Over) -> Result<Put, ObjectsError> {
        let mut source = File::open(file).map_err(|error| ObjectsError::io(file, error))?;
        let first = read_part(&mut source).map_err(|error| ObjectsError::io(file, error))?;
        let (store, path) = (Arc::clone(&self.store), self.key(key)?);
        if first.len() < PART {
            let (payload, options) = (PutPayload::from_bytes(first), put_options(over));
            let put =
                self.wait_long(
                    async move { within(PART_TIMEOUT, store.put_opts(&path, payload, options)).await },
                );
            return self.judge_put(key, put);
        }
        let sent = self.wait_long(async move { send_parts(&*store, &path, first, source).await });
        sent.map(Put::Done).map_err(|error| match io_error_in(&error) {
            Some(source) => ObjectsError::io(file, source),
            None => self.failed(key, &error),
        })
    }

    /// Downloads an object to a new file.
    pub fn download(&self, key: &str, file: &Path) -> Result<(), ObjectsError> {
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
            Ok(()) => {
                let digest = digest.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Ok(digest.finalize().into())
            }
            Err(Streaming::Local(error)) => Err(ObjectsError::io(Path::new(key), error)),
            Err(Streaming::Remote(error)) => Err(error),
        }
    }

    /// Passes the bytes of an object to `take`, one piece at a time.
    fn stream(
        &self,
        key: &str,
        mut take: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static,
    ) -> Result<(), Streaming> {
        let (store, path) = (Arc::clone(&self.store), self.key(key).map_err(Streaming::Remote)?);
        let streamed = self.wait_long(async move {
            let mut pieces = within(CALL_TIMEOUT, store.get(&path)).await?.into_stream();
            while let Some(piece) = within(PART_TIMEOUT, pieces.try_next()).await? {
                if let Err(error) = tokio::task::block_in_place(|| take(&piece)) {
                    return Ok(Err(error));
                }
            }
            Ok(Ok(()))
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

/// Uploads a file in parts, a few at a time; aborts the upload if one fails.
async fn send_parts(
    store: &dyn ObjectStore,
    key: &Key,
    first: Bytes,
    mut source: File,
) -> Result<String, Error> {
    let mut upload = within(CALL_TIMEOUT, store.put_multipart(key)).await?;
    let mut parts = JoinSet::new();
    let mut next = first;
    let sent: Result<(), Error> = loop {
        if next.is_empty() {
            break Ok(());
        }
        let part = upload.put_part(PutPayload::from_bytes(next));
        parts.spawn(within(PART_TIMEOUT, part));
        if parts.len() >= PARTS_AT_ONCE
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
    match ended {
        Ok(()) => Ok(within(PART_TIMEOUT, upload.complete()).await?.e_tag.unwrap_or_default()),
        Err(error) => {
            let _ = within(CALL_TIMEOUT, upload.abort()).await;
            Err(error)
        }
    }
}

fn flatten(part: Result<Result<(), Error>, tokio::task::JoinError>) -> Result<(), Error> {
    part.unwrap_or_else(|error| Err(error.into()))
}

/// The next [`PART`] bytes of a file, fewer at its end.
fn read_part(source: &mut File) -> io::Result<Bytes> {
    let mut part = Vec::new();
    source.take(PART as u64).read_to_end(&mut part)?;
    Ok(part.into())
}
