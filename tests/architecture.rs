//! Holds the table of modules of ARCHITECTURE.md: data flows down it only, and each heavy dependency is named in one place.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Module → the modules that it may know. `telemetry`, `document` and `priority` may be known by all.
const MAY_KNOW: [(&str, &[&str]); 16] = [
    ("main", &["cli"]),
    ("cli", &["*"]),
    ("config", &["*"]),
    ("app", &["*"]),
    ("grpc", &["decision", "release", "event", "model", "feature", "offer", "admin"]),
    ("admin", &["decision", "release"]),
    ("decision", &["release", "model", "segment", "offer", "experiment", "feature", "event"]),
    ("release", &["model", "segment", "offer", "experiment", "feature", "table"]),
    ("model", &["feature"]),
    ("segment", &["feature", "table"]),
    ("offer", &["feature"]),
    ("feature", &["table"]),
    ("table", &[]),
    ("telemetry", &[]),
    ("document", &[]),
    ("priority", &[]),
];

/// Crate → the file or folder below `src/` that may name it.
const NAMED_IN: [(&str, &[&str]); 18] = [
    ("ort", &["model/onnx"]),
    ("tonic", &["grpc"]),
    ("prost_types", &["grpc"]),
    ("tonic_prost", &["grpc"]),
    ("tonic_types", &["grpc/status"]),
    ("linfa", &["segment/train"]),
    ("linfa_clustering", &["segment/train/compare"]),
    ("linfa_linalg", &["segment/train"]),
    ("linfa_tsne", &["segment/train/profile"]),
    ("kodama", &["segment/train/compare"]),
    ("pathfinding", &["segment/train/matching"]),
    ("plotters", &["segment/report"]),
    ("axum", &["admin"]),
    ("cel", &["offer/rule"]),
    ("parquet", &["feature/store", "segment/train/table"]),
    ("object_store", &["release/store"]),
    // The tests of training unpack real data.
    ("flate2", &["table", "segment/train"]),
    ("zstd", &["table"]),
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

/// The code of a file without comments and without its tests, and its path below `src/` without `.rs`.
fn code() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    assert!(paths.len() > 40, "only {} source files found", paths.len());
    let read = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap().with_extension("").display().to_string();
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        (name, lines.collect::<Vec<_>>().join("\n"))
    };
    paths.into_iter().map(read).filter(|(name, _)| !name.ends_with("/tests")).collect()
}

/// The words that follow `prefix` in `text`, where no other word stands before it; braces are looked into.
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
fn modules_know_only_what_the_table_allows() {
    let modules: BTreeSet<&str> = MAY_KNOW.iter().map(|(module, _)| *module).collect();
    let mut broken = Vec::new();
    for (file, text) in code() {
        let module = file.split('/').next().unwrap();
        if module == "lib" {
            continue;
        }
        let Some((_, allowed)) = MAY_KNOW.iter().find(|(known, _)| *known == module) else {
            broken.push(format!("src/{file}.rs: module `{module}` is not in the table"));
            continue;
        };
        let mut known = words_after(&text, "crate::");
        known.extend(words_after(&text, "proffer::"));
        for other in known.iter().filter(|other| modules.contains(other.as_str())) {
            let free = ["telemetry", "document", "priority"].contains(&other.as_str());
            if other != module && !free && !allowed.contains(&other.as_str()) && !allowed.contains(&"*") {
                broken.push(format!("src/{file}.rs: `{module}` may not know `{other}`"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn each_heavy_dependency_is_named_in_one_place() {
    let mut broken = Vec::new();
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
                broken.push(format!(
                    "src/{file}.rs: `{dependency}` belongs in src/{}",
                    places.join(" or src/")
                ));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    // A rule about a crate that nobody uses checks nothing.
    assert_eq!(named.len(), NAMED_IN.len(), "used: {named:?}");
}

#[test]
fn a_forbidden_import_would_be_seen() {
    let known = words_after("use crate::grpc::Limits;\nuse crate::{model, offer::Rule};", "crate::");
    assert_eq!(known.into_iter().collect::<Vec<_>>(), ["grpc", "model", "offer"]);
    assert!(words_after("other_crate::grpc", "crate::").is_empty());
}
