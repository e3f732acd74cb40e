//! What metrics add up for a customer, without one sum twice.

use event::rows::OutcomeRow;
use experiment::{Amount, BuiltIn, Denominator, Metric, Numerator, Sum};
use statistics::{Measure, Unit};

const DAY: i64 = 24 * 3_600 * 1_000_000;

/// The sums of some metrics. A customer has a number for each, in the order of `sums`.
#[derive(Debug)]
pub(crate) struct Plan {
    sums: Vec<Added>,
    quotients: Vec<Quotient>,
}

/// What is added up.
#[derive(Debug, PartialEq)]
enum Added {
    Outcomes(Sum, Window),
    Relevance(Window),
    Decisions,
    WithOffer,
    Offers,
    Slow(u32),
    Return { within: i64 },
}

/// How long after its decision an outcome counts, in microseconds; `None`: unless it is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window(Option<i64>);

/// A metric: one sum over another, or over customers.
#[derive(Debug)]
struct Quotient {
    part: usize,
    size: Option<usize>,
    measure: Measure,
}

/// What a decision adds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// Whether an offer was shown that is not the fallback.
    pub has_offer: bool,
    /// Microseconds of its call for each customer of the call, rounded up.
    pub us: u32,
    /// Offers that were not shown before.
    pub new_offers: u8,
}

impl Plan {
    pub(crate) fn new<'m>(metrics: impl IntoIterator<Item = &'m Metric>) -> Self {
        let mut plan = Self { sums: Vec::new(), quotients: Vec::new() };
        for metric in metrics {
            let window = Window::of(metric);
            let part = plan.sum(match &metric.numerator {
                Numerator::Outcomes(sum) => Added::Outcomes(sum.clone(), window),
                Numerator::BuiltIn(BuiltIn::Retention { days }) => {
                    Added::Return { within: i64::from(*days).saturating_mul(DAY) }
                }
                Numerator::BuiltIn(BuiltIn::Relevance) => Added::Relevance(window),
                Numerator::BuiltIn(BuiltIn::Coverage) => Added::WithOffer,
                Numerator::BuiltIn(BuiltIn::Diversity) => Added::Offers,
                Numerator::BuiltIn(BuiltIn::Slow { threshold_us }) => Added::Slow(*threshold_us),
            });
            let size = match &metric.denominator {
                Denominator::Customers => None,
                Denominator::Decisions => Some(plan.sum(Added::Decisions)),
                Denominator::Outcomes(sum) => Some(plan.sum(Added::Outcomes(sum.clone(), window))),
            };
            let measure = match &metric.denominator {
                Denominator::Decisions | Denominator::Outcomes(_) => Measure::Ratio,
                Denominator::Customers if is_yes_or_no(&metric.numerator) => Measure::Share,
                Denominator::Customers => Measure::Mean,
            };
            plan.quotients.push(Quotient { part, size, measure });
        }
        plan
    }

    fn sum(&mut self, wanted: Added) -> usize {
        self.sums.iter().position(|sum| *sum == wanted).unwrap_or_else(|| {
            self.sums.push(wanted);
            self.sums.len() - 1
        })
    }

    /// How many numbers a customer has.
    pub(crate) fn width(&self) -> usize {
        self.sums.len()
    }

    /// How many metrics there are.
    pub(crate) fn metrics(&self) -> usize {
        self.quotients.len()
    }

    pub(crate) fn measure(&self, metric: usize) -> Measure {
        self.quotients[metric].measure
    }

    /// Whether it must be known which offers a customer was shown.
    pub(crate) fn counts_offers(&self) -> bool {
        self.sums.contains(&Added::Offers)
    }

    /// Whether it must be known when customers come back.
    pub(crate) fn counts_returns(&self) -> bool {
        self.sums.iter().any(|sum| matches!(sum, Added::Return { .. }))
    }

    /// Adds a decision.
    pub(crate) fn add_decision(&self, values: &mut [f64], facts: Facts) {
        for (sum, value) in self.sums.iter().zip(values) {
            *value += match sum {
                Added::Decisions => 1.0,
                Added::WithOffer => f64::from(u8::from(facts.has_offer)),
                Added::Offers => f64::from(facts.new_offers),
                Added::Slow(threshold) => f64::from(u8::from(facts.us > *threshold)),
                Added::Outcomes(..) | Added::Relevance(_) | Added::Return { .. } => 0.0,
            };
        }
    }

    /// Notes a decision so many microseconds after the first one.
    pub(crate) fn add_return(&self, values: &mut [f64], after: i64) {
        for (sum, value) in self.sums.iter().zip(values) {
            if let Added::Return { within } = sum
                && (DAY..=*within).contains(&after)
            {
                *value = 1.0;
            }
        }
    }

    /// Adds an outcome, which occurred so many microseconds after its decision.
    pub(crate) fn add_outcome(&self, values: &mut [f64], row: &OutcomeRow<'_>, after: i64) {
        for (sum, value) in self.sums.iter().zip(values) {
            match sum {
                Added::Outcomes(sum, window) if window.counts(row, after) => add(value, sum, row),
                Added::Relevance(window) if window.counts(row, after) => {
                    *value += BuiltIn::relevance(row.kind).unwrap_or(0.0);
                }
                Added::Outcomes(..)
                | Added::Relevance(_)
                | Added::Decisions
                | Added::WithOffer
                | Added::Offers
                | Added::Slow(_)
                | Added::Return { .. } => {}
            }
        }
    }

    /// What a customer adds to a metric. One without the denominator of a ratio adds nothing to it, and counts.
    pub(crate) fn unit(&self, metric: usize, values: &[f64]) -> Unit {
        let quotient = &self.quotients[metric];
        Unit {
            part: values[quotient.part],
            size: quotient.size.map_or(1.0, |size| values[size]),
            before: 0.0,
        }
    }
}

