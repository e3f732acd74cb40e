//! `proffer release create`: of a workspace, whose versions are pushed first, or of a release with changes.

mod pins;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use serde::Serialize;

use self::pins::{Change, Pin};
use super::shown;
use crate::cli::Failure;
use crate::cli::author::Author;
use crate::cli::backend::{Backend, Place};
use crate::cli::given::GivenFiles;
use crate::cli::printing::{print, print_json};
use crate::cli::table::{failed_gates, verdict};
use crate::cli::upload::{Progress, VersionDirectory, read_optional};
use crate::cli::values::assignment;
use release::{CreatedRelease, ReleaseDraft, ReleaseRecord, Workspace};

const AFTER_HELP: &str = "\
Examples:
  proffer release create models --note 'spring offers'
  proffer release create --model propensity=3 --offers offers.toml
  proffer release create --base 4 --model affinity=0
  proffer release create models --downgrade propensity

Of a workspace, the highest version of each model is pushed and pinned.
A higher version that is current stays, unless --downgrade names the model;
so does a model that the workspace lacks and its policy names.
What --model and --base say is pinned as it is.
Versions that fail their gates make no release. To serve it:
  proffer release promote N";

#[derive(Debug, Args)]
#[command(
    after_help = AFTER_HELP,
    mut_arg("author", |arg| arg.help("Who makes it [default: you]")),
    group = ArgGroup::new("content").required(true).multiple(true).args(["workspace", "base", "model", "features", "offers", "policy"])
)]
pub(super) struct CreateArgs {
    /// The workspace: features.toml, offers.toml, policy.toml and model versions
    #[arg(value_name = "WORKSPACE", conflicts_with_all = ["base", "model", "features", "offers", "policy"])]
    workspace: Option<PathBuf>,
    /// The release to start from [default: the current one]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    base: u64,
    /// Pin this version of a model; version 0 removes the model; may be given several times
    #[arg(long, value_name = "NAME=VERSION", value_parser = pin)]
    model: Vec<(String, u64)>,
    /// Pin the workspace's version of this model even if a higher one is current; may be given several times
    #[arg(long, value_name = "NAME", conflicts_with_all = ["base", "model", "features", "offers", "policy"])]
    downgrade: Vec<String>,
    /// The features.toml of the release [default: the base's]
    #[arg(long, value_name = "FILE")]
    features: Option<PathBuf>,
    /// The offers.toml of the release [default: the base's]
    #[arg(long, value_name = "FILE")]
    offers: Option<PathBuf>,
    /// The policy.toml of the release [default: the base's]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    who: Author,
    /// Its purpose
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    note: String,
}

/// The printed result of a new release.
#[derive(Debug, Serialize)]
struct Made {
    #[serde(flatten)]
    record: ReleaseRecord,
    /// Compared with the release that was current.
    pins: Vec<Pin>,
    warnings: Vec<String>,
}

pub(super) fn run(args: &CreateArgs, place: &Place) -> Result<(), Failure> {
    let made = match &args.workspace {
        Some(workspace) => of_workspace(workspace, args, place)?,
        None => of_changes(args, place)?,
    };
    if place.json {
        return print_json(&made);
    }
    let mut text = format!("{}\n\n{}", shown::record(&made.record), pins::shown(&made.pins));
    for warning in &made.warnings {
        text.push_str("\nwarning: ");
        text.push_str(warning);
    }
    print(text)
}

/// `NAME=VERSION`.
fn pin(text: &str) -> Result<(String, u64), String> {
    let (name, version) = assignment(text)?;
    let version = version.parse().map_err(|_| "must be NAME=VERSION, the version a whole number")?;
    if name.is_empty() {
        return Err("must be NAME=VERSION".to_owned());
    }
    Ok((name, version))
}

fn changes(args: &CreateArgs) -> Result<ReleaseDraft, Failure> {
    let mut models = BTreeMap::new();
    for (name, version) in &args.model {
        if models.insert(name.clone(), *version).is_some_and(|before| before != *version) {
            return Err(Failure::new(format!("--model names two versions of {name}")));
        }
    }
    Ok(ReleaseDraft {
        base: args.base,
        models,
        features: read_optional(args.features.as_ref())?,
        offers: read_optional(args.offers.as_ref())?,
        policy: read_optional(args.policy.as_ref())?,
        author: args.who.author.clone(),
        note: args.note.clone(),
        step: None,
    })
}

fn of_changes(args: &CreateArgs, place: &Place) -> Result<Made, Failure> {
    let draft = changes(args)?;
    let backend = Backend::open(place)?;
    let current = backend.release(0)?.record;
    let given = GivenFiles::new([
        ("features.toml", args.features.as_ref()),
        ("offers.toml", args.offers.as_ref()),
        ("policy.toml", args.policy.as_ref()),
    ]);
    let created = backend.create_release(draft).map_err(|error| given.failure(error))?;
    let CreatedRelease { record, warnings } = created;
    let warnings = warnings.iter().map(|warning| given.with_path(warning)).collect();
    Ok(Made { pins: pins::between(&current.models, &record.models), record, warnings })
}

