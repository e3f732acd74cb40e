//! Reads limits: of an offer in `offers.toml`, of customers in `policy.toml`.

use chrono::TimeDelta;
use toml::de::DeValue;

use super::{
    Budget, ContactLimit, Counted, CustomerCap, Pacing, Period, Spending, Suppression, SuppressionScope,
    TotalCap,
};
use crate::reading::{self, Entries, Length, Names};
use crate::{Offer, OfferIndex, PlacementIndex, outcome, policy};
use document::{FromToml, Table, suggestion};

/// How long a decision waits for its outcome unless the file says otherwise.
const RESERVE: TimeDelta = TimeDelta::minutes(30);

/// The keys that narrow a contact limit. Without them it holds everywhere, so an empty list would be misread.
const SCOPE: [&str; 5] = ["channels", "placements", "categories", "offers", "exempt"];

/// Reads the contact limits, in the order of the ids.
pub(crate) fn contact_limits(
    entries: &Entries<'_, '_>,
    names: &Names<'_>,
    offers: &[Offer],
) -> Vec<ContactLimit> {
    entries.iter().filter_map(|(id, table)| contact_limit(id, table, names, offers)).collect()
}

/// Reads the suppressions, in the order of the ids.
pub(crate) fn suppressions(entries: &Entries<'_, '_>, names: &Names<'_>) -> Vec<Suppression> {
    entries.iter().filter_map(|(id, table)| suppression(id, table, names)).collect()
}

/// Reads `cap_customer` of an offer.
pub(crate) fn customer_cap(offer: &Table<'_, '_>, names: &Names<'_>) -> Option<CustomerCap> {
    let table = offer.table("cap_customer")?;
    let (limit, per, count) = (table.required("limit"), customer_period(&table), counted(&table, names));
    table.finish();
    Some(CustomerCap { limit, per: per?, count: count? })
}

/// Reads `cap_total` of an offer.
pub(crate) fn total_cap(offer: &Table<'_, '_>, names: &Names<'_>) -> Option<TotalCap> {
    let table = offer.table("cap_total")?;
    let (limit, per, count) = (table.required("limit"), total_period(&table), counted(&table, names));
    let reserve = reserve(&table, count.as_ref());
    table.finish();
    Some(TotalCap { limit, per: per?, count: count?, reserve })
}

/// Reads `budget` of an offer.
pub(crate) fn budget(offer: &Table<'_, '_>, names: &Names<'_>) -> Option<Budget> {
    let table = offer.table("budget")?;
    let amount = reading::money(&table, "amount", table.required("amount"));
    if amount > Budget::MOST {
        table.problem_at("amount", format!("`amount` must be at most {}, not {amount}", Budget::MOST));
    }
    let (per, count) = (total_period(&table), counted(&table, names));
    let spends = reading::one_of(&table, "spends", &[("cost", Spending::Cost), ("value", Spending::Value)]);
    let pacing = [("even", Pacing::Even), ("fast", Pacing::Fast)];
    let pacing = table.choice("pacing", &pacing).unwrap_or(Pacing::Fast);
    let has_end = match per {
        Some(Period::Sliding(_)) => false,
        Some(Period::All) => offer.has("valid_until"),
        Some(Period::Day | Period::Week | Period::Month) | None => true,
    };
    if pacing == Pacing::Even && !has_end {
        table.problem_at(
            "pacing",
            "`pacing` even needs an end to spread the amount until; set `per` to day, week or month, or to all \
             with the offer's `valid_until`",
        );
    }
    let reserve = reserve(&table, count.as_ref());
    table.finish();
    Some(Budget { amount, per: per?, count: count?, spends: spends?, pacing, reserve })
}

fn contact_limit(
    id: &str,
    table: &Table<'_, '_>,
    names: &Names<'_>,
    offers: &[Offer],
) -> Option<ContactLimit> {
    for key in SCOPE.iter().filter(|key| table.or(key, EmptyList(false)).0) {
        table.problem_at(key, format!("`{key}` is an empty list; remove it, or name something"));
    }
    let channels = reading::words(table, "channels");
    let placements = names.placements.find_all(table, "placements").unwrap_or_default();
    let exempt = exempt(table, offers);
    let targets = policy::read_targets(table, names, offers);
    let targets = if exempt.is_empty() {
        targets
    } else {
        let targets = targets.unwrap_or_else(|| (0..offers.len()).map(OfferIndex::new).collect());
        let is_exempt = |offer: &OfferIndex| {
            let class = offers[offer.get()].class.as_ref();
            class.is_some_and(|class| exempt.contains(class))
        };
        Some(targets.into_iter().filter(|offer| !is_exempt(offer)).collect())
    };
    let (limit, per, count) = (table.required("limit"), customer_period(table), counted(table, names));
    table.finish();
    Some(ContactLimit {
        id: id.to_owned(),
        channels,
        placements: placements.into_iter().map(PlacementIndex::new).collect(),
        offers: targets,
        limit,
        per: per?,
        count: count?,
    })
}

