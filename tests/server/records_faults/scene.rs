//! A store with servers over it, each with a data directory; clients that call them; what is recorded afterwards.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use event::log::open_read_only;
use event::proto::DecisionRecord;
use event::verify::verify;
use event::{EventReader, EventStore, Kind, Query, Record};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::binary::{Ended, Process, command};
use crate::harness::{admin_get, rank_request, sample_workspace, wire};
use crate::s3::S3;
use wire::decision_service_client::DecisionServiceClient;

/// How long a test waits for something that must happen.
const LIMIT: Duration = Duration::from_mins(2);

/// What `degraded` says of a decision that is not recorded.
pub(crate) const NOT_RECORDED: &str = "not_recorded";

/// A new store of the sample, and the data directories of its servers.
pub(crate) struct Scene {
    directory: tempfile::TempDir,
    location: String,
    /// The environment that reaches the store.
    variables: Vec<(String, String)>,
}

impl Scene {
    pub(crate) fn in_directory() -> Self {
        Self::of(&sample_workspace())
    }

    /// A new store of this workspace, in a directory.
    pub(crate) fn of(workspace: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let location = directory.path().join("store").display().to_string();
        Self { directory, location, variables: Vec::new() }.with(workspace)
    }

    pub(crate) fn in_bucket(s3: &S3) -> Self {
        let (directory, location, variables) =
            (tempfile::tempdir().unwrap(), s3.new_location(), s3.variables());
        Self { directory, location, variables }.with(&sample_workspace())
    }

