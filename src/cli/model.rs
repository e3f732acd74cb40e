//! `proffer model`: push, list, show and delete versions.

mod check_against;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use indicatif::BinaryBytes;
use serde::Serialize;

use super::Failure;
use super::author::Author;
use super::backend::{Backend, Place};
use super::printing::{print, print_json, say};
use super::release::{say_promotion, settled};
use super::table::{failed_gates, new_table, verdict};
use super::upload::{Progress, VersionDirectory, read_optional, read_text};
use release::{
    CreatedRelease, ModelSummary, Promotion, PromotionRequest, Pushed, ReleaseDraft, ReleaseRecord,
    VersionDetail, VersionState,
};

const AFTER_HELP: &str = "\
Examples:
  proffer model push propensity models/propensity/2               push it, see what the gates say
  proffer model push propensity models/propensity/2 --promote     and serve it
  proffer model list --store var/store                            without a server";

const AFTER_PUSH: &str = "\
Examples:
  proffer model push propensity models/propensity/2 --version 2
  proffer model push propensity build/model --check-against predictions.csv
  proffer model push propensity build/model --promote --note 'retrained on May' --json

Exit code 1 when a gate failed, or when the promotion was overtaken.";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ModelArgs {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: ModelCommand,
}

#[derive(Debug, Subcommand)]
enum ModelCommand {
    /// Upload a version, run its gates, and print their results
    #[command(after_help = AFTER_PUSH)]
    Push(PushArgs),
    /// List models with their versions, and which may serve
    List {
        /// Only this model
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
    /// Show one version: its files, its verdict, and the releases that pin it
    Show {
        /// The model
        #[arg(value_name = "NAME")]
        name: String,
        /// The version [default: the highest]
        #[arg(value_name = "VERSION", default_value_t = 0, hide_default_value = true)]
        version: u64,
    },
    /// Remove a version that no release pins; its number is not used again
    Delete {
        /// The model
        #[arg(value_name = "NAME")]
        name: String,
        /// The version
        #[arg(value_name = "VERSION", value_parser = clap::value_parser!(u64).range(1..))]
        version: u64,
    },
}

#[derive(Debug, Args)]
#[command(mut_arg("author", |arg| arg.help("Who makes the release and promotes it [default: you]")))]
struct PushArgs {
    /// The model
    #[arg(value_name = "NAME")]
    name: String,
    /// The directory of the version: model.toml and the files of its checksums; without checksums, all files in and
    /// below it
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,
    /// The version's number [default: the model's highest, plus one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    version: Option<u64>,
    /// The features.toml that judges the version and goes into the release [default: the current release's]
    #[arg(long, value_name = "FILE")]
    features: Option<PathBuf>,
    /// Rows with features and the training library's own predictions; writes them to golden.csv in DIRECTORY, for the
    /// gate `golden`
    #[arg(long, value_name = "ROWS.csv")]
    check_against: Option<PathBuf>,
    /// The column of ROWS.csv with the predictions that `Score` must return; `raw` columns are compared before
    /// calibration [default: prediction]
    #[arg(long, value_name = "COLUMN", requires = "check_against")]
    prediction: Option<String>,
    /// If it passes, make a release of the current one with this version, and promote it
    #[arg(long)]
    promote: bool,
    /// Promote it even if a higher version of the model serves
    #[arg(long, requires = "promote")]
    downgrade: bool,
    #[command(flatten)]
    who: Author,
    /// The purpose of the release and its promotion
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    note: String,
}

/// The result of a push.
#[derive(Debug, Serialize)]
struct Outcome {
    #[serde(flatten)]
    pushed: Pushed,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<ReleaseRecord>,
    /// The version of the model that was current before that release.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<u64>,
    /// Likely mistakes in that release.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    promotion: Option<Promotion>,
}

pub(super) fn run(args: &ModelArgs) -> Result<(), Failure> {
    let json = args.place.json;
    if let ModelCommand::Push(push) = &args.command {
        return self::push(push, &args.place);
    }
    let backend = Backend::open(&args.place)?;
    match &args.command {
        ModelCommand::Push(_) => Ok(()),
        ModelCommand::List { name } => {
            let models = backend.models(name.as_deref())?;
            if json { print_json(&models) } else { print(list(&models)) }
        }
        ModelCommand::Show { name, version } => {
            let detail = backend.version(name, *version)?;
            if json { print_json(&detail) } else { print(show(&detail)) }
        }
        ModelCommand::Delete { name, version } => {
            backend.delete_version(name, *version)?;
            if json {
                return print_json(&serde_json::json!({ "name": name, "version": version }));
            }
            print(format_args!("{name} version {version} is deleted"))
        }
    }
}

/// Pushes the version in `directory` as the next one of `name`, as `proffer model push` does.
pub(super) fn push_directory(
    name: &str,
    directory: &Path,
    promote: bool,
    note: String,
    place: &Place,
) -> Result<(), Failure> {
    let author = std::env::var("USER").unwrap_or_else(|_| "proffer".to_owned());
    let (name, directory) = (name.to_owned(), directory.to_owned());
    let (version, features, check_against, prediction) = (None, None, None, None);
    let args = PushArgs {
        name,
        directory,
        version,
        features,
        check_against,
        prediction,
        promote,
        downgrade: false,
        who: Author { author },
        note,
    };
    push(&args, place)
}

fn push(args: &PushArgs, place: &Place) -> Result<(), Failure> {
    if let Some(rows) = &args.check_against {
        let said = check_against::make_golden(&args.directory, rows, args.prediction.as_deref())?;
        if !place.json {
            print(said)?;
        }
    }
    let directory = VersionDirectory::read(&args.directory)?;
    let features = read_optional(args.features.as_ref())?;
    let backend = Backend::open(place)?;
    let progress = Progress::of(place.json);
    let version = args.version.unwrap_or_default();
    let pushed = directory.push(&backend, &args.name, version, features.clone(), progress)?;
    if !place.json {
        print(say_push(&pushed, directory.size()))?;
    }
    let failed = failed_gates(&pushed.verdict);
    let mut outcome =
        Outcome { pushed, release: None, replaces: None, warnings: Vec::new(), promotion: None };
    let promoted = match &failed {
        None if args.promote => promote(args, features, &backend, &mut outcome),
        _ => Ok(()),
    };
    // The result is printed even after an error.
    if place.json {
        print_json(&outcome)?;
    } else if let Some(release) = &outcome.release {
        if let Some(replaced) = outcome.replaces {
            let Pushed { name, version, .. } = &outcome.pushed;
            print(format_args!("{name}: version {replaced} → {version}"))?;
        }
        for warning in &outcome.warnings {
            say(format_args!("warning: {warning}"));
        }
        print(say_release(release.number, outcome.promotion.as_ref(), &promoted))?;
    }
    promoted?;
    if let Some(gates) = failed {
        let Pushed { name, version, .. } = &outcome.pushed;
        return Err(Failure::new(format!("{name} version {version} failed its gates: {gates}")));
    }
    outcome.promotion.as_ref().map_or(Ok(()), settled)
}

/// Makes a release of the current one with the pushed version, and promotes it if the current release has not changed.
/// Where the current release already has the version, an earlier push did all this.
fn promote(
    args: &PushArgs,
    features: Option<String>,
    backend: &Backend,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let Pushed { name, version, .. } = &outcome.pushed;
    let base = backend.current()?.release;
    let current = backend.release(base)?;
    let same_features = features.as_ref().is_none_or(|features| *features == current.features);
    if current.record.models.get(name) == Some(version) && same_features {
        outcome.release = Some(current.record);
        return Ok(());
    }
    let present = current.record.models.get(name).copied();
    if let Some(present) = present.filter(|present| present > version && !args.downgrade) {
        return Err(Failure::new(format!(
            "{name} version {present} serves, which is higher than {version}: nothing was promoted; pass --downgrade to promote it"
        )));
    }
    outcome.replaces = present;
    let models = [(name.clone(), *version)].into();
    let (author, note) = (args.who.author.clone(), args.note.clone());
    let draft = ReleaseDraft { base, models, features, author, note, ..ReleaseDraft::default() };
    let CreatedRelease { record, warnings } = backend.create_release(draft)?;
    outcome.warnings = warnings;
    let release = outcome.release.insert(record).number;
    let (author, reason) = (args.who.author.clone(), args.note.clone());
    let request = PromotionRequest { release, expected_current: Some(base), author, reason };
    outcome.promotion = Some(backend.promote(request)?);
    Ok(())
}

/// The result of a version that passed: `promotion` is missing if there was nothing to promote, or if it failed.
fn say_release(release: u64, promotion: Option<&Promotion>, ended: &Result<(), Failure>) -> String {
    match promotion {
        Some(promotion) => say_promotion(promotion),
        None if ended.is_ok() => format!("release {release} is current and has this version already"),
        None => format!("release {release} was made and is not promoted"),
    }
}

fn say_push(pushed: &Pushed, (files, bytes): (usize, u64)) -> String {
    let Pushed { name, version, created, .. } = pushed;
    let how = if *created { "is new" } else { "was there already, with the same bytes" };
    let files = if files == 1 { "1 file".to_owned() } else { format!("{files} files") };
    format!("{name} version {version} {how}: {files}, {}\n\n{}", BinaryBytes(bytes), verdict(&pushed.verdict))
}

fn state(state: VersionState) -> &'static str {
    match state {
        VersionState::Passed => "passed",
        VersionState::Failed => "failed",
        VersionState::Unjudged => "not judged; push it again",
    }
}

