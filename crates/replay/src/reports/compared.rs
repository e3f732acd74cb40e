//! What the report of a what-if or a simulation says.

use report::numbers;

use super::outline::{Block, Cell, Grid, Kind, Outline, Part};
use super::words::{count_change, counted, difference, money_change, part, reason, relative, share};
use crate::comparison::{Comparison, Customers, Records, Subject};
use crate::effect::{BeforeAfter, Effect, Move, NamedOffer, OfferEffect, Totals, WithheldEffect};

/// Offers and rules that a table shows; JSON has them all.
const ROWS: usize = 100;
const RULES: usize = 30;

/// The report.
pub(super) fn outline(comparison: &Comparison) -> Outline {
    let Comparison { subject, effect, .. } = comparison;
    Outline {
        title: match subject {
            Subject::Customers(_) => "Simulation of a release".to_owned(),
            Subject::Records(_) => "What another release would have answered".to_owned(),
        },
        source: source(subject),
        lead: lead(subject, effect),
        warnings: warnings(comparison),
        tiles: tiles(subject, effect),
        parts: vec![
            Part::new("placements", "By placement", placements(effect)),
            Part::new("segments", "By segment", segments(effect)),
            Part::new("offers", "How often each offer is shown", offers(effect)),
            Part::new("moves", "The most frequent changes of the first offer", moves(effect)),
            Part::new("rules", "Why offers are withheld", rules(effect)),
            Part::new("excluded", "What is not compared", excluded(comparison)),
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
        Subject::Records(Records { after, records, releases, first, last, .. }) => {
            let after = report::capitalised(after);
            let span = match (first, last) {
                (Some(first), Some(last)) if first == last => format!(" of {first}"),
                (Some(first), Some(last)) => format!(" from {first} to {last}"),
                (None, _) | (_, None) => String::new(),
            };
            format!(
                "{after} instead of {}, for {}{span}",
                releases_of(releases.keys()),
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
            "{} of {} ({}) get another first offer at one placement at least; {} ({}) see any change",
            numbers::count(customers.first_changes),
            counted(customers.customers, "customer"),
            share(customers.first_changes, customers.customers),
            numbers::count(customers.slate_changes),
            share(customers.slate_changes, customers.customers)
        ),
        Subject::Records(_) => format!(
            "customers would have got another first offer in {} of {} ({}), and seen any change in {} ({})",
            numbers::count(first_changes),
            counted(decisions, "decision"),
            share(first_changes, decisions),
            numbers::count(slate_changes),
            share(slate_changes, decisions)
        ),
    };
    format!(
        "With {after}, {who}. Expected value: {}. Margin: {}.",
        money_change(expected_value),
        money_change(margin)
    )
}

fn tiles(subject: &Subject, effect: &Effect) -> Vec<(String, String)> {
    let all = &effect.all;
    let tile = |value: String, what: String| (value, what);
    let (whole, first, slate, what, whose) = match subject {
        Subject::Customers(customers) => (
            customers.customers,
            customers.first_changes,
            customers.slate_changes,
            format!("customers at {}", counted(customers.placements.len() as u64, "placement")),
            "of the customers",
        ),
        Subject::Records(_) => (
            all.decisions,
            all.first_changes,
            all.slate_changes,
            "recorded decisions, made again".to_owned(),
            "of the decisions",
        ),
    };
    let money = |change: BeforeAfter<f64>, what: &str| {
        let value = relative(change).unwrap_or_else(|| "–".to_owned());
        tile(value, format!("{what}: {}", money_change(change).split(" (").next().unwrap_or_default()))
    };
    let bare = |totals: &Totals| BeforeAfter {
        before: totals.fallbacks.before + totals.empty.before,
        after: totals.fallbacks.after + totals.empty.after,
    };
    vec![
        tile(numbers::count(whole), what),
        tile(share(first, whole), format!("{whose}: another first offer")),
        tile(share(slate, whole), format!("{whose}: other offers or another order")),
        money(all.expected_value, "expected value"),
        money(all.margin, "margin"),
        tile(count_change(bare(all)), "decisions that show a fallback or nothing".to_owned()),
    ]
}

fn warnings(comparison: &Comparison) -> Vec<String> {
    let (excluded, after) = (&comparison.excluded, after(&comparison.subject));
    let decisions = |count: u64, verb: &str| {
        format!("{} {} not {verb}", counted(count, "decision"), if count == 1 { "is" } else { "are" })
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
    gone.map(|text| report::capitalised(&text)).chain(new).chain(failed).collect()
}

const TOTALS: [(&str, Kind); 7] = [
    ("decisions", Kind::Number),
    ("another first offer", Kind::Number),
    ("any change", Kind::Number),
    ("expected value", Kind::Number),
    ("margin", Kind::Number),
    ("fallback", Kind::Number),
    ("nothing", Kind::Number),
];

fn totals(first: Cell, totals: &Totals) -> Vec<Cell> {
    let Totals { decisions, first_changes, slate_changes, .. } = *totals;
    vec![
        first,
        numbers::count(decisions).into(),
        part(first_changes, decisions).into(),
        part(slate_changes, decisions).into(),
        money_change(totals.expected_value).into(),
        money_change(totals.margin).into(),
        count_change(totals.fallbacks).into(),
        count_change(totals.empty).into(),
    ]
}

fn grid(first: &'static str, columns: &[(&'static str, Kind)], rows: Vec<Vec<Cell>>) -> Block {
    let columns = std::iter::once((first, Kind::Words)).chain(columns.iter().copied()).collect();
    Block::Grid(Grid { columns, rows })
}

fn placements(effect: &Effect) -> Vec<Block> {
    if effect.placements.is_empty() {
        return Vec::new();
    }
    let mut rows: Vec<Vec<Cell>> =
        effect.placements.iter().map(|one| totals(one.placement.as_str().into(), &one.totals)).collect();
    if rows.len() > 1 {
        rows.push(totals("all".into(), &effect.all));
    }
    vec![grid("placement", &TOTALS, rows)]
}

fn segments(effect: &Effect) -> Vec<Block> {
    // Without a segmentation there is one row that says nothing.
    if effect.segments.iter().all(|one| one.segment.is_none()) {
        return Vec::new();
    }
    let name = |segment: Option<i64>, name: &str| match segment {
        Some(id) => format!("{id} {name}"),
        None => "no segment".to_owned(),
    };
    let rows =
        effect.segments.iter().map(|one| totals(name(one.segment, &one.name).trim_end().into(), &one.totals));
    let mut blocks = vec![grid("segment", &TOTALS, rows.collect())];
    let Totals { segment_changes, decisions, .. } = effect.all;
    if segment_changes > 0 {
        let moved = part(segment_changes, decisions);
        blocks.push(Block::Text(format!(
            "In {moved} of the decisions the customer is in another segment afterwards."
        )));
    }
    blocks
}

fn offers(effect: &Effect) -> Vec<Block> {
    let most = |offer: &OfferEffect| offer.shown.before.max(offer.shown.after);
    let mut shown: Vec<&OfferEffect> = effect.offers.iter().filter(|offer| most(offer) > 0).collect();
    if shown.is_empty() {
        return Vec::new();
    }
    shown.sort_by(|one, other| most(other).cmp(&most(one)).then_with(|| one.offer.cmp(&other.offer)));
    let longest = shown.first().map_or(1, |offer| most(offer)).max(1) as f64;
    let row = |offer: &&OfferEffect| {
        let BeforeAfter { before, after } = offer.shown;
        let label = format!("{} before, {} after", numbers::count(before), numbers::count(after));
        let (before_bar, after_bar) = (before as f64 / longest, after as f64 / longest);
        vec![
            named(&offer.name, &offer.offer),
            numbers::count(before).into(),
            numbers::count(after).into(),
            difference(offer.shown).into(),
            Cell::Bars { before: before_bar, after: after_bar, label },
            count_change(offer.first).into(),
            money_change(offer.expected_value).into(),
            money_change(offer.margin).into(),
        ]
    };
    let columns = [
        ("before", Kind::Number),
        ("after", Kind::Number),
        ("difference", Kind::Number),
        ("before (grey), after (blue)", Kind::Bars),
        ("shown first", Kind::Number),
        ("expected value", Kind::Number),
        ("margin", Kind::Number),
    ];
    let mut blocks = vec![grid("offer", &columns, shown.iter().take(ROWS).map(row).collect())];
    let silent = effect.offers.len() - shown.len();
    let mut notes = Vec::new();
    if shown.len() > ROWS {
        notes.push(format!(
            "{} more are shown; the JSON report has them.",
            counted((shown.len() - ROWS) as u64, "offer")
        ));
    }
    if silent > 0 {
        let are = if silent == 1 { "is" } else { "are" };
        notes.push(format!(
            "{} {are} never shown, neither before nor after.",
            counted(silent as u64, "offer")
        ));
    }
    if !notes.is_empty() {
        blocks.push(Block::Text(notes.join(" ")));
    }
    blocks
}

fn named(name: &str, id: &str) -> Cell {
    Cell::Named { name: name.to_owned(), id: id.to_owned() }
}

fn moves(effect: &Effect) -> Vec<Block> {
    if effect.moves.is_empty() {
        return Vec::new();
    }
    let offer = |offer: &Option<NamedOffer>| match offer {
        Some(NamedOffer { offer, name }) => named(name, offer),
        None => "nothing".into(),
    };
    let changes = effect.all.first_changes;
    let row = |Move { from, to, decisions }: &Move| {
        vec![offer(from), offer(to), numbers::count(*decisions).into(), share(*decisions, changes).into()]
    };
    let columns = [("to", Kind::Words), ("decisions", Kind::Number), ("of all such changes", Kind::Number)];
    let mut blocks = vec![grid("from", &columns, effect.moves.iter().map(row).collect())];
    if effect.other_moves > 0 {
        blocks.push(Block::Text(format!(
            "The first offer changes in other ways in {}.",
            counted(effect.other_moves, "more decision")
        )));
    }
    blocks
}

fn rules(effect: &Effect) -> Vec<Block> {
    if effect.reasons.is_empty() {
        return Vec::new();
    }
    let columns = [
        ("reason", Kind::Words),
        ("before", Kind::Number),
        ("after", Kind::Number),
        ("difference", Kind::Number),
    ];
    let counts = |change: BeforeAfter<u64>| -> [Cell; 3] {
        [numbers::count(change.before).into(), numbers::count(change.after).into(), difference(change).into()]
    };
    let rows = effect.reasons.iter().map(|one| {
        let mut row = vec![one.stage.into(), reason(one.reason).into()];
        row.extend(counts(one.offers));
        row
    });
    let mut blocks = vec![
        Block::Text("An offer counts at the first gate that withholds it, once per decision.".to_owned()),
        grid("gate", &columns, rows.collect()),
    ];
    let apart = |one: &WithheldEffect| one.decisions.before.abs_diff(one.decisions.after);
    let mut changed: Vec<&WithheldEffect> = effect.withheld.iter().filter(|one| apart(one) > 0).collect();
    if changed.is_empty() {
        return blocks;
    }
    changed.sort_by_key(|one| std::cmp::Reverse(apart(one)));
    let rows = changed.iter().take(RULES).map(|one| {
        let mut row = vec![named(&one.name, &one.offer), one.stage.into(), reason(one.reason).into()];
        row.extend(counts(one.decisions));
        row
    });
    let columns: Vec<(&str, Kind)> = std::iter::once(("gate", Kind::Words)).chain(columns).collect();
    blocks.push(Block::Heading("Offers that are withheld more or less often"));
    blocks.push(grid("offer", &columns, rows.collect()));
    if changed.len() > RULES {
        let more = (changed.len() - RULES) as u64;
        blocks.push(Block::Text(format!("{} in the JSON report.", counted(more, "more difference"))));
    }
    blocks
}

fn excluded(comparison: &Comparison) -> Vec<Block> {
    let excluded = &comparison.excluded;
    let mut blocks = Vec::new();
    if excluded.without_decision > 0 {
        let count = excluded.without_decision;
        let have = if count == 1 { "has" } else { "have" };
        let records = counted(count, "record");
        blocks.push(Block::Text(format!("{records} {have} an error instead of a decision.")));
    }
    let new = excluded.new_placements.iter().map(|(placement, count)| (placement, count, "only after"));
    let gone = excluded.gone_placements.iter().map(|(placement, count)| (placement, count, "only before"));
    let rows: Vec<Vec<Cell>> = gone
        .chain(new)
        .map(|(placement, count, which)| {
            vec![placement.as_str().into(), which.into(), numbers::count(*count).into()]
        })
        .collect();
    if !rows.is_empty() {
        blocks.push(grid("placement", &[("there is one", Kind::Words), ("decisions", Kind::Number)], rows));
    }
    if excluded.failed > 0 {
        let what = match comparison.subject {
            Subject::Customers(_) => "customer",
            Subject::Records(_) => "decision",
        };
        let listed = excluded.failures.len() as u64;
        if listed < excluded.failed {
            blocks.push(Block::Text(format!(
                "{} of {} failures:",
                numbers::count(listed),
                numbers::count(excluded.failed)
            )));
        }
        let rows =
            excluded.failures.iter().map(|one| vec![one.id.as_str().into(), one.reason.as_str().into()]);
        blocks.push(grid(what, &[("why it failed", Kind::Words)], rows.collect()));
    }
    blocks
}

/// The assumptions, and the counts that they rest on.
fn assumptions(comparison: &Comparison) -> Vec<String> {
    let mut sentences = comparison.assumptions.clone();
    let left_out = comparison.excluded.decisions();
    let compared = counted(comparison.effect.all.decisions, "decision");
    let was = if comparison.effect.all.decisions == 1 { "was" } else { "were" };
    sentences.push(format!("{compared} {was} compared, {} left out.", numbers::count(left_out)));
    sentences
}
