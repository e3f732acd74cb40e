//! The report of one shadow out of its tally.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat};

use super::figures::{bars, figures};
use super::{
    CellReport, Counted, Example, ExampleOffer, ListedModel, ListedModels, Names, PlacementReport, Score,
    SegmentReport, ShadowReport,
};
use crate::tally::{Cell, KeptExample, KeptOffer, Models, ShadowTally};
use crate::{ModelVersion, Ranked};

pub(super) fn report(shadow: &str, tally: &ShadowTally, names: &Names) -> ShadowReport {
    let (mut all, mut placements, mut segments) = (Cell::default(), BTreeMap::new(), BTreeMap::new());
    for (placement, segment, cell) in tally.cells.iter() {
        all.merge(cell);
        placements.entry(placement).or_insert_with(Cell::default).merge(cell);
        segments.entry(segment).or_insert_with(Cell::default).merge(cell);
    }
    let mut beyond = 0;
    if let Some(others) = tally.cells.others() {
        beyond = others.compared + others.failed;
        all.merge(others);
    }
    let cell = |(placement, segment, cell): (&str, Option<i64>, &Cell)| CellReport {
        placement: placement.to_owned(),
        segment,
        name: segment_name(segment, names),
        figures: figures(cell),
    };
    let are_crossed = placements.len() > 1 && segments.len() > 1;
    let (first_decided_at, last_decided_at) =
        tally.span.map(|(first, last)| (time(first), time(last))).unzip();
    ShadowReport {
        shadow: shadow.to_owned(),
        first_decided_at,
        last_decided_at,
        counted_since: None,
        releases: tally.releases.iter().copied().collect(),
        models: tally.models.iter().map(models).collect(),
        shed: tally.shed,
        bars: bars(&all),
        cells: if are_crossed { tally.cells.iter().map(cell).collect() } else { Vec::new() },
        placements: placements
            .into_iter()
            .map(|(placement, cell)| PlacementReport {
                placement: placement.to_owned(),
                figures: figures(&cell),
            })
            .collect(),
        segments: segments
            .into_iter()
            .map(|(segment, cell)| SegmentReport {
                segment,
                name: segment_name(segment, names),
                figures: figures(&cell),
            })
            .collect(),
        all: figures(&all),
        beyond,
        errors: errors(tally),
        other_errors: tally.reasons.others(),
        examples: tally.examples.iter().map(|kept| example(kept, names)).collect(),
    }
}

/// The most frequent first.
fn errors(tally: &ShadowTally) -> Vec<Counted> {
    let counted =
        |(reason, decisions): &(String, u64)| Counted { reason: reason.clone(), decisions: *decisions };
    let mut errors: Vec<Counted> = tally.reasons.iter().map(counted).collect();
    errors.sort_by_key(|error| std::cmp::Reverse(error.decisions));
    errors
}

fn models(((champion, shadow), decisions): &(Models, u64)) -> ListedModels {
    let listed = |models: &[ModelVersion]| {
        models.iter().map(|model| ListedModel { name: model.name.clone(), version: model.version }).collect()
    };
    ListedModels { champion: listed(champion), shadow: listed(shadow), decisions: *decisions }
}

fn example(kept: &KeptExample, names: &Names) -> Example {
    let score = |ranked: Option<Ranked>| {
        ranked.map(|Ranked { rank, score, priority }| Score { rank, score, priority })
    };
    let offer = |kept: &KeptOffer| ExampleOffer {
        offer_id: kept.offer.offer_id.clone(),
        name: names.offers.get(&kept.offer.offer_id).cloned().unwrap_or_default(),
        value: kept.offer.value,
        champion: score(kept.offer.champion),
        shadow: score(kept.offer.shadow),
        champion_shows: kept.champion_shows,
        shadow_shows: kept.shadow_shows,
    };
    Example {
        decision_id: kept.decision_id.clone(),
        decided_at: time(kept.decided_at),
        release: kept.release,
        placement: kept.placement.clone(),
        segment: kept.segment,
        segment_name: segment_name(kept.segment, names),
        rbo: kept.rbo,
        tau_b: kept.tau_b,
        offers: kept.offers.iter().map(offer).collect(),
        more_offers: kept.more_offers,
    }
}

fn segment_name(segment: Option<i64>, names: &Names) -> String {
    segment.and_then(|segment| names.segments.get(&segment)).cloned().unwrap_or_default()
}

/// A time in RFC 3339, or the microseconds if no calendar has it.
fn time(micros: i64) -> String {
    let time = DateTime::from_timestamp_micros(micros);
    time.map_or_else(|| micros.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
}
