//! Access to versions and releases: through a server, or in a store that is opened here. The commands see no
//! difference.

use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::runtime::Runtime;

use super::Failure;
use crate::app::App;
use crate::grpc::client::{Client, ClientError, PIECE};
use release::{
    Change as ExperimentOrder, ChangedExperiment, ConcludedExperiment, CreatedRelease, Current, Deployer,
    ExperimentDetail, ExperimentList, ModelSummary, PendingStop, Promotion, PromotionRequest, PushHeader,
    Pushed, Ramps, Registry, RegistryError, ReleaseDiff, ReleaseDraft, ReleaseFiles, ReleaseList,
    ServingState, Store, VersionDetail,
};
use work::Call;

/// How often the CURRENT of a watched store is read.
const POLL: Duration = Duration::from_secs(1);

/// The options of every command about versions and releases.
#[derive(Debug, Args)]
pub(super) struct Place {
    #[arg(
        long,
        value_name = "ADDRESS",
        conflicts_with = "store",
        global = true,
        display_order = 100,
        help = "The server to ask [env: PROFFER_SERVER] [default: 127.0.0.1:50051]"
    )]
    server: Option<String>,
    #[arg(
        long,
        value_name = "STORE",
        global = true,
        display_order = 100,
        help = "Work on this store, without a server: a directory, or s3://BUCKET/PREFIX"
    )]
    store: Option<String>,
    /// Print one line of JSON (watch: one line per change)
    #[arg(long, global = true, display_order = 100)]
    pub json: bool,
}

impl Place {
    /// A place from options that another command declares.
    pub(super) fn new(server: Option<String>, store: Option<String>, json: bool) -> Self {
        Self { server, store, json }
    }

    /// The server to ask.
    pub(super) fn server(&self) -> String {
        server_address(self.server.as_deref())
    }

    /// The store, if the command works on one.
    pub(super) fn store(&self) -> Option<&str> {
        self.store.as_deref()
    }
}

/// The server to ask: as the flag says, else the environment, else the default. clap must not know the latter two: it
/// would take them for a flag that contradicts `--store`.
pub(super) fn server_address(flag: Option<&str>) -> String {
    let environment = || std::env::var("PROFFER_SERVER").ok();
    flag.map(str::to_owned).or_else(environment).unwrap_or_else(|| "127.0.0.1:50051".to_owned())
}

/// The current release of a store.
pub(super) fn current_of(store: &str) -> Result<u64, Failure> {
    Ok(Store::open(store, None)?.current()?.current.release)
}

/// Why an action was refused, by the server or here.
#[derive(Debug, thiserror::Error)]
pub(super) enum BackendError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("{path}: {source}")]
    File {
        path: String,
        #[source]
        source: std::io::Error,
    },
}

impl BackendError {
    /// Whether the number of a version or release is already taken.
    pub(super) fn is_taken(&self) -> bool {
        match self {
            Self::Client(ClientError::Refused { code, .. }) => *code == "ALREADY_EXISTS",
            Self::Registry(RegistryError::Exists(_)) => true,
            Self::Client(_) | Self::Registry(_) | Self::File { .. } => false,
        }
    }
}

/// One change, as `watch` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    /// The serving state of the server; `None` where a store is watched.
    pub serving: Option<ServingState>,
    /// What is current.
    pub current: Option<Current>,
}

/// A server or a store. All methods block.
pub(super) enum Backend {
    Server { client: Client, runtime: Runtime },
    Store { registry: Registry, deployer: Deployer, ramps: Ramps },
}

