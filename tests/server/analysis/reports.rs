//! Reports of a server and of the command line equal what the test did.

use std::collections::BTreeSet;

use serde_json::Value;
use tonic::Code;
use wire::analysis_service_client::AnalysisServiceClient;

use super::scene::{EXPERIMENT, Shown, bank, report, settings, show, some_of};
use crate::binary::{Ended, proffer};
use crate::harness::{Server, wire};

const JUDGED: &str = "primary = \"conversion\"\nguardrails = [{ metric = \"complaint_rate\", tolerate = 0.1 }]\n\
                      secondary = [\"revenue_per_customer\"]\nplanned = 1000";

async fn experiment(server: &Server) -> wire::ExperimentReport {
    let request =
        wire::GetExperimentReportRequest { experiment: EXPERIMENT.to_owned(), ..Default::default() };
    let mut client = AnalysisServiceClient::new(server.channel().await);
    client.get_experiment_report(request).await.unwrap().into_inner().report.unwrap()
}

fn of_arm<'s>(shown: &'s [Shown], arm: &str) -> Vec<&'s Shown> {
    some_of(shown, arm, 10)
}

fn run(server: &Server, words: &[&str]) -> Ended {
    let address = server.address.to_string();
    proffer([words, &["--server", &address]].concat())
}

/// Numbers of a page, as they stand in the JSON.
fn shown_numbers(page: &str) -> Vec<f64> {
    page.split("data-value=\"").skip(1).map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect()
}

