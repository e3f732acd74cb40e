//! The memory of a server is flat while all its decisions are compared, across promotions.

use std::net::SocketAddr;
use std::time::Duration;

use super::scene::shadow;
use crate::experiments::scene::{Bank, ask};
use crate::harness::{admin_get, dense, wire};
use crate::hostile::resident;
use crate::management::Management;
use crate::records_faults::{Scene, channel};
use wire::decision_service_client::DecisionServiceClient;

/// The decisions that are compared or shed, unless `PROFFER_TEST_SHADOWED` says otherwise.
const DECISIONS: u64 = 20_000;

/// Customers of a call.
const CUSTOMERS: usize = 100;

/// How often another release is promoted.
const PROMOTIONS: u64 = 10;

/// Bytes by which the resident memory may grow after a fifth of the decisions: what the allocator keeps.
const GROWTH: u64 = 32 << 20;

/// How long a test waits for what must happen.
const LIMIT: Duration = Duration::from_mins(2);

/// What was compared, and what was not.
fn ends(admin: SocketAddr) -> (u64, u64) {
    let page = admin_get(admin, "/metrics").unwrap();
    let of = |name: &str| -> u64 {
        let series = format!("proffer_shadow_{name}_total{{shadow=\"s\"}} ");
        let value = page.lines().find_map(|line| line.strip_prefix(&series));
        value.map_or(0, |value| value.parse::<f64>().unwrap() as u64)
    };
    (of("compared"), of("shed") + of("failed"))
}

/// Waits until so many decisions have come to an end.
async fn until_ended(admin: SocketAddr, decisions: u64) {
    let waited = tokio::time::timeout(LIMIT, async {
        loop {
            let (compared, others) = ends(admin);
            if compared + others >= decisions {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(waited.await.is_ok(), "{:?} of {decisions}", ends(admin));
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_flat_while_every_decision_is_compared() {
    let decisions = std::env::var("PROFFER_TEST_SHADOWED").ok().and_then(|text| text.parse().ok());
    let decisions: u64 = decisions.unwrap_or(DECISIONS);
    let bank = Bank::new(&shadow("models = { m = 2 }"));
    let scene = Scene::of(bank.path());
    let server = scene.start(scene.server("data", &[("record", "false")]));
    let mut client = DecisionServiceClient::new(channel(server.address).await);
    let mut management = Management::over(channel(server.address).await);
    let second = management.create(&[]).await.unwrap();
    let calls = decisions / CUSTOMERS as u64;
    let mut early = 0;
    for call in 0..calls {
        if call % (calls / PROMOTIONS).max(1) == 0 {
            let turn = call / (calls / PROMOTIONS).max(1);
            management.promote(if turn.is_multiple_of(2) { second } else { 1 }).await.unwrap();
        }
        let ids: Vec<String> =
            (0..CUSTOMERS).map(|at| format!("C{:07}", (call as usize * CUSTOMERS + at) % 50_000)).collect();
        let balances: Vec<f32> =
            (0..CUSTOMERS).map(|at| ((call as usize + at) * 37 % 9_000) as f32).collect();
        let features = Some(dense(&["balance"], CUSTOMERS, &balances));
        let request = wire::RankRequest { features, explain: 0, ..ask("home", &ids) };
        assert_eq!(client.rank(request).await.unwrap().into_inner().results.len(), CUSTOMERS);
        // Compared, and not shed.
        let asked = (call + 1) * CUSTOMERS as u64;
        if call % 10 == 9 || call + 1 == calls {
            until_ended(server.admin, asked).await;
        }
        if call == calls / 5 {
            early = resident(server.id());
        }
    }
    let late = resident(server.id());
    let (compared, others) = ends(server.admin);
    println!("{compared} compared, {others} not; resident: {} MiB, then {} MiB", early >> 20, late >> 20);
    assert!(compared > decisions * 9 / 10, "{compared} compared, {others} not");
    assert!(late < early + GROWTH, "{early} bytes have grown to {late}");
    assert!(server.terminate().success());
}
