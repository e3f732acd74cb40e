//! The gates that check whether a version can be loaded: its files, its graphs, and their inputs and outputs.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

use super::Finding;
use super::bench::Bench;
use crate::load::Loaded;
use document::{Problems, plural};
use model::{Layout, MAX_SEGMENTS_BYTES, Manifest, ModelKind, read_at_most};
use segment::{FILE_NAME, Segmentation};

/// Every file exists, matches its checksum in the manifest, and lies in the version's directory.
pub(super) fn checksums(bench: &Bench<'_>) -> Finding {
    const LIMIT: &str = "every file as listed";
    let manifest = match bench.manifest() {
        Ok(manifest) => manifest,
        Err(problems) => return Finding::failed("no manifest", LIMIT, problems.to_string()),
    };
    if manifest.checksums.is_empty() {
        let why = format!(
            "{} has no [checksums], so damage to the files would go unnoticed",
            bench.file("model.toml")
        );
        return Finding::failed("no checksums", LIMIT, why);
    }
    let files = plural(manifest.checksums.iter().count(), "file");
    match manifest.checksums.verify(bench.candidate.directory, &bench.label()) {
        Ok(()) => Finding::passed(files, LIMIT),
        Err(problems) => Finding::failed(format!("{} wrong", problems.len()), LIMIT, problems.to_string()),
    }
}

/// ONNX Runtime loads every graph, without custom operators and without external weights; a segmentation parses.
pub(super) fn loads(bench: &Bench<'_>) -> Finding {
    let manifest = match bench.manifest() {
        Ok(manifest) => manifest,
        Err(problems) => return Finding::failed("no manifest", "", problems.to_string()),
    };
    match manifest.kind {
        ModelKind::Segmentation => segmentation_parses(bench),
        ModelKind::Propensity | ModelKind::Recommendation | ModelKind::Value | ModelKind::Generic => {
            graphs_load(bench, manifest)
        }
    }
}

fn graphs_load(bench: &Bench<'_>, manifest: &Manifest) -> Finding {
    const LIMIT: &str = "no custom operators, no data from outside";
    let (mut problems, mut graphs, mut bytes) = (Problems::new(), Vec::new(), 0);
    for path in graph_files(bench, manifest) {
        bytes += path.metadata().map_or(0, |file| file.len());
        match bench.candidate.cache.load(&path) {
            Ok(graph) => graphs.push(graph),
            Err(error) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                problems.push(bench.file(&name), None, error.to_string());
            }
        }
    }
    let measured = format!("{}, {:.1} MB", plural(graphs.len(), "graph"), bytes as f64 / 1e6);
    bench.keep(graphs);
    match problems.into_result(()) {
        Ok(()) => Finding::passed(measured, LIMIT),
        Err(problems) => Finding::failed(
            format!("{} refused", plural(problems.len(), "graph")),
            LIMIT,
            problems.to_string(),
        ),
    }
}

/// Inputs and outputs match the manifest and the schema.
pub(super) fn signature(bench: &Bench<'_>) -> Finding {
    const LIMIT: &str = "as manifest and schema say";
    match bench.loaded() {
        Ok(Loaded::Model(model)) => {
            let (inputs, columns) = (model.features().count(), model.columns().len());
            let measured = format!("{}, {}", plural(inputs, "feature"), plural(columns, "column"));
            Finding::passed(measured, LIMIT)
        }
        Ok(Loaded::Segmentation(segmenter)) => {
            let (features, segments) = (segmenter.features().count(), segmenter.names().len());
            Finding::passed(
                format!("{}, {}", plural(features, "feature"), plural(segments, "segment")),
                LIMIT,
            )
        }
        Err(problems) => Finding::failed(plural(problems.len(), "problem"), LIMIT, problems.to_string()),
    }
}

fn segmentation_parses(bench: &Bench<'_>) -> Finding {
    const LIMIT: &str = "a segmentation of this format";
    let file = bench.file(FILE_NAME);
    let parsed = read_at_most(&bench.candidate.directory.join(FILE_NAME), MAX_SEGMENTS_BYTES)
        .map_err(|error| Problems::one(&file, None, format!("cannot be read: {error}")))
        .and_then(|json| Segmentation::parse(&file, &json));
    match parsed {
        Ok(segmentation) => Finding::passed(plural(segmentation.len(), "segment"), LIMIT),
        Err(problems) => Finding::failed(plural(problems.len(), "problem"), LIMIT, problems.to_string()),
    }
}

/// The graphs of the version, sorted. A missing one is reported when it is read.
fn graph_files(bench: &Bench<'_>, manifest: &Manifest) -> Vec<PathBuf> {
    let directory = bench.candidate.directory;
    if manifest.layout != Some(Layout::PerOffer) {
        return vec![directory.join("model.onnx")];
    }
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension() == Some(OsStr::new("onnx")));
    files.sort_unstable();
    files
}
