//! The metrics that every policy has.

use super::{Amount, Better, BuiltIn, Denominator, Metric, MetricKind, Numerator, Sum};

/// What reactions say about how well an offer fitted: taken up is 1, turned down is −1, a click and a dismissal lie
/// between.
pub(super) const REACTIONS: [(&str, f64); 7] = [
    ("accept", 1.0),
    ("click", 0.5),
    ("complaint", -1.0),
    ("convert", 1.0),
    ("dismiss", -0.5),
    ("opt_out", -1.0),
    ("reject", -1.0),
];

/// Within how many days customers must come back.
const RETENTION_DAYS: u32 = 28;

/// Above this a decision is slow, in microseconds.
const SLOW_US: u32 = 10_000;

/// The metrics that every policy has, sorted by id.
#[must_use]
pub fn built_in() -> Vec<Metric> {
    let mut all = [of_outcomes(), of_money(), of_decisions()].concat();
    all.sort_by(|left, right| left.id.cmp(&right.id));
    all
}

fn of_outcomes() -> Vec<Metric> {
    use Better::{Higher, Lower};
    let customers_with = |id: &str, says: &str, outcome: &str, better: Better| {
        let numerator = Numerator::Outcomes(sum(&[outcome], Amount::Any));
        metric(id, says, numerator, Denominator::Customers, better, MetricKind::Share)
    };
    let clicks = Numerator::Outcomes(sum(&["click"], Amount::Count));
    let impressions = Denominator::Outcomes(sum(&["impression"], Amount::Count));
    let says = "Clicks divided by impressions.";
    vec![
        customers_with("acceptance", "Share of customers who accepted an offer.", "accept", Higher),
        customers_with("complaint_rate", "Share of customers who complained.", "complaint", Lower),
        customers_with("conversion", "Share of customers with a conversion.", "convert", Higher),
        metric("engagement", says, clicks, impressions, Higher, MetricKind::Share),
        customers_with("opt_out_rate", "Share of customers who opted out.", "opt_out", Lower),
    ]
}

fn of_money() -> Vec<Metric> {
    let kinds: [(&str, &str, &[&str], Amount); 3] = [
        ("margin", "Value less cost of the offers that were accepted", &["accept"], Amount::Margin),
        ("revenue", "Reported value of acceptances and conversions", &["accept", "convert"], Amount::Value),
        ("value", "Value of the offers that were accepted", &["accept"], Amount::OfferValue),
    ];
    let each = |(word, what, outcomes, amount): (&str, &str, &[&str], Amount)| {
        [("customer", Denominator::Customers), ("decision", Denominator::Decisions)].map(
            |(per, denominator)| {
                let (id, says) = (format!("{word}_per_{per}"), format!("{what}, per {per}."));
                let numerator = Numerator::Outcomes(sum(outcomes, amount));
                metric(&id, &says, numerator, denominator, Better::Higher, MetricKind::Money)
            },
        )
    };
    kinds.into_iter().flat_map(each).collect()
}

fn of_decisions() -> Vec<Metric> {
    use Better::{Higher, Lower};
    use Denominator::{Customers, Decisions};
    use MetricKind::{Mean, Ratio, Share};
    let of = |id: &str, says: &str, built_in: BuiltIn, denominator: Denominator, better, kind| {
        metric(id, says, Numerator::BuiltIn(built_in), denominator, better, kind)
    };
    let reactions: Vec<&str> = REACTIONS.iter().map(|(outcome, _)| *outcome).collect();
    let reactions = Denominator::Outcomes(sum(&reactions, Amount::Count));
    let relevance = "Mean weight of reactions: 1 for an acceptance or a conversion, 0.5 for a click, -0.5 for a \
                     dismissal, -1 for a rejection, an opt-out or a complaint.";
    let coverage = "Share of decisions that showed an offer other than the fallback.";
    let diversity = "Different offers that a customer was shown, on average.";
    let retention = format!(
        "Share of customers who came back: with a decision 1 to {RETENTION_DAYS} days after their first one."
    );
    let slow = format!(
        "Share of decisions that took longer than {} ms: the time of the call divided by its customers.",
        SLOW_US / 1_000
    );
    let back = BuiltIn::Retention { days: RETENTION_DAYS };
    vec![
        of("coverage", coverage, BuiltIn::Coverage, Decisions, Higher, Share),
        of("diversity", diversity, BuiltIn::Diversity, Customers, Higher, Mean),
        of("relevance", relevance, BuiltIn::Relevance, reactions, Higher, Ratio),
        of("retention", &retention, back, Customers, Higher, Share),
        of("slow_share", &slow, BuiltIn::Slow { threshold_us: SLOW_US }, Decisions, Lower, Share),
    ]
}

/// A metric whose title is its id in words.
fn metric(
    id: &str,
    says: &str,
    numerator: Numerator,
    denominator: Denominator,
    better: Better,
    kind: MetricKind,
) -> Metric {
    let words = id.replace("opt_out", "opt-out").replace('_', " ");
    let (first, rest) = words.split_at(1);
    Metric {
        title: format!("{}{rest}", first.to_ascii_uppercase()),
        id: id.to_owned(),
        says: says.to_owned(),
        numerator,
        denominator,
        window: None,
        better,
        kind,
        line: 0,
    }
}

fn sum(outcomes: &[&str], amount: Amount) -> Sum {
    Sum { outcomes: outcomes.iter().map(|outcome| (*outcome).to_owned()).collect(), amount }
}