/// The classes that a contact limit exempts. One that no offer has is a problem.
fn exempt(table: &Table<'_, '_>, offers: &[Offer]) -> Vec<String> {
    let exempt = reading::words(table, "exempt");
    let classes = || offers.iter().filter_map(|offer| offer.class.as_deref());
    for class in exempt.iter().filter(|class| !classes().any(|known| known == **class)) {
        let hint = suggestion(class, classes());
        table.problem_at("exempt", format!("`exempt`: no offer has the class `{class}`{hint}"));
    }
    exempt
}

fn suppression(id: &str, table: &Table<'_, '_>, names: &Names<'_>) -> Option<Suppression> {
    let after = table.table("after");
    if !table.has("after") {
        table.problem(
            "`after` is missing; give it a table, such as { outcome = \"dismiss\", times = 3, within = \"30d\" }",
        );
    }
    let after = after.map(|after| {
        let outcome = outcome::named(&after, "outcome", names, &[]);
        let Times(times) = after.required("times");
        let Length(within) = after.required("within");
        after.finish();
        (outcome, times, within)
    });
    let Length(pause) = table.required("pause");
    let scopes = [
        ("offer", SuppressionScope::Offer),
        ("category", SuppressionScope::Category),
        ("all", SuppressionScope::All),
    ];
    let scope = reading::one_of(table, "scope", &scopes);
    table.finish();
    let (outcome, times, within) = after?;
    Some(Suppression { id: id.to_owned(), outcome: outcome?, times, within, pause, scope: scope? })
}

/// What `count` says.
fn counted(table: &Table<'_, '_>, names: &Names<'_>) -> Option<Counted> {
    if !table.has("count") {
        table.problem("`count` is missing; give it \"decision\", or an outcome such as \"impression\"");
        return None;
    }
    let counted = outcome::named(table, "count", names, &[outcome::DECISION])?;
    Some(if counted == outcome::DECISION { Counted::Decision } else { Counted::Outcome(counted) })
}

/// How long a decision reserves for its outcome. Where decisions are counted, nothing is waited for.
fn reserve(table: &Table<'_, '_>, count: Option<&Counted>) -> TimeDelta {
    let Length(reserve) = table.or("reserve", Length(RESERVE));
    if count != Some(&Counted::Decision) {
        return reserve;
    }
    if table.has("reserve") {
        table.problem_at(
            "reserve",
            "`reserve` is the time to wait for an outcome, and `count = \"decision\"` waits for none; remove it",
        );
    }
    TimeDelta::zero()
}

fn customer_period(table: &Table<'_, '_>) -> Option<Period> {
    let PeriodOfCustomer(period) = period(table)?;
    Some(period)
}

fn total_period(table: &Table<'_, '_>) -> Option<Period> {
    let PeriodOfTotal(period) = period(table)?;
    Some(period)
}

fn period<T: FromToml>(table: &Table<'_, '_>) -> Option<T> {
    if !table.has("per") {
        table.problem(format!("`per` is missing; give it {}", T::EXPECTED));
    }
    table.optional("per")
}

/// The period of a limit for each customer. What happened to a customer is not kept for all time.
struct PeriodOfCustomer(Period);

/// The period of a limit over all customers.
struct PeriodOfTotal(Period);

impl FromToml for PeriodOfCustomer {
    const EXPECTED: &'static str =
        "a duration of 1s to 3650d, such as \"7d\", or one of \"day\", \"week\", \"month\"";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        match value.as_str()? {
            "day" => Some(Self(Period::Day)),
            "week" => Some(Self(Period::Week)),
            "month" => Some(Self(Period::Month)),
            _ => Length::from_toml(value).map(|Length(length)| Self(Period::Sliding(length))),
        }
    }
}

impl FromToml for PeriodOfTotal {
    const EXPECTED: &'static str =
        "a duration of 1s to 3650d, such as \"7d\", or one of \"day\", \"week\", \"month\", \"all\"";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        if value.as_str() == Some("all") {
            return Some(Self(Period::All));
        }
        PeriodOfCustomer::from_toml(value).map(|PeriodOfCustomer(period)| Self(period))
    }
}

/// How many outcomes begin a pause.
#[derive(Default)]
struct Times(u32);

impl FromToml for Times {
    const EXPECTED: &'static str = "a whole number of at least 1";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        u32::from_toml(value).filter(|times| *times > 0).map(Self)
    }
}

/// Whether a value of any shape is a list without items.
struct EmptyList(bool);

impl FromToml for EmptyList {
    const EXPECTED: &'static str = "anything";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        Some(Self(value.as_array().is_some_and(|items| items.is_empty())))
    }
}
