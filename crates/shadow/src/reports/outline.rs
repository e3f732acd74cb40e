//! What a report says, before it becomes text or HTML.
//!
//! Texts are plain; names in backticks become code in HTML. Nothing is escaped yet.

mod parts;

use document::{agreeing, noun};
use report::{Column, numbers};

pub(super) use self::parts::agreement;
use super::figures;
use super::words::{self, bracketed, models, signed};
use super::{Figures, ListedModels, Mean, Report, ScoreChange, ShadowReport, Share, ValueChange};

/// With fewer decisions the intervals by the normal distribution are too narrow.
const FEW: u64 = 100;

/// The sections of a page of several shadows.
const SECTIONS: [&str; 16] = [
    "shadow-1",
    "shadow-2",
    "shadow-3",
    "shadow-4",
    "shadow-5",
    "shadow-6",
    "shadow-7",
    "shadow-8",
    "shadow-9",
    "shadow-10",
    "shadow-11",
    "shadow-12",
    "shadow-13",
    "shadow-14",
    "shadow-15",
    "shadow-16",
];

const _: () = assert!(SECTIONS.len() == crate::tally::SHADOWS);

/// A report.
#[derive(Debug, Clone, Default)]
pub(super) struct Outline {
    pub source: String,
    /// The result in a few sentences.
    pub lead: String,
    pub warnings: Vec<String>,
    /// The headline numbers, each with what it counts.
    pub tiles: Vec<(String, String)>,
    pub parts: Vec<Part>,
}

/// A part under a heading. One without blocks is left out.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// The target of its link in HTML.
    pub id: &'static str,
    pub title: String,
    pub blocks: Vec<Block>,
}

#[derive(Debug, Clone)]
pub(super) enum Block {
    Heading(String),
    Text(String),
    Grid(Grid),
    List(Vec<String>),
    /// Only in HTML: side by side, each with its caption.
    Pictures(Vec<(String, String)>),
    /// Only in HTML, where there is room; a terminal says `instead` what that has.
    More {
        blocks: Vec<Block>,
        instead: String,
    },
}

