//! What a server has found out about its shadows, for the command line: the message read back.

use chrono::{DateTime, Utc};

use super::{Client, ClientError, Unreadable, wire};
use crate::grpc::{FoundShadow, ShadowStanding};
use shadow::{
    Bars, CellReport, Counted, Example, ExampleOffer, Figures, ListedModel, ListedModels, Mean,
    PlacementReport, Quantile, Report, Score, ScoreChange, ScoreShift, SegmentReport, ShadowReport, Share,
    Span, ValueChange,
};

impl Client {
    /// What the server has found out about a shadow; at one placement, unless that is empty.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn shadow_report(&self, shadow: &str, placement: &str) -> Result<FoundShadow, ClientError> {
        let [shadow, placement] = [shadow, placement].map(str::to_owned);
        let request = wire::GetShadowReportRequest { shadow, placement };
        Ok(self.experiments().get_shadow_report(request).await?.into_inner().try_into()?)
    }
}

/// A value that every answer must have.
fn present<T>(what: &str, value: Option<T>) -> Result<T, Unreadable> {
    value.ok_or_else(|| Unreadable(format!("`{what}` is missing")))
}

fn each<A, B: From<A>>(list: Vec<A>) -> Vec<B> {
    list.into_iter().map(Into::into).collect()
}

fn all<A, B: TryFrom<A>>(list: Vec<A>) -> Result<Vec<B>, B::Error> {
    list.into_iter().map(TryInto::try_into).collect()
}

fn maybe<A, B: TryFrom<A>>(value: Option<A>) -> Result<Option<B>, B::Error> {
    value.map(TryInto::try_into).transpose()
}

fn interval(interval: Option<wire::Interval>) -> Option<[f64; 2]> {
    interval.map(|wire::Interval { low, high }| [low, high])
}

impl TryFrom<wire::GetShadowReportResponse> for FoundShadow {
    type Error = Unreadable;

    fn try_from(answer: wire::GetShadowReportResponse) -> Result<Self, Unreadable> {
        let standing = match answer.state() {
            wire::ShadowState::Ready => ShadowStanding::Ready,
            wire::ShadowState::Unavailable => ShadowStanding::Unavailable(answer.unavailable.clone()),
            wire::ShadowState::Absent => ShadowStanding::Absent,
            wire::ShadowState::Unspecified => {
                return Err(Unreadable(format!("`state` is {}", answer.state)));
            }
        };
        let wire::GetShadowReportResponse { release, since, report, method, .. } = answer;
        let moment = since.parse::<DateTime<Utc>>();
        let since = moment.map_err(|error| Unreadable(format!("`since` is `{since}`: {error}")))?;
        let shadows = maybe(report)?.into_iter().collect();
        Ok(Self { release, standing, since, report: Report { shadows, left_out: 0, method } })
    }
}

impl TryFrom<wire::ShadowReport> for ShadowReport {
    type Error = Unreadable;

    fn try_from(report: wire::ShadowReport) -> Result<Self, Unreadable> {
        let time = |text: String| Some(text).filter(|text| !text.is_empty());
        Ok(Self {
            shadow: report.shadow,
            first_decided_at: time(report.first_decided_at),
            last_decided_at: time(report.last_decided_at),
            counted_since: None,
            releases: report.releases.into_iter().collect(),
            models: each(report.models),
            shed: report.shed,
            all: present("all", report.all)?.try_into()?,
            bars: report.bars.map(Into::into),
            placements: all(report.placements)?,
            segments: all(report.segments)?,
            cells: all(report.cells)?,
            beyond: report.beyond,
            errors: each(report.errors),
            other_errors: report.other_errors,
            examples: each(report.examples),
        })
    }
}

impl From<wire::ShadowModels> for ListedModels {
    fn from(wire::ShadowModels { champion, shadow, decisions }: wire::ShadowModels) -> Self {
        Self { champion: each(champion), shadow: each(shadow), decisions }
    }
}

impl From<wire::ShadowModel> for ListedModel {
    fn from(wire::ShadowModel { name, version }: wire::ShadowModel) -> Self {
        Self { name, version }
    }
}

impl TryFrom<wire::ShadowFigures> for Figures {
    type Error = Unreadable;

