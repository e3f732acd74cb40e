//! The names of sealed files: the same names are paths below a directory and keys below a prefix.

use std::fmt;

use chrono::{DateTime, NaiveDate};

use crate::kind::Kind;
use crate::numbers;

/// What the name of a folder of a day begins with, so that readers take it as a column.
const DATE: &str = "date=";
/// The end of the name of a sealed file.
const PARQUET: &str = ".parquet";

/// The name of a sealed file. Keys are in the order in which files are read: by kind, date, server and sequence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SealedKey {
    /// The kind of its events.
    pub kind: Kind,
    /// The UTC date of its events.
    pub date: NaiveDate,
    /// The server that wrote the log.
    pub server: String,
    /// The number of the log among those of the server.
    pub sequence: u64,
}

impl SealedKey {
    /// The folder of a day.
    #[must_use]
    pub fn folder(kind: Kind, date: NaiveDate) -> String {
        format!("{}/{DATE}{date}", kind.folder())
    }

    /// The name of a file below the folder of its kind.
    #[must_use]
    pub fn parse(kind: Kind, name: &str) -> Option<Self> {
        let (date, file) = name.strip_prefix(DATE)?.split_once('/')?;
        let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?;
        let (server, sequence) = file.strip_suffix(PARQUET)?.rsplit_once('-')?;
        let key = Self { kind, date, server: server.to_owned(), sequence: numbers::parse(sequence)? };
        // One file has one name.
        (is_server(server) && key.to_string() == format!("{}/{name}", kind.folder())).then_some(key)
    }
}

impl fmt::Display for SealedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, date, server, sequence } = self;
        write!(f, "{}/{server}-{sequence:08}{PARQUET}", Self::folder(*kind, *date))
    }
}

/// Whether a server can have this id, which becomes a part of paths.
pub(crate) fn is_server(id: &str) -> bool {
    let letter = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
    !id.is_empty() && id.len() <= 64 && !id.starts_with('.') && id.chars().all(letter)
}

/// The UTC date of a time in microseconds since 1970, within the years that a date in a path can have. So a clock
/// that is wrong by millennia loses no event.
#[must_use]
pub fn date_of(micros: i64) -> NaiveDate {
    let first = NaiveDate::from_ymd_opt(1, 1, 1).unwrap_or(NaiveDate::MIN);
    let last = NaiveDate::from_ymd_opt(9999, 12, 31).unwrap_or(NaiveDate::MAX);
    let beyond = if micros < 0 { first } else { last };
    DateTime::from_timestamp_micros(micros).map_or(beyond, |time| time.date_naive()).clamp(first, last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(date: NaiveDate, server: &str, sequence: u64) -> SealedKey {
        SealedKey { kind: Kind::Decision, date, server: server.to_owned(), sequence }
    }

    #[test]
    fn a_key_is_written_as_specified() {
        let date = NaiveDate::from_ymd_opt(2026, 11, 30).unwrap();
        let written = key(date, "b-7", 12).to_string();
        assert_eq!(written, "events/decision/date=2026-11-30/b-7-00000012.parquet");
        for name in [
            "date=2026-11-30/b-7-12.parquet",
            "date=2026-11-3/b-7-00000012.parquet",
            "date=2026-11-30/b-7-+0000012.parquet",
            "date=2026-11-30/b-7-00000012.parquet.part",
            "date=2026-11-30/x/b-7-00000012.parquet",
            "date=2026-11-30/-00000012.parquet",
            "date=2026-11-30/../b-00000012.parquet",
            "2026-11-30/b-7-00000012.parquet",
            "date=2026-02-30/b-7-00000012.parquet",
            "date=2026-11-30/b-7-18446744073709551615.parquet",
        ] {
            assert_eq!(SealedKey::parse(Kind::Decision, name), None, "{name}");
        }
    }

    #[test]
    fn times_that_no_date_has_are_put_at_the_ends() {
        let shown = [i64::MIN, -1, 0, 1_796_083_199_999_999, 1_796_083_200_000_000, i64::MAX].map(date_of);
        let expected = ["0001-01-01", "1969-12-31", "1970-01-01", "2026-11-30", "2026-12-01", "9999-12-31"];
        assert_eq!(shown.map(|date| date.to_string()), expected);
    }

    proptest! {
        #[test]
        fn what_was_written_is_parsed(micros in any::<i64>(), server in "[a-z0-9_][a-z0-9_.-]{0,30}", sequence in 0..=numbers::GREATEST) {
            let key = key(date_of(micros), &server, sequence);
            let written = key.to_string();
            let name = written.strip_prefix("events/decision/").unwrap();
            prop_assert_eq!(SealedKey::parse(Kind::Decision, name), Some(key));
        }

        #[test]
        fn later_times_have_later_dates(one in any::<i64>(), other in any::<i64>()) {
            prop_assert_eq!(date_of(one.min(other)), date_of(one).min(date_of(other)));
        }
    }
}
