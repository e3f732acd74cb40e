//! How many customers an experiment needs, and how long that takes, from what was recorded before it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use event::EventReader;
use statistics::{Design, Look, Measure};

use crate::business::Business;
use crate::compare::{CONVERSIONS, lack, value};
use crate::counted::Counted;
use crate::experiment::{alpha_each, judged};
use crate::render::{Planned, PlannedEffect};
use crate::rows::Rows;
use crate::words::kind;
use crate::{AnalysisError, By, Limits, Question, Subject};

/// Differences that are planned for where none is asked, as shares of the base value.
const DIFFERENCES: [f64; 4] = [0.02, 0.05, 0.1, 0.2];

/// A day in seconds.
const DAY: f64 = 86_400.0;

/// What is to be found.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// Differences in the primary metric; without one, some shares of the base value.
    pub differences: Vec<WishedDifference>,
    /// The probability with which a difference is to be found, 0..1.
    pub power: f64,
    /// Decisions of this time or later are looked at.
    pub from: Option<DateTime<Utc>>,
}

/// A difference in the primary metric, other than 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WishedDifference {
    /// In the unit of the metric.
    Absolute(f64),
    /// As a share of the base value.
    Relative(f64),
}

/// How many customers an experiment needs. The base is what was recorded at its placements, whoever decided there.
///
/// # Errors
/// When nothing is recorded there, events cannot be read, or there are more than `limits` allow.
pub fn plan(
    reader: &EventReader,
    subject: &Subject<'_>,
    wish: &Wish,
    limits: &Limits,
) -> Result<Planned, AnalysisError> {
    plan_of(&reader.pinned()?, subject, wish, limits)
}

/// As [`plan`], of any rows.
///
/// # Errors
/// As [`plan`].
pub fn plan_of(
    rows: &dyn Rows,
    subject: &Subject<'_>,
    wish: &Wish,
    limits: &Limits,
) -> Result<Planned, AnalysisError> {
    let all = judged(subject)?;
    let metric = all[0].metric;
    let segments = BTreeMap::new();
    let metrics = [metric];
    let question = Question {
        placement: "",
        by: By::Day,
        from: wish.from,
        to: None,
        metrics: &metrics,
        segments: &segments,
    };
    let mut business = Business::new(&question, subject.placements, limits);
    business.read(rows)?;
    let (counted, measure) = business.all(0);
    let nothing = || AnalysisError::NoBase { metric: metric.id.clone() };
    let estimate = counted.sums.estimate(measure).ok_or_else(nothing)?;
    let days = business.seconds().ok_or_else(nothing)? / DAY;
    let level = alpha_each(subject, &all);
    let base = Base {
        value: estimate.value,
        variance: estimate.variance,
        measure,
        shares: shares(subject),
        // What is recorded of less than a day says nothing of a day.
        arriving: counted.sums.n() as f64 / days.max(1.0) * subject.coverage,
        alpha: level,
        power: wish.power,
    };
    let relative = DIFFERENCES.map(WishedDifference::Relative);
    let differences = if wish.differences.is_empty() { &relative[..] } else { &wish.differences };
    Ok(Planned {
        experiment: subject.id.to_owned(),
        metric: metric.id.clone(),
        kind: kind(metric),
        base: base.value,
        interval: value("", &counted, measure, level).interval,
        customers: counted.sums.n(),
        customers_a_day: counted.sums.n() as f64 / days.max(1.0),
        coverage: subject.coverage,
        alpha_each: level,
        power: wish.power,
        planned: subject.measured.planned,
        effects: differences.iter().map(|difference| base.effect(*difference)).collect(),
        warnings: warnings(&counted, days),
    })
}

/// The parts of the control and of the smallest challenger among those that take part.
fn shares(subject: &Subject<'_>) -> [f64; 2] {
    let all: f64 = subject.variants.iter().map(|(_, weight)| weight).sum();
    let mut weights = subject.variants.iter().map(|(_, weight)| weight / all);
    let control = weights.next().unwrap_or(0.0);
    [control, weights.filter(|weight| *weight > 0.0).fold(1.0 - control, f64::min)]
}

/// What differences are compared with.
struct Base {
    value: f64,
    /// Of one customer.
    variance: f64,
    measure: Measure,
    shares: [f64; 2],
    /// Customers that take part, in a day.
    arriving: f64,
    alpha: f64,
    power: f64,
}

impl Base {
    fn effect(&self, wished: WishedDifference) -> PlannedEffect {
        let difference = match wished {
            WishedDifference::Absolute(difference) => difference,
            WishedDifference::Relative(share) => share * self.value,
        };
        let relative = (self.value.abs() > 0.0).then(|| difference / self.value);
        let [any_time, one_look] = [Look::AnyTime, Look::Once].map(|look| self.units(difference, look));
        let days = |units: Option<u64>| {
            let arriving = self.arriving * (self.shares[0] + self.shares[1]);
            units.map(|units| units as f64 / arriving).filter(|days| days.is_finite())
        };
        PlannedEffect {
            difference,
            relative,
            any_time,
            one_look,
            any_time_days: days(any_time),
            one_look_days: days(one_look),
        }
    }

    fn units(&self, difference: f64, look: Look) -> Option<u64> {
        let there = match self.measure {
            Measure::Share => {
                let share = self.value + difference;
                if !(0.0..=1.0).contains(&share) {
                    return None;
                }
                share * (1.0 - share)
            }
            Measure::Mean | Measure::Ratio => self.variance,
        };
        let design =
            Design { variances: [self.variance, there], shares: self.shares, alpha: self.alpha, look };
        design.units(difference, self.power)
    }
}

fn warnings(counted: &Counted, days: f64) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(lack) = lack(counted) {
        warnings.push(format!(
            "What was recorded has {lack}: the base is a guess, and so are the numbers that follow from it."
        ));
    }
    if days < 1.0 {
        warnings.push(
            "Less than a day is recorded, and counts as a whole one: it takes fewer days than shown where customers \
             go on to come."
                .to_owned(),
        );
    }
    warnings.push(
        "Customers are all that were seen at these placements. If the experiment has a `when`, fewer take part, and \
         it takes longer."
            .to_owned(),
    );
    if days > 1.0 {
        warnings.push(format!(
            "Customers in a day are an average over {:.0} days. Who comes again is not new, so later days bring fewer.",
            days.ceil()
        ));
    }
    warnings.push(format!(
        "A result is shown once each arm has {CONVERSIONS} customers whose numerator is not 0, however many are planned."
    ));
    warnings
}
