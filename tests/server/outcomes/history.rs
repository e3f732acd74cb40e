//! History after kills is what an independent script works out from the exported log (`tests/golden/history.py`): of
//! each customer, by what limits withhold from them and until when; in total, by how often an offer can still be shown.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use serde_json::{Value, json};
use tonic::transport::Channel;

use super::{answers, workspace};
use crate::binary::{Process, command, init, proffer_prints};
use crate::harness::wire;
use crate::pipeline::recent_python;
use wire::decision_service_client::DecisionServiceClient;
use wire::feedback_service_client::FeedbackServiceClient;
use wire::outcome_verdict::Verdict;

/// Offers with every limit that looks at history, and three with none of their own. The total limits are above what a
/// few kills leave time for, so that there is room to be measured.
const OFFERS: &str = r#"
[[offer]]
id = "seen"
name = ""
category = "cards"
placements = ["home", "letter"]
value = 9.0
cap_customer = { limit = 3, per = "30d", count = "impression" }

[[offer]]
id = "taken"
name = ""
category = "cards"
placements = ["home", "letter"]
value = 8.0
cap_total = { limit = 5000, per = "all", count = "accept", reserve = "6h" }

[[offer]]
id = "paid"
name = ""
category = "loans"
placements = ["home", "letter"]
value = 7.0
cost = 0.25
budget = { amount = 1250.0, per = "all", count = "impression", spends = "cost", reserve = "6h" }

[[offer]]
id = "shown"
name = ""
category = "loans"
placements = ["home"]
value = 6.0
cap_customer = { limit = 20, per = "7d", count = "decision" }
cap_total = { limit = 5000, per = "all", count = "decision" }

[[offer]]
id = "news"
name = ""
category = "loans"
placements = ["home", "letter"]
value = 5.0
consents = ["news"]

[[offer]]
id = "plain"
name = ""
category = "cards"
placements = ["home", "letter"]
value = 4.0

[[offer]]
id = "help"
name = ""
class = "service"
category = "help"
placements = ["home", "letter"]
value = 1.0
"#;

const POLICY: &str = r#"
[[category]]
id = "cards"

[[category]]
id = "loans"

[[category]]
id = "help"

[[placement]]
id = "home"
channels = ["app", "web"]
count = 3
model = "m"

[[placement]]
id = "letter"
channels = ["email"]
count = 2
model = "m"
fallback = "help"

[[contact_limit]]
id = "letters"
channels = ["email"]
limit = 2
per = "7d"
count = "decision"
exempt = ["service"]

[[contact_limit]]
id = "looks"
placements = ["home"]
categories = ["cards"]
limit = 25
per = "12h"
count = "impression"

[[suppression]]
id = "dismissed"
after = { outcome = "dismiss", times = 3, within = "30d" }
pause = "60d"
scope = "offer"

[[suppression]]
id = "rejected"
after = { outcome = "reject", times = 4, within = "12h" }
pause = "10d"
scope = "category"

[[suppression]]
id = "upset"
after = { outcome = "complaint", times = 2, within = "1d" }
pause = "90d"
scope = "all"
"#;

/// Customers of the bank at one time. Others come after [`ROUNDS`] kills, so that no customer has more than a history
/// keeps.
const CUSTOMERS: u64 = 60;
const ROUNDS: u64 = 20;

/// Clients at the same time, and calls of each until the server is killed.
const CLIENTS: u64 = 4;
const CALLS: usize = 60;

/// How likely each outcome is once an offer was shown, in percent.
const RESPONSES: [(&str, u64); 6] =
    [("impression", 70), ("click", 10), ("accept", 15), ("dismiss", 12), ("reject", 8), ("complaint", 1)];

/// What a server has answered, so that its log must have it.
#[derive(Default)]
struct Acknowledged {
    /// Decisions that reserved something.
    decisions: BTreeSet<String>,
    /// Ids of outcomes.
    outcomes: BTreeSet<String>,
}

impl Acknowledged {
    fn append(&mut self, mut other: Self) {
        self.decisions.append(&mut other.decisions);
        self.outcomes.append(&mut other.outcomes);
    }
}

/// One client of the bank.
struct Client {
    random: Xoshiro256PlusPlus,
    name: String,
    customers: Vec<String>,
    decisions: DecisionServiceClient<Channel>,
    feedback: FeedbackServiceClient<Channel>,
    acknowledged: Acknowledged,
}

impl Client {
    fn below(&mut self, limit: u64) -> u64 {
        self.random.next_u64() % limit
    }

    /// Calls until the server is gone.
    async fn work(mut self) -> Acknowledged {
        for call in 0..CALLS {
            if self.call(call).await.is_none() {
                break;
            }
        }
        self.acknowledged
    }

