//! The parts of the report of one shadow.

use report::{Column, numbers};

use super::super::pictures;
use super::super::words::{self, NONE, models, segment, signed};
use super::super::{
    Example, ExampleOffer, Figures, Mean, Quantile, Score, ScoreChange, ScoreShift, ShadowReport, Share,
    Span, ValueChange,
};
use super::{Block, Cell, Grid, Part, counted};

/// The rows of a table of placements or segments; JSON has them all.
const ROWS: usize = 100;

/// The examples that a terminal shows.
const FIRST_EXAMPLES: usize = 3;

/// A table of statistics, each with its interval and the number that it is of.
const STATISTICS: [(&str, Column); 4] = [
    ("statistic", Column::Words),
    ("value", Column::Number),
    ("95 % interval", Column::Words),
    ("number", Column::Words),
];

/// What is said of a placement, a segment or a shadow.
const GROUP: [(&str, Column); 7] = [
    ("decisions", Column::Number),
    ("same first offer", Column::Number),
    ("rank-biased overlap", Column::Number),
    ("score change", Column::Number),
    ("PSI", Column::Number),
    ("value, by the champion's scores", Column::Number),
    ("value, by the shadow's scores", Column::Number),
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

/// A row per shadow.
pub(super) fn overview(shadows: &[ShadowReport]) -> Vec<Block> {
    vec![groups("shadow", shadows.iter().map(|shadow| (shadow.shadow.as_str().into(), &shadow.all)))]
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
        all.first_agrees.as_ref().map(|found| share("the same offer first", found)),
        all.overlap.as_ref().map(|found| mean("offers that both show", found, numbers::share)),
        all.rbo.as_ref().map(|found| mean("rank-biased overlap, p = 0.9", found, agreement)),
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
    if let Some(shift) = &shadow.all.score_shift {
        let ScoreShift {
            champion_scores, shadow_scores, psi, psi_by_chance, ks, ks_at_most, ks_p_value, ..
        } = shift;
        let of =
            || format!("{} and {} scores", numbers::count(*champion_scores), numbers::count(*shadow_scores));
        let chance = format!("by chance about {}", numbers::quantity(*psi_by_chance));
        rows.push(row("population stability index", numbers::fixed(*psi, 4), chance, of()));
        let bounds =
            format!("at most {}; p = {}", numbers::fixed(*ks_at_most, 4), numbers::quantity(*ks_p_value));
        rows.push(row("Kolmogorov–Smirnov", numbers::fixed(*ks, 4), bounds, of()));
    }
    let pictures: Vec<(String, String)> = shadow
        .bars
        .iter()
        .map(|bars| {
            let caption = "Scores of all ranked offers: of the champion (grey) and of the shadow (blue line). The last bar \
                           has all higher scores.";
            (pictures::scores(bars), caption.to_owned())
        })
        .chain(shadow.all.score_change.as_ref().map(|change| {
            let caption = "How the score of an offer changes from the champion to the shadow: 98 % of the changes are within \
                           the bar, half of them on each side of the line.";
            (pictures::change(change), caption.to_owned())
        }))
        .collect();
    let mut blocks = statistics(rows);
    if !pictures.is_empty() {
        blocks.insert(0, Block::Pictures(pictures));
    }
    blocks
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
        ("relative", Column::Number),
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
            "{} an offer that one side gave no score, such as a fallback; there it counts as 0.",
            counted(all.unvalued, "decision") + if all.unvalued == 1 { " shows" } else { " show" }
        )));
    }
    blocks
}

fn groups<'f>(first: &'static str, figures: impl Iterator<Item = (Cell, &'f Figures)>) -> Block {
    let with = |value: String, interval: Option<[f64; 2]>, shown: fn(f64) -> String| match interval {
        Some(interval) => Cell::With { value, note: words::interval(Some(interval), shown) },
        None => value.into(),
    };
    let none = || Cell::from(NONE);
    let change = |change: &Option<ValueChange>| {
        change.map_or_else(none, |change| with(signed(change.change), change.interval, signed))
    };
    let row = |(name, figures): (Cell, &Figures)| {
        let agrees = |found: Share| with(numbers::share(found.share), Some(found.interval), numbers::share);
        vec![
            name,
            numbers::count(figures.compared).into(),
            figures.first_agrees.map_or_else(none, agrees),
            figures.rbo.map_or_else(none, |mean| with(agreement(mean.mean), mean.interval, agreement)),
            figures
                .score_change
                .map_or_else(none, |change| with(signed(change.mean), change.interval, signed)),
            figures.score_shift.as_ref().map_or_else(none, |shift| numbers::fixed(shift.psi, 4).into()),
            change(&figures.value_by_champion),
            change(&figures.value_by_shadow),
        ]
    };
    let columns = std::iter::once((first, Column::Words)).chain(GROUP).collect();
    Block::Grid(Grid { columns, rows: figures.map(row).collect() })
}

fn more(rows: usize, what: &str) -> Option<Block> {
    let more = rows.checked_sub(ROWS).filter(|more| *more > 0)?;
    Some(Block::Text(format!("{} in the JSON report.", counted(more as u64, what))))
}

