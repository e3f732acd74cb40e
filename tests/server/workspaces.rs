//! What a user does with a workspace: check it, create releases from it after a pipeline's pushes, and load customers.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::binary::{Ended, init, proffer, proffer_prints};
use super::harness::{Server, rank_request, wire};

const FEATURES: &str = "[[feature]]\nname = 'balance'\ntype = 'float'\nentity = 'customer'\ndefault = 100.0\nrange = [0.0, 20000.0]\n\
    [[feature]]\nname = 'consent_news'\ntype = 'bool'\nentity = 'customer'\n\
    [[feature]]\nname = 'annual_fee'\ntype = 'float'\nentity = 'offer'\ndefault = 1.0\nrange = [0.0, 100.0]\n";

const OFFERS: &str = "\
[[offer]]
id = 'card'
name = 'Card'
category = 'c'
placements = ['home']
value = 10.0

[[offer]]
id = 'news'
name = 'News'
category = 'c'
placements = ['home']
value = 5.0
consents = ['news']
";

const POLICY: &str = "[[category]]\nid = 'c'\n\
    [[placement]]\nid = 'home'\nchannels = ['app']\ncount = 2\nmodel = 'm'\n";

const MANIFEST: &str = "kind = 'propensity'\nlayout = 'pairwise'\ninputs = ['balance', 'annual_fee']\n";

/// Customers, of whom some have consented.
fn customers() -> String {
    let rows = (0..10).map(|id| format!("c{id},{},{}\n", id * 100, if id < 4 { "true" } else { "" }));
    format!("customer_id,balance,consent_news\n{}", rows.collect::<String>())
}

/// A small workspace, and a location for a store.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (file, text) in [
            ("features.toml", FEATURES),
            ("offers.toml", OFFERS),
            ("policy.toml", POLICY),
            ("customers.csv", &customers()),
        ] {
            folder.write(file, text);
        }
        folder.version("m", 1, "pushed_good", "");
        folder
    }

    fn workspace(&self) -> PathBuf {
        self.0.path().join("workspace")
    }

    fn store(&self) -> PathBuf {
        self.0.path().join("store")
    }

    fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.workspace().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn version(&self, name: &str, number: u64, graph: &str, comment: &str) {
        self.write(&format!("{name}/{number}/model.toml"), &format!("# {comment}\n{MANIFEST}"));
        let graph = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/onnx/{graph}.onnx"));
        fs::copy(graph, self.workspace().join(format!("{name}/{number}/model.onnx"))).unwrap();
    }

    fn check(&self, more: &[&str]) -> Ended {
        let workspace = self.workspace();
        proffer(["check", workspace.to_str().unwrap()].iter().chain(more))
    }

    fn init(&self) {
        let made = init(&self.store(), &self.workspace());
        assert_eq!(made.code, Some(0), "{made:?}");
    }

    /// Runs `release create` with the workspace; returns the pins as `name from→to change`.
    fn create(&self, more: &[&str]) -> Vec<String> {
        let (workspace, store) = (self.workspace(), self.store());
        let arguments =
            ["release", "create", workspace.to_str().unwrap(), "--store", store.to_str().unwrap(), "--json"];
        let made: Value = serde_json::from_str(&proffer_prints(arguments.iter().chain(more))).unwrap();
        let pin = |pin: &Value| {
            let word = |key: &str| pin[key].to_string().replace('"', "");
            format!("{} {}→{} {}", word("name"), word("from"), word("to"), word("change"))
        };
        made["pins"].as_array().unwrap().iter().map(pin).collect()
    }

    fn promote(&self, release: u64) {
        let (store, release) = (self.store(), release.to_string());
        proffer_prints(["release", "promote", &release, "--store", store.to_str().unwrap()]);
    }

    fn load(&self, arguments: &[&str]) -> Ended {
        let store = self.store();
        proffer(["features", "load", "--store", store.to_str().unwrap()].iter().chain(arguments))
    }
}

#[test]
fn a_workspace_lowers_a_current_version_only_with_downgrade() {
    let folder = Folder::new();
    folder.init();
    // A pipeline pushes version 2 and an extra model, which are not in the user's workspace.
    let pipeline = Folder::new();
    pipeline.version("m", 2, "pushed_good", "newer");
    pipeline.version("extra", 1, "pushed_good", "");
    fs::remove_dir_all(pipeline.workspace().join("m/1")).unwrap();
    for name in ["m/2", "extra/1"] {
        let (version, store) = (pipeline.workspace().join(name), folder.store());
        let model = name.split('/').next().unwrap();
        let pushed = ["model", "push", model, version.to_str().unwrap(), "--store", store.to_str().unwrap()];
        proffer_prints(pushed);
    }
    let store = folder.store();
    let pins =
        ["release", "create", "--model", "m=2", "--model", "extra=1", "--store", store.to_str().unwrap()];
    let printed = proffer_prints(pins);
    assert!(printed.contains("raised") && printed.contains("new"), "{printed}");
    folder.promote(2);

    assert_eq!(folder.create(&[]), ["extra 1→0 removed", "m 2→2 kept"]);
    folder.promote(3);
    assert_eq!(folder.create(&["--downgrade", "m"]), ["m 2→1 lowered"]);
    let (workspace, unknown) = (folder.workspace(), "--downgrade");
    let refused = proffer([
        "release",
        "create",
        workspace.to_str().unwrap(),
        "--store",
        store.to_str().unwrap(),
        unknown,
        "n",
    ]);
    assert!(refused.stderr.contains("the workspace has no model `n`; did you mean `m`?"), "{refused:?}");
}

