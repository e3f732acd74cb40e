//! What works on a store without a server.

use std::sync::Arc;

use super::App;
use feature::RecentRows;
use model::GraphCache;
use model::onnx::OnnxRuntime;
use release::{
    Deployer, DeployerParts, Judges, Publisher, Ramps, RampsParts, Registry, RegistryError, RegistryParts,
    Store, UPLOAD_BYTES,
};
use telemetry::{Metrics, Readiness};
use work::Background;

impl App {
    /// A registry, a deployer and ramps over `store` without a server: what they load serves no calls. Servers follow
    /// the store.
    ///
    /// # Errors
    /// When ONNX Runtime is not available.
    pub fn offline(store: Store) -> Result<(Registry, Deployer, Ramps), RegistryError> {
        let runtime = OnnxRuntime::load().map_err(|error| RegistryError::Precondition(error.to_string()))?;
        let cache = Arc::new(GraphCache::new(runtime, 1));
        let (publisher, metrics) = (Publisher::default(), Arc::new(Metrics::new()));
        let background = Background::default();
        let registry = Registry::new(RegistryParts {
            store: store.clone(),
            cache: Arc::clone(&cache),
            publisher: publisher.clone(),
            recent: Arc::new(RecentRows::new(0)),
            metrics: Arc::clone(&metrics),
            upload_bytes: UPLOAD_BYTES,
            judges: Judges::default(),
            judge: background.judge.clone(),
        });
        let deployer = Deployer::new(DeployerParts {
            store: store.clone(),
            cache,
            repository: None,
            publisher,
            readiness: Readiness::default(),
            metrics: Arc::clone(&metrics),
            keep_warm: 0,
            background,
        });
        let ramps = Ramps::new(RampsParts {
            store,
            registry: registry.clone(),
            deployer: deployer.clone(),
            metrics,
            server: "the command line".to_owned(),
            pending_stops: None,
            // A command line takes no step that nobody asks for.
            guardrails: None,
        });
        Ok((registry, deployer, ramps))
    }
}