/// A table.
#[derive(Debug, Clone)]
pub(super) struct Grid {
    pub columns: Vec<(&'static str, Column)>,
    pub rows: Vec<Vec<Cell>>,
}

#[derive(Debug, Clone)]
pub(super) enum Cell {
    Text(String),
    /// A thing with a name for people and an id.
    Named {
        name: String,
        id: String,
    },
    /// A number, and below it its interval and what it is of.
    With {
        value: String,
        notes: Vec<String>,
    },
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Part {
    fn new(id: &'static str, title: impl Into<String>, blocks: Vec<Block>) -> Self {
        Self { id, title: title.into(), blocks }
    }
}

/// The report.
pub(super) fn outline(report: &Report) -> Outline {
    let method = Part::new("method", "Assumptions and limits", vec![Block::List(report.method.clone())]);
    let left_out = (report.left_out > 0).then(|| {
        format!(
            "{} {} not in this report, which has room for {} shadows.",
            counted(report.left_out, "comparison"),
            agreeing(report.left_out, "is", "are"),
            crate::tally::SHADOWS
        )
    });
    match report.shadows.as_slice() {
        [] => Outline {
            source: "No shadow".to_owned(),
            lead: "There was nothing to compare.".to_owned(),
            parts: vec![method],
            ..Outline::default()
        },
        [shadow] => Outline {
            source: format!(
                "`{}`, compared with the champion, which answered{}",
                shadow.shadow,
                when(shadow).map_or_else(String::new, |when| format!(", {when}"))
            ),
            lead: lead(shadow),
            warnings: warnings(shadow).into_iter().chain(left_out).collect(),
            tiles: tiles(&shadow.all),
            parts: parts::of_shadow(shadow).into_iter().chain([method]).collect(),
        },
        shadows => {
            let sections = SECTIONS.into_iter().zip(shadows).map(|(id, shadow)| {
                let mut blocks = vec![Block::Text(lead(shadow))];
                let when = when(shadow).map(|when| format!("{}.", report::capitalised(&when)));
                blocks.extend(when.map(Block::Text));
                blocks.extend(warnings(shadow).into_iter().map(Block::Text));
                for part in parts::of_shadow(shadow).into_iter().filter(|part| !part.blocks.is_empty()) {
                    blocks.push(Block::Heading(part.title));
                    blocks.extend(part.blocks);
                }
                Part::new(id, format!("Shadow {}", shadow.shadow), blocks)
            });
            let overview = Part::new("overview", "All shadows", parts::overview(shadows));
            Outline {
                source: format!("{} shadows, compared with the champion, which answered", shadows.len()),
                lead: "Each shadow was compared with the champion on its own sample of the decisions."
                    .to_owned(),
                warnings: left_out.into_iter().collect(),
                tiles: Vec::new(),
                parts: std::iter::once(overview).chain(sections).chain([method]).collect(),
            }
        }
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{} {}", numbers::count(count), noun(count, what))
}

/// When the decisions were made, and since when they are counted.
fn when(shadow: &ShadowReport) -> Option<String> {
    let decided = match (&shadow.first_decided_at, &shadow.last_decided_at) {
        (Some(first), Some(last)) if first == last => Some(format!("at {first}")),
        (Some(first), Some(last)) => Some(format!("from {first} to {last}")),
        (None, _) | (_, None) => None,
    };
    let counted = shadow.counted_since.as_ref().map(|since| format!("counted by one server since {since}"));
    let all: Vec<String> = decided.into_iter().chain(counted).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

fn lead(shadow: &ShadowReport) -> String {
    let Figures { compared, first_agrees, value_by_champion, value_by_shadow, .. } = &shadow.all;
    if *compared == 0 {
        return format!("No decision was compared with `{}`.", shadow.shadow);
    }
    if let Some(same) = same(&shadow.all) {
        return format!("In {}, {same}.", all_decisions(*compared));
    }
    let mut sentences = Vec::new();
    if let Some(Share { n, share, interval, .. }) = first_agrees {
        sentences.push(format!(
            "The champion and the shadow show the same offer first in {} of {}{}.",
            numbers::share(*share),
            counted(*n, "decision"),
            bracketed(Some(*interval), numbers::share)
        ));
    }
    let value = |change: &Option<ValueChange>| {
        change.map(|change| format!("{}{}", signed(change.change), bracketed(change.interval, signed)))
    };
    if let (Some(by_champion), Some(by_shadow)) = (value(value_by_champion), value(value_by_shadow)) {
        sentences.push(format!(
            "In money per decision, what the shadow would show is worth {by_champion} by the champion's scores, and \
             {by_shadow} by its own, compared with what the champion shows."
        ));
    }
    sentences.join(" ")
}

/// What to say where nothing differs.
fn same(all: &Figures) -> Option<&'static str> {
    let Figures { first_agrees, overlap, rbo, score_change, .. } = all;
    if first_agrees.is_none() && rbo.is_none() {
        return Some("neither side ranked or showed an offer");
    }
    let is_1 = |mean: &Option<Mean>| mean.is_none_or(|mean| mean.mean >= 1.0);
    let is_same = is_1(rbo)
        && is_1(overlap)
        && first_agrees.is_none_or(|share| share.share >= 1.0)
        && score_change.is_none_or(|change| change.deviation.unwrap_or(0.0) == 0.0 && change.mean == 0.0);
    is_same.then_some("scores, rankings and the offers shown are the same")
}

fn all_decisions(compared: u64) -> String {
    if compared == 1 {
        "the one decision".to_owned()
    } else {
        format!("all {} decisions", numbers::count(compared))
    }
}

fn warnings(shadow: &ShadowReport) -> Vec<String> {
    let Figures { compared, failed, withheld_differs, .. } = shadow.all;
    let mut warnings = Vec::new();
    if let Some(Share { n, count, share, interval }) = figures::share(failed, compared + failed)
        && count > 0
    {
        warnings.push(format!(
            "The shadow failed in {} of {}: {}{}. These count in no other number but by reason and by release.",
            numbers::count(count),
            counted(n, "decision"),
            numbers::share(share),
            bracketed(Some(interval), numbers::share)
        ));
    }
    if (1..FEW).contains(&compared) {
        warnings.push(format!(
            "{} {} few: intervals of means are too narrow below {FEW}.",
            counted(compared, "decision"),
            agreeing(compared, "is", "are")
        ));
    }
    if let Some(Share { count, share, interval, .. }) = withheld_differs.filter(|share| share.count > 0) {
        warnings.push(format!(
            "Rules withhold other offers from the shadow in {}, {}{}: more than scores differs there.",
            counted(count, "decision"),
            numbers::share(share),
            bracketed(Some(interval), numbers::share)
        ));
    }
    // Where there was nothing to score, no model was asked.
    let asked = |pair: &&ListedModels| !(pair.champion.is_empty() && pair.shadow.is_empty());
    let pairs: Vec<String> = shadow
        .models
        .iter()
        .filter(asked)
        .map(|pair| {
            let decisions = counted(pair.decisions, "decision");
            format!("{} with {} ({decisions})", models(&pair.champion), models(&pair.shadow))
        })
        .collect();
    if pairs.len() > 1 {
        warnings.push(format!("The numbers mix several pairs of models: {}.", pairs.join("; ")));
    }
    if let Some(shed) = shadow.shed.filter(|shed| *shed > 0) {
        warnings.push(format!(
            "{} {} not compared, mostly for want of time.",
            counted(shed, "sampled decision"),
            agreeing(shed, "was", "were")
        ));
    }
    if shadow.beyond > 0 {
        warnings.push(format!(
            "{} {} in no table of placements or segments: there are more pairs of both than there is room for.",
            counted(shadow.beyond, "decision"),
            agreeing(shadow.beyond, "is", "are")
        ));
    }
    warnings
}

fn tiles(all: &Figures) -> Vec<(String, String)> {
    let tile = |found: Option<(String, String)>, what: &str| match found {
        Some((value, note)) => (value, format!("{what} ({note})")),
        None => (words::NONE.to_owned(), what.to_owned()),
    };
    let note = |interval: Option<String>, of: String| match interval {
        Some(interval) => format!("95 %: {interval}; {of}"),
        None => of,
    };
    let limits = |interval: Option<[f64; 2]>, shown: fn(f64) -> String| {
        interval.map(|interval| words::interval(Some(interval), shown))
    };
    let decisions = |n: u64| counted(n, "decision");
    let first = all.first_agrees.map(|Share { n, share, interval, .. }| {
        (numbers::share(share), note(limits(Some(interval), numbers::share), decisions(n)))
    });
    let rbo = all.rbo.map(|Mean { n, mean, interval, .. }| {
        (agreement(mean), note(limits(interval, agreement), decisions(n)))
    });
    let change = all.score_change.map(|ScoreChange { pairs, mean, interval, .. }| {
        (signed(mean), note(limits(interval, signed), counted(pairs, "pair")))
    });
    let value = |change: Option<ValueChange>| {
        change.map(|ValueChange { n, change, interval, .. }| {
            (signed(change), note(limits(interval, signed), decisions(n)))
        })
    };
    vec![
        (numbers::count(all.compared), format!("{} compared", noun(all.compared, "decision"))),
        tile(first, "show the same offer first"),
        tile(rbo, "rank-biased overlap of the rankings, 1 if they are the same"),
        tile(change, "mean change of the score of an offer"),
        tile(value(all.value_by_champion), "change in money per decision, by the champion's scores"),
        tile(value(all.value_by_shadow), "change in money per decision, by the shadow's scores"),
    ]
}
