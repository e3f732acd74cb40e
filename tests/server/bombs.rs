//! Models that harm any process that loads or runs them, made by tests/fixtures/bombs.py: each fails a gate and does
//! not harm the server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use model::Checksums;
use oip::grpc_inference_service_client::GrpcInferenceServiceClient;
use oip::model_infer_request::InferInputTensor;
use proffer::grpc::proto::inference as oip;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use wire::decision_service_client::DecisionServiceClient;

use super::bad_models::good;
use super::binary::{Process, command, init, proffer_prints};
use super::harness::{python, rank_request, sample_workspace, wire};
use super::management::Management;
use super::swap::machine::Memory;

/// Each bomb, and parts of the reasons that its verdict may give.
const BOMBS: &[(&str, &[&str])] = &[
    ("deep_tree", &["the stack overflowed"]),
    ("doubling_functions", &["of CPU time", "of memory"]),
    ("endless_loop", &["it took more than 3 s of CPU time"]),
    ("recursive_if", &["cannot load the model", "the stack overflowed", "of memory", "of CPU time"]),
    ("huge_constant", &["of memory", "cannot load the model"]),
    ("huge_batch", &["at most 65536 rows"]),
    ("huger_batch", &["at most 65536 rows"]),
    ("huge_initializer", &["the tensor `unused`, in bytes as it says, is"]),
    ("einsums", &["of CPU time", "latency_budget_ms"]),
    ("external_absolute", &["relative path"]),
    ("external_above", &["relative path"]),
    ("external_memory", &["reserved by ONNX Runtime"]),
    ("external_nowhere", &["no such file"]),
    ("external_short", &["cannot load the model"]),
    ("external_beyond", &["cannot load the model"]),
    ("external_negative", &["cannot load the model"]),
    ("external_huge", &["cannot load the model"]),
    ("external_folder", &["it is not a file"]),
];

/// With a latency budget, which rejects a graph that is only slow.
const MANIFEST: &str = r#"kind = "propensity"
layout = "pairwise"
inputs = ["balance", "annual_fee"]
accepts_missing = false
latency_budget_ms = 50
"#;

/// How much the server's memory may grow over all of them, in MB: the ordinary cost of management calls.
const MORE_MEMORY: f64 = 64.0;

/// The directory of all bombs, or `None` without a Python to make them.
fn bombs() -> Option<&'static Path> {
    static MADE: OnceLock<Option<tempfile::TempDir>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bombs.py");
        let made = Command::new(python()?).arg(script).arg(directory.path()).status().unwrap();
        assert!(made.success());
        Some(directory)
    });
    made.as_ref().map(tempfile::TempDir::path)
}

/// A copy of a bomb as a version with a manifest.
fn version(bomb: &str, into: &Path) -> PathBuf {
    let directory = into.join(bomb);
    super::harness::copy_directory(&bombs().unwrap().join(bomb), &directory);
    let checksums = Checksums::compute(&directory).unwrap();
    fs::write(directory.join("model.toml"), format!("{MANIFEST}{}", checksums.render())).unwrap();
    directory
}

/// A server with low limits for judges, which keep the test cheap.
fn serve(store: &Path) -> Process {
    let mut proffer = command();
    proffer.env("PROFFER_JUDGE_CPU_TIME", "3s").env("PROFFER_JUDGE_MEMORY", "1GiB");
    proffer.env("PROFFER_LIMITS_TIME", "30m").env("PROFFER_SERVER_WORKERS", "2");
    proffer.env("PROFFER_SERVER_POLL", "50ms");
    Process::start(proffer, store)
}

async fn channel(server: &Process) -> Channel {
    Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap()
}