    fn try_from(figures: wire::ShadowFigures) -> Result<Self, Unreadable> {
        Ok(Self {
            compared: figures.compared,
            failed: figures.failed,
            empty: figures.empty,
            first_agrees: maybe(figures.first_agrees)?,
            overlap: figures.overlap.map(Into::into),
            tau_b: figures.tau_b.map(Into::into),
            rbo: figures.rbo.map(Into::into),
            score_change: maybe(figures.score_change)?,
            score_shift: figures.score_shift.map(Into::into),
            value_by_champion: figures.value_by_champion.map(Into::into),
            value_by_shadow: figures.value_by_shadow.map(Into::into),
            unvalued: figures.unvalued,
            withheld_differs: maybe(figures.withheld_differs)?,
            champion_us: maybe(figures.champion_us)?,
            shadow_us: maybe(figures.shadow_us)?,
        })
    }
}

impl TryFrom<wire::ShadowShare> for Share {
    type Error = Unreadable;

    fn try_from(found: wire::ShadowShare) -> Result<Self, Unreadable> {
        let wire::ShadowShare { n, count, share, interval: limits } = found;
        Ok(Self { n, count, share, interval: present("interval", interval(limits))? })
    }
}

impl From<wire::ShadowMean> for Mean {
    fn from(found: wire::ShadowMean) -> Self {
        let wire::ShadowMean { n, mean, deviation, interval: limits } = found;
        Self { n, mean, deviation, interval: interval(limits) }
    }
}

impl TryFrom<wire::ShadowScoreChange> for ScoreChange {
    type Error = Unreadable;

    fn try_from(found: wire::ShadowScoreChange) -> Result<Self, Unreadable> {
        let wire::ShadowScoreChange { pairs, decisions, mean, interval: limits, deviation, p1, p50, p99 } =
            found;
        Ok(Self {
            pairs,
            decisions,
            mean,
            interval: interval(limits),
            deviation,
            p1: present("p1", p1)?.into(),
            p50: present("p50", p50)?.into(),
            p99: present("p99", p99)?.into(),
        })
    }
}

impl From<wire::ShadowQuantile> for Quantile {
    fn from(found: wire::ShadowQuantile) -> Self {
        Self { value: found.value, interval: interval(found.interval) }
    }
}

