//! What swaps cost beside the latency of calls: from a push to live, the memory of a release that stays warm, and how soon another
//! replica follows. Figures of the release binary, for docs/benchmarks.md: `make swap-costs`.

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

/// The models of the sample that ONNX Runtime runs: what a release costs in memory.
const MODELS: [&str; 3] = ["affinity", "network", "propensity"];

/// Releases that share no model, beside the first.
const RELEASES: u64 = 9;

/// How many releases stay warm in the run that is compared with none.
const WARM: u64 = 8;

/// Pushes, and promotions that another replica follows.
const ROUNDS: usize = 20;

#[test]
#[ignore = "figures for docs/benchmarks.md, of a machine that does nothing else: make swap-costs"]
fn costs() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    assert_eq!(init(&store, &sample_workspace()).code, Some(0));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("{:<64}{:>10}{:>10}", "ms", "median", "longest");
    print("proffer model push --promote, from the command to its end", from_push_to_live(&store));
    runtime.block_on(async {
        let (one, other) = (Process::start(command(), &store), Process::start(command(), &store));
        let took = convergence(one.address, other.address).await;
        print("another replica, after the promotion was answered, on a disk", took);
        if let Some(s3) = S3::start() {
            let location = s3.new_location();
            let mut made = command();
            made.envs(s3.variables()).args(["init", "--store", &location, "--from"]).arg(sample_workspace());
            assert!(made.status().unwrap().success());
            let (one, other) = (OnS3::start(&s3, &location), OnS3::start(&s3, &location));
            let took = convergence(one.server.address, other.server.address).await;
            print("the same on S3, looked at every second", took);
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

/// How long `proffer model push --promote` takes for a new version of the sample's largest model.
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

/// How long it takes until `other` answers by the release that was promoted through `one`.
async fn convergence(one: SocketAddr, other: SocketAddr) -> Vec<Duration> {
    let mut management = Management::over(connect(one).await);
    let mut client = DecisionServiceClient::new(connect(other).await);
    let mut took = Vec::new();
    for round in 0..ROUNDS {
        // A version of its own, so that there is something to load.
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
        // What is not kept is taken apart meanwhile.
        tokio::time::sleep(Duration::from_secs(2)).await;
        *resident = super::swap::machine::Memory::of(server.id()).expect("Linux tells").resident;
    }
    resident
}

async fn connect(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}
