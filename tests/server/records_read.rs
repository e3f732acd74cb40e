//! Recorded decisions as others read them: sealed files and exports by pyarrow and `DuckDB`, and the tables of a
//! what-if by a script of its own (`tests/golden/records.py`, `tests/golden/what_if.py`).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::binary::proffer;
use super::harness::{Copy, Server, copy_directory, dense, rank_request, sample_workspace, wire};
use super::management::Management;
use super::pipeline::recent_python;
use super::records::{decide, replayed, run, the_same};

/// What a script of `tests/golden` prints.
fn golden<S: AsRef<OsStr>>(python: &Path, script: &str, arguments: impl IntoIterator<Item = S>) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(script);
    let mut command = Command::new(python);
    let ran = command.arg(script).args(arguments).env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
    let printed = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(ran.status.success(), "{}{}", printed(&ran.stdout), printed(&ran.stderr));
    serde_json::from_slice(&ran.stdout).unwrap()
}

/// A store with sealed decisions, and what they were exported to.
struct Archive {
    directory: TempDir,
}

impl Archive {
    /// Ends the server, and seals and exports what it has recorded in `data`.
    fn of(server: Server, directory: TempDir, data: &Path) -> Self {
        let archive = Self { directory };
        // The store of the server is removed with it, and is needed longer.
        copy_directory(&server.store, &archive.store());
        server.join_quietly();
        let sealed = run(&["events", "seal", data.to_str().unwrap()], &[("--store", &archive.store())]);
        assert_eq!(sealed.code, Some(0), "{sealed:?}");
        for format in ["parquet", "jsonl", "csv"] {
            let out = archive.export(format);
            let paths = [("--store", archive.store()), ("--out", out)];
            let paths = paths.each_ref().map(|(flag, path)| (*flag, path.as_path()));
            let exported = run(&["events", "export", "--format", format], &paths);
            assert_eq!(exported.code, Some(0), "{exported:?}");
        }
        archive
    }

    fn store(&self) -> PathBuf {
        self.directory.path().join("kept")
    }

    fn export(&self, format: &str) -> PathBuf {
        self.directory.path().join(format!("decisions.{format}"))
    }

    /// What a replay of the records in `file` finds.
    fn replayed(&self, file: &Path) -> Value {
        replayed(&[], &[("--store", &self.store()), ("--input", file)])
    }
}

