//! The segments: cards, profiles and maps.

use report::{Column, Table, append, escape, figure, numbers};

use super::{badge, by_explained, labels, left_out};
use crate::report::figures;
use crate::report::figures::{FigureError, Plane};
use crate::report::palette;
use crate::train::study::{SegmentProfile, Study, shares};

/// A card per segment.
pub(super) fn cards(study: &Study) -> String {
    let mut html = String::from(
        "<p>Each card shows the features that distinguish a segment most. “Mean” is in the unit of the feature. \
         “Difference” is the distance from all other customers in standard deviations (Cohen’s d): 0.2 is small, 0.8 \
         is large.</p>\n<div class=\"cards\">\n",
    );
    let labels = labels(study);
    for (segment, share) in study.segments.iter().zip(shares(&study.segments)) {
        html.push_str(&card(study, segment, &share, &labels));
    }
    html.push_str("</div>\n");
    html
}

fn card(study: &Study, segment: &SegmentProfile, share: &str, labels: &[String]) -> String {
    let mut html = format!(
        "<article class=\"card\" style=\"border-top-color:{}\">\n<h3>{}<span>{}</span></h3>\n",
        palette::segment(segment.id as usize).css(),
        badge(segment.id),
        escape(&segment.name)
    );
    append(
        &mut html,
        format_args!(
            "<p class=\"size\"><b>{}</b> of the customers ({}) · stability {}</p>\n<p>{}</p>\n",
            share,
            numbers::count(segment.size),
            numbers::fixed(segment.jaccard, 2),
            escape(&segment.description)
        ),
    );
    let columns = [
        ("feature", Column::Words),
        ("mean", Column::Number),
        ("all", Column::Number),
        ("difference", Column::Number),
    ];
    let mut table = Table::new(&columns);
    for feature in &segment.distinguishing {
        let (Some(profile), Some(population)) =
            (segment.features.get(*feature), study.features.get(*feature))
        else {
            continue;
        };
        table.row(
            "",
            &[
                escape(&labels[*feature]),
                numbers::quantity(profile.mean),
                numbers::quantity(population.mean),
                numbers::signed(profile.difference, 2),
            ],
        );
    }
    html.push_str(&table.plain());
    html.push_str("<div class=\"foot\">\n");
    if !segment.offers.is_empty() {
        let offers = segment.offers.iter().map(|offer| {
            let propensity = offer.propensity.map(|value| format!(", propensity {}", numbers::share(value)));
            format!(
                "<b>{}</b> (best offer for {}{})",
                escape(&offer.name),
                numbers::share(offer.share),
                propensity.unwrap_or_default()
            )
        });
        let offers: Vec<String> = offers.collect();
        append(&mut html, format_args!("<p class=\"more\">Suitable offers: {}</p>\n", offers.join("; ")));
    }
    if segment.proposed != segment.name && !segment.proposed.is_empty() {
        append(
            &mut html,
            format_args!("<p class=\"more\">Generated name: {}</p>\n", escape(&segment.proposed)),
        );
    }
    if !segment.nearest.is_empty() {
        let nearest: Vec<String> = segment.nearest.iter().map(|customer| escape(customer)).collect();
        append(&mut html, format_args!("<p class=\"more\">Typical customers: {}</p>\n", nearest.join(", ")));
    }
    html.push_str("</div>\n</article>\n");
    html
}

/// The sizes of the segments, and how they differ in each feature.
pub(super) fn profiles(study: &Study) -> Result<String, FigureError> {
    let (order, labels) = (by_explained(study), labels(study));
    let mut html =
        figure(&figures::shares(&study.segments)?, "Share and number of customers in each segment.");
    let caption = format!(
        "Each row shows in which segments a feature is high (red) or low (blue). The bars show how much of the \
         feature’s variance the segments explain (η²). A feature with a short bar hardly matters.{}",
        left_out(study)
    );
    html.push_str("<h3>Every feature in every segment</h3>\n");
    html.push_str(&figure(&figures::heat_map(&study.segments, &study.features, &labels, &order)?, &caption));
    html.push_str(
        "<h3>Segment by segment</h3>\n<p class=\"note\">All charts share one scale. Full colour marks the five \
         features that distinguish the segment most.</p>\n<div class=\"pair\">\n",
    );
    let z = study
        .segments
        .iter()
        .flat_map(|segment| order.iter().map(|feature| segment.features[*feature].z.abs()));
    // Leaves space for the numbers at the ends of the bars.
    let end = z.fold(1.0, f64::max) * 1.18;
    for segment in &study.segments {
        let svg = figures::bar_profile(segment, &labels, &order, end)?;
        append(
            &mut html,
            format_args!(
                "<figure>\n<h3>{} {}</h3>\n{svg}</figure>\n",
                badge(segment.id),
                escape(&segment.name)
            ),
        );
    }
    html.push_str("</div>\n");
    Ok(html)
}

/// Scatter plots of single customers.
pub(super) fn map(study: &Study) -> Result<String, FigureError> {
    let pictures = &study.pictures;
    if pictures.pca.points.is_empty() {
        return Ok(String::new());
    }
    let shown = pictures.pca.points.len() as u64;
    let whose = if shown < study.source.rows {
        format!("a random sample of {}", numbers::count(shown))
    } else {
        "all customers are shown".to_owned()
    };
    let mut html =
        format!("<p>Each mark is one customer ({whose}). Each number is at the centre of its segment.</p>\n");
    html.push_str("<ul class=\"legend\">\n");
    for segment in &study.segments {
        append(&mut html, format_args!("<li>{}{}</li>\n", badge(segment.id), escape(&segment.name)));
    }
    html.push_str("</ul>\n<div class=\"pair\">\n");
    html.push_str(&figure(
        &figures::scatter(&pictures.pca, Plane::Components(pictures.pca_shares))?,
        &format!(
            "The first two principal components, which explain {} of the variance. Segments that overlap here may be \
             separated in other dimensions.",
            numbers::share(pictures.pca_shares.iter().sum())
        ),
    ));
    if !pictures.tsne.points.is_empty() {
        html.push_str(&figure(
            &figures::scatter(&pictures.tsne, Plane::Tsne)?,
            "t-SNE: similar customers are close together. The sizes of groups and the distances between them mean \
             little.",
        ));
    }
    html.push_str("</div>\n");
    Ok(html)
}
