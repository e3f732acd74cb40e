//! What the report of a what-if or a simulation says.

mod tables;

use document::{agreeing, noun};
use report::numbers;

use super::outline::{Block, Outline, Part};
use super::words::{count_change, counted, money_amounts, money_change, relative, share};
use crate::comparison::{Comparison, Customers, Records, Subject};
use crate::effect::{BeforeAfter, Effect, Totals};

/// The report.
pub(super) fn outline(comparison: &Comparison) -> Outline {
    let Comparison { subject, effect, .. } = comparison;
    Outline {
        title: match subject {
            Subject::Customers(_) | Subject::Records(Records { before: Some(_), .. }) => {
                "Simulation of a release".to_owned()
            }
            Subject::Records(_) => "What another release would have answered".to_owned(),
        },
        source: source(subject),
        lead: lead(subject, effect),
        warnings: warnings(comparison),
        tiles: tiles(subject, effect),
        parts: vec![
            Part::new("placements", "By placement", tables::placements(effect)),
            Part::new("segments", "By segment", tables::segments(effect)),
            Part::new("offers", "How often each offer is shown", tables::offers(effect)),
            Part::new("moves", "The most frequent changes of the first offer", tables::moves(effect)),
            Part::new("rules", "Why offers are withheld", tables::rules(effect)),
            Part::new("not-known", "What the records do not say", tables::not_known(subject)),
            Part::new("excluded", "What is not compared", tables::excluded(comparison)),
            Part::new("assumptions", "Assumptions and limits", vec![Block::List(assumptions(comparison))]),
        ],
        verdict: None,
    }
}

fn after(subject: &Subject) -> &str {
    match subject {
        Subject::Customers(Customers { after, .. }) | Subject::Records(Records { after, .. }) => after,
    }
}

fn source(subject: &Subject) -> String {
    match subject {
        Subject::Customers(Customers { before, after, as_of, placements, customers, .. }) => format!(
            "{} instead of {before}, for {} at {}, as of {as_of}",
            report::capitalised(after),
            counted(*customers, "customer"),
            counted(placements.len() as u64, "placement")
        ),
        Subject::Records(Records { before, after, records, releases, first, last, .. }) => {
            let after = report::capitalised(after);
            let span = match (first, last) {
                (Some(first), Some(last)) if first == last => format!(" of {first}"),
                (Some(first), Some(last)) => format!(" from {first} to {last}"),
                (None, _) | (_, None) => String::new(),
            };
            format!(
                "{after} instead of {}, for {}{span}",
                before.clone().unwrap_or_else(|| releases_of(releases.keys())),
                counted(*records, "record")
            )
        }
    }
}

/// `release 7`, `releases 5, 6 and 7`.
fn releases_of<'n>(numbers: impl ExactSizeIterator<Item = &'n u64>) -> String {
    let numbers: Vec<String> = numbers.map(u64::to_string).collect();
    match numbers.as_slice() {
        [] => "no release".to_owned(),
        [one] => format!("release {one}"),
        [first, .., last] if numbers.len() > 5 => {
            format!("{} releases from {first} to {last}", numbers.len())
        }
        [others @ .., last] => format!("releases {} and {last}", others.join(", ")),
    }
}

fn lead(subject: &Subject, effect: &Effect) -> String {
    let Totals { decisions, first_changes, slate_changes, expected_value, margin, .. } = effect.all;
    let after = after(subject);
    if decisions == 0 {
        return match subject {
            Subject::Customers(_) => {
                "There was nothing to decide: no customer, or no placement that both releases have."
            }
            Subject::Records(_) => {
                "There was nothing to compare: no record with a decision that can be made again."
            }
        }
        .to_owned();
    }
    if effect.is_unchanged() {
        return match subject {
            Subject::Customers(_) => {
                format!("With {after}, every customer gets the same offers in the same order.")
            }
            Subject::Records(_) => {
                format!("With {after}, every customer would have got the same offers in the same order.")
            }
        };
    }
    let who = match subject {
        Subject::Customers(customers) => format!(
            "{} of {} ({}) get another first offer at one placement at least, and {} ({}) other offers or another order",
            numbers::count(customers.first_changes),
            counted(customers.customers, "customer"),
            share(customers.first_changes, customers.customers),
            numbers::count(customers.slate_changes),
            share(customers.slate_changes, customers.customers)
        ),
        Subject::Records(_) => format!(
            "customers would have got another first offer in {} of {} ({}), and other offers or another order in {} ({})",
            numbers::count(first_changes),
            counted(decisions, "decision"),
            share(first_changes, decisions),
            numbers::count(slate_changes),
            share(slate_changes, decisions)
        ),
    };
    format!(
        "With {after}, {who}. Expected value, in money: {}. Margin, in money: {}.",
        money_change(expected_value),
        money_change(margin)
    )
}

