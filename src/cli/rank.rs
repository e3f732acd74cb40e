//! `proffer rank`: asks a server, prints a table or JSON.

use std::cmp::Reverse;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use clap::Args;

use super::printing::{print, print_pretty_json};
use super::table::{Table, new_table};
use super::typed::{TypedColumns, schema};
use super::values::{Written, assignment, batch, listed, moment};
use super::{Failure, block_on};
use crate::grpc::client::{Client, RankAnswer, RankQuestion, RankedCustomer, ShownAssignment};
use decision::{ContextValue, Stage};
use feature::store::read_cell;
use feature::{FeatureBatch, FeatureSchema, ValueRef};
use replay::ViewedWithheld;
use table::Decimal;
use telemetry::foreign;

#[derive(Debug, Args)]
pub(super) struct RankArgs {
    /// The placement to fill
    #[arg(long, value_name = "ID")]
    placement: String,
    /// A customer; may be given several times
    #[arg(long, value_name = "ID", required = true)]
    customer: Vec<String>,
    /// The channel [default: the placement's first]
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    channel: String,
    /// The most offers per customer [default: the placement's]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    count: u32,
    /// A feature of the customers, which overrides the store's; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    feature: Vec<(String, String)>,
    /// A feature of the call; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    context: Vec<(String, String)>,
    /// A consent that the customers gave; may be given several times
    #[arg(long, value_name = "NAME")]
    consent: Vec<String>,
    /// A variant to decide with, whatever is drawn; the server must have `experiments.forced_variants`
    #[arg(long, value_name = "EXPERIMENT=VARIANT", value_parser = assignment)]
    force: Vec<(String, String)>,
    /// Consider only these offers
    #[arg(long, value_name = "IDS", value_delimiter = ',', value_parser = listed)]
    candidates: Vec<String>,
    /// Do not consider these offers
    #[arg(long, value_name = "IDS", value_delimiter = ',', value_parser = listed)]
    exclude: Vec<String>,
    /// When the offers would be shown, such as 2026-12-24T18:00:00Z, or a day (midnight in UTC) [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    as_of: Option<DateTime<Utc>>,
    /// Also print withheld offers, and why
    #[arg(long)]
    explain: bool,
    /// Have the decisions recorded, as if the offers were shown; otherwise it is a preview
    #[arg(long)]
    record: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The server
    #[arg(long, value_name = "ADDRESS", env = "PROFFER_SERVER", default_value = "127.0.0.1:50051")]
    server: String,
}

/// Refuses names that the schema does not have. The server would answer without them. That helps callers across a
/// promotion, but would hide a typing error.
fn refuse_unknown(args: &RankArgs, schema: &FeatureSchema) -> Result<(), Failure> {
    let features = args.feature.iter().map(|(name, _)| ("--feature", name));
    let context = args.context.iter().map(|(name, _)| ("--context", name));
    if let Some((flag, name)) = features.chain(context).find(|(_, name)| schema.get(name).is_none()) {
        let hint = schema.closest(name).map(|close| format!("; did you mean `{close}`?")).unwrap_or_default();
        return Err(Failure::new(format!("{flag}: the release has no feature `{name}`{hint}")));
    }
    Ok(())
}

/// Refuses two variants of one experiment: the call has room for one, and would silently take the last.
fn refuse_repeated(forced: &[(String, String)]) -> Result<(), Failure> {
    for (index, (experiment, variant)) in forced.iter().enumerate() {
        let before = forced.iter().take(index).find(|(other, _)| other == experiment);
        if let Some((_, other)) = before {
            return Err(Failure::new(format!(
                "--force: experiment `{experiment}` is given twice, with `{other}` and `{variant}`; force one of them"
            )));
        }
    }
    Ok(())
}

pub(super) fn run(args: &RankArgs) -> Result<(), Failure> {
    refuse_repeated(&args.force)?;
    let answer = block_on(async {
        let mut client = Client::connect(&args.server).await?;
        let named = !args.feature.is_empty() || !args.context.is_empty();
        let schema = if named { schema(&client).await } else { None };
        if let Some(schema) = &schema {
            refuse_unknown(args, schema)?;
        }
        let question = question(args, schema.as_ref())?;
        Ok(client.rank(question).await?)
    })?;
    if args.json {
        return print_pretty_json(&answer);
    }
    print(describe(&answer).trim_end())
}

fn question(args: &RankArgs, schema: Option<&FeatureSchema>) -> Result<RankQuestion, Failure> {
    let mut given = Vec::with_capacity(args.context.len());
    for (name, text) in &args.context {
        given.extend(context(schema, name, text)?.map(|value| (name.clone(), value)));
    }
    Ok(RankQuestion {
        placement: args.placement.clone(),
        channel: args.channel.clone(),
        customers: args.customer.clone(),
        consents: args.consent.clone(),
        features: features(args, schema)?,
        context: given,
        forced: args.force.clone(),
        candidates: args.candidates.clone(),
        excluded: args.exclude.clone(),
        count: args.count,
        explain: args.explain,
        record: args.record,
        as_of: args.as_of,
    })
}

/// The features of each customer, typed by the schema. Unknown ones are typed by their look; the server names them.
fn features(args: &RankArgs, schema: Option<&FeatureSchema>) -> Result<Option<FeatureBatch>, Failure> {
    if args.feature.is_empty() {
        return Ok(None);
    }
    let known = |name: &str| schema.and_then(|schema| schema.get(name));
    let (mut names, mut row, mut typed) = (Vec::new(), Vec::new(), Vec::new());
    for (position, (name, value)) in args.feature.iter().enumerate() {
        match known(name) {
            Some(feature) => typed.push((position, feature)),
            None => {
                names.push(name.clone());
                row.push(value.clone());
            }
        }
    }
    let mut columns = TypedColumns::new(&typed, Decimal::Point);
    for _ in &args.customer {
        columns
            .push(|position| args.feature[position].1.as_bytes())
            .map_err(|wrong| Failure::new(format!("--feature: {}", wrong.join("\n"))))?;
    }
    let mut all = batch(&names, &vec![row; args.customer.len()]);
    all.columns.extend(columns.take().columns);
    Ok(Some(all))
}

