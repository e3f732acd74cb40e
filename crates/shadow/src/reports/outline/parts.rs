//! The parts of the report of one shadow.

mod examples;
mod groups;

use self::examples::examples;
pub(super) use self::groups::overview;
use self::groups::{limits, placements, segments, with};
use super::super::pictures;
use super::super::words::{self, NONE, models, signed};
use super::super::{
    Figures, Mean, Quantile, ScoreChange, ScoreShift, ShadowReport, Share, Span, ValueChange,
};
use super::{Block, Cell, Grid, Part, counted};
use crate::tally::RBO_P;
use document::agreeing;
use report::{Column, numbers};

/// A table of statistics, each with its interval and what it is of.
const STATISTICS: [(&str, Column); 4] = [
    ("statistic", Column::Words),
    ("value", Column::Number),
    ("95 % interval", Column::Words),
    ("of", Column::Words),
];

pub(super) fn of_shadow(shadow: &ShadowReport) -> Vec<Part> {
    vec![
        Part::new("agreement", "How far both agree", agreement_of(shadow)),
        Part::new("scores", "Scores", scores(shadow)),
        Part::new("value", "Expected value", values(&shadow.all)),
        Part::new("placements", "By placement", placements(shadow)),
        Part::new("segments", "By segment", segments(shadow)),
        Part::new("time", "Time and errors", time(shadow)),
        Part::new("examples", "The largest disagreements", examples(shadow)),
        Part::new("models", "What was compared", compared(shadow)),
    ]
}

/// An agreement of 0..=1 with three digits. Only the same reads 1.000.
pub(in crate::reports) fn agreement(value: f64) -> String {
    let text = numbers::fixed(value, 3);
    if value < 1.0 && text == "1.000" { "> 0.999".to_owned() } else { text }
}

fn row(statistic: &str, value: String, interval: String, of: String) -> Vec<Cell> {
    vec![statistic.into(), value.into(), interval.into(), of.into()]
}

fn statistics(rows: Vec<Vec<Cell>>) -> Vec<Block> {
    if rows.is_empty() { Vec::new() } else { vec![Block::Grid(Grid { columns: STATISTICS.to_vec(), rows })] }
}

fn agreement_of(shadow: &ShadowReport) -> Vec<Block> {
    let all = &shadow.all;
    let decisions = |n: u64| counted(n, "decision");
    let share = |statistic: &str, share: &Share| {
        let interval = words::interval(Some(share.interval), numbers::share);
        row(statistic, numbers::share(share.share), interval, decisions(share.n))
    };
    let mean = |statistic: &str, mean: &Mean, shown: fn(f64) -> String| {
        row(statistic, shown(mean.mean), words::interval(mean.interval, shown), decisions(mean.n))
    };
    let rows = [
        all.first_agrees.as_ref().map(|found| share("same offer first", found)),
        all.overlap.as_ref().map(|found| mean("share of offers that both show", found, numbers::share)),
        all.rbo.as_ref().map(|found| mean(&format!("rank-biased overlap, p = {RBO_P}"), found, agreement)),
        all.tau_b.as_ref().map(|found| mean("Kendall's tau-b of priorities", found, agreement)),
        all.withheld_differs.as_ref().map(|found| share("rules withhold other offers", found)),
    ];
    let mut blocks = statistics(rows.into_iter().flatten().collect());
    if all.empty > 0 {
        blocks.push(Block::Text(format!("Neither side shows an offer in {}.", decisions(all.empty))));
    }
    blocks
}

fn scores(shadow: &ShadowReport) -> Vec<Block> {
    let mut rows = Vec::new();
    if let Some(ScoreChange { pairs, decisions, mean, interval, deviation, p1, p50, p99 }) =
        shadow.all.score_change
    {
        let of = || format!("{} in {}", counted(pairs, "pair"), counted(decisions, "decision"));
        rows.push(row("mean change", signed(mean), words::interval(interval, signed), of()));
        let deviation = deviation.map_or_else(|| NONE.to_owned(), numbers::quantity);
        rows.push(row("standard deviation of changes", deviation, NONE.to_owned(), of()));
        for (statistic, Quantile { value, interval }) in [
            ("1 % of the changes are up to", p1),
            ("median change", p50),
            ("99 % of the changes are up to", p99),
        ] {
            rows.push(row(statistic, signed(value), words::interval(interval, signed), of()));
        }
    }
    let pictures: Vec<(String, String)> = shadow
        .bars
        .iter()
        .map(|bars| {
            let caption = "Scores of all ranked offers: of the champion (grey bars) and of the shadow (blue line). \
                           The last bar also has all higher scores.";
            (pictures::scores(bars), caption.to_owned())
        })
        .chain(shadow.all.score_change.as_ref().map(|change| {
            let caption = "How the score of an offer changes from the champion to the shadow: 98 % of the changes \
                           are within the bar, half of them on each side of the line.";
            (pictures::change(change), caption.to_owned())
        }))
        .collect();
    let mut blocks = statistics(rows);
    if !pictures.is_empty() {
        blocks.insert(0, Block::Pictures(pictures));
    }
    blocks.extend(shadow.all.score_shift.as_ref().map(distances));
    blocks
}

