//! The report as one self-contained HTML page.
//!
//! The sections are in the order in which a marketing director reads: the segments, their choice, the data, the method.
//! Every text from a file goes through [`escape`]. The frame of the page and its style are those of crate `report`.

mod choice;
mod data;
mod method;
mod segments;

use document::noun;
use report::{Header, Page, Section, append, escape, numbers, sentence};

use super::figures::FigureError;
use super::palette;
use crate::train::study::{Candidate, SMALLEST_SHARE, STABLE_JACCARD, SegmentProfile, Study, shares};

/// Maximum number of features in a figure or table.
const FEATURES: usize = 30;

/// Renders the page.
pub(super) fn page(study: &Study) -> Result<String, FigureError> {
    let page = Page {
        title: format!("Customer segments: {}", study.source.file),
        style: "",
        header: header(study),
        sections: vec![
            Section::new("segments", "The segments", segments::cards(study)),
            Section::new("profiles", "How they differ", segments::profiles(study)?),
            Section::new("map", "Customer map", segments::map(study)?),
            Section::new("choice", "Why this number of segments", choice::choice(study)?),
            Section::new("clarity", "How clear and stable they are", choice::clarity(study)?),
            Section::new("migration", "Changes since the previous version", data::migration(study)),
            Section::new("data", "Data", data::data(study)?),
            Section::new("method", "Method and limits", method::method(study)),
        ],
        footer: footer(study),
    };
    Ok(page.html())
}

fn footer(study: &Study) -> String {
    let mut html = String::from(
        "The files beside this page have the same figures: <code>report.json</code>, <code>profiles.csv</code>, \
         <code>choice.csv</code>, <code>columns.csv</code>, <code>correlation.csv</code>",
    );
    if study.migration.is_some() {
        html.push_str(", <code>migration.csv</code>");
    }
    html.push('.');
    html
}

/// The number of a segment on a background of its colour.
fn badge(id: u32) -> String {
    let colour = palette::segment(id as usize);
    format!(
        "<span class=\"badge\" style=\"background:{};color:{}\">{id}</span>",
        colour.css(),
        colour.text_on().css()
    )
}

/// The features to show, in descending order of η².
fn by_explained(study: &Study) -> Vec<usize> {
    let mut order: Vec<usize> = (0..study.features.len()).collect();
    order.sort_by(|one, other| study.features[*other].explained.total_cmp(&study.features[*one].explained));
    order.truncate(FEATURES);
    order
}

/// The label of each feature.
fn labels(study: &Study) -> Vec<String> {
    super::words::labels(study.features.iter().map(|feature| feature.name.as_str()))
}

/// A note if not every feature is shown.
fn left_out(study: &Study) -> String {
    if study.features.len() <= FEATURES {
        return String::new();
    }
    format!(
        " Only the {FEATURES} features with the highest η² are shown; <code>profiles.csv</code> has all {}.",
        study.features.len()
    )
}

/// A limit in per cent.
fn percent(share: f64) -> String {
    format!("{} %", numbers::short(100.0 * share))
}

fn chosen(study: &Study) -> Option<&Candidate> {
    study.choice.candidates.iter().find(|candidate| candidate.k == study.choice.chosen)
}

fn header(study: &Study) -> Header {
    let source = &study.source;
    let tile = |value: String, what: &str| (value, what.to_owned());
    let mut tiles = vec![
        tile(numbers::count(source.rows), "customers"),
        tile(study.segments.len().to_string(), "segments"),
        tile(study.features.len().to_string(), "features"),
    ];
    if let Some(chosen) = chosen(study) {
        let between = numbers::share(between(chosen, source.rows));
        tiles.push(tile(between, "of the variance is explained by the segments"));
        tiles.push(tile(numbers::fixed(chosen.silhouette, 2), clarity(chosen.silhouette)));
        let what = format!("stability of the least stable segment ({STABLE_JACCARD} is enough)");
        tiles.push((numbers::fixed(chosen.stability.least(), 2), what));
    }
    Header {
        title: "Customer segments".to_owned(),
        source: format!("Trained on <code>{}</code>", escape(&source.file)),
        lead: summary(study),
        warnings: warnings(study),
        tiles,
    }
}

/// The share of the variance between the segments, derived from the Calinski–Harabasz index.
fn between(chosen: &Candidate, rows: u64) -> f64 {
    let ratio = chosen.calinski_harabasz * (chosen.k as f64 - 1.0) / (rows as f64 - chosen.k as f64).max(1.0);
    (ratio / (1.0 + ratio)).clamp(0.0, 1.0)
}

/// A silhouette in words. Source: Kaufman & Rousseeuw, "Finding groups in data" (1990), table 4.
fn clarity(silhouette: f64) -> &'static str {
    if silhouette > 0.7 {
        "mean silhouette: clearly separated"
    } else if silhouette > 0.5 {
        "mean silhouette: reasonably separated"
    } else if silhouette > 0.25 {
        "mean silhouette: weakly separated"
    } else {
        "mean silhouette: overlapping at the edges"
    }
}

fn summary(study: &Study) -> String {
    let k = study.segments.len();
    let named = |(segment, share): (&SegmentProfile, &String)| {
        format!("{} <b>{}</b> ({share})", badge(segment.id), escape(&segment.name))
    };
    let shares = shares(&study.segments);
    let segments = || study.segments.iter().zip(&shares);
    let by_size =
        |one: &(&SegmentProfile, &String), other: &(&SegmentProfile, &String)| one.0.size.cmp(&other.0.size);
    let mut text = format!(
        "{} customers fall into <b>{k} {}</b>, based on {} {}.",
        numbers::count(study.source.rows),
        noun(k, "segment"),
        study.features.len(),
        noun(study.features.len(), "feature")
    );
    if let (Some(largest), Some(smallest)) = (segments().rev().max_by(by_size), segments().min_by(by_size))
        && k > 1
    {
        append(
            &mut text,
            format_args!(" The largest is {}, the smallest {}.", named(largest), named(smallest)),
        );
    }
    append(&mut text, format_args!(" {}", escape(&study.choice.reason)));
    if let Some(migration) = &study.migration {
        append(
            &mut text,
            format_args!(
                " Compared with {}, {} of the customers change segment.",
                escape(&migration.previous),
                numbers::share(migration.moved)
            ),
        );
    }
    text
}

fn warnings(study: &Study) -> Vec<String> {
    let mut warnings = Vec::new();
    let choice = &study.choice;
    if choice.recommended.is_none() && !choice.candidates.is_empty() {
        warnings.push(format!(
            "<b>No stable number of segments.</b> With every number tried, a segment has less than {} of the customers \
             or is not found again in resamples (Jaccard similarity below {STABLE_JACCARD}).",
            percent(SMALLEST_SHARE)
        ));
    } else if chosen(study).is_some_and(|chosen| !chosen.stable) {
        warnings.push(format!(
            "<b>k = {} is not stable.</b> At least one of its segments is too small or is not found again in \
             resamples.",
            choice.chosen
        ));
    }
    warnings.extend(study.warnings.iter().map(|warning| sentence(warning)));
    for column in &study.columns {
        if let Some(warning) = &column.warning {
            warnings.push(format!(
                "<b>Column <code>{}</code></b> {}.",
                escape(&column.name),
                escape(warning)
            ));
        }
    }
    if let Some(migration) = &study.migration
        && migration.moved > migration.limit
    {
        warnings.push(format!(
            "<b>{} of the customers would change segment</b>, more than the limit of {}.",
            numbers::share(migration.moved),
            percent(migration.limit)
        ));
    }
    warnings
}
