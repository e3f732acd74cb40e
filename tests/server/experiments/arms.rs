//! Who is in which arm: the same on every server, in any order, after a restart; and who may force another one.

use std::collections::BTreeMap;

use experiment::{Scheme, Split};
use tonic::Code;

use super::scene::{Bank, ask, customers, experiment, forcing, rank, shown, try_rank, variant};
use crate::harness::{Server, dense, wire};

/// Customer → experiment → variant.
type Arms = BTreeMap<String, Vec<(String, String)>>;

async fn arms(server: &Server, calls: impl IntoIterator<Item = Vec<String>>) -> Arms {
    let mut arms = Arms::new();
    for call in calls {
        for result in rank(server, ask("home", &call)).await {
            let of = |one: wire::Assignment| (one.experiment, one.variant);
            let found = result.assignments.into_iter().map(of).collect();
            assert!(arms.insert(result.customer_id, found).is_none());
        }
    }
    arms
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_and_a_restart_agree_on_arms_whatever_the_order() {
    let two = experiment("model", "coverage = 0.6", "models = { m = 2 }")
        + &experiment("order", "coverage = 1.0\nscheme = \"unleash\"", "strategy = \"margin\"");
    let bank = Bank::new(&two);
    let store = bank.store();
    let (one, other) = (Server::over(&store, &[]), Server::over(&store, &[]));
    let ids = customers(400);
    let together = arms(&one, [ids.clone()]).await;
    let mut backwards: Vec<Vec<String>> = ids.chunks(7).map(<[String]>::to_vec).rev().collect();
    for call in &mut backwards {
        call.reverse();
    }
    assert_eq!(arms(&other, backwards.clone()).await, together);
    drop(one);
    assert_eq!(arms(&Server::over(&store, &[]), backwards).await, together);

    // They are those of the schemes, computed elsewhere.
    let drawn = [
        ("model", Split::new(Scheme::GrowthBook, "model", 0.6, &[0.5, 0.5]).unwrap()),
        ("order", Split::new(Scheme::Unleash, "order", 1.0, &[0.5, 0.5]).unwrap()),
    ];
    for (id, found) in &together {
        let expected = drawn.iter().filter_map(|(experiment, split)| {
            let variant = ["champion", "challenger"][split.variant(id)?];
            Some(((*experiment).to_owned(), variant.to_owned()))
        });
        assert_eq!(*found, expected.collect::<Vec<_>>(), "{id}");
    }
    let in_model = together.values().filter(|arms| arms.len() == 2).count();
    assert!((200..280).contains(&in_model), "{in_model}");
    let metrics = other.admin_get("/metrics").unwrap();
    for variant in ["champion", "challenger"] {
        let labels =
            format!("proffer_experiment_decisions_total{{experiment=\"order\",variant=\"{variant}\"}} ");
        assert!(metrics.contains(&labels), "{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_who_are_eligible_take_part() {
    let when = "coverage = 1.0\nwhen = \"customer.balance >= 500.0 && customer.consent_news\"";
    let server = Bank::new(&experiment("rich", when, "count = 1")).serve();
    let ids = customers(4);
    // The second feature is missing, which is an error of the rule where the first does not decide.
    let features = dense(&["balance"], 4, &[100.0, 600.0, 100.0, 700.0]);
    let column = wire::FeatureColumn {
        name: "consent_news".to_owned(),
        values: Some(wire::feature_column::Values::Bools(wire::BoolValues {
            values: vec![true, true, true, false],
        })),
        null_rows: vec![3],
    };
    let features = wire::FeatureBatch { columns: vec![column], ..features };
    let results = rank(&server, wire::RankRequest { features: Some(features), ..ask("home", &ids) }).await;
    let in_arms: Vec<bool> = results.iter().map(|result| !result.assignments.is_empty()).collect();
    assert_eq!(in_arms, [false, true, false, false], "{results:?}");
    // It is a feature that decisions use.
    let missing = rank(&server, ask("home", &ids[..1])).await;
    assert!(missing[0].degraded.contains(&"missing:consent_news".to_owned()), "{missing:?}");
    let metrics = server.admin_get("/metrics").unwrap();
    let errors = "proffer_experiment_rule_errors_total{experiment=\"rich\"} 1\n";
    assert!(metrics.contains(errors), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn experiments_of_a_group_exclude_each_other() {
    let half = |id: &str, range: &str| {
        let lines = format!("coverage = 1.0\ngroup = \"ranking\"\ngroup_range = {range}");
        experiment(id, &lines, "strategy = \"margin\"")
    };
    let server = Bank::new(&(half("first", "[0.0, 0.5]") + &half("second", "[0.5, 1.0]"))).serve();
    let results = rank(&server, ask("home", &customers(300))).await;
    assert!(results.iter().all(|result| result.assignments.len() == 1));
    let first = results.iter().filter(|result| variant(result, "first").is_some()).count();
    assert!((110..190).contains(&first), "{first}");
}

#[tokio::test(flavor = "multi_thread")]
async fn variants_are_forced_by_those_who_may_and_by_nobody_else() {
    let experiments = experiment("model", "coverage = 0.0", "models = { m = 2 }\nlisted = [\"tester\"]")
        + &experiment("paused", "coverage = 1.0\nstate = \"paused\"", "count = 1");
    let bank = Bank::new(&experiments);
    let (open, closed) = (bank.serve_forced(), bank.serve());
    let ids = customers(3);
    let request = || forcing(ask("home", &ids), &[("model", "challenger")]);
    let refused = try_rank(&closed, request()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("experiments.forced_variants"), "{refused}");
    for result in rank(&open, request()).await {
        let [arm] = &result.assignments[..] else { panic!("{result:?}") };
        assert_eq!((arm.variant.as_str(), arm.how()), ("challenger", wire::AssignmentHow::Requested));
        assert_eq!(result.offers[0].factors.as_ref().unwrap().model_version, 2);
    }
    // Whom the policy lists needs no switch.
    let listed = rank(&closed, ask("home", &["tester".to_owned()])).await;
    assert_eq!(listed[0].assignments[0].how(), wire::AssignmentHow::Listed);
    assert!(rank(&closed, ask("home", &ids)).await.iter().all(|result| result.assignments.is_empty()));
    for (pairs, code, message) in [
        ([("modell", "challenger")], Code::NotFound, "unknown experiment `modell`"),
        ([("model", "loser")], Code::NotFound, "experiment `model` has no variant `loser`"),
        ([("paused", "challenger")], Code::FailedPrecondition, "is paused or stopped"),
    ] {
        let wrong = try_rank(&open, forcing(ask("home", &ids), &pairs)).await.unwrap_err();
        assert_eq!(wrong.code(), code, "{wrong}");
        assert!(wrong.message().contains("force_variants") && wrong.message().contains(message), "{wrong}");
    }
    assert_eq!(shown(&listed[0]).len(), 2);
}