/// The folder of a release, as an argument of a script: `2=DIRECTORY`.
fn numbered(release: u64, directory: &Path) -> String {
    format!("{release}={}", directory.display())
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_files_and_exports_say_the_same_to_pyarrow_and_duckdb() {
    let Some(python) = recent_python() else { return };
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let settings = [("data.directory", data.to_str().unwrap()), ("records.log_age", "1s")];
    let server = Server::start(&sample_workspace(), &settings);
    let mut ids = decide(server.channel().await).await;
    let second = second_release(&server.store);
    Management::over(server.channel().await).promote(2).await.unwrap();
    ids.append(&mut decide(server.channel().await).await);
    let archive = Archive::of(server, directory, &data);

    let arguments = [
        "check".to_owned(),
        archive.store().join("events").display().to_string(),
        archive.directory.path().display().to_string(),
        numbered(1, &sample_workspace()),
        numbered(2, second.path()),
    ];
    let found = golden(&python, "records.py", arguments);
    assert_eq!(found["rows"], ids.len());
    assert_eq!(found["releases"], json!([1, 2]));
    for some in ["errors", "fallbacks", "degraded"] {
        assert!(found[some].as_u64().unwrap() > 0, "{some} in {found}");
    }

    // What another program has written is decided again likewise, and so is a file of an older version.
    let expected = archive.replayed(&archive.export("parquet"));
    assert_eq!(the_same(&expected), ids.len() as u64);
    for command in ["rewrite", "older"] {
        let out = archive.directory.path().join(format!("{command}.parquet"));
        let made = golden(
            &python,
            "records.py",
            [OsStr::new(command), archive.export("parquet").as_os_str(), out.as_os_str()],
        );
        assert_eq!(made["rows"], ids.len());
        assert_eq!(archive.replayed(&out), expected, "{command}");
    }
}

/// Makes release 2 in a store, and returns its workspace: another order of features, other offers and rules, and a
/// model that is calibrated otherwise.
fn second_release(store: &Path) -> Copy {
    let workspace = Copy::new();
    let tenure = "[[feature]]\nname = \"tenure\"\ntype = \"int\"\nentity = \"customer\"\ndefault = 12\n\
                  range = [6, 12]\ndescription = \"Months that the behaviour columns cover\"\n";
    workspace.replace("features.toml", tenure, "").append("features.toml", &format!("\n{tenure}"));
    workspace
        .replace("offers.toml", "value = 80.0", "value = 240.0")
        .replace("offers.toml", "customer.late_payments_12m <= 2\"", "customer.late_payments_12m <= 0\"")
        .replace("offers.toml", "customer.purchases > 0.0", "customer.purchases > 200.0")
        .replace("policy.toml", "weight = -10.0", "weight = 35.0");
    let version = workspace.path().join("network/2");
    copy_directory(&workspace.path().join("network/1"), &version);
    // Its golden rows hold for the old calibration.
    std::fs::remove_file(version.join("golden.csv")).unwrap();
    let manifest = std::fs::read_to_string(version.join("model.toml")).unwrap();
    let listed = |line: &&str| !line.contains("golden");
    let manifest = manifest.lines().filter(listed).collect::<Vec<_>>().join("\n");
    assert!(manifest.contains("\na = 0.990992\n"), "{manifest}");
    let manifest = manifest.replace("\na = 0.990992\n", "\na = 0.85\n");
    std::fs::write(version.join("model.toml"), manifest).unwrap();
    let made = proffer([
        "release".as_ref(),
        "create".as_ref(),
        workspace.path().as_os_str(),
        "--store".as_ref(),
        store.as_os_str(),
    ]);
    assert_eq!(made.code, Some(0), "{made:?}");
    workspace
}

/// The workspace of release 2 with other files: offers that are gone, new, or conflict otherwise, a placement less, and
/// an experiment at another one.
fn third_workspace(second: &Copy) -> Copy {
    let workspace = Copy::new();
    copy_directory(second.path(), workspace.path());
    workspace
        .replace("offers.toml", "id = \"insurance_device\"", "id = \"insurance_phone\"")
        .replace("offers.toml", "name = \"Travel Basic card\"", "name = \"Travel Light card\"")
        .replace("offers.toml", "[\"travel_basic\", \"travel_platinum\"]", "[\"travel_platinum\"]");
    let offers = workspace.path().join("offers.toml");
    let text = std::fs::read_to_string(&offers).unwrap();
    std::fs::write(
        &offers,
        text.replace(", \"call_center\"]", "]").replace("\"call_center\"", "\"app_home\""),
    )
    .unwrap();
    let policy = workspace.path().join("policy.toml");
    let text = std::fs::read_to_string(&policy).unwrap();
    let (before, rest) = text.split_once("[[placement]]\nid = \"call_center\"").unwrap();
    let (_, after) = rest.split_once("# --- What the moment adds").unwrap();
    let (after, experiment) = after.split_once("[[experiment]]").unwrap();
    let experiment = experiment.replace("call_center", "app_home").replace("\"priority\"", "\"margin\"");
    let changed = format!("{before}# --- What the moment adds{after}[[experiment]]{experiment}");
    std::fs::write(&policy, changed.replacen("max_per_category = 1", "max_per_category = 2", 1)).unwrap();
    workspace
}

/// Calls of many shapes, each for one customer.
fn calls(customers: std::ops::Range<usize>) -> Vec<wire::RankRequest> {
    use wire::feature_value::Kind;
    let value = |kind| wire::FeatureValue { kind: Some(kind) };
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let call = |number: usize| {
        let placement = ["app_home", "email_monthly", "call_center"][number % 3];
        // Every eleventh is not in the store.
        let id = if number.is_multiple_of(11) {
            format!("stranger {number}")
        } else {
            format!("C{:06}", number * 17 % 2000 + 1)
        };
        let mut request = rank_request(placement, &[&id]);
        if number.is_multiple_of(2) {
            let page = ["home", "statement", "travel", "card", "support"][number / 2 % 5];
            request.context.insert("month".to_owned(), value(Kind::Int64Value((number % 12 + 1) as i64)));
            request.context.insert("page".to_owned(), value(Kind::StringValue(page.to_owned())));
        }
        if number.is_multiple_of(5) {
            request.context.insert("hour".to_owned(), value(Kind::Int64Value((number % 24) as i64)));
            request.customers[0].consents = texts(&["marketing", "partners"]);
        }
        if number.is_multiple_of(7) {
            // One in seven of these fails: an infinite value.
            let balance = if number.is_multiple_of(49) { f32::INFINITY } else { 100.5 * number as f32 };
            let late = (number % 4) as f32;
            request.features = Some(dense(&["balance", "late_payments_12m"], 1, &[balance, late]));
        }
        match number % 13 {
            1 => request.candidate_offer_ids = texts(&["travel_gold", "installments_zero", "gone"]),
            2 => request.exclude_offer_ids = texts(&["travel_gold", "insurance_purchase"]),
            3 => request.count = 1,
            4 => request.count = 9,
            5 => ["web", "email", "chat"][number % 3].clone_into(&mut request.channel),
            // A moment at which other offers are valid.
            6 => request.as_of = Some(prost_types::Timestamp { seconds: 1_805_000_000, nanos: 250_000_000 }),
            _ => {}
        }
        request
    };
    customers.map(call).collect()
}

/// Asserts that a table has the expected cells: counts and texts are equal, sums within 1e-5 of their size, since
/// Python scores with ONNX Runtime.
fn assert_same(found: &Value, expected: &Value, place: &str) {
    match (found, expected) {
        (Value::Array(found), Value::Array(expected)) => {
            assert_eq!(found.len(), expected.len(), "rows of {place}: {found:#?} instead of {expected:#?}");
            for (row, (found, expected)) in found.iter().zip(expected).enumerate() {
                assert_same(found, expected, &format!("{place}[{row}]"));
            }
        }
        (Value::Object(found), Value::Object(expected)) => {
            assert!(found.keys().eq(expected.keys()), "{place}: {found:?} instead of {expected:?}");
            for (name, found) in found {
                assert_same(found, &expected[name], &format!("{place}.{name}"));
            }
        }
        (Value::Number(one), Value::Number(other)) if one.is_f64() || other.is_f64() => {
            let (one, other) = (one.as_f64().unwrap(), other.as_f64().unwrap());
            let near = (one - other).abs() <= 1e-5 * other.abs().max(1.0);
            assert!(near, "{place}: {one} instead of {other}");
        }
        _ => assert_eq!(found, expected, "{place}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_of_a_what_if_are_those_of_an_independent_script() {
    let Some(python) = recent_python() else { return };
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = Server::start(&sample_workspace(), &[("data.directory", data.to_str().unwrap())]);
    let mut client = server.client().await;
    for call in calls(0..160) {
        client.rank(call).await.unwrap();
    }
    let second = second_release(&server.store);
    Management::over(server.channel().await).promote(2).await.unwrap();
    for call in calls(160..240) {
        assert_eq!(client.rank(call).await.unwrap().into_inner().release, 2);
    }
    drop(client);
    let archive = Archive::of(server, directory, &data);
    let third = third_workspace(&second);
    let (offers, policy) = (third.path().join("offers.toml"), third.path().join("policy.toml"));

    let files = [("--offers", offers.as_path()), ("--policy", policy.as_path())];
    for (paths, other) in [(&[][..], second.path()), (&files[..], third.path())] {
        let store = archive.store();
        let paths = [paths, &[("--store", store.as_path())]].concat();
        let ran = run(&["replay", "--release", "2", "--format", "json"], &paths);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let found: Value = serde_json::from_str(&ran.stdout).unwrap();
        let expected = golden(
            &python,
            "what_if.py",
            [
                archive.export("parquet").as_os_str(),
                "--before".as_ref(),
                numbered(1, &sample_workspace()).as_ref(),
                "--before".as_ref(),
                numbered(2, second.path()).as_ref(),
                "--after".as_ref(),
                other.as_os_str(),
            ],
        );
        for name in ["records", "releases"] {
            assert_eq!(found["subject"][name], expected[name]);
        }
        assert_same(&found["effect"], &expected["effect"], "effect");
        let excluded = &found["excluded"];
        for name in ["without_decision", "gone_placements"] {
            assert_eq!(excluded[name], expected["excluded"][name], "{name}");
        }
        assert_eq!((&excluded["failed"], &excluded["new_placements"]), (&0.into(), &json!({})));
        assert_eq!(expected["records"], 240);
        assert!(excluded["without_decision"].as_u64().unwrap() >= 4, "{excluded}");
        let is_less = other == third.path();
        assert_eq!(excluded["gone_placements"].get("call_center").is_some(), is_less, "{excluded}");

        // The tables have something to say.
        let effect = &found["effect"];
        assert!(effect["all"]["first_changes"].as_u64().unwrap() >= 20, "{}", effect["all"]);
        assert!(effect["all"]["fallbacks"]["before"].as_u64().unwrap() >= 1, "{}", effect["all"]);
        for (table, rows) in [("segments", 6), ("offers", 38), ("reasons", 10), ("moves", 10)] {
            assert!(effect[table].as_array().unwrap().len() >= rows, "{table} in {effect:#}");
        }
    }
}
