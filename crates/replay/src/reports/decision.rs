//! What the page of one decision says.

use report::numbers;

use super::outline::{Block, Cell, Grid, Kind, Outline, Part};
use crate::view::{
    DecisionView, ViewedAssignment, ViewedFactors, ViewedHistory, ViewedLimit, ViewedOffer, ViewedRefusal,
    ViewedReservation, ViewedValue, ViewedWithheld,
};

/// The page.
pub(super) fn outline(view: &DecisionView) -> Outline {
    Outline {
        title: "A decision".to_owned(),
        source: source(view),
        lead: lead(view),
        warnings: warnings(view),
        tiles: Vec::new(),
        parts: vec![
            Part::new("shown", "What was shown", shown(&view.offers)),
            Part::new("arms", "Experiments", arms(view)),
            Part::new("withheld", "Why not the others", withheld(&view.withheld)),
            Part::new("reserved", "What was reserved", reserved(&view.offers)),
            Part::new("refused", "What was refused when it was to be shown", refused(&view.refusals)),
            Part::new("history", "What limits looked at", history(view.history.as_ref())),
            Part::new("features", "Features of the customer", values(&view.features)),
            Part::new("context", "The context", values(&view.context)),
            Part::new("without", "What the decision did without", listed(&view.degraded)),
        ],
        verdict: None,
    }
}

fn source(view: &DecisionView) -> String {
    let channel = if view.channel.is_empty() { &view.default_channel } else { &view.channel };
    let over = if channel.is_empty() { String::new() } else { format!(" over `{channel}`") };
    let customer = match view.customer_id.as_str() {
        "" => "an unknown visitor".to_owned(),
        id => format!("customer `{id}`"),
    };
    format!(
        "`{}`: for {customer} at `{}`{over}, at {}, by release {}",
        view.decision_id, view.placement, view.decided_at, view.release
    )
}

fn lead(view: &DecisionView) -> String {
    if let Some(error) = &view.error {
        return format!("There was no decision: {error}.");
    }
    let ids: Vec<String> = view.offers.iter().map(|offer| format!("`{}`", offer.offer_id)).collect();
    let segment = view.segment.as_ref().map(|segment| match segment.name.as_str() {
        "" => format!(" The customer is in segment {}.", segment.id),
        name => format!(" The customer is in segment {} ({name}).", segment.id),
    });
    let shown = match ids.as_slice() {
        [] => "Nothing was shown.".to_owned(),
        ids => format!("Shown, best first: {}.", ids.join(", ")),
    };
    let again = if view.replayed == Some(true) { " Decided again, the answer is the same." } else { "" };
    shown + &segment.unwrap_or_default() + again
}

fn warnings(view: &DecisionView) -> Vec<String> {
    let another = (view.replayed == Some(false)).then(|| {
        "Decided again, the answer is another one; `proffer replay --decision` says where.".to_owned()
    });
    let unexplained =
        (!view.unexplained.is_empty()).then(|| format!("It cannot be decided again: {}.", view.unexplained));
    another.into_iter().chain(unexplained).collect()
}

