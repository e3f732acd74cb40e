//! A shadow whose graph never ends for some customers: calls are answered, persons are erased and servers end meanwhile.

use std::fs;
use std::time::Duration;

use super::scene::{
    ENDLESS, Ends, UNSEALED, answers, balance, counted, endless, one, rank_many, recorded, report, settled,
    settled_at, try_report,
};
use super::swaps::promote;
use crate::experiments::scene::shown;
use crate::harness::{Server, wire};
use crate::management::Management;
use crate::privacy::{holds, walk};
use crate::records_faults::{Scene, channel, client, metric, until};
use wire::experiment_service_client::ExperimentServiceClient;

/// The person who is erased, and another, under ids that no other bytes have.
const ANNA: &str = "erased-anna-5c1f";
const BERT: &str = "present-bert-9e2d";

/// Calls for whom the shadow never ends. One would do, if it were not shed.
const BLOCKING: usize = 3;

/// How long the shadow may take until it is not compared any more, on a busy machine.
const SET_ASIDE: Duration = Duration::from_mins(15);

/// A call for a customer with this id, for whom the shadow would show something else.
fn of(customer: &str) -> wire::RankRequest {
    let mut request = one("home", 0, 100.0);
    customer.clone_into(&mut request.customers[0].customer_id);
    request
}

