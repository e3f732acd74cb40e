//! The only place that wires the modules together: a validated configuration in, a running server out.
//!
//! [`App::build`] takes nothing from the network; [`App::run`] takes its sockets and its shutdown as arguments, so that a test starts
//! the whole system on port 0.

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::admin::Admin;
use crate::config::Config;
use crate::decision::Decider;
use crate::document::Problems;
use crate::feature::store::CustomerSource;
use crate::grpc::Grpc;
use crate::model::onnx::{OnnxCache, OnnxRuntime};
use crate::model::{Repository, Workers};
use crate::release::{Publisher, Release, ReleaseSource, Snapshot, Store, StoreError};
use crate::telemetry::{Metrics, Readiness};

/// Why the server does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// ONNX Runtime cannot be used.
    #[error(transparent)]
    Model(#[from] crate::model::ModelError),
    /// The release or the customers are wrong.
    #[error("release {release} cannot be loaded:\n{problems}")]
    Release {
        /// Its number.
        release: u64,
        /// Everything that is wrong.
        problems: Problems,
    },
    /// The operating system said no.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The server stopped serving.
    #[error("serving stopped: {0}")]
    Serving(String),
}

/// The sockets of a server, bound.
#[derive(Debug)]
pub struct Listeners {
    /// For gRPC.
    pub grpc: TcpListener,
    /// For metrics and probes.
    pub admin: TcpListener,
}

impl Listeners {
    /// Binds the addresses of the configuration.
    ///
    /// # Errors
    /// When an address is taken or not ours.
    pub fn bind(config: &Config) -> Result<Self, AppError> {
        let bind = |what: &str, address| {
            TcpListener::bind(address)
                .map_err(|source| AppError::Io { what: format!("cannot listen on {what} {address}"), source })
        };
        Ok(Self { grpc: bind("server.listen", config.listen)?, admin: bind("server.admin", config.admin)? })
    }
}

/// A server that is wired and not yet running.
pub struct App {
    config: Config,
    store: Store,
    cache: Arc<OnnxCache>,
    repository: Arc<Repository>,
    workers: Workers,
    publisher: Publisher,
    readiness: Readiness,
    metrics: Arc<Metrics>,
}

impl App {
    /// Wires the parts. Nothing is loaded yet but ONNX Runtime's library.
    ///
    /// # Errors
    /// When the store, ONNX Runtime or the threads cannot be had.
    pub fn build(config: Config) -> Result<Self, AppError> {
        let store = Store::open(&config.store.to_string_lossy(), None)?;
        let cache = Arc::new(OnnxCache::new(OnnxRuntime::load()?, config.workers));
        let repository = Arc::new(Repository::new(store.models_dir(), Arc::clone(&cache)));
        let workers = Workers::start(config.workers, config.queue)
            .map_err(|source| AppError::Io { what: "cannot start the workers".to_owned(), source })?;
        Ok(Self {
            config,
            store,
            cache,
            repository,
            workers,
            publisher: Publisher::default(),
            readiness: Readiness::default(),
            metrics: Arc::new(Metrics::new()),
        })
    }

    /// Serves on `listeners` until `shutdown` resolves, then drains within the configured bound. Probes answer from the first
    /// moment, calls as soon as the release is loaded.
    ///
    /// # Errors
    /// When the release cannot be loaded or the sockets fail.
    pub async fn run(self, listeners: Listeners, shutdown: impl Future<Output = ()>) -> Result<(), AppError> {
        let admin = Admin::start(listeners.admin, self.readiness.clone(), Arc::clone(&self.metrics))
            .map_err(|source| AppError::Io { what: "cannot serve the admin address".to_owned(), source })?;
        let grpc = grpc_listener(listeners.grpc)?;
        let (config, readiness) = (self.config.clone(), self.readiness.clone());
        let queue = self.workers.clone();
        self.metrics.sample(move |metrics| _ = metrics.queue_depth.set(queue.queued() as i64));
        let services = Grpc {
            decider: Decider::new(self.publisher.pointer(), self.workers.clone(), Arc::clone(&self.metrics)),
            repository: Arc::clone(&self.repository),
            workers: self.workers.clone(),
            readiness: self.readiness.clone(),
            metrics: Arc::clone(&self.metrics),
            limits: config.limits.clone(),
        };
        let stop = CancellationToken::new();
        let serving = tokio::spawn(services.serve(grpc, stop.clone().cancelled_owned()));
        let loader = Loader {
            store: self.store,
            cache: self.cache,
            repository: self.repository,
            publisher: self.publisher,
            readiness: readiness.clone(),
            metrics: self.metrics,
        };
        let mut shutdown = std::pin::pin!(shutdown);
        let loading = blocking(move || loader.load_current().map(|watched| (loader, watched)));
        let loaded = tokio::select! {
            loaded = loading => loaded.and_then(|loaded| loaded),
            // Nothing is under way yet that would have to be finished.
            () = &mut shutdown => {
                stop.cancel();
                return Ok(());
            }
        };
        let following = match loaded {
            Ok((loader, watched)) => loader.follow(watched, config.poll, stop.clone()),
            Err(error) => {
                stop.cancel();
                return Err(error);
            }
        };
        let ended = wait_for(serving, shutdown, &readiness, &stop, config.drain).await;
        stop.cancel();
        // A look at the store that is under way holds nothing that must be saved, and is not waited for.
        let _ = following.await;
        admin.stop();
        ended
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, AppError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| AppError::Serving(error.to_string()))
}

