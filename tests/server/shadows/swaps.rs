//! Shadows across promotions and rollbacks: no call fails, every decision comes to an end, and statistics of different
//! shadows do not mix.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::scene::{balance, one, rank_many, report, settled, shadow, try_report};
use crate::experiments::scene::Bank;
use crate::harness::{Server, wire};
use crate::management::Management;

/// Makes a release of the current one with another text in its policy, and promotes it.
pub(super) async fn promote(management: &mut Management, from: &str, to: &str) -> u64 {
    let request = wire::GetReleaseRequest { release: 0 };
    let policy = management.releases.get_release(request).await.unwrap().into_inner().policy_toml;
    assert!(policy.contains(from), "no {from:?} in {policy}");
    let request = wire::CreateReleaseRequest {
        policy_toml: Some(policy.replacen(from, to, 1)),
        author: "a test".to_owned(),
        ..wire::CreateReleaseRequest::default()
    };
    let made = management.releases.create_release(request).await.unwrap().into_inner();
    let number = made.release.unwrap().number;
    management.promote(number).await.unwrap();
    number
}

/// The releases that the statistics are of.
async fn releases(server: &Server) -> Vec<u64> {
    let (_, report) = report(server).await;
    let mut releases: Vec<u64> = report.releases.into_keys().collect();
    releases.sort_unstable();
    releases
}

/// Asks until some decision is compared; how many it has asked.
async fn ask_and_settle(server: &Server, before: u64) -> u64 {
    let was = super::scene::counted(server, "compared", "s");
    let mut asked = before;
    for _ in 0..100 {
        rank_many(server, "home", 20).await;
        asked += 20;
        settled(server, "s", asked).await;
        if super::scene::counted(server, "compared", "s") > was {
            return asked;
        }
    }
    panic!("nothing was compared");
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_go_on_where_the_shadow_stays_and_start_anew_where_it_changes() {
    let server = Bank::new(&shadow("models = { m = 2 }")).serve();
    let mut management = Management::over(server.channel().await);
    let asked = ask_and_settle(&server, 0).await;
    assert_eq!(releases(&server).await, [1]);
    // Another sample, and lines that move: the shadow is the same.
    let same = promote(&mut management, "[[shadow]]\n", "# A comment.\n[[shadow]]\n").await;
    let asked = ask_and_settle(&server, asked).await;
    assert_eq!(releases(&server).await, [1, same]);
    let since = try_report(&server, "s", "").await.unwrap().since;
    let other = promote(&mut management, "models = { m = 2 }", "strategy = \"margin\"").await;
    let asked = ask_and_settle(&server, asked).await;
    assert_eq!(releases(&server).await, [other]);
    assert!(try_report(&server, "s", "").await.unwrap().since > since);
    management.rollback().await.unwrap();
    let asked = ask_and_settle(&server, asked).await;
    assert_eq!(releases(&server).await, [same]);
    // A shadow that the release lacks has the statistics that it had.
    promote(&mut management, "id = \"s\"", "id = \"other\"").await;
    let gone = try_report(&server, "s", "").await.unwrap();
    assert_eq!(gone.state(), wire::ShadowState::Absent);
    assert!(gone.report.unwrap().all.unwrap().compared > 0);
    settled(&server, "s", asked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promotions_and_rollbacks_under_load_fail_no_call_and_lose_no_decision() {
    let server = Bank::new(&shadow("models = { m = 2 }")).serve();
    let mut management = Management::over(server.channel().await);
    let (stop, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let load = async {
        let mut client = server.client().await;
        while !stop.load(Ordering::Relaxed) {
            let number = asked.fetch_add(1, Ordering::Relaxed) as usize;
            let answer = client.rank(one("home", number, balance(number))).await.unwrap().into_inner();
            assert!(answer.results[0].error.is_none(), "{answer:?}");
        }
    };
    let swaps = async {
        for _ in 0..3 {
            promote(&mut management, "models = { m = 2 }", "models = { m = 1 }").await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            management.rollback().await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(load, swaps);
    let ends = settled(&server, "s", asked.into_inner()).await;
    assert_eq!(ends.failed, 0, "{ends:?}");
    server.join_quietly();
}
