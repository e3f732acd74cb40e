use clap::Parser;
use clap::error::ErrorKind;

use super::*;
use release::{GateOutcome, GateReport, Verdict, VersionFile, VersionSummary};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    model: ModelArgs,
}

fn parse(line: &str) -> Result<ModelArgs, ErrorKind> {
    let words = std::iter::once("model").chain(line.split_whitespace());
    Line::try_parse_from(words).map(|line| line.model).map_err(|error| error.kind())
}

fn judged(outcome: GateOutcome) -> Verdict {
    let report = GateReport {
        gate: "golden".to_owned(),
        outcome,
        measured: String::new(),
        limit: String::new(),
        why: "there are no golden rows".to_owned(),
    };
    let passed = outcome != GateOutcome::Failed;
    Verdict { passed, gates: vec![report], release: 1, time: "2026-01-01T00:00:00Z".to_owned() }
}

#[test]
fn a_server_or_a_store_is_named_before_or_after_the_command_but_not_both() {
    for line in ["list --server 127.0.0.1:9 --json", "--server 127.0.0.1:9 list", "list m --store s3://b/p"] {
        assert!(parse(line).is_ok(), "{line}");
    }
    assert!(parse("push m dir --json").unwrap().place.json);
    assert_eq!(parse("list --server a --store b").unwrap_err(), ErrorKind::ArgumentConflict);
}

#[test]
fn numbers_of_versions_begin_at_one() {
    assert!(parse("push m dir --version 1").is_ok());
    assert_eq!(parse("push m dir --version 0").unwrap_err(), ErrorKind::ValueValidation);
    assert_eq!(parse("delete m 0").unwrap_err(), ErrorKind::ValueValidation);
    assert_eq!(parse("delete m").unwrap_err(), ErrorKind::MissingRequiredArgument);
}

#[test]
fn a_push_says_what_is_new_and_what_the_gates_said() {
    let mut pushed =
        Pushed { name: "m".to_owned(), version: 2, created: true, verdict: judged(GateOutcome::Skipped) };
    let text = say_push(&pushed, (1, 2048));
    assert!(text.starts_with("m version 2 is new: 1 file, 2.00 KiB"), "{text}");
    assert!(text.contains("there are no golden rows") && text.contains("passed:"), "{text}");
    pushed.created = false;
    assert!(say_push(&pushed, (3, 0)).starts_with("m version 2 was there already"));
}

#[test]
fn a_push_that_is_repeated_or_not_promoted_says_which_release_it_is_about() {
    let repeated = say_release(4, None, &Ok(()));
    assert_eq!(repeated, "release 4 is current and has this version already");
    let refused = say_release(5, None, &Err(Failure::new("overtaken")));
    assert_eq!(refused, "release 5 was made and is not promoted");
}

#[test]
fn the_json_of_a_push_is_flat_and_tells_of_a_release_where_there_is_one() {
    let pushed =
        Pushed { name: "m".to_owned(), version: 2, created: true, verdict: judged(GateOutcome::Passed) };
    let json = serde_json::to_value(Outcome {
        pushed,
        release: None,
        replaces: None,
        warnings: Vec::new(),
        promotion: None,
    })
    .unwrap();
    assert_eq!((&json["name"], &json["version"]), (&"m".into(), &2.into()));
    assert_eq!(json["verdict"]["gates"][0]["outcome"], "passed");
    assert!(
        ["release", "replaces", "warnings", "promotion"].iter().all(|key| json.get(key).is_none()),
        "{json}"
    );
}

#[test]
fn lists_and_details_tell_which_versions_may_serve() {
    assert_eq!(list(&[]), "no versions");
    let summary = |version, state| VersionSummary {
        version,
        kind: "propensity".to_owned(),
        bytes: 3 << 20,
        state,
        current: version == 1,
    };
    let versions = vec![summary(1, VersionState::Passed), summary(2, VersionState::Unjudged)];
    let text = list(&[ModelSummary { name: "m".to_owned(), versions }]);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[1].contains("passed") && lines[1].trim_end().ends_with("current"), "{text}");
    assert!(lines[2].contains("3.00 MiB") && lines[2].contains("not judged"), "{text}");
    let mut detail = VersionDetail {
        name: "m".to_owned(),
        version: 1,
        manifest: "kind = \"propensity\"\n".to_owned(),
        files: vec![VersionFile { name: "model.onnx".to_owned(), size: 5, sha256: "ab".repeat(32) }],
        verdict: Some(judged(GateOutcome::Failed)),
        releases: vec![1, 4],
    };
    let text = show(&detail);
    for part in ["pinned by releases 1, 4", "model.onnx", "kind = \"propensity\"", "FAILED"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    (detail.verdict, detail.releases) = (None, Vec::new());
    let text = show(&detail);
    assert!(text.contains("pinned by no release") && text.contains("push the same files again"), "{text}");
}
