//! Reads the metrics that a policy declares, and what experiments are judged by.

use std::time::Duration;

use document::{FromToml, Table, settings, suggestion};
use toml::de::DeValue;

use super::Names;
use super::value::{self, After};
use crate::metric::{self, Amount, Better, Denominator, Guardrail, Measured, Metric, Sum, built_in};

/// The most metrics that a policy declares: a report adds each of them up for every customer.
const MOST_METRICS: usize = 100;

/// The most guardrails of an experiment: the level of each comparison is divided by their number.
const MOST_GUARDRAILS: usize = 10;

/// The most metrics that an experiment looks at besides.
const MOST_SECONDARY: usize = 20;

/// One outcome type, or several.
struct Outcomes(Vec<String>);

impl FromToml for Outcomes {
    const EXPECTED: &'static str = "an outcome or a list of outcomes, such as \"accept\"";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        String::from_toml(value).map(|one| vec![one]).or_else(|| Vec::from_toml(value)).map(Self)
    }
}

/// The id of a metric.
struct Id(String);

impl FromToml for Id {
    const EXPECTED: &'static str = "a metric, such as \"conversion\"";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        String::from_toml(value).map(Self)
    }
}

/// A share of false alarms.
struct Alpha(f64);

impl FromToml for Alpha {
    const EXPECTED: &'static str = "a share of 0.001 to 0.2, such as 0.05";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        f64::from_toml(value).filter(|alpha| (0.001..=0.2).contains(alpha)).map(Self)
    }
}

/// How many customers an experiment is planned for.
struct Planned(u64);

impl FromToml for Planned {
    const EXPECTED: &'static str = "a number of customers, a whole number of 100 to 1000000000";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        u64::from_toml(value).filter(|planned| (100..=1_000_000_000).contains(planned)).map(Self)
    }
}

/// How long before their first exposure customers are looked at.
struct Covariate(Duration);

impl FromToml for Covariate {
    const EXPECTED: &'static str = "a duration of 0d to 365d, such as \"28d\"";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        let length = settings::duration(value.as_str()?).ok()?;
        (length <= Duration::from_hours(365 * 24)).then_some(Self(length))
    }
}

/// A loss that is tolerated.
struct Tolerance(f64);

impl FromToml for Tolerance {
    const EXPECTED: &'static str = "a loss of at least 0 in the unit of the metric, such as 0.002";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        f64::from_toml(value).filter(|loss| *loss >= 0.0).map(Self)
    }
}

/// What a metric is divided by, without a denominator of its own.
#[derive(Clone, Copy)]
enum Per {
    Customer,
    Decision,
}

/// The metrics of a policy, built in and declared, sorted by id.
pub(super) fn read(policy: &Table<'_, '_>, names: &Names<'_>) -> Vec<Metric> {
    let tables = policy.tables("metric");
    if tables.len() > MOST_METRICS {
        let count = tables.len();
        policy.problem_at(
            "metric",
            format!("{count} metrics; at most {MOST_METRICS} are allowed, so remove those that are over"),
        );
    }
    let mut all = built_in();
    let mut declared: Vec<(Metric, &Table<'_, '_>)> =
        tables.iter().take(MOST_METRICS).map(|table| (read_metric(table, names, &all), table)).collect();
    // Stable, so that the later of two equal ids in the file is reported.
    declared.sort_by(|(left, _), (right, _)| left.id.cmp(&right.id));
    for pair in declared.windows(2) {
        if let [(first, place), (metric, table)] = pair
            && first.id == metric.id
            && !metric.id.is_empty()
        {
            let line = place.first_line();
            table.problem_at("id", format!("`{}` is already the id of the metric in line {line}", metric.id));
        }
    }
    all.extend(declared.into_iter().map(|(metric, _)| metric));
    all.sort_by(|left, right| left.id.cmp(&right.id));
    all
}