    fn with(self, workspace: &Path) -> Self {
        let mut init = self.proffer();
        init.args(["init", "--store", &self.location, "--from"]).arg(workspace);
        let made: Ended = init.output().unwrap().into();
        assert_eq!(made.code, Some(0), "{made:?}");
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn location(&self) -> &str {
        &self.location
    }

    /// `proffer` in an environment that reaches the store.
    pub(crate) fn proffer(&self) -> Command {
        let mut proffer = command();
        proffer.envs(self.variables.iter().cloned()).current_dir(self.directory.path());
        proffer
    }

    /// Runs `proffer` with these words and `--store`.
    pub(crate) fn run(&self, words: &[&str]) -> Ended {
        let mut proffer = self.proffer();
        proffer.args(words).args(["--store", &self.location]);
        proffer.output().unwrap().into()
    }

    /// `proffer` for a server with a data directory of this name, with these keys of the section `[records]`. Its log
    /// files are small and young, so that a test meets many.
    pub(crate) fn server(&self, data: &str, records: &[(&str, &str)]) -> Command {
        let mut serve = self.proffer();
        serve.env("PROFFER_DATA_DIRECTORY", self.path(data));
        serve.env("PROFFER_SERVER_MIRROR", self.path(&format!("mirror of {data}")));
        let small = [("log_file", "64KiB"), ("log_age", "1s")];
        for (key, value) in small.iter().chain(records) {
            serve.env(format!("PROFFER_RECORDS_{}", key.to_uppercase()), value);
        }
        serve
    }

    /// Starts a server.
    pub(crate) fn serve(&self, data: &str, records: &[(&str, &str)]) -> Process {
        self.start(self.server(data, records))
    }

    /// Starts a server with a fault.
    pub(crate) fn serve_with(&self, fault: &str, data: &str, records: &[(&str, &str)]) -> Process {
        let mut serve = self.server(data, records);
        serve.env("PROFFER_FAULT", fault);
        self.start(serve)
    }

    /// Starts a server that is the command `serve`.
    pub(crate) fn start(&self, serve: Command) -> Process {
        Process::start(serve, Path::new(&self.location))
    }

    fn events(&self) -> EventStore {
        EventStore::open(&self.location, Some(&self.path("scratch")), self.variables.clone()).unwrap()
    }

    /// Reads all decisions with their positions: those in the store, and those in the logs of these data directories.
    pub(crate) fn read(&self, data: &[&str], mut visit: impl FnMut(u64, DecisionRecord)) {
        let opened = data.iter().map(|data| open_read_only(&self.path(data)).unwrap());
        let reader = opened.fold(EventReader::new(self.events()), EventReader::with_opened);
        let read = reader.scan_entries(Kind::Decision, &Query::default(), &mut |entry| {
            match entry.record {
                Record::Decision(record) => visit(entry.position, *record),
                other @ (Record::Outcome(_) | Record::Shadow(_)) => panic!("{other:?} among decisions"),
            }
            ControlFlow::Continue(())
        });
        read.unwrap();
    }

    /// All records.
    pub(crate) fn records(&self, data: &[&str]) -> Vec<DecisionRecord> {
        let mut found = Vec::new();
        self.read(data, |_, record| found.push(record));
        found
    }

    /// Their ids, each of which is there once.
    pub(crate) fn recorded(&self, data: &[&str]) -> BTreeSet<String> {
        let records = self.records(data);
        let ids: BTreeSet<String> = records.iter().map(|record| record.decision_id.clone()).collect();
        assert_eq!(ids.len(), records.len(), "a decision is recorded twice");
        ids
    }

    /// Checks that no record is torn and no position is missing.
    pub(crate) fn assert_whole(&self, data: &[&str]) {
        let logs: Vec<_> = data.iter().map(|data| open_read_only(&self.path(data)).unwrap()).collect();
        let verified = verify(&self.events(), &logs, &mut |_| {}).unwrap();
        assert!(verified.problems.is_empty(), "{:#?}", verified.problems);
    }

    /// Seals the log that a server has left.
    pub(crate) fn seal(&self, data: &str) {
        let sealed = self.run(&["events", "seal", self.path(data).to_str().unwrap()]);
        assert_eq!(sealed.code, Some(0), "{sealed:?}");
        assert_eq!(self.log_files(data), Vec::<String>::new());
    }

    /// The names of the log files of a server.
    pub(crate) fn log_files(&self, data: &str) -> Vec<String> {
        let listed = std::fs::read_dir(self.path(data).join("log")).unwrap();
        let names = listed.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut logs: Vec<String> = names.filter(|name| name.contains(".log")).collect();
        logs.sort();
        logs
    }

    /// Decides all sealed decisions again; how many have the same answer, which are all.
    pub(crate) fn replayed(&self) -> usize {
        let replay = self.run(&["replay", "--format", "json"]);
        assert_eq!(replay.code, Some(0), "{replay:?}");
        let replayed: serde_json::Value = serde_json::from_str(&replay.stdout).unwrap();
        replayed["identical"].as_u64().unwrap() as usize
    }
}

/// A metric of a server, its series together, rounded up. One without labels is there from the start.
pub(crate) fn metric(server: &Process, name: &str) -> u64 {
    let page = admin_get(server.admin, "/metrics").unwrap();
    let values = page.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        (series.split('{').next() == Some(name)).then(|| value.parse::<f64>().unwrap())
    });
    values.sum::<f64>().ceil() as u64
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(LIMIT, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "timed out waiting until {what}");
}

/// Waits until a server has recorded and sealed all that it was asked for.
pub(crate) async fn until_sealed(server: &Process) {
    until("all is in the log", async || metric(server, "proffer_event_queue_length") == 0).await;
    until("all is sealed", async || metric(server, "proffer_event_log_bytes") == 0).await;
    assert_eq!(metric(server, "proffer_oldest_unsealed_event_seconds"), 0);
}

