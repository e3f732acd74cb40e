//! The costs of swaps other than latency: the time from push to live, the memory of a warm release, and the delay of
//! another replica. Figures of the release binary, for docs/benchmarks.md: `make swap-costs`.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use tonic::transport::{Channel, Endpoint};
use wire::decision_service_client::DecisionServiceClient;

use super::binary::{Process, command, init};
use super::harness::{rank_request, sample_workspace, wire};
use super::management::{Management, marked};
use super::replicas::OnS3;
use super::s3::S3;

/// The ONNX models of the sample, which account for the memory of a release.
const MODELS: [&str; 3] = ["affinity", "network", "propensity"];

/// Releases that share no model, in addition to the first.
const RELEASES: u64 = 9;

/// How many releases stay warm in the run that is compared with a run without any.
const WARM: u64 = 8;

/// The number of pushes, and of promotions that another replica follows.
const ROUNDS: usize = 20;

#[test]
#[ignore = "figures for docs/benchmarks.md, on an otherwise idle machine: make swap-costs"]
fn costs() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    assert_eq!(init(&store, &sample_workspace()).code, Some(0));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("{:<64}{:>10}{:>10}", "ms", "median", "longest");
    print("proffer model push --promote, from start to exit of the command", from_push_to_live(&store));
    runtime.block_on(async {
        let (one, other) = (Process::start(command(), &store), Process::start(command(), &store));
        let took = convergence(one.address, other.address).await;
        print("another replica, after the answer to the promotion, on a disk", took);
        if let Some(s3) = S3::start() {
            let location = s3.new_location();
            let mut made = command();
            made.envs(s3.variables()).args(["init", "--store", &location, "--from"]).arg(sample_workspace());
            assert!(made.status().unwrap().success());
            let (one, other) = (OnS3::start(&s3, &location), OnS3::start(&s3, &location));
            let took = convergence(one.server.address, other.server.address).await;
            print("the same on S3, polled every second", took);
        }
        let directory = tempfile::tempdir().unwrap();
        let [none, warm] = memory(&directory.path().join("store")).await;
        println!("\nresident memory, MB: {none:.1} with no release warm, {warm:.1} with {WARM} that share no model:");
        println!("{:.1} for each further warm release", (warm - none) / WARM as f64);
    });
}

fn print(what: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
    println!("{what:<64}{:>10.0}{:>10.0}", millis(took[took.len() / 2]), millis(took[took.len() - 1]));
}

/// The duration of `proffer model push --promote` for a new version of the sample's largest model.
fn from_push_to_live(store: &Path) -> Vec<Duration> {
    let server = Process::start(command(), store);
    let push = |round: usize| {
        let version = marked("propensity", &format!("push {round}"));
        let began = Instant::now();
        let mut push = command();
        push.args(["model", "--server", &server.address.to_string(), "push", "propensity"]);
        let pushed = push.arg(version.path()).args(["--promote", "--json"]).output().unwrap();
        assert!(pushed.status.success(), "{pushed:?}");
        began.elapsed()
    };
    (0..ROUNDS).map(push).collect()
}

/// How long it takes until `other` serves the release that was promoted through `one`.
async fn convergence(one: SocketAddr, other: SocketAddr) -> Vec<Duration> {
    let mut management = Management::over(connect(one).await);
    let mut client = DecisionServiceClient::new(connect(other).await);
    let mut took = Vec::new();
    for round in 0..ROUNDS {
        // A new version, so that there is something to load.
        let version = marked("propensity", &format!("round {round} of {other}"));
        let pushed = management.push("propensity", 0, version.path()).await.unwrap();
        let release = management.create(&[("propensity", pushed.version)]).await.unwrap();
        management.promote(release).await.unwrap();
        let began = Instant::now();
        while client.rank(rank_request("app_home", &["C000001"])).await.unwrap().into_inner().release
            != release
        {
            assert!(began.elapsed() < Duration::from_secs(20), "{other} does not follow");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        took.push(began.elapsed());
    }
    took
}

/// Resident memory in MB after the same promotions, with no release kept warm and with [`WARM`].
async fn memory(store: &Path) -> [f64; 2] {
    assert_eq!(init(store, &sample_workspace()).code, Some(0));
    let maker = Process::start(command(), store);
    let mut management = Management::over(connect(maker.address).await);
    for release in 0..RELEASES {
        let mut pins = Vec::new();
        for model in MODELS {
            let version = marked(model, &format!("release {release}"));
            pins.push((model, management.push(model, 0, version.path()).await.unwrap().version));
        }
        management.create(&pins).await.unwrap();
    }
    assert!(maker.terminate().success());
    let mut resident = [0.0; 2];
    for (warm, resident) in [0, WARM].into_iter().zip(&mut resident) {
        let mut proffer = command();
        proffer.env("PROFFER_SERVER_WARM_RELEASES", warm.to_string());
        let server = Process::start(proffer, store);
        let mut management = Management::over(connect(server.address).await);
        let first = management.list().await.current.unwrap().release;
        let releases = (1..=RELEASES + 1).filter(|release| *release != first);
        for release in releases {
            management.promote(release).await.unwrap();
        }
        // Releases that are not kept warm are retired meanwhile.
        tokio::time::sleep(Duration::from_secs(2)).await;
        *resident = super::swap::machine::Memory::of(server.id()).expect("Linux reports it").resident;
    }
    resident
}

async fn connect(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}