    /// Asks for offers and reports outcomes; `None` if the server is gone.
    async fn call(&mut self, call: usize) -> Option<()> {
        let customer = self.below(CUSTOMERS) as usize;
        let customer = self.customers[customer].clone();
        let (placement, channel) = [("home", ""), ("home", "web"), ("letter", "")][self.below(3) as usize];
        let skipped = ["seen", "taken", "paid", "shown", "news", "none"][self.below(6) as usize];
        let request = wire::RankRequest {
            placement: placement.to_owned(),
            channel: channel.to_owned(),
            customers: vec![wire::Customer {
                customer_id: customer.clone(),
                consents: vec!["news".to_owned()],
            }],
            exclude_offer_ids: if skipped == "none" { vec![] } else { vec![skipped.to_owned()] },
            ..wire::RankRequest::default()
        };
        let result = self.decisions.rank(request).await.ok()?.into_inner().results.remove(0);
        if result.offers.iter().any(|offer| ["taken", "paid"].contains(&offer.offer_id.as_str())) {
            self.acknowledged.decisions.insert(result.decision_id.clone());
        }
        let mut outcomes = Vec::new();
        for offer in &result.offers {
            for (kind, percent) in RESPONSES {
                if self.below(100) < percent {
                    outcomes.push(wire::Outcome {
                        event_id: format!("{}/{}/{kind}", result.decision_id, offer.offer_id),
                        decision_id: result.decision_id.clone(),
                        offer_id: offer.offer_id.clone(),
                        ..outcome(kind)
                    });
                }
            }
        }
        // Some are of a shop that knows no decision, and some customers want nothing any more.
        if self.below(100) < 5 {
            outcomes.push(wire::Outcome {
                event_id: format!("{}/{call}", self.name),
                customer_id: customer.clone(),
                offer_id: "taken".to_owned(),
                ..outcome("accept")
            });
        }
        if self.below(1000) < 2 {
            outcomes.push(wire::Outcome {
                event_id: format!("{}/{call}/opt_out", self.name),
                customer_id: customer,
                offer_id: "news".to_owned(),
                ..outcome("opt_out")
            });
        }
        // What was reported may be reported again.
        let times = 1 + usize::from(self.below(10) == 0);
        for _ in 0..if outcomes.is_empty() { 0 } else { times } {
            let request = wire::RecordOutcomesRequest { outcomes: outcomes.clone() };
            for verdict in self.feedback.record_outcomes(request).await.ok()?.into_inner().verdicts {
                assert!(matches!(verdict.verdict(), Verdict::Accepted | Verdict::Duplicate), "{verdict:?}");
                self.acknowledged.outcomes.insert(verdict.event_id);
            }
        }
        Some(())
    }
}

