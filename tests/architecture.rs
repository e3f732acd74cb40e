//! Checks what Cargo cannot: the table of crates in ARCHITECTURE.md, imports between modules of the root package, and
//! the files that use heavy dependencies.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Module of the root package → the other modules that it may import.
const MAY_KNOW: [(&str, &[&str]); 6] = [
    ("main", &["cli"]),
    ("cli", &["*"]),
    ("config", &["*"]),
    ("app", &["*"]),
    ("grpc", &["admin"]),
    ("admin", &[]),
];

/// Dependency → the files or folders that may use it, where Cargo would allow more.
const NAMED_IN: [(&str, &[&str]); 13] = [
    ("ort", &["model/onnx"]),
    ("tonic", &["grpc"]),
    ("prost_types", &["grpc", "replay/record"]),
    ("tonic_prost", &["grpc"]),
    ("tonic_types", &["grpc/status"]),
    ("linfa", &["segment-train/train"]),
    ("plotters", &["segment-train/report"]),
    ("axum", &["admin"]),
    ("hyper", &["admin", "grpc/http2"]),
    ("hyper_util", &["admin", "grpc/http2"]),
    ("cel", &["offer/rule"]),
    ("dashmap", &["history"]),
    ("parquet", &["table", "feature/store", "segment-train/train/table", "event/sealed"]),
];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The code of each source file, without comments and tests, and its path without `.rs`. The path starts below `src/`,
/// after the crate's name for other crates than the root package, as in `model/onnx`.
fn code() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut places = vec![(String::new(), root.join("src"))];
    places.extend(
        crates().into_iter().map(|name| (format!("{name}/"), root.join("crates").join(name).join("src"))),
    );
    let mut found = Vec::new();
    for (prefix, place) in places {
        let mut paths = Vec::new();
        sources(&place, &mut paths);
        found.extend(paths.into_iter().map(|path| {
            let name = path.strip_prefix(&place).unwrap().with_extension("").display().to_string();
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            (format!("{prefix}{name}"), lines.collect::<Vec<_>>().join("\n"))
        }));
    }
    assert!(found.len() > 400, "only {} source files found", found.len());
    let is_test = |name: &str| name.ends_with("/tests") || name.contains("/tests/");
    found.into_iter().filter(|(name, _)| !is_test(name)).collect()
}

/// The crates of the workspace, without the root package.
fn crates() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates");
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The words that follow `prefix` in `text`, where no other word precedes it. Lists in braces are expanded.
fn words_after(text: &str, prefix: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices(prefix) {
        if text[..at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':') {
            continue;
        }
        let rest = &text[at + prefix.len()..];
        let word = |text: &str| -> String {
            text.trim_start()
                .chars()
                .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
                .collect()
        };
        match rest.strip_prefix('{') {
            Some(list) => found.extend(list.split('}').next().unwrap().split(',').map(word)),
            None => _ = found.insert(word(rest)),
        }
    }
    found
}

#[test]
fn crates_know_what_the_table_says_and_nothing_else() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let architecture = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let (_, table) = architecture.split_once("| crate | knows |\n|---|---|\n").unwrap();
    let named =
        |text: &str| -> BTreeSet<String> { text.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let mut rows: BTreeMap<String, BTreeSet<String>> = table
        .lines()
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let (name, knows) = line[1..].split_once('|').unwrap();
            (named(name).pop_first().unwrap(), named(knows))
        })
        .collect();
    let known: BTreeSet<String> = crates();
    for name in known.iter().map(String::as_str).chain(["proffer"]).filter(|name| *name != "fuzz") {
        let folder = if name == "proffer" { root.to_owned() } else { root.join("crates").join(name) };
        let manifest: toml::Table = fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap();
        let dependencies = manifest["dependencies"].as_table().unwrap();
        let arrows: BTreeSet<String> =
            dependencies.keys().filter(|key| known.contains(*key)).cloned().collect();
        assert_eq!(rows.remove(name), Some(arrows), "{name}");
    }
    assert!(rows.is_empty(), "{rows:?}");
}

#[test]
fn modules_know_only_what_they_may() {
    let mut violations = Vec::new();
    let crates = crates();
    for (file, text) in code() {
        let module = file.split('/').next().unwrap();
        if module == "lib" || crates.contains(module) {
            continue;
        }
        let Some((_, allowed)) = MAY_KNOW.iter().find(|(known, _)| *known == module) else {
            violations.push(format!("src/{file}.rs: `MAY_KNOW` has no entry for module `{module}`"));
            continue;
        };
        let mut known = words_after(&text, "crate::");
        known.extend(words_after(&text, "proffer::"));
        for other in known.iter().filter(|other| MAY_KNOW.iter().any(|(module, _)| module == other)) {
            if other != module && !allowed.contains(&other.as_str()) && !allowed.contains(&"*") {
                violations.push(format!("src/{file}.rs: `{module}` may not know `{other}`"));
            }
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn each_heavy_dependency_is_named_in_one_place() {
    let mut violations = Vec::new();
    let mut named = BTreeSet::new();
    for (file, text) in code() {
        for (dependency, places) in NAMED_IN {
            let uses = text.match_indices(&format!("{dependency}::")).any(|(at, _)| {
                !text[..at].ends_with(|before: char| before.is_alphanumeric() || "_:\"".contains(before))
            });
            if !uses {
                continue;
            }
            named.insert(dependency);
            if !places.iter().any(|place| file == *place || file.starts_with(&format!("{place}/"))) {
                violations.push(format!("{file}.rs: `{dependency}` belongs in {}", places.join(" or ")));
            }
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    // A rule about a dependency that is not used checks nothing.
    assert_eq!(named.len(), NAMED_IN.len(), "used: {named:?}");
}

#[test]
fn commands_reach_the_terminal_through_one_place() {
    let mut violations = Vec::new();
    for (file, text) in code() {
        if !file.starts_with("cli") {
            continue;
        }
        let ways =
            ["println!", "print!(", "eprintln!", "eprint!(", "stdout()", "stderr().write", "stderr().lock"];
        for way in ways.iter().filter(|way| file != "cli/printing" && text.contains(**way)) {
            violations.push(format!("src/{file}.rs: `{way}` belongs in src/cli/printing.rs"));
        }
        if text.contains("comfy_table::") && file != "cli/table" {
            violations.push(format!("src/{file}.rs: `comfy_table` belongs in src/cli/table.rs"));
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn a_forbidden_import_would_be_detected() {
    let known = words_after("use crate::grpc::Limits;\nuse crate::{model, offer::Rule};", "crate::");
    assert_eq!(known.into_iter().collect::<Vec<_>>(), ["grpc", "model", "offer"]);
    assert!(words_after("other_crate::grpc", "crate::").is_empty());
}
