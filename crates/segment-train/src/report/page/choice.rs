//! Why this number of segments, and how clear and stable the segments are.

use report::{Column, Table, append, escape, figure, numbers};

use super::{badge, chosen, percent};
use crate::report::figures;
use crate::report::figures::FigureError;
use crate::train::study::{Candidate, SMALLEST_SHARE, STABLE_JACCARD, Study};

/// The table of k and its curves.
pub(super) fn choice(study: &Study) -> Result<String, FigureError> {
    let choice = &study.choice;
    if choice.candidates.is_empty() {
        return Ok(String::new());
    }
    let mut html = format!("<p>{}</p>\n", escape(&choice.reason));
    if choice.by_hand {
        let recommended = choice.recommended.map_or_else(
            || "no number was recommended".to_owned(),
            |k| format!("the recommended number was {k}"),
        );
        append(&mut html, format_args!("<p>{} segments were requested; {recommended}.</p>\n", choice.chosen));
    }
    html.push_str(&candidates(study));
    html.push_str("<div class=\"pair\">\n");
    let knee = choice.knee.map_or_else(
        || "The curve has no clear knee.".to_owned(),
        |knee| format!("The knee of the curve is at k = {knee} (Kneedle)."),
    );
    html.push_str(&figure(&figures::elbow(choice)?, &format!("Inertia falls as k grows. {knee}")));
    let sampled = choice.candidates.iter().any(|candidate| candidate.silhouette_error.is_some());
    let bars = if sampled { " Computed on a sample; the bars show two standard errors." } else { "" };
    html.push_str(&figure(
        &figures::silhouette_by_k(choice)?,
        &format!("How much closer customers are to their own segment than to the next one.{bars}"),
    ));
    let resamples =
        choice.candidates.iter().map(|candidate| candidate.stability.resamples).max().unwrap_or(0);
    html.push_str(&figure(
        &figures::stability_by_k(choice)?,
        &format!("Agreement of the segments with {resamples} refits on bootstrap resamples."),
    ));
    append(
        &mut html,
        format_args!(
            "<div>\n<h3>How to read this</h3>\n<p>A number of segments is <b>stable</b> if each of its segments is \
         found again in resamples and has at least {} of the customers. “Found again” means a mean Jaccard similarity \
         of at least {STABLE_JACCARD}.</p>\n<p>The recommended number is the stable one with the best silhouette. \
         Every additional segment lowers the inertia, but past the knee only a little.</p>\n<p class=\"note\">↑ \
         higher is better, ↓ lower is better. The terms are explained at the end.</p>\n</div>\n</div>\n",
            percent(SMALLEST_SHARE)
        ),
    );
    Ok(html)
}

fn candidates(study: &Study) -> String {
    let choice = &study.choice;
    let gap = choice.candidates.iter().any(|candidate| candidate.gap.is_some());
    let mut columns = vec![
        ("k", Column::Number),
        ("inertia ↓", Column::Number),
        ("silhouette ↑", Column::Number),
        ("Calinski–<br>Harabasz ↑", Column::Number),
        ("Davies–<br>Bouldin ↓", Column::Number),
    ];
    if gap {
        columns.push(("gap ↑", Column::Number));
    }
    columns.extend([
        ("smallest<br>segment", Column::Number),
        ("Rand index<br>(adj.) ↑", Column::Number),
        ("lowest<br>Jaccard ↑", Column::Number),
        ("stable", Column::Words),
        ("", Column::Words),
    ]);
    let mut table = Table::new(&columns);
    for candidate in &choice.candidates {
        let mut cells = vec![
            candidate.k.to_string(),
            numbers::fixed(candidate.inertia, if candidate.inertia < 1_000.0 { 2 } else { 0 }),
            with_error(candidate.silhouette, candidate.silhouette_error),
            numbers::fixed(
                candidate.calinski_harabasz,
                if candidate.calinski_harabasz < 100.0 { 2 } else { 0 },
            ),
            numbers::fixed(candidate.davies_bouldin, 3),
        ];
        if gap {
            cells.push(candidate.gap.map_or_else(String::new, |gap| with_error(gap.value, Some(gap.error))));
        }
        cells.extend([
            candidate.smallest(),
            numbers::fixed(candidate.stability.ari, 3),
            numbers::fixed(candidate.stability.least(), 3),
            if candidate.stable { "yes" } else { "no" }.to_owned(),
            remark(study, candidate),
        ]);
        table.row(if candidate.k == choice.chosen { "chosen" } else { "" }, &cells);
    }
    table.wide()
}

