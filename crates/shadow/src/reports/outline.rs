//! What a report says, before it becomes text or HTML.
//!
//! Texts are plain; names in backticks become code in HTML. Nothing is escaped yet.

mod parts;

use document::{agreeing, noun};
use report::{Column, numbers};

pub(super) use self::parts::agreement;
use super::words::{self, models, signed};
use super::{Figures, Report, ShadowReport, Share, ValueChange};

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
    /// Only in HTML, where there is room.
    More(Vec<Block>),
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
    /// A number, and its interval or what else there is to say.
    With {
        value: String,
        note: String,
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
            "{} with further shadows {} not in this report.",
            counted(report.left_out, "comparison"),
            agreeing(report.left_out, "is", "are")
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
            source: format!("`{}`, compared with what answered{}", shadow.shadow, when(shadow)),
            lead: lead(shadow),
            warnings: warnings(shadow).into_iter().chain(left_out).collect(),
            tiles: tiles(&shadow.all),
            parts: parts::of_shadow(shadow).into_iter().chain([method]).collect(),
        },
        shadows => {
            let sections = SECTIONS.into_iter().zip(shadows).map(|(id, shadow)| {
                let mut blocks = vec![Block::Text(lead(shadow))];
                blocks.extend(warnings(shadow).into_iter().map(Block::Text));
                for part in parts::of_shadow(shadow).into_iter().filter(|part| !part.blocks.is_empty()) {
                    blocks.push(Block::Heading(part.title));
                    blocks.extend(part.blocks);
                }
                Part::new(id, format!("Shadow {}", shadow.shadow), blocks)
            });
            let overview = Part::new("overview", "All shadows", parts::overview(shadows));
            Outline {
                source: format!("{} shadows, compared with what answered", shadows.len()),
                lead: "Each shadow was compared with what answered, on its own sample of the decisions."
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

fn when(shadow: &ShadowReport) -> String {
    match (&shadow.first_decided_at, &shadow.last_decided_at) {
        (Some(first), Some(last)) if first == last => format!(", at {first}"),
        (Some(first), Some(last)) => format!(", from {first} to {last}"),
        (None, _) | (_, None) => String::new(),
    }
}

fn lead(shadow: &ShadowReport) -> String {
    let Figures { compared, first_agrees, value_by_champion, value_by_shadow, rbo, score_change, .. } =
        &shadow.all;
    if *compared == 0 {
        return format!("No decision was compared with `{}`.", shadow.shadow);
    }
    let is_1 = |mean: f64| mean >= 1.0;
    let is_same = rbo.is_none_or(|rbo| is_1(rbo.mean))
        && first_agrees.is_none_or(|share| is_1(share.share))
        && score_change.is_none_or(|change| change.deviation.unwrap_or(0.0) == 0.0 && change.mean == 0.0);
    if is_same {
        return format!("In {}, scores, ranking and first offer are the same.", all_decisions(*compared));
    }
    let mut sentences = Vec::new();
    if let Some(Share { n, share, interval, .. }) = first_agrees {
        sentences.push(format!(
            "Both begin with the same offer in {} of {} (95 % interval {}).",
            numbers::share(*share),
            counted(*n, "decision"),
            words::interval(Some(*interval), numbers::share)
        ));
    }
    let value = |change: &Option<ValueChange>| {
        change
            .map(|change| format!("{} ({})", signed(change.change), words::interval(change.interval, signed)))
    };
    if let (Some(by_champion), Some(by_shadow)) = (value(value_by_champion), value(value_by_shadow)) {
        sentences.push(format!(
            "In money per decision, what the shadow would have shown is worth {by_champion} by the champion's scores and \
             {by_shadow} by its own, compared with what was shown."
        ));
    }
    sentences.join(" ")
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
    if failed > 0 {
        warnings.push(format!(
            "The shadow failed in {} of {} ({}); these are in no number below.",
            numbers::count(failed),
            counted(compared + failed, "decision"),
            numbers::share(failed as f64 / (compared + failed) as f64)
        ));
    }
    if (1..FEW).contains(&compared) {
        warnings.push(format!(
            "{} {} few: intervals of means are too narrow below {FEW}.",
            counted(compared, "decision"),
            agreeing(compared, "is", "are")
        ));
    }
    if let Some(Share { count, share, .. }) = withheld_differs.filter(|share| share.count > 0) {
        warnings.push(format!(
            "Rules withhold other offers from the shadow in {} ({}): more than scores differs there.",
            counted(count, "decision"),
            numbers::share(share)
        ));
    }
    if shadow.models.len() > 1 {
        let pairs: Vec<String> = shadow
            .models
            .iter()
            .map(|pair| {
                let decisions = counted(pair.decisions, "decision");
                format!("{} with {} ({decisions})", models(&pair.champion), models(&pair.shadow))
            })
            .collect();
        warnings.push(format!("The numbers mix several pairs of models: {}.", pairs.join("; ")));
    }
    if let Some(shed) = shadow.shed.filter(|shed| *shed > 0) {
        warnings.push(format!(
            "{} {} not compared for want of time.",
            counted(shed, "sampled decision"),
            agreeing(shed, "was", "were")
        ));
    }
    if shadow.beyond > 0 {
        warnings.push(format!(
            "{} at further placements or in further segments {} in no table of these.",
            counted(shadow.beyond, "decision"),
            agreeing(shadow.beyond, "is", "are")
        ));
    }
    warnings
}

fn tiles(all: &Figures) -> Vec<(String, String)> {
    let tile = |value: Option<String>, what: &str| {
        (value.unwrap_or_else(|| words::NONE.to_owned()), what.to_owned())
    };
    let value = |change: Option<ValueChange>| change.map(|change| signed(change.change));
    vec![
        tile(Some(numbers::count(all.compared)), noun(all.compared, "decision").as_str()),
        tile(
            all.first_agrees.map(|share| numbers::share(share.share)),
            "of the decisions begin with the same offer",
        ),
        tile(all.rbo.map(|mean| agreement(mean.mean)), "rank-biased overlap of the rankings (1: the same)"),
        tile(all.score_change.map(|change| signed(change.mean)), "mean change of the score of an offer"),
        tile(value(all.value_by_champion), "more money per decision, by the champion's scores"),
        tile(value(all.value_by_shadow), "more money per decision, by the shadow's scores"),
    ]
}
