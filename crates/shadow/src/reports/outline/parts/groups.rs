//! The same statistics for each placement, segment or shadow.

use super::super::super::figures::share;
use super::super::super::pictures;
use super::super::super::words::{self, NONE, segment, signed};
use super::super::super::{
    CellReport, Figures, Mean, Quantile, ScoreChange, ScoreShift, ShadowReport, Share, Span, ValueChange,
};
use super::super::{Block, Cell, Grid, counted};
use super::{agreement, micros};
use document::noun;
use report::{Column, numbers};

/// The rows of a table of placements or segments; JSON has them all.
const ROWS: usize = 100;

/// What is said first of a placement, a segment or a shadow.
const GROUP: [(&str, Column); 7] = [
    ("decisions", Column::Number),
    ("same first offer", Column::Number),
    ("rank-biased overlap", Column::Number),
    ("mean change of scores", Column::Number),
    ("PSI", Column::Number),
    ("change in value, by the champion's scores", Column::Number),
    ("change in value, by the shadow's scores", Column::Number),
];

/// How its scores differ.
const GROUP_SCORES: [(&str, Column); 5] = [
    ("deviation of changes", Column::Number),
    ("1 % of the changes are up to", Column::Number),
    ("median change", Column::Number),
    ("99 % of the changes are up to", Column::Number),
    ("KS", Column::Number),
];

/// What else there is to say of it.
const GROUP_MORE: [(&str, Column); 8] = [
    ("failed", Column::Number),
    ("offers that both show", Column::Number),
    ("Kendall's tau-b", Column::Number),
    ("rules differ", Column::Number),
    ("champion: median time", Column::Number),
    ("champion: 99 % take up to", Column::Number),
    ("shadow: median time", Column::Number),
    ("shadow: 99 % take up to", Column::Number),
];

/// A row per shadow.
pub(in super::super) fn overview(shadows: &[ShadowReport]) -> Vec<Block> {
    let found: Vec<(Cell, &Figures)> =
        shadows.iter().map(|shadow| (shadow.shadow.as_str().into(), &shadow.all)).collect();
    groups("shadow", &found)
}

/// A number, below it its interval, and what it is of where that is not the decisions of its row.
pub(super) fn with(value: String, interval: Option<String>, of: Option<String>) -> Cell {
    let notes: Vec<String> = interval.into_iter().chain(of).collect();
    if notes.is_empty() { value.into() } else { Cell::With { value, notes } }
}

pub(super) fn limits(interval: Option<[f64; 2]>, shown: impl Fn(f64) -> String) -> Option<String> {
    interval.map(|interval| words::interval(Some(interval), shown))
}

fn none() -> Cell {
    NONE.into()
}

/// What a statistic is of, unless that is the decisions of its row.
fn of_decisions(n: u64, figures: &Figures) -> Option<String> {
    (n != figures.compared).then(|| counted(n, "decision"))
}

fn share_cell(found: Option<Share>, figures: &Figures) -> Cell {
    found.map_or_else(none, |Share { n, share, interval, .. }| {
        with(numbers::share(share), limits(Some(interval), numbers::share), of_decisions(n, figures))
    })
}

fn mean_cell(found: Option<Mean>, figures: &Figures, shown: fn(f64) -> String) -> Cell {
    found.map_or_else(none, |Mean { n, mean, interval, .. }| {
        with(shown(mean), limits(interval, shown), of_decisions(n, figures))
    })
}

fn value_cell(found: Option<ValueChange>) -> Cell {
    found.map_or_else(none, |found| with(signed(found.change), limits(found.interval, signed), None))
}

fn group(figures: &Figures) -> Vec<Cell> {
    let change = |found: ScoreChange| {
        with(signed(found.mean), limits(found.interval, signed), Some(counted(found.pairs, "pair")))
    };
    let psi = |shift: &ScoreShift| {
        let chance = format!("by chance {}", numbers::quantity(shift.psi_by_chance));
        with(numbers::fixed(shift.psi, 4), Some(chance), Some(of_scores(shift)))
    };
    vec![
        numbers::count(figures.compared).into(),
        share_cell(figures.first_agrees, figures),
        mean_cell(figures.rbo, figures, agreement),
        figures.score_change.map_or_else(none, change),
        figures.score_shift.as_ref().map_or_else(none, psi),
        value_cell(figures.value_by_champion),
        value_cell(figures.value_by_shadow),
    ]
}

fn of_scores(shift: &ScoreShift) -> String {
    let ScoreShift { champion_scores, shadow_scores, .. } = shift;
    format!("{} and {}", numbers::count(*champion_scores), counted(*shadow_scores, "score"))
}

fn group_scores(figures: &Figures) -> Vec<Cell> {
    let change = figures.score_change;
    let pairs = |change: ScoreChange| Some(counted(change.pairs, "pair"));
    let quantile = |found: fn(&ScoreChange) -> Quantile| {
        change.map_or_else(none, |change| {
            let Quantile { value, interval } = found(&change);
            with(signed(value), limits(interval, signed), pairs(change))
        })
    };
    let deviation = change.and_then(|change| Some((change.deviation?, change)));
    let ks = |shift: &ScoreShift| {
        let most = format!("at most {}", numbers::fixed(shift.ks_at_most, 4));
        with(numbers::fixed(shift.ks, 4), Some(most), Some(of_scores(shift)))
    };
    vec![
        deviation.map_or_else(none, |(found, change)| with(numbers::quantity(found), None, pairs(change))),
        quantile(|change| change.p1),
        quantile(|change| change.p50),
        quantile(|change| change.p99),
        figures.score_shift.as_ref().map_or_else(none, ks),
    ]
}

