//! The configuration of recording, from the sections `[data]` and `[records]`.

use std::path::PathBuf;
use std::time::Duration;

use document::settings::{Settings, duration, size};

/// The least bytes of the queue: a call of 1,024 customers and 4 KiB each.
const LEAST_QUEUE: usize = 4 << 20;

/// The most bytes of the queue.
const MOST_QUEUE: usize = 1 << 30;

/// The least bytes that a log file may be limited to.
const LEAST_FILE: usize = 64 << 10;

/// The most bytes. What a file is sealed into goes to a bucket in one request of at most 128 MiB; it is smaller than
/// the log unless nothing in it can be compressed (`seal::tests::what_cannot_be_compressed_grows_little`).
const MOST_FILE: usize = 96 << 20;

/// A server's configuration of what it records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventConfig {
    /// The data directory: the id of the server, its lock and its log.
    pub directory: PathBuf,
    /// Whether decisions are recorded.
    pub record: bool,
    /// The most bytes of events that are not in the log yet.
    pub queue: usize,
    /// What happens to a decision for whose events the queue has no room.
    pub when_full: WhenFull,
    /// When events become durable.
    pub sync: SyncPolicy,
    /// How long events wait for others to be written together.
    pub interval: Duration,
    /// The most bytes of all log files.
    pub log_limit: u64,
    /// The most bytes of a log file, unless it has one event that is larger.
    pub log_file: u64,
    /// The age at which a log file is closed.
    pub log_age: Duration,
    /// How long sealed events are kept.
    pub keep: Duration,
}

/// What happens to a decision for whose events the queue has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// It is answered and not recorded.
    #[default]
    Drop,
    /// It is refused.
    Refuse,
}

/// When events become durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncPolicy {
    /// They are synced together after the interval; no answer waits for it.
    #[default]
    Interval,
    /// They are synced at once, and the answer waits for it.
    Always,
    /// They are written after the interval. When they reach the disk is left to the operating system.
    Os,
}

impl EventConfig {
    /// The values of the reference configuration, for tests and benches.
    #[must_use]
    pub fn reference() -> Self {
        Self {
            directory: PathBuf::from("var/data"),
            record: true,
            queue: 16 << 20,
            when_full: WhenFull::Drop,
            sync: SyncPolicy::Interval,
            interval: Duration::from_millis(100),
            log_limit: 8 << 30,
            log_file: 64 << 20,
            log_age: Duration::from_mins(10),
            keep: Duration::from_hours(24 * 400),
        }
    }

    /// Reads its keys.
    pub fn read(settings: &mut Settings) -> Self {
        let config = Self {
            directory: PathBuf::from(settings.text("data.directory")),
            record: settings.boolean("records.record"),
            queue: settings.parsed("records.queue", |text| {
                Some(size(text)?)
                    .filter(|bytes| (LEAST_QUEUE..=MOST_QUEUE).contains(bytes))
                    .ok_or_else(|| format!("must be {} MiB to {} GiB", LEAST_QUEUE >> 20, MOST_QUEUE >> 30))
            }),
            when_full: settings.parsed("records.when_full", |text| match text {
                "drop" => Ok(WhenFull::Drop),
                "refuse" => Ok(WhenFull::Refuse),
                _ => Err("must be drop or refuse".to_owned()),
            }),
            sync: settings.parsed("records.sync", |text| match text {
                "interval" => Ok(SyncPolicy::Interval),
                "always" => Ok(SyncPolicy::Always),
                "os" => Ok(SyncPolicy::Os),
                _ => Err("must be interval, always or os".to_owned()),
            }),
            interval: settings.parsed("records.interval", |text| {
                Some(duration(text)?)
                    .filter(|time| (Duration::from_millis(1)..=Duration::from_mins(1)).contains(time))
                    .ok_or_else(|| "must be 1ms to 1m".to_owned())
            }),
            log_limit: settings.size("records.log_limit") as u64,
            log_file: settings.parsed("records.log_file", |text| {
                Some(size(text)?)
                    .filter(|bytes| (LEAST_FILE..=MOST_FILE).contains(bytes))
                    .map(|bytes| bytes as u64)
                    .ok_or_else(|| {
                        format!(
                            "must be {} KiB to {} MiB: a sealed file goes to a bucket in one request",
                            LEAST_FILE >> 10,
                            MOST_FILE >> 20
                        )
                    })
            }),
            log_age: settings.seconds("records.log_age"),
            keep: settings.parsed("records.keep", |text| {
                Some(duration(text)?)
                    .filter(|time| *time >= Duration::from_hours(24))
                    .ok_or_else(|| "must be at least 1d".to_owned())
            }),
        };
        if config.directory.as_os_str().is_empty() {
            settings.wrong("data.directory", "must be the path of a directory");
        }
        // What fills the limit must be in a closed file, which sealing can take away.
        if config.log_limit > 0 && config.log_limit < 2 * config.log_file {
            settings.wrong("records.log_limit", "must be at least twice `records.log_file`");
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCE: &str = "[data]\ndirectory = \"var/data\"\n[records]\nrecord = true\nqueue = \"16MiB\"\n\
                             when_full = \"drop\"\nsync = \"interval\"\ninterval = \"100ms\"\nlog_limit = \"8GiB\"\n\
                             log_file = \"64MiB\"\nlog_age = \"10m\"\nkeep = \"400d\"\n";

    fn read(file: &str) -> Result<EventConfig, String> {
        let file = Some(("x.toml", file));
        let mut settings = Settings::layered(("reference", REFERENCE), file, |_| None, &[]);
        let config = EventConfig::read(&mut settings);
        settings.finish().map(|_| config).map_err(|problems| problems.to_string())
    }

    #[test]
    fn keys_have_their_units() {
        let config =
            read("[records]\nsync = \"always\"\nwhen_full = \"refuse\"\nlog_age = \"2h\"\n").unwrap();
        let expected = EventConfig {
            directory: PathBuf::from("var/data"),
            record: true,
            queue: 16 << 20,
            when_full: WhenFull::Refuse,
            sync: SyncPolicy::Always,
            interval: Duration::from_millis(100),
            log_limit: 8 << 30,
            log_file: 64 << 20,
            log_age: Duration::from_hours(2),
            keep: Duration::from_hours(24 * 400),
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn values_out_of_bounds_are_refused_by_key() {
        let cases = [
            ("[data]\ndirectory = \"\"", "`data.directory` = \"\": must be the path"),
            ("[records]\nqueue = \"1MiB\"", "`records.queue` = \"1MiB\": must be 4 MiB to 1 GiB"),
            ("[records]\nwhen_full = \"wait\"", "must be drop or refuse"),
            ("[records]\nsync = \"never\"", "must be interval, always or os"),
            ("[records]\ninterval = \"2m\"", "must be 1ms to 1m"),
            ("[records]\nlog_file = \"1KiB\"", "`records.log_file` = \"1KiB\": must be 64 KiB to 96 MiB"),
            ("[records]\nlog_file = \"97MiB\"", "`records.log_file` = \"97MiB\": must be 64 KiB to 96 MiB"),
            ("[records]\nlog_limit = \"100MiB\"", "must be at least twice `records.log_file`"),
            ("[records]\nlog_age = \"10ms\"", "must be at least 1s"),
            ("[records]\nkeep = \"2h\"", "must be at least 1d"),
        ];
        for (file, message) in cases {
            let reported = read(file).unwrap_err();
            assert!(reported.contains(message), "{message} in {reported}");
        }
    }
}
