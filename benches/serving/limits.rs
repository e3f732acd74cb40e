//! What limits cost a call, and how many outcomes a server takes beside calls: the table of `make bench-limits`.
//!
//! The sample workspace, with ten times its customers, so that a customer has some thirty entries of history at the
//! end, not hundreds. The ten limits are of every kind. They are so wide that they withhold nothing: both servers
//! decide the same, and what differs is what limits cost. Start reading at [`run`].

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use proffer::grpc::proto::proffer::v1 as wire;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use wire::feedback_service_client::FeedbackServiceClient;

use crate::PLACEMENTS;
use crate::goals::Goals;
use crate::in_process::Engine;
use crate::measure::{Spread, print_heading, print_row};
use crate::over_grpc::{Client, clients, connect, rank_in_turns};
use crate::sample::{self, Visit};
use crate::server::Server;

/// How many times each customer of the sample is there.
const COPIES: usize = 10;

const CONNECTIONS: usize = 16;

/// Six limits of `policy.toml`; those of [`OF_OFFERS`] make them ten.
const OF_POLICY: &str = r#"
[[contact_limit]]
id = "contacts"
limit = 50000
per = "7d"
count = "decision"

[[contact_limit]]
id = "app"
channels = ["app"]
limit = 50000
per = "month"
count = "decision"

[[contact_limit]]
id = "travel"
categories = ["travel"]
limit = 50000
per = "30d"
count = "impression"

[[contact_limit]]
id = "installments"
categories = ["installments"]
limit = 50000
per = "day"
count = "decision"

[[suppression]]
id = "dismissed"
after = { outcome = "dismiss", times = 3, within = "30d" }
pause = "60d"
scope = "offer"

[[suppression]]
id = "rejected"
after = { outcome = "reject", times = 1, within = "30d" }
pause = "30d"
scope = "category"
"#;

/// Limits of offers, each after the line with the id. An answer with one of the last two waits until it is recorded.
const OF_OFFERS: [(&str, &str); 4] = [
    ("travel_gold", "cap_customer = { limit = 50000, per = \"30d\", count = \"impression\" }"),
    ("cashback_everyday", "cap_customer = { limit = 50000, per = \"7d\", count = \"decision\" }"),
    (
        "transfer_12_months",
        "cap_total = { limit = 1000000000, per = \"day\", count = \"accept\", reserve = \"30m\" }",
    ),
    (
        "installments_12",
        "budget = { amount = 1e12, per = \"month\", count = \"impression\", spends = \"cost\", pacing = \"even\" }",
    ),
];

/// Types of the outcomes of each offer that was shown; none of them makes a limit withhold anything.
const TYPES: [&str; 5] = ["impression", "click", "accept", "convert", "complaint"];

/// Outcomes of a request, the most that there may be.
const OUTCOMES: usize = 1000;

/// Streams of outcomes, each on a connection of its own.
const STREAMS: usize = 2;

/// How long outcomes are measured, in [`PARTS`] parts, after a part that does not count.
const PART: Duration = Duration::from_secs(2);
const PARTS: usize = 7;

/// Measures everything and prints the table; whether all goals are reached.
pub(crate) fn run() -> bool {
    let directory = tempfile::tempdir().unwrap();
    let (without, with) = (directory.path().join("without"), directory.path().join("with"));
    for place in [&without, &with] {
        fs::create_dir(place).unwrap();
        let workspace = crate::workspace(place);
        copy_customers(&workspace.join("customers.csv"));
        if *place == with {
            limit(&workspace);
        }
        crate::make_store(&place.join("store"), &workspace);
    }
    let visits = sample::visits(&Engine::load(&with.join("store")).snapshot.customers);
    let mut goals = Goals::default();
    let client = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    client.block_on(measure([&without, &with], &visits, &mut goals));
    goals.print();
    goals.are_reached()
}

async fn measure([without, with]: [&Path; 2], visits: &[Visit], goals: &mut Goals) {
    let requests: Arc<[wire::RankRequest]> = sample::for_each(visits, |visit| visit.message(PLACEMENTS[0].0));
    let servers = [without, with].map(|place| Server::start(&place.join("store"), place, &[]));
    println!(
        "\n{:<62}{:>26}{:>9}{:>9}",
        "Over gRPC on loopback, the client on the same cores", "calls/s", "CPU µs", "others"
    );
    let turns = rank_in_turns([&servers[0], &servers[1]], &requests, CONNECTIONS).await;
    turns.print(&format!("Rank, {CONNECTIONS} connections, records, no limits"), 0);
    turns.print(&format!("Rank, {CONNECTIONS} connections, records, ten limits"), 1);
    print_row("ratio of a round", [turns.ratio()]);
    goals.at_least("Rank, 16 connections: with ten limits to none", "×", turns.ratio().median, 0.85, 0.95);
    let [_, limited] = servers;
    outcomes(&limited, requests, turns.rate(1).median * 0.3, goals).await;
}

