//! The store's configuration, from the sections `[server]`, `[judge]` and `[limits]`.

use std::path::PathBuf;
use std::time::Duration;

use super::Judges;
use document::settings::{Settings, size};

/// The least memory that a judging process needs.
const LEAST_JUDGE_MEMORY: u64 = 64 << 20;

/// A server's configuration of its store.
#[derive(Debug, Clone)]
pub struct ReleaseConfig {
    /// The store: a directory, or `s3://bucket/prefix`.
    pub store: String,
    /// The local directory for the versions of a store on S3.
    pub mirror: PathBuf,
    /// The interval between polls of the store.
    pub poll: Duration,
    /// How many releases stay in memory after they served.
    pub warm_releases: usize,
    /// How many rows of recent requests are kept for comparing distributions.
    pub recent_rows: usize,
    /// The most bytes of one upload of a model version.
    pub upload_bytes: u64,
    /// How versions are judged, and the limits of that.
    pub judges: Judges,
}

impl ReleaseConfig {
    /// Reads its keys.
    pub fn read(settings: &mut Settings) -> Self {
        let mut judges = Judges::default();
        let memory = settings.parsed("judge.memory", |text| {
            Some(size(text)? as u64).filter(|bytes| *bytes >= LEAST_JUDGE_MEMORY).ok_or_else(|| {
                format!("must be at least {} MiB, which ONNX Runtime takes itself", LEAST_JUDGE_MEMORY >> 20)
            })
        });
        judges.limits.memory = memory;
        judges.limits.cpu_time = settings.seconds("judge.cpu_time");
        judges.limits.time = settings.seconds("judge.time");
        Self {
            store: settings.text("server.store"),
            mirror: PathBuf::from(settings.text("server.mirror")),
            poll: settings.positive("server.poll"),
            warm_releases: settings.integer("server.warm_releases", 0..=100),
            recent_rows: settings.integer("server.recent_rows", 0..=1_000_000),
            upload_bytes: settings.size("limits.upload") as u64,
            judges,
        }
    }
}
