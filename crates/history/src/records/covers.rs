//! How far back a history knows events, and what a checkpoint covers.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use event::log::LogEnd;
use offer::Catalog;
use uuid::Uuid;

use super::reach::{Reach, Reaches};
use super::{first, moment};
use crate::History;

/// How far back the history of a server knows events, by kind: in microseconds since 1970, `i64::MIN` if it knows all.
///
/// What happens since it was built is counted at once, and told by its position in the log: a clock may be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    pub(super) decisions: i64,
    pub(super) outcomes: i64,
    /// Since when decisions were read that were recorded before; `i64::MAX`: none was.
    pub(super) decisions_read: i64,
    /// Whose history it is.
    pub(super) server: Uuid,
    /// The last event in the log of the server when events were read; 0 if there was none.
    pub(super) read_to: u64,
}

/// What the limits of a release look at and a history does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortfall {
    /// `decisions` or `outcomes`.
    pub of: &'static str,
    /// Since when they look at them; `None`: at all.
    pub needed: Option<DateTime<Utc>>,
    /// Since when they are known; `None`: none is.
    pub known: Option<DateTime<Utc>>,
}

impl Known {
    /// All that was ever recorded, by a server that begins.
    pub(super) fn everything(server: Uuid) -> Self {
        let all = i64::MIN;
        Self { decisions: all, outcomes: all, decisions_read: all, server, read_to: 0 }
    }

    /// What is read for these reaches at `now`, by a server whose log ends at a position. Where decisions are read, so
    /// are outcomes: they end reservations.
    pub(super) fn of(reaches: Reaches, (server, read_to): (Uuid, u64), now: DateTime<Utc>) -> Self {
        let since = |reach| first(reach, now).min(now.timestamp_micros());
        let (decisions, decisions_read) = (since(reaches.decisions), first(reaches.decisions, now));
        let outcomes = since(reaches.outcomes).min(decisions);
        Self { decisions, outcomes, decisions_read, server, read_to }
    }

    /// The same, once everything since a time was read.
    pub(super) fn further(self, since: i64) -> Self {
        Self {
            decisions: self.decisions.min(since),
            outcomes: self.outcomes.min(since),
            decisions_read: self.decisions_read.min(since),
            ..self
        }
    }

    /// Whether it has a decision of a server, with a position in its log, that was made at `decided_at`.
    pub(super) fn has_decision(self, event: (&str, u64), decided_at: i64) -> bool {
        self.was_counted_at_once(event) || decided_at >= self.decisions_read
    }

    /// The same of an outcome.
    pub(super) fn has_outcome(self, event: (&str, u64), received_at: i64) -> bool {
        self.was_counted_at_once(event) || received_at >= self.outcomes
    }

    fn was_counted_at_once(self, (server, position): (&str, u64)) -> bool {
        position > self.read_to && Uuid::try_parse(server).is_ok_and(|id| id == self.server)
    }

    /// What the limits of `catalog` look at, and `history`, which knows so much, does not know at `now`. It then counts
    /// too little, until that is too long ago to be looked at.
    #[must_use]
    pub fn shortfall(self, history: &History, catalog: &Catalog, now: DateTime<Utc>) -> Option<Shortfall> {
        let kept = history.kept_since().map_or(i64::MIN, |moment| moment.timestamp_micros());
        let of_customers = Reaches::of_customers(catalog);
        let of_totals = Reaches::of_totals(catalog);
        // What was dropped since is no longer known of customers; totals are kept apart.
        let all = [
            ("decisions", of_customers.decisions, self.decisions.max(kept)),
            ("decisions", of_totals.decisions, self.decisions),
            ("outcomes", of_customers.outcomes, self.outcomes.max(kept)),
            ("outcomes", of_totals.outcomes, self.outcomes),
        ];
        let shortfall = |(of, reach, known): (&'static str, Reach, i64)| {
            let needed = needed(reach, now)?;
            (known > needed).then(|| Shortfall {
                of,
                needed: (needed > i64::MIN).then(|| moment(needed)),
                known: (known < i64::MAX).then(|| moment(known)),
            })
        };
        all.into_iter().find_map(shortfall)
    }

