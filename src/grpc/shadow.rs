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
    /// Leaves out what is of other placements than this one, where it is known by placement.
    pub(super) fn only_at(&mut self, placement: &str) {
        self.report.shadows.iter_mut().for_each(|shadow| only_at(shadow, placement));
    }
}

fn only_at(shadow: &mut ShadowReport, placement: &str) {
    if shadow.beyond == 0 && shadow.placements.iter().all(|one| one.placement == placement) {
        return;
    }
    shadow.placements.retain(|one| one.placement == placement);
    shadow.examples.retain(|one| one.placement == placement);
    let figures = shadow.placements.first().map(|one| one.figures.clone());
    if !shadow.cells.is_empty() {
        // The segments are sums of them over placements.
        shadow.segments = segments_at(std::mem::take(&mut shadow.cells), placement);
    } else if let Some(figures) = &figures {
        // Without cells there is one segment, or this is the only placement.
        if let [only] = &mut shadow.segments[..] {
            only.figures.clone_from(figures);
        }
    } else {
        shadow.segments.clear();
    }
    shadow.all = figures.unwrap_or_default();
    shadow.bars = None;
}

fn segments_at(cells: Vec<CellReport>, placement: &str) -> Vec<SegmentReport> {
    let here = cells.into_iter().filter(|cell| cell.placement == placement);
    here.map(|CellReport { segment, name, figures, .. }| SegmentReport { segment, name, figures }).collect()
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
            offer_id: found.offer_id,
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
    use std::collections::BTreeMap;

    use super::*;

    fn figures(compared: u64) -> Figures {
        Figures { compared, ..Figures::default() }
    }

    /// What was compared at placements and in segments, by the number of decisions.
    fn found(decisions: &[(&str, Option<i64>, u64)], beyond: u64) -> FoundShadow {
        let (mut placements, mut segments) = (BTreeMap::new(), BTreeMap::new());
        for (placement, segment, count) in decisions {
            *placements.entry(*placement).or_insert(0) += count;
            *segments.entry(*segment).or_insert(0) += count;
        }
        let are_crossed = placements.len() > 1 && segments.len() > 1;
        let cells = decisions.iter().filter(|_| are_crossed).map(|(placement, segment, count)| CellReport {
            placement: (*placement).to_owned(),
            segment: *segment,
            name: "Savers".to_owned(),
            figures: figures(*count),
        });
        let shadow = ShadowReport {
            shadow: "s".to_owned(),
            all: figures(placements.values().sum::<u64>() + beyond),
            bars: Some(Bars { end: 0.5, champion: vec![1], shadow: vec![1] }),
            cells: cells.collect(),
            placements: placements
                .into_iter()
                .map(|(id, count)| PlacementReport { placement: id.to_owned(), figures: figures(count) })
                .collect(),
            segments: segments
                .into_iter()
                .map(|(segment, count)| SegmentReport {
                    segment,
                    name: "Savers".to_owned(),
                    figures: figures(count),
                })
                .collect(),
            beyond,
            ..ShadowReport::default()
        };
        let report = Report { shadows: vec![shadow], ..Report::default() };
        let standing = ShadowStanding::Unavailable("no version 9".to_owned());
        FoundShadow { release: 3, standing, since: DateTime::UNIX_EPOCH, report }
    }

    #[test]
    fn what_is_of_other_placements_is_left_out() {
        let crossed =
            [("home", None, 2), ("home", Some(1), 3), ("letter", Some(1), 5), ("letter", Some(2), 7)];
        let of_one_segment = [("home", Some(1), 3), ("letter", Some(1), 5)];
        let at_one_placement = [("home", Some(1), 3), ("home", Some(2), 4)];
        for (decisions, beyond, placement, all, segments) in [
            (&crossed[..], 0, "home", 5, vec![(None, 2), (Some(1), 3)]),
            (&crossed[..], 9, "letter", 12, vec![(Some(1), 5), (Some(2), 7)]),
            (&crossed[..], 0, "nowhere", 0, vec![]),
            (&of_one_segment[..], 0, "letter", 5, vec![(Some(1), 5)]),
            (&of_one_segment[..], 0, "nowhere", 0, vec![]),
            (&at_one_placement[..], 9, "home", 7, vec![(Some(1), 3), (Some(2), 4)]),
            (&at_one_placement[..], 0, "nowhere", 0, vec![]),
            (&[][..], 9, "home", 0, vec![]),
        ] {
            let mut found = found(decisions, beyond);
            found.only_at(placement);
            let [shadow] = &found.report.shadows[..] else { panic!("{found:?}") };
            let here: Vec<(Option<i64>, u64)> =
                shadow.segments.iter().map(|one| (one.segment, one.figures.compared)).collect();
            assert_eq!((shadow.all.compared, here), (all, segments), "{placement}: {decisions:?}");
            assert!(shadow.placements.iter().all(|one| one.placement == placement && all > 0));
            assert!(shadow.segments.iter().all(|one| one.name == "Savers"));
            assert_eq!((shadow.cells.len(), &shadow.bars, shadow.beyond), (0, &None, beyond));
        }
        // Where nothing else was compared, nothing is left out.
        let (mut narrowed, whole) = (found(&at_one_placement, 0), found(&at_one_placement, 0));
        narrowed.only_at("home");
        assert_eq!(narrowed.report, whole.report);
    }

    #[test]
    fn a_report_says_why_its_shadow_is_not_scored_and_what_is_not_known() {
        let answer = wire::GetShadowReportResponse::from(found(&[("home", None, 2)], 0));
        assert_eq!((answer.release, answer.state()), (3, wire::ShadowState::Unavailable));
        assert_eq!(
            (answer.unavailable.as_str(), answer.since.as_str()),
            ("no version 9", "1970-01-01T00:00:00.000Z")
        );
        let report = answer.report.unwrap();
        assert_eq!((report.shed, report.first_decided_at.as_str(), report.errors.len()), (None, "", 0));
        assert_eq!(report.placements[0].figures.as_ref().unwrap().first_agrees, None);
    }
}
