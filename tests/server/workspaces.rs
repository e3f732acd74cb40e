//! What a person does with a workspace: checks it, makes releases of it over what a pipeline has pushed, loads customers.

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

/// Ten customers, of whom four have consented.
fn customers() -> String {
    let rows = (0..10).map(|id| format!("c{id},{},{}\n", id * 100, if id < 4 { "true" } else { "" }));
    format!("customer_id,balance,consent_news\n{}", rows.collect::<String>())
}

/// A small workspace and a place for stores.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        for (file, text) in [
            ("features.toml", FEATURES),
            ("offers.toml", OFFERS),
            ("policy.toml", POLICY),
            ("customers.csv", &customers()),
        ] {
            desk.write(file, text);
        }
        desk.version("m", 1, "pushed_good", "");
        desk
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

    /// `release create` of the workspace; the pins as `name from→to change`.
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
fn a_workspace_lowers_no_version_that_is_current_unless_it_is_told_to() {
    let desk = Desk::new();
    desk.init();
    // A pipeline pushes version 2 and a segmentation-like extra model, which the workspace of a person never has.
    let pipeline = Desk::new();
    pipeline.version("m", 2, "pushed_good", "newer");
    pipeline.version("extra", 1, "pushed_good", "");
    fs::remove_dir_all(pipeline.workspace().join("m/1")).unwrap();
    for name in ["m/2", "extra/1"] {
        let (version, store) = (pipeline.workspace().join(name), desk.store());
        let model = name.split('/').next().unwrap();
        let pushed = ["model", "push", model, version.to_str().unwrap(), "--store", store.to_str().unwrap()];
        proffer_prints(pushed);
    }
    let store = desk.store();
    let pins =
        ["release", "create", "--model", "m=2", "--model", "extra=1", "--store", store.to_str().unwrap()];
    let said = proffer_prints(pins);
    assert!(said.contains("raised") && said.contains("new"), "{said}");
    desk.promote(2);

    assert_eq!(desk.create(&[]), ["extra 1→0 removed", "m 2→2 kept"]);
    desk.promote(3);
    assert_eq!(desk.create(&["--downgrade", "m"]), ["m 2→1 lowered"]);
    let (workspace, unknown) = (desk.workspace(), "--downgrade");
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
fn check_warns_of_what_is_most_likely_meant_otherwise_and_strict_fails() {
    let desk = Desk::new();
    let unchecked = desk.check(&["--strict"]);
    assert_eq!(unchecked.code, Some(1), "{unchecked:?}");
    assert!(unchecked.stdout.contains("warning: m/1: there is no golden.csv"), "{unchecked:?}");
    desk.write("m/1/golden.csv", "balance,annual_fee,expected\n0,0,0.5\n");
    let sound = desk.check(&["--strict"]);
    assert_eq!(sound.code, Some(0), "{sound:?}");
    assert!(sound.stdout.ends_with("sound\n"), "{sound:?}");
    let line = |text: &str, word: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(word)).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line(&sound.stdout, "card"), ["card", "10"]);
    assert_eq!(line(&sound.stdout, "news"), ["news", "4", "(+6)"]);

    desk.write(
        "offers.toml",
        &format!(
            "{OFFERS}[[offer]]\nid = 'rich'\nname = 'Rich'\ncategory = 'c'\nplacements = ['home']\nvalue = 1.0\ncost = 2.0\n\
             channels = ['ap']\neligibility = 'customer.balance > 5000.0'\n\
             [[offer]]\nid = 'dead'\nname = 'Dead'\ncategory = 'c'\nplacements = ['home']\nvalue = 1.0\n\
             eligibility = 'customer.balance > 5000.0'\n"
        ),
    );
    let warned = desk.check(&[]);
    assert_eq!(warned.code, Some(0), "{warned:?}");
    for warning in [
        "warning: offers.toml:22: offer `rich`: `channels`: no placement has the channel `ap`; did you mean `app`?",
        "warning: offers.toml:20: offer `rich`: `value` 1 is below `cost` 2",
        "warning: offers.toml:30: offer `dead`: reaches 0 of 10 customers at `home`: eligibility withholds it from 10",
    ] {
        assert!(warned.stdout.contains(warning), "{warning}\n{}", warned.stdout);
    }
    let strict = desk.check(&["--strict"]);
    assert_eq!(strict.code, Some(1), "{strict:?}");
    let made = init(&desk.store(), &desk.workspace());
    assert!(made.code == Some(0) && made.stderr.contains("warning: offers.toml:22"), "{made:?}");
}

#[test]
fn check_refuses_what_init_refuses_for_its_gates_in_the_same_words() {
    let desk = Desk::new();
    desk.version("m", 1, "pushed_nan_on_some_rows", "");
    let (checked, made) = (desk.check(&[]), init(&desk.store(), &desk.workspace()));
    assert_eq!((checked.code, made.code), (Some(1), Some(1)), "{checked:?}");
    assert!(checked.stderr.contains("m/1: fails its gates: finite"), "{checked:?}");
    assert_eq!(checked.stderr, made.stderr);
}

#[test]
fn names_that_only_case_tells_apart_are_refused_by_check_and_init_alike() {
    for listed in [false, true] {
        let desk = Desk::new();
        for name in ["weights/A.bin", "weights/a.bin"] {
            desk.write(&format!("m/1/{name}"), name);
        }
        if listed {
            let digest = "0".repeat(64);
            let checksums =
                format!("[checksums]\n\"weights/A.bin\" = \"{digest}\"\n\"weights/a.bin\" = \"{digest}\"\n");
            desk.write("m/1/model.toml", &format!("{MANIFEST}{checksums}"));
        }
        let (checked, made) = (desk.check(&[]), init(&desk.store(), &desk.workspace()));
        assert_eq!((checked.code, made.code), (Some(1), Some(1)), "{checked:?}");
        assert!(checked.stderr.contains("m/1: ") && checked.stderr.contains("weights/a.bin"), "{checked:?}");
        assert_eq!(checked.stderr, made.stderr);
    }
}

#[tokio::test]
async fn a_load_that_loses_customers_is_refused_and_one_that_was_forced_is_undone() {
    let desk = Desk::new();
    desk.init();
    let server = Server::over(&desk.store(), &[]);
    let degraded = async |server: &Server| -> Vec<String> {
        let answer = server.client().await.rank(rank_request("home", &["c1"])).await.unwrap().into_inner();
        let wire::RankResult { degraded, .. } = answer.results.into_iter().next().unwrap();
        degraded
    };
    let before = degraded(&server).await;
    let empty = desk.write("../empty.csv", "customer_id,balance,consent_news\n");
    let (empty, blind) = (empty.to_str().unwrap(), desk.write("../blind.csv", "customer_id\nc0\nc1\n"));
    let refused = desk.load(&[empty]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("all 10 would be lost"), "{refused:?}");
    let refused = desk.load(&[blind.to_str().unwrap()]);
    for word in ["8 of 10 customers (80.0 %)", "the column `balance`", "the column `consent_news`", "--force"]
    {
        assert!(refused.stderr.contains(word), "{refused:?}");
    }
    assert_eq!(degraded(&server).await, before);

    let forced = desk.load(&[empty, "--force"]);
    assert_eq!(forced.code, Some(0), "{forced:?}");
    assert!(forced.stdout.contains("--undo"), "{forced:?}");
    wait_for(async || degraded(&server).await != before).await;
    let undone = desk.load(&["--undo"]);
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
