//! How it was done, what the words mean and what the segments cannot tell.

use super::{append, escape};
use crate::segment::report::numbers;
use crate::segment::train::study::{STABLE_JACCARD, Study};

/// Steps, words and limits.
pub(super) fn method(study: &Study) -> String {
    let mut html = String::from("<h3>What was done</h3>\n<ul class=\"method\">\n");
    for step in steps(study) {
        append(&mut html, format_args!("<li>{step}</li>\n"));
    }
    html.push_str("</ul>\n<h3>What the words mean</h3>\n<dl>\n");
    for (word, meaning) in words(study) {
        append(&mut html, format_args!("<dt>{word}</dt><dd>{meaning}</dd>\n"));
    }
    html.push_str("</dl>\n<h3>What to keep in mind</h3>\n<ul class=\"method\">\n");
    for limit in LIMITS {
        append(&mut html, format_args!("<li>{limit}</li>\n"));
    }
    html.push_str("</ul>\n");
    html
}

fn steps(study: &Study) -> Vec<String> {
    let source = &study.source;
    let logged = study.columns.iter().filter(|column| column.log1p && column.left_out.is_none()).count();
    let imputed = study.columns.iter().filter(|column| column.missing > 0 && column.impute.is_some()).count();
    let mut steps = vec![format!(
        "Prepared: missing values replaced in {imputed} columns, {logged} columns with a long tail taken as ln(1 + x), all \
         features brought to one scale. The table of the columns says which."
    )];
    if let Some(kept) = source.variance_kept {
        steps.push(format!(
            "The features were reduced to {} principal components, which hold {} of their variance.",
            source.dimensions,
            numbers::share(kept)
        ));
    }
    steps.push(format!(
        "Clustered: k-means from k-means++ starts, the best of {} restarts for each k (Lloyd 1982; Arthur &amp; \
         Vassilvitskii 2007). Seed {}: the same table and seed give this very page again.",
        source.n_init, source.seed
    ));
    let rule = "Chosen: of the stable numbers of segments the one with the best silhouette";
    steps.push(if study.choice.by_hand {
        format!("{rule} is recommended; a person took k = {}.", study.choice.chosen)
    } else {
        format!("{rule}.")
    });
    steps.extend(study.notes.iter().map(|note| escape(note)));
    steps
}

fn words(study: &Study) -> Vec<(&'static str, String)> {
    let mut words = vec![
        (
            "Inertia",
            format!(
                "The sum, over all customers, of the squared distance to the middle (centroid) of their segment; here {}. \
                 Lower is tighter, and it falls with every further segment.",
                numbers::quantity(study.source.inertia)
            ),
        ),
        (
            "Silhouette",
            "How much nearer a customer is to the own segment than to the next one: from −1 over 0 (in between) to 1 \
             (Rousseeuw 1987)."
                .to_owned(),
        ),
        (
            "Stability, Jaccard",
            format!(
                "Customers are drawn anew with replacement and clustered again; the Jaccard similarity of a segment with \
                 the most similar new one is their common customers over all customers of the two. Stable from \
                 {STABLE_JACCARD} (Hennig 2007)."
            ),
        ),
        (
            "Adjusted Rand index",
            "The agreement of two clusterings over pairs of customers: 1 is the same, 0 what chance gives (Hubert &amp; \
             Arabie 1985)."
                .to_owned(),
        ),
        (
            "Calinski–Harabasz, Davies–Bouldin",
            "Variance between the segments over variance within; and the mean likeness of each segment to the most \
             similar other."
                .to_owned(),
        ),
        (
            "z",
            "The mean of a segment in standard deviations from the mean of all customers, after ln(1 + x) where that was \
             taken."
                .to_owned(),
        ),
        (
            "Difference (Cohen’s d)",
            "The mean within the segment less the mean of all others, over their pooled standard deviation.".to_owned(),
        ),
        ("η²", "The share of a feature’s variance that lies between the segments.".to_owned()),
        ("Lift", "The mean of a segment over the mean of all customers (in <code>profiles.csv</code>).".to_owned()),
    ];
    if study.choice.candidates.iter().any(|candidate| candidate.gap.is_some()) {
        words.push((
            "Gap",
            "How much tighter the segments are than those of data without any (Tibshirani, Walther &amp; Hastie 2001)."
                .to_owned(),
        ));
    }
    words
}

const LIMITS: [&str; 5] = [
    "Segments describe customers as they were in this table. They say who is alike, not why, and not what a customer \
     will do.",
    "Borders are gradual: customers near one could stand on either side. Use the distance and the margin that the server \
     answers where that matters.",
    "Names are made from figures. A person should read the profile and give a better one.",
    "Where a feature was taken as ln(1 + x), z and difference follow the typical customer; a few very large values can \
     pull a mean the other way.",
    "Features that correlate weigh more together than each alone.",
];