/// An outcome of now.
fn outcome(kind: &str) -> wire::Outcome {
    let now = SystemTime::now();
    wire::Outcome { r#type: kind.to_owned(), occurred_at: Some(now.into()), ..wire::Outcome::default() }
}

async fn connect(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// The store and the data directory of a server that is killed again and again.
struct Place {
    directory: tempfile::TempDir,
    statements: Vec<Value>,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        workspace::write(&directory.path().join("workspace"), OFFERS, POLICY);
        let made = init(&directory.path().join("store"), &directory.path().join("workspace"));
        assert_eq!(made.code, Some(0), "{made:?}");
        Self { directory, statements: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn serve(&self, sync: &str) -> Process {
        let mut serve = command();
        serve.env("PROFFER_DATA_DIRECTORY", self.path("data")).env("PROFFER_RECORDS_SYNC", sync);
        // Small and young files, so that history is built of sealed files, too.
        serve.env("PROFFER_RECORDS_LOG_FILE", "64KiB").env("PROFFER_RECORDS_LOG_AGE", "1s");
        Process::start(serve, &self.path("store"))
    }

    /// Notes what the server says of the customers of a round.
    async fn ask(&mut self, server: &Process, round: u64) {
        let customers = customers(round);
        for (placement, channel) in [("home", "app"), ("letter", "email")] {
            let ids = customers.iter().map(String::as_str);
            let (said, now) = answers::ask(connect(server.address).await, placement, channel, ids).await;
            self.statements.push(json!({
                "now": now, "placement": placement, "channel": channel, "customers": said,
            }));
        }
    }

    /// Notes how often each offer with a total limit can still be shown, to customers who are new.
    async fn fill(&mut self, server: &Process) {
        let now = self.statements.last().unwrap()["now"].clone();
        let mut client = DecisionServiceClient::new(connect(server.address).await);
        let mut room = serde_json::Map::new();
        for offer in ["taken", "paid", "shown"] {
            let mut shown = 0_u64;
            for call in 0.. {
                let id = |number: u64| format!("new-{offer}-{call}-{number}");
                let customer = |number| wire::Customer { customer_id: id(number), consents: Vec::new() };
                let request = wire::RankRequest {
                    placement: "home".to_owned(),
                    customers: (0..500).map(customer).collect(),
                    candidate_offer_ids: vec![offer.to_owned()],
                    ..wire::RankRequest::default()
                };
                let results = client.rank(request).await.unwrap().into_inner().results;
                let of_call: usize = results.iter().map(|result| result.offers.len()).sum();
                shown += of_call as u64;
                if of_call < results.len() {
                    break;
                }
            }
            room.insert(offer.to_owned(), shown.into());
        }
        self.statements.push(json!({ "now": now, "room": room }));
    }

    fn export(&self, kind: &str) -> PathBuf {
        let out = self.path(&format!("{kind}.jsonl"));
        let (store, data) = (self.path("store"), self.path("data"));
        let paths = [("--store", &store), ("--data", &data), ("--out", &out)];
        let words = ["events", "export", "--kind", kind, "--format", "jsonl"].map(str::to_owned);
        let paths = paths.iter().flat_map(|(flag, path)| [(*flag).to_owned(), path.display().to_string()]);
        proffer_prints(words.into_iter().chain(paths));
        out
    }

    /// Compares what the server said with what the events say.
    fn compare(&self, python: &Path) -> Value {
        let statements = self.path("statements.jsonl");
        let lines: Vec<String> = self.statements.iter().map(ToString::to_string).collect();
        fs::write(&statements, lines.join("\n") + "\n").unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/history.py");
        let done = Command::new(python)
            .arg("-B")
            .arg(script)
            .args([
                self.path("workspace"),
                self.path("decision.jsonl"),
                self.path("outcome.jsonl"),
                statements,
            ])
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap()
    }
}

/// The customers who come in a round.
fn customers(round: u64) -> Vec<String> {
    (0..CUSTOMERS).map(|number| format!("c{}-{number}", round / ROUNDS)).collect()
}

/// The values of a field of a file of JSON lines.
fn ids(file: &Path, field: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| line[field].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn history_after_kills_is_what_the_log_says() {
    let Some(python) = recent_python() else { return };
    let mut place = Place::new();
    let (mut reserved, mut durable) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..kills() {
        // What reserves is durable in any case, and everything else where it is asked for.
        let sync = ["interval", "always"][round as usize % 2];
        let server = place.serve(sync);
        place.ask(&server, round).await;
        let mut clients = Vec::new();
        for client in 0..CLIENTS {
            let channel = connect(server.address).await;
            let client = Client {
                random: Xoshiro256PlusPlus::seed_from_u64(round * CLIENTS + client),
                name: format!("{round}/{client}"),
                customers: customers(round),
                decisions: DecisionServiceClient::new(channel.clone()),
                feedback: FeedbackServiceClient::new(channel),
                acknowledged: Acknowledged::default(),
            };
            clients.push(tokio::spawn(client.work()));
        }
        // Another moment in each round; which one has no effect on what must hold.
        tokio::time::sleep(Duration::from_millis(50 + 29 * (round % 10))).await;
        server.signal("KILL");
        let mut acknowledged = Acknowledged::default();
        for client in clients {
            acknowledged.append(client.await.unwrap());
        }
        reserved.append(&mut acknowledged.decisions);
        if sync == "always" {
            durable.append(&mut acknowledged.outcomes);
        }
    }
    // A restart in order changes nothing that it says either.
    for _ in 0..2 {
        let server = place.serve("interval");
        place.ask(&server, kills() - 1).await;
        assert!(server.terminate().success());
    }
    let server = place.serve("interval");
    place.fill(&server).await;
    assert!(server.terminate().success());

    let (decisions, outcomes) = (place.export("decision"), place.export("outcome"));
    let lost: Vec<String> = reserved.difference(&ids(&decisions, "decision_id")).cloned().collect();
    assert!(lost.is_empty(), "{} of {} decisions that reserved are lost", lost.len(), reserved.len());
    let lost: Vec<String> = durable.difference(&ids(&outcomes, "event_id")).cloned().collect();
    assert!(lost.is_empty(), "{} of {} outcomes are lost", lost.len(), durable.len());
    let compared = place.compare(&python);
    println!("{} kills: {compared}", kills());
    assert_eq!(compared["statements"], 2 * kills() + 5, "{compared}");
    // The bank was busy enough for each limit of a customer to hold.
    for reason in ["SUPPRESSED", "CONTACT_LIMIT", "CAP_CUSTOMER"] {
        assert!(compared[reason].as_u64() > Some(0), "no {reason}: {compared}");
    }
}

/// How often the server is killed; `make chaos` does it more often.
fn kills() -> u64 {
    std::env::var("PROFFER_TEST_KILLS").map_or(20, |kills| kills.parse().unwrap())
}
