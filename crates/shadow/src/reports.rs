//! What a tally found: numbers for programs, a page and a text for people.
//!
//! `figures` makes the numbers of a cell. `outline` says what a reader gets to know, once for text and HTML; `pictures`
//! draws. The same tally gives the same bytes: nothing here reads a clock.

mod figures;
mod outline;
mod page;
mod pictures;
mod shadows;
mod text;
mod words;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::Tally;

/// Names that people know offers and segments by; what has none is shown by its id.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// By the id of the offer.
    pub offers: BTreeMap<String, String>,
    /// By the number of the segment.
    pub segments: BTreeMap<i64, String>,
}

/// What shadows would have decided, compared with what answered.
///
/// Intervals are of 95 %, `[low, high]`, and `null` where there are too few decisions. A score of an example that is no
/// number is `null` in JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// In the order of their ids.
    pub shadows: Vec<ShadowReport>,
    /// Comparisons with shadows that the report had no room for.
    pub left_out: u64,
    /// How the numbers are computed, and what they do not say.
    pub method: Vec<String>,
}

/// The comparisons with a shadow.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ShadowReport {
    /// The id of the shadow.
    pub shadow: String,
    /// The times of the first and the last decision, RFC 3339; `null` without a decision.
    pub first_decided_at: Option<String>,
    /// As `first_decided_at`.
    pub last_decided_at: Option<String>,
    /// Since when the server that was asked has counted, RFC 3339; `null` of records.
    pub counted_since: Option<String>,
    /// Decisions by release, in the order of their numbers; at most 100 releases, those with the smallest numbers.
    pub releases: BTreeMap<u64, u64>,
    /// Which models were compared with which; at most 20 pairs. A decision for which no model was asked has none.
    pub models: Vec<ListedModels>,
    /// Decisions that were not compared, mostly for want of time; `null` where that is not known, as from records.
    pub shed: Option<u64>,
    /// All decisions.
    pub all: Figures,
    /// The scores of both, for a picture.
    pub bars: Option<Bars>,
    /// By placement, in the order of the ids.
    pub placements: Vec<PlacementReport>,
    /// By segment, in the order of the numbers; decisions without a segment come first.
    pub segments: Vec<SegmentReport>,
    /// By placement and segment, where there are several of both.
    pub cells: Vec<CellReport>,
    /// Decisions at placements and in segments beyond the first 256; they are in `all` alone.
    pub beyond: u64,
    /// Why the shadow failed, the most frequent reason first; of more than 20 reasons, the first 20 by alphabet.
    pub errors: Vec<Counted>,
    /// Failures for other reasons.
    pub other_errors: u64,
    /// The decisions whose rankings are farthest apart, the farthest first; at most 20.
    pub examples: Vec<Example>,
}

/// The statistics of some decisions.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Decisions that were compared.
    pub compared: u64,
    /// Decisions that the shadow failed in. They are in no other number.
    pub failed: u64,
    /// Compared decisions in which neither side shows an offer.
    pub empty: u64,
    /// Decisions in which both show the same offer first. A fallback is an offer, too.
    pub first_agrees: Option<Share>,
    /// The share of the offers shown that both show: |both| ÷ the longer slate, mean over decisions.
    pub overlap: Option<Mean>,
    /// Kendall's tau-b of the priorities of the offers that both ranked, mean over decisions.
    pub tau_b: Option<Mean>,
    /// Rank-biased overlap of both rankings, extrapolated, with p = 0.9, mean over decisions.
    pub rbo: Option<Mean>,
    /// Score of the shadow − score of the champion, over offers that both ranked.
    pub score_change: Option<ScoreChange>,
    /// How far the shadow's scores are from the champion's as distributions.
    pub score_shift: Option<ScoreShift>,
    /// The expected value of what is shown, in money per decision, by the champion's scores.
    pub value_by_champion: Option<ValueChange>,
    /// The same by the shadow's scores.
    pub value_by_shadow: Option<ValueChange>,
    /// Decisions that show an offer that one side gave no score, such as a fallback; there it counts as 0.
    pub unvalued: u64,
    /// Decisions in which rules withhold other offers.
    pub withheld_differs: Option<Share>,
    /// How long the champion took, in microseconds.
    pub champion_us: Option<Span>,
    /// How long the shadow took, in microseconds.
    pub shadow_us: Option<Span>,
}

/// A share of decisions, with Wilson's interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// Decisions that could be counted.
    pub n: u64,
    /// Those that were.
    pub count: u64,
    /// `count` ÷ `n`.
    pub share: f64,
    /// Of the share.
    pub interval: [f64; 2],
}

/// A mean over decisions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Mean {
    /// Decisions.
    pub n: u64,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, of a sample; `null` of one decision.
    pub deviation: Option<f64>,
    /// Of the mean, within the values that are possible.
    pub interval: Option<[f64; 2]>,
}

/// How the scores of offers change.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ScoreChange {
    /// Scores of the same offer in the same decision by both.
    pub pairs: u64,
    /// The decisions that they are of.
    pub decisions: u64,
    /// The mean over pairs.
    pub mean: f64,
    /// Of the mean, with the decision as the unit: the offers of one are alike.
    pub interval: Option<[f64; 2]>,
    /// The standard deviation over pairs.
    pub deviation: Option<f64>,
    /// What 1 % of the changes do not exceed.
    pub p1: Quantile,
    /// The median.
    pub p50: Quantile,
    /// What 99 % of the changes do not exceed.
    pub p99: Quantile,
}

/// A quantile, which is off by at most 1/128 of itself, or by 2⁻³⁰.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantile {
    /// The quantile.
    pub value: f64,
    /// Of the quantile; of changes of scores as if a decision had one offer. A median needs 6 decisions for it, and the
    /// quantiles of 1 % and 99 % need 368.
    pub interval: Option<[f64; 2]>,
}

