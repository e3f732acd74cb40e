//! The figures of the report as CSV files, with numbers at full precision.

use crate::train::study::{Migration, Study};
use table::Writer;

fn file(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.write(header.iter().map(|name| name.as_bytes()));
    rows.for_each(|row| writer.write(&row));
    writer.into_bytes()
}

fn or_empty<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// `profiles.csv`: a row per segment and feature.
pub(super) fn profiles(study: &Study) -> Vec<u8> {
    let header = [
        "segment",
        "name",
        "size",
        "share",
        "feature",
        "mean",
        "median",
        "z",
        "lift",
        "difference",
        "population_mean",
        "population_median",
        "explained",
    ];
    let rows = study.segments.iter().flat_map(|segment| {
        segment.features.iter().zip(&study.features).map(|(profile, population)| {
            vec![
                segment.id.to_string(),
                segment.name.clone(),
                segment.size.to_string(),
                segment.share.to_string(),
                population.name.clone(),
                profile.mean.to_string(),
                profile.median.to_string(),
                profile.z.to_string(),
                or_empty(profile.lift),
                profile.difference.to_string(),
                population.mean.to_string(),
                population.median.to_string(),
                population.explained.to_string(),
            ]
        })
    });
    file(&header, rows)
}

/// `choice.csv`: a row per number of segments.
pub(super) fn choice(study: &Study) -> Vec<u8> {
    let header = [
        "k",
        "inertia",
        "silhouette",
        "silhouette_error",
        "calinski_harabasz",
        "davies_bouldin",
        "gap",
        "gap_error",
        "smallest_share",
        "resamples",
        "ari",
        "least_jaccard",
        "jaccard",
        "stable",
        "knee",
        "recommended",
        "chosen",
    ];
    let choice = &study.choice;
    let rows = choice.candidates.iter().map(|candidate| {
        let jaccard: Vec<String> = candidate.stability.jaccard.iter().map(ToString::to_string).collect();
        vec![
            candidate.k.to_string(),
            candidate.inertia.to_string(),
            candidate.silhouette.to_string(),
            or_empty(candidate.silhouette_error),
            candidate.calinski_harabasz.to_string(),
            candidate.davies_bouldin.to_string(),
            or_empty(candidate.gap.map(|gap| gap.value)),
            or_empty(candidate.gap.map(|gap| gap.error)),
            candidate.smallest_share.to_string(),
            candidate.stability.resamples.to_string(),
            candidate.stability.ari.to_string(),
            candidate.stability.least().to_string(),
            jaccard.join(" "),
            candidate.stable.to_string(),
            (choice.knee == Some(candidate.k)).to_string(),
            (choice.recommended == Some(candidate.k)).to_string(),
            (choice.chosen == candidate.k).to_string(),
        ]
    });
    file(&header, rows)
}

/// `columns.csv`: a row per column of the table.
pub(super) fn columns(study: &Study) -> Vec<u8> {
    let header = [
        "column",
        "type",
        "missing",
        "distinct",
        "distinct_bounded",
        "least",
        "greatest",
        "mean",
        "skewness",
        "impute",
        "winsor_low",
        "winsor_high",
        "log1p",
        "left_out",
        "out_of_range",
        "warning",
    ];
    let rows = study.columns.iter().map(|column| {
        vec![
            column.name.clone(),
            column.kind.to_owned(),
            column.missing.to_string(),
            column.distinct.to_string(),
            column.distinct_bounded.to_string(),
            or_empty(column.range.map(|range| range[0])),
            or_empty(column.range.map(|range| range[1])),
            or_empty(column.mean),
            or_empty(column.skewness),
            or_empty(column.impute),
            or_empty(column.winsor.map(|bounds| bounds[0])),
            or_empty(column.winsor.map(|bounds| bounds[1])),
            column.log1p.to_string(),
            column.left_out.clone().unwrap_or_default(),
            or_empty(column.out_of_range),
            column.warning.clone().unwrap_or_default(),
        ]
    });
    file(&header, rows)
}

/// `correlation.csv`: features × features.
pub(super) fn correlation(study: &Study) -> Vec<u8> {
    let names = study.features.iter().map(|feature| feature.name.as_str());
    let header: Vec<&str> = std::iter::once("feature").chain(names).collect();
    let rows = study.features.iter().zip(&study.correlation).map(|(feature, row)| {
        std::iter::once(feature.name.clone()).chain(row.iter().map(ToString::to_string)).collect()
    });
    file(&header, rows)
}

/// `migration.csv`: a row per pair of a previous and a new segment.
pub(super) fn migration(study: &Study, migration: &Migration) -> Vec<u8> {
    let header = ["before", "before_name", "now", "now_name", "continues", "customers"];
    let rows = migration.matrix.iter().enumerate().flat_map(|(old, counts)| {
        counts.iter().enumerate().map(move |(new, count)| {
            let continues = migration.continues.get(new).copied().flatten() == Some(old as u32);
            vec![
                old.to_string(),
                migration.names.get(old).cloned().unwrap_or_default(),
                new.to_string(),
                study.segments.get(new).map(|segment| segment.name.clone()).unwrap_or_default(),
                continues.to_string(),
                count.to_string(),
            ]
        })
    });
    file(&header, rows)
}
