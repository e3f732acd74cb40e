//! Decisions as text.

use std::fmt::Write as _;

use super::super::table::new_table;
use document::plural;
use replay::{
    DecisionView, ListedDecision, ViewedHistory, ViewedLimit, ViewedOffer, ViewedRefusal, ViewedReservation,
    ViewedValue,
};
use telemetry::foreign::{cut, shown};

/// One decision, whole. Ids and names are of others, so that none of them may add a line.
pub(super) fn decision(view: &DecisionView) -> String {
    let mut text = String::new();
    let mut line = |words: String| _ = writeln!(text, "{words}");
    let used = if view.channel.is_empty() { &view.default_channel } else { &view.channel };
    let channel = if used.is_empty() { String::new() } else { format!(" over {}", shown(used)) };
    line(format!("decision {}", shown(&view.decision_id)));
    let placement = shown(&view.placement);
    line(format!("{} at {placement}{channel}, by release {}", view.decided_at, view.release));
    let customer = match (view.customer_id.as_str(), view.pseudonym_key.as_str()) {
        ("", _) => "an unknown visitor".to_owned(),
        (id, "") => format!("customer {}", shown(id)),
        (pseudonym, key) => format!("customer with the pseudonym {} (key {})", shown(pseudonym), shown(key)),
    };
    let segment = view.segment.as_ref().map(|segment| match segment.name.as_str() {
        "" => format!(", segment {}", segment.id),
        name => format!(", segment {} ({})", segment.id, shown(name)),
    });
    line(customer + &segment.unwrap_or_default());
    line(format!(
        "request {} of {} took {:.1} ms on server {} (version {})",
        shown(&view.request_id),
        plural(view.call_customers, "customer"),
        f64::from(view.call_us) / 1000.0,
        shown(&view.server),
        shown(&view.server_version)
    ));
    if let Some(error) = &view.error {
        line(format!("\nno decision: {}", shown(error)));
        return text.trim_end().to_owned();
    }
    line(match view.replayed {
        Some(true) => "decided again: the same answer".to_owned(),
        Some(false) => "decided again: ANOTHER answer; `proffer replay --decision` says where".to_owned(),
        None => format!("cannot be decided again: {}", shown(&view.unexplained)),
    });
    line(format!("\nshown\n{}", offers(view)));
    if view.offers.iter().any(|offer| offer.conditional) {
        line("* given that an offer that was chosen before could not be shown".to_owned());
    }
    if view.held_out {
        line("\nthe customer is in the holdout: only the fallback reaches them".to_owned());
    }
    if !view.assignments.is_empty() {
        line(format!("\nexperiments\n{}", assignments(view)));
    }
    let reserved: Vec<String> = view.offers.iter().flat_map(reserved).collect();
    if !reserved.is_empty() {
        line(format!("\nreserved\n{}", reserved.join("\n")));
    }
    if !view.refusals.is_empty() {
        line(format!("\nrefused when the offers were to be shown\n{}", refusals(view)));
    }
    if !view.withheld.is_empty() {
        line(format!("\nwithheld\n{}", withheld(view)));
    }
    if let Some(history) = &view.history {
        line(format!("\nwhat limits looked at\n{}", self::history(history)));
    }
    for (title, values) in [("features", &view.features), ("context", &view.context)] {
        if !values.is_empty() {
            line(format!("\n{title}\n{}", self::values(values)));
        }
    }
    for (title, words) in [("consents claimed", &view.consents), ("degraded", &view.degraded)] {
        if !words.is_empty() {
            let words: Vec<_> = words.iter().map(|word| shown(word)).collect();
            line(format!("\n{title}: {}", words.join(", ")));
        }
    }
    text.trim_end().to_owned()
}

fn offers(view: &DecisionView) -> String {
    if view.offers.is_empty() {
        return "no offer".to_owned();
    }
    let header = [
        "rank",
        "offer",
        "priority",
        "probability",
        "propensity",
        "context",
        "value",
        "lever",
        "margin",
        "model",
    ];
    let mut table = new_table(&header, 2..9);
    for (offer, rank) in view.offers.iter().zip(1..) {
        let row = match &offer.factors {
            Some(factors) => [
                rank.to_string(),
                if offer.mandatory {
                    format!("{} (mandatory)", offer.offer_id)
                } else {
                    offer.offer_id.clone()
                },
                format!("{:.4}", offer.priority),
                format!("{:.4}{}", offer.selection_probability, if offer.conditional { "*" } else { "" }),
                format!("{:.4}", factors.propensity),
                format!("{:.2}", factors.context_weight),
                format!("{:.2}", factors.value),
                format!("{:.2}", factors.lever),
                format!("{:.2}", factors.margin),
                format!("{} {}", factors.model, factors.model_version),
            ],
            None => {
                let mut row = [const { String::new() }; 10];
                row[0] = rank.to_string();
                row[1] = format!("{} (fallback)", offer.offer_id);
                row
            }
        };
        table.add_row(row);
    }
    table.to_string()
}

