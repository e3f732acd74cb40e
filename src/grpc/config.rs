//! How the protocols are served, in the sections `[server]`, `[limits]` and `[experiments]`.

use super::limits::Limits;
use super::peers::CallerLimits;
use super::permits::Shares;
use document::settings::{Settings, size};
use work::MAX_THREADS;

/// How the protocols are served.
#[derive(Debug, Clone)]
pub struct GrpcConfig {
    /// Whether peers that are not on loopback may push, release, promote and roll back.
    pub allow_remote_admin: bool,
    /// Threads that serve connections, at least 1.
    pub connection_threads: usize,
    /// The bounds of a call.
    pub limits: Limits,
    /// Each caller's share of what all callers use.
    pub callers: CallerLimits,
}

impl GrpcConfig {
    /// Reads its keys. `cores` is the number of cores of the machine.
    pub fn read(settings: &mut Settings, cores: usize) -> Self {
        let connection_threads = match settings.integer("server.connection_threads", 0..=MAX_THREADS) {
            0 => cores.div_ceil(2),
            count => count,
        };
        let connections = settings.integer("server.connections", 0..=1_000_000);
        let config = Self {
            allow_remote_admin: settings.boolean("server.allow_remote_admin"),
            connection_threads,
            limits: Limits {
                message_bytes: settings.size("limits.message"),
                answer_bytes: settings.size("limits.answer"),
                customers: settings.integer("limits.customers", 1..=1024),
                rows: settings.integer("limits.rows", 1..=10_000_000),
                text_bytes: settings.size("limits.text"),
                time: settings.positive("limits.time"),
                concurrent_calls: settings.integer("limits.concurrent_calls", 1..=1_000_000),
                memory_bytes: settings.automatic("limits.memory", size),
                connection_bytes: settings.size("limits.connection_memory"),
                streams: settings.integer("limits.streams", 1..=10_000) as u32,
                body_time: settings.positive("limits.body_time"),
                write_time: settings.positive("limits.write_time"),
                forced_variants: settings.boolean("experiments.forced_variants"),
            },
            callers: CallerLimits {
                connections: Some(connections).filter(|count| *count > 0),
                shares: Shares {
                    connection: settings.fraction("limits.connection_share"),
                    peer: settings.fraction("limits.peer_share"),
                },
                idle: settings.positive("server.idle"),
                longest_deadline: settings.positive("limits.longest_deadline"),
            },
        };
        config.check_memory(settings);
        config
    }

    /// Refuses a memory limit in which the longest message or the longest answer never fits.
    fn check_memory(&self, settings: &mut Settings) {
        let longest = self.limits.message_bytes.max(self.limits.answer_bytes);
        let needed = longest.saturating_add(longest.div_ceil(3));
        for (key, bytes, needed) in [
            ("limits.connection_memory", Some(self.limits.connection_bytes), needed),
            ("limits.memory", self.limits.memory_bytes, needed.saturating_add(needed.div_ceil(3))),
        ] {
            // 0 stands for a value that was already refused.
            if bytes.is_some_and(|bytes| bytes > 0 && bytes < needed) {
                settings.wrong(
                    key,
                    &format!(
                        "must be {needed}B or more, so that the longest message and the longest answer fit"
                    ),
                );
            }
        }
    }
}
