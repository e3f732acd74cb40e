//! Metrics: what experiments are judged by, and what is reported of decisions with or without one.
//!
//! A metric is a quotient of two sums. Each customer adds to both: outcomes or something built in above, and customers,
//! decisions or outcomes below. This crate only says what is added up; crate `analysis` adds it up.

mod built_in;
#[cfg(test)]
mod tests;

use std::time::Duration;

use document::settings;

pub use built_in::built_in;

/// A metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Unique among the metrics.
    pub id: String,
    /// A name for people; the id of a metric that the policy declares.
    pub title: String,
    /// What it measures, in a sentence.
    pub says: String,
    /// What is added up.
    pub numerator: Numerator,
    /// What it is divided by.
    pub denominator: Denominator,
    /// How long after its decision an outcome counts. `None`: as long as it is not late by the attribution of the
    /// policy.
    pub window: Option<Duration>,
    /// Whether more is better.
    pub better: Better,
    /// How its values are written.
    pub kind: MetricKind,
    /// The line where it begins, for problems with it; 0 for one that is built in.
    pub line: usize,
}

/// Whether more of a metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
}

/// How the values of a metric are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// A share, in percent.
    Share,
    /// A mean over customers or decisions: a plain number.
    Mean,
    /// Money, with two digits.
    Money,
    /// A quotient of two sums: a plain number.
    Ratio,
}

/// What a metric adds up.
#[derive(Debug, Clone, PartialEq)]
pub enum Numerator {
    /// Something of outcomes.
    Outcomes(Sum),
    /// Something that no sum of outcomes can say.
    BuiltIn(BuiltIn),
}

/// What a metric is divided by.
#[derive(Debug, Clone, PartialEq)]
pub enum Denominator {
    /// The number of customers: the metric is a mean over them.
    Customers,
    /// The number of their decisions.
    Decisions,
    /// Something of outcomes.
    Outcomes(Sum),
}

/// Something of outcomes, added up for each customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// The types of outcomes that count, sorted.
    pub outcomes: Vec<String>,
    /// What each of them adds.
    pub amount: Amount,
}

/// What an outcome adds to the sum of its customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// 1.
    Count,
    /// The value that was reported with it, in money.
    Value,
    /// The value of the offer, in money.
    OfferValue,
    /// The value of the offer less its cost, in money.
    Margin,
    /// 1 for the first, nothing for those that follow: whether the customer has at least one.
    Any,
}

/// What is added up where sums of outcomes do not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuiltIn {
    /// 1 for a customer with a decision that is at least one day and at most so many days after their first one.
    Retention {
        /// The days.
        days: u32,
    },
    /// The weight of each reaction to an offer, by [`BuiltIn::relevance`].
    Relevance,
    /// 1 for each decision that showed an offer which is not the fallback.
    Coverage,
    /// 1 for each offer that the customer was shown, however often.
    Diversity,
    /// 1 for each decision that took longer: the time of its call divided by the customers of the call.
    Slow {
        /// Longer than so many microseconds.
        threshold_us: u32,
    },
}

/// What an experiment is judged by (`[experiment.metric]`). Metrics are indices into
/// [`Experiments::metrics`](crate::Experiments::metrics).
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// What decides.
    pub primary: usize,
    /// What must not get worse, each metric once.
    pub guardrails: Vec<Guardrail>,
    /// What is looked at besides, neither primary nor a guardrail; each once, sorted.
    pub secondary: Vec<usize>,
    /// The share of false alarms that is accepted over all comparisons, 0.001..=0.2.
    pub alpha: f64,
    /// The number of customers, of both arms of a comparison, at which its sequence is tightest.
    pub planned: u64,
    /// What customers did so long before their first exposure takes noise away (CUPED); zero for not at all.
    pub covariate: Duration,
}

/// A metric that must not get worse.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guardrail {
    /// The metric.
    pub metric: usize,
    /// The loss that is tolerated, in the unit of the metric; at least 0.
    pub tolerate: f64,
}

impl Measured {
    /// What `alpha` is if the file does not say.
    pub const ALPHA: f64 = 0.05;
    /// What `planned` is if the file does not say.
    pub const PLANNED: u64 = 20_000;
    /// What `covariate` is if the file does not say.
    pub const COVARIATE: Duration = Duration::from_hours(28 * 24);

