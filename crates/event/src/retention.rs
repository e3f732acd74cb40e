//! Retention: sealed files whose day is too old are deleted, whole days of a kind at a time. Logs never are.

use std::ops::RangeInclusive;
use std::time::Duration;

use chrono::NaiveDate;

use crate::kind::Kind;
use crate::sealed::{EventStore, SealedError, SealedKey, date_of};

/// How long the sealed files of each kind are kept; for good unless it is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep([Option<Duration>; Kind::ALL.len()]);

impl Keep {
    /// All kinds for the same time.
    #[must_use]
    pub fn all(time: Duration) -> Self {
        Self([Some(time); Kind::ALL.len()])
    }

    /// As this, but a kind for another time.
    #[must_use]
    pub fn with(mut self, kind: Kind, time: Duration) -> Self {
        self.0[kind as usize] = Some(time);
        self
    }

    /// How long a kind is kept; `None`: for good.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Option<Duration> {
        self.0[kind as usize]
    }
}

/// A sealed file that is too old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// Its name.
    pub key: SealedKey,
    /// Its bytes.
    pub bytes: u64,
}

/// The first day that is kept: all events of the days before it are older than `keep`. `now`: microseconds since
/// 1970.
#[must_use]
pub fn first_kept(now: i64, keep: Duration) -> NaiveDate {
    date_of(now.saturating_sub(i64::try_from(keep.as_micros()).unwrap_or(i64::MAX)))
}

/// The files of a kind that [`delete_expired`] would delete, the oldest first.
///
/// # Errors
/// When the store cannot be reached.
pub fn expired(store: &EventStore, kind: Kind, first_kept: NaiveDate) -> Result<Vec<Expired>, SealedError> {
    let Some(last) = first_kept.pred_opt() else { return Ok(Vec::new()) };
    let days: RangeInclusive<NaiveDate> = NaiveDate::MIN..=last;
    let files = store.list(kind, Some(&days))?;
    Ok(files.into_iter().map(|(key, bytes)| Expired { key, bytes }).collect())
}

/// Deletes the files of a kind whose day is before `first_kept`, the oldest first, so that what is left has no gap
/// but at its beginning. They are gone for good when this returns. Passes each to `deleted` then.
///
/// # Errors
/// When the store cannot be reached or written to; the files after that are still there.
pub fn delete_expired(
    store: &EventStore,
    kind: Kind,
    first_kept: NaiveDate,
    deleted: &mut dyn FnMut(&Expired),
) -> Result<(), SealedError> {
    let expired = expired(store, kind, first_kept)?;
    // Files that are missed without that would seem to be lost.
    store.note_expired(expired.iter().map(|file| &file.key))?;
    for file in expired {
        store.delete(&file.key)?;
        deleted(&file);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sealed::testing::{DAY, Files, NOON, decision, mixed};

    #[test]
    fn a_day_is_kept_until_its_last_event_is_too_old() {
        let keep = Duration::from_hours(48);
        let midnight = NOON - DAY / 2;
        assert_eq!(first_kept(midnight, keep), date_of(midnight - 2 * DAY));
        assert_eq!(first_kept(midnight - 1, keep), date_of(midnight - 3 * DAY));
        // For ever.
        assert_eq!(first_kept(midnight, Duration::MAX), date_of(i64::MIN));
    }

    #[test]
    fn each_kind_may_be_kept_for_a_time_of_its_own() {
        let (long, short) = (Duration::from_hours(9_600), Duration::from_hours(720));
        let keep = Keep::all(long).with(Kind::Outcome, short);
        assert_eq!(Kind::ALL.map(|kind| keep.of(kind)), [Some(long), Some(short), Some(long)]);
        assert_eq!(Kind::ALL.map(|kind| Keep::default().of(kind)), [None, None, None]);
    }

    #[test]
    fn a_kind_goes_without_the_others() {
        let files = Files::new();
        files.seal("a", 1, 1, &mixed([NOON - 2 * DAY, NOON - 2 * DAY, NOON, NOON]));
        delete_expired(files.store(), Kind::Outcome, date_of(NOON), &mut |_| {}).unwrap();
        let days: Vec<String> = files.names().iter().map(|name| name[..name.len() - 18].to_owned()).collect();
        let expected = ["decision/date=2026-11-28/", "decision/date=2026-11-30/", "outcome/date=2026-11-30/"];
        assert_eq!(days, expected);
    }

    #[test]
    fn whole_days_go_and_nothing_else() {
        let files = Files::new();
        let decisions = [-3, -2, -1, 0].map(|days| decision(NOON + days * DAY));
        for sequence in 1..=2 {
            files.seal("a", sequence, sequence * 10, &decisions);
        }
        files.seal("b", 1, 1, &decisions[1..]);
        let foreign = files.root().join("events/decision/date=1999-01-01");
        std::fs::create_dir_all(&foreign).unwrap();
        std::fs::write(foreign.join("notes.txt"), "not ours").unwrap();
        let first = date_of(NOON - DAY);
        let old = expired(files.store(), Kind::Decision, first).unwrap();
        let names: Vec<String> =
            old.iter().map(|file| format!("{} {}", file.key.server, file.key.date)).collect();
        let [one, two] = [-3, -2].map(|days| date_of(NOON + days * DAY));
        let expected = [
            format!("a {one}"),
            format!("a {one}"),
            format!("a {two}"),
            format!("a {two}"),
            format!("b {two}"),
        ];
        assert_eq!(names, expected);
        // That was a dry run.
        assert_eq!(files.names().len(), 12);
        let mut deleted = Vec::new();
        delete_expired(files.store(), Kind::Decision, first, &mut |file| deleted.push(file.clone())).unwrap();
        assert_eq!(deleted, old);
        assert_eq!(files.names().len(), 7);
        assert!(!files.root().join(SealedKey::folder(Kind::Decision, one)).exists());
        assert!(foreign.join("notes.txt").exists());
        assert!(expired(files.store(), Kind::Decision, first).unwrap().is_empty());
        delete_expired(files.store(), Kind::Decision, first, &mut |file| panic!("{file:?}")).unwrap();
    }
}