fn list(models: &[ModelSummary]) -> String {
    if models.iter().all(|model| model.versions.is_empty()) {
        return "no versions".to_owned();
    }
    let mut table = new_table(&["model", "version", "kind", "size", "gates", ""], 1..2);
    for model in models {
        for version in &model.versions {
            table.add_row([
                model.name.clone(),
                version.version.to_string(),
                version.kind.clone(),
                BinaryBytes(version.bytes).to_string(),
                state(version.state).to_owned(),
                if version.current { "current" } else { "" }.to_owned(),
            ]);
        }
    }
    table.to_string()
}

fn show(detail: &VersionDetail) -> String {
    let mut text = format!("{} version {}", detail.name, detail.version);
    let _ = match detail.releases.as_slice() {
        [] => write!(text, ", pinned by no release"),
        [release] => write!(text, ", pinned by release {release}"),
        many => {
            let many: Vec<String> = many.iter().map(u64::to_string).collect();
            write!(text, ", pinned by releases {}", many.join(", "))
        }
    };
    let mut files = new_table(&["file", "size", "SHA-256"], 1..2);
    for file in &detail.files {
        files.add_row([file.name.clone(), BinaryBytes(file.size).to_string(), file.sha256.clone()]);
    }
    let _ = write!(text, "\n\n{files}\n\n{}\n\n", detail.manifest.trim());
    match &detail.verdict {
        Some(judged) => text.push_str(&verdict(judged)),
        None => text
            .push_str("not judged: its push was cut before the gates had ended; push the same files again"),
    }
    text
}

#[cfg(test)]
mod tests;