impl Window {
    fn of(metric: &Metric) -> Self {
        Self(metric.window.map(|window| i64::try_from(window.as_micros()).unwrap_or(i64::MAX)))
    }

    fn counts(self, row: &OutcomeRow<'_>, after: i64) -> bool {
        match self.0 {
            Some(window) => after <= window,
            None => !row.late,
        }
    }
}

/// Whether each customer adds 0 or 1.
fn is_yes_or_no(numerator: &Numerator) -> bool {
    match numerator {
        Numerator::Outcomes(sum) => sum.amount == Amount::Any,
        Numerator::BuiltIn(built_in) => matches!(built_in, BuiltIn::Retention { .. }),
    }
}

/// Adds an outcome to a sum, if it is of its types.
fn add(value: &mut f64, sum: &Sum, row: &OutcomeRow<'_>) {
    if !sum.outcomes.iter().any(|outcome| outcome == row.kind) {
        return;
    }
    let amount = match sum.amount {
        Amount::Any => {
            *value = 1.0;
            return;
        }
        Amount::Count => 1.0,
        Amount::Value => row.value,
        Amount::OfferValue => row.offer_value,
        Amount::Margin => row.offer_value - row.cost,
    };
    // A number that is none must not take the others with it.
    if amount.is_finite() {
        *value += amount;
    }
}

/// What a customer did before their first exposure, by the numerator of a metric.
#[derive(Debug)]
pub(crate) struct Covariate {
    sum: Sum,
    window: Window,
    /// How long before, in microseconds.
    pub within: i64,
}

impl Covariate {
    /// `None` for a metric that is no mean of outcomes over customers, and if nothing before counts.
    pub(crate) fn of(metric: &Metric, within: std::time::Duration) -> Option<Self> {
        let (Numerator::Outcomes(sum), Denominator::Customers) = (&metric.numerator, &metric.denominator)
        else {
            return None;
        };
        let within = i64::try_from(within.as_micros()).unwrap_or(i64::MAX);
        (within > 0).then(|| Self { sum: sum.clone(), window: Window::of(metric), within })
    }

    /// Adds an outcome that was received in that time.
    pub(crate) fn add(&self, before: &mut f64, row: &OutcomeRow<'_>) {
        // Without its decision, nobody knows how long after it came.
        let after = if row.decided_at == 0 { 0 } else { row.occurred_at.saturating_sub(row.decided_at) };
        if self.window.counts(row, after) {
            add(before, &self.sum, row);
        }
    }
}
