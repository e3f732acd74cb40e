//! Shadows that are slow, answer NaN, lack a feature or cannot be loaded: nothing fails, and what is not compared is
//! counted.

use std::fs;
use std::time::{Duration, Instant};

use super::scene::{Ends, answers, balance, bank_with, one, rank_many, report, settled, shadow, try_report};
use crate::experiments::scene::Bank;
use crate::harness::{Server, wire};

/// A bank whose shadow is another graph, with these inputs.
fn bank(graph: &str, inputs: &str) -> Bank {
    bank_with(&shadow("models = { m = 2 }"), graph, inputs)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_shadow_delays_nobody_and_what_it_has_no_time_for_is_counted() {
    // Thousands of layers, in ONNX Runtime: hundreds of times slower than the champion.
    let bank = bank("pushed_slow", "'balance', 'annual_fee'");
    let server = Server::start(bank.path(), &[("shadow.queue", "4")]);
    // One after another, so that each answer is waited for.
    for number in 0..60 {
        answers(&server, vec![one("home", number, balance(number))]).await;
    }
    let waiting = server.admin_get("/metrics").unwrap();
    let waiting =
        waiting.lines().find_map(|line| line.strip_prefix("proffer_shadow_queued ")).unwrap().to_owned();
    assert!(waiting.parse::<u64>().unwrap() <= 4, "{waiting}");
    let ends = settled(&server, "s", 60).await;
    assert!(ends.compared > 0 && ends.shed > 0 && ends.failed == 0, "{ends:?}");
    let (_, report) = report(&server).await;
    assert_eq!(report.shed, Some(ends.shed));
    let median = |span: Option<wire::ShadowSpan>| span.unwrap().p50.unwrap().value;
    let all = report.all.unwrap();
    assert!(median(all.shadow_us) > 10.0 * median(all.champion_us), "{all:?}");
    // What waits when the server ends is shed, and not waited for.
    rank_many(&server, "home", 20).await;
    let began = Instant::now();
    server.join_quietly();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_fits_everything_is_shed() {
    let bank = Bank::new(&shadow("models = { m = 2 }"));
    let server = Server::start(bank.path(), &[("shadow.bytes", "4KiB")]);
    rank_many(&server, "home", 30).await;
    assert_eq!(Ends::of(&server, "s"), Ends { compared: 0, failed: 0, shed: 30 });
    let (_, report) = report(&server).await;
    assert_eq!((report.shed, report.all.unwrap().compared), (Some(30), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_answers_nan_is_an_error_of_its_comparison() {
    // Beyond 10,000 it is NaN, which no gate has met.
    let server = bank("pushed_nan_on_some_rows", "'balance', 'annual_fee'").serve();
    let call = |number: usize| {
        let balance = if number < 20 { 15_000.0 } else { balance(number) % 9_000.0 };
        one("home", number, balance)
    };
    answers(&server, (0..60).map(call).collect()).await;
    let ends = settled(&server, "s", 60).await;
    assert!(ends.failed <= 20 && ends.compared <= 40, "{ends:?}");
    let (_, report) = report(&server).await;
    let failed: u64 = report.errors.iter().map(|error| error.decisions).sum();
    assert_eq!(failed, ends.failed);
    assert!(report.errors.iter().all(|error| error.reason.contains("NaN")), "{:?}", report.errors);
    if ends.shed == 0 {
        assert_eq!((ends.failed, ends.compared), (20, 40));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_lacks_a_feature_is_an_error_of_its_comparison_and_no_answer_misses_it() {
    let income =
        "[[feature]]\nname = 'income'\ntype = 'float'\nentity = 'customer'\nrange = [0.0, 20000.0]\n\n";
    let bank = bank("pushed_good", "'income', 'annual_fee'").with(
        "features.toml",
        "[[feature]]\nname = 'consent_news'",
        &format!("{income}[[feature]]\nname = 'consent_news'"),
    );
    let server = bank.serve();
    let told = rank_many(&server, "home", 40).await;
    let degraded = told.iter().flat_map(|answer| &answer.results[0].degraded);
    assert!(degraded.into_iter().all(|line| !line.contains("income")), "{told:?}");
    let ends = settled(&server, "s", 40).await;
    assert_eq!(ends.compared, 0, "{ends:?}");
    let (_, report) = report(&server).await;
    assert!(report.errors.iter().all(|error| error.reason.contains("income")), "{:?}", report.errors);
    assert_eq!(report.all.unwrap().failed, ends.failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_cannot_be_loaded_says_why_and_everything_else_goes_on() {
    let bank = Bank::new(&shadow("models = { m = 2 }"));
    let store = bank.store();
    fs::remove_file(store.join("models/m/2/model.onnx")).unwrap();
    let server = Server::over(&store, &[]);
    rank_many(&server, "home", 20).await;
    let answer = try_report(&server, "s", "").await.unwrap();
    assert_eq!((answer.release, answer.state()), (1, wire::ShadowState::Unavailable));
    assert!(answer.unavailable.contains("m/2") || answer.unavailable.contains("version 2"), "{answer:?}");
    assert_eq!(answer.report.unwrap().all.unwrap().compared, 0);
    assert_eq!(Ends::of(&server, "s").sum(), 0);
}
