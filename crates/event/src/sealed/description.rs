//! What a file says of itself, in the key-value metadata of Parquet.
//!
//! | key | value |
//! |---|---|
//! | `proffer.format` | 1 |
//! | `proffer.kind` | the kind of its events |
//! | `proffer.frames`, `proffer.frames_crc32c` | how many events; the checksum of the checksums of their frames |
//! | `proffer.first_position`, `proffer.last_position` | the least and the greatest position |
//! | `proffer.server`, `proffer.sequence` | of the log that was sealed; absent in an export, and so are the next |
//! | `proffer.log_first_position`, `proffer.log_last_position` | the positions of the log, its header included |
//! | `proffer.log_dates` | the dates of all events of this kind in the log |
//! | `proffer.log_keys` | the keys for pseudonyms that the server had: `id@fingerprint id@fingerprint`; absent if none is known |
//! | `proffer.log_other_dates` | the dates of its events of other kinds: `kind date date; kind date`; absent if none |
//! | `proffer.chunks_crc32c` | the checksum of each column chunk, by row group and column |
//! | `proffer.footer_crc32c` | the checksum of the footer, computed with zeros in its place |

use std::collections::BTreeMap;
use std::fmt;

use chrono::NaiveDate;
use crc_fast::{CrcAlgorithm, Digest};

use super::Kind;
use crate::keys::KeyName;
use crate::numbers;

/// The format that this version writes, and the greatest that it reads.
const FORMAT: u64 = 1;

const FORMAT_KEY: &str = "proffer.format";
const KIND: &str = "proffer.kind";
const FRAMES: &str = "proffer.frames";
const FRAMES_CRC: &str = "proffer.frames_crc32c";
const FIRST: &str = "proffer.first_position";
const LAST: &str = "proffer.last_position";
const SERVER: &str = "proffer.server";
const SEQUENCE: &str = "proffer.sequence";
const LOG_FIRST: &str = "proffer.log_first_position";
const LOG_LAST: &str = "proffer.log_last_position";
const LOG_DATES: &str = "proffer.log_dates";
const LOG_OTHER_DATES: &str = "proffer.log_other_dates";
const LOG_KEYS: &str = "proffer.log_keys";
/// The key of the checksums of column chunks.
pub(super) const CHUNKS_CRC: &str = "proffer.chunks_crc32c";
/// The key of the checksum of the footer.
pub(super) const FOOTER_CRC: &str = "proffer.footer_crc32c";

/// How many events, and the CRC-32C of the checksums of their frames: what two files have in common if they hold the
/// same events in the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// How many events.
    pub events: u64,
    /// The checksum of their checksums, each as 4 bytes, little-endian.
    pub checksum: u32,
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} events with checksum {:08x}", self.events, self.checksum)
    }
}

/// Counts events.
pub(crate) struct Contents {
    events: u64,
    digest: Digest,
}

impl Contents {
    pub(crate) fn new() -> Self {
        Self { events: 0, digest: Digest::new(CrcAlgorithm::Crc32Iscsi) }
    }

    /// Adds the event whose frame has this checksum.
    pub(crate) fn add(&mut self, checksum: u32) {
        self.events += 1;
        self.digest.update(&checksum.to_le_bytes());
    }

    pub(crate) fn content(&self) -> Content {
        Content { events: self.events, checksum: self.digest.finalize() as u32 }
    }
}

/// What a file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) kind: Kind,
    pub(crate) content: Content,
    /// The least position of its events.
    pub(crate) first_position: u64,
    /// The greatest.
    pub(crate) last_position: u64,
    /// The log; `None` for an export.
    pub(crate) log: Option<OfLog>,
}

/// What a sealed file says of the log that it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OfLog {
    pub(crate) server: String,
    pub(crate) sequence: u64,
    /// The position of its first event, the header.
    pub(crate) first_position: u64,
    pub(crate) last_position: u64,
    /// The dates of its events by the names of their kinds, ascending. A newer version may have sealed kinds that are
    /// not known here.
    pub(crate) dates: BTreeMap<String, Vec<NaiveDate>>,
    /// The keys for pseudonyms that the server had. Empty if an older version has written or sealed the log.
    pub(crate) keys: Vec<KeyName>,
}

impl OfLog {
    /// Whether two files are of the same log. Another version may have sealed one of them.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let of = |log: &Self| (log.sequence, log.first_position, log.last_position);
        (&self.server, of(self), &self.dates) == (&other.server, of(other), &other.dates)
    }
}