/// A metric with placeholders for what is wrong, so that experiments that name it are not reported, too.
fn read_metric(table: &Table<'_, '_>, names: &Names<'_>, known: &[Metric]) -> Metric {
    let id = value::read_id(table, "metric ");
    if metric::find(known, &id).is_some() {
        table.problem_at("id", format!("`{id}` is built in; remove it here, or choose another `id`"));
    }
    if !table.has("numerator") {
        table.problem(
            "`numerator` is missing; give it outcomes and what they add, such as { outcome = \"accept\", sum = \
             \"count\" }",
        );
    }
    let numerator = read_sum(table, "numerator", names);
    let denominator = read_denominator(table, names);
    let window: Option<After> = table.optional("window");
    let better = one_of(table, "better", &Better::ALL);
    let is_any = numerator.as_ref().is_some_and(|sum| sum.amount == Amount::Any);
    if is_any && denominator == Some(Denominator::Decisions) {
        table.problem_at(
            "per",
            "`per` must be customer where `sum` is any: whether a customer has at least one is the same for all of \
             their decisions; or let `sum` be count",
        );
    }
    table.finish();
    Metric::declared(
        id,
        numerator.unwrap_or_else(|| Sum { outcomes: Vec::new(), amount: Amount::Count }),
        denominator.unwrap_or(Denominator::Customers),
        window.map(|After(window)| window),
        better.unwrap_or(Better::Higher),
        table.first_line(),
    )
}

fn read_denominator(table: &Table<'_, '_>, names: &Names<'_>) -> Option<Denominator> {
    let per = table.choice("per", &[("customer", Per::Customer), ("decision", Per::Decision)]);
    if table.has("denominator") {
        if table.has("per") {
            table.problem_at("per", "`per` and `denominator` exclude each other; keep one");
        }
        return read_sum(table, "denominator", names).map(Denominator::Outcomes);
    }
    if !table.has("per") {
        table.problem(
            "`per` is missing; give it one of customer, decision, or give the metric a `denominator`",
        );
    }
    Some(match per? {
        Per::Customer => Denominator::Customers,
        Per::Decision => Denominator::Decisions,
    })
}

/// The sum under `key`, if it is there and valid.
fn read_sum(table: &Table<'_, '_>, key: &str, names: &Names<'_>) -> Option<Sum> {
    let table = table.table(key)?;
    let outcomes = read_outcomes(&table, names);
    let amount = one_of(&table, "sum", &Amount::ALL);
    table.finish();
    Some(Sum { outcomes: outcomes?, amount: amount? })
}

/// The outcome types under `outcome`, sorted.
fn read_outcomes(table: &Table<'_, '_>, names: &Names<'_>) -> Option<Vec<String>> {
    let Outcomes(mut outcomes) = value::needed(table, "outcome")?;
    if outcomes.is_empty() {
        table.problem_at("outcome", "`outcome` is an empty list; name at least one outcome");
    }
    for outcome in outcomes.iter().filter(|outcome| !names.outcomes.contains(&outcome.as_str())) {
        let hint = hint(outcome, names.outcomes.iter().copied());
        table.problem_at(
            "outcome",
            format!("`outcome`: unknown outcome `{outcome}`, not built in and no [[outcome]]{hint}"),
        );
    }
    outcomes.sort_unstable();
    outcomes.dedup();
    Some(outcomes)
}

/// One word of a fixed set. A missing key is a problem, too.
fn one_of<T: Copy>(table: &Table<'_, '_>, key: &str, choices: &[(&str, T)]) -> Option<T> {
    if !table.has(key) {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        table.problem(format!("`{key}` is missing; give it one of {}", words.join(", ")));
    }
    table.choice(key, choices)
}

/// What was probably meant, or else what is known.
fn hint<'a>(id: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let hint = suggestion(id, known.clone());
    if hint.is_empty() { format!("; known: {}", known.collect::<Vec<_>>().join(", ")) } else { hint }
}

