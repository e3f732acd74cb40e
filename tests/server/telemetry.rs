//! ONNX Runtime's telemetry is off: the real server writes nothing below the home directory, and opens only its own
//! sockets.
//!
//! With telemetry on, ONNX Runtime keeps a device id and a queue of events in the user's cache directory once its
//! environment is created. The last test shows that this would be detected.

use std::path::{Path, PathBuf};
use std::process::Command;

use proffer::grpc::proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use proffer::grpc::proto::inference::model_infer_request::InferInputTensor;
use proffer::grpc::proto::inference::{InferTensorContents, ModelInferRequest};
use tonic::transport::Endpoint;

use super::binary::{Process, command, init};
use super::harness::{rank_request, sample_workspace, wire};
use wire::decision_service_client::DecisionServiceClient;

/// Marks a child process of this test binary, and names its home directory.
const CHILD: &str = "PROFFER_TEST_TELEMETRY_CHILD";

/// Environment variables that switch ONNX Runtime's telemetry off: its own, and those by which it detects a build
/// machine. The tests must be valid on build machines, too.
const SWITCHES: [&str; 13] = [
    "ORT_DISABLE_TELEMETRY",
    "CI",
    "TF_BUILD",
    "GITHUB_ACTIONS",
    "GITLAB_CI",
    "CIRCLECI",
    "TRAVIS",
    "JENKINS_URL",
    "CODEBUILD_BUILD_ID",
    "BUILDKITE",
    "TEAMCITY_VERSION",
    "APPVEYOR",
    "BITBUCKET_BUILD_NUMBER",
];

/// Gives a command an empty home directory, and an environment without these variables.
fn move_home(command: &mut Command, home: &Path) {
    for name in ["HOME", "USERPROFILE"] {
        command.env(name, home);
    }
    for (name, folder) in
        [("XDG_CACHE_HOME", "cache"), ("XDG_CONFIG_HOME", "config"), ("XDG_DATA_HOME", "data")]
    {
        command.env(name, home.join(folder));
    }
    for name in SWITCHES {
        command.env_remove(name);
    }
}