fn grid(columns: &[(&'static str, Kind)], rows: Vec<Vec<Cell>>) -> Vec<Block> {
    if rows.is_empty() { Vec::new() } else { vec![Block::Grid(Grid { columns: columns.to_vec(), rows })] }
}

fn shown(offers: &[ViewedOffer]) -> Vec<Block> {
    let number = |value: f64| Cell::from(numbers::quantity(value));
    let row = |offer: &ViewedOffer| {
        let id =
            if offer.fallback { format!("{} (fallback)", offer.offer_id) } else { offer.offer_id.clone() };
        let id = if offer.mandatory { format!("{id} (mandatory)") } else { id };
        let mut row: Vec<Cell> = vec![id.into(), number(offer.priority), probability(offer).into()];
        match &offer.factors {
            Some(ViewedFactors {
                propensity,
                context_weight,
                value,
                lever,
                margin,
                model,
                model_version,
                ..
            }) => {
                row.extend([*propensity, *context_weight, *value, *lever, *margin].map(number));
                row.push(format!("{model} {model_version}").into());
            }
            None => row.extend([const { "" }; 6].map(Cell::from)),
        }
        row
    };
    let columns = [
        ("offer", Kind::Words),
        ("priority", Kind::Number),
        ("probability", Kind::Number),
        ("propensity", Kind::Number),
        ("context", Kind::Number),
        ("value", Kind::Number),
        ("lever", Kind::Number),
        ("margin", Kind::Number),
        ("model", Kind::Words),
    ];
    grid(&columns, offers.iter().map(row).collect())
}

/// The probability of the choice; an asterisk where it is conditional.
fn probability(offer: &ViewedOffer) -> String {
    let mark = if offer.conditional { "*" } else { "" };
    format!("{:.4}{mark}", offer.selection_probability)
}

fn arms(view: &DecisionView) -> Vec<Block> {
    let mut blocks = Vec::new();
    if view.held_out {
        blocks
            .push(Block::Text("The customer is in the holdout: only the fallback reaches them.".to_owned()));
    }
    let row = |one: &ViewedAssignment| {
        [one.experiment.as_str(), one.variant.as_str(), one.how].map(Cell::from).to_vec()
    };
    let rows = view.assignments.iter().map(row).collect();
    blocks.extend(grid(&words(["experiment", "variant", "how"]), rows));
    blocks
}

fn withheld(withheld: &[ViewedWithheld]) -> Vec<Block> {
    let row = |one: &ViewedWithheld| {
        let why = if one.rule.is_empty() { &one.detail } else { &one.rule };
        [&one.offer_id, &one.stage, &one.reason, why].map(|text| text.as_str().into()).to_vec()
    };
    grid(&words(["offer", "stage", "reason", "rule or detail"]), withheld.iter().map(row).collect())
}

fn reserved(offers: &[ViewedOffer]) -> Vec<Block> {
    let rows = offers.iter().flat_map(|offer| {
        offer.reservations.iter().map(|ViewedReservation { limit, outcome, until }| {
            [offer.offer_id.as_str(), *limit, outcome.as_str(), until.as_str()].map(Cell::from).to_vec()
        })
    });
    grid(&words(["offer", "limit", "for an outcome", "until"]), rows.collect())
}

fn refused(refusals: &[ViewedRefusal]) -> Vec<Block> {
    let row = |ViewedRefusal { round, reason, limit }: &ViewedRefusal| {
        let when = round.map_or_else(|| "as the fallback".to_owned(), |round| format!("round {}", round + 1));
        let mut row = limit_cells(limit).to_vec();
        row.extend([reason.as_str().into(), when.into()]);
        row
    };
    grid(&words(["offer", "limit", "frees", "reason", "when"]), refusals.iter().map(row).collect())
}

fn history(history: Option<&ViewedHistory>) -> Vec<Block> {
    let Some(ViewedHistory { opted_out, events, full }) = history else { return Vec::new() };
    let mut blocks = Vec::new();
    if *opted_out {
        blocks.push(Block::Text("The customer had opted out of all marketing.".to_owned()));
    }
    let rows = events.iter().map(|event| {
        // The offers of a decision stand together.
        let at = if event.same_decision { "" } else { &event.at };
        let what = if event.many { format!("{} (many)", event.event_type) } else { event.event_type.clone() };
        vec![
            at.into(),
            what.into(),
            event.offer.as_str().into(),
            event.placement.as_str().into(),
            event.channel.as_str().into(),
        ]
    });
    blocks.extend(grid(&words(["at", "event", "offer", "placement", "channel"]), rows.collect()));
    let full: Vec<Vec<Cell>> = full.iter().map(|limit| limit_cells(limit).to_vec()).collect();
    blocks.extend(grid(&words(["offer", "limit without room", "frees"]), full));
    blocks
}

/// Offer, limit, and when it frees.
fn limit_cells(limit: &ViewedLimit) -> [Cell; 3] {
    let frees = match &limit.frees_at {
        Some(moment) => format!("{}, at {moment}", limit.frees),
        None => limit.frees.clone(),
    };
    [limit.offer_id.as_str().into(), limit.limit.as_str().into(), frees.into()]
}

fn values(values: &[ViewedValue]) -> Vec<Block> {
    let row = |value: &ViewedValue| {
        let number = || if value.value.is_null() { String::new() } else { value.value.to_string() };
        let shown = value.value.as_str().map_or_else(number, str::to_owned);
        vec![value.name.as_str().into(), shown.into(), value.source.into()]
    };
    grid(&words(["feature", "value", "from"]), values.iter().map(row).collect())
}

fn listed(lines: &[String]) -> Vec<Block> {
    if lines.is_empty() { Vec::new() } else { vec![Block::List(lines.to_vec())] }
}

fn words<const N: usize>(names: [&'static str; N]) -> [(&'static str, Kind); N] {
    names.map(|name| (name, Kind::Words))
}