#[test]
fn check_warns_of_likely_mistakes_and_strict_fails() {
    let folder = Folder::new();
    let unchecked = folder.check(&["--strict"]);
    assert_eq!(unchecked.code, Some(1), "{unchecked:?}");
    assert!(unchecked.stdout.contains("warning: m/1: there is no golden.csv"), "{unchecked:?}");
    folder.write("m/1/golden.csv", "balance,annual_fee,expected\n0,0,0.5\n");
    let sound = folder.check(&["--strict"]);
    assert_eq!(sound.code, Some(0), "{sound:?}");
    assert!(sound.stdout.ends_with("sound\n"), "{sound:?}");
    let line = |text: &str, word: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(word)).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line(&sound.stdout, "card"), ["card", "10"]);
    assert_eq!(line(&sound.stdout, "news"), ["news", "4", "(+6)"]);

    folder.write(
        "offers.toml",
        &format!(
            "{OFFERS}[[offer]]\nid = 'rich'\nname = 'Rich'\ncategory = 'c'\nplacements = ['home']\nvalue = 1.0\ncost = 2.0\n\
             channels = ['ap']\neligibility = 'customer.balance > 5000.0'\n\
             [[offer]]\nid = 'dead'\nname = 'Dead'\ncategory = 'c'\nplacements = ['home']\nvalue = 1.0\n\
             eligibility = 'customer.balance > 5000.0'\n"
        ),
    );
    let warned = folder.check(&[]);
    assert_eq!(warned.code, Some(0), "{warned:?}");
    for warning in [
        "warning: offers.toml:22: offer `rich`: `channels`: no placement has the channel `ap`; did you mean `app`?",
        "warning: offers.toml:20: offer `rich`: `value` 1 is below `cost` 2",
        "warning: offers.toml:30: offer `dead`: reaches 0 of 10 customers at `home`: eligibility withholds it from 10",
    ] {
        assert!(warned.stdout.contains(warning), "{warning}\n{}", warned.stdout);
    }
    let strict = folder.check(&["--strict"]);
    assert_eq!(strict.code, Some(1), "{strict:?}");
    let made = init(&folder.store(), &folder.workspace());
    assert!(made.code == Some(0) && made.stderr.contains("warning: offers.toml:22"), "{made:?}");
}

#[test]
fn check_and_init_report_the_same_failed_gates() {
    let folder = Folder::new();
    folder.version("m", 1, "pushed_nan_on_some_rows", "");
    let (checked, made) = (folder.check(&[]), init(&folder.store(), &folder.workspace()));
    assert_eq!((checked.code, made.code), (Some(1), Some(1)), "{checked:?}");
    assert!(checked.stderr.contains("m/1: fails its gates: finite"), "{checked:?}");
    assert_eq!(checked.stderr, made.stderr);
}

#[test]
fn check_and_init_reject_names_that_differ_only_in_case() {
    for listed in [false, true] {
        let folder = Folder::new();
        for name in ["weights/A.bin", "weights/a.bin"] {
            folder.write(&format!("m/1/{name}"), name);
        }
        if listed {
            let digest = "0".repeat(64);
            let checksums =
                format!("[checksums]\n\"weights/A.bin\" = \"{digest}\"\n\"weights/a.bin\" = \"{digest}\"\n");
            folder.write("m/1/model.toml", &format!("{MANIFEST}{checksums}"));
        }
        let (checked, made) = (folder.check(&[]), init(&folder.store(), &folder.workspace()));
        assert_eq!((checked.code, made.code), (Some(1), Some(1)), "{checked:?}");
        assert!(checked.stderr.contains("m/1: ") && checked.stderr.contains("weights/a.bin"), "{checked:?}");
        assert_eq!(checked.stderr, made.stderr);
    }
}

#[tokio::test]
async fn a_load_that_loses_customers_is_rejected_and_a_forced_one_can_be_undone() {
    let folder = Folder::new();
    folder.init();
    let server = Server::over(&folder.store(), &[]);
    let degraded = async |server: &Server| -> Vec<String> {
        let answer = server.client().await.rank(rank_request("home", &["c1"])).await.unwrap().into_inner();
        let wire::RankResult { degraded, .. } = answer.results.into_iter().next().unwrap();
        degraded
    };
    let before = degraded(&server).await;
    let empty = folder.write("../empty.csv", "customer_id,balance,consent_news\n");
    let (empty, blind) = (empty.to_str().unwrap(), folder.write("../blind.csv", "customer_id\nc0\nc1\n"));
    let refused = folder.load(&[empty]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("all 10 would be lost"), "{refused:?}");
    let refused = folder.load(&[blind.to_str().unwrap()]);
    for word in ["8 of 10 customers (80.0 %)", "the column `balance`", "the column `consent_news`", "--force"]
    {
        assert!(refused.stderr.contains(word), "{refused:?}");
    }
    assert_eq!(degraded(&server).await, before);

    let forced = folder.load(&[empty, "--force"]);
    assert_eq!(forced.code, Some(0), "{forced:?}");
    assert!(forced.stdout.contains("--undo"), "{forced:?}");
    wait_for(async || degraded(&server).await != before).await;
    let undone = folder.load(&["--undo"]);
    assert!(undone.code == Some(0) && undone.stdout.contains("10 customers"), "{undone:?}");
    wait_for(async || degraded(&server).await == before).await;
}

async fn wait_for(mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..500 {
        if holds().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the server did not notice");
}