fn context(schema: Option<&FeatureSchema>, name: &str, text: &str) -> Result<Option<ContextValue>, Failure> {
    let Some(feature) = schema.and_then(|schema| schema.get(name)) else { return Ok(looks_like(text)) };
    let value = read_cell(feature, text.as_bytes(), Decimal::Point)
        .map_err(|message| Failure::new(format!("--context: {message}")))?;
    Ok(match value {
        ValueRef::Missing => None,
        // Sent as written: the server rounds it to 32 bits.
        ValueRef::Float(number) => Some(ContextValue::Float(text.trim().parse().unwrap_or(number.into()))),
        ValueRef::Int(number) => Some(ContextValue::Int(number)),
        ValueRef::Bool(truth) => Some(ContextValue::Bool(truth)),
        ValueRef::String(text) => Some(ContextValue::String(text.to_owned())),
    })
}

fn looks_like(text: &str) -> Option<ContextValue> {
    Some(match Written::read(text) {
        Written::Missing => return None,
        Written::Int(whole) => ContextValue::Int(whole),
        Written::Float(number) => ContextValue::Float(number),
        Written::Bool(truth) => ContextValue::Bool(truth),
        Written::Text(text) => ContextValue::String(text),
    })
}

fn describe(answer: &RankAnswer) -> String {
    let mut text = String::new();
    for result in &answer.results {
        let _ = write!(text, "customer {}", foreign::shown(&result.customer_id));
        if let Some(segment) = &result.segment {
            let _ =
                write!(text, " · segment {} {:?} (margin {:.2})", segment.id, segment.name, segment.margin);
        }
        let _ = writeln!(text, " · release {} · decision {}", answer.release, result.decision_id);
        if let Some(error) = &result.error {
            let _ = writeln!(text, "not decided: {}\n", foreign::escaped(error));
            continue;
        }
        let _ = writeln!(text, "{}", shown(result));
        if result.held_out {
            let _ = writeln!(text, "\nheld out: only the fallback reaches this customer");
        }
        if !result.assignments.is_empty() {
            let named = |one: &ShownAssignment| {
                format!(
                    "{} = {} ({})",
                    foreign::shown(&one.experiment),
                    foreign::shown(&one.variant),
                    one.how
                )
            };
            let named: Vec<String> = result.assignments.iter().map(named).collect();
            let _ = writeln!(text, "\nvariants: {}", named.join(", "));
        }
        if !result.rejected.is_empty() {
            let _ = writeln!(text, "\nwithheld\n{}", withheld(result));
        }
        if !result.degraded.is_empty() {
            let _ = writeln!(text, "\ndid without: {}", foreign::escaped(&result.degraded.join(", ")));
        }
        text.push('\n');
    }
    text
}

fn shown(result: &RankedCustomer) -> Table {
    let header =
        ["", "offer", "priority", "propensity", "× context", "× value", "× lever", "margin", "scored by"];
    let mut table = new_table(&header, 2..8);
    for offer in &result.offers {
        let mut id = offer.offer_id.clone();
        if offer.mandatory {
            id.push_str(" (mandatory)");
        }
        if offer.selection_probability < 1.0 {
            let _ = write!(id, " (probability {:.4})", offer.selection_probability);
        }
        if offer.conditional {
            id.push_str(" (conditional)");
        }
        let mut row = vec![offer.rank.to_string(), id];
        match &offer.factors {
            Some(factors) => row.extend([
                format!("{:.4}", offer.priority),
                format!("{:.4}", factors.propensity),
                format!("{:.2}", factors.context_weight),
                format!("{:.2}", factors.value),
                format!("{:.2}", factors.lever),
                format!("{:.2}", factors.margin),
                format!("{} v{}", factors.model, factors.model_version),
            ]),
            None => row.extend(["–"; 6].map(str::to_owned).into_iter().chain(["fallback".to_owned()])),
        }
        table.add_row(row);
    }
    table
}

fn withheld(result: &RankedCustomer) -> Table {
    let mut table = new_table(&["offer", "stage", "reason", "because"], 0..0);
    // Those that came nearest to being shown come first.
    let mut rejected: Vec<&ViewedWithheld> = result.rejected.iter().collect();
    let stage = |offer: &ViewedWithheld| Stage::ALL.iter().find(|stage| stage.as_str() == offer.stage);
    rejected.sort_by_key(|offer| Reverse(stage(offer).map(|stage| stage.place())));
    for offer in rejected {
        let because: Vec<&str> =
            [offer.rule.as_str(), &offer.detail].into_iter().filter(|part| !part.is_empty()).collect();
        table.add_row([offer.offer_id.as_str(), &offer.stage, &offer.reason, &because.join(" – ")]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::refuse_repeated;

    #[test]
    fn two_variants_of_one_experiment_are_refused() {
        let forced = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs
                .iter()
                .map(|(experiment, variant)| ((*experiment).to_owned(), (*variant).to_owned()))
                .collect()
        };
        assert!(refuse_repeated(&forced(&[("e", "a"), ("f", "a")])).is_ok());
        assert!(refuse_repeated(&forced(&[("e", "a"), ("f", "a"), ("e", "b")])).is_err());
        assert!(refuse_repeated(&forced(&[("e", "a"), ("e", "a")])).is_err());
    }
}
