//! The method, the terms and the limits of the segments.

use crate::train::study::{STABLE_JACCARD, Study};
use report::{append, escape, numbers};

/// The steps, the terms and the limits.
pub(super) fn method(study: &Study) -> String {
    let mut html = String::from("<h3>What was done</h3>\n<ul class=\"method\">\n");
    for step in steps(study) {
        append(&mut html, format_args!("<li>{step}</li>\n"));
    }
    html.push_str("</ul>\n<h3>What the terms mean</h3>\n<dl>\n");
    for (term, meaning) in terms(study) {
        append(&mut html, format_args!("<dt>{term}</dt><dd>{meaning}</dd>\n"));
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
        "Preparation: missing values were imputed in {imputed} columns, ln(1 + x) was applied to {logged} columns with \
         a long tail, and all features were scaled. The table of columns shows which."
    )];
    if let Some(kept) = source.variance_kept {
        steps.push(format!(
            "The features were reduced to {} principal components, which explain {} of their variance.",
            source.dimensions,
            numbers::share(kept)
        ));
    }
    steps.push(format!(
        "Clustering: k-means with k-means++ initialisation, the best of {} restarts for each k (Lloyd 1982; Arthur \
         &amp; Vassilvitskii 2007). With seed {}, the same table gives the same report.",
        source.n_init, source.seed
    ));
    let rule = "Number of segments: the recommended number is the stable one with the best silhouette.";
    steps.push(if study.choice.by_hand {
        format!("{rule} This report has the requested number, {}.", study.choice.chosen)
    } else {
        rule.to_owned()
    });
    steps.extend(study.notes.iter().map(|note| escape(note)));
    steps
}

fn terms(study: &Study) -> Vec<(&'static str, String)> {
    let mut terms = vec![
        (
            "Inertia",
            format!(
                "The sum over all customers of the squared distance to the centre (centroid) of their segment; here \
                 {}. Lower means tighter segments. It falls with every additional segment.",
                numbers::quantity(study.source.inertia)
            ),
        ),
        (
            "Silhouette",
            "How much closer customers are to their own segment than to the next one, from −1 to 1. At 0 a customer \
             lies between two segments (Rousseeuw 1987)."
                .to_owned(),
        ),
        (
            "Stability, Jaccard",
            format!(
                "Customers are resampled with replacement and clustered again. Each segment is compared with the most \
                 similar new one: customers in both, divided by customers in either. A segment is stable from \
                 {STABLE_JACCARD} (Hennig 2007)."
            ),
        ),
        (
            "Adjusted Rand index",
            "The agreement of two clusterings over pairs of customers: 1 is identical, 0 is chance (Hubert &amp; \
             Arabie 1985)."
                .to_owned(),
        ),
        (
            "Calinski–Harabasz, Davies–Bouldin",
            "The variance between the segments divided by the variance within them; and the mean similarity of each \
             segment to the most similar other one."
                .to_owned(),
        ),
        (
            "z",
            "The mean of a segment in standard deviations from the mean of all customers, after ln(1 + x) where it was \
             applied."
                .to_owned(),
        ),
        (
            "Difference (Cohen’s d)",
            "The mean of the segment minus the mean of all other customers, divided by their pooled standard deviation."
                .to_owned(),
        ),
        ("η²", "The share of a feature’s variance that the segments explain.".to_owned()),
        (
            "Lift",
            "The mean of a segment divided by the mean of all customers (in <code>profiles.csv</code>).".to_owned(),
        ),
    ];
    if study.choice.candidates.iter().any(|candidate| candidate.gap.is_some()) {
        terms.push((
            "Gap",
            "How much tighter the segments are than those of random data without clusters (Tibshirani, Walther &amp; \
             Hastie 2001)."
                .to_owned(),
        ));
    }
    terms
}

const LIMITS: [&str; 5] = [
    "Segments describe customers as they were in this table. They show which customers are similar, not why, and not \
     what they will do.",
    "Boundaries are gradual: customers near one could belong to either side. If that matters, use the distance and the \
     margin in the server’s answers.",
    "Names are generated from the figures. Read the profile and choose a better one.",
    "After ln(1 + x), z and difference describe the typical customer. A few very large values can still pull the mean \
     in the opposite direction.",
    "Correlated features have more weight together than a single feature.",
];