/// A call for whom the shadow never ends.
fn blocking(number: usize) -> wire::RankRequest {
    one("home", 90_000 + number, ENDLESS)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_never_ends_fails_no_call_and_the_rest_is_shed() {
    let server = Server::start(endless().path(), &[("shadow.queue", "4")]);
    answers(&server, (0..BLOCKING).map(blocking).collect()).await;
    // None of these calls fails, and at most five of all wait or are compared.
    rank_many(&server, "home", 100).await;
    let ends = Ends::of(&server, "s");
    assert!(ends.failed == 0 && ends.sum() <= 103 && ends.compared + ends.shed >= 98, "{ends:?}");
    let (told, found) = report(&server).await;
    assert_eq!((told.state(), found.all.unwrap().failed), (wire::ShadowState::Ready, 0));
    // Promotions do not wait for it either, and the next shadow is another one.
    let mut management = Management::over(server.channel().await);
    promote(&mut management, "models = { m = 2 }", "strategy = \"margin\"").await;
    rank_many(&server, "home", 20).await;
    management.rollback().await.unwrap();
    rank_many(&server, "home", 20).await;
    // What waits is shed when the server ends, and what runs is stopped.
    server.join_quietly();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_ends_while_its_shadow_never_does() {
    let bank = endless();
    let scene = Scene::of(bank.path());
    let mut server = scene.serve("data", &UNSEALED);
    let mut client = client(server.address).await;
    let mut ids = Vec::new();
    for number in 0..BLOCKING + 20 {
        let call = if number < BLOCKING { blocking(number) } else { one("home", number, balance(number)) };
        ids.push(client.rank(call).await.unwrap().into_inner().results.remove(0).decision_id);
    }
    assert!(metric(&server, "proffer_shadow_queued") > 0);
    server.signal("TERM");
    until("the server has ended", async || server.has_ended().is_some()).await;
    assert!(server.has_ended().unwrap().success());
    // Its answers are recorded, and nothing of a comparison is torn.
    let decisions = scene.recorded(&["data"]);
    assert!(ids.iter().all(|id| decisions.contains(id)), "{ids:?}");
    scene.assert_whole(&["data"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_erased_while_comparisons_wait_is_in_none_and_in_no_example() {
    let bank = endless();
    let scene = Scene::of(bank.path());
    let mut serve = scene.server("data", &UNSEALED);
    serve.env("PROFFER_SERVER_POLL", "50ms");
    let server = scene.start(serve);
    let mut client = client(server.address).await;
    let mut asked = 0;
    // Both are compared and recorded, and an example shows Anna's decision.
    let has = |name: &str| recorded(&scene, "data").iter().any(|record| record.customer_id == name);
    while !(has(ANNA) && has(BERT)) {
        assert!(asked < 1_000, "nothing is compared");
        for name in [ANNA, BERT] {
            let result = client.rank(of(name)).await.unwrap().into_inner().results.remove(0);
            // The shadow prefers what has no fee.
            assert_eq!(shown(&result)[0], "black");
        }
        asked += 2;
        settled_at(server.admin, "s", asked).await;
        until("comparisons are in the log", async || metric(&server, "proffer_event_queue_length") == 0)
            .await;
    }
    let mut reports = ExperimentServiceClient::new(channel(server.address).await);
    let mut examples = async || {
        let request = wire::GetShadowReportRequest { shadow: "s".to_owned(), ..Default::default() };
        reports.get_shadow_report(request).await.unwrap().into_inner().report.unwrap().examples
    };
    let before = examples().await;
    let of_anna: Vec<String> = recorded(&scene, "data")
        .into_iter()
        .filter_map(|record| (record.customer_id == ANNA).then_some(record.decision_id))
        .collect();
    assert!(before.iter().any(|example| of_anna.contains(&example.decision_id)), "{before:?}");

    // Comparisons of both wait behind one that never ends.
    for number in 0..BLOCKING {
        client.rank(blocking(number)).await.unwrap();
    }
    for name in [ANNA, BERT, ANNA, ANNA] {
        client.rank(of(name)).await.unwrap();
    }
    asked += BLOCKING as u64 + 4;
    assert!(metric(&server, "proffer_shadow_queued") > 0);
    let erased = scene.run(&["privacy", "erase", "--customer", ANNA]);
    assert!(erased.code == Some(0) && erased.stdout.contains("complete: every server"), "{erased:?}");
    // What waited and what was compared meanwhile is shed.
    let ends = settled_at(server.admin, "s", asked).await;
    assert!(ends.failed == 0 && ends.shed > 0, "{ends:?}");
    let after = examples().await;
    assert!(after.is_empty(), "{after:?}");
    let left = recorded(&scene, "data");
    assert!(left.iter().all(|record| record.customer_id != ANNA), "{left:?}");
    assert!(left.iter().any(|record| record.customer_id == BERT), "{left:?}");
    // The counts stay: they are about nobody.
    assert!(ends.compared >= left.len() as u64 + of_anna.len() as u64, "{ends:?}");

    // The shadow goes on, and nothing of what was taken from the queue comes back.
    while Ends::at(server.admin, "s").compared == ends.compared {
        assert!(asked < 2_000, "nothing is compared any more");
        client.rank(of(BERT)).await.unwrap();
        asked += 1;
        settled_at(server.admin, "s", asked).await;
    }
    assert!(server.terminate().success());
    scene.seal("data");
    let found = scene.path("shadows.jsonl");
    let words =
        ["events", "export", "--kind", "shadow", "--format", "jsonl", "--out", found.to_str().unwrap()];
    assert_eq!(scene.run(&words).code, Some(0));
    let text = fs::read_to_string(found).unwrap();
    assert!(text.contains(BERT) && !text.contains(ANNA), "{text}");
    let names = [ANNA.to_owned()];
    let holding: Vec<_> = walk(&scene.path("")).into_iter().filter(|file| holds(file, &names)).collect();
    assert!(holding.is_empty(), "{holding:?}");
    scene.assert_whole(&["data"]);
}

/// Takes a minute and a half of a core at least, none of which other work needs:
/// `cargo test --test server shadows::endless:: -- --ignored`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes 90 s of a core at idle priority"]
async fn a_shadow_that_never_ends_is_not_compared_any_more_until_it_changes() {
    let server = endless().serve();
    let (mut asked, mut why) = (0, String::new());
    let waited = tokio::time::timeout(SET_ASIDE, async {
        while why.is_empty() {
            answers(&server, vec![blocking(asked as usize)]).await;
            asked += 1;
            settled(&server, "s", asked).await;
            why = try_report(&server, "s", "").await.unwrap().unavailable;
        }
    });
    assert!(waited.await.is_ok(), "it is compared for ever");
    assert!(why.contains("10 s of CPU time"), "{why}");
    assert_eq!(Ends::of(&server, "s"), Ends { compared: 0, failed: 0, shed: asked });
    // Nothing is compared with it, also for other customers.
    rank_many(&server, "home", 20).await;
    assert_eq!(settled(&server, "s", asked + 20).await, Ends { compared: 0, failed: 0, shed: asked + 20 });
    // Another shadow of that id is.
    let mut management = Management::over(server.channel().await);
    promote(&mut management, "models = { m = 2 }", "strategy = \"margin\"").await;
    asked += 20;
    while counted(&server, "compared", "s") == 0 {
        assert!(asked < 2_000, "nothing is compared");
        rank_many(&server, "home", 20).await;
        asked += 20;
        settled(&server, "s", asked).await;
    }
    assert_eq!(try_report(&server, "s", "").await.unwrap().state(), wire::ShadowState::Ready);
}
