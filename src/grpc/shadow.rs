//! What a server has found out about a shadow, as messages.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};

use super::proto::proffer::v1 as wire;
use release::RegistryError;
use shadow::{
    Bars, CellReport, Counted, Example, ExampleOffer, Figures, ListedModel, ListedModels, Mean,
    PlacementReport, Quantile, Report, Score, ScoreChange, ScoreShift, SegmentReport, ShadowReport, Share,
    Span, ValueChange,
};

/// What a server has found out about its shadows.
pub trait ShadowReports: Send + Sync + fmt::Debug {
    /// What is known of the shadow with this id.
    ///
    /// # Errors
    /// When the release that serves has none, and none was compared here.
    fn find(&self, id: &str) -> Result<FoundShadow, RegistryError>;
}

/// What a server has found out about one shadow.
#[derive(Debug, Clone)]
pub struct FoundShadow {
    /// The release that serves; 0: none.
    pub release: u64,
    /// Whether that compares with it.
    pub standing: ShadowStanding,
    /// Since when this was counted.
    pub since: DateTime<Utc>,
    /// The statistics of this shadow alone.
    pub report: Report,
}

/// Whether the release that serves compares with a shadow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShadowStanding {
    /// It does.
    Ready,
    /// It has the shadow, which cannot be loaded for this reason.
    Unavailable(String),
    /// It has no such shadow.
    Absent,
}

impl FoundShadow {
    /// Leaves out what is of other placements than this one.
    pub(super) fn only_at(&mut self, placement: &str) {
        for shadow in &mut self.report.shadows {
            // Segments are sums over placements.
            if shadow.placements.iter().any(|one| one.placement != placement) {
                shadow.segments.clear();
            }
            shadow.placements.retain(|one| one.placement == placement);
            shadow.cells.retain(|one| one.placement == placement);
            shadow.examples.retain(|one| one.placement == placement);
        }
    }
}

impl From<FoundShadow> for wire::GetShadowReportResponse {
    fn from(found: FoundShadow) -> Self {
        let FoundShadow { release, standing, since, report } = found;
        let (state, unavailable) = match standing {
            ShadowStanding::Ready => (wire::ShadowState::Ready, String::new()),
            ShadowStanding::Unavailable(why) => (wire::ShadowState::Unavailable, why),
            ShadowStanding::Absent => (wire::ShadowState::Absent, String::new()),
        };
        Self {
            release,
            state: state.into(),
            unavailable,
            since: since.to_rfc3339_opts(SecondsFormat::Millis, true),
            report: report.shadows.into_iter().next().map(Into::into),
            method: report.method,
        }
    }
}

fn each<A, B: From<A>>(list: Vec<A>) -> Vec<B> {
    list.into_iter().map(Into::into).collect()
}

fn interval([low, high]: [f64; 2]) -> wire::Interval {
    wire::Interval { low, high }
}

impl From<ShadowReport> for wire::ShadowReport {
    fn from(report: ShadowReport) -> Self {
        Self {
            shadow: report.shadow,
            first_decided_at: report.first_decided_at.unwrap_or_default(),
            last_decided_at: report.last_decided_at.unwrap_or_default(),
            releases: report.releases.into_iter().collect(),
            models: each(report.models),
            shed: report.shed,
            all: Some(report.all.into()),
            bars: report.bars.map(Into::into),
            placements: each(report.placements),
            segments: each(report.segments),
            cells: each(report.cells),
            beyond: report.beyond,
            errors: each(report.errors),
            other_errors: report.other_errors,
            examples: each(report.examples),
        }
    }
}

impl From<ListedModels> for wire::ShadowModels {
    fn from(models: ListedModels) -> Self {
        let ListedModels { champion, shadow, decisions } = models;
        Self { champion: each(champion), shadow: each(shadow), decisions }
    }
}

impl From<ListedModel> for wire::ShadowModel {
    fn from(ListedModel { name, version }: ListedModel) -> Self {
        Self { name, version }
    }
}

impl From<Figures> for wire::ShadowFigures {
    fn from(figures: Figures) -> Self {
        Self {
            compared: figures.compared,
            failed: figures.failed,
            empty: figures.empty,
            first_agrees: figures.first_agrees.map(Into::into),
            overlap: figures.overlap.map(Into::into),
            tau_b: figures.tau_b.map(Into::into),
            rbo: figures.rbo.map(Into::into),
            score_change: figures.score_change.map(Into::into),
            score_shift: figures.score_shift.map(Into::into),
            value_by_champion: figures.value_by_champion.map(Into::into),
            value_by_shadow: figures.value_by_shadow.map(Into::into),
            unvalued: figures.unvalued,
            withheld_differs: figures.withheld_differs.map(Into::into),
            champion_us: figures.champion_us.map(Into::into),
            shadow_us: figures.shadow_us.map(Into::into),
        }
    }
}

impl From<Share> for wire::ShadowShare {
    fn from(found: Share) -> Self {
        let Share { n, count, share, interval: limits } = found;
        Self { n, count, share, interval: Some(interval(limits)) }
    }
}

impl From<Mean> for wire::ShadowMean {
    fn from(found: Mean) -> Self {
        let Mean { n, mean, deviation, interval: limits } = found;
        Self { n, mean, deviation, interval: limits.map(interval) }
    }
}