fn of_workspace(root: &Path, args: &CreateArgs, place: &Place) -> Result<Made, Failure> {
    let workspace = Workspace::open(root)?;
    let backend = Backend::open(place)?;
    let current = backend.release(0)?.record;
    let pins = pins::of_workspace(&workspace, &current.models, &args.downgrade)?;
    // A kept version is in the store; the workspace's lower version may not be.
    let pushed = pins.iter().filter(|pin| !matches!(pin.change, Change::Kept | Change::Removed));
    let variants = workspace.variants.iter().map(|(name, version)| (name, *version));
    let directories: Vec<(&String, u64, VersionDirectory)> = pushed
        .map(|pin| (&pin.name, pin.to))
        .chain(variants)
        .map(|(name, version)| {
            let directory = VersionDirectory::read(&workspace.version_dir(name, version))?;
            Ok((name, version, directory))
        })
        .collect::<Result<_, Failure>>()?;
    for (name, version, directory) in directories {
        let features = Some(workspace.features.clone());
        let pushed = directory.push(&backend, name, version, features, Progress::of(place.json));
        let pushed = pushed.map_err(|error| match error {
            error if error.is_taken() => Failure::new(format!(
                "{name} version {version} is there already and is another one than the workspace's; give the workspace's the next \
                 number ({error})"
            )),
            error => error.into(),
        })?;
        if let Some(gates) = failed_gates(&pushed.verdict) {
            if !place.json {
                print(verdict(&pushed.verdict))?;
            }
            return Err(Failure::new(format!("{name} version {version} failed its gates: {gates}")));
        }
    }
    let CreatedRelease { record, warnings } =
        backend.create_release(draft(&workspace, &current, &pins, args))?;
    Ok(Made { record, pins, warnings })
}

/// The workspace's files with these pins, on top of `base`.
fn draft(workspace: &Workspace, base: &ReleaseRecord, pins: &[Pin], args: &CreateArgs) -> ReleaseDraft {
    ReleaseDraft {
        base: base.number,
        models: pins.iter().map(|pin| (pin.name.clone(), pin.to)).collect(),
        features: Some(workspace.features.clone()),
        offers: Some(workspace.offers.clone()),
        policy: Some(workspace.policy.clone()),
        author: args.who.author.clone(),
        note: args.note.clone(),
        step: None,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        create: CreateArgs,
    }

    fn parse(line: &str) -> Result<CreateArgs, clap::error::ErrorKind> {
        let words = std::iter::once("create").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.create).map_err(|error| error.kind())
    }

    #[test]
    fn a_release_is_made_of_a_workspace_or_of_changes_never_of_both_or_nothing() {
        use clap::error::ErrorKind;
        assert!(parse("models --note x --downgrade a --downgrade b").is_ok());
        assert_eq!(parse("--base 3 --downgrade a").unwrap_err(), ErrorKind::ArgumentConflict);
        assert!(parse("--base 3").is_ok());
        assert!(parse("--model a=1 --model b=0").is_ok());
        assert_eq!(parse("--note x").unwrap_err(), ErrorKind::MissingRequiredArgument);
        assert_eq!(parse("models --base 3").unwrap_err(), ErrorKind::ArgumentConflict);
        assert_eq!(parse("models --model a=1").unwrap_err(), ErrorKind::ArgumentConflict);
        for wrong in ["--model a", "--model a=x", "--model a=-1", "--model =1"] {
            assert_eq!(parse(wrong).unwrap_err(), ErrorKind::ValueValidation, "{wrong}");
        }
    }

    #[test]
    fn changes_name_each_model_once() {
        let draft = changes(&parse("--base 2 --model a=1 --model b=0 --author me").unwrap()).unwrap();
        assert_eq!((draft.base, draft.author.as_str()), (2, "me"));
        assert_eq!(draft.models, [("a".to_owned(), 1), ("b".to_owned(), 0)].into());
        assert!(changes(&parse("--model a=1 --model a=2").unwrap()).unwrap_err().message.contains("of a"));
    }

    #[test]
    fn a_draft_of_a_workspace_has_its_files_and_says_what_is_taken_out() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["features.toml", "offers.toml", "policy.toml"] {
            std::fs::write(directory.path().join(name), format!("# {name}")).unwrap();
        }
        for version in ["new/1", "kept/1", "kept/3"] {
            let version = directory.path().join(version);
            std::fs::create_dir_all(&version).unwrap();
            std::fs::write(version.join("model.toml"), "").unwrap();
        }
        let workspace = Workspace::open(directory.path()).unwrap();
        let base = ReleaseRecord {
            number: 7,
            author: String::new(),
            note: String::new(),
            created: String::new(),
            models: [("kept".to_owned(), 2), ("gone".to_owned(), 5)].into(),
            hashes: BTreeMap::new(),
            step: None,
        };
        let pins = pins::of_workspace(&workspace, &base.models, &[]).unwrap();
        let draft = draft(&workspace, &base, &pins, &parse("models").unwrap());
        let pins = [("gone".to_owned(), 0), ("kept".to_owned(), 3), ("new".to_owned(), 1)];
        assert_eq!((draft.base, draft.models), (7, pins.into()));
        assert_eq!(draft.policy.as_deref(), Some("# policy.toml"));
    }
}