impl From<wire::ShadowScoreShift> for ScoreShift {
    fn from(found: wire::ShadowScoreShift) -> Self {
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

impl From<wire::ShadowValueChange> for ValueChange {
    fn from(found: wire::ShadowValueChange) -> Self {
        let wire::ShadowValueChange { n, champion, shadow, change, deviation, interval: limits } = found;
        Self { n, champion, shadow, change, deviation, interval: interval(limits) }
    }
}

impl TryFrom<wire::ShadowSpan> for Span {
    type Error = Unreadable;

    fn try_from(wire::ShadowSpan { n, p50, p99 }: wire::ShadowSpan) -> Result<Self, Unreadable> {
        Ok(Self { n, p50: present("p50", p50)?.into(), p99: present("p99", p99)?.into() })
    }
}

impl From<wire::ShadowBars> for Bars {
    fn from(wire::ShadowBars { end, champion, shadow }: wire::ShadowBars) -> Self {
        Self { end, champion, shadow }
    }
}

impl TryFrom<wire::ShadowPlacement> for PlacementReport {
    type Error = Unreadable;

    fn try_from(
        wire::ShadowPlacement { placement, figures }: wire::ShadowPlacement,
    ) -> Result<Self, Unreadable> {
        Ok(Self { placement, figures: present("figures", figures)?.try_into()? })
    }
}

impl TryFrom<wire::ShadowSegment> for SegmentReport {
    type Error = Unreadable;

    fn try_from(found: wire::ShadowSegment) -> Result<Self, Unreadable> {
        let wire::ShadowSegment { segment, name, figures } = found;
        Ok(Self { segment, name, figures: present("figures", figures)?.try_into()? })
    }
}

impl TryFrom<wire::ShadowCell> for CellReport {
    type Error = Unreadable;

    fn try_from(found: wire::ShadowCell) -> Result<Self, Unreadable> {
        let wire::ShadowCell { placement, segment, name, figures } = found;
        Ok(Self { placement, segment, name, figures: present("figures", figures)?.try_into()? })
    }
}

impl From<wire::ShadowFailures> for Counted {
    fn from(wire::ShadowFailures { reason, decisions }: wire::ShadowFailures) -> Self {
        Self { reason, decisions }
    }
}

impl From<wire::ShadowExample> for Example {
    fn from(example: wire::ShadowExample) -> Self {
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

impl From<wire::ShadowExampleOffer> for ExampleOffer {
    fn from(found: wire::ShadowExampleOffer) -> Self {
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

impl From<wire::ShadowScore> for Score {
    fn from(wire::ShadowScore { rank, score, priority }: wire::ShadowScore) -> Self {
        Self { rank, score, priority }
    }
}

#[cfg(test)]
mod tests {
    use shadow::{Compared, ComparedOffer, Comparison, ModelVersion, Names, Ranked, Tally};

    use super::*;

    /// A decision in which the shadow prefers the other offer, or fails.
    fn comparison(at: u32) -> Comparison {
        let ranked = |rank, score| Some(Ranked { rank, score, priority: 80.0 * score });
        let offer = |id: &str, champion, shadow| ComparedOffer {
            offer_id: id.to_owned(),
            value: 80.0,
            champion,
            shadow,
        };
        let share = f64::from(at % 10) / 100.0;
        let offers = vec![
            offer("gold", ranked(1, 0.2 + share), ranked(2, 0.1)),
            offer("green", ranked(2, 0.1), ranked(1, 0.2)),
        ];
        let compared = Compared {
            offers,
            champion_shown: vec![0],
            shadow_shown: vec![1],
            champion_us: 20 + at,
            shadow_us: 30 + at,
            ..Compared::default()
        };
        Comparison {
            shadow: "s".to_owned(),
            placement: ["home", "letter"][at as usize % 2].to_owned(),
            segment: (!at.is_multiple_of(3)).then_some(i64::from(at % 3)),
            decision_id: format!("{at:032x}"),
            decided_at: 1_796_000_000_000_000 + i64::from(at),
            release: 7,
            champion_models: vec![ModelVersion { name: "base".to_owned(), version: 1 }],
            shadow_models: vec![ModelVersion { name: "base".to_owned(), version: 2 }],
            result: if at.is_multiple_of(9) { Err("NaN".to_owned()) } else { Ok(compared) },
        }
    }

    #[test]
    fn a_report_is_read_back_as_it_was() {
        let mut tally = Tally::default();
        (0..60).for_each(|at| tally.add(&comparison(at)));
        tally.shed("s", 5);
        let since = DateTime::from_timestamp_millis(1_796_000_000_123).unwrap();
        for standing in
            [ShadowStanding::Ready, ShadowStanding::Absent, ShadowStanding::Unavailable("gone".to_owned())]
        {
            let report = tally.report(&Names::default());
            assert!(report.shadows[0].all.score_change.is_some() && !report.shadows[0].cells.is_empty());
            let found = FoundShadow { release: 7, standing, since, report };
            let read = FoundShadow::try_from(wire::GetShadowReportResponse::from(found.clone())).unwrap();
            assert_eq!(read.report, found.report);
            assert_eq!((read.release, &read.standing, read.since), (7, &found.standing, since));
        }
        // Of a shadow that was not compared yet.
        let report = Report { shadows: vec![ShadowReport::default()], ..Report::default() };
        let found = FoundShadow { release: 7, standing: ShadowStanding::Ready, since, report };
        let read = FoundShadow::try_from(wire::GetShadowReportResponse::from(found.clone())).unwrap();
        assert_eq!(read.report, found.report);
    }

    #[test]
    fn an_answer_of_another_version_is_refused() {
        let answer = wire::GetShadowReportResponse {
            state: 99,
            since: "1970-01-01T00:00:00Z".to_owned(),
            ..wire::GetShadowReportResponse::default()
        };
        let refused = |answer: wire::GetShadowReportResponse| FoundShadow::try_from(answer).unwrap_err().0;
        assert_eq!(refused(answer.clone()), "`state` is 99");
        let ready = wire::GetShadowReportResponse { state: wire::ShadowState::Ready.into(), ..answer };
        let report = Some(wire::ShadowReport::default());
        assert_eq!(refused(wire::GetShadowReportResponse { report, ..ready }), "`all` is missing");
    }
}