/// How far two distributions of scores are apart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreShift {
    /// Scores of the champion, over all offers that it ranked.
    pub champion_scores: u64,
    /// Scores of the shadow.
    pub shadow_scores: u64,
    /// The population stability index, with the champion's scores as the reference.
    pub psi: f64,
    /// What chance alone makes of it with so many independent scores: b (1 / n + 1 / m), where b is one less than the
    /// bins that have scores of the champion, 9 as a rule.
    pub psi_by_chance: f64,
    /// The edges of its ten bins.
    pub edges: Vec<f64>,
    /// The statistic of Kolmogorov and Smirnov at the limits of buckets.
    pub ks: f64,
    /// The largest that it can be between the limits; 0 if both gave each offer the same score.
    pub ks_at_most: f64,
    /// The probability of such a statistic if all scores were independent, which those of one decision are not.
    pub ks_p_value: f64,
}

/// The expected value of what both show, by the scores of one of them, in money per decision.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ValueChange {
    /// Decisions.
    pub n: u64,
    /// The mean of what the champion shows.
    pub champion: f64,
    /// The mean of what the shadow shows.
    pub shadow: f64,
    /// The mean of shadow − champion in the same decision.
    pub change: f64,
    /// The standard deviation of the change.
    pub deviation: Option<f64>,
    /// Of the mean of the change.
    pub interval: Option<[f64; 2]>,
}

/// How long decisions took, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Span {
    /// Decisions.
    pub n: u64,
    /// The median.
    pub p50: Quantile,
    /// What 99 % do not exceed.
    pub p99: Quantile,
}

/// The decisions at a placement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlacementReport {
    /// The id of the placement.
    pub placement: String,
    /// Its decisions.
    #[serde(flatten)]
    pub figures: Figures,
}

/// The decisions for the customers of a segment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SegmentReport {
    /// The number of the segment; `null` for decisions without one.
    pub segment: Option<i64>,
    /// Its name; empty where it is not known.
    pub name: String,
    /// Its decisions.
    #[serde(flatten)]
    pub figures: Figures,
}

/// The decisions at a placement for the customers of a segment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CellReport {
    /// The id of the placement.
    pub placement: String,
    /// The number of the segment; `null` for decisions without one.
    pub segment: Option<i64>,
    /// The name of the segment; empty where it is not known.
    pub name: String,
    /// Its decisions.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Scores of both between equal steps, for a picture.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bars {
    /// Where the bars end: they are equally wide, from 0 to here. The last one also has all higher scores.
    pub end: f64,
    /// Scores of the champion by bar.
    pub champion: Vec<u64>,
    /// Scores of the shadow by bar.
    pub shadow: Vec<u64>,
}

/// Models that were compared with each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedModels {
    /// Those of the champion.
    pub champion: Vec<ListedModel>,
    /// Those of the shadow.
    pub shadow: Vec<ListedModel>,
    /// Decisions.
    pub decisions: u64,
}

/// A version of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedModel {
    /// The name.
    pub name: String,
    /// The version.
    pub version: u64,
}

/// How often something was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// What: the first 200 characters.
    pub reason: String,
    /// Decisions.
    pub decisions: u64,
}

/// A decision in which both rankings are far apart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Example {
    /// The id of the decision.
    pub decision_id: String,
    /// When it was made, RFC 3339.
    pub decided_at: String,
    /// The release that decided.
    pub release: u64,
    /// The id of the placement.
    pub placement: String,
    /// The number of the segment, if there is one.
    pub segment: Option<i64>,
    /// The name of the segment; empty where it is not known.
    pub segment_name: String,
    /// Rank-biased overlap of both rankings.
    pub rbo: f64,
    /// Kendall's tau-b; `null` where there is no order.
    pub tau_b: Option<f64>,
    /// By the better of both ranks; at most 30.
    pub offers: Vec<ExampleOffer>,
    /// Offers that are not among them.
    pub more_offers: u64,
}

/// An offer of an [`Example`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExampleOffer {
    /// The id.
    pub offer_id: String,
    /// The name; empty where it is not known.
    pub name: String,
    /// What an acceptance is worth, in money.
    pub value: f64,
    /// As the champion ranked it; `null` if it did not.
    pub champion: Option<Score>,
    /// As the shadow ranked it; `null` if it did not.
    pub shadow: Option<Score>,
    /// Whether the champion showed it.
    pub champion_shows: bool,
    /// Whether the shadow would have.
    pub shadow_shows: bool,
}

/// The place of an offer in a ranking.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Score {
    /// From 1 on.
    pub rank: u32,
    /// The propensity.
    pub score: f64,
    /// What the order is by.
    pub priority: f64,
}

impl Tally {
    /// The report.
    #[must_use]
    pub fn report(&self, names: &Names) -> Report {
        let shadows = self.shadows.iter().map(|(shadow, tally)| shadows::report(shadow, tally, names));
        Report { shadows: shadows.collect(), left_out: self.left_out, method: words::method() }
    }
}

impl Report {
    /// The report for a terminal. Its tables are as wide as the terminal, or as they need to be without one.
    #[must_use]
    pub fn text(&self) -> String {
        text::render(&outline::outline(self), None)
    }

    /// The report as a self-contained HTML page.
    #[must_use]
    pub fn html(&self) -> String {
        page::render(&outline::outline(self))
    }

    /// The report as indented JSON. The names are those of the fields of [`Report`].
    ///
    /// # Errors
    /// When it cannot be written, which no report causes.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }
}

#[cfg(test)]
mod tests;