/// Everything below a directory.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(entries(&path));
        }
        found.push(path);
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_writes_no_telemetry_file_and_opens_no_socket_for_it() {
    let (directory, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = directory.path().join("store");
    assert_eq!(init(&store, &sample_workspace()).code, Some(0));
    let mut serve = command();
    move_home(&mut serve, home.path());
    let server = Process::start(serve, &store);
    sockets::assert_its_own(&server);

    let channel =
        Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap();
    let mut decisions = DecisionServiceClient::new(channel.clone());
    let ranked =
        decisions.rank(rank_request("call_center", &["C000001", "C000002"])).await.unwrap().into_inner();
    assert!(!ranked.results[0].offers.is_empty());
    let input = InferInputTensor {
        name: "features".to_owned(),
        datatype: "FP32".to_owned(),
        shape: vec![1, 33],
        contents: Some(InferTensorContents { fp32_contents: vec![0.5; 33], ..Default::default() }),
        ..Default::default()
    };
    let request =
        ModelInferRequest { model_name: "propensity".to_owned(), inputs: vec![input], ..Default::default() };
    let inferred = GrpcInferenceServiceClient::new(channel).model_infer(request).await.unwrap().into_inner();
    assert!(!inferred.outputs.is_empty());

    sockets::assert_its_own(&server);
    assert!(server.terminate().success());
    assert_eq!(entries(home.path()), Vec::<PathBuf>::new());
}

/// The open sockets of a Linux process, from `/proc`.
#[cfg(target_os = "linux")]
mod sockets {
    use std::collections::BTreeMap;
    use std::fs;

    use super::Process;

    /// The open sockets of a process, except listeners and connections on the local ports `ours`, and unnamed socket
    /// pairs, which are internal.
    pub(super) fn foreign(process: u32, ours: &[u16]) -> Vec<String> {
        let inodes = fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten().filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?;
            Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        });
        let inodes: Vec<String> = inodes.collect();
        let tables = read_tables(process);
        let is_foreign = |inode: &String| match tables.get(inode) {
            Some(Socket::Tcp { local_port }) => !ours.contains(local_port),
            Some(Socket::UnnamedPair) => false,
            Some(Socket::Other) | None => true,
        };
        let describe = |inode: String| format!("socket {inode}: {:?}", tables.get(&inode));
        inodes.into_iter().filter(is_foreign).map(describe).collect()
    }

    #[derive(Debug)]
    enum Socket {
        Tcp {
            local_port: u16,
        },
        UnnamedPair,
        /// UDP, raw, netlink, packets, or a Unix socket with a path.
        Other,
    }

    fn read_tables(process: u32) -> BTreeMap<String, Socket> {
        let mut sockets = BTreeMap::new();
        // Columns: 1 the local address as HEX:PORT, 9 the inode; for Unix sockets 6 the inode and 7 the path.
        for (table, inode_column) in
            [("tcp", 9), ("tcp6", 9), ("udp", 9), ("udp6", 9), ("raw", 9), ("unix", 6)]
        {
            let text = fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default();
            for line in text.lines().skip(1) {
                let columns: Vec<&str> = line.split_whitespace().collect();
                let Some(inode) = columns.get(inode_column) else { continue };
                let socket = match table {
                    "tcp" | "tcp6" => {
                        let port = columns[1].rsplit(':').next().unwrap();
                        Socket::Tcp { local_port: u16::from_str_radix(port, 16).unwrap() }
                    }
                    "unix" if columns.get(7).is_none() => Socket::UnnamedPair,
                    _ => Socket::Other,
                };
                sockets.insert((*inode).to_owned(), socket);
            }
        }
        sockets
    }

    pub(super) fn assert_its_own(server: &Process) {
        let seen = || foreign(server.id(), &[server.address.port(), server.admin.port()]);
        // A connection that is closed between reading the descriptors and reading the tables is in no table.
        let stays = |socket: &String| !socket.ends_with("None") || seen().contains(socket);
        let foreign: Vec<String> = seen().into_iter().filter(stays).collect();
        assert!(foreign.is_empty(), "{foreign:#?}");
    }

    #[test]
    fn a_foreign_socket_would_be_detected() {
        use std::net::{TcpListener, TcpStream, UdpSocket};
        let known = || foreign(std::process::id(), &[]);
        let inode = |socket: &dyn std::os::fd::AsRawFd| {
            let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
            link.to_str().unwrap().replace(":[", " ").replace(']', ":")
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connection = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        let seen = known();
        for socket in [inode(&listener), inode(&connection), inode(&datagrams)] {
            assert!(seen.iter().any(|line| line.starts_with(&socket)), "{socket} {seen:#?}");
        }
        let ours = [listener.local_addr().unwrap().port()];
        let rest = foreign(std::process::id(), &ours);
        assert!(!rest.iter().any(|line| line.starts_with(&inode(&listener))), "{rest:#?}");
    }
}

#[cfg(not(target_os = "linux"))]
mod sockets {
    /// Sockets are checked on Linux only; files are checked everywhere.
    pub fn assert_its_own(_server: &super::Process) {}
}

#[test]
fn telemetry_would_be_detected_if_it_were_on() {
    let home = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "telemetry::child_that_leaves_telemetry_on", "--ignored"]);
    move_home(&mut child, home.path());
    // No telemetry may leave the machine.
    for name in ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        child.env(name, "http://127.0.0.1:1");
    }
    child.env_remove("no_proxy").env_remove("NO_PROXY");
    let ended = child.env(CHILD, home.path()).output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    let files = entries(home.path());
    assert!(files.iter().any(|path| path.ends_with("deviceid")), "{files:?}");
}

#[test]
#[ignore = "run by the test above, in its own process and home directory"]
fn child_that_leaves_telemetry_on() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("var/onnxruntime");
    let library = std::env::var_os("ORT_DYLIB_PATH").map_or_else(
        || {
            let name = |path: &Path| {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libonnx"))
            };
            entries(&folder).into_iter().find(|path| name(path)).unwrap()
        },
        PathBuf::from,
    );
    let environment = ort::init_from(library).unwrap().with_telemetry(true).build().unwrap();
    let model = sample_workspace().join("propensity/1/model.onnx");
    ort::session::Session::builder(&environment).unwrap().commit_from_file(model).unwrap();
}
