//! A person is exported and erased while servers run: from the files of customers, logs and sealed records, to the last
//! byte. What is pending is named, and bad input says what to do.

mod customers;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use arrow_array::Array;
use event::keys::Keys;
use event::privacy::{PseudonymMode, Pseudonyms};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tonic::transport::Channel;

use super::binary::{Ended, Process, command};
use super::harness::{Copy, admin_get, rank_request, sample_workspace, wire};
use super::s3::S3;
use wire::decision_service_client::DecisionServiceClient;

/// The person who is erased, and others.
const ANNA: &str = "C000042";
const BERT: &str = "C000043";
const CARL: &str = "C000044";

/// A store, and what servers and commands need to use it.
struct Place {
    directory: tempfile::TempDir,
    location: String,
    s3: Option<&'static S3>,
}

impl Place {
    fn in_directory() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let location = directory.path().join("store").display().to_string();
        Self { directory, location, s3: None }.with_store()
    }

    fn in_bucket() -> Option<Self> {
        let s3 = S3::shared()?;
        let directory = tempfile::tempdir().unwrap();
        Some(Self { directory, location: s3.new_location(), s3: Some(s3) }.with_store())
    }

    fn with_store(self) -> Self {
        let workspace = sample_workspace();
        self.succeeds(&["init", "--from", workspace.to_str().unwrap()]);
        self
    }

    fn command(&self) -> Command {
        let mut command = command();
        if let Some(s3) = self.s3 {
            command.envs(s3.variables());
        }
        command
    }

    /// A command over the store.
    fn run(&self, words: &[&str]) -> Ended {
        self.command().args(words).args(["--store", &self.location]).output().unwrap().into()
    }

    /// The same, which must succeed; what it prints.
    #[track_caller]
    fn succeeds(&self, words: &[&str]) -> String {
        let ended = self.run(words);
        assert_eq!(ended.code, Some(0), "{words:?}: {ended:?}");
        ended.stdout
    }

    /// The same, which must fail with these words.
    #[track_caller]
    fn fails(&self, words: &[&str], expected: &[&str]) -> Ended {
        let ended = self.run(words);
        assert_eq!(ended.code, Some(1), "{words:?}: {ended:?}");
        for expected in expected {
            assert!(ended.stderr.contains(expected), "no {expected:?} in {ended:?}");
        }
        ended
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A path as an argument.
    fn at(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// A server with a data directory of that name.
    fn serve(&self, name: &str, settings: &[(&str, &str)]) -> Process {
        let mut serve = self.command();
        serve.env("PROFFER_DATA_DIRECTORY", self.path(name));
        serve.env("PROFFER_SERVER_MIRROR", self.path(&format!("{name}-mirror")));
        serve.env("PROFFER_SERVER_POLL", "50ms").env("PROFFER_RECORDS_SYNC", "always");
        serve.envs(settings.iter().copied());
        Process::start(serve, Path::new(&self.location))
    }

    /// The id of the server with that data directory.
    fn server(&self, name: &str) -> String {
        fs::read_to_string(self.path(name).join("server-id")).unwrap().trim().to_owned()
    }

    /// Where the files of the store are.
    fn store(&self) -> PathBuf {
        self.s3.map_or_else(|| PathBuf::from(&self.location), |s3| s3.directory(&self.location))
    }

    /// Waits until so many sealed files are in the store.
    fn wait_until_sealed(&self, files: usize) {
        let sealed = || walk(&self.store().join("events")).len();
        while sealed() < files {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The files of the store, the data directories and the mirrors that hold any of `names`, as they are and, if they
    /// are Parquet, in their values.
    fn holding(&self, names: &[String]) -> Vec<PathBuf> {
        let skipped = [self.path("loaded.csv"), self.path("export.json")];
        let mut files = walk(self.directory.path());
        if self.s3.is_some() {
            files.extend(walk(&self.store()));
        }
        files.retain(|file| !skipped.contains(file) && holds(file, names));
        files
    }
}

/// All files of a directory.
pub(crate) fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}

/// Whether a file holds any of these names: as it is, in its values if it is Parquet, or in its path.
pub(crate) fn holds(file: &Path, names: &[String]) -> bool {
    // A server may have replaced it since it was listed.
    let Ok(mut bytes) = fs::read(file) else { return false };
    if bytes.starts_with(b"PAR1") {
        let values = values(bytes.clone().into());
        bytes.extend(values);
    }
    bytes.extend(file.display().to_string().into_bytes());
    names.iter().any(|name| bytes.windows(name.len()).any(|window| window == name.as_bytes()))
}

/// All values of a Parquet file, unpacked: texts and bytes as they are.
fn values(file: bytes::Bytes) -> Vec<u8> {
    let mut found = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
        for column in batch.unwrap().columns() {
            let data = column.to_data();
            let children = data.child_data().iter().flat_map(|child| child.buffers().to_vec());
            for buffer in data.buffers().iter().cloned().chain(children) {
                found.extend_from_slice(buffer.as_slice());
                // The end of one is not the beginning of the next.
                found.push(0);
            }
        }
    }
    found
}

/// Has a server decide for customers, each in a call of its own.
async fn decide(server: &Process, customers: &[&str]) {
    let address = format!("http://{}", server.address);
    let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
    for customer in customers {
        let mut client = DecisionServiceClient::new(channel.clone());
        client.rank(rank_request("app_home", &[customer])).await.unwrap();
    }
}

/// What a server says of a customer without recording it.
async fn previewed(server: &Process, customer: &str) -> wire::RankResult {
    let address = format!("http://{}", server.address);
    let mut client = DecisionServiceClient::connect(address).await.unwrap();
    let request = wire::RankRequest { dry_run: true, ..rank_request("app_home", &[customer]) };
    client.rank(request).await.unwrap().into_inner().results.remove(0)
}

/// Two key files: `old.toml`, and `both.toml` with a new key that makes pseudonyms and the former one.
fn make_keys(place: &Place) {
    let read = |name: &str| -> toml::Table {
        let made: Ended =
            command().args(["privacy", "keys", "--out", &place.at(name)]).output().unwrap().into();
        assert_eq!(made.code, Some(0), "{made:?}");
        fs::read_to_string(place.path(name)).unwrap().parse().unwrap()
    };
    let (mut old, mut both) = (read("old.toml"), read("both.toml"));
    let former = |keys: &mut toml::Table| -> toml::Value {
        let key = &mut keys["key"].as_array_mut().unwrap()[0];
        assert_eq!(key["use"].as_str(), Some("pseudonyms"));
        key["id"] = "former".into();
        key.clone()
    };
    let mut key = former(&mut old);
    key["active"] = false.into();
    both["key"].as_array_mut().unwrap().push(key);
    for (name, keys) in [("old.toml", old), ("both.toml", both)] {
        fs::write(place.path(name), toml::to_string(&keys).unwrap()).unwrap();
    }
}

/// All names that records may have for a customer.
fn names_of(customer: &str, keys: &Path) -> Vec<String> {
    let pseudonyms = Pseudonyms::new(PseudonymMode::HmacSha256, &Keys::read(keys).unwrap()).unwrap();
    let names = pseudonyms.all(customer);
    assert_eq!(names.len(), 3);
    names.into_iter().map(|name| name.text).collect()
}

/// The ids of the decisions that are recorded, of all or of one customer.
fn recorded(place: &Place, more: &[&str]) -> BTreeSet<String> {
    let words = [&["decision", "list", "--json", "--count", "100000"], more].concat();
    let listed: Vec<serde_json::Value> = serde_json::from_str(&place.succeeds(&words)).unwrap();
    listed.iter().map(|one| one["decision_id"].as_str().unwrap().to_owned()).collect()
}

/// What `events verify` has counted; nothing may be wrong.
fn verified(place: &Place, data: &[&str]) -> u64 {
    let found = place.succeeds(&[&["events", "verify", "--json"], data].concat());
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    found["events"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_person_is_in_no_byte_of_a_directory() {
    erase_while_servers_run(&Place::in_directory()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_person_is_in_no_byte_of_a_bucket() {
    let Some(place) = Place::in_bucket() else { return };
    erase_while_servers_run(&place).await;
}

async fn erase_while_servers_run(place: &Place) {
    make_keys(place);
    let (old, both, export) = (place.at("old.toml"), place.at("both.toml"), place.at("export.json"));
    // A file of customers that a load can be undone to has them, too.
    fs::copy(sample_workspace().join("customers.csv"), place.path("loaded.csv")).unwrap();
    place.succeeds(&["features", "load", &place.at("loaded.csv")]);
    // Records by the id, by the former key and by the new one; those of earlier processes are sealed.
    let settings =
        |pseudonyms, keys| [("PROFFER_RECORDS_PSEUDONYMS", pseudonyms), ("PROFFER_RECORDS_KEYS", keys)];
    let customers = [ANNA, BERT, ANNA, CARL];
    for (pseudonyms, keys) in [("none", both.as_str()), ("hmac-sha256", old.as_str())] {
        let server = place.serve("one", &settings(pseudonyms, keys));
        decide(&server, &customers).await;
        assert!(server.terminate().success());
    }
    let with_both = settings("hmac-sha256", &both);
    let young = [&with_both[..], &[("PROFFER_RECORDS_LOG_AGE", "1s")]].concat();
    let (one, two) = (place.serve("one", &young), place.serve("two", &with_both));
    decide(&one, &customers).await;
    decide(&two, &customers).await;
    place.wait_until_sealed(3);
    decide(&one, &customers).await;
    decide(&two, &customers).await;

    let data = [place.at("one"), place.at("two")];
    let data = ["--data", data[0].as_str(), "--data", data[1].as_str()];
    let keys = ["--keys", both.as_str()];
    let (anna, bert) = (names_of(ANNA, &place.path("both.toml")), names_of(BERT, &place.path("both.toml")));
    let everything = [&keys[..], &data[..]].concat();
    let all = recorded(place, &everything);
    let of_anna = recorded(place, &[&everything[..], &["--customer", ANNA]].concat());
    assert_eq!((all.len(), of_anna.len()), (24, 12));
    for name in &anna {
        assert!(!place.holding(std::slice::from_ref(name)).is_empty(), "{name} is nowhere");
    }

    let exporting = [&["privacy", "export", "--customer", ANNA], &everything[..]].concat();
    place.succeeds(&[&exporting[..], &["--out", &export]].concat());
    let read = |text: &str| -> serde_json::Value { serde_json::from_str(text).unwrap() };
    let exported = read(&fs::read_to_string(&export).unwrap());
    assert_eq!(exported["customer_id"], ANNA);
    assert_eq!(exported["pseudonyms"].as_array().unwrap().len(), 2);
    let decisions = exported["decisions"].as_array().unwrap();
    let ids = decisions.iter().map(|one| one["decision_id"].as_str().unwrap().to_owned());
    assert_eq!(ids.collect::<BTreeSet<_>>(), of_anna);
    let files = exported["customer_files"].as_array().unwrap();
    assert_eq!(files.len(), 2);
    assert!(files.iter().all(|file| file["values"]["age"].is_string()), "{files:?}");

    let erased = place.succeeds(&["privacy", "erase", "--customer", ANNA, "--keys", &both]);
    for words in [
        "customers/customers.csv: 1 row removed",
        "customers/previous/",
        "complete: every server has acknowledged",
        "topics of Kafka",
        "backups",
    ] {
        assert!(erased.contains(words), "no {words:?} in {erased}");
    }
    // In memory, too.
    for server in [&one, &two] {
        let anna = previewed(server, ANNA).await;
        assert!(anna.degraded.contains(&"unknown_customer".to_owned()), "{anna:?}");
        assert!(!previewed(server, BERT).await.degraded.contains(&"unknown_customer".to_owned()));
    }
    assert_eq!(place.holding(&anna), Vec::<PathBuf>::new());
    assert!(one.terminate().success() && two.terminate().success());
    assert_eq!(place.holding(&anna), Vec::<PathBuf>::new());
    assert!(!place.holding(&bert).is_empty());

    // Everybody else is what they were, and is decided again to the byte.
    let others: BTreeSet<String> = all.difference(&of_anna).cloned().collect();
    assert_eq!(recorded(place, &everything), others);
    let replay = ["replay", "--format", "json", "--rescore"];
    let replayed = read(&place.succeeds(&[&replay[..], &everything[..]].concat()));
    assert_eq!((&replayed["identical"], &replayed["differing"]), (&others.len().into(), &0.into()));
    assert_eq!(verified(place, &data), all.len() as u64);
    let nothing = place.fails(&exporting, &["nothing is known of customer `C000042`"]);
    let nothing = read(&nothing.stdout);
    assert!(nothing["decisions"].as_array().unwrap().is_empty(), "{nothing}");
    assert!(nothing["customer_files"].as_array().unwrap().is_empty(), "{nothing}");

    // What is left of the logs is sealed as anything else.
    for name in ["one", "two"] {
        place.succeeds(&["events", "seal", &place.at(name), "--keys", &both]);
    }
    assert_eq!(verified(place, &data), all.len() as u64);
    assert_eq!(recorded(place, &keys), others);
    assert_eq!(place.holding(&anna), Vec::<PathBuf>::new());
    // Again, it does no harm, and no server is waited for.
    let again = place.fails(
        &["privacy", "erase", "--customer", ANNA, "--keys", &both],
        &["nothing was found of customer `C000042`", "unless they were erased before"],
    );
    assert!(!again.stderr.contains("waiting"), "{again:?}");
    assert_eq!(recorded(place, &keys), others);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_do_not_run_are_named_until_they_have_obeyed() {
    let place = Place::in_directory();
    let (one, two) = (place.serve("one", &[]), place.serve("two", &[]));
    decide(&one, &[ANNA, BERT, CARL]).await;
    decide(&two, &[ANNA, BERT]).await;
    one.signal("KILL");
    one.ended();
    let (first, second) = (place.server("one"), place.server("two"));
    // It may still be there, so it is waited for.
    let erase = |customer| ["privacy", "erase", "--customer", customer, "--wait", "3s"];
    let pending = place.fails(&erase(ANNA), &["waiting up to 3s", "not complete", &first, "--data"]);
    assert!(pending.stdout.contains(&format!("pending: server {first}")), "{pending:?}");
    assert!(!pending.stdout.contains("complete:") && !pending.stdout.contains(&second), "{pending:?}");
    assert_eq!(place.holding(&[ANNA.to_owned()]).len(), 1);
    let data = place.at("one");
    let with_data = [&erase(ANNA)[..], &["--data", &data]].concat();
    assert!(place.succeeds(&with_data).contains("complete: every server has acknowledged"));
    assert_eq!(place.holding(&[ANNA.to_owned()]), Vec::<PathBuf>::new());

    // One that has ended is not waited for, and its directory obeys when it is sealed. What it has decided before may
    // be sealed already.
    decide(&two, &[BERT]).await;
    assert!(two.terminate().success());
    place.succeeds(&["events", "seal", &data]);
    let long = ["privacy", "erase", "--customer", BERT, "--wait", "10m"];
    let pending = place.fails(&long, &["1 server has not acknowledged", &second]);
    assert!(!pending.stderr.contains("waiting") && !pending.stderr.contains(&first), "{pending:?}");
    let sealed = place.run(&["events", "seal", &place.at("two")]);
    assert_eq!(sealed.code, Some(0), "{sealed:?}");
    assert!(sealed.stderr.contains("blanked for erasure"), "{sealed:?}");
    place.succeeds(&long);
    assert_eq!(place.holding(&[BERT.to_owned()]), Vec::<PathBuf>::new());
    assert!(!place.holding(&[CARL.to_owned()]).is_empty());

    // One that starts again obeys then.
    let three = place.serve("three", &[]);
    decide(&three, &[CARL]).await;
    assert!(three.terminate().success());
    let third = place.server("three");
    place.fails(&erase(CARL), &[&third]);
    let three = place.serve("three", &[]);
    place.succeeds(&erase(CARL));
    assert_eq!(place.holding(&[CARL.to_owned()]), Vec::<PathBuf>::new());

    // One that is gone for good is told.
    let gone = |server| ["privacy", "erase", "--customer", "C000045", "--gone", server];
    place.fails(&gone("nobody"), &["--gone nobody: that is no id of a server", &third]);
    place.fails(&gone(&third), &["it runs"]);
    decide(&three, &["C000046"]).await;
    assert!(three.terminate().success());
    fs::remove_dir_all(place.path("three")).unwrap();
    place.fails(&["privacy", "erase", "--customer", "C000045"], &[&third]);
    place.succeeds(&gone(&third));
    // The same command again, as if it had been killed behind that.
    let again = place.run(&["privacy", "erase", "--customer", "C000047", "--gone", &third]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stderr.contains("the store waits for no such server"), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_with_another_secret_under_the_same_id_is_noticed() {
    let place = Place::in_directory();
    let make = |name: &str, secrets: &[&str]| {
        let path = place.path(name);
        let mut text = String::new();
        for (at, secret) in secrets.iter().enumerate() {
            let (key, active) = ("[[key]]\nid = \"2026-11\"\nuse = \"pseudonyms\"", at + 1 == secrets.len());
            writeln!(text, "{key}\nsecret = \"{secret}\"\nactive = {active}").unwrap();
        }
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let [one, other] =
        ["AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="];
    let (ours, theirs) = (make("ours.toml", &[one]), make("theirs.toml", &[other]));
    let both = make("both.toml", &[one, other]);
    let settings = [("PROFFER_RECORDS_PSEUDONYMS", "hmac-sha256"), ("PROFFER_RECORDS_KEYS", ours.as_str())];
    let server = place.serve("one", &settings);
    decide(&server, &[ANNA, BERT, ANNA]).await;
    assert!(server.terminate().success());
    let (data, out) = (place.at("one"), place.at("out.jsonl"));
    let secret = "(the key file has another secret of that id): give the file that has them with --keys";
    let sealed = || place.succeeds(&["events", "seal", &data]);
    // From the log, and from the store.
    for logs in [&["--data", data.as_str()][..], &[]] {
        if logs.is_empty() {
            sealed();
        }
        for (keys, expected) in [(&["--keys", theirs.as_str()][..], secret), (&[], "by the keys `2026-11@")] {
            let more = [logs, keys].concat();
            for words in [
                &["decision", "list", "--customer", ANNA][..],
                &["replay", "--customer", ANNA],
                &["events", "export", "--format", "jsonl", "--out", &out, "--customer", ANNA],
                &["privacy", "export", "--customer", ANNA],
            ] {
                place.fails(&[words, &more].concat(), &[expected]);
            }
        }
        for keys in [&ours, &both] {
            let found = recorded(&place, &[logs, &["--customer", ANNA, "--keys", keys.as_str()]].concat());
            assert_eq!(found.len(), 2);
        }
    }
    // A pseudonym needs no key.
    let name = names_under(ANNA, &place.path("ours.toml"));
    assert_eq!(recorded(&place, &["--customer", &name]).len(), 2);
    place.succeeds(&["decision", "list", "--customer", "00112233445566778899aabbccddeeff"]);
    let erase = |keys: &str| place.run(&["privacy", "erase", "--customer", ANNA, "--keys", keys]);
    let wrong = erase(&theirs);
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    assert!(
        wrong.stderr.contains("the erasure is not complete") && wrong.stderr.contains(secret),
        "{wrong:?}"
    );
    assert!(!wrong.stdout.contains("complete: every"), "{wrong:?}");
    assert!(!place.holding(std::slice::from_ref(&name)).is_empty());
    let right = place.run(&["privacy", "erase", "--customer", ANNA, "--keys", &both, "--data", &data]);
    assert_eq!(right.code, Some(0), "{right:?}");
    assert_eq!(place.holding(&[name]), Vec::<PathBuf>::new());
}

/// The pseudonym of a customer under the active key of a file.
fn names_under(customer: &str, keys: &Path) -> String {
    Pseudonyms::new(PseudonymMode::HmacSha256, &Keys::read(keys).unwrap()).unwrap().of(customer).text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_is_kept_warm_under_another_schema_forgets_them() {
    let place = Place::in_directory();
    let server = place.serve("one", &[]);
    let workspace = Copy::new();
    let feature =
        "name = \"shoe_size\"\ntype = \"int\"\nentity = \"customer\"\ndefault = 40\nrange = [30, 50]\n";
    workspace.append("features.toml", &format!("\n[[feature]]\n{feature}"));
    place.succeeds(&["release", "create", workspace.path().to_str().unwrap()]);
    place.succeeds(&["release", "promote", "2"]);
    let metric = |line: &str| {
        let page = admin_get(server.admin, "/metrics").unwrap();
        page.lines().any(|found| found == line)
    };
    while !metric("proffer_release 2") {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(metric("proffer_releases_warm 1"));
    place.succeeds(&["privacy", "erase", "--customer", ANNA]);
    assert!(metric("proffer_releases_warm 0"));
    assert!(previewed(&server, ANNA).await.degraded.contains(&"unknown_customer".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_exported_or_erased_says_what_to_do() {
    let place = Place::in_directory();
    place.fails(
        &["privacy", "erase", "--customer", "nobody"],
        &["nothing was found of customer `nobody`; check the id"],
    );
    place.fails(
        &["privacy", "export", "--customer", "nobody"],
        &["nothing is known of customer `nobody`; check the id"],
    );
    for command in ["erase", "export"] {
        let on = |customer, more: &[&str]| {
            let words = ["privacy", command, "--customer", customer, "--store"];
            let ended: Ended = self::command().args(words).args(more).output().unwrap().into();
            assert_eq!(ended.code, Some(1), "{ended:?}");
            ended.stderr
        };
        let missing = on(ANNA, &["/nowhere"]);
        assert!(missing.contains("/nowhere is not a store: there is no such directory"), "{missing}");
        assert!(on("", &[&place.location]).contains("--customer is empty"));
        let no_keys = on(ANNA, &[&place.location, "--keys", "none.toml"]);
        assert!(no_keys.contains("none.toml"), "{no_keys}");
        let no_data = on(ANNA, &[&place.location, "--data", &place.location]);
        assert!(no_data.contains("is not a data directory"), "{no_data}");
    }
    let erased = || walk(&place.store().join("erased")).len();
    assert_eq!(erased(), 1);

    make_keys(&place);
    let both = place.at("both.toml");
    let settings = [("PROFFER_RECORDS_PSEUDONYMS", "hmac-sha256"), ("PROFFER_RECORDS_KEYS", both.as_str())];
    let server = place.serve("one", &settings);
    decide(&server, &[ANNA]).await;
    let data = place.at("one");
    let unknown =
        ["records have pseudonyms by the keys `pseudonyms-", "give the file that has them with --keys"];
    let export = ["privacy", "export", "--customer", ANNA, "--data", &data];
    place.fails(&export, &[&unknown[..], &["the export may lack decisions"]].concat());
    let erase = ["privacy", "erase", "--customer", ANNA];
    place.fails(&erase, &[&unknown[..], &["the erasure is not complete", "--lost-key"]].concat());
    // With the keys it is found, and the earlier attempt ends with this one.
    let keys = ["--keys", both.as_str()];
    place.succeeds(&[&erase[..], &keys].concat());
    assert_eq!(erased(), 3);
    assert_eq!(place.holding(&names_of(ANNA, &place.path("both.toml"))), Vec::<PathBuf>::new());
    assert!(server.terminate().success());
    place.succeeds(&["events", "seal", &data, "--keys", &both]);

    // A server without the keys says so, and is named.
    let server = place.serve("two", &[]);
    let waits = [&["privacy", "erase", "--customer", BERT, "--wait", "1s"], &keys[..]].concat();
    place.fails(&waits, &["1 server has not acknowledged", &place.server("two")]);
    let (_, log) = server.terminate_with_log();
    assert!(log.iter().any(|line| line.contains("give the key file of the erasure")), "{log:#?}");
}