fn placements(shadow: &ShadowReport) -> Vec<Block> {
    if shadow.placements.is_empty() {
        return Vec::new();
    }
    let found = shadow.placements.iter().take(ROWS).map(|one| (one.placement.as_str().into(), &one.figures));
    std::iter::once(groups("placement", found))
        .chain(more(shadow.placements.len(), "more placement"))
        .collect()
}

fn segments(shadow: &ShadowReport) -> Vec<Block> {
    // Without a segmentation there is one row that says nothing.
    if shadow.segments.iter().all(|one| one.segment.is_none()) {
        return Vec::new();
    }
    let shares: Vec<(String, Share)> = shadow
        .segments
        .iter()
        .filter_map(|one| Some((segment(one.segment, &one.name), one.figures.first_agrees?)))
        .take(pictures::MOST_SEGMENTS)
        .collect();
    let found =
        shadow.segments.iter().take(ROWS).map(|one| (segment(one.segment, &one.name).into(), &one.figures));
    let mut blocks = Vec::new();
    if !shares.is_empty() {
        let caption =
            "The share of the decisions that both begin with the same offer, with its 95 % interval.";
        blocks.push(Block::Pictures(vec![(pictures::agreement(&shares), caption.to_owned())]));
    }
    blocks.push(groups("segment", found));
    blocks.extend(more(shadow.segments.len(), "more segment"));
    if !shadow.cells.is_empty() {
        let text = "The JSON report also has each segment at each placement.";
        blocks.push(Block::Text(text.to_owned()));
    }
    blocks
}

fn time(shadow: &ShadowReport) -> Vec<Block> {
    let micros = |value: f64| format!("{} µs", numbers::quantity(value));
    let row = |side: &str, span: &Option<Span>| {
        span.map(|span| {
            let cell = |found: Quantile| match found.interval {
                Some(interval) => {
                    Cell::With { value: micros(found.value), note: words::interval(Some(interval), micros) }
                }
                None => micros(found.value).into(),
            };
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
            ("deciding again", Column::Words),
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

fn examples(shadow: &ShadowReport) -> Vec<Block> {
    if shadow.examples.is_empty() {
        return Vec::new();
    }
    let text = "The decisions whose rankings are farthest apart, with score and priority of each offer on both sides. \
                `proffer decision show` explains a decision as it was made.";
    let mut blocks = vec![Block::Text(text.to_owned())];
    let (first, more) = shadow.examples.split_at(shadow.examples.len().min(FIRST_EXAMPLES));
    blocks.extend(first.iter().flat_map(example));
    if !more.is_empty() {
        blocks.push(Block::More(more.iter().flat_map(example).collect()));
    }
    blocks
}

fn example(example: &Example) -> Vec<Block> {
    let mut facts = vec![format!("release {}", example.release), format!("at {}", example.decided_at)];
    if example.segment.is_some() {
        facts.push(format!("segment {}", segment(example.segment, &example.segment_name)));
    }
    facts.push(format!("rank-biased overlap {}", agreement(example.rbo)));
    facts.extend(example.tau_b.map(|tau_b| format!("tau-b {}", agreement(tau_b))));
    let number =
        |ranked: Option<Score>, value: fn(Score) -> String| ranked.map_or_else(|| NONE.to_owned(), value);
    let row = |offer: &ExampleOffer| {
        let shown_by = match (offer.champion_shows, offer.shadow_shows) {
            (true, true) => "both",
            (true, false) => "champion",
            (false, true) => "shadow",
            (false, false) => "",
        };
        let sides = [offer.champion, offer.shadow];
        let mut cells =
            vec![Cell::Named { name: offer.name.clone(), id: offer.offer.clone() }, shown_by.into()];
        cells.extend(sides.map(|side| Cell::from(number(side, |ranked| ranked.rank.to_string()))));
        cells.extend(sides.map(|side| Cell::from(number(side, |ranked| words::finite(ranked.score)))));
        cells.extend(sides.map(|side| Cell::from(number(side, |ranked| words::finite(ranked.priority)))));
        cells.push(words::finite(offer.value).into());
        cells
    };
    let columns = vec![
        ("offer", Column::Words),
        ("shown by", Column::Words),
        ("rank: champion", Column::Number),
        ("shadow", Column::Number),
        ("score: champion", Column::Number),
        ("shadow", Column::Number),
        ("priority: champion", Column::Number),
        ("shadow", Column::Number),
        ("value", Column::Number),
    ];
    let mut blocks = vec![
        Block::Heading(format!("{} at {}", example.decision_id, example.placement)),
        Block::Text(format!("{}.", report::capitalised(&facts.join(", ")))),
        Block::Grid(Grid { columns, rows: example.offers.iter().map(row).collect() }),
    ];
    if example.more_offers > 0 {
        blocks.push(Block::Text(format!("{} further down.", counted(example.more_offers, "more offer"))));
    }
    blocks
}

fn compared(shadow: &ShadowReport) -> Vec<Block> {
    let rows: Vec<Vec<Cell>> = shadow
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
    let columns = vec![("champion", Column::Words), ("shadow", Column::Words), ("decisions", Column::Number)];
    let releases: Vec<String> = shadow
        .releases
        .iter()
        .map(|(release, decisions)| format!("{release} ({})", counted(*decisions, "decision")))
        .collect();
    vec![
        Block::Grid(Grid { columns, rows }),
        Block::Text(format!("By release, failures included: {}.", releases.join(", "))),
    ]
}