/// How far the scores of both are apart as distributions.
fn distances(shift: &ScoreShift) -> Block {
    let ScoreShift { champion_scores, shadow_scores, psi, psi_by_chance, ks, ks_at_most, ks_p_value, .. } =
        shift;
    let of = || format!("{} and {} scores", numbers::count(*champion_scores), numbers::count(*shadow_scores));
    let chance = format!("by chance about {}", numbers::quantity(*psi_by_chance));
    let bounds = format!(
        "at most {} (counted in buckets); p = {} if all scores were independent",
        numbers::fixed(*ks_at_most, 4),
        numbers::quantity(*ks_p_value)
    );
    let rows = vec![
        row("population stability index (PSI)", numbers::fixed(*psi, 4), chance, of()),
        row("Kolmogorov–Smirnov (KS)", numbers::fixed(*ks, 4), bounds, of()),
    ];
    let columns = vec![
        ("shift of all scores", Column::Words),
        ("value", Column::Number),
        ("for comparison", Column::Words),
        ("of", Column::Words),
    ];
    Block::Grid(Grid { columns, rows })
}

fn values(all: &Figures) -> Vec<Block> {
    let row = |yardstick: &str, change: &Option<ValueChange>| {
        change.map(|ValueChange { n, champion, shadow, change, interval, .. }| {
            let relative = if champion > 0.0 {
                let percent = 100.0 * change / champion;
                format!("{} %", words::signed(percent))
            } else {
                NONE.to_owned()
            };
            vec![
                yardstick.into(),
                numbers::quantity(champion).into(),
                numbers::quantity(shadow).into(),
                signed(change).into(),
                words::interval(interval, signed).into(),
                relative.into(),
                numbers::count(n).into(),
            ]
        })
    };
    let rows: Vec<Vec<Cell>> = [
        row("the champion's scores", &all.value_by_champion),
        row("the shadow's scores", &all.value_by_shadow),
    ]
    .into_iter()
    .flatten()
    .collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let columns = vec![
        ("in money per decision, by", Column::Words),
        ("the champion shows", Column::Number),
        ("the shadow would show", Column::Number),
        ("change", Column::Number),
        ("95 % interval", Column::Words),
        ("relative change", Column::Number),
        ("decisions", Column::Number),
    ];
    let mut blocks = vec![
        Block::Grid(Grid { columns, rows }),
        Block::Text(
            "Each side shows what its own scores prefer, so each yardstick favours its own side.".to_owned(),
        ),
    ];
    if all.unvalued > 0 {
        blocks.push(Block::Text(format!(
            "{} {} an offer that one side gave no score, such as a fallback; there it counts as 0.",
            counted(all.unvalued, "decision"),
            agreeing(all.unvalued, "shows", "show")
        )));
    }
    blocks
}

fn micros(value: f64) -> String {
    format!("{} µs", numbers::quantity(value))
}

fn time(shadow: &ShadowReport) -> Vec<Block> {
    let row = |side: &str, span: &Option<Span>| {
        span.map(|span| {
            let cell = |found: Quantile| with(micros(found.value), limits(found.interval, micros), None);
            vec![side.into(), cell(span.p50), cell(span.p99), numbers::count(span.n).into()]
        })
    };
    let rows: Vec<Vec<Cell>> =
        [row("champion", &shadow.all.champion_us), row("shadow", &shadow.all.shadow_us)]
            .into_iter()
            .flatten()
            .collect();
    let mut blocks = Vec::new();
    if !rows.is_empty() {
        let columns = vec![
            ("time to decide again", Column::Words),
            ("median", Column::Number),
            ("99 % take up to", Column::Number),
            ("decisions", Column::Number),
        ];
        blocks.push(Block::Grid(Grid { columns, rows }));
    }
    if !shadow.errors.is_empty() {
        let mut rows: Vec<Vec<Cell>> = shadow
            .errors
            .iter()
            .map(|error| vec![error.reason.as_str().into(), numbers::count(error.decisions).into()])
            .collect();
        if shadow.other_errors > 0 {
            rows.push(vec!["other reasons".into(), numbers::count(shadow.other_errors).into()]);
        }
        let columns = vec![("why the shadow failed", Column::Words), ("decisions", Column::Number)];
        blocks.push(Block::Grid(Grid { columns, rows }));
    }
    blocks
}

fn compared(shadow: &ShadowReport) -> Vec<Block> {
    let all = shadow.all.compared + shadow.all.failed;
    // Models and releases beyond those that are counted apart.
    let others = |listed: u64| all.checked_sub(listed).filter(|others| *others > 0);
    let mut rows: Vec<Vec<Cell>> = shadow
        .models
        .iter()
        .map(|pair| {
            vec![
                models(&pair.champion).into(),
                models(&pair.shadow).into(),
                numbers::count(pair.decisions).into(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return Vec::new();
    }
    if let Some(others) = others(shadow.models.iter().map(|pair| pair.decisions).sum()) {
        rows.push(vec!["others".into(), "others".into(), numbers::count(others).into()]);
    }
    let columns = vec![("champion", Column::Words), ("shadow", Column::Words), ("decisions", Column::Number)];
    let mut releases: Vec<String> = shadow
        .releases
        .iter()
        .map(|(release, decisions)| format!("{release} ({})", counted(*decisions, "decision")))
        .collect();
    releases.extend(
        others(shadow.releases.values().sum())
            .map(|others| format!("others ({})", counted(others, "decision"))),
    );
    vec![
        Block::Grid(Grid { columns, rows }),
        Block::Text(format!("By release, failures included: {}.", releases.join(", "))),
    ]
}
