//! `proffer rank`: ask a server, print a table that a person reads or JSON.

use std::cmp::Reverse;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use clap::Args;
use comfy_table::Table;

use super::table::new_table;
use super::values::{Written, assignment, batch, moment};
use super::{Failure, block_on, print};
use crate::decision::{ContextValue, Stage};
use crate::grpc::client::{Client, RankAnswer, RankQuestion, RankedCustomer, WithheldOffer};

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
    /// A feature of the customers, over what the store knows; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    feature: Vec<(String, String)>,
    /// A feature of the call; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    context: Vec<(String, String)>,
    /// A consent that the customers gave; may be given several times
    #[arg(long, value_name = "NAME")]
    consent: Vec<String>,
    /// Consider only these offers
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    candidates: Vec<String>,
    /// Do not consider these offers
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    exclude: Vec<String>,
    /// When the offers would be shown, such as 2026-12-24T18:00:00Z, or a day: its midnight in UTC [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    as_of: Option<DateTime<Utc>>,
    /// Also print the offers that were withheld, and why
    #[arg(long)]
    explain: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The server
    #[arg(long, value_name = "ADDRESS", env = "PROFFER_SERVER", default_value = "127.0.0.1:50051")]
    server: String,
}

pub(super) fn run(args: &RankArgs) -> Result<(), Failure> {
    let names: Vec<String> = args.feature.iter().map(|(name, _)| name.clone()).collect();
    let row: Vec<String> = args.feature.iter().map(|(_, value)| value.clone()).collect();
    let features = (!names.is_empty()).then(|| batch(&names, &vec![row; args.customer.len()]));
    let question = RankQuestion {
        placement: args.placement.clone(),
        channel: args.channel.clone(),
        customers: args.customer.clone(),
        consents: args.consent.clone(),
        features,
        context: args
            .context
            .iter()
            .filter_map(|(name, text)| Some((name.clone(), context(text)?)))
            .collect(),
        candidates: args.candidates.clone(),
        excluded: args.exclude.clone(),
        count: args.count,
        explain: args.explain,
        as_of: args.as_of,
    };
    let answer = block_on(async { Ok(Client::connect(&args.server).await?.rank(question).await?) })?;
    if args.json {
        return print(serde_json::to_string_pretty(&answer)?);
    }
    print(describe(&answer).trim_end())
}

fn context(text: &str) -> Option<ContextValue> {
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
        let _ = write!(text, "customer {}", result.customer_id);
        if let Some(segment) = &result.segment {
            let _ =
                write!(text, " · segment {} {:?} (margin {:.2})", segment.id, segment.name, segment.margin);
        }
        let _ = writeln!(text, " · release {} · decision {}", answer.release, result.decision_id);
        if let Some(error) = &result.error {
            let _ = writeln!(text, "not decided: {error}\n");
            continue;
        }
        let _ = writeln!(text, "{}", shown(result));
        if !result.rejected.is_empty() {
            let _ = writeln!(text, "\nwithheld\n{}", withheld(result));
        }
        if !result.degraded.is_empty() {
            let _ = writeln!(text, "\ndid without: {}", result.degraded.join(", "));
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
        let mut row = vec![offer.rank.to_string(), offer.offer_id.clone()];
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
    // Those that came nearest to being shown first.
    let mut rejected: Vec<&WithheldOffer> = result.rejected.iter().collect();
    let stage = |offer: &WithheldOffer| Stage::ALL.iter().position(|stage| stage.as_str() == offer.stage);
    rejected.sort_by_key(|offer| Reverse(stage(offer)));
    for offer in rejected {
        let because: Vec<&str> =
            [offer.rule.as_str(), &offer.detail].into_iter().filter(|part| !part.is_empty()).collect();
        table.add_row([offer.offer_id.as_str(), &offer.stage, &offer.reason, &because.join(" – ")]);
    }
    table
}