/// What an experiment is judged by; `None` without `[experiment.metric]`, and where its primary metric is wrong.
pub(super) fn read_measured(experiment: &Table<'_, '_>, metrics: &[Metric]) -> Option<Measured> {
    let table = experiment.table("metric")?;
    let primary =
        value::needed::<Id>(&table, "primary").and_then(|Id(id)| find(&table, "primary", &id, metrics));
    let guardrails = read_guardrails(&table, metrics);
    let secondary = read_secondary(&table, metrics, primary, &guardrails);
    let Alpha(alpha) = table.or("alpha", Alpha(Measured::ALPHA));
    let Planned(planned) = table.or("planned", Planned(Measured::PLANNED));
    let Covariate(covariate) = table.or("covariate", Covariate(Measured::COVARIATE));
    table.finish();
    Some(Measured { guardrails, secondary, alpha, planned, covariate, ..Measured::by(primary?) })
}

/// The index of the metric called `id`, which `key` names. An unknown one is a problem.
fn find(table: &Table<'_, '_>, key: &str, id: &str, metrics: &[Metric]) -> Option<usize> {
    let found = metric::find(metrics, id);
    if found.is_none() {
        let hint = hint(id, metrics.iter().map(|metric| metric.id.as_str()));
        table
            .problem_at(key, format!("`{key}`: unknown metric `{id}`, not built in and no [[metric]]{hint}"));
    }
    found
}

fn read_guardrails(table: &Table<'_, '_>, metrics: &[Metric]) -> Vec<Guardrail> {
    let tables = table.tables("guardrails");
    if tables.len() > MOST_GUARDRAILS {
        let count = tables.len();
        table.problem_at(
            "guardrails",
            format!("`guardrails` has {count} and may have {MOST_GUARDRAILS}: each makes every limit wider"),
        );
    }
    let mut found: Vec<Guardrail> = Vec::new();
    for table in tables.iter().take(MOST_GUARDRAILS) {
        let metric =
            value::needed::<Id>(table, "metric").and_then(|Id(id)| find(table, "metric", &id, metrics));
        let tolerate: Option<Tolerance> = value::needed(table, "tolerate");
        table.finish();
        let Some(metric) = metric else { continue };
        if found.iter().any(|other| other.metric == metric) {
            let id = name(metrics, metric);
            table.problem_at("metric", format!("`metric`: `{id}` is a guardrail already; keep one of them"));
        }
        // Of one whose tolerance is wrong the metric is still known.
        found.push(Guardrail { metric, tolerate: tolerate.map_or(0.0, |Tolerance(loss)| loss) });
    }
    found
}

fn read_secondary(
    table: &Table<'_, '_>,
    metrics: &[Metric],
    primary: Option<usize>,
    guardrails: &[Guardrail],
) -> Vec<usize> {
    let ids: Vec<String> = table.or("secondary", Vec::new());
    if ids.len() > MOST_SECONDARY {
        let count = ids.len();
        table.problem_at(
            "secondary",
            format!(
                "`secondary` has {count} metrics and may have {MOST_SECONDARY}; remove those that are over"
            ),
        );
    }
    let indices = ids.iter().take(MOST_SECONDARY).filter_map(|id| find(table, "secondary", id, metrics));
    let mut found: Vec<usize> = indices.collect();
    found.sort_unstable();
    found.dedup();
    for metric in &found {
        let is_guardrail = || guardrails.iter().any(|guardrail| guardrail.metric == *metric);
        let role = if primary == Some(*metric) {
            "the primary metric"
        } else if is_guardrail() {
            "a guardrail"
        } else {
            continue;
        };
        let id = name(metrics, *metric);
        table.problem_at("secondary", format!("`secondary`: `{id}` is {role} already; remove it here"));
    }
    found
}

fn name(metrics: &[Metric], index: usize) -> &str {
    metrics.get(index).map_or("", |metric| metric.id.as_str())
}
