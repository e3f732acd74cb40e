//! Identifiers made by the server: of requests, of decisions, of files that are written once.
//!
//! They are version 7 UUIDs (RFC 9562): sorted by their millisecond, and random beyond that. The time is that of the
//! clock alone. A generator such as `Uuid::now_v7` remembers its last time and never goes back. After a clock has
//! jumped ahead and been corrected, its ids stay in the future for as long as the jump was. It also needs a lock.

use std::time::{Duration, SystemTime};

use uuid::{NoContext, Timestamp, Uuid};

/// A new identifier.
#[must_use]
pub fn new_id() -> Uuid {
    at(SystemTime::now())
}

/// An identifier made at `now`, or at 1970 if the clock is set to an earlier time.
fn at(now: SystemTime) -> Uuid {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Uuid::new_v7(Timestamp::from_unix(NoContext, since.as_secs(), since.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn seconds(id: Uuid) -> u64 {
        id.get_timestamp().unwrap().to_unix().0
    }

    #[test]
    fn ids_follow_the_clock_ahead_and_back() {
        let now = SystemTime::now();
        let year = Duration::from_hours(24 * 365);
        let ids = [now, now + year, now, now - year, SystemTime::UNIX_EPOCH - year].map(at);
        let times = ids.map(seconds);
        assert_eq!(times[1] - times[0], year.as_secs());
        assert_eq!((times[2], times[3], times[4]), (times[0], times[0] - year.as_secs(), 0));
        assert!(ids.iter().all(|id| id.get_version_num() == 7));
    }

    #[test]
    fn ids_of_one_moment_differ() {
        let now = SystemTime::now();
        let ids: HashSet<Uuid> = (0..100_000).map(|_| at(now)).collect();
        assert_eq!(ids.len(), 100_000);
    }
}
