//! `proffer segment train`: reads, trains, shows, writes, and pushes if asked to.

use std::path::Path;

use rayon::ThreadPoolBuilder;
use serde::Serialize;

use super::super::backend::Place;
use super::super::printing::{print, print_json, say};
use super::super::{Failure, model};
use super::flags::TrainArgs;
use super::watch::Watch;
use super::{offers, previous};
use ::model::Checksums;
use segment::{FILE_NAME, GOLDEN_FILE};
use segment_train::report;
use segment_train::train::study::{Choice, Migration, SegmentProfile, Study};
use segment_train::train::{
    ChoiceTable, Detail, MigrationTable, ReadOptions, Summary, Table, Trained, train,
};
use segment_train::write::{File, write_all};

/// The latency that a gate allows on a busy machine; an assignment itself takes microseconds.
const LATENCY_BUDGET_MS: u64 = 50;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Outcome<'t> {
    choice: &'t Choice,
    segments: &'t [SegmentProfile],
    migration: Option<&'t Migration>,
    /// Columns that should not be features, problems of the file, and segments of outliers.
    warnings: Vec<String>,
    written: Vec<String>,
}

pub(super) fn run(args: &TrainArgs) -> Result<(), Failure> {
    if args.store.is_some() && args.push.is_none() && args.previous.is_none() {
        return Err(Failure::usage("--store is the store of --push or of --previous; name one of them"));
    }
    let settings = args.settings()?;
    let before =
        args.previous.as_ref().map(|named| previous::read(named, args.store.as_deref())).transpose()?;
    let watch = Watch::start(args.json)?;
    let detail = if args.no_report { Detail::Segments } else { Detail::Report };
    let threads = ThreadPoolBuilder::new().num_threads(args.threads.unwrap_or_default()).build()?;
    let mut trained = threads.install(|| {
        let table = Table::read_watched(&args.input, &ReadOptions::from(&settings.read), &watch)?;
        if !args.json {
            let facts = table.facts();
            print(&facts)?;
            facts.warnings().for_each(|warning| say(format_args!("warning: {warning}")));
        }
        Ok::<_, Failure>(train(table, &settings, before.as_ref(), detail, &watch)?)
    })?;
    watch.finish();
    if let Some(workspace) = &args.offers {
        let suitable = watch.during("asking which offers suit", || offers::suitable(workspace, &trained))?;
        for (segment, offers) in trained.study.segments.iter_mut().zip(suitable) {
            segment.offers = offers;
        }
    }
    if !args.json {
        show(&trained)?;
    }
    if let Some(outliers) = &trained.outliers
        && args.force
        && !args.json
    {
        say(format_args!("warning: {outliers}"));
    }
    let outliers = trained.outliers.as_ref();
    let outliers = outliers.map(|outliers| format!("{outliers}; pass --force to write the segments anyway"));
    let refused: Vec<String> =
        outliers.into_iter().chain(trained.refusal.as_ref().map(ToString::to_string)).collect();
    if !refused.is_empty() && !args.force {
        return Err(Failure::new(refused.join("\n")));
    }
    let files = watch.during("drawing the report", || files(args, &trained))?;
    let owned = report::ALL_FILES.map(|name| format!("report/{name}"));
    let owned = owned.each_ref().map(String::as_str);
    let written = {
        let _writing = watch.writing();
        write_all(&args.output, files, &owned)?
    };
    let written: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
    if args.json {
        let study = &trained.study;
        print_json(&Outcome {
            choice: &study.choice,
            segments: &study.segments,
            migration: study.migration.as_ref(),
            warnings: warnings(&trained.study),
            written,
        })?;
    } else {
        // The tables beside the report repeat it as CSV and JSON.
        for path in written.iter().filter(|path| {
            [FILE_NAME, "model.toml", GOLDEN_FILE, report::REPORT_FILE]
                .iter()
                .any(|name| path.ends_with(name))
        }) {
            print(format_args!("wrote {path}"))?;
        }
    }
    args.push.as_ref().map_or(Ok(()), |name| push(args, name))
}

fn warnings(study: &Study) -> Vec<String> {
    let columns = study.columns.iter();
    let labels =
        columns.filter_map(|column| Some(format!("column `{}` {}", column.name, column.warning.as_ref()?)));
    labels.chain(study.warnings.iter().cloned()).collect()
}

fn show(trained: &Trained) -> Result<(), Failure> {
    let study = &trained.study;
    print(format_args!("\n{}\n", ChoiceTable(&study.choice)))?;
    print(Summary(study))?;
    if let Some(migration) = &study.migration {
        print(format_args!("\n{}", MigrationTable(migration)))?;
    }
    Ok(())
}

/// All files to write, the version first.
fn files(args: &TrainArgs, trained: &Trained) -> Result<Vec<File>, Failure> {
    let artefact = trained.segmentation.to_json()?.into_bytes();
    let golden = trained.segmentation.golden_csv().into_bytes();
    let checksums = Checksums::of([(FILE_NAME, artefact.as_slice()), (GOLDEN_FILE, golden.as_slice())]);
    let manifest = manifest(trained, &checksums).into_bytes();
    let file = |name: &str, bytes| File { name: name.into(), bytes };
    let mut files = vec![file(FILE_NAME, artefact), file(GOLDEN_FILE, golden), file("model.toml", manifest)];
    if !args.no_report {
        let report = report::files(&trained.study)?;
        files.extend(report.into_iter().map(|(name, bytes)| file(&format!("report/{name}"), bytes)));
    }
    if args.assignments {
        files.push(file(&format!("report/{}", report::ASSIGNMENTS_FILE), trained.assignments_csv()));
    }
    Ok(files)
}

/// `model.toml` of the version. No date: the same table and seed give the same bytes.
fn manifest(trained: &Trained, checksums: &Checksums) -> String {
    let (source, notes) = (&trained.study.source, trained.segmentation.training());
    let mut training = toml::Table::new();
    training.insert("algorithm".into(), "k-means++ by proffer segment train".into());
    training.insert("data".into(), source.file.clone().into());
    for (key, value) in [("rows", notes.rows), ("k", notes.k), ("seed", notes.seed), ("n_init", notes.n_init)]
    {
        training.insert(key.into(), i64::try_from(value).unwrap_or(i64::MAX).into());
    }
    training.insert("inertia".into(), trained.segmentation.inertia().into());
    if let Some(migration) = &trained.study.migration {
        training.insert("previous".into(), migration.previous.clone().into());
        training.insert("moved".into(), migration.moved.into());
    }
    format!(
        "kind = \"segmentation\"\nlatency_budget_ms = {LATENCY_BUDGET_MS}\n\n{}\n[training]\n{training}",
        checksums.render()
    )
}

fn push(args: &TrainArgs, name: &str) -> Result<(), Failure> {
    let place = Place::new(args.server.clone(), args.store.clone(), args.json);
    let note = format!("segments trained on {}", file_name(&args.input));
    model::push_directory(name, &args.output, args.promote, note, &place)
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
