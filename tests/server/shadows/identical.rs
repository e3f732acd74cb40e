//! What a report says: nothing differs where the shadow is the champion, and what differs where it is not.

#![allow(clippy::float_cmp, reason = "what is the same differs by exactly nothing")]

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use event::Query;
use event::proto::ShadowRecord;
use tonic::Code;

use super::scene::{rank_many, report, settled, shadow, shown, try_report};
use crate::experiments::scene::Bank;
use crate::harness::{Server, recorded_events, wire};

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_is_the_champion_differs_in_nothing() {
    let server = Bank::new(&shadow("models = { m = 1 }")).serve();
    rank_many(&server, "home", 200).await;
    rank_many(&server, "letter", 100).await;
    let ends = settled(&server, "s", 300).await;
    assert!(ends.compared > 20 && ends.failed == 0, "{ends:?}");
    let (answer, report) = report(&server).await;
    assert_eq!((answer.release, answer.state()), (1, wire::ShadowState::Ready));
    assert!(answer.since.starts_with("20") && answer.unavailable.is_empty() && !answer.method.is_empty());
    assert_eq!((report.shed, report.releases), (Some(ends.shed), HashMap::from([(1, ends.compared)])));
    let all = report.all.unwrap();
    assert_eq!((all.compared, all.failed, all.unvalued), (ends.compared, 0, 0));
    let first = all.first_agrees.unwrap();
    assert_eq!((first.n, first.count, first.share), (ends.compared, ends.compared, 1.0));
    let limits = first.interval.unwrap();
    assert!(limits.low > 0.8 && limits.high > 0.999, "{limits:?}");
    for (what, mean) in [("overlap", all.overlap), ("tau-b", all.tau_b), ("rbo", all.rbo)] {
        let mean = mean.unwrap_or_else(|| panic!("no {what}"));
        assert_eq!((mean.mean, mean.deviation), (1.0, Some(0.0)), "{what}");
    }
    let change = all.score_change.unwrap();
    let quantiles = [change.p1, change.p50, change.p99].map(|quantile| quantile.unwrap().value);
    assert_eq!((change.mean, change.deviation, quantiles), (0.0, Some(0.0), [0.0; 3]));
    let shift = all.score_shift.unwrap();
    assert_eq!((shift.psi, shift.ks, shift.ks_at_most, shift.ks_p_value), (0.0, 0.0, 0.0, 1.0));
    for value in [all.value_by_champion, all.value_by_shadow] {
        let value = value.unwrap();
        assert!(value.champion > 0.0);
        assert_eq!((value.shadow, value.change, value.deviation), (value.champion, 0.0, Some(0.0)));
    }
    assert_eq!(all.withheld_differs.unwrap().count, 0);
    assert!(all.champion_us.unwrap().p50.is_some() && all.shadow_us.unwrap().p99.is_some());
    assert!(report.examples.is_empty(), "{:?}", report.examples);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_has_placements_models_and_the_largest_disagreements() {
    let server = Bank::new(&shadow("models = { m = 2 }\nstrategy = \"margin\"")).serve();
    rank_many(&server, "home", 100).await;
    rank_many(&server, "letter", 50).await;
    let ends = settled(&server, "s", 150).await;
    let (_, whole) = report(&server).await;
    let placements: BTreeMap<&str, u64> = whole
        .placements
        .iter()
        .map(|one| (one.placement.as_str(), one.figures.as_ref().unwrap().compared))
        .collect();
    assert_eq!(placements.values().sum::<u64>(), ends.compared);
    let model = |version| vec![wire::ShadowModel { name: "m".to_owned(), version }];
    let models = wire::ShadowModels { champion: model(1), shadow: model(2), decisions: ends.compared };
    assert_eq!(whole.models, [models]);
    let [first, ..] = &whole.examples[..] else { panic!("{whole:?}") };
    assert!(first.rbo < 1.0 && first.offers.len() > 1, "{first:?}");
    assert!(first.offers.iter().all(|offer| !offer.name.is_empty() && offer.champion.is_some()), "{first:?}");

    let letters = try_report(&server, "s", "letter").await.unwrap().report.unwrap();
    let only: Vec<&str> = letters.placements.iter().map(|one| one.placement.as_str()).collect();
    assert_eq!(only, ["letter"]);
    assert!(letters.examples.iter().all(|one| one.placement == "letter"));
    assert_eq!(letters.all, letters.placements[0].figures);
    assert_eq!(letters.all.unwrap().compared, placements["letter"]);
    assert!(letters.bars.is_none() && letters.models == whole.models);
    let nowhere = try_report(&server, "s", "nowhere").await.unwrap().report.unwrap();
    assert!(nowhere.placements.is_empty() && nowhere.all.unwrap().compared == 0);
    for (shadow, code) in [("ss", Code::NotFound), ("", Code::InvalidArgument)] {
        let refused = try_report(&server, shadow, "").await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(code != Code::NotFound || refused.message().contains("`ss`"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_compared_is_recorded() {
    let bank = Bank::new(&shadow("models = { m = 2 }"));
    let (store, data) = (bank.store(), bank.path().join("data"));
    let server = Server::over(&store, &[("data.directory", data.to_str().unwrap())]);
    let answers = rank_many(&server, "home", 200).await;
    let ends = settled(&server, "s", 200).await;
    server.join_quietly();
    let answered: BTreeMap<&str, Vec<&str>> =
        answers.iter().map(|answer| (answer.results[0].decision_id.as_str(), shown(answer))).collect();
    let mut records: Vec<ShadowRecord> = Vec::new();
    let scanned = recorded_events(&store, &data).scan_shadows(&Query::default(), &mut |record| {
        records.push(record);
        ControlFlow::Continue(())
    });
    scanned.unwrap();
    assert_eq!(records.len() as u64, ends.compared);
    for record in &records {
        assert_eq!((record.shadow.as_str(), record.placement.as_str(), record.release), ("s", "home", 1));
        // The champion is what was answered.
        assert_eq!(record.champion_shown, answered[record.decision_id.as_str()]);
    }
}
