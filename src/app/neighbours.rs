//! Other servers of the store: limits count what each decides alone, so that two of them show twice as much.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use chrono::Utc;

use event::erasure::{ALIVE_FOR, Heartbeats};
use history::has_limits;
use release::Publisher;
use telemetry::Metrics;

/// Looks for other servers while a release with limits serves.
pub(super) struct Neighbours {
    publisher: Publisher,
    metrics: Arc<Metrics>,
    /// Those that were there last time.
    known: BTreeSet<String>,
}

impl Neighbours {
    /// Looks whether the release that serves has limits.
    pub(super) fn new(publisher: Publisher, metrics: Arc<Metrics>) -> Self {
        Self { publisher, metrics, known: BTreeSet::new() }
    }

    /// Warns once for each change.
    pub(super) fn look(&mut self, heartbeats: &Heartbeats, own: &str) {
        let limited = self.publisher.serving().is_some_and(|snapshot| has_limits(snapshot.release.catalog()));
        // While the store cannot be read, all is as before; the heartbeat says so.
        let servers = if limited { alive(heartbeats, own) } else { Some(BTreeSet::new()) };
        let Some(servers) = servers else { return };
        if servers != self.known {
            if servers.is_empty() {
                tracing::info!("history_not_shared is over: this server alone counts for its limits");
            } else {
                let names: Vec<&str> = servers.iter().map(String::as_str).collect();
                tracing::warn!(
                    servers = names.join(", "),
                    "history_not_shared: the limits of the release count what this server decides alone, and other \
                     servers use the store (their files are in its folder `servers`); with n servers, limits may allow \
                     n times as much"
                );
            }
        }
        self.metrics.history.not_shared.set(servers.len() as i64);
        self.known = servers;
    }
}

/// The other servers that live; `None` if they cannot be read.
fn alive(heartbeats: &Heartbeats, own: &str) -> Option<BTreeSet<String>> {
    let now = Utc::now();
    let others = heartbeats.all().ok()?.into_iter().filter(|one| one.server != own);
    Some(others.filter(|one| one.is_alive(now, ALIVE_FOR)).map(|one| one.server).collect())
}

impl fmt::Debug for Neighbours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Neighbours").field("known", &self.known).finish_non_exhaustive()
    }
}
