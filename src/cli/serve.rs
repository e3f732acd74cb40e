//! `proffer serve` and `proffer check-config`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::Failure;
use super::printing::print;
use crate::app::{App, Listeners};
use crate::config::{Config, unknown_variables};
use telemetry::logging;

/// The sources of the configuration. A flag overrides the environment (`PROFFER_SERVER_LISTEN`), which overrides the
/// file.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    /// Configuration file; deploy/proffer.toml documents every key
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The store's directory [default: store]
    #[arg(long, value_name = "DIR")]
    store: Option<String>,
    /// The data directory of this server, with its log of decisions [default: var/data]
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Where gRPC listens [default: 127.0.0.1:50051]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where /metrics, /livez and /readyz listen [default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// Let remote peers push models, make releases, promote them and roll back
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
            ("data.directory", &self.data),
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

/// The environment of this process, without values that are not text.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
}

/// Refuses unknown variables, for every command that has no configuration.
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
    config.server.settle_drain_delay(std::io::stderr().is_terminal());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("offload").build()?;
    let mut logging = None;
    let served = runtime.block_on(async {
        logging = Some(logging::init(&config.logging).map_err(Failure::configuration)?);
        let listeners = Listeners::bind(&config)?;
        let (grpc, admin) = (listeners.grpc.local_addr()?, listeners.admin.local_addr()?);
        tracing::info!(%grpc, %admin, store = config.release.store, connection_threads = config.grpc.connection_threads, workers = config.server.workers, drain_delay = ?config.server.drain_delay.unwrap_or_default(), "starting");
        ignore_hangups()?;
        App::build(config).await?.run(listeners, shutdown_signal()?, another_signal()).await?;
        tracing::info!("stopped");
        Ok(())
    });
    // Work that is no longer needed, such as a load, does not delay the exit.
    runtime.shutdown_timeout(Duration::from_secs(1));
    // Every task has ended by now, and with it the last span to export.
    drop(logging);
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

/// Resolves at the next SIGTERM or SIGINT after it is first polled, so after the one that began the shutdown.
async fn another_signal() {
    match shutdown_signal() {
        Ok(signal) => signal.await,
        // The full delay then applies.
        Err(_) => std::future::pending().await,
    }
}

/// A closing terminal sends SIGHUP, and other servers reload their configuration on it. Here it is ignored: nothing is
/// reloaded, and the server goes on.
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