impl Backend {
    /// Connects to the server, or opens the store.
    pub(super) fn open(place: &Place) -> Result<Self, Failure> {
        if let Some(location) = &place.store {
            let (registry, deployer, ramps) = App::offline(Store::open(location, None)?)?;
            return Ok(Self::Store { registry, deployer, ramps });
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(Client::connect(&server_address(place.server.as_deref())))?;
        Ok(Self::Server { client, runtime })
    }

    /// Pushes a version; `progress` gets the bytes of each piece of its files.
    pub(super) fn push(
        &self,
        header: PushHeader,
        root: &Path,
        mut progress: impl FnMut(u64) + Send + 'static,
    ) -> Result<Pushed, BackendError> {
        match self {
            Self::Server { client, runtime } => Ok(runtime.block_on(client.push(header, root, progress))?),
            Self::Store { registry, .. } => {
                let files = header.files.clone();
                let mut upload = registry.begin_push(header)?;
                let mut piece = Vec::with_capacity(PIECE);
                for file in files {
                    let path = root.join(&file.name);
                    let failed = |source| BackendError::File { path: path.display().to_string(), source };
                    let mut content = File::open(&path).map_err(failed)?.take(file.size);
                    while content.by_ref().take(PIECE as u64).read_to_end(&mut piece).map_err(failed)? > 0 {
                        upload.write(&piece)?;
                        progress(piece.len() as u64);
                        piece.clear();
                    }
                }
                Ok(registry.finish_push(upload)?)
            }
        }
    }

    pub(super) fn models(&self, name: Option<&str>) -> Result<Vec<ModelSummary>, BackendError> {
        Ok(match self {
            Self::Server { client, runtime } => runtime.block_on(client.list_models(name))?,
            Self::Store { registry, .. } => registry.models(name)?,
        })
    }

    /// One version; 0: the highest.
    pub(super) fn version(&self, name: &str, version: u64) -> Result<VersionDetail, BackendError> {
        Ok(match self {
            Self::Server { client, runtime } => runtime.block_on(client.version(name, version))?,
            Self::Store { registry, .. } => registry.version(name, version)?,
        })
    }

    pub(super) fn delete_version(&self, name: &str, version: u64) -> Result<(), BackendError> {
        match self {
            Self::Server { client, runtime } => runtime.block_on(client.delete_version(name, version))?,
            Self::Store { registry, .. } => registry.delete_version(name, version)?,
        }
        Ok(())
    }

    pub(super) fn create_release(&self, draft: ReleaseDraft) -> Result<CreatedRelease, BackendError> {
        Ok(match self {
            Self::Server { client, runtime } => runtime.block_on(client.create_release(draft))?,
            Self::Store { registry, .. } => registry.create_release(&draft, &Call::default())?,
        })
    }

    /// One release with its files; 0: the current one.
    pub(super) fn release(&self, number: u64) -> Result<ReleaseFiles, BackendError> {
        Ok(match self {
            Self::Server { client, runtime } => runtime.block_on(client.release(number))?,
            Self::Store { registry, .. } => registry.release(number)?,
        })
    }

    /// At most `count` releases below `before` (0: from the newest), newest first.
    pub(super) fn releases(&self, count: u32, before: u64) -> Result<ReleaseList, BackendError> {
        Ok(match self {
            Self::Server { client, runtime } => runtime.block_on(client.list_releases(count, before))?,
            Self::Store { registry, .. } => registry.releases(count as usize, before)?,
        })
    }

    /// At most `count` promotions and rollbacks below `before` (0: from the latest), latest first.
    pub(super) fn promotions(&self, count: u32, before: u64) -> Result<Vec<Current>, BackendError> {
        Ok(match self {
            Self::Server { client, runtime } => runtime.block_on(client.list_promotions(count, before))?,
            Self::Store { registry, .. } => registry.promotions(count as usize, before)?,
        })
    }

    /// What is current.
    pub(super) fn current(&self) -> Result<Current, BackendError> {
        Ok(self.releases(1, 0)?.current)
    }

    /// What changes between two releases; 0: the current one.
    pub(super) fn diff(&self, from: u64, to: u64) -> Result<ReleaseDiff, BackendError> {
        Ok(match self {
            Self::Server { client, runtime } => runtime.block_on(client.diff(from, to))?,
            Self::Store { registry, .. } => registry.diff(from, to)?,
        })
    }

    pub(super) fn promote(&self, request: PromotionRequest) -> Result<Promotion, BackendError> {
        Ok(match self {
            Self::Server { client, runtime } => runtime.block_on(client.promote(request))?,
            Self::Store { deployer, .. } => deployer.promote(&request, &Call::default())?,
        })
    }

    pub(super) fn rollback(&self, author: &str, reason: &str) -> Result<Promotion, BackendError> {
        Ok(match self {
            Self::Server { client, runtime } => runtime.block_on(client.rollback(author, reason))?,
            Self::Store { deployer, .. } => deployer.rollback(author, reason, &Call::default())?,
        })
    }

    pub(super) fn experiments(&self) -> Result<ExperimentList, BackendError> {
        Ok(match self {
            Self::Server { client, runtime } => runtime.block_on(client.list_experiments())?,
            Self::Store { ramps, .. } => ramps.list()?,
        })
    }

    pub(super) fn experiment(&self, id: &str) -> Result<ExperimentDetail, BackendError> {
        Ok(match self {
            Self::Server { client, runtime } => runtime.block_on(client.experiment(id))?,
            Self::Store { ramps, .. } => ramps.get(id)?,
        })
    }

    pub(super) fn change_experiment(
        &self,
        change: ExperimentOrder,
    ) -> Result<ChangedExperiment, BackendError> {
        Ok(match self {
            Self::Server { client, runtime } => runtime.block_on(client.change_experiment(change))?,
            Self::Store { ramps, .. } => ramps.change_once(&change, &Call::default())?,
        })
    }

    pub(super) fn withdraw_stop(&self, id: &str, author: &str) -> Result<PendingStop, BackendError> {
        Ok(match self {
            Self::Server { client, runtime } => runtime.block_on(client.withdraw_stop(id, author))?,
            Self::Store { ramps, .. } => ramps.withdraw_stop(id, author)?,
        })
    }

    /// Makes the release of a winner: the ids of the experiment and of the variant.
    pub(super) fn conclude_experiment(
        &self,
        ids: (&str, &str),
        author: &str,
        note: &str,
    ) -> Result<ConcludedExperiment, BackendError> {
        Ok(match self {
            Self::Server { client, runtime } => {
                runtime.block_on(client.conclude_experiment(ids, author, note))?
            }
            Self::Store { ramps, .. } => ramps.conclude(ids, author, note, &Call::default())?,
        })
    }

    /// Calls `each` with the state and with every change, until it breaks or the server goes away.
    pub(super) fn watch(
        &self,
        mut each: impl FnMut(&Change) -> Result<ControlFlow<()>, Failure>,
    ) -> Result<(), Failure> {
        match self {
            Self::Server { client, runtime } => runtime.block_on(async {
                let mut watch = client.watch().await?;
                while let Some(mut serving) = watch.next().await? {
                    let current = serving.current.take();
                    if each(&Change { serving: Some(serving), current })?.is_break() {
                        break;
                    }
                }
                Ok(())
            }),
            Self::Store { .. } => {
                let mut told = None;
                loop {
                    let change = Change { serving: None, current: Some(self.current()?) };
                    if told.as_ref() != Some(&change) && each(&change)?.is_break() {
                        return Ok(());
                    }
                    told = Some(change);
                    std::thread::sleep(POLL);
                }
            }
        }
    }
}