fn group_more(figures: &Figures) -> Vec<Cell> {
    let time = |span: Option<Span>, found: fn(&Span) -> Quantile| {
        span.map_or_else(none, |span| {
            let Quantile { value, interval } = found(&span);
            with(micros(value), limits(interval, micros), of_decisions(span.n, figures))
        })
    };
    let all = figures.compared + figures.failed;
    vec![
        share_cell(share(figures.failed, all), figures),
        mean_cell(figures.overlap, figures, numbers::share),
        mean_cell(figures.tau_b, figures, agreement),
        share_cell(figures.withheld_differs, figures),
        time(figures.champion_us, |span| span.p50),
        time(figures.champion_us, |span| span.p99),
        time(figures.shadow_us, |span| span.p50),
        time(figures.shadow_us, |span| span.p99),
    ]
}

fn grid(
    first: &'static str,
    columns: &[(&'static str, Column)],
    rows: &[(Cell, &Figures)],
    cells: fn(&Figures) -> Vec<Cell>,
) -> Block {
    let columns = std::iter::once((first, Column::Words)).chain(columns.iter().copied()).collect();
    let row = |(name, figures): &(Cell, &Figures)| {
        let mut row = vec![name.clone()];
        row.extend(cells(figures));
        row
    };
    Block::Grid(Grid { columns, rows: rows.iter().map(row).collect() })
}

/// A row per group in each table; a terminal has the first of them.
fn groups(first: &'static str, rows: &[(Cell, &Figures)]) -> Vec<Block> {
    let blocks =
        vec![grid(first, &GROUP_SCORES, rows, group_scores), grid(first, &GROUP_MORE, rows, group_more)];
    let instead =
        format!("HTML and JSON also have quantiles, KS, tau-b, failures and times of each {first}.");
    vec![grid(first, &GROUP, rows, group), Block::More { blocks, instead }]
}

fn more(rows: usize, what: &str) -> Option<Block> {
    let more = rows.checked_sub(ROWS).filter(|more| *more > 0)? as u64;
    Some(Block::Text(format!("{} more {} in the JSON report.", numbers::count(more), noun(more, what))))
}

pub(super) fn placements(shadow: &ShadowReport) -> Vec<Block> {
    if shadow.placements.is_empty() {
        return Vec::new();
    }
    let found = shadow.placements.iter().take(ROWS).map(|one| (one.placement.as_str().into(), &one.figures));
    let found: Vec<(Cell, &Figures)> = found.collect();
    let mut blocks = groups("placement", &found);
    blocks.extend(more(shadow.placements.len(), "placement"));
    blocks
}

pub(super) fn segments(shadow: &ShadowReport) -> Vec<Block> {
    // Without a segmentation there is one row that says nothing.
    if shadow.segments.iter().all(|one| one.segment.is_none()) {
        return Vec::new();
    }
    let mut shares: Vec<(String, Share)> = shadow
        .segments
        .iter()
        .filter_map(|one| Some((segment(one.segment, &one.name), one.figures.first_agrees?)))
        .collect();
    let with_shares = shares.len();
    shares.truncate(pictures::MOST_SEGMENTS);
    let found =
        shadow.segments.iter().take(ROWS).map(|one| (segment(one.segment, &one.name).into(), &one.figures));
    let found: Vec<(Cell, &Figures)> = found.collect();
    let mut blocks = Vec::new();
    if !shares.is_empty() {
        blocks.push(Block::Pictures(vec![(pictures::agreement(&shares), shares_caption(with_shares))]));
    }
    blocks.extend(groups("segment", &found));
    blocks.extend(more(shadow.segments.len(), "segment"));
    blocks.extend(cells(shadow));
    blocks
}

fn shares_caption(segments: usize) -> String {
    let caption = "The share of the decisions that show the same offer first, with its 95 % interval.";
    if segments > pictures::MOST_SEGMENTS {
        return format!("{caption} The first {} of {segments} segments.", pictures::MOST_SEGMENTS);
    }
    caption.to_owned()
}

/// Each segment at each placement.
fn cells(shadow: &ShadowReport) -> Option<Block> {
    if shadow.cells.is_empty() {
        return None;
    }
    let name = |one: &CellReport| format!("{}: {}", one.placement, segment(one.segment, &one.name));
    let found: Vec<(Cell, &Figures)> =
        shadow.cells.iter().take(ROWS).map(|one| (name(one).into(), &one.figures)).collect();
    let mut blocks = vec![
        Block::Heading("Each segment at each placement".to_owned()),
        grid("placement and segment", &GROUP, &found, group),
    ];
    blocks.extend(more(shadow.cells.len(), "pair"));
    let instead = "HTML and JSON also have each segment at each placement.".to_owned();
    Some(Block::More { blocks, instead })
}
