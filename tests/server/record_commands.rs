//! The commands about records, as people and scripts use them: where output goes, what contradicts, what foreign texts
//! do, and what is refused with what to do instead.

mod outputs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::binary::{Ended, Process};
use super::harness::{Copy, rank_request, wire};
use super::records_faults::{Scene, channel};
use wire::decision_service_client::DecisionServiceClient;
use wire::record_service_client::RecordServiceClient;

/// An id that would add lines to a text: another segment, and an offer that was never shown.
const FORGED: &str = "X, segment 1 (VIP)\nshown\n rank offer\n 1 platinum_free";

/// A store with the decisions of a server that has ended, all of them sealed. The customers, each decided once.
async fn decided(customers: &[&str]) -> Scene {
    let scene = Scene::in_directory();
    let server = scene.serve("data", &[]);
    decide(&server, customers).await;
    assert!(server.terminate().success());
    scene.seal("data");
    scene
}

async fn decide(server: &Process, customers: &[&str]) {
    let mut client = DecisionServiceClient::new(channel(server.address).await);
    for customer in customers {
        client.rank(rank_request("app_home", &[customer])).await.unwrap();
    }
}

impl Scene {
    fn at(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// What a command prints that succeeds.
    #[track_caller]
    fn prints(&self, words: &[&str]) -> String {
        let ended = self.run(words);
        assert_eq!(ended.code, Some(0), "{words:?}: {ended:?}");
        ended.stdout
    }

    /// A command that fails with these words.
    #[track_caller]
    fn fails(&self, words: &[&str], code: i32, expected: &[&str]) -> Ended {
        let ended = self.run(words);
        assert_eq!(ended.code, Some(code), "{words:?}: {ended:?}");
        for expected in expected {
            assert!(ended.stderr.contains(expected), "no {expected:?} in {ended:?}");
        }
        ended
    }

    fn listed(&self) -> Vec<serde_json::Value> {
        serde_json::from_str(&self.prints(&["decision", "list", "--json"])).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_texts_neither_forge_lines_nor_widen_tables() {
    let long = format!("long-{}", "x".repeat(250));
    let scene = decided(&[FORGED, &long, &"y".repeat(300)]).await;
    let all = scene.listed();
    let id_of = |customer: &str| -> String {
        let is_of = |one: &&serde_json::Value| one["customer_id"].as_str().unwrap().starts_with(customer);
        all.iter().find(is_of).unwrap()["decision_id"].as_str().unwrap().to_owned()
    };
    let forged = scene.prints(&["decision", "show", &id_of("X, segment")]);
    assert!(
        forged.contains("customer X, segment 1 (VIP)\\nshown\\n rank offer\\n 1 platinum_free"),
        "{forged}"
    );
    assert_eq!(forged.lines().filter(|line| *line == "shown").count(), 1, "{forged}");
    assert!(!forged.lines().any(|line| line.trim_start().starts_with("1 platinum_free")), "{forged}");
    // An id is whole where there is room for it, and in JSON.
    assert!(scene.prints(&["decision", "show", &id_of("long-")]).contains(&long));
    let table = scene.prints(&["decision", "list"]);
    assert!(table.contains(&format!("{}…", &long[..40])), "{table}");
    assert!(table.lines().all(|line| line.chars().count() < 260), "{table}");
    assert!(all.iter().any(|one| one["customer_id"] == long.as_str()));

    // The id that was too long could not be decided: a record of an error, which names the field.
    let why = "customers[0].customer_id: 300 bytes are more than 256";
    let error = all.iter().find(|one| one["error"] != "").unwrap();
    assert_eq!(error["error"], why);
    let id = error["decision_id"].as_str().unwrap();
    let shown = scene.prints(&["decision", "show", id]);
    assert!(shown.contains(&format!("no decision: {why}")) && !shown.contains("decided again"), "{shown}");
    let shown: serde_json::Value =
        serde_json::from_str(&scene.prints(&["decision", "show", id, "--json"])).unwrap();
    assert_eq!((&shown["error"], &shown["replayed"]), (&why.into(), &serde_json::Value::Null));
    let nothing =
        scene.fails(&["replay", "--decision", id], 1, &["the record has an error", "nothing was compared"]);
    assert!(nothing.stdout.contains("There was no answer to work out again."), "{nothing:?}");
    let replayed = scene.prints(&["replay"]);
    let lead = "All 2 answers are the same, byte for byte. 1 record has an error instead of an answer.";
    assert!(replayed.contains(lead) && replayed.trim_end().ends_with("\n2 identical"), "{replayed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_that_contradict_are_refused_before_anything_is_done() {
    let scene = decided(&["C000001"]).await;
    let (out, data) = (scene.at("out.csv"), scene.at("data"));
    let times = ["--from", "2026-12-01", "--to", "2026-11-01"];
    let backward = "--from 2026-12-01T00:00:00Z is not before --to 2026-11-01T00:00:00Z";
    for words in [
        &["decision", "list"][..],
        &["events", "export", "--format", "csv", "--out", &out],
        &["replay"],
        &["replay", "--release", "1"],
    ] {
        scene.fails(&[words, &times].concat(), 2, &[backward]);
    }
    assert!(!Path::new(&out).exists());
    let mut asked = scene.proffer();
    asked.args(["decision", "list", "--server", "127.0.0.1:1"]).args(times);
    let asked: Ended = asked.output().unwrap().into();
    assert!(asked.code == Some(2) && asked.stderr.contains(backward), "{asked:?}");

    let cannot = "cannot be used with";
    scene.fails(&["decision", "list", "--server", "127.0.0.1:1"], 2, &[cannot]);
    scene.fails(
        &["decision", "show", "01a22c4c-9ad7-7a23-bee3-917a26fd29d6", "--server", "x:1"],
        2,
        &[cannot],
    );
    scene.fails(&["replay", "--input", &out, "--data", &data], 2, &[cannot]);
    scene.fails(&["events", "seal", &data, "--data", &data], 2, &["unexpected argument '--data'"]);
    scene.fails(&["events", "verify", "--keys", &out], 2, &["unexpected argument '--keys'"]);
    // A server in the environment is none that was asked for.
    let mut with_server = scene.proffer();
    with_server.args(["decision", "list", "--json", "--store", scene.location()]);
    let listed: Ended = with_server.env("PROFFER_SERVER", "127.0.0.1:1").output().unwrap().into();
    assert!(listed.code == Some(0) && listed.stdout.contains("C000001"), "{listed:?}");

    for words in [&["replay"][..], &["replay", "--release", "1"], &["release", "simulate", "1"]] {
        for threads in ["1025", "100000", "many"] {
            scene.fails(
                &[words, &["--threads", threads]].concat(),
                2,
                &["must be a whole number, 0 to 1024"],
            );
        }
        assert_eq!(scene.run(&[words, &["--threads", "3"]].concat()).code, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_that_the_system_refuses_are_an_error() {
    let scene = decided(&["C000001"]).await;
    // The stacks of so many threads do not fit into the address space that is left.
    for words in [
        &["replay"][..],
        &["replay", "--release", "1"],
        &["release", "simulate", "1", "--from", "2026-01-01"],
    ] {
        let mut shell = std::process::Command::new("sh");
        let proffer = scene.proffer();
        shell.args(["-c", "ulimit -v 12000000; exec \"$@\"", "sh"]).arg(proffer.get_program());
        shell.args(words).args(["--threads", "1024", "--store", scene.location()]);
        for (name, value) in proffer.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let ended: Ended = shell.output().unwrap().into();
        assert_eq!(ended.code, Some(1), "{words:?}: {ended:?}");
        assert!(ended.stderr.contains("error: cannot start 1024 threads: "), "{words:?}: {ended:?}");
        assert!(ended.stderr.contains("with fewer it may go"), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_logs_belong_in_no_store() {
    let scene = Scene::in_directory();
    let (store, inside) = (scene.location().to_owned(), format!("{}/keys.toml", scene.location()));
    let proffer = |words: &[&str]| -> Ended { scene.proffer().args(words).output().unwrap().into() };
    let words = ["is in the store ", "whose readers it is not for; choose a place outside of it"];
    let made = proffer(&["privacy", "keys", "--out", &inside]);
    assert!(made.code == Some(1) && words.iter().all(|part| made.stderr.contains(part)), "{made:?}");
    assert!(!Path::new(&inside).exists());
    let printed = proffer(&["privacy", "keys", "--out", "-"]);
    assert!(printed.code == Some(2) && printed.stdout.is_empty() && !scene.path("-").exists(), "{printed:?}");

    let outside = scene.at("keys.toml");
    assert_eq!(proffer(&["privacy", "keys", "--out", &outside]).code, Some(0));
    fs::copy(&outside, &inside).unwrap();
    for command in [&["decision", "list"][..], &["replay"], &["privacy", "export", "--customer", "C000001"]] {
        scene.fails(&[command, &["--keys", &inside]].concat(), 1, &[words[0], "--keys"]);
    }
    let serves = |key: &str, place: &str| {
        let mut serve = scene.server("data", &[]);
        serve.env(key, place).args(["serve", "--store", &store]);
        let flags = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-filter", "off"];
        let ended: Ended = serve.args(flags).output().unwrap().into();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(words.iter().all(|part| ended.stderr.contains(part)), "{ended:?}");
        ended.stderr
    };
    assert!(serves("PROFFER_RECORDS_KEYS", &inside).contains("records.keys "));
    let data = format!("{store}/data");
    assert!(serves("PROFFER_DATA_DIRECTORY", &data).contains("data.directory "));
    assert!(!Path::new(&data).exists());

    // A pipe without a writer is not waited for.
    let pipe = scene.at("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    scene.fails(&["decision", "list", "--keys", &pipe], 1, &["pipe: is not a file"]);
    // A key that is lost is not in the file of keys, and is one that records name.
    let erase = ["privacy", "erase", "--customer", "C000042", "--keys", &outside, "--lost-key"];
    let keys: toml::Table = fs::read_to_string(&outside).unwrap().parse().unwrap();
    let id = keys["key"][0]["id"].as_str().unwrap();
    scene.fails(&[&erase[..], &[id]].concat(), 1, &["it is not lost, the file of --keys has it"]);
    let erased = scene.run(&[&erase[..], &["nope"]].concat());
    assert_eq!(erased.code, Some(0), "{erased:?}");
    assert!(erased.stderr.contains("note: --lost-key nope: no record was found"), "{erased:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_key_warns_of_the_values_that_it_does_not_record() {
    let scene = Scene::in_directory();
    let server = scene.serve("data", &[]);
    // Release 1 has no sensitive feature, release 2 has one.
    let workspace = Copy::new();
    workspace.replace("features.toml", "name = \"age\"\n", "name = \"age\"\nsensitive = true\n");
    scene.prints(&["release", "create", workspace.path().to_str().unwrap()]);
    let address = server.address.to_string();
    let promoted: Ended =
        scene.proffer().args(["release", "promote", "2", "--server", &address]).output().unwrap().into();
    assert_eq!(promoted.code, Some(0), "{promoted:?}");
    // Once an answer came from release 2, the change has been told.
    decide(&server, &["C000001"]).await;
    let warning = "sensitive values are not recorded, and decisions that use them cannot be repeated";
    let (_, log) = server.terminate_with_log();
    let warned: Vec<&String> = log.iter().filter(|line| line.contains(warning)).collect();
    assert!(warned.len() == 1 && warned[0].contains("\"features\":\"age\""), "{log:#?}");
    assert!(warned[0].contains("\"release\":2"), "{warned:?}");
    // And a server that starts with it.
    let started = async |records: &[(&str, &str)]| {
        let server = scene.serve("data", records);
        decide(&server, &["C000001"]).await;
        server.terminate_with_log().1
    };
    let log = started(&[]).await;
    assert!(log.iter().any(|line| line.contains(warning) && line.contains("WARN")), "{log:#?}");
    let keys = scene.at("keys.toml");
    let made: Ended = scene.proffer().args(["privacy", "keys", "--out", &keys]).output().unwrap().into();
    assert_eq!(made.code, Some(0), "{made:?}");
    let log = started(&[("keys", &keys)]).await;
    assert!(!log.iter().any(|line| line.contains(warning)), "{log:#?}");
    // What a start says of the log is in fields of their own, and a time as the configuration has it.
    let said = log.iter().find(|line| line.contains("recording decisions")).unwrap();
    assert!(said.contains("\"keep\":\"400d\"") && said.contains("\"unsealed_files\":"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_files_of_a_what_if_are_named_by_their_paths() {
    let scene = decided(&["C000001"]).await;
    let workspace = Copy::new();
    workspace.append("policy.toml", "\nno_such_key = 1\n");
    workspace.append("offers.toml", "\n[[offer]]\nid = \"half\"\n");
    let at = |name: &str| workspace.path().join(name).display().to_string();
    let (offers, policy) = (at("offers.toml"), at("policy.toml"));
    for words in [&["replay"][..], &["release", "create"]] {
        let ended = scene.fails(&[words, &["--policy", &policy, "--offers", &offers]].concat(), 1, &[]);
        for path in [&offers, &policy] {
            assert!(ended.stderr.lines().any(|line| line.contains(&format!("{path}:"))), "{ended:?}");
        }
        let named_alone = |line: &str| line.starts_with("policy.toml:") || line.starts_with("offers.toml:");
        assert!(!ended.stderr.lines().any(named_alone), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_seals_by_itself_and_lists_page_by_page() {
    let scene = Scene::in_directory();
    let server = scene.serve("data", &[("log_age", "10m"), ("sync", "always")]);
    decide(&server, &["C000001", "C000002", "C000003"]).await;
    let running = scene.fails(
        &["events", "seal", &scene.at("data")],
        1,
        &["is in use by process ", "(proffer serve)", "a server that runs seals its own log"],
    );
    assert!(running.stderr.contains(&format!("process {} ", server.id())), "{running:?}");
    assert!(!running.stderr.contains("data.directory"), "{running:?}");
    let mut records = RecordServiceClient::new(channel(server.address).await);
    let list = wire::ListDecisionsRequest { page_size: 2, ..Default::default() };
    let page = records.list_decisions(list.clone()).await.unwrap().into_inner();
    let next = wire::ListDecisionsRequest { page_token: page.next_page_token.clone(), ..list };
    let last = records.list_decisions(next.clone()).await.unwrap().into_inner();
    assert_eq!((page.decisions.len(), last.decisions.len()), (2, 1));
    let other = wire::ListDecisionsRequest { placement: "app_home".to_owned(), ..next };
    let refused = records.list_decisions(other).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert!(refused.message().starts_with("page_token: is from a list with other fields"), "{refused}");
    // A batch is decided at one moment: a store and a server list it in the same order.
    let mut client = DecisionServiceClient::new(channel(server.address).await);
    let ids: Vec<String> = (1..=20).map(|number| format!("C{number:06}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    client.rank(rank_request("app_home", &ids)).await.unwrap();
    let address = server.address.to_string();
    let asked: Ended =
        scene.proffer().args(["decision", "list", "--json", "--server", &address]).output().unwrap().into();
    assert_eq!(asked.code, Some(0), "{asked:?}");
    let data = scene.at("data");
    assert_eq!(scene.prints(&["decision", "list", "--json", "--data", &data]), asked.stdout);
    assert!(server.terminate().success());
}

/// A command whose standard output or standard error is closed.
fn unread(scene: &Scene, words: &[&str], is_unread: [bool; 2]) -> (Option<i32>, Vec<u8>) {
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    let [out, error] = is_unread.map(|is_unread| if is_unread { closed() } else { Stdio::piped() });
    let mut proffer = scene.proffer();
    proffer.args(words).args(["--store", scene.location()]).stdout(out).stderr(error);
    let output = proffer.output().unwrap();
    (output.status.code(), output.stdout)
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_reads_is_no_reason_to_panic() {
    let scene = decided(&["C000001", "C000002"]).await;
    let nothing = ["replay", "--from", "2030-01-01"];
    for is_unread in [[true, true], [false, true], [true, false]] {
        assert_eq!(unread(&scene, &nothing, is_unread).0, Some(1), "{is_unread:?}");
    }
    for words in [
        &["decision", "list"][..],
        &["decision", "list", "--json"],
        &["replay"],
        &["replay", "--html", "-"],
        &["release", "simulate", "1"],
        &["release", "list"],
        &["events", "verify"],
        &["events", "export", "--format", "csv", "--out", "-"],
        &["events", "export", "--format", "parquet", "--out", "/dev/stdout"],
        &["privacy", "export", "--customer", "C000001"],
        &["check"],
    ] {
        assert_eq!(unread(&scene, words, [true, true]).0, Some(0), "{words:?}");
    }
    // What cannot be written for another reason is one.
    let full: PathBuf = "/dev/full".into();
    let mut proffer = scene.proffer();
    proffer.args(["decision", "list", "--store", scene.location()]);
    proffer.stdout(fs::File::options().write(true).open(full).unwrap());
    let ended: Ended = proffer.stderr(Stdio::piped()).output().unwrap().into();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("standard output cannot be written: No space left"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulation_is_printed_as_json_where_that_is_asked_for() {
    let scene = Scene::in_directory();
    let simulate = ["release", "simulate", "1", "--placement", "app_home", "--as-of", "2026-10-15T09:00:00Z"];
    let line = scene.prints(&[&simulate[..], &["--json"]].concat());
    assert_eq!(line.lines().count(), 1, "{line}");
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let indented = scene.prints(&[&simulate[..], &["--format", "json"]].concat());
    assert!(indented.lines().count() > 10);
    assert_eq!(parse(&line), parse(&indented));
    assert_eq!(parse(&line)["subject"]["customers"], 2000);
    let text = scene.prints(&simulate);
    for words in ["expected value (money)", "margin (money)", "in the unit of `value` and `cost`"] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulation_for_recorded_requests_has_both_releases_decide_again() {
    let scene = decided(&["C000001", "C000002", "C000003", "C000004"]).await;
    let workspace = Copy::new();
    workspace.replace("offers.toml", "value = 80.0", "value = 240.0");
    let workspace = workspace.path().to_str().unwrap();
    scene.prints(&["release", "create", workspace]);
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let simulate = ["release", "simulate", "2", "--from", "2026-01-01", "--json"];
    let found = parse(&scene.prints(&simulate));
    let subject = &found["subject"];
    assert_eq!((&subject["kind"], &subject["before"]), (&"records".into(), &"release 1".into()));
    assert_eq!((&subject["records"], &found["effect"]["all"]["decisions"]), (&4.into(), &4.into()));
    // Release 1 answered, so that it is the same as the what-if.
    let what_if = parse(&scene.prints(&["replay", "--release", "2", "--format", "json"]));
    assert_eq!(found["effect"], what_if["effect"]);
    let none = parse(&scene.prints(&["release", "simulate", "2", "--to", "2026-01-01", "--json"]));
    assert_eq!(none["subject"]["records"], 0);
    let text = scene.prints(&simulate[..5]);
    assert!(text.contains("Release 2 instead of release 1, for 4 records"), "{text}");
    let elsewhere = parse(&scene.prints(&[&simulate[..], &["--placement", "email_monthly"]].concat()));
    assert_eq!(elsewhere["subject"]["records"], 0);
    scene.fails(&[&simulate[..], &["--placement", "app_hom"]].concat(), 1, &["did you mean `app_home`?"]);
    scene.fails(&[&simulate[..], &["--as-of", "2026-02-01"]].concat(), 2, &["cannot be used with"]);
    scene.fails(&[&simulate[..], &["--to", "2025-12-31"]].concat(), 2, &["is not before --to"]);
}
