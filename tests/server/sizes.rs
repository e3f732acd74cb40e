//! Input of any content takes bounded memory, measured on the real process.

use tonic::Code;
use tonic::transport::Endpoint;

use super::binary::{Process, command, init, proffer};
use super::harness::{sample_workspace, wire};
use wire::release_service_client::ReleaseServiceClient;

/// How much the process may grow, in bytes. It includes parsing one document, the message itself, and what the
/// allocator keeps of the one before.
const MAX_BYTES: u64 = 640 << 20;

/// The peak memory of a process, in bytes.
#[cfg(target_os = "linux")]
fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_release_takes_bounded_memory() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    assert_eq!(init(&store, &sample_workspace()).code, Some(0));
    let server = Process::start(command(), &store);
    let channel =
        Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap();
    let mut releases = ReleaseServiceClient::new(channel);
    let before = peak(server.id());
    for unit in [
        "[[offer]]\nid = 3\n",
        "[a]\n",
        "a.b.c.d.e.f.g.h = 1\n",
        "x = [{},{},{}]\n",
        "= =\n",
        "\n",
        "[",
        "\"",
        "a = [1,1,1,1,1,1,1]\n",
    ] {
        let offers_toml = Some(unit.repeat((15 << 20) / unit.len()));
        let request = wire::CreateReleaseRequest {
            base: 1,
            offers_toml,
            author: "a test".to_owned(),
            ..Default::default()
        };
        let status = releases.create_release(request).await.unwrap_err();
        assert!(
            matches!(status.code(), Code::InvalidArgument | Code::FailedPrecondition),
            "{unit:?}: {status:?}"
        );
        let taken = peak(server.id()).saturating_sub(before);
        assert!(taken <= MAX_BYTES, "{unit:?} took {} MiB", taken >> 20);
    }
    assert!(server.terminate().success());
}

#[test]
fn a_csv_of_a_million_columns_is_rejected() {
    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join("wide.csv");
    let names: Vec<String> = (0..1_000_000).map(|number| format!("c{number}")).collect();
    std::fs::write(&input, format!("{}\n{}\n", names.join(","), "1,".repeat(999_999) + "1")).unwrap();
    let output = directory.path().join("out");
    let ended = proffer([
        "segment",
        "train",
        "--input",
        input.to_str().unwrap(),
        "--output",
        output.to_str().unwrap(),
    ]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("wide.csv:1: more than 16,384 columns"), "{}", ended.stderr);
}