fn assignments(view: &DecisionView) -> String {
    let mut table = new_table(&["experiment", "variant", "how"], 0..0);
    for one in &view.assignments {
        table.add_row([one.experiment.as_str(), one.variant.as_str(), one.how]);
    }
    table.to_string()
}

/// A line for each reservation.
fn reserved(offer: &ViewedOffer) -> impl Iterator<Item = String> {
    offer.reservations.iter().map(|reserved| {
        let ViewedReservation { limit, outcome, until } = reserved;
        let (limit, offer, outcome) = (shown(limit), shown(&offer.offer_id), shown(outcome));
        format!("{limit} of {offer}, for `{outcome}`, until {until}")
    })
}

fn refusals(view: &DecisionView) -> String {
    let mut table = new_table(&["offer", "reason", "limit", "frees", "when"], 0..0);
    for ViewedRefusal { round, reason, limit } in &view.refusals {
        let when = match round {
            Some(round) => format!("round {}", round + 1),
            None => "as the fallback".to_owned(),
        };
        table.add_row([&limit.offer_id, reason, &limit.limit, &frees(limit), &when]);
    }
    table.to_string()
}

/// `frees in 3 d 4 h, at 2026-12-03T16:00:00.000Z`.
fn frees(limit: &ViewedLimit) -> String {
    match &limit.frees_at {
        Some(moment) => format!("{}, at {moment}", limit.frees),
        None => limit.frees.clone(),
    }
}

fn history(history: &ViewedHistory) -> String {
    let mut parts = Vec::new();
    if history.opted_out {
        parts.push("the customer had opted out of all marketing".to_owned());
    }
    if !history.events.is_empty() {
        let mut table = new_table(&["at", "event", "offer", "placement", "channel"], 0..0);
        for event in &history.events {
            // The offers of a decision stand together.
            let at = if event.same_decision { "" } else { &event.at };
            let what =
                if event.many { format!("{} (many)", event.event_type) } else { event.event_type.clone() };
            table.add_row([at, &what, &event.offer, &event.placement, &event.channel]);
        }
        parts.push(table.to_string());
    }
    if !history.full.is_empty() {
        let mut table = new_table(&["offer", "limit without room", "frees"], 0..0);
        for limit in &history.full {
            table.add_row([&limit.offer_id, &limit.limit, &frees(limit)]);
        }
        parts.push(table.to_string());
    }
    parts.join("\n\n")
}

fn withheld(view: &DecisionView) -> String {
    let mut table = new_table(&["offer", "stage", "reason", "rule or detail"], 0..0);
    for one in &view.withheld {
        let why = if one.rule.is_empty() { &one.detail } else { &one.rule };
        table.add_row([&one.offer_id, &one.stage, &one.reason, why]);
    }
    table.to_string()
}

fn values(values: &[ViewedValue]) -> String {
    let mut table = new_table(&["feature", "value", "from"], 1..2);
    for value in values {
        let number = || if value.value.is_null() { String::new() } else { value.value.to_string() };
        let shown = value.value.as_str().map_or_else(number, str::to_owned);
        table.add_row([value.name.as_str(), &shown, value.source]);
    }
    table.to_string()
}

/// The most letters of an id in a list; JSON has all of them.
const ID: usize = 40;

/// A line per decision.
pub(super) fn list(listed: &[ListedDecision]) -> String {
    if listed.is_empty() {
        return "no decision is recorded for this".to_owned();
    }
    let mut table = new_table(&["decided at", "decision", "customer", "placement", "release", "shown"], 4..5);
    for one in listed {
        let ids = || one.offer_ids.iter().map(|id| cut(id, ID)).collect::<Vec<_>>().join(", ");
        let shown = match (one.error.as_str(), one.offer_ids.is_empty()) {
            ("", true) => "no offer".to_owned(),
            ("", false) if one.fallback => format!("{} (fallback)", ids()),
            ("", false) => ids(),
            (error, _) => format!("error: {error}"),
        };
        let (customer, placement) = (cut(&one.customer_id, ID), cut(&one.placement, ID));
        let release = one.release.to_string();
        table.add_row([&*one.decided_at, &*one.decision_id, &*customer, &*placement, &*release, &*shown]);
    }
    table.to_string()
}