    /// Whether it knows all that these reaches look at.
    fn covers(self, reaches: Reaches, now: DateTime<Utc>) -> bool {
        [(reaches.decisions, self.decisions), (reaches.outcomes, self.outcomes)]
            .into_iter()
            .all(|(reach, known)| needed(reach, now).is_none_or(|needed| known <= needed))
    }
}

/// Since when events are looked at; `None` if none is.
fn needed(reach: Reach, now: DateTime<Utc>) -> Option<i64> {
    match reach {
        Reach::Nothing => None,
        Reach::Everything => Some(i64::MIN),
        Reach::Back(length) => {
            Some(now.checked_sub_signed(length).map_or(i64::MIN, |first| first.timestamp_micros()))
        }
    }
}

/// What a checkpoint covers: it is kept in the file as its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Covers {
    /// When it was made, in microseconds since 1970.
    pub at: i64,
    pub known: Known,
    /// The server, and the last event of its log that is counted.
    pub server: String,
    pub end: LogEnd,
    /// Other servers that have sealed events, and the last of the log files of each that are counted.
    pub others: BTreeMap<String, u64>,
}

impl Covers {
    /// As bytes: a line for each fact.
    pub(super) fn written(&self) -> Vec<u8> {
        let Self { at, known, server, end: LogEnd { position, sequence }, others } = self;
        let Known { decisions, outcomes, decisions_read, server: _, read_to } = known;
        let own = format!(
            "{at} {decisions} {outcomes} {decisions_read}\n{server} {position} {sequence} {read_to}\n"
        );
        let others = others.iter().map(|(server, sequence)| format!("{server} {sequence}\n"));
        std::iter::once(own).chain(others).collect::<String>().into_bytes()
    }

