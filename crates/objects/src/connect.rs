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

use super::{CALL_TIMEOUT, Objects, PART_TIMEOUT, io_error_in};
use crate::ObjectsError;

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

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
        let seconds = |time: Duration| format!("{} seconds", time.as_secs());
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
            .with_config(client(ClientConfigKey::ConnectTimeout), seconds(CONNECT_TIMEOUT))
            // Bounds the time until an answer begins, and between any two of its bytes.
            .with_config(client(ClientConfigKey::ReadTimeout), seconds(PART_TIMEOUT))
            // No limit on the whole transfer: large objects take long.
            .with_config(client(ClientConfigKey::Timeout), "1 day")
            .with_retry(RetryConfig { backoff, max_retries: 2, retry_timeout: CALL_TIMEOUT })
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        let store: Arc<dyn ObjectStore> =
            if prefix.is_root() { Arc::new(store) } else { Arc::new(PrefixStore::new(store, prefix)) };
        Ok(Self { store, shown: format!("s3://{rest}"), root: None, background: Background::start()? })
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
