//! `proffer serve` and `proffer check-config`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{Failure, print};
use crate::app::{App, Listeners};
use crate::config::{Config, unknown_variables};
use crate::telemetry::logging;

/// Where the configuration comes from. A flag wins over the environment (`PROFFER_SERVER_LISTEN`), which wins over the file.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    /// Configuration file; deploy/proffer.toml documents every key
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The store's directory [default: store]
    #[arg(long, value_name = "DIR")]
    store: Option<String>,
    /// Where gRPC listens [default: 127.0.0.1:50051]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where /metrics, /livez and /readyz are [default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// Let peers that are not on loopback push models, make releases, promote them and roll back
    #[arg(long)]
    allow_remote_admin: bool,
    /// Threads that decide and score; 0 = one per core
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    /// Log format: text or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// What is logged: a level, or levels by target (info,proffer=debug)
    #[arg(long, value_name = "FILTER")]
    log_filter: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

impl ConfigArgs {
    fn load(&self) -> Result<Config, Failure> {
        let mut flags: Vec<(&str, String)> = [
            ("server.store", &self.store),
            ("server.listen", &self.listen),
            ("server.admin", &self.admin),
            ("server.workers", &self.workers),
            ("log.format", &self.log_format),
            ("log.filter", &self.log_filter),
        ]
        .into_iter()
        .filter_map(|(key, value)| value.clone().map(|value| (key, value)))
        .collect();
        if self.allow_remote_admin {
            flags.push(("server.allow_remote_admin", true.to_string()));
        }
        let file = match &self.config {
            None => None,
            Some(path) => {
                let name = path.display().to_string();
                let text = std::fs::read_to_string(path)
                    .map_err(|error| Failure::configuration(format!("{name}: {error}")))?;
                Some((name, text))
            }
        };
        let file = file.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
        let mut problems = unknown_variables(environment());
        match Config::load(file, |name| std::env::var(name).ok(), &flags) {
            Ok(config) if problems.is_empty() => return Ok(config),
            Ok(_) => {}
            Err(wrong) => problems.extend(wrong),
        }
        Err(Failure::configuration(format!("the configuration is wrong:\n{problems}")))
    }
}

/// The environment of this process, as far as it is text.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
}

/// Refuses variables that nothing reads, for every command that has no configuration.
pub(super) fn check_environment() -> Result<(), Failure> {
    unknown_variables(environment())
        .into_result(())
        .map_err(|problems| Failure::configuration(format!("the environment is wrong:\n{problems}")))
}

pub(super) fn check_config(args: &ConfigArgs) -> Result<(), Failure> {
    print(args.load()?.to_string().trim_end())
}

pub(super) fn run(args: &ServeArgs) -> Result<(), Failure> {
    let mut config = args.config.load()?;
    config.settle_drain_delay(std::io::stderr().is_terminal());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("aside").build()?;
    let served = runtime.block_on(async {
        let _logging = logging::init(&config.logging).map_err(Failure::configuration)?;
        let listeners = Listeners::bind(&config)?;
        let (grpc, admin) = (listeners.grpc.local_addr()?, listeners.admin.local_addr()?);
        tracing::info!(%grpc, %admin, store = config.store, connection_threads = config.connection_threads, workers = config.workers, drain_delay = ?config.drain_delay.unwrap_or_default(), "starting");
        ignore_hangups()?;
        App::build(config).await?.run(listeners, shutdown_signal()?, another_signal()).await?;
        tracing::info!("stopped");
        Ok(())
    });
    // Loading that was begun and is no longer wanted does not hold the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

/// Resolves at the next SIGTERM or SIGINT from now on.
fn shutdown_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Resolves at the next SIGTERM or SIGINT from when this is first waited for, which is after the one that began the shutdown.
async fn another_signal() {
    match shutdown_signal() {
        Ok(signal) => signal.await,
        // The delay then takes its time.
        Err(_) => std::future::pending().await,
    }
}

/// SIGHUP is what a terminal that closes sends, and what other servers take for "read the configuration again". Nothing is read again
/// here, and nothing ends.
fn ignore_hangups() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangups = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            tracing::warn!(
                "SIGHUP is ignored: the configuration is not read again, restart the server to change it; releases and \
                 customers are followed without a signal"
            );
        }
    });
    Ok(())
}