impl From<ScoreChange> for wire::ShadowScoreChange {
    fn from(found: ScoreChange) -> Self {
        let ScoreChange { pairs, decisions, mean, interval: limits, deviation, p1, p50, p99 } = found;
        let [p1, p50, p99] = [p1, p50, p99].map(|quantile| Some(quantile.into()));
        Self { pairs, decisions, mean, interval: limits.map(interval), deviation, p1, p50, p99 }
    }
}

impl From<Quantile> for wire::ShadowQuantile {
    fn from(found: Quantile) -> Self {
        Self { value: found.value, interval: found.interval.map(interval) }
    }
}

impl From<ScoreShift> for wire::ShadowScoreShift {
    fn from(found: ScoreShift) -> Self {
        Self {
            champion_scores: found.champion_scores,
            shadow_scores: found.shadow_scores,
            psi: found.psi,
            psi_by_chance: found.psi_by_chance,
            edges: found.edges,
            ks: found.ks,
            ks_at_most: found.ks_at_most,
            ks_p_value: found.ks_p_value,
        }
    }
}

impl From<ValueChange> for wire::ShadowValueChange {
    fn from(found: ValueChange) -> Self {
        let ValueChange { n, champion, shadow, change, deviation, interval: limits } = found;
        Self { n, champion, shadow, change, deviation, interval: limits.map(interval) }
    }
}

impl From<Span> for wire::ShadowSpan {
    fn from(Span { n, p50, p99 }: Span) -> Self {
        Self { n, p50: Some(p50.into()), p99: Some(p99.into()) }
    }
}

impl From<Bars> for wire::ShadowBars {
    fn from(Bars { end, champion, shadow }: Bars) -> Self {
        Self { end, champion, shadow }
    }
}

impl From<PlacementReport> for wire::ShadowPlacement {
    fn from(PlacementReport { placement, figures }: PlacementReport) -> Self {
        Self { placement, figures: Some(figures.into()) }
    }
}

impl From<SegmentReport> for wire::ShadowSegment {
    fn from(SegmentReport { segment, name, figures }: SegmentReport) -> Self {
        Self { segment, name, figures: Some(figures.into()) }
    }
}

impl From<CellReport> for wire::ShadowCell {
    fn from(CellReport { placement, segment, name, figures }: CellReport) -> Self {
        Self { placement, segment, name, figures: Some(figures.into()) }
    }
}

impl From<Counted> for wire::ShadowFailures {
    fn from(Counted { reason, decisions }: Counted) -> Self {
        Self { reason, decisions }
    }
}

impl From<Example> for wire::ShadowExample {
    fn from(example: Example) -> Self {
        Self {
            decision_id: example.decision_id,
            decided_at: example.decided_at,
            release: example.release,
            placement: example.placement,
            segment: example.segment,
            segment_name: example.segment_name,
            rbo: example.rbo,
            tau_b: example.tau_b,
            offers: each(example.offers),
            more_offers: example.more_offers,
        }
    }
}

impl From<ExampleOffer> for wire::ShadowExampleOffer {
    fn from(found: ExampleOffer) -> Self {
        Self {
            offer_id: found.offer,
            name: found.name,
            value: found.value,
            champion: found.champion.map(Into::into),
            shadow: found.shadow.map(Into::into),
            champion_shows: found.champion_shows,
            shadow_shows: found.shadow_shows,
        }
    }
}

impl From<Score> for wire::ShadowScore {
    fn from(Score { rank, score, priority }: Score) -> Self {
        Self { rank, score, priority }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placement(placement: &str) -> PlacementReport {
        PlacementReport { placement: placement.to_owned(), figures: Figures::default() }
    }

    fn segment() -> SegmentReport {
        SegmentReport { segment: None, name: String::new(), figures: Figures::default() }
    }

    fn found(placements: &[&str]) -> FoundShadow {
        let shadow = ShadowReport {
            shadow: "s".to_owned(),
            placements: placements.iter().map(|id| placement(id)).collect(),
            segments: vec![segment()],
            ..ShadowReport::default()
        };
        let report = Report { shadows: vec![shadow], ..Report::default() };
        let standing = ShadowStanding::Unavailable("no version 9".to_owned());
        FoundShadow { release: 3, standing, since: DateTime::UNIX_EPOCH, report }
    }

    #[test]
    fn what_is_of_other_placements_is_left_out() {
        for (placements, segments) in [(&["home", "letter"][..], 0), (&["home"][..], 1)] {
            let mut found = found(placements);
            found.only_at("home");
            let [shadow] = &found.report.shadows[..] else { panic!("{found:?}") };
            assert_eq!((shadow.placements.len(), shadow.segments.len()), (1, segments));
        }
        let mut elsewhere = found(&["letter"]);
        elsewhere.only_at("home");
        assert!(elsewhere.report.shadows[0].placements.is_empty());
    }

    #[test]
    fn a_report_says_why_its_shadow_is_not_scored_and_what_is_not_known() {
        let answer = wire::GetShadowReportResponse::from(found(&["home"]));
        assert_eq!((answer.release, answer.state()), (3, wire::ShadowState::Unavailable));
        assert_eq!(
            (answer.unavailable.as_str(), answer.since.as_str()),
            ("no version 9", "1970-01-01T00:00:00.000Z")
        );
        let report = answer.report.unwrap();
        assert_eq!((report.shed, report.first_decided_at.as_str(), report.bars), (None, "", None));
        assert_eq!(report.placements[0].figures.as_ref().unwrap().first_agrees, None);
    }
}