fn with_error(value: f64, error: Option<f64>) -> String {
    let value = numbers::fixed(value, 3);
    error.map_or_else(|| value.clone(), |error| format!("{value} ± {}", numbers::fixed(error, 3)))
}

fn remark(study: &Study, candidate: &Candidate) -> String {
    let choice = &study.choice;
    let chosen = (candidate.k == choice.chosen).then_some("chosen");
    let recommended = (Some(candidate.k) == choice.recommended && choice.recommended != Some(choice.chosen))
        .then_some("recommended");
    let knee = (Some(candidate.k) == choice.knee).then_some("knee");
    let remarks: Vec<&str> = [chosen, recommended, knee].into_iter().flatten().collect();
    remarks.join(", ")
}

/// Silhouettes, Jaccard similarities and comparisons with other methods.
pub(super) fn clarity(study: &Study) -> Result<String, FigureError> {
    let mut html = String::from("<div class=\"pair\">\n");
    let silhouettes = &study.pictures.silhouettes;
    let known: u64 = silhouettes.iter().map(|values| values.len() as u64).sum();
    if known > 0 {
        let mean = chosen(study).map_or(0.0, |chosen| chosen.silhouette);
        let negative = silhouettes.iter().flatten().filter(|value| **value < 0.0).count();
        let caption = format!(
            "Silhouettes of {} customers by segment. The further a band reaches to the right, the more clearly its \
             customers belong there. {} of the customers are below 0: they are closer to another segment.",
            numbers::count(known),
            numbers::share(negative as f64 / known as f64)
        );
        html.push_str(&figure(&figures::silhouettes(silhouettes, mean)?, &caption));
    }
    html.push_str("<div>\n");
    html.push_str(&figure(
        &figures::jaccard(&study.segments)?,
        "How well each segment is found again when customers are resampled. 1 means the same customers every time.",
    ));
    html.push_str(&by_segment(study));
    html.push_str("</div>\n</div>\n");
    html.push_str(&comparisons(study));
    Ok(html)
}

fn by_segment(study: &Study) -> String {
    let mut table = Table::new(&[
        ("", Column::Words),
        ("segment", Column::Words),
        ("mean silhouette", Column::Number),
        ("Jaccard", Column::Number),
    ]);
    for segment in &study.segments {
        table.row(
            "",
            &[
                badge(segment.id),
                escape(&segment.name),
                numbers::fixed(segment.silhouette, 3),
                numbers::fixed(segment.jaccard, 3),
            ],
        );
    }
    table.wide()
}

fn comparisons(study: &Study) -> String {
    if study.comparisons.is_empty() {
        return String::new();
    }
    let mut html = String::from(
        "<h3>Other methods on a sample</h3>\n<p class=\"note\">The adjusted Rand index measures how well a method \
         agrees with the segments: 1 is identical, 0 is chance.</p>\n",
    );
    let mut table = Table::new(&[
        ("method", Column::Words),
        ("settings", Column::Words),
        ("customers", Column::Number),
        ("clusters", Column::Number),
        ("noise", Column::Number),
        ("agreement<br>(adj. Rand)", Column::Number),
        ("silhouette", Column::Number),
        ("", Column::Words),
    ]);
    for comparison in &study.comparisons {
        let or_dash =
            |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| numbers::fixed(value, 3));
        table.row(
            "",
            &[
                escape(&comparison.method),
                escape(&comparison.settings),
                numbers::count(comparison.rows),
                numbers::count(comparison.clusters),
                numbers::share(comparison.noise),
                or_dash(comparison.ari),
                or_dash(comparison.silhouette),
                comparison.note.as_deref().map(escape).unwrap_or_default(),
            ],
        );
    }
    html.push_str(&table.wide());
    html
}