fn made_store(directory: &Path) -> PathBuf {
    let store = directory.join("store");
    assert_eq!(init(&store, &sample_workspace()).code, Some(0));
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bomb_fails_a_gate_while_the_server_answers() {
    let Some(_) = bombs() else { return };
    let directory = tempfile::tempdir().unwrap();
    let server = serve(&made_store(directory.path()));
    let mut management = Management::over(channel(&server).await);
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut victim = DecisionServiceClient::new(channel(&server).await);
    let asks = async {
        while !stop.load(Ordering::Relaxed) {
            victim.rank(rank_request("app_home", &["C000001"])).await.unwrap();
            answered.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let pushes = async {
        // The first push has costs of its own that do not count.
        good(&directory.path().join("first"), 1);
        management.push("propensity", 0, &directory.path().join("first")).await.unwrap();
        let before = Memory::of(server.id()).expect("Linux reports it").resident;
        for (bomb, words) in BOMBS {
            let began = Instant::now();
            let pushed = management.push(bomb, 0, &version(bomb, directory.path())).await.unwrap();
            let verdict = pushed.verdict.unwrap();
            let whys: Vec<&str> = verdict
                .gates
                .iter()
                .filter(|gate| gate.outcome() == wire::GateOutcome::Failed)
                .map(|gate| gate.why.as_str())
                .collect();
            println!("{bomb}, {:.1?}: {whys:?}", began.elapsed());
            assert!(!verdict.passed, "{bomb}: {verdict:?}");
            assert!(words.iter().any(|words| whys.iter().any(|why| why.contains(words))), "{bomb}: {whys:?}");
        }
        let after = Memory::of(server.id()).unwrap().resident;
        assert!(after - before < MORE_MEMORY, "{before} MB before, {after} MB after");
        good(&directory.path().join("good"), 2);
        let pushed = management.push("propensity", 0, &directory.path().join("good")).await.unwrap();
        assert!(pushed.verdict.unwrap().passed);
        // The placements of the sample need calibrated versions, which the good one is not: the release pins the
        // version before it.
        let release = management.create(&[]).await.unwrap();
        management.promote(release).await.unwrap();
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(asks, pushes);
    assert!(answered.load(Ordering::Relaxed) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_holds_unjudged_bombs_serves_and_lists_them_as_unjudged() {
    let Some(bombs) = bombs() else { return };
    let directory = tempfile::tempdir().unwrap();
    let store = made_store(directory.path());
    let named = ["deep_tree", "doubling_functions", "endless_loop", "huge_constant", "huger_batch"];
    for bomb in named {
        // As left by a push that was interrupted before judging, and as copied there by hand.
        super::harness::copy_directory(
            &version(bomb, directory.path()),
            &store.join(format!("models/{bomb}/1")),
        );
        super::harness::copy_directory(&bombs.join(bomb), &store.join(format!("models/bare_{bomb}/1")));
    }
    super::harness::copy_directory(&bombs.join("loop_of_input"), &store.join("models/harmless/1"));
    let server = serve(&store);
    let mut client = DecisionServiceClient::new(channel(&server).await);
    let answer = client.rank(rank_request("app_home", &["C000001"])).await.unwrap().into_inner();
    assert_eq!(answer.release, 1);
    // Versions without a manifest are judged in the background, one after another; the harmless one comes after bombs.
    until_served(&server, "harmless").await;
    for bomb in named {
        let listed =
            proffer_prints(["model", "list", "--server", &server.address.to_string(), bomb, "--json"]);
        assert!(listed.contains("\"state\":\"unjudged\""), "{listed}");
        let refused = infer(&server, bomb, None).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        assert!(refused.message().contains("it is not judged: its push was cut"), "{refused}");
    }
    for bomb in ["deep_tree", "endless_loop"] {
        let refused = infer(&server, &format!("bare_{bomb}"), None).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        assert!(refused.message().contains("cannot be loaded: process: in the gate"), "{refused}");
    }
    client.rank(rank_request("app_home", &["C000001"])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_graph_is_stopped_when_its_call_ends() {
    let Some(bombs) = bombs() else { return };
    let directory = tempfile::tempdir().unwrap();
    let store = made_store(directory.path());
    super::harness::copy_directory(&bombs.join("loop_of_input"), &store.join("models/loop/1"));
    let server = serve(&store);
    until_served(&server, "loop").await;
    // Twice as many as there are workers.
    let endless = (0..4).map(|_| infer(&server, "loop", Some(i64::MAX / 2)));
    for ended in futures_util::future::join_all(endless).await {
        // Either side may notice the deadline first: the client cancels, the server answers.
        let code = ended.unwrap_err().code();
        assert!(matches!(code, Code::DeadlineExceeded | Code::Cancelled), "{code}");
    }
    for _ in 0..8 {
        infer(&server, "loop", Some(3)).await.unwrap();
    }
    let metrics = super::harness::admin_get(server.admin, "/metrics").unwrap();
    assert!(metrics.contains("workers_replaced_total 0"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_that_fits_the_stack_of_a_judge_fits_the_stack_of_the_server() {
    let Some(_) = bombs() else { return };
    let directory = tempfile::tempdir().unwrap();
    let store = made_store(directory.path());
    let mut release = 0;
    for _ in 0..2 {
        let server = serve(&store);
        let mut client = DecisionServiceClient::new(channel(&server).await);
        let answer = client.rank(rank_request("app_home", &["C000001"])).await.unwrap().into_inner();
        assert!(answer.release >= release, "{release}");
        if release == 0 {
            let mut management = Management::over(channel(&server).await);
            let deep = version("tree_of_3000", directory.path());
            let pushed = management.push("deep", 0, &deep).await.unwrap();
            let verdict = pushed.verdict.unwrap();
            assert!(verdict.passed, "{verdict:?}");
            release = management.create(&[("deep", pushed.version)]).await.unwrap();
            management.promote(release).await.unwrap();
        }
        assert!(server.terminate().success());
    }
}

/// Waits until a model of the store is loaded for the Open Inference Protocol.
async fn until_served(server: &Process, model: &str) {
    let mut client = GrpcInferenceServiceClient::new(channel(server).await);
    loop {
        let asked = oip::ModelReadyRequest { name: model.to_owned(), version: String::new() };
        if client.model_ready(asked).await.is_ok_and(|answer| answer.into_inner().ready) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sends one row to a bomb, with a deadline of a second; `turns` of the loop, if it takes them.
async fn infer(server: &Process, model: &str, turns: Option<i64>) -> Result<(), Status> {
    let mut client = GrpcInferenceServiceClient::new(channel(server).await);
    let tensor =
        |name: &str, datatype: &str, shape: &[i64], contents: oip::InferTensorContents| InferInputTensor {
            name: name.to_owned(),
            datatype: datatype.to_owned(),
            shape: shape.to_vec(),
            contents: Some(contents),
            ..Default::default()
        };
    let features = oip::InferTensorContents { fp32_contents: vec![1.0, 2.0], ..Default::default() };
    let mut inputs = vec![tensor("features", "FP32", &[1, 2], features)];
    inputs.extend(turns.map(|turns| {
        tensor(
            "turns",
            "INT64",
            &[],
            oip::InferTensorContents { int64_contents: vec![turns], ..Default::default() },
        )
    }));
    let request = oip::ModelInferRequest { model_name: model.to_owned(), inputs, ..Default::default() };
    let mut request = Request::new(request);
    request.set_timeout(Duration::from_secs(1));
    client.model_infer(request).await.map(|_| ())
}
