//! Where the objects are: a directory, or a bucket that the environment says how to reach.

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

use super::{Objects, PART_PATIENCE, PATIENCE, io_error_in};
use crate::release::store::StoreError;

/// How long a server may take to accept a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);

impl Objects {
    /// The files below a directory, which must exist.
    pub fn in_directory(root: &Path) -> Result<Self, StoreError> {
        let shown = root.display().to_string();
        let store = LocalFileSystem::new_with_prefix(root).map_err(|error| {
            StoreError::io(root, io_error_in(&error).unwrap_or_else(|| io::Error::other(error.to_string())))
        })?;
        Ok(Self {
            store: Arc::new(store),
            shown,
            root: Some(root.to_owned()),
            background: Background::start()?,
        })
    }

    /// The objects of `s3://bucket/prefix`; credentials and endpoint are those of the usual `AWS_*` variables among `variables`.
    pub fn in_bucket(
        location: &str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, StoreError> {
        let wrong = |message: String| StoreError::Location { location: location.to_owned(), message };
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
            .with_config(client(ClientConfigKey::ConnectTimeout), seconds(CONNECT_PATIENCE))
            // From the first byte of a request to the first of its answer, and between any two after that.
            .with_config(client(ClientConfigKey::ReadTimeout), seconds(PART_PATIENCE))
            // A large object takes what it takes.
            .with_config(client(ClientConfigKey::Timeout), "1 day")
            .with_retry(RetryConfig { backoff, max_retries: 2, retry_timeout: PATIENCE })
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        let store: Arc<dyn ObjectStore> =
            if prefix.is_root() { Arc::new(store) } else { Arc::new(PrefixStore::new(store, prefix)) };
        Ok(Self { store, shown: format!("s3://{rest}"), root: None, background: Background::start()? })
    }
}

/// What `AmazonS3Builder::from_env` makes of the environment, made of these variables.
fn builder_of(variables: impl IntoIterator<Item = (String, String)>) -> AmazonS3Builder {
    let known = variables.into_iter().filter(|(name, _)| name.starts_with("AWS_"));
    known.fold(AmazonS3Builder::new(), |builder, (name, value)| match name.to_ascii_lowercase().parse() {
        Ok(key) => builder.with_config(key, value),
        Err(_) => builder,
    })
}

/// A runtime that does not hold up whoever drops it.
#[derive(Debug)]
pub(super) struct Background {
    pub(super) handle: Handle,
    runtime: Option<Runtime>,
}

impl Background {
    fn start() -> Result<Self, StoreError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("store")
            .enable_all()
            .build()
            .map_err(|error| StoreError::io(Path::new("the thread of the store"), error))?;
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