pub(crate) async fn channel(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

pub(crate) async fn client(address: SocketAddr) -> DecisionServiceClient<Channel> {
    DecisionServiceClient::new(channel(address).await).max_decoding_message_size(usize::MAX)
}

/// A call for so many customers of the sample.
pub(crate) fn batch(customers: usize) -> wire::RankRequest {
    let ids: Vec<String> = (1..=customers).map(|id| format!("C{id:06}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    wire::RankRequest { explain: wire::Explain::None.into(), ..rank_request("email_monthly", &ids) }
}

/// What clients were told of their decisions.
#[derive(Debug, Default)]
pub(crate) struct Answered {
    /// The ids of those that are recorded.
    pub recorded: BTreeSet<String>,
    /// The ids of those whose `degraded` says that they are not.
    pub not_recorded: BTreeSet<String>,
    /// Calls that were refused, since they would not be recorded.
    pub refused: usize,
}

impl Answered {
    pub(crate) fn add(&mut self, response: wire::RankResponse) {
        for result in response.results {
            let is_recorded = result.degraded.iter().all(|line| line != NOT_RECORDED);
            let ids = if is_recorded { &mut self.recorded } else { &mut self.not_recorded };
            ids.insert(result.decision_id);
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.recorded.extend(other.recorded);
        self.not_recorded.extend(other.not_recorded);
        self.refused += other.refused;
    }
}

/// Clients that call a server until it has ended, or they are told to stop.
pub(crate) struct Load {
    clients: Vec<JoinHandle<Answered>>,
    stop: CancellationToken,
    answers: Arc<AtomicUsize>,
}

impl Load {
    /// Three clients with calls for one customer, and one with a stream of calls for eight.
    pub(crate) async fn on(server: &Process) -> Self {
        let (stop, answers) = (CancellationToken::new(), Arc::<AtomicUsize>::default());
        let mut clients = Vec::new();
        for number in 0..3 {
            let (client, stop, answers) = (client(server.address).await, stop.clone(), Arc::clone(&answers));
            clients.push(tokio::spawn(call(client, number, stop, answers)));
        }
        let client = client(server.address).await;
        clients.push(tokio::spawn(stream(client, stop.clone(), Arc::clone(&answers))));
        Self { clients, stop, answers }
    }

    /// How many answers there were.
    pub(crate) fn answers(&self) -> usize {
        self.answers.load(Ordering::Relaxed)
    }

    /// Waits for so many more answers.
    pub(crate) async fn more(&self, answers: usize) {
        let enough = self.answers() + answers;
        until("there are more answers", async || self.answers() >= enough).await;
    }

    /// Ends the clients. They have all answers to what they asked for, unless the server has ended.
    pub(crate) async fn stop(self) -> Answered {
        self.stop.cancel();
        let mut answered = Answered::default();
        for client in self.clients {
            answered.merge(client.await.unwrap());
        }
        answered
    }
}

/// Calls of a stream that are not answered yet.
const AHEAD: usize = 4;

/// A client leaves the server time for what it does at idle priority.
const PAUSE: Duration = Duration::from_millis(2);

async fn call(
    mut client: DecisionServiceClient<Channel>,
    number: usize,
    stop: CancellationToken,
    answers: Arc<AtomicUsize>,
) -> Answered {
    let mut answered = Answered::default();
    for customer in (1..).map(|turn| (turn * 3 + number) % 2_000 + 1) {
        if stop.is_cancelled() {
            break;
        }
        match client.rank(rank_request("app_home", &[&format!("C{customer:06}")])).await {
            Ok(response) => answered.add(response.into_inner()),
            Err(status) if status.code() == Code::ResourceExhausted => answered.refused += 1,
            // The server has ended.
            Err(_) => break,
        }
        answers.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(PAUSE).await;
    }
    answered
}

async fn stream(
    mut client: DecisionServiceClient<Channel>,
    stop: CancellationToken,
    answers: Arc<AtomicUsize>,
) -> Answered {
    let mut answered = Answered::default();
    let call = || wire::RankStreamRequest { request: Some(batch(8)) };
    let (more, calls) = mpsc::channel(AHEAD);
    for _ in 0..AHEAD {
        more.try_send(call()).unwrap();
    }
    let Ok(stream) = client.rank_stream(ReceiverStream::new(calls)).await else { return answered };
    let (mut stream, mut more) = (stream.into_inner(), Some(more));
    while let Some(Ok(answer)) = stream.next().await {
        answered.add(answer.response.unwrap());
        answers.fetch_add(1, Ordering::Relaxed);
        // Without it, the stream ends behind the answers to what was asked for.
        more = more.filter(|_| !stop.is_cancelled());
        if let Some(more) = &more {
            // Fails where the server has ended.
            let _ = more.send(call()).await;
            tokio::time::sleep(PAUSE).await;
        }
    }
    answered
}
