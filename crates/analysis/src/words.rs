//! What a report says in sentences: warnings, and how its figures are computed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use experiment::{BuiltIn, Metric, MetricKind, Numerator};

use crate::compare::{CONVERSIONS, CUSTOMERS, Level};
use crate::days::Days;
use crate::experiment::Judged;
use crate::ledger::NO_SEGMENT;
use crate::report::{Kind, Source};
use crate::{MISMATCH, MISMATCH_AT_ONCE, Subject};

const DAY: u64 = 24 * 3_600;

/// Sources whose newest event is older are warned of.
const STALE: u64 = DAY;

/// Days before a result is of all days of a week.
const WEEK: u64 = 7;

pub(crate) fn kind(metric: &Metric) -> Kind {
    match metric.kind {
        MetricKind::Share => Kind::Share,
        MetricKind::Money => Kind::Money,
        MetricKind::Mean | MetricKind::Ratio => Kind::Number,
    }
}

/// A share in percent, with at most four digits.
pub(crate) fn percent(share: f64) -> f64 {
    (share * 1e6).round() / 1e4
}

pub(crate) fn segment_name(segment: i64, names: &BTreeMap<i64, String>) -> String {
    if segment == NO_SEGMENT {
        return "no segment".to_owned();
    }
    names.get(&segment).cloned().unwrap_or_else(|| format!("segment {segment}"))
}

/// What a reader of an experiment must know.
pub(crate) fn warnings(days: &Days<'_>, judged: &[Judged<'_>], now: DateTime<Utc>) -> Vec<String> {
    let collected = &days.collected;
    let mut warnings = stale(&collected.newest.sources(now));
    let Some(span) = collected.span else {
        warnings.push("No decision of this phase is recorded.".to_owned());
        return warnings;
    };
    let took = (span.to.saturating_sub(span.from) / 1_000_000).max(0).cast_unsigned();
    if took < WEEK * DAY {
        warnings.push(format!("The decisions span less than {WEEK} days, and days of a week differ."));
    }
    let longest = judged.iter().filter_map(|judged| match judged.metric.numerator {
        Numerator::BuiltIn(BuiltIn::Retention { days }) => Some(days),
        Numerator::BuiltIn(_) | Numerator::Outcomes(_) => None,
    });
    if let Some(days) = longest.max().filter(|days| u64::from(*days) * DAY > took) {
        warnings.push(format!(
            "Retention is not complete: the first customers came less than {days} days before the last decision."
        ));
    }
    if days.left_out.crossed_customers > 0 {
        warnings.push(format!(
            "{} customers were seen in more than one arm; each counts in the first. A changed id does that.",
            days.left_out.crossed_customers
        ));
    }
    if collected.keys.len() > 1 {
        warnings.push(
            "Customers were recorded by pseudonyms of more than one key, or by id too: who was before and after a \
             change counts twice."
                .to_owned(),
        );
    }
    if collected.strange > 0 {
        warnings.push(format!(
            "{} decisions name a variant that the experiment does not have; they are left out.",
            collected.strange
        ));
    }
    if !collected.others.is_empty() {
        warnings.push(format!(
            "The experiment has had {} other phases; nothing of them is in these results.",
            collected.others.len()
        ));
    }
    warnings
}

/// Servers of which nothing new has come.
pub(crate) fn stale(sources: &[Source]) -> Vec<String> {
    let hours = |source: &Source| {
        format!(
            "The newest event of server {} is {} hours old; what came later is not in the report.",
            source.server,
            source.age_seconds / 3_600
        )
    };
    sources.iter().filter(|source| source.age_seconds > STALE).map(hours).collect()
}

/// How the figures of an experiment are computed.
pub(crate) fn method(
    subject: &Subject<'_>,
    judged: &[Judged<'_>],
    comparisons: usize,
    level: Level,
) -> Vec<String> {
    let Level { alpha, planned } = level;
    let measured = &subject.measured;
    let mut method = vec![
        "The unit is the customer, from their first decision in the experiment on, by intention to treat: \
         whatever they were shown later, they count in the arm of that decision."
            .to_owned(),
        "An outcome belongs to the customer of the decision it names, and counts once for each event id. Late \
         outcomes do not count; a metric with a window counts what occurred within it after the decision. \
         Unmatched outcomes are those of the experiment's customers that name another decision."
            .to_owned(),
        "Decisions of customers without an id, and of those that were listed or forced into a variant, are left out."
            .to_owned(),
        format!(
            "Sequences (Waudby-Smith et al. 2024) hold however often one looks; they are tightest at {planned} \
             customers of both arms. Their p is the least of all days so far. Fixed intervals (Welch) hold for one \
             look at a time that was fixed before."
        ),
        format!(
            "{} % of false alarms are accepted over {comparisons} comparisons of the primary metric and the \
             guardrails, which makes {} % for each (Bonferroni). Secondary metrics, placements and segments are \
             exploratory: they are not among those comparisons.",
            percent(measured.alpha),
            percent(alpha)
        ),
        format!(
            "Nothing is shown of an arm with fewer than {CUSTOMERS} customers, or fewer than {CONVERSIONS} \
             customers with something to count."
        ),
        format!(
            "The split is wrong if the sequential test (Lindon et al. 2022) finds p below {MISMATCH} on any day, \
             or χ² finds p below {MISMATCH_AT_ONCE} now; then there is no other result."
        ),
        "Quotients of two sums have their variance by the delta method. Relative differences are divided by the \
         control's value without adjustment."
            .to_owned(),
        "A segment is that of a customer's first decision in the experiment. A customer at two placements is in \
         both, each time with what they did there."
            .to_owned(),
    ];
    if judged.iter().any(|judged| judged.role == crate::report::Role::Guardrail) {
        method.push(
            "Guardrails look at the sequence, turned so that more is better: the next step may come once its \
             lower limit is above what is tolerated, and the experiment goes back once its upper limit is below."
                .to_owned(),
        );
    }
    if judged
        .first()
        .is_some_and(|judged| crate::plan::Covariate::of(judged.metric, measured.covariate).is_some())
    {
        let days = measured.covariate.as_secs() as f64 / DAY as f64;
        method.push(format!(
            "The primary metric is adjusted by the same outcomes of each customer that were received in the \
             {days} days before their first decision in the experiment (CUPED), where there are any."
        ));
    }
    method
}
