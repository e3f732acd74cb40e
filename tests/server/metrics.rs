//! The metrics page: promtool's verdict on both formats, and the counts of offers and propensities.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::harness::{Server, rank_request, sample_workspace, scores, wire};
use super::management::Management;

/// Prometheus's own tool, or `None` and a message.
fn promtool() -> Option<PathBuf> {
    let found = std::env::var_os("PROFFER_TEST_PROMTOOL").map(PathBuf::from).filter(|path| path.is_file());
    if found.is_none() {
        eprintln!("skipped: PROFFER_TEST_PROMTOOL is not set (`make test` sets it where Go is installed)");
    }
    found
}

/// The metrics in the format that this `Accept` header asks for: the head of the answer and its body.
fn read(server: &Server, accept: &str) -> (String, String) {
    let mut stream = TcpStream::connect(server.admin).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: admin\r\nAccept: {accept}\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

fn run(mut command: Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Makes calls of every kind, so that every metric has samples.
async fn call(server: &Server) {
    let mut client = server.client().await;
    client.rank(rank_request("app_home", &["C000001", "an unknown customer"])).await.unwrap();
    client.rank(rank_request("call_center", &["C000003"])).await.unwrap();
    client.rank(rank_request("nowhere", &["C000001"])).await.unwrap_err();
    client.score(scores("propensity", 5, &["travel_gold"])).await.unwrap();
}

const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";

#[tokio::test]
async fn promtool_accepts_the_metrics() {
    let Some(promtool) = promtool() else { return };
    let server = Server::start(&sample_workspace(), &[]);
    call(&server).await;
    let (head, text) = read(&server, "text/plain");
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    let mut check = Command::new(&promtool);
    check.args(["check", "metrics"]);
    let checked = run(check, &text);
    let complaints = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && complaints.is_empty(), "{complaints}");

    // `check metrics` reads the text format only. OpenMetrics is read by `create-blocks-from`, which needs timestamps.
    let (head, open_metrics) = read(&server, OPEN_METRICS);
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    let timed = |line: &str| format!("{line}{}\n", if line.starts_with('#') { "" } else { " 1800000000" });
    let directory = tempfile::tempdir().unwrap();
    let (file, blocks) = (directory.path().join("metrics.om"), directory.path().join("blocks"));
    std::fs::write(&file, open_metrics.lines().map(timed).collect::<String>()).unwrap();
    let mut fill = Command::new(&promtool);
    fill.args(["tsdb", "create-blocks-from", "openmetrics"]).arg(file).arg(&blocks);
    let filled = run(fill, "");
    assert!(filled.status.success(), "{}", String::from_utf8_lossy(&filled.stderr));
    assert!(std::fs::read_dir(blocks).unwrap().next().is_some(), "no series was read");
}

#[tokio::test]
async fn both_formats_have_the_same_samples() {
    let server = Server::start(&sample_workspace(), &[]);
    call(&server).await;
    let samples = |text: &str| -> Vec<String> {
        let names = text.lines().filter(|line| !line.starts_with('#'));
        let mut names: Vec<String> = names.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect();
        names.sort_unstable();
        names
    };
    let (_, text) = read(&server, "*/*");
    let (_, open_metrics) = read(&server, OPEN_METRICS);
    assert_eq!(samples(&text), samples(&open_metrics));
    // In the text format, a metric is described under the name of its samples.
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = ["_bucket", "_sum", "_count"].into_iter().find_map(|suffix| name.strip_suffix(suffix));
        let is_described = |name: &str| {
            text.contains(&format!("\n# TYPE {name} ")) && text.contains(&format!("# HELP {name} "))
        };
        assert!(is_described(name) || family.is_some_and(is_described), "{name} is not described");
    }
}

/// The value of a sample; 0 if there is none.
fn value(text: &str, sample: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse::<f64>().ok())
        .map_or(0, |value| value as u64)
}

/// How often each offer was shown and withheld.
type Counts = BTreeMap<String, (u64, u64)>;

/// Adds the counts of an answer for one placement.
fn add(counts: &mut Counts, response: &wire::RankResponse) {
    for result in &response.results {
        for offer in &result.offers {
            counts.entry(offer.offer_id.clone()).or_default().0 += 1;
        }
        for rejected in &result.rejected {
            counts.entry(rejected.offer_id.clone()).or_default().1 += 1;
        }
    }
}

