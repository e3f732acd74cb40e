//! The location of objects: a directory, or a bucket that `AWS_*` variables configure.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig};
use tokio::runtime::{Builder, Handle, Runtime};

use super::{CALL_TIMEOUT, Objects, io_error_in};
use crate::ObjectsError;

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Longer than any call.
const UNLIMITED: &str = "1 day";

impl Objects {
    /// The files below a directory, which must exist.
    pub fn in_directory(root: &Path) -> Result<Self, ObjectsError> {
        let shown = root.display().to_string();
        let store = LocalFileSystem::new_with_prefix(root).map_err(|error| {
            ObjectsError::io(root, io_error_in(&error).unwrap_or_else(|| io::Error::other(error.to_string())))
        })?;
        Ok(Self {
            store: Arc::new(store),
            shown,
            root: Some(root.to_owned()),
            background: Background::start()?,
        })
    }

    /// The objects of `s3://bucket/prefix`; the usual `AWS_*` names among `variables` give credentials and endpoint.
    pub fn in_bucket(
        location: &str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ObjectsError> {
        let wrong = |message: String| ObjectsError::Location { location: location.to_owned(), message };
        let rest = location.strip_prefix("s3://").unwrap_or(location).trim_end_matches('/');
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(wrong("it names no bucket; write s3://bucket/prefix".to_owned()));
        }
        let prefix = Key::parse(prefix).map_err(|error| wrong(error.to_string()))?;
        let client = |key| AmazonS3ConfigKey::Client(key);
        let backoff = BackoffConfig {
            init_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_millis(500),
            base: 2.0,
        };
        let builder = builder_of(variables);
        let set = |key: AmazonS3ConfigKey| builder.get_config_value(&key).unwrap_or_default();
        let endpoint = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint].map(set);
        let allowed = set(client(ClientConfigKey::AllowHttp)) == "true";
        if endpoint.iter().any(|endpoint| endpoint.starts_with("http://")) && !allowed {
            let message = "its endpoint is reached without encryption; allow that with AWS_ALLOW_HTTP=true, or use https://";
            return Err(wrong(message.to_owned()));
        }
        let store = builder
            .with_bucket_name(bucket)
            .with_config(
                client(ClientConfigKey::ConnectTimeout),
                format!("{} seconds", CONNECT_TIMEOUT.as_secs()),
            )
            // Each call has its own time limit, and that of an upload grows with its bytes. A read timeout would cut
            // uploads: it also counts the time until the answer begins, and an upload is answered at its end.
            .with_config(client(ClientConfigKey::ReadTimeout), UNLIMITED)
            .with_config(client(ClientConfigKey::Timeout), UNLIMITED)
            .with_retry(RetryConfig { backoff, max_retries: 2, retry_timeout: CALL_TIMEOUT })
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        let store: Arc<dyn ObjectStore> =
            if prefix.is_root() { Arc::new(store) } else { Arc::new(PrefixStore::new(store, prefix)) };
        Ok(Self { store, shown: format!("s3://{rest}"), root: None, background: Background::start()? })
    }

    /// An empty bucket in memory.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Self {
        let store = Arc::new(object_store::memory::InMemory::new());
        Self { store, shown: "memory".to_owned(), root: None, background: Background::start().unwrap() }
    }
}

/// Does for `variables` what `AmazonS3Builder::from_env` does for the environment.
fn builder_of(variables: impl IntoIterator<Item = (String, String)>) -> AmazonS3Builder {
    let known = variables.into_iter().filter(|(name, _)| name.starts_with("AWS_"));
    known.fold(AmazonS3Builder::new(), |builder, (name, value)| match name.to_ascii_lowercase().parse() {
        Ok(key) => builder.with_config(key, value),
        Err(_) => builder,
    })
}

/// A runtime whose drop does not wait for its tasks.
#[derive(Debug)]
pub(crate) struct Background {
    pub handle: Handle,
    runtime: Option<Runtime>,
}

impl Background {
    fn start() -> Result<Self, ObjectsError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("store")
            .enable_all()
            .build()
            .map_err(|error| ObjectsError::io(Path::new("the thread of the store"), error))?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::{JoinHandle, spawn_blocking};
    use tokio::time;

    use super::*;
    use crate::{PART_TIMEOUT, Put, WriteCondition, put_options, within};

    /// An upload with a time limit to a server that has the request and has not answered yet.
    async fn begun(
        limit: Duration,
    ) -> (JoinHandle<Result<Put, ObjectsError>>, tokio::net::TcpStream, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let variables = [
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_ENDPOINT_URL", &endpoint),
            ("AWS_ALLOW_HTTP", "true"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let objects = Objects::in_bucket("s3://bucket/store", variables).unwrap();
        let upload = tokio::spawn(async move {
            let (key, options) = (objects.key("a/b")?, put_options(WriteCondition::Absent));
            let put = objects.store.put_opts(&key, "some bytes".into(), options);
            objects.judge_put("a/b", within(limit, put).await)
        });
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 64 << 10];
        assert!(connection.read(&mut request).await.unwrap() > 0);
        (upload, connection, listener)
    }

    #[tokio::test]
    async fn an_upload_is_cut_at_its_own_limit_alone() {
        let limit = 6 * PART_TIMEOUT;
        time::pause();
        // While a thread works, the paused clock moves only where the test moves it.
        let (end, ended) = mpsc::channel::<()>();
        let working = spawn_blocking(move || ended.recv());

        let (mut upload, mut connection, listener) = begun(limit).await;
        time::advance(5 * PART_TIMEOUT).await;
        let answer = b"HTTP/1.1 200 OK\r\netag: \"tag\"\r\ncontent-length: 0\r\n\r\n";
        connection.write_all(answer).await.unwrap();
        tokio::select! {
            put = &mut upload => assert_eq!(put.unwrap().unwrap(), Put::Done("\"tag\"".to_owned())),
            _ = listener.accept() => panic!("it was cut, and sent again"),
        }

        let (upload, _connection, _listener) = begun(limit).await;
        time::advance(7 * PART_TIMEOUT).await;
        let cut = upload.await.unwrap().unwrap_err();
        assert!(cut.to_string().contains("no answer within 120 s"), "{cut}");

        drop(end);
        working.await.unwrap().unwrap_err();
    }
}
