//! The configuration: defaults < file < environment < flags, checked whole, every problem reported at once.
//!
//! The defaults are `deploy/proffer.toml` itself, compiled in, so that its documentation is always true. Each component
//! has a configuration of its own and reads it from the layers ([`document::settings`]); this module combines them.

mod environment;

use std::fmt;

use crate::app::{EvaluationConfig, ServerConfig, ShadowConfig};
use crate::grpc::GrpcConfig;
use document::Problems;
use document::settings::{Resolved, Settings};
pub use environment::unknown_variables;
use event::EventConfig;
use event::privacy::PrivacyConfig;
use history::feedback::FeedbackConfig;
use release::ReleaseConfig;
use telemetry::logging::LoggingConfig;

/// The reference configuration, which is also the defaults.
pub const REFERENCE: &str = include_str!("../deploy/proffer.toml");

/// The name of the reference in problems.
const REFERENCE_NAME: &str = "deploy/proffer.toml";

/// One validated configuration. Displays as TOML, each value with its origin.
#[derive(Debug, Clone)]
pub struct Config {
    /// How the process runs.
    pub server: ServerConfig,
    /// How the protocols are served.
    pub grpc: GrpcConfig,
    /// The store, and how versions are pushed.
    pub release: ReleaseConfig,
    /// What is recorded of decisions, and where.
    pub events: EventConfig,
    /// How records name customers, and where the keys are.
    pub privacy: PrivacyConfig,
    /// How outcomes are taken.
    pub feedback: FeedbackConfig,
    /// How much may wait for shadows.
    pub shadow: ShadowConfig,
    /// How guardrails of experiments are evaluated.
    pub evaluation: EvaluationConfig,
    /// Logs and traces.
    pub logging: LoggingConfig,
    resolved: Resolved,
}

impl Config {
    /// Layers `file` (its name and text), the environment and `flags` (key, text) over the defaults.
    ///
    /// # Errors
    /// Every problem of every layer.
    pub fn load(
        file: Option<(&str, &str)>,
        environment: impl Fn(&str) -> Option<String>,
        flags: &[(&str, String)],
    ) -> Result<Self, Problems> {
        let mut settings = Settings::layered((REFERENCE_NAME, REFERENCE), file, environment, flags);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let server = ServerConfig::read(&mut settings, cores);
        let grpc = GrpcConfig::read(&mut settings, cores);
        let release = ReleaseConfig::read(&mut settings);
        let events = EventConfig::read(&mut settings);
        let privacy = PrivacyConfig::read(&mut settings);
        let feedback = FeedbackConfig::read(&mut settings);
        let shadow = ShadowConfig::read(&mut settings);
        let evaluation = EvaluationConfig::read(&mut settings);
        let logging = LoggingConfig::read(&mut settings);
        let resolved = settings.finish()?;
        Ok(Self { server, grpc, release, events, privacy, feedback, shadow, evaluation, logging, resolved })
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.resolved.fmt(f)
    }
}

#[cfg(test)]
mod tests;