    /// Judged by one metric alone, everything else as if the file did not say.
    #[must_use]
    pub fn by(primary: usize) -> Self {
        Self {
            primary,
            guardrails: Vec::new(),
            secondary: Vec::new(),
            alpha: Self::ALPHA,
            planned: Self::PLANNED,
            covariate: Self::COVARIATE,
        }
    }
}

impl Better {
    /// Each by its name in `policy.toml`.
    pub(crate) const ALL: [(&'static str, Self); 2] = [("higher", Self::Higher), ("lower", Self::Lower)];
}

impl Amount {
    /// Each by its name in `policy.toml`.
    pub(crate) const ALL: [(&'static str, Self); 5] = [
        ("count", Self::Count),
        ("any", Self::Any),
        ("value", Self::Value),
        ("offer_value", Self::OfferValue),
        ("margin", Self::Margin),
    ];

    fn is_money(self) -> bool {
        match self {
            Self::Count | Self::Any => false,
            Self::Value | Self::OfferValue | Self::Margin => true,
        }
    }
}

impl BuiltIn {
    /// What a reaction says about how well the offer fitted, −1..=1. `None` for an outcome that is no reaction, such as
    /// an impression, and for one that the policy declares.
    #[must_use]
    pub fn relevance(outcome: &str) -> Option<f64> {
        built_in::REACTIONS.iter().find(|(known, _)| *known == outcome).map(|(_, weight)| *weight)
    }
}

impl Metric {
    /// A metric that the policy declares.
    pub(crate) fn declared(
        id: String,
        numerator: Sum,
        denominator: Denominator,
        window: Option<Duration>,
        better: Better,
        line: usize,
    ) -> Self {
        Self {
            title: id.clone(),
            says: says(&numerator, &denominator, window),
            kind: kind(numerator.amount, &denominator),
            numerator: Numerator::Outcomes(numerator),
            id,
            denominator,
            window,
            better,
            line,
        }
    }
}

/// The index of the metric called `id` among those that are sorted by id.
pub(crate) fn find(metrics: &[Metric], id: &str) -> Option<usize> {
    metrics.binary_search_by(|metric| metric.id.as_str().cmp(id)).ok()
}

fn kind(numerator: Amount, denominator: &Denominator) -> MetricKind {
    match denominator {
        Denominator::Customers if numerator == Amount::Any => MetricKind::Share,
        Denominator::Customers | Denominator::Decisions if numerator.is_money() => MetricKind::Money,
        Denominator::Customers | Denominator::Decisions => MetricKind::Mean,
        Denominator::Outcomes(sum) if numerator.is_money() && !sum.amount.is_money() => MetricKind::Money,
        Denominator::Outcomes(_) => MetricKind::Ratio,
    }
}

/// The sentence for a metric that the policy declares.
fn says(numerator: &Sum, denominator: &Denominator, window: Option<Duration>) -> String {
    let what = match denominator {
        Denominator::Customers if numerator.amount == Amount::Any => {
            format!("share of customers with at least one {}", types(numerator))
        }
        Denominator::Customers => format!("{} per customer", words(numerator)),
        Denominator::Decisions => format!("{} per decision", words(numerator)),
        Denominator::Outcomes(sum) => format!("{} divided by {}", words(numerator), words(sum)),
    };
    let within = match window {
        Some(window) => format!("up to {} after the decision", settings::shown(window)),
        None => "in time by the policy's attribution".to_owned(),
    };
    let mut letters = what.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    format!("{}{}; outcomes {within}.", first.map(String::from).unwrap_or_default(), letters.as_str())
}

fn words(sum: &Sum) -> String {
    let types = types(sum);
    match sum.amount {
        Amount::Count => format!("number of {types}"),
        Amount::Any => format!("customers with at least one {types}"),
        Amount::Value => format!("reported value of {types}"),
        Amount::OfferValue => format!("value of the offers of {types}"),
        Amount::Margin => format!("value less cost of the offers of {types}"),
    }
}

fn types(sum: &Sum) -> String {
    let quoted: Vec<String> = sum.outcomes.iter().map(|outcome| format!("`{outcome}`")).collect();
    quoted.join(" or ")
}
