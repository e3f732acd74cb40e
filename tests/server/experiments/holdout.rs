//! The holdout: nothing reaches a customer in it but the fallback, and whose turn it is changes with the month.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use tonic::Code;

use super::scene::{Bank, ask, customers, experiment, forcing, rank, shown, try_rank};
use crate::harness::{Server, wire};

/// Everything that could reach somebody: a lever, a mandatory offer, an experiment that lists everybody.
fn bank(redraw: &str, listed: &[String]) -> Bank {
    let holdout = format!("\n[holdout]\nshare = 0.3\nredraw = \"{redraw}\"\n");
    let listed = format!("models = {{ m = 2 }}\nlisted = {listed:?}");
    Bank::new(&format!("{holdout}{}", experiment("model", "coverage = 1.0", &listed)))
        .with("offers.toml", "id = \"gold\"\n", "id = \"gold\"\nmandatory = true\nweight = 900.0\n")
        .with("policy.toml", "percent = 10.0", "percent = 5000.0")
}

fn held_out(results: &[wire::RankResult]) -> BTreeSet<String> {
    results.iter().filter(|result| result.held_out).map(|result| result.customer_id.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_the_fallback_reaches_a_customer_who_is_held_out() {
    let ids = customers(200);
    let bank = bank("never", &ids);
    let (server, open) = (bank.serve(), bank.serve_forced());
    let letters = rank(&server, ask("letter", &ids)).await;
    let out = held_out(&letters);
    assert!((35..85).contains(&out.len()), "{}", out.len());
    let home = rank(&server, ask("home", &ids)).await;
    assert_eq!(held_out(&home), out);
    for (letter, home) in letters.iter().zip(&home) {
        if !out.contains(&letter.customer_id) {
            assert_eq!((shown(letter), shown(home)[0]), (vec!["gold"], "gold"));
            assert!(letter.offers[0].mandatory && letter.assignments.len() == 1);
            continue;
        }
        assert_eq!((shown(letter), shown(home)), (vec!["help"], Vec::new()));
        assert!(letter.offers[0].fallback && letter.assignments.is_empty() && home.assignments.is_empty());
        for rejected in letter.rejected.iter().chain(&home.rejected) {
            let why = (rejected.withheld_stage(), rejected.withheld_reason());
            assert_eq!(why, (wire::WithheldStage::Holdout, wire::WithheldReason::Holdout));
        }
        assert_eq!(home.rejected.len(), 4);
    }
    // A forced variant without the switch reaches nobody; with it, testers see what they ask for.
    let force = || forcing(ask("letter", &ids), &[("model", "champion")]);
    assert_eq!(try_rank(&server, force()).await.unwrap_err().code(), Code::PermissionDenied);
    assert!(rank(&open, force()).await.iter().all(|result| !result.held_out && shown(result) == ["gold"]));
    // Nor does a request that names candidates.
    let named = wire::RankRequest { candidate_offer_ids: vec!["loan".to_owned()], ..ask("letter", &ids) };
    assert_eq!(held_out(&rank(&server, named).await), out);
    let metrics = server.admin_get("/metrics").unwrap();
    let counted = format!("proffer_decisions_held_out_total {}\n", 3 * out.len());
    assert!(metrics.contains(&counted), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_monthly_draw_changes_at_the_end_of_the_month_in_the_policy_s_time_zone() {
    let ids = customers(300);
    let server = bank("monthly", &[]).serve();
    let at = async |server: &Server, moment: &str| {
        let moment: DateTime<Utc> = moment.parse().unwrap();
        let as_of = prost_types::Timestamp { seconds: moment.timestamp(), nanos: 0 };
        held_out(&rank(server, wire::RankRequest { as_of: Some(as_of), ..ask("letter", &ids) }).await)
    };
    // The month of the server's clock holds out as well, whatever a call asks about.
    let today = held_out(&rank(&server, ask("letter", &ids)).await);
    assert!((60..120).contains(&today.len()), "{}", today.len());
    // Tokyo is nine hours ahead of UTC. The months are none that the clock is in.
    let november = at(&server, "2035-10-31T15:00:00Z").await;
    assert_eq!(at(&server, "2035-11-30T14:59:59Z").await, november);
    let december = at(&server, "2035-11-30T15:00:00Z").await;
    assert_eq!(at(&server, "2035-12-31T14:59:59Z").await, december);
    assert_ne!(november, december);
    assert!(november.is_superset(&today) && december.is_superset(&today));
    assert!((35..95).contains(&(december.len() - today.len())), "{}", december.len());
    // Others are drawn: about as many are in both as by chance.
    let both = november.intersection(&december).count() - today.len();
    assert!(both < 45, "{both}");
    assert_ne!(at(&server, "2036-11-15T00:00:00Z").await, november);
}