/// Why a description cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Newer(String),
    Damaged(String),
}

impl Description {
    /// As keys and values.
    pub(super) fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = vec![
            (FORMAT_KEY, FORMAT.to_string()),
            (KIND, self.kind.to_string()),
            (FRAMES, self.content.events.to_string()),
            (FRAMES_CRC, format!("{:08x}", self.content.checksum)),
            (FIRST, self.first_position.to_string()),
            (LAST, self.last_position.to_string()),
        ];
        if let Some(log) = &self.log {
            let written =
                |dates: &[NaiveDate]| dates.iter().map(NaiveDate::to_string).collect::<Vec<_>>().join(" ");
            let own = log.dates.get(self.kind.name()).map(Vec::as_slice).unwrap_or_default();
            pairs.extend([
                (SERVER, log.server.clone()),
                (SEQUENCE, log.sequence.to_string()),
                (LOG_FIRST, log.first_position.to_string()),
                (LOG_LAST, log.last_position.to_string()),
                (LOG_DATES, written(own)),
            ]);
            if !log.keys.is_empty() {
                let keys = log.keys.iter().map(KeyName::to_string);
                pairs.push((LOG_KEYS, keys.collect::<Vec<_>>().join(" ")));
            }
            let others = log.dates.iter().filter(|(kind, _)| *kind != self.kind.name());
            let others: Vec<String> =
                others.map(|(kind, dates)| format!("{kind} {}", written(dates))).collect();
            if !others.is_empty() {
                pairs.push((LOG_OTHER_DATES, others.join("; ")));
            }
        }
        pairs
    }

    /// Out of keys and values; `None` if there is no format among them, as another program has written the file.
    pub(super) fn parse<'a>(value_of: impl Fn(&str) -> Option<&'a str>) -> Result<Option<Self>, Fault> {
        if !has_format(&value_of)? {
            return Ok(None);
        }
        let text = |key: &'static str| value_of(key).ok_or_else(|| damaged(key));
        let number = |key| numbers::parse(text(key)?).ok_or_else(|| damaged(key));
        let kind: Kind = text(KIND)?.parse().map_err(Fault::Newer)?;
        let checksum = u32::from_str_radix(text(FRAMES_CRC)?, 16).map_err(|_| damaged(FRAMES_CRC))?;
        let log = match value_of(SERVER) {
            None => None,
            Some(server) => {
                let own = dates(text(LOG_DATES)?).ok_or_else(|| damaged(LOG_DATES))?;
                let others = dates_by_kind(value_of(LOG_OTHER_DATES).unwrap_or_default());
                let mut dates = others.ok_or_else(|| damaged(LOG_OTHER_DATES))?;
                dates.insert(kind.name().to_owned(), own);
                Some(OfLog {
                    server: server.to_owned(),
                    sequence: number(SEQUENCE)?,
                    first_position: number(LOG_FIRST)?,
                    last_position: number(LOG_LAST)?,
                    dates,
                    keys: keys(value_of(LOG_KEYS).unwrap_or_default()),
                })
            }
        };
        Ok(Some(Self {
            kind,
            content: Content { events: number(FRAMES)?, checksum },
            first_position: number(FIRST)?,
            last_position: number(LAST)?,
            log,
        }))
    }
}

/// Whether there is a format among keys and values. Another program keeps what it does not know, so that a file of a
/// newer version stays one.
pub(super) fn has_format<'a>(value_of: impl Fn(&str) -> Option<&'a str>) -> Result<bool, Fault> {
    match value_of(FORMAT_KEY).map(str::parse::<u64>) {
        None => Ok(false),
        Some(Ok(FORMAT)) => Ok(true),
        Some(Ok(newer)) if newer > FORMAT => Err(Fault::Newer(format!("its format is {newer}"))),
        Some(_) => Err(damaged(FORMAT_KEY)),
    }
}

fn keys(text: &str) -> Vec<KeyName> {
    text.split_whitespace().map(|key| KeyName::from(key.to_owned())).collect()
}

fn dates(text: &str) -> Option<Vec<NaiveDate>> {
    text.split_whitespace().map(|date| date.parse().ok()).collect()
}

