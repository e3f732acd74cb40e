//! The configuration of outcomes, in the section `[feedback]`.

use std::time::Duration;

use chrono::TimeDelta;
use document::settings::{Settings, duration, size};

const DAY: Duration = Duration::from_hours(24);

/// The least and the most bytes of the decisions that are remembered.
const BYTES: std::ops::RangeInclusive<usize> = 1 << 20..=64 << 30;

/// How outcomes are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedbackConfig {
    /// How long duplicates are recognised. Older outcomes are refused.
    pub dedup: TimeDelta,
    /// The most bytes of decisions in memory for their outcomes.
    pub decisions: usize,
}

impl FeedbackConfig {
    /// Reads its keys.
    pub fn read(settings: &mut Settings) -> Self {
        let dedup = settings.parsed("feedback.dedup", |text| {
            Some(duration(text)?)
                .filter(|time| (DAY..=60 * DAY).contains(time))
                .ok_or_else(|| "must be 1d to 60d".to_owned())
        });
        let decisions = settings.parsed("feedback.decisions", |text| {
            Some(size(text)?)
                .filter(|bytes| BYTES.contains(bytes))
                .ok_or_else(|| "must be 1MiB to 64GiB".to_owned())
        });
        Self { dedup: TimeDelta::from_std(dedup).unwrap_or(TimeDelta::days(60)), decisions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str) -> Result<FeedbackConfig, String> {
        let reference = ("reference", "[feedback]\ndedup = \"30d\"\ndecisions = \"64MiB\"\n");
        let mut settings = Settings::layered(reference, Some(("x.toml", file)), |_| None, &[]);
        let config = FeedbackConfig::read(&mut settings);
        settings.finish().map(|_| config).map_err(|problems| problems.to_string())
    }

    #[test]
    fn keys_have_their_units_and_bounds() {
        let config = FeedbackConfig { dedup: TimeDelta::days(30), decisions: 64 << 20 };
        assert_eq!(read("").unwrap(), config);
        let config = read("[feedback]\ndedup = \"36h\"\ndecisions = \"1GiB\"\n").unwrap();
        assert_eq!(config, FeedbackConfig { dedup: TimeDelta::hours(36), decisions: 1 << 30 });
        for (file, message) in [
            ("[feedback]\ndedup = \"61d\"", "`feedback.dedup` = \"61d\": must be 1d to 60d"),
            ("[feedback]\ndedup = \"1h\"", "must be 1d to 60d"),
            ("[feedback]\ndecisions = \"1KiB\"", "`feedback.decisions` = \"1KiB\": must be 1MiB to 64GiB"),
        ] {
            let reported = read(file).unwrap_err();
            assert!(reported.contains(message), "{message} in {reported}");
        }
    }
}
