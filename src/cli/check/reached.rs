//! How many of the known customers each offer reaches.

use std::fmt::Write as _;
use std::sync::Arc;

use chrono::Utc;
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;

use crate::cli::Failure;
use crate::cli::table::new_table;
use decision::{DecisionError, Reach, STAGES, Stage, reach};
use document::{Problems, grouped, noun};
use feature::store::RowIndex;
use offer::{Offer, Placement};
use release::{Kind, Lines, Release, ReleaseSource, Snapshot};

/// The most customers that are tried: with 40 offers one core takes some seconds for them.
const MOST: usize = 100_000;

/// Customers that a thread takes at once.
const PIECE: usize = 1024;

/// The result.
pub(super) struct Reached {
    /// The customers that were tried, and all customers.
    looked_at: usize,
    of: usize,
    /// By placement and candidate.
    found: Vec<Vec<Reach>>,
}

impl Reached {
    /// Sends the customers, or an even sample of them, through the gates of every placement.
    pub(super) fn of(snapshot: &Arc<Snapshot>) -> Result<Self, Failure> {
        let all = snapshot.customers.len();
        let step = all.div_ceil(MOST).max(1);
        let customers: Vec<RowIndex> = snapshot.customers.rows().step_by(step).collect();
        let placements = &snapshot.release.catalog().policy.placements;
        let now = Utc::now();
        let bar = progress((customers.len() * placements.len()) as u64);
        let of_placement = |placement: &Placement| -> Result<Vec<Reach>, DecisionError> {
            let none = || vec![Reach::default(); placement.candidates.len()];
            let piece = |piece: &[RowIndex]| {
                let found = reach(snapshot, &placement.id, piece, now);
                bar.inc(piece.len() as u64);
                found
            };
            let add = |mut sum: Vec<Reach>, more: Vec<Reach>| {
                for (sum, more) in sum.iter_mut().zip(&more) {
                    sum.add(more);
                }
                Ok(sum)
            };
            customers.par_chunks(PIECE).map(piece).try_reduce(none, add)
        };
        let found = placements.iter().map(of_placement).collect::<Result<_, _>>()?;
        bar.finish_and_clear();
        Ok(Self { looked_at: customers.len(), of: all, found })
    }

    /// Warns of each offer that reaches no customer at a placement, even with every consent.
    pub(super) fn warn(&self, release: &Release, source: &ReleaseSource<'_>, warnings: &mut Problems) {
        let (lines, catalog) = (Lines::new(source), release.catalog());
        for (placement, found) in catalog.policy.placements.iter().zip(&self.found) {
            for (candidate, reach) in placement.candidates.iter().zip(found) {
                let offer = catalog.library.get(candidate.offer);
                let Some(key) = dead_by(offer, reach) else { continue };
                let message = format!(
                    "reaches 0 of {} {} at `{}`: {}",
                    count(self.looked_at),
                    noun(self.looked_at, "customer"),
                    placement.id,
                    obstacles(reach)
                );
                lines.push(warnings, (Kind::Offer, &offer.id), key, message);
            }
        }
    }

    /// A line for each offer, a column for each placement.
    pub(super) fn shown(&self, release: &Release) -> String {
        let catalog = release.catalog();
        let placements = &catalog.policy.placements;
        let header: Vec<&str> = std::iter::once("reaches")
            .chain(placements.iter().map(|placement| placement.id.as_str()))
            .collect();
        let mut table = new_table(&header, 1..header.len());
        for (index, offer) in catalog.library.indexed() {
            let cells = placements.iter().zip(&self.found).map(|(placement, found)| {
                let here = placement.candidates.iter().position(|candidate| candidate.offer == index);
                here.and_then(|here| found.get(here)).map_or_else(String::new, cell)
            });
            table.add_row(std::iter::once(offer.id.to_string()).chain(cells));
        }
        let (looked_at, of) = (count(self.looked_at), count(self.of));
        let which = if self.looked_at < self.of {
            format!("an even sample of {looked_at} of the {of} customers")
        } else if self.of == 1 {
            "the one customer".to_owned()
        } else {
            format!("the {of} customers")
        };
        format!(
            "{table}\n\nCounted over {which}, now, on each placement's default channel, without context. (+n): more with their consent."
        )
    }
}

/// The key of the offer that withholds it from most customers, if it reaches none and only the store is the reason.
/// Dates and channels have warnings of their own, and calls provide what a rule reads of the context.
fn dead_by(offer: &Offer, reach: &Reach) -> Option<&'static str> {
    if reach.reached + reach.but_for_consent > 0 {
        return None;
    }
    let rules = [&offer.exclusion, &offer.eligibility, &offer.applicability, &offer.suitability];
    if rules.into_iter().flatten().any(|rule| rule.source().contains("context.")) {
        return None;
    }
    let (most, _) = STAGES.iter().zip(reach.withheld).max_by_key(|(_, withheld)| *withheld)?;
    match most {
        Stage::Exclusion => Some("exclusion"),
        Stage::Eligibility => Some("eligibility"),
        Stage::Applicability => Some("applicability"),
        Stage::Suitability => Some("suitability"),
        Stage::Consent
        | Stage::Validity
        | Stage::Channel
        | Stage::Score
        | Stage::Slate
        | Stage::Arbitration
        | Stage::Limits
        | Stage::Reservation
        | Stage::Holdout
        | Stage::Maturity => None,
    }
}

fn cell(reach: &Reach) -> String {
    match reach.but_for_consent {
        0 => count(reach.reached),
        more => format!("{} (+{})", count(reach.reached), count(more)),
    }
}

/// The reasons that withhold an offer, the most frequent first.
fn obstacles(reach: &Reach) -> String {
    let mut stages: Vec<(&Stage, usize)> =
        STAGES.iter().zip(reach.withheld).filter(|(_, n)| *n > 0).collect();
    stages.sort_by_key(|(_, withheld)| std::cmp::Reverse(*withheld));
    let said =
        |(stage, withheld): &(&Stage, usize)| format!("{stage} withholds it from {}", count(*withheld));
    let mut text = stages.iter().map(said).collect::<Vec<_>>().join(", ");
    if reach.rule_errors > 0 {
        let _ = write!(text, "; of {} a rule cannot be evaluated", count(reach.rule_errors));
    }
    text
}

/// `12,345`.
fn count(number: usize) -> String {
    grouped(&number.to_string())
}

fn progress(length: u64) -> ProgressBar {
    // The bar is drawn on a terminal only.
    let bar = ProgressBar::new(length);
    bar.set_style(
        ProgressStyle::with_template("reach of the offers {wide_bar} {percent}%")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn what_withholds_an_offer_is_said_by_frequency() {
        let mut found = Reach { rule_errors: 2, ..Reach::default() };
        found.withheld[2] = 1;
        found.withheld[3] = 1999;
        assert_eq!(
            obstacles(&found),
            "eligibility withholds it from 1,999, exclusion withholds it from 1; of 2 a rule cannot be evaluated"
        );
    }
}
