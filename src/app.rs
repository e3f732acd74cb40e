//! The only place that wires the modules together: a validated configuration in, a running server out.
//!
//! [`App::build`] opens no sockets; [`App::run`] gets its sockets and its shutdown as arguments, so that a test starts
//! the whole system on port 0.

mod config;
mod erasures;
mod evaluator;
mod memory;
mod neighbours;
mod offline;
mod records;
mod repeating;
pub mod reports;
mod shadows;

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use tokio_util::sync::CancellationToken;

pub use self::config::{EvaluationConfig, ServerConfig};
use self::evaluator::{EvaluatorParts, Judgements};
use self::memory::Memory;
use self::neighbours::Neighbours;
use self::records::Records;
pub use self::records::{InStore, outside_of_stores, recorder};
use self::repeating::Repeating;
pub use self::reports::{MetricsAsk, ReportError, Reports};
pub use self::shadows::ShadowConfig;
use self::shadows::{ShadowParts, Shadows};
use crate::admin::Admin;
use crate::config::Config;
use crate::grpc::{AnalysisReports, Grpc};
use decision::{Decider, ShadowSink};
use event::erasure::ErasureError;
use event::privacy::PrivacyError;
use event::{EventError, SealedError};
use feature::RecentRows;
use model::GraphCache;
use model::Repository;
use model::onnx::OnnxRuntime;
use release::{
    Deployer, DeployerParts, Follower, Guardrails, Permits, Publisher, Ramps, RampsParts, Registry,
    RegistryError, RegistryParts, ReleaseConfig, Store, StoreError,
};
use telemetry::{Metrics, Readiness};
use work::{Background, Worker, Workers};

/// How long the end of a server waits for what was recorded to be written.
const RECORDING: Duration = Duration::from_secs(5);

/// How long the end of a server waits for the comparison with a shadow that is made.
const COMPARING: Duration = Duration::from_secs(1);

/// The file of the data directory that keeps stops of experiments that could not be written yet.
const PENDING_STOPS: &str = "pending-stops.toml";

