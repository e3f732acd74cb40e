//! What a release is refused or warned of beyond being sound: it would load and serve, and yet decide otherwise than its
//! authors mean.
//!
//! A release that is new (`check`, `init`, `CreateRelease`) is kept out by a refusal. One that is stored already was taken by an
//! earlier version: it loads and decides as before, and its refusals are warnings in the log. So a rule that is added later never
//! stops a server that served yesterday. Each reviewer is a file here, with `refuse` or `warn`; none of
//! them changes a release.
//! Start reading at [`review`].

mod calibration;
mod channels;
mod consents;
mod lines;
mod placements;
mod rules;
mod terms;
#[cfg(test)]
mod tests;

use std::fmt;

pub use self::lines::{Kind, Lines};
use super::{Release, ReleaseSource};
use crate::document::Problems;

/// What the reviewers found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Review {
    /// What no new release may have.
    pub refusals: Problems,
    /// What is most likely a mistake.
    pub warnings: Problems,
}

impl Review {
    /// The warnings, if nothing was refused.
    ///
    /// # Errors
    /// The refusals, sorted by file and line.
    pub fn into_warnings(self) -> Result<Problems, Problems> {
        let Self { refusals, warnings } = self;
        refusals.into_result(warnings.sorted())
    }
}

/// Looks at one thing of a sound release.
type Reviewer = fn(&Release, &Lines<'_>, &mut Problems);

/// Those who find what no new release may have.
const REFUSING: &[Reviewer] = &[calibration::refuse, consents::refuse];

/// Those who find what is most likely a mistake.
const WARNING: &[Reviewer] = &[channels::warn, consents::warn, placements::warn, rules::warn, terms::warn];

/// Looks through a sound release; `source` is what it was loaded from.
#[must_use]
pub fn review(release: &Release, source: &ReleaseSource<'_>) -> Review {
    let lines = Lines::new(source);
    Review { refusals: found(REFUSING, release, &lines), warnings: found(WARNING, release, &lines) }
}

/// What of a sound release no new one may have. A load competes with calls for the cores, so nothing else is looked for.
#[must_use]
pub fn refusals(release: &Release, source: &ReleaseSource<'_>) -> Problems {
    found(REFUSING, release, &Lines::new(source))
}

fn found(reviewers: &[Reviewer], release: &Release, lines: &Lines<'_>) -> Problems {
    let mut problems = Problems::new();
    for reviewer in reviewers {
        reviewer(release, lines, &mut problems);
    }
    problems
}

/// Warnings as a terminal shows them: a line each.
#[derive(Debug)]
pub struct ShownWarnings<'a>(pub &'a Problems);

impl fmt::Display for ShownWarnings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, warning) in self.0.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}warning: {warning}")?;
        }
        Ok(())
    }
}