/// Outcomes per second, beside `rate` calls of `Rank` per second.
async fn outcomes(server: &Server, requests: Arc<[wire::RankRequest]>, rate: f64, goals: &mut Goals) {
    let (decided, decisions) = mpsc::channel(100_000);
    let decisions = Arc::new(tokio::sync::Mutex::new(decisions));
    let [ranked, accepted] = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
    let mut running = JoinSet::new();
    let pause = Duration::from_secs_f64(CONNECTIONS as f64 / rate);
    for (at, client) in clients(server, CONNECTIONS).await.into_iter().enumerate() {
        let first = at * requests.len() / CONNECTIONS;
        running.spawn(rank(
            client,
            Arc::clone(&requests),
            first,
            pause,
            decided.clone(),
            Arc::clone(&ranked),
        ));
    }
    for _ in 0..STREAMS {
        let client = FeedbackServiceClient::new(connect(server).await);
        running.spawn(report(client, Arc::clone(&decisions), Arc::clone(&accepted)));
    }
    let (mut calls, mut outcomes) = (Vec::new(), Vec::new());
    for part in 0..=PARTS {
        let (began, before) =
            (Instant::now(), [&ranked, &accepted].map(|count| count.load(Ordering::Relaxed)));
        tokio::time::sleep(PART).await;
        let per_second = |count: &AtomicU64, before| {
            (count.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64()
        };
        if part > 0 {
            calls.push(per_second(&ranked, before[0]));
            outcomes.push(per_second(&accepted, before[1]));
        }
    }
    running.abort_all();
    while let Some(ended) = running.join_next().await {
        assert!(ended.is_err_and(|error| error.is_cancelled()), "a task ended before its time");
    }
    let (calls, outcomes) = (Spread::of(calls), Spread::of(outcomes));
    print_heading("Outcomes beside Rank");
    print_row(&format!("Rank per second, of {rate:.0} that are asked for"), [calls]);
    print_row("outcomes per second that are accepted", [outcomes]);
    goals.at_least(
        "Rank beside outcomes: answered, of those asked for",
        "×",
        calls.median / rate,
        0.95,
        0.99,
    );
    goals.at_least("outcomes beside Rank at 30 % of its peak", "/s", outcomes.median, 50_000.0, 80_000.0);
}

/// Ranks at a steady rate; passes on what was shown.
async fn rank(
    mut client: Client,
    requests: Arc<[wire::RankRequest]>,
    first: usize,
    pause: Duration,
    decided: mpsc::Sender<wire::RankResult>,
    ranked: Arc<AtomicU64>,
) {
    let mut due = tokio::time::interval(pause);
    for request in requests.iter().cycle().skip(first) {
        due.tick().await;
        let answer = client.rank(request.clone()).await.unwrap().into_inner();
        ranked.fetch_add(1, Ordering::Relaxed);
        for result in answer.results {
            assert!(!result.offers.is_empty(), "nothing was shown to {}", result.customer_id);
            // Where outcomes are slower than decisions, some decisions have none.
            let _ = decided.try_send(result);
        }
    }
}

/// Reports outcomes of what was shown, on one stream.
async fn report(
    mut client: FeedbackServiceClient<tonic::transport::Channel>,
    decisions: Arc<tokio::sync::Mutex<mpsc::Receiver<wire::RankResult>>>,
    accepted: Arc<AtomicU64>,
) {
    let (send, requests) = mpsc::channel(4);
    let answers = client.record_outcomes_stream(tokio_stream::wrappers::ReceiverStream::new(requests));
    let sender = async move {
        loop {
            let mut outcomes = Vec::with_capacity(OUTCOMES);
            let mut decisions = decisions.lock().await;
            while outcomes.len() + 4 * TYPES.len() <= OUTCOMES {
                outcomes.extend(outcomes_of(&decisions.recv().await.unwrap()));
            }
            drop(decisions);
            let request = Some(wire::RecordOutcomesRequest { outcomes });
            send.send(wire::RecordOutcomesStreamRequest { request }).await.unwrap();
        }
    };
    let receiver = async move {
        let mut answers = answers.await.unwrap().into_inner();
        while let Some(answer) = answers.message().await.unwrap() {
            let verdicts = answer.response.unwrap().verdicts;
            for verdict in &verdicts {
                assert_eq!(verdict.verdict(), wire::outcome_verdict::Verdict::Accepted, "{verdict:?}");
            }
            accepted.fetch_add(verdicts.len() as u64, Ordering::Relaxed);
        }
    };
    tokio::join!(sender, receiver);
}

/// One outcome of each type for each offer.
fn outcomes_of(result: &wire::RankResult) -> impl Iterator<Item = wire::Outcome> + '_ {
    let occurred_at: prost_types::Timestamp = SystemTime::now().into();
    let outcome = move |offer_id: &str, kind: &str| wire::Outcome {
        event_id: format!("{}-{offer_id}-{kind}", result.decision_id),
        decision_id: result.decision_id.clone(),
        offer_id: offer_id.to_owned(),
        r#type: kind.to_owned(),
        occurred_at: Some(occurred_at),
        ..wire::Outcome::default()
    };
    result.offers.iter().flat_map(move |offer| TYPES.map(|kind| outcome(&offer.offer_id, kind)))
}

/// Puts ten limits into a workspace that has none.
fn limit(workspace: &Path) {
    let policy = workspace.join("policy.toml");
    fs::write(&policy, fs::read_to_string(&policy).unwrap() + OF_POLICY).unwrap();
    let offers = workspace.join("offers.toml");
    let mut text = fs::read_to_string(&offers).unwrap();
    for (id, limit) in OF_OFFERS {
        let line = format!("id = \"{id}\"\n");
        assert_eq!(text.matches(&line).count(), 1, "{id}");
        text = text.replace(&line, &format!("{line}{limit}\n"));
    }
    fs::write(&offers, text).unwrap();
}

/// Repeats the rows of a file of customers with other ids.
fn copy_customers(file: &Path) {
    let text = fs::read_to_string(file).unwrap();
    let (heading, rows) = text.split_once('\n').unwrap();
    let copies = (0..COPIES).flat_map(|copy| rows.lines().map(move |row| format!("{copy}{row}\n")));
    fs::write(file, format!("{heading}\n{}", copies.collect::<String>())).unwrap();
}