/// Why the server does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// ONNX Runtime cannot be used.
    #[error(transparent)]
    Model(#[from] model::ModelError),
    /// The current release cannot serve.
    #[error("the current release cannot be loaded:\n{0}")]
    Release(#[from] RegistryError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Events(#[from] EventError),
    /// The store cannot hold sealed events.
    #[error(transparent)]
    Sealed(#[from] SealedError),
    /// The store cannot hold erasures.
    #[error(transparent)]
    Erasure(#[from] ErasureError),
    /// The keys of records cannot be used.
    #[error(transparent)]
    Privacy(#[from] PrivacyError),
    /// A file that must not be in a store is in one.
    #[error(transparent)]
    InStore(#[from] InStore),
    /// The operating system refused an action.
    #[error("{what}: {source}")]
    Io {
        /// The action.
        what: String,
        /// The reason.
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
    /// When an address is taken or not of this machine.
    pub fn bind(config: &Config) -> Result<Self, AppError> {
        let bind = |what: &str, address| {
            TcpListener::bind(address)
                .map_err(|source| AppError::Io { what: format!("cannot listen on {what} {address}"), source })
        };
        Ok(Self {
            grpc: bind("server.listen", config.server.listen)?,
            admin: bind("server.admin", config.server.admin)?,
        })
    }
}

/// A server that is wired and not yet running.
pub struct App {
    config: Config,
    decider: Decider,
    registry: Registry,
    deployer: Deployer,
    ramps: Ramps,
    repository: Arc<Repository>,
    workers: Workers,
    readiness: Readiness,
    metrics: Arc<Metrics>,
    store: Store,
    records: Option<Records>,
    memory: Arc<Memory>,
    publisher: Publisher,
    shadows: Arc<Shadows>,
    reports: Option<Reports>,
    /// What guardrails say; `None` if they are not evaluated here.
    judgements: Option<Arc<Judgements>>,
}

impl App {
    /// Wires the parts. Only ONNX Runtime's library is loaded yet.
    ///
    /// # Errors
    /// When the store, ONNX Runtime or the threads are not available.
    pub async fn build(config: Config) -> Result<Self, AppError> {
        blocking(move || Self::wire(config)).await?
    }

    fn wire(config: Config) -> Result<Self, AppError> {
        let store = Store::open(&config.release.store, Some(&config.release.mirror))?;
        let cache = GraphCache::new(OnnxRuntime::load()?, config.server.workers).with_session_beside();
        let cache = Arc::new(cache);
        let background = Background::default();
        let judge_bare = background.judge_bare.clone();
        let permits =
            Permits::new(store.clone(), cache.runtime().clone(), config.release.judges.clone(), judge_bare);
        let permits = Box::new(move |name: &str, version, file: &Path| permits.of(name, version, file));
        let repository = Arc::new(Repository::new(store.models_dir(), Arc::clone(&cache), permits));
        let (publisher, readiness) = (Publisher::default(), Readiness::default());
        let (metrics, recent) =
            (Arc::new(Metrics::new()), Arc::new(RecentRows::new(config.release.recent_rows)));
        let counted = Arc::clone(&metrics);
        let lost = move |_: &str| _ = counted.queue.workers_replaced.inc();
        let workers = Workers::start_watched(
            config.server.workers,
            config.server.queue,
            config.server.stop_grace,
            lost,
        )
        .map_err(|source| AppError::Io { what: "cannot start the workers".to_owned(), source })?;
        let registry = Registry::new(RegistryParts {
            store: store.clone(),
            cache: Arc::clone(&cache),
            publisher: publisher.clone(),
            recent: Arc::clone(&recent),
            metrics: Arc::clone(&metrics),
            upload_bytes: config.release.upload_bytes,
            judges: config.release.judges.clone(),
            judge: background.judge.clone(),
        });
        let decider =
            Decider::new(publisher.pointer(), workers.clone(), Arc::clone(&metrics), Arc::clone(&recent));
        let ReleaseConfig { store: location, mirror, .. } = &config.release;
        let recorded = (&config.events, &config.feedback);
        let records = Records::start(recorded, &config.privacy, location, mirror, &metrics)?;
        let decider = match &records {
            Some(records) => decider.with_recorder(records.recorder()),
            None => decider,
        };
        let memory = Arc::new(Memory::start(&config.feedback, records.as_ref(), &publisher, &metrics)?);
        memory.sample();
        let decider = decider.with_limiter(memory.limiter());
        let beside = cache.beside().unwrap_or_else(Worker::without_session);
        workers.watch(&beside);
        let shadows = Arc::new(Shadows::start(
            &config.shadow,
            ShadowParts {
                publisher: publisher.clone(),
                worker: beside,
                log: records.as_ref().map(Records::log),
                privacy: records.as_ref().map(Records::privacy).unwrap_or_default(),
                metrics: Arc::clone(&metrics),
            },
        )?);
        let decider = decider.with_shadow(Arc::clone(&shadows) as Arc<dyn ShadowSink>);
        let deployer = Deployer::new(DeployerParts {
            store: store.clone(),
            cache,
            repository: Some(Arc::clone(&repository)),
            publisher: publisher.clone(),
            readiness: readiness.clone(),
            metrics: Arc::clone(&metrics),
            keep_warm: config.release.warm_releases,
            background,
        });
        let evaluated = records.as_ref().and(config.evaluation.every);
        let judgements = evaluated.map(|every| Arc::new(Judgements::new(publisher.clone(), every)));
        let ramps = Ramps::new(RampsParts {
            store: store.clone(),
            registry: registry.clone(),
            deployer: deployer.clone(),
            metrics: Arc::clone(&metrics),
            server: server_name(config.server.listen),
            // Without records there is no data directory that this process has for itself.
            pending_stops: records.as_ref().map(|_| config.events.directory.join(PENDING_STOPS)),
            guardrails: judgements.clone().map(|judgements| judgements as Arc<dyn Guardrails>),
        });
        let reports = records.as_ref().map(|records| records.reports(&store, &ramps));
        Ok(Self {
            config,
            decider,
            registry,
            deployer,
            ramps,
            repository,
            workers,
            readiness,
            metrics,
            store,
            records,
            memory,
            publisher,
            shadows,
            reports,
            judgements,
        })
    }

    /// Serves on `listeners` until `shutdown` resolves. Then it reports for the configured delay that it is not ready,
    /// and drains, both within the configured bound. When `hurry` resolves, the rest of the delay is skipped. Probes
    /// answer from the first moment, calls as soon as the release is loaded.
    ///
    /// # Errors
    /// When the release cannot be loaded or the sockets fail.
    pub async fn run(
        self,
        listeners: Listeners,
        shutdown: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
    ) -> Result<(), AppError> {
        let admin = Admin::start(listeners.admin, self.readiness.clone(), Arc::clone(&self.metrics))
            .map_err(|source| AppError::Io { what: "cannot serve the admin address".to_owned(), source })?;
        let grpc = grpc_listener(listeners.grpc)?;
        let (config, readiness) = (self.config.clone(), self.readiness.clone());
        if let Some(records) = &self.records {
            records.warn_of_lost_values(self.decider.clone(), self.deployer.state());
        }
        let queue = self.workers.clone();
        self.metrics.sample(move |metrics| _ = metrics.queue.depth.set(queue.queued() as i64));
        let services = Grpc {
            decider: self.decider,
            registry: self.registry,
            deployer: self.deployer.clone(),
            ramps: self.ramps.clone(),
            repository: self.repository,
            workers: self.workers,
            readiness: self.readiness,
            metrics: Arc::clone(&self.metrics),
            records: self.records.as_ref().map(|records| (records.reader(), records.privacy())),
            feedback: self.memory.feedback(),
            shadows: self.shadows.reports(),
            reports: self.reports.clone().map(|reports| Arc::new(reports) as Arc<dyn AnalysisReports>),
            config: config.grpc,
            drain: config.server.drain.saturating_sub(config.server.drain_delay.unwrap_or_default()),
        };
        let stop = CancellationToken::new();
        let serving = tokio::spawn(services.serve(grpc, stop.clone().cancelled_owned()));
        let mut shutdown = std::pin::pin!(shutdown);
        let (deployer, poll, mut records) = (self.deployer.clone(), config.release.poll, self.records);
        let (memory, store, shadows) = (Arc::clone(&self.memory), self.store, self.shadows);
        let starting = blocking(move || start((&deployer, poll), (&memory, &store)));
        let following = tokio::select! {
            started = starting => match started.and_then(|started| started) {
                Ok(following) => Some(following),
                Err(error) => {
                    stop.cancel();
                    return Err(error);
                }
            },
            () = &mut shutdown => {
                // No call is in flight yet that would have to finish.
                if readiness.abort_start() {
                    stop.cancel();
                    self.ramps.give_up();
                    return Ok(());
                }
                // The release answers already; only the follower of the store is missing.
                None
            }
        };
        let ramping = following.is_some().then(|| ramp(&self.ramps, poll)).transpose();
        let (stopping, ramping) = ramping.inspect_err(|_| stop.cancel())?.unzip();
        let evaluating = match (&following, self.reports, self.judgements, config.evaluation.every) {
            (Some(_), Some(reports), Some(judgements), Some(every)) => {
                let (publisher, metrics) = (self.publisher.clone(), Arc::clone(&self.metrics));
                let parts = EvaluatorParts { publisher, reports, judgements, metrics, every };
                Some(evaluator::start(parts).inspect_err(|_| stop.cancel())?)
            }
            _ => None,
        };
        let mut saving = None;
        if let (Some(_), Some(records)) = (&following, &mut records) {
            let neighbours = Neighbours::new(self.publisher, Arc::clone(&self.metrics));
            let followed = records.follow_store(&self.deployer, &self.memory, &shadows, neighbours, poll);
            followed.inspect_err(|_| stop.cancel())?;
            saving = Some(self.memory.save_regularly().inspect_err(|_| stop.cancel())?);
        }
        let looking = tokio::spawn(Arc::clone(&self.memory).follow(self.deployer.clone()));
        let is_asked = following.is_none();
        let mut asked_at = None;
        let shutdown = async {
            if !is_asked {
                shutdown.await;
            }
            asked_at = Some(Instant::now());
        };
        let leave = Shutdown {
            readiness: &readiness,
            stop: &stop,
            delay: config.server.drain_delay.unwrap_or_default().min(config.server.drain),
            within: config.server.drain,
        };
        let ended = leave.after(serving, shutdown, hurry).await;
        stop.cancel();
        looking.abort();
        drop((following, saving, ramping, evaluating));
        let taken = asked_at.map_or(Duration::ZERO, |asked| asked.elapsed());
        end_stops(self.ramps, stopping, config.server.drain.saturating_sub(taken)).await?;
        // After the last answer: what it recorded is to be written, and what shadows were compared on.
        let memory = self.memory;
        blocking(move || {
            shadows.close(COMPARING);
            if let Some(records) = records {
                records.close(&memory, RECORDING);
            }
        })
        .await?;
        admin.stop();
        ended
    }
}

/// Serves the release that `CURRENT` names with the history of what was recorded before, and follows its changes.
fn start(
    (deployer, poll): (&Deployer, Duration),
    (memory, store): (&Memory, &Store),
) -> Result<Follower, AppError> {
    memory.recover(store)?;
    let stamp = deployer.start()?;
    deployer
        .follow(stamp, poll)
        .map_err(|source| AppError::Io { what: "cannot follow the store".to_owned(), source })
}

/// Writes stops that could not be written before, and takes the steps of schedules, every `poll`. No stop waits for the
/// load of a step.
fn ramp(ramps: &Ramps, poll: Duration) -> Result<(Repeating, Repeating), AppError> {
    let (stops, steps) = (ramps.clone(), ramps.clone());
    let stopping = Repeating::start("stops", poll, || {}, move || stops.retry_stops())?;
    let ramping = Repeating::start("ramps", poll, || {}, move || steps.advance(Utc::now()))?;
    Ok((stopping, ramping))
}

/// Waits for an attempt at a stop that is under way, for at most about `within`, and logs what is left undone.
async fn end_stops(ramps: Ramps, stopping: Option<Repeating>, within: Duration) -> Result<(), AppError> {
    ramps.leave();
    blocking(move || {
        if let Some(stopping) = stopping {
            // Fails once the thread has ended, which sends nothing.
            _ = stopping.stop().recv_timeout(within);
        }
        ramps.give_up();
    })
    .await
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

/// How a server shuts down.
struct Shutdown<'a> {
    readiness: &'a Readiness,
    stop: &'a CancellationToken,
    /// How long it reports that it is not ready, and still answers: load balancers check only now and then.
    delay: Duration,
    /// How long the whole shutdown may take.
    within: Duration,
}

impl Shutdown<'_> {
    /// Returns when the server ends by itself, or when the shutdown, the delay and the drain are over.
    async fn after(
        self,
        mut serving: Serving,
        shutdown: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
    ) -> Result<(), AppError> {
        tokio::select! {
            ended = &mut serving => return finished(ended),
            () = shutdown => {}
        }
        let end = tokio::time::Instant::now() + self.within;
        if !self.delay.is_zero() {
            tracing::info!(
                delay = ?self.delay,
                "leaving: not ready any more, and still answering; another signal ends the delay"
            );
            self.readiness.leave();
            tokio::select! {
                ended = &mut serving => return finished(ended),
                () = tokio::time::sleep(self.delay) => {}
                () = hurry => {}
            }
        }
        let left = end.saturating_duration_since(tokio::time::Instant::now());
        tracing::info!(within = ?left, "draining: in-flight calls are finished, new ones are refused");
        self.readiness.drain();
        self.stop.cancel();
        if let Ok(ended) = tokio::time::timeout_at(end, &mut serving).await {
            return finished(ended);
        }
        tracing::warn!(after = ?self.within, "calls are still in flight; leaving without them");
        serving.abort();
        Ok(())
    }
}

/// The result of a spawned server.
fn finished(
    ended: Result<Result<(), Box<dyn std::error::Error + Send + Sync>>, tokio::task::JoinError>,
) -> Result<(), AppError> {
    match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            Err(AppError::Serving(Box::<dyn std::error::Error + Send + Sync>::to_string(&error)))
        }
        Err(error) => Err(AppError::Serving(error.to_string())),
    }
}

/// What a lease calls this server: the address alone is the same on every host of a fleet.
fn server_name(listen: SocketAddr) -> String {
    let host = rustix::system::uname();
    format!("{}, {listen}", host.nodename().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::Instant;

    use super::*;
    use telemetry::State;

    const DELAY: Duration = Duration::from_secs(5);
    const WITHIN: Duration = Duration::from_secs(30);

    /// A server whose calls end `busy` after they are told to: the seconds until it is told, and the seconds until it
    /// ended.
    async fn leaving(busy: Duration, hurry: impl Future<Output = ()>) -> (u64, u64) {
        let (readiness, stop) = (Readiness::new(), CancellationToken::new());
        readiness.ready(1);
        let stopped = stop.clone();
        let began = Instant::now();
        let (tell, told) = tokio::sync::oneshot::channel();
        let state = readiness.clone();
        let serving = tokio::spawn(async move {
            stopped.cancelled().await;
            assert_eq!(state.state(), State::Draining);
            _ = tell.send(began.elapsed());
            tokio::time::sleep(busy).await;
            Ok(())
        });
        let leave = Shutdown { readiness: &readiness, stop: &stop, delay: DELAY, within: WITHIN };
        leave.after(serving, ready(()), hurry).await.unwrap();
        (told.await.unwrap().as_secs(), began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn the_delay_and_the_draining_are_bounded_together() {
        let seconds = Duration::from_secs;
        assert_eq!(leaving(seconds(1), pending()).await, (5, 6));
        assert_eq!(leaving(seconds(100), pending()).await, (5, 30));
        let hurry = tokio::time::sleep(seconds(2));
        assert_eq!(leaving(seconds(1), hurry).await, (2, 3));
        assert_eq!(leaving(seconds(100), ready(())).await, (0, 30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_ends_by_itself_is_not_waited_for() {
        let (readiness, stop) = (Readiness::new(), CancellationToken::new());
        let serving = tokio::spawn(async { Err("the sockets are gone".into()) });
        let leave = Shutdown { readiness: &readiness, stop: &stop, delay: DELAY, within: WITHIN };
        let ended = leave.after(serving, pending(), pending()).await.unwrap_err();
        assert!(ended.to_string().contains("the sockets are gone"), "{ended}");
    }

    #[test]
    fn a_server_is_called_by_its_host_and_its_address() {
        let name = server_name(SocketAddr::from(([0, 0, 0, 0], 9090)));
        let (host, address) = name.split_once(", ").unwrap();
        assert_eq!((host.is_empty(), address), (false, "0.0.0.0:9090"));
    }
}
