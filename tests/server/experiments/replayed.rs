//! Decisions with experiments and exploration: decided again to the byte by `proffer replay`, and shown with their arms.

use std::collections::BTreeSet;

use super::scene::{Bank, ask, customers, experiment, forcing};
use crate::harness::wire;
use crate::records_faults::{Scene, channel};
use wire::decision_service_client::DecisionServiceClient;

#[tokio::test(flavor = "multi_thread")]
async fn decisions_with_exploration_are_decided_again_to_the_byte() {
    let holdout = "\n[holdout]\nshare = 0.1\nredraw = \"monthly\"\n";
    let halves = experiment("model", "coverage = 0.7", "models = { m = 2 }\nstrategy = \"margin\"");
    let bank = Bank::new(&format!("{holdout}{halves}"))
        .calibrated()
        .with("policy.toml", "count = 2\n", "count = 2\nexploration = { method = \"softmax\", temperature = 20.0 }\n")
        .with(
            "offers.toml",
            "id = \"green\"\n",
            "id = \"green\"\nprior = { propensity = 0.4, evidence = 60.0 }\nmaturity = { max_share = 0.5, impressions = 90 }\n",
        );
    let scene = Scene::of(bank.path());
    let mut serve = scene.server("data", &[]);
    serve.env("PROFFER_EXPERIMENTS_FORCED_VARIANTS", "true");
    let server = scene.start(serve);
    let mut client = DecisionServiceClient::new(channel(server.address).await);
    let ids = customers(300);
    let mut decisions: Vec<wire::RankResult> = Vec::new();
    for (turn, some) in ids.chunks(20).enumerate() {
        let placement = ["home", "letter"][turn % 2];
        let request = match turn % 5 {
            4 => forcing(ask(placement, some), &[("model", "challenger")]),
            _ => ask(placement, some),
        };
        decisions.extend(client.rank(request).await.unwrap().into_inner().results);
    }
    assert!(server.terminate().success());
    let data = scene.path("data");
    let data = data.to_str().unwrap();
    let replay = scene.run(&["replay", "--rescore", "--format", "json", "--data", data]);
    assert_eq!(replay.code, Some(0), "{replay:?}");
    let found: serde_json::Value = serde_json::from_str(&replay.stdout).unwrap();
    assert_eq!(found["identical"], decisions.len(), "{found}");

    // The records say what the callers were told.
    let mut seen = BTreeSet::new();
    let records = scene.records(&["data"]);
    for record in &records {
        let told = decisions.iter().find(|told| told.decision_id == record.decision_id).unwrap();
        let arms = |experiment: &str, variant: &str, how: i32| format!("{experiment}={variant} {how}");
        let recorded: Vec<_> = record
            .assignments
            .iter()
            .map(|one| arms(&one.experiment, &one.variant, one.how as i32))
            .collect();
        let answered: Vec<_> =
            told.assignments.iter().map(|one| arms(&one.experiment, &one.variant, one.how)).collect();
        assert_eq!((&recorded, record.held_out), (&answered, told.held_out));
        let probabilities = |offers: Vec<(f64, bool)>| offers;
        let of_record =
            record.offers.iter().map(|one| (one.selection_probability, one.conditional)).collect();
        let of_answer = told.offers.iter().map(|one| (one.selection_probability, one.conditional)).collect();
        assert_eq!(probabilities(of_record), probabilities(of_answer));
        seen.extend(recorded);
        seen.extend(record.held_out.then(|| "held out".to_owned()));
    }
    assert_eq!(records.len(), decisions.len());
    let all = ["held out", "model=challenger 1", "model=challenger 3", "model=champion 1"];
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), all);

    let explored =
        decisions.iter().find(|told| told.offers.iter().any(|one| one.selection_probability < 1.0));
    let explored = explored.unwrap();
    let shown = scene.run(&["decision", "show", &explored.decision_id, "--data", data]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stdout.contains("decided again: the same answer") && shown.stdout.contains("probability"));
    let arm = decisions.iter().find(|told| !told.assignments.is_empty()).unwrap();
    let shown = scene.run(&["decision", "show", &arm.decision_id, "--data", data]);
    assert!(shown.stdout.contains("experiments") && shown.stdout.contains("model"), "{shown:?}");
}
