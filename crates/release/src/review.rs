//! Refusals and warnings for a sound release: it would load and serve, but decide otherwise than its authors intend.
//!
//! A refusal keeps a new release out (`check`, `init`, `CreateRelease`). A stored release loads and decides as
//! before; its refusals are warnings in the log. So a rule that is added later never stops a server that served
//! yesterday. Each reviewer is a file here, with `refuse` or `warn`; none of them changes a release. Start reading at
//! [`review`].

mod calibration;
mod channels;
mod consents;
mod experiments;
mod golden;
mod limits;
mod lines;
mod metrics;
mod placements;
mod rules;
mod shadows;
mod terms;
#[cfg(test)]
mod tests;

use std::fmt;

pub use self::lines::{Kind, Lines};
use super::{Release, ReleaseSource};
use document::Problems;

/// What the reviewers found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Review {
    /// Mistakes that no new release may have.
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

/// Checks one aspect of a sound release.
type Reviewer = fn(&Release, &Lines<'_>, &mut Problems);

/// Find what no new release may have.
const REFUSING: &[Reviewer] = &[calibration::refuse, consents::refuse, shadows::refuse];

/// Find what is most likely a mistake.
const WARNING: &[Reviewer] = &[
    channels::warn,
    consents::warn,
    experiments::warn,
    golden::warn,
    limits::warn,
    metrics::warn,
    placements::warn,
    rules::warn,
    shadows::warn,
    terms::warn,
];

/// Reviews a sound release that was loaded from `source`.
#[must_use]
pub fn review(release: &Release, source: &ReleaseSource<'_>) -> Review {
    let lines = Lines::new(source);
    Review { refusals: found(REFUSING, release, &lines), warnings: found(WARNING, release, &lines) }
}

/// The refusals alone: a load competes with calls for the cores, so it skips the warnings.
#[must_use]
pub(crate) fn refusals(release: &Release, source: &ReleaseSource<'_>) -> Problems {
    found(REFUSING, release, &Lines::new(source))
}

fn found(reviewers: &[Reviewer], release: &Release, lines: &Lines<'_>) -> Problems {
    let mut problems = Problems::new();
    for reviewer in reviewers {
        reviewer(release, lines, &mut problems);
    }
    problems
}

/// Shows warnings on a terminal, one per line.
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