    /// The reverse; `None` if these are other bytes.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(bytes).ok()?.lines();
        let mut numbers = lines.next()?.split(' ').map(str::parse::<i64>);
        let mut next = || numbers.next()?.ok();
        let (at, decisions, outcomes, decisions_read) = (next()?, next()?, next()?, next()?);
        let mut own = lines.next()?.split(' ');
        let server = own.next()?.to_owned();
        let end = LogEnd { position: own.next()?.parse().ok()?, sequence: own.next()?.parse().ok()? };
        let (read_to, id) = (own.next()?.parse().ok()?, Uuid::try_parse(&server).ok()?);
        let known = Known { decisions, outcomes, decisions_read, server: id, read_to };
        let other = |line: &str| {
            let (server, sequence) = line.split_once(' ')?;
            Some((server.to_owned(), sequence.parse().ok()?))
        };
        let others = lines.map(other).collect::<Option<_>>()?;
        Some(Self { at, known, server, end, others })
    }

    /// Why a server cannot begin with it, if it cannot: `server` has a log that ends at `end`, there are sealed events
    /// of `others`, and limits look back so far. `history` is that of the checkpoint.
    pub(super) fn problem(
        &self,
        history: &History,
        (server, end): (&str, LogEnd),
        others: &BTreeMap<String, u64>,
        (catalog, reaches): (&Catalog, Reaches),
        now: DateTime<Utc>,
    ) -> Option<String> {
        if self.server != server {
            return Some(format!("it is of the server {}", self.server));
        }
        if self.end.position > end.position {
            return Some(format!(
                "it has events up to position {}, and the log ends at {}",
                self.end.position, end.position
            ));
        }
        let is_new = |(server, sequence): &(&String, &u64)| self.others.get(*server) < Some(*sequence);
        if let Some((server, _)) = others.iter().find(is_new) {
            return Some(format!("there are events of the server {server} that it does not have"));
        }
        let reaches_far_enough =
            self.known.covers(reaches, now) && self.known.shortfall(history, catalog, now).is_none();
        (!reaches_far_enough).then(|| "limits look further back than it reaches".to_owned())
    }

    /// When it was made.
    pub(super) fn moment(&self) -> DateTime<Utc> {
        moment(self.at)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::tests::catalogs::{catalog, noon};

    const SERVER: &str = "0198c0de-0000-7000-8000-00000000000a";

    fn known() -> Known {
        let server = Uuid::try_parse(SERVER).unwrap();
        Known { decisions: i64::MIN, outcomes: 17, decisions_read: i64::MAX, server, read_to: 5 }
    }

    fn covers() -> Covers {
        Covers {
            at: 1_796_083_200_000_001,
            known: known(),
            server: SERVER.to_owned(),
            end: LogEnd { position: 7, sequence: 2 },
            others: BTreeMap::from([("t".to_owned(), 3), ("u".to_owned(), 0)]),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let covers = covers();
        assert_eq!(Covers::read(&covers.written()), Some(covers.clone()));
        let alone = Covers { others: BTreeMap::new(), ..covers };
        assert_eq!(Covers::read(&alone.written()), Some(alone));
        let others = [
            "",
            "here",
            "1 2 3\nS 1 1 1\n",
            "1 2 3 4\nS 1 1\n",
            "1 2 3 4\ns 1 1 1\n",
            "1 2 3 4\nS 1 1 1\nt\n",
        ];
        for other in others.map(|other| other.replace('S', SERVER)) {
            assert_eq!(Covers::read(other.as_bytes()), None, "{other:?}");
        }
        assert_eq!(Covers::read(b"\xff"), None);
    }

    #[test]
    fn what_the_server_has_recorded_since_is_known_whatever_its_clock_shows() {
        let other = "0198c0de-0000-7000-8000-00000000000b";
        let since_noon = Known { decisions_read: 12, outcomes: 12, ..known() };
        for at in [i64::MIN, 11, 12, 13, i64::MAX - 1] {
            assert!(known().has_decision((SERVER, 6), at) && known().has_outcome((SERVER, 6), at));
            // None of those before was read.
            assert!(!known().has_decision((SERVER, 5), at) && !known().has_decision((other, 6), at));
            for event in [(SERVER, 5), (other, 5), (other, 6)] {
                assert_eq!(since_noon.has_decision(event, at), at >= 12);
                assert_eq!(since_noon.has_outcome(event, at), at >= 12);
            }
            assert_eq!(known().further(13).has_decision((SERVER, 5), at), at >= 13);
        }
    }

    #[test]
    fn a_checkpoint_serves_where_it_has_every_event_that_limits_look_at() {
        let history = History::default();
        let problem = |server: &str, position: u64, others: &[(&str, u64)], offer: &str| {
            let catalog = catalog(&[offer], "");
            let others = others.iter().map(|(server, sequence)| ((*server).to_owned(), *sequence)).collect();
            let end = LogEnd { position, sequence: 2 };
            let reaches = Reaches::of(&catalog, TimeDelta::days(30));
            covers()
                .problem(&history, (server, end), &others, (&catalog, reaches), noon())
                .unwrap_or_default()
        };
        for others in [&[][..], &[("t", 3)], &[("t", 2), ("u", 0)]] {
            assert_eq!(problem(SERVER, 7, others, ""), "");
        }
        assert_eq!(problem(SERVER, 9, &[], ""), "");
        assert_eq!(problem("x", 7, &[], ""), format!("it is of the server {SERVER}"));
        assert_eq!(problem(SERVER, 6, &[], ""), "it has events up to position 7, and the log ends at 6");
        for (server, sequence) in [("t", 4), ("v", 0)] {
            let expected = format!("there are events of the server {server} that it does not have");
            assert_eq!(problem(SERVER, 7, &[("u", 0), (server, sequence)], ""), expected);
        }
        // It has every decision, and outcomes of the last 50 years.
        let cap = |count: &str, per: &str| {
            format!("cap_total = {{ limit = 9, per = \"{per}\", count = \"{count}\" }}")
        };
        for (count, per) in [("decision", "all"), ("accept", "30d")] {
            assert_eq!(problem(SERVER, 7, &[], &cap(count, per)), "");
        }
        assert_eq!(
            problem(SERVER, 7, &[], &cap("accept", "all")),
            "limits look further back than it reaches"
        );
    }
}
