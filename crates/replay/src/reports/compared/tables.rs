//! The tables of the report: by placement, segment and offer, the moves, the reasons, and what is left out.

use document::agreeing;
use report::numbers;

use super::super::outline::{Block, Cell, Grid, Kind};
use super::super::words::{
    EXPECTED_VALUE, MARGIN, count_change, counted, difference, money_cell, part, reason, share,
};
use crate::comparison::{Comparison, Records, Subject};
use crate::effect::{BeforeAfter, Effect, Move, NamedOffer, OfferEffect, Totals, WithheldEffect};

/// Offers and rules that a table shows; JSON has them all.
const ROWS: usize = 100;
const RULES: usize = 30;

const TOTALS: [(&str, Kind); 7] = [
    ("decisions", Kind::Number),
    ("another first offer", Kind::Number),
    ("other offers or order", Kind::Number),
    (EXPECTED_VALUE, Kind::Number),
    (MARGIN, Kind::Number),
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
        money_cell(totals.expected_value),
        money_cell(totals.margin),
        count_change(totals.fallbacks).into(),
        count_change(totals.empty).into(),
    ]
}

fn grid(first: &'static str, columns: &[(&'static str, Kind)], rows: Vec<Vec<Cell>>) -> Block {
    let columns = std::iter::once((first, Kind::Words)).chain(columns.iter().copied()).collect();
    Block::Grid(Grid { columns, rows })
}

pub(super) fn placements(effect: &Effect) -> Vec<Block> {
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

pub(super) fn segments(effect: &Effect) -> Vec<Block> {
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

pub(super) fn offers(effect: &Effect) -> Vec<Block> {
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
            money_cell(offer.expected_value),
            money_cell(offer.margin),
        ]
    };
    let columns = [
        ("before", Kind::Number),
        ("after", Kind::Number),
        ("difference", Kind::Number),
        ("before (grey), after (blue)", Kind::Bars),
        ("shown first", Kind::Number),
        (EXPECTED_VALUE, Kind::Number),
        (MARGIN, Kind::Number),
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
        let are = agreeing(silent, "is", "are");
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

pub(super) fn moves(effect: &Effect) -> Vec<Block> {
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

pub(super) fn rules(effect: &Effect) -> Vec<Block> {
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

pub(super) fn not_known(subject: &Subject) -> Vec<Block> {
    let Subject::Records(Records { not_known, .. }) = subject else { return Vec::new() };
    if not_known.is_empty() {
        return Vec::new();
    }
    let rows = not_known
        .iter()
        .map(|(limit, decisions)| vec![limit.as_str().into(), numbers::count(*decisions).into()]);
    let text = "These limits look at more than was recorded: at other events, further back, or at totals that no \
                limit had asked for. What was not recorded counts as not having happened.";
    vec![
        Block::Text(text.to_owned()),
        grid("limit", &[("decisions without a record of all of it", Kind::Number)], rows.collect()),
    ]
}

pub(super) fn excluded(comparison: &Comparison) -> Vec<Block> {
    let excluded = &comparison.excluded;
    let mut blocks = Vec::new();
    if excluded.without_decision > 0 {
        let count = excluded.without_decision;
        let have = agreeing(count, "has", "have");
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