fn grpc_listener(listener: TcpListener) -> Result<tokio::net::TcpListener, AppError> {
    listener
        .set_nonblocking(true)
        .and_then(|()| tokio::net::TcpListener::from_std(listener))
        .map_err(|source| AppError::Io { what: "cannot serve the gRPC address".to_owned(), source })
}

type Serving = tokio::task::JoinHandle<Result<(), Box<dyn std::error::Error + Send + Sync>>>;

/// Until the server ends by itself, or the shutdown and the draining after it are over.
async fn wait_for(
    mut serving: Serving,
    shutdown: impl Future<Output = ()>,
    readiness: &Readiness,
    stop: &CancellationToken,
    drain: Duration,
) -> Result<(), AppError> {
    let finished = |ended: Result<Result<(), _>, tokio::task::JoinError>| match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            Err(AppError::Serving(Box::<dyn std::error::Error + Send + Sync>::to_string(&error)))
        }
        Err(error) => Err(AppError::Serving(error.to_string())),
    };
    tokio::select! {
        ended = &mut serving => return finished(ended),
        () = shutdown => {}
    }
    tracing::info!(within = ?drain, "draining: calls under way are finished, new ones are refused");
    readiness.drain();
    stop.cancel();
    if let Ok(ended) = tokio::time::timeout(drain, &mut serving).await {
        return finished(ended);
    }
    tracing::warn!(after = ?drain, "calls are still under way; leaving without them");
    serving.abort();
    Ok(())
}

/// Loads what `CURRENT` names and keeps up with what changes beside it.
struct Loader {
    store: Store,
    cache: Arc<OnnxCache>,
    repository: Arc<Repository>,
    publisher: Publisher,
    readiness: Readiness,
    metrics: Arc<Metrics>,
}

/// What was loaded last, to be told from what is there now.
struct Watched {
    release: Arc<Release>,
    customers: CustomerSource,
    fingerprint: Option<crate::feature::store::Fingerprint>,
    /// Why the customers that are there now were not taken.
    refused: Option<Problems>,
}

impl Loader {
    fn load_current(&self) -> Result<Watched, AppError> {
        let began = Instant::now();
        let current = self.store.current()?.current;
        let number = current.release;
        let files = self.store.release(number)?;
        let source = ReleaseSource::of_store(&self.store, &files);
        let failed = |problems| AppError::Release { release: number, problems };
        let release = Arc::new(Release::load(&source, &self.cache).map_err(failed)?);
        release.warm_up(self.cache.sessions())?;
        let customers = CustomerSource::new(self.store.customers_dir());
        let fingerprint = customers.fingerprint();
        let (table, _) = customers.load(release.schema()).map_err(failed)?;
        self.metrics.release_loaded(began.elapsed());
        self.publish(&release, table);
        self.refresh_models(&release);
        self.readiness.ready(number);
        tracing::info!(release = number, took = ?began.elapsed(), "serving");
        Ok(Watched { release, customers, fingerprint, refused: None })
    }

    fn publish(&self, release: &Arc<Release>, customers: crate::feature::store::CustomerTable) {
        let models = release.pins().iter().map(|(name, version)| (name.as_str(), *version));
        self.metrics.release_published(release.number(), models);
        self.metrics.customers_loaded(customers.len(), customers.memory_bytes());
        let (release, customers) = (Arc::clone(release), Arc::new(customers));
        self.publisher.publish(Snapshot { release, customers });
    }

    fn refresh_models(&self, release: &Release) {
        if let Err(error) = self.repository.refresh(release.pins()) {
            tracing::warn!(%error, "the models of the store cannot be listed");
        }
    }

    /// Looks at the store every `poll` until `stop`, on a thread that may block.
    fn follow(
        self,
        mut watched: Watched,
        poll: Duration,
        stop: CancellationToken,
    ) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move {
            let mut loader = self;
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(poll) => {}
                }
                let looked = tokio::task::spawn_blocking(move || {
                    loader.look(&mut watched);
                    (loader, watched)
                });
                let looked = tokio::select! {
                    () = stop.cancelled() => return,
                    looked = looked => looked,
                };
                match looked {
                    Ok(both) => (loader, watched) = both,
                    Err(error) => {
                        tracing::error!(%error, "the store is no longer followed");
                        return;
                    }
                }
            }
        })
    }

    /// New customers are published beside the same release; models that no release pins are loaded for the Open Inference
    /// Protocol. What cannot be read is logged, and what served before still serves.
    fn look(&self, watched: &mut Watched) {
        self.refresh_models(&watched.release);
        let fingerprint = watched.customers.fingerprint();
        if fingerprint == watched.fingerprint {
            return;
        }
        match watched.customers.load(watched.release.schema()) {
            Ok((table, _)) => {
                tracing::info!(customers = table.len(), "new customers serve");
                watched.fingerprint = fingerprint;
                watched.refused = None;
                self.publish(&watched.release, table);
            }
            // Tried again at the next look, since what is wrong may pass; told once.
            Err(problems) => {
                if watched.refused.as_ref() != Some(&problems) {
                    tracing::error!(%problems, "the new customers cannot be read; the old ones serve");
                    watched.refused = Some(problems);
                }
            }
        }
    }
}