fn numbers(value: &Value, found: &mut BTreeSet<u64>) {
    match value {
        Value::Number(number) => _ = found.insert(number.as_f64().unwrap().to_bits()),
        Value::Array(values) => values.iter().for_each(|value| numbers(value, found)),
        Value::Object(fields) => fields.values().for_each(|value| numbers(value, found)),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_count_what_was_done_in_each_arm_whoever_makes_them() {
    let bank = bank("coverage = 1.0", JUDGED);
    let data = tempfile::tempdir().unwrap();
    let data_directory = data.path().to_str().unwrap();
    let server = Server::start(bank.path(), &settings(data_directory));
    let shown = show(&server, 0..1_000).await;
    // Some come again; they count once.
    show(&server, 0..300).await;
    let converted = [some_of(&shown, "champion", 2), some_of(&shown, "challenger", 4)];
    for some in &converted {
        report(&server, "convert", 50.0, some).await;
    }
    let complained = some_of(&shown, "champion", 1);
    report(&server, "complaint", 0.0, &complained).await;

    let found = experiment(&server).await;
    for (number, arm) in ["champion", "challenger"].into_iter().enumerate() {
        let count = &found.arms[number];
        assert_eq!((count.variant.as_str(), count.customers), (arm, of_arm(&shown, arm).len() as u64));
        let metric = |name: &str| found.metrics.iter().find(|metric| metric.metric == name).unwrap();
        let value = &metric("conversion").arms[number];
        assert_eq!((value.n, value.numerator), (count.customers, converted[number].len() as f64));
        let revenue = &metric("revenue_per_customer").arms[number];
        let expected = 50.0 * converted[number].len() as f64;
        assert!((revenue.numerator - expected).abs() < 1e-6, "{revenue:?}");
    }
    let comparison = &found.metrics[0].comparisons[0];
    let effect = comparison.effect.as_ref().unwrap_or_else(|| panic!("{}", comparison.hidden));
    let rate = |number: usize| converted[number].len() as f64 / found.arms[number].customers as f64;
    assert!((effect.delta - (rate(1) - rate(0))).abs() < 1e-9, "{effect:?}");
    let (sequence, fixed) = (effect.sequence.unwrap(), effect.fixed.unwrap());
    assert!(sequence.low < fixed.low && fixed.high < sequence.high, "{effect:?}");
    assert!(!found.mismatch.as_ref().unwrap().is_mismatch);

    // The command line says the same, of the server and of the store with its log.
    let asked = ["experiment", "report", EXPERIMENT, "--json"];
    let of_server = run(&server, &asked);
    let store = server.store.to_str().unwrap();
    let of_store = proffer([&asked[..], &["--store", store, "--data", data_directory]].concat());
    let [mut one, mut other] = [&of_server, &of_store].map(|ended| {
        assert_eq!(ended.code, Some(0), "{ended:?}");
        serde_json::from_str::<Value>(&ended.stdout).unwrap()
    });
    for report in [&mut one, &mut other] {
        report["sources"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .for_each(|source| source["age_seconds"] = 0.into());
    }
    assert_eq!(one, other);
    assert_eq!(one["arms"][0]["customers"], found.arms[0].customers);
    let page = run(&server, &["experiment", "report", EXPERIMENT, "--format", "html"]);
    let mut known = BTreeSet::new();
    numbers(&serde_json::from_str(&run(&server, &asked).stdout).unwrap(), &mut known);
    let shown_there = shown_numbers(&page.stdout);
    assert!(shown_there.len() > 40, "{}", shown_there.len());
    // What ages between two reports is not compared.
    let strange: Vec<&f64> = shown_there.iter().filter(|number| !known.contains(&number.to_bits())).collect();
    assert!(strange.len() <= 1, "{strange:?}");
    for (format, begins) in [("csv", "experiment,"), ("text", "")] {
        let ended = run(&server, &["experiment", "report", EXPERIMENT, "--format", format]);
        assert!(ended.code == Some(0) && ended.stdout.starts_with(begins), "{ended:?}");
        assert!(ended.stdout.contains("challenger"), "{}", ended.stdout);
    }
    plans(&server, data_directory);
    business(&server, &shown, &converted).await;
    refusals(&server).await;
}

fn plans(server: &Server, data: &str) {
    let store = server.store.to_str().unwrap();
    let asked = ["experiment", "plan", EXPERIMENT, "--relative", "20%", "--store", store, "--data", data];
    let ended = proffer([&asked[..], &["--json"]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let plan: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(plan["customers"], 1_000);
    let effect = &plan["effects"][0];
    let (base, difference) = (plan["base"].as_f64().unwrap(), effect["difference"].as_f64().unwrap());
    assert!((difference - 0.2 * base).abs() < 1e-12);
    let [any_time, one_look] = ["any_time", "one_look"].map(|look| effect[look].as_u64().unwrap());
    // By the usual formula, at α = 0.05 / 2 comparisons and a power of 0.8.
    let variances = base * (1.0 - base) + (base + difference) * (1.0 - base - difference);
    let expected = 2.0 * (2.241_403_f64 + 0.841_621).powi(2) * variances / difference.powi(2);
    assert!((one_look as f64 / expected - 1.0).abs() < 0.01, "{one_look} {expected}");
    assert!(any_time > one_look && any_time < 3 * one_look, "{effect}");
    let text = proffer(asked);
    assert!(text.code == Some(0) && text.stdout.contains("conversion"), "{text:?}");
    let without = proffer(["experiment", "plan", EXPERIMENT]);
    assert!(without.code == Some(2) && without.stderr.contains("--store"), "{without:?}");
}

async fn business(server: &Server, shown: &[Shown], converted: &[Vec<&Shown>; 2]) {
    let mut client = AnalysisServiceClient::new(server.channel().await);
    let mut ask = async |by: wire::MetricsBy| {
        let request = wire::GetMetricsRequest {
            placement: "home".to_owned(),
            by: by.into(),
            metrics: vec!["conversion".to_owned(), "revenue_per_customer".to_owned()],
            ..Default::default()
        };
        client.get_metrics(request).await.unwrap().into_inner().report.unwrap()
    };
    let by_offer = ask(wire::MetricsBy::Offer).await;
    let offers: BTreeSet<&String> = shown.iter().flat_map(|one| &one.offers).collect();
    assert_eq!(by_offer.rows.len(), offers.len() + 1);
    for row in &by_offer.rows[..offers.len()] {
        let had = shown.iter().filter(|one| one.offers.contains(&row.part)).count();
        assert_eq!(row.customers, had as u64, "{row:?}");
        let accepted = converted.iter().flatten().filter(|one| one.offers[0] == row.part).count();
        assert!((row.values[0].numerator - accepted as f64).abs() < 1e-9, "{row:?}");
    }
    let all = by_offer.rows.last().unwrap();
    assert_eq!((all.part.as_str(), all.customers, all.decisions), ("all", 1_000, 1_300));
    for by in [wire::MetricsBy::Segment, wire::MetricsBy::Day] {
        assert_eq!(ask(by).await.rows.last().unwrap().customers, 1_000);
    }
    let ended = run(server, &["metrics", "--by", "day", "--metric", "conversion", "--json"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let told: Value = serde_json::from_str(&ended.stdout).unwrap();
    let accepted = converted.iter().flatten().count();
    assert_eq!(told["rows"].as_array().unwrap().last().unwrap()["values"][0]["numerator"], accepted as f64);
}

async fn refusals(server: &Server) {
    let mut client = AnalysisServiceClient::new(server.channel().await);
    let ask = |experiment: &str, phase: &str| wire::GetExperimentReportRequest {
        experiment: experiment.to_owned(),
        phase: phase.to_owned(),
    };
    for (request, code, named) in [
        (ask("leters", ""), Code::NotFound, "letters"),
        (ask("", ""), Code::InvalidArgument, "experiment"),
        (ask(EXPERIMENT, "xyz"), Code::InvalidArgument, "phase"),
        (ask(EXPERIMENT, "00000000000000ff"), Code::NotFound, "00000000000000ff"),
    ] {
        let refused = client.get_experiment_report(request).await.unwrap_err();
        assert!(refused.code() == code && refused.message().contains(named), "{refused:?}");
    }
    let unasked = client.get_metrics(wire::GetMetricsRequest::default()).await.unwrap_err();
    assert!(unasked.code() == Code::InvalidArgument && unasked.message().contains("by"), "{unasked:?}");
}