/// The dates of each kind, by its name.
fn dates_by_kind(text: &str) -> Option<BTreeMap<String, Vec<NaiveDate>>> {
    let kinds = text.split(';').map(str::trim).filter(|kind| !kind.is_empty());
    let parsed = kinds.map(|kind| {
        let (name, of_kind) = kind.split_once(' ')?;
        Some((name.to_owned(), dates(of_kind)?))
    });
    parsed.collect()
}

fn damaged(key: &str) -> Fault {
    Fault::Damaged(format!("its metadata has no usable `{key}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> Description {
        let days = ["2026-11-30", "2026-12-01"].map(|date| date.parse().unwrap()).to_vec();
        let dates = BTreeMap::from([("decision".to_owned(), days)]);
        let server = "s".to_owned();
        let log =
            OfLog { server, sequence: 3, first_position: 7, last_position: 19, dates, keys: Vec::new() };
        Description {
            kind: Kind::Decision,
            content: Content { events: 9, checksum: 0xab },
            first_position: 8,
            last_position: 18,
            log: Some(log),
        }
    }

    fn parse(pairs: &[(&'static str, String)]) -> Result<Option<Description>, Fault> {
        Description::parse(|key| pairs.iter().find(|(name, _)| *name == key).map(|(_, value)| &**value))
    }

    #[test]
    fn what_was_written_is_parsed() {
        let export = Description { log: None, ..description() };
        let mut mixed = description();
        let days = mixed.log.as_ref().unwrap().dates["decision"].clone();
        let dates = &mut mixed.log.as_mut().unwrap().dates;
        dates.insert("outcome".to_owned(), days[..1].to_vec());
        // A kind of a newer version.
        dates.insert("view".to_owned(), days);
        let outcomes = Description { kind: Kind::Outcome, ..mixed.clone() };
        let mut keyed = description();
        let log = keyed.log.as_mut().unwrap();
        log.keys = ["2026-11@00ff", "2026-12@a7", "older"].map(|key| KeyName::from(key.to_owned())).to_vec();
        // Who has sealed a log does not make it another.
        assert!(log.is_same(description().log.as_ref().unwrap()));
        for description in [description(), export, mixed.clone(), outcomes, keyed] {
            assert_eq!(parse(&description.pairs()).unwrap().unwrap(), description);
        }
        let others = "outcome 2026-11-30; view 2026-11-30 2026-12-01";
        assert!(mixed.pairs().contains(&(LOG_OTHER_DATES, others.to_owned())));
        assert_eq!(parse(&[]), Ok(None));
    }

    #[test]
    fn what_is_missing_wrong_or_newer_is_named() {
        let pairs = description().pairs();
        for at in 1..pairs.len() {
            let key = pairs[at].0;
            let mut fewer = pairs.clone();
            fewer.remove(at);
            // Without a server, it is an export.
            if key != SERVER {
                let Err(Fault::Damaged(message)) = parse(&fewer) else { panic!("{key}") };
                assert!(message.contains(key), "{message}");
            }
        }
        for (at, (key, _)) in pairs.iter().enumerate() {
            if key.contains("position") || *key == SEQUENCE || *key == FRAMES {
                for number in ["18446744073709551615", "4611686018427387905", "-1", "+1"] {
                    let mut other = pairs.clone();
                    other[at].1 = number.to_owned();
                    assert_eq!(parse(&other), Err(damaged(key)), "{number}");
                }
            }
        }
        let mut newer = pairs.clone();
        newer[0].1 = "2".to_owned();
        assert!(matches!(parse(&newer), Err(Fault::Newer(_))));
        newer[0].1 = "1".to_owned();
        newer[1].1 = "view".to_owned();
        let message = "`view` is no kind of event: decision, outcome, shadow".to_owned();
        assert_eq!(parse(&newer), Err(Fault::Newer(message)));
        let mut wrong = pairs;
        wrong.push((LOG_OTHER_DATES, "outcome yesterday".to_owned()));
        assert_eq!(parse(&wrong), Err(damaged(LOG_OTHER_DATES)));
    }

    #[test]
    fn the_order_of_events_counts() {
        let content = |checksums: [u32; 2]| {
            let mut contents = Contents::new();
            for checksum in checksums {
                contents.add(checksum);
            }
            contents.content()
        };
        assert_eq!(content([1, 2]), content([1, 2]));
        assert_ne!(content([1, 2]), content([2, 1]));
        assert_eq!(Contents::new().content(), Content { events: 0, checksum: 0 });
    }
}