fn assert_counted(server: &Server, placement: &str, counts: &Counts) {
    let (_, text) = read(server, "*/*");
    for (offer, (shown, withheld)) in counts {
        let of = |name: &str| {
            value(
                &text,
                &format!(
                    "proffer_placement_offers_{name}_total{{placement=\"{placement}\",offer=\"{offer}\"}}"
                ),
            )
        };
        assert_eq!((of("shown"), of("withheld")), (*shown, *withheld), "{placement}: {offer}");
    }
}

#[tokio::test]
async fn offers_are_counted_as_shown_and_withheld() {
    let server = Server::start(&sample_workspace(), &[]);
    let mut client = server.client().await;
    let mut counts: BTreeMap<&str, Counts> = BTreeMap::new();
    for placement in ["app_home", "call_center"] {
        let mut of_placement = Counts::new();
        let all = rank_request(placement, &["C000001", "C000002", "C000003", "", "an unknown customer"]);
        let response = client.rank(all).await.unwrap().into_inner();
        assert!(response.results[3].error.is_some(), "one customer of the call is invalid");
        add(&mut of_placement, &response);
        // Offers that a request leaves out are neither shown nor withheld.
        let first = response.results[0].rejected[0].offer_id.clone();
        let second = response.results[0].offers[0].offer_id.clone();
        let narrowed = wire::RankRequest {
            candidate_offer_ids: vec![first.clone(), second],
            ..rank_request(placement, &["C000004", "C000005"])
        };
        add(&mut of_placement, &client.rank(narrowed).await.unwrap().into_inner());
        let without =
            wire::RankRequest { exclude_offer_ids: vec![first], ..rank_request(placement, &["C000006"]) };
        add(&mut of_placement, &client.rank(without).await.unwrap().into_inner());
        // If no offer remains, the fallback is shown, even if it is not a candidate.
        let of_rules =
            |rejected: &&wire::RejectedOffer| !["slate", "arbitration"].contains(&rejected.stage.as_str());
        let fails = response.results[0].rejected.iter().find(of_rules).unwrap().offer_id.clone();
        let fallen =
            wire::RankRequest { candidate_offer_ids: vec![fails], ..rank_request(placement, &["C000001"]) };
        let fallen = client.rank(fallen).await.unwrap().into_inner();
        assert!(fallen.results[0].offers[0].fallback);
        add(&mut of_placement, &fallen);
        assert_counted(&server, placement, &of_placement);
        counts.insert(placement, of_placement);
    }

    // The counts continue across releases.
    let mut management = Management::over(server.channel().await);
    for release in 2..=4 {
        assert_eq!(management.create(&[]).await.unwrap(), release);
        management.promote(release).await.unwrap();
        let response = client.rank(rank_request("app_home", &["C000007"])).await.unwrap().into_inner();
        add(counts.get_mut("app_home").unwrap(), &response);
        assert_counted(&server, "app_home", &counts["app_home"]);
    }
    assert_counted(&server, "call_center", &counts["call_center"]);
}

#[tokio::test]
async fn every_propensity_is_in_the_histogram_of_its_model() {
    let server = Server::start(&sample_workspace(), &[]);
    let mut client = server.client().await;
    let (mut least, mut most): (f64, f64) = (1.0, 0.0);
    for placement in ["app_home", "email_monthly", "call_center"] {
        let response =
            client.rank(rank_request(placement, &["C000001", "C000002"])).await.unwrap().into_inner();
        let factors = response.results.iter().flat_map(|result| &result.offers);
        for factors in factors.filter_map(|offer| offer.factors.as_ref()) {
            (least, most) = (least.min(factors.propensity), most.max(factors.propensity));
        }
    }
    assert!(least > 0.0 && most < 1.0 && least < most);
    let (_, text) = read(&server, "*/*");
    for model in ["propensity", "affinity", "network"] {
        let of = |name: &str, more: &str| {
            value(&text, &format!("proffer_model_{name}{{{more}model=\"{model}\",version=\"1\"}}"))
        };
        let rows = of("rows_total", "");
        assert!(rows > 0, "{model} scored nothing");
        let scored = of("propensity_count", "");
        // A row is a pair for `propensity`, and a customer for models that score all offers at once.
        assert!(
            if model == "propensity" { scored == rows } else { scored >= rows },
            "{model}: {scored} of {rows}"
        );
        assert_eq!(of("propensity_bucket", "le=\"1.0\","), scored, "{model}: nothing is above 1");
    }
}