fn tiles(subject: &Subject, effect: &Effect) -> Vec<(String, String)> {
    let all = &effect.all;
    let tile = |value: String, what: String| (value, what);
    let (whole, first, slate, what, verbs) = match subject {
        Subject::Customers(Customers { customers, first_changes, slate_changes, placements, .. }) => (
            *customers,
            *first_changes,
            *slate_changes,
            format!("{} at {}", noun(*customers, "customer"), counted(placements.len() as u64, "placement")),
            [
                "of the customers get another first offer",
                "of the customers see other offers or another order",
            ],
        ),
        Subject::Records(_) => (
            all.decisions,
            all.first_changes,
            all.slate_changes,
            format!("recorded {}, made again", noun(all.decisions, "decision")),
            [
                "of the decisions begin with another offer",
                "of the decisions show other offers or another order",
            ],
        ),
    };
    let money = |change: BeforeAfter<f64>, what: &str| {
        let value = relative(change).unwrap_or_else(|| "–".to_owned());
        tile(value, format!("{what}, in money: {}", money_amounts(change)))
    };
    let bare = |totals: &Totals| BeforeAfter {
        before: totals.fallbacks.before + totals.empty.before,
        after: totals.fallbacks.after + totals.empty.after,
    };
    vec![
        tile(numbers::count(whole), what),
        tile(share(first, whole), verbs[0].to_owned()),
        tile(share(slate, whole), verbs[1].to_owned()),
        money(all.expected_value, "expected value"),
        money(all.margin, "margin"),
        tile(count_change(bare(all)), "decisions that show a fallback or nothing".to_owned()),
    ]
}

fn warnings(comparison: &Comparison) -> Vec<String> {
    let (excluded, after) = (&comparison.excluded, after(&comparison.subject));
    let decisions = |count: u64, verb: &str| {
        format!("{} {} not {verb}", counted(count, "decision"), agreeing(count, "is", "are"))
    };
    let gone = excluded.gone_placements.iter().map(|(placement, count)| {
        format!("{after} has no placement `{placement}`: {}.", decisions(*count, "compared"))
    });
    let new = excluded.new_placements.keys().map(|placement| {
        format!("Only {after} has the placement `{placement}`: there is nothing to compare it with.")
    });
    let failed = (excluded.failed > 0).then(|| {
        format!("{}, since they failed; the reasons are listed.", decisions(excluded.failed, "compared"))
    });
    let unknown = unknown_limits(&comparison.subject);
    gone.map(|text| report::capitalised(&text)).chain(new).chain(failed).chain(unknown).collect()
}

/// Says that limits are told too little, if they are.
fn unknown_limits(subject: &Subject) -> Option<String> {
    let Subject::Records(Records { before, after, not_known, .. }) = subject else { return None };
    let decisions = not_known.values().max()?;
    let whose = if before.is_some() { "these releases" } else { after.as_str() };
    let limits = not_known.len() as u64;
    Some(format!(
        "{} of {whose} {} at more than was recorded, in up to {}; what was not recorded counts as not having happened.",
        counted(limits, "limit"),
        agreeing(limits, "looks", "look"),
        counted(*decisions, "decision")
    ))
}

/// The assumptions, and the counts that they rest on.
fn assumptions(comparison: &Comparison) -> Vec<String> {
    let mut sentences = comparison.assumptions.clone();
    let left_out = comparison.excluded.decisions();
    let compared = counted(comparison.effect.all.decisions, "decision");
    let was = agreeing(comparison.effect.all.decisions, "was", "were");
    sentences.push(format!("{compared} {was} compared, {} left out.", numbers::count(left_out)));
    sentences
}
