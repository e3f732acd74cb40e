//! How the process runs, in the sections `[server]`, `[limits]` and `[experiments]`.

use std::net::SocketAddr;
use std::time::Duration;

use document::settings::{Settings, duration};
use work::MAX_THREADS;

/// How long a server without a terminal still answers after it reports that it is not ready: as long as a load balancer
/// or a Kubernetes Service takes to notice.
const DRAIN_DELAY: Duration = Duration::from_secs(5);

/// How the process runs.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where gRPC listens.
    pub listen: SocketAddr,
    /// Where metrics and probes listen.
    pub admin: SocketAddr,
    /// Worker threads, at least 1.
    pub workers: usize,
    /// Pieces of work that may be queued.
    pub queue: usize,
    /// How long a run may go on after it was told to stop, until its worker is replaced.
    pub stop_grace: Duration,
    /// How long the shutdown may take, including the delay before the drain.
    pub drain: Duration,
    /// How long the server still answers after it reports that it is not ready. `None` depends on whether it has a
    /// terminal ([`ServerConfig::settle_drain_delay`]).
    pub drain_delay: Option<Duration>,
}

impl ServerConfig {
    /// Reads its keys. `cores` is the number of cores of the machine.
    pub fn read(settings: &mut Settings, cores: usize) -> Self {
        let workers = match settings.integer("server.workers", 0..=MAX_THREADS) {
            0 => cores,
            count => count,
        };
        let config = Self {
            listen: settings.address("server.listen"),
            admin: settings.address("server.admin"),
            workers,
            queue: settings.integer("server.queue", 1..=1_000_000),
            stop_grace: settings.positive("limits.stop_grace"),
            drain: settings.duration("server.drain"),
            drain_delay: settings.automatic("server.drain_delay", duration),
        };
        // Refuses a delay that leaves no time to drain.
        if config.drain_delay.is_some_and(|delay| !delay.is_zero() && delay >= config.drain) {
            let drain = config.drain;
            let message = format!(
                "must be less than `server.drain`, {drain:?}, which bounds delay and draining together"
            );
            settings.wrong("server.drain_delay", &message);
        }
        config
    }

    /// Decides `server.drain_delay = "auto"`: none where a person waits at a terminal, else `DRAIN_DELAY`, or half of
    /// `server.drain` if that is less.
    pub fn settle_drain_delay(&mut self, on_a_terminal: bool) {
        let of_itself = if on_a_terminal { Duration::ZERO } else { DRAIN_DELAY.min(self.drain / 2) };
        self.drain_delay.get_or_insert(of_itself);
    }
}

/// The longest time between two evaluations.
const LONGEST_EVALUATE: Duration = Duration::from_hours(24);

/// How guardrails of experiments are evaluated, in the section `[experiments]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvaluationConfig {
    /// The time between two evaluations; `None`: they are not evaluated here.
    pub every: Option<Duration>,
}

impl EvaluationConfig {
    /// Reads its keys.
    pub fn read(settings: &mut Settings) -> Self {
        let every = settings.parsed("experiments.evaluate", |text| {
            let every = duration(text)?;
            let is_allowed = every.is_zero() || (Duration::from_secs(1)..=LONGEST_EVALUATE).contains(&every);
            if is_allowed { Ok(every) } else { Err("must be 1s to 1d, or 0s for never".to_owned()) }
        });
        Self { every: Some(every).filter(|every| !every.is_zero()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guardrails_are_evaluated_every_so_often_or_not_at_all() {
        let read = |value: &str| {
            let reference = format!("[experiments]\nevaluate = \"{value}\"\n");
            let mut settings = Settings::layered(("reference", &reference), None, |_| None, &[]);
            let config = EvaluationConfig::read(&mut settings);
            settings.finish().map(|_| config.every).map_err(|problems| problems.to_string())
        };
        assert_eq!(read("5m"), Ok(Some(Duration::from_mins(5))));
        assert_eq!(read("1s"), Ok(Some(Duration::from_secs(1))));
        assert_eq!(read("1d"), Ok(Some(LONGEST_EVALUATE)));
        assert_eq!(read("0s"), Ok(None));
        for wrong in ["500ms", "25h", "2d"] {
            let refused = read(wrong).unwrap_err();
            assert!(refused.contains("`experiments.evaluate`") && refused.contains("1s to 1d"), "{refused}");
        }
        assert!(read("5").unwrap_err().contains("with its unit"));
    }
}
