//! Checks that the answers form a possible history: each release answered only while it was current, and no answer went
//! back.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::Duration;

/// A promotion that succeeded. The release may be seen from `sent`, its predecessor until `answered`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Publication {
    pub release: u64,
    pub sent: Duration,
    pub answered: Duration,
}

/// A call that was answered. Times are measured by the client, since the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    pub connection: usize,
    /// Its scheduled start.
    pub scheduled: Duration,
    /// Its actual start.
    pub sent: Duration,
    pub ended: Duration,
    /// The release that the answer names.
    pub release: u64,
}

/// Answers that violate a guarantee; a few of them are described.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Violations {
    pub count: usize,
    pub examples: String,
}

/// How many calls of each kind of violation are described.
const EXAMPLES: usize = 5;

impl Violations {
    fn add(&mut self, example: std::fmt::Arguments<'_>) {
        self.count += 1;
        if self.count <= EXAMPLES {
            let _ = writeln!(self.examples, "  {example}");
        }
    }
}

/// The publications of a run, in order.
pub(super) struct History<'a> {
    publications: &'a [Publication],
    order: HashMap<u64, usize>,
}

impl<'a> History<'a> {
    /// Each release must be published only once.
    pub(super) fn new(publications: &'a [Publication]) -> Self {
        let order = publications.iter().enumerate().map(|(order, publication)| (publication.release, order));
        let order: HashMap<u64, usize> = order.collect();
        assert_eq!(order.len(), publications.len(), "a release was published twice");
        Self { publications, order }
    }

    /// Answers of a release that was not current at any moment between the call's start and its end.
    pub(super) fn not_current(&self, calls: &[Call]) -> Violations {
        let mut violations = Violations::default();
        for call in calls {
            let Some(order) = self.order.get(&call.release) else {
                violations.add(format_args!("{call:?}: never published"));
                continue;
            };
            let publication = self.publications[*order];
            let successor = self.publications.get(order + 1);
            if call.ended < publication.sent {
                violations.add(format_args!("{call:?}: before {publication:?}"));
            } else if let Some(successor) = successor.filter(|successor| call.sent > successor.answered) {
                violations.add(format_args!("{call:?}: after {successor:?}"));
            }
        }
        violations
    }

    /// Answers of an older release than that of another call, on any connection, which had ended before this one was
    /// sent. There is one pointer in one server, so this must hold across connections, too.
    pub(super) fn gone_back(&self, calls: &[Call]) -> Violations {
        let mut violations = Violations::default();
        let mut by_start: Vec<&Call> = calls.iter().collect();
        by_start.sort_by_key(|call| call.sent);
        let mut by_end = by_start.clone();
        by_end.sort_by_key(|call| call.ended);
        let mut ended = by_end.into_iter().peekable();
        let mut newest: Option<(usize, &Call)> = None;
        for call in by_start {
            while let Some(earlier) = ended.next_if(|earlier| earlier.ended < call.sent) {
                let order = self.order.get(&earlier.release).copied();
                if let Some(order) = order.filter(|order| newest.is_none_or(|(newest, _)| *order > newest)) {
                    newest = Some((order, earlier));
                }
            }
            let order = self.order.get(&call.release).copied();
            if let Some((order, (newest, earlier))) = order.zip(newest)
                && order < newest
            {
                let gap = call.sent.saturating_sub(earlier.ended);
                violations.add(format_args!("{call:?}: {gap:?} after {earlier:?}"));
            }
        }
        violations
    }

    /// How many of the releases answered at least one call.
    pub(super) fn seen(&self, calls: &[Call]) -> usize {
        let mut seen = vec![false; self.publications.len()];
        for order in calls.iter().filter_map(|call| self.order.get(&call.release)) {
            seen[*order] = true;
        }
        seen.into_iter().filter(|seen| *seen).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Release 7 from the beginning, 9 at 100..=150 ms, 8 at 300..=350 ms.
    const PUBLICATIONS: [Publication; 3] = [
        Publication { release: 7, sent: at(0), answered: at(0) },
        Publication { release: 9, sent: at(100), answered: at(150) },
        Publication { release: 8, sent: at(300), answered: at(350) },
    ];

    fn call(release: u64, sent: u64, ended: u64) -> Call {
        Call { connection: 0, scheduled: at(sent), sent: at(sent), ended: at(ended), release }
    }

    #[test]
    fn a_release_may_answer_from_its_promotion_until_the_answer_of_the_next() {
        let history = History::new(&PUBLICATIONS);
        let valid = [call(7, 0, 5), call(7, 150, 160), call(9, 90, 100), call(9, 350, 351), call(8, 10, 300)];
        assert_eq!(history.not_current(&valid), Violations::default());
        for invalid in
            [call(9, 90, 99), call(7, 151, 160), call(9, 351, 352), call(8, 0, 299), call(6, 0, 500)]
        {
            let violations = history.not_current(&[invalid]);
            assert_eq!(violations.count, 1, "{invalid:?}");
            assert!(violations.examples.contains(&format!("release: {}", invalid.release)));
        }
    }

    #[test]
    fn answers_never_go_back_to_an_older_publication() {
        let history = History::new(&PUBLICATIONS);
        let valid =
            [call(7, 100, 120), call(9, 110, 130), call(7, 115, 140), call(9, 141, 150), call(8, 310, 320)];
        assert_eq!(history.gone_back(&valid), Violations::default());
        // Each was current at some moment of its call; yet 9 had answered before 7 was called.
        let back = [call(9, 110, 130), call(7, 131, 140)];
        assert_eq!(history.not_current(&back), Violations::default());
        assert_eq!(history.gone_back(&back).count, 1);
        // The order of publication matters, not the numbers.
        assert_eq!(history.gone_back(&[call(8, 310, 320), call(9, 325, 330)]).count, 1);
    }

    #[test]
    fn releases_that_answered_are_counted() {
        let history = History::new(&PUBLICATIONS);
        assert_eq!(history.seen(&[call(7, 0, 1), call(7, 1, 2), call(8, 310, 311)]), 2);
    }
}
