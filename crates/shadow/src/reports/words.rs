//! Numbers in words, and how they are computed.

use report::numbers;
use statistics::Sketch;

use super::ListedModel;
use crate::tally::RBO_P;

/// What stands for what there is not.
pub(super) const NONE: &str = "–";

/// A difference to about three digits, with its sign.
pub(super) fn signed(value: f64) -> String {
    let text = numbers::quantity(value);
    if value > 0.0 { format!("+{text}") } else { text }
}

/// Limits in the form of `shown`, or a dash.
pub(super) fn interval(interval: Option<[f64; 2]>, shown: impl Fn(f64) -> String) -> String {
    interval.map_or_else(|| NONE.to_owned(), |[low, high]| format!("{} to {}", shown(low), shown(high)))
}

/// The same in brackets behind a number; nothing where there are no limits.
pub(super) fn bracketed(limits: Option<[f64; 2]>, shown: impl Fn(f64) -> String) -> String {
    limits.map_or_else(String::new, |limits| format!(" (95 % interval {})", interval(Some(limits), shown)))
}

/// A quantity, or a dash for what is no number.
pub(super) fn finite(value: f64) -> String {
    if value.is_finite() { numbers::quantity(value) } else { NONE.to_owned() }
}

/// `propensity 7, cards 3`.
pub(super) fn models(models: &[ListedModel]) -> String {
    if models.is_empty() {
        return "no model".to_owned();
    }
    let models: Vec<String> =
        models.iter().map(|model| format!("{} {}", model.name, model.version)).collect();
    models.join(", ")
}

/// A name and an id: `3 Savers`, `3`.
pub(super) fn segment(segment: Option<i64>, name: &str) -> String {
    match segment {
        Some(id) if name.is_empty() => id.to_string(),
        Some(id) => format!("{id} {name}"),
        None => "no segment".to_owned(),
    }
}

/// How the numbers are computed, and what they do not say.
pub(super) fn method() -> Vec<String> {
    vec![
        "The champion is what answered. Both decide once the answer is ready, from the same data at the same instant; \
         nothing of it reached a customer. Nothing is reserved, and exploration draws the same for both."
            .to_owned(),
        "Only a sample of the decisions is compared. A busy server compares fewer, so quiet times may have more weight."
            .to_owned(),
        "Intervals are of 95 % and take decisions as independent: those of shares are Wilson's; those of means are by \
         the normal distribution, and too narrow for fewer than 100 decisions. Those by placement and segment are \
         exploratory: of many, some are off by chance."
            .to_owned(),
        "Decisions in which neither side shows an offer have no first offer and no slate to agree on, and are left out \
         of both numbers. A fallback that both show first is agreement."
            .to_owned(),
        "Share of offers that both show: their number, divided by that of the longer slate; the mean over decisions."
            .to_owned(),
        format!(
            "Rankings are all offers that passed the rules, in the order of arbitration. Rank-biased overlap is \
             extrapolated (Webber et al. 2010, equation 32) with p = {RBO_P}: the first ten places have 86 % of the \
             weight. Kendall's tau-b is of the priorities of the offers that both ranked; decisions in which one side \
             gives all the same priority have none."
        ),
        format!(
            "Changes of scores are of offers that both ranked, shadow less champion. The interval of the mean has the \
             decision as its unit, since the offers of one decision are alike. Quantiles are counted in buckets and \
             off by at most {} of themselves. Their intervals hold for any distribution, and are as if a decision had \
             one offer, so rather wide; a median needs 6 decisions for one, and 1 % and 99 % need 368.",
            numbers::share(Sketch::RELATIVE_ERROR)
        ),
        "Population stability index (PSI): ten bins between the deciles of the champion's scores, each lowered to the \
         limit of a bucket, by less than 0.8 % of itself; half a count is added to each bin. Chance alone gives about \
         b (1/n + 1/m) for n and m independent scores; b is 9, and less where many scores are equal."
            .to_owned(),
        "Kolmogorov–Smirnov (KS): the largest distance at limits of buckets, and the largest that it can be between \
         them. Buckets are 0.4 % to 0.8 % of a score wide; all scores below 0.000015 are in one. The p-value is as if \
         all scores were independent. They are not, so it is no test."
            .to_owned(),
        "Expected value: the sum of score × value over the offers shown, in money; what has no score, such as a \
         fallback, counts as 0. Each side shows what its own scores prefer, so each yardstick favours its own side. \
         Only outcomes tell which scores are right."
            .to_owned(),
        "Durations are those of both decisions made again, on a thread of idle priority; they are not those of calls."
            .to_owned(),
        "Examples are the decisions with the smallest rank-biased overlap; of equal ones, the first by decision id. A \
         priority is what the order is by."
            .to_owned(),
    ]
}
