//! `proffer check`: lists everything for which a workspace or a store would be refused, its likely mistakes, and how
//! many customers each offer reaches.

mod reached;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use self::reached::Reached;
use super::Failure;
use super::printing::print;
use super::table::new_table;
use document::Problems;
use feature::FeatureSchema;
use feature::store::{CustomerSource, CustomerTable, LoadReport};
use model::onnx::OnnxRuntime;
use model::{GraphCache, Model};
use release::{
    JudgedWorkspace, Judges, RegistryError, Release, ReleaseFiles, ReleaseSource, ShownWarnings, Snapshot,
    Store, StoreError, Workspace, review,
};

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The workspace to check
    #[arg(value_name = "WORKSPACE", required_unless_present = "store")]
    workspace: Option<PathBuf>,
    /// Check the current release of this store instead
    #[arg(long, value_name = "STORE", conflicts_with = "workspace")]
    store: Option<String>,
    /// Exit with 1 if there is any warning
    #[arg(long)]
    strict: bool,
}

/// A workspace or store that passed.
pub(super) struct Checked {
    pub release: Arc<Release>,
    pub customers: Arc<CustomerTable>,
    report: Option<LoadReport>,
    /// Sound, but most likely mistakes.
    pub warnings: Problems,
}

pub(super) fn run(args: &CheckArgs) -> Result<(), Failure> {
    let (mut checked, reached) = match (&args.workspace, &args.store) {
        (Some(workspace), _) => {
            let workspace = Workspace::open(workspace)?;
            let judged = judge_first(&workspace)?;
            let checked = check_workspace(&workspace)?;
            // `init` also refuses failed versions.
            judged.refuse_failed()?;
            let source = ReleaseSource::of_workspace(&workspace);
            with_reach(checked, &source)?
        }
        (None, Some(store)) => {
            let store = Store::open(store, None)?;
            let (checked, files) = check_store(&store)?;
            with_reach(checked, &ReleaseSource::of_store(&store, &files))?
        }
        // clap requires one of the two.
        (None, None) => return Ok(()),
    };
    checked.warnings = checked.warnings.sorted();
    print(describe(&checked, reached.as_ref()))?;
    match checked.warnings.len() {
        0 => Ok(()),
        1 if args.strict => Err(Failure::new("there is a warning, and --strict allows none")),
        count if args.strict => {
            Err(Failure::new(format!("there are {count} warnings, and --strict allows none")))
        }
        _ => Ok(()),
    }
}

/// Adds the reach of the offers, if there are customers, and its warnings.
fn with_reach(
    mut checked: Checked,
    source: &ReleaseSource<'_>,
) -> Result<(Checked, Option<Reached>), Failure> {
    if checked.customers.is_empty() {
        return Ok((checked, None));
    }
    let (release, customers) = (Arc::clone(&checked.release), Arc::clone(&checked.customers));
    let reached = Reached::of(&Arc::new(Snapshot { release, customers }))?;
    reached.warn(&checked.release, source, &mut checked.warnings);
    Ok((checked, Some(reached)))
}

/// Judges the versions of a workspace, each in a process of its own, before this process loads any. If the feature
/// schema cannot be read, none is judged or loaded; loading reports the error.
///
/// # Errors
/// The versions whose process died.
pub(super) fn judge_first(workspace: &Workspace) -> Result<JudgedWorkspace, Failure> {
    let judged = match JudgedWorkspace::of(workspace, &Judges::default()) {
        Err(RegistryError::Unsound(_)) => JudgedWorkspace::default(),
        judged => judged?,
    };
    judged.refuse_deadly()?;
    Ok(judged)
}

/// Checks a workspace as `init` would.
pub(super) fn check_workspace(workspace: &Workspace) -> Result<Checked, Failure> {
    check(&ReleaseSource::of_workspace(workspace), workspace.customers.as_deref())
}

fn check_store(store: &Store) -> Result<(Checked, ReleaseFiles), Failure> {
    let number = store.current()?.current.release;
    let files = store.release(number)?;
    for (name, version) in files.versions() {
        match store.fetch_version(&name, version) {
            // Reported together with the other problems.
            Err(StoreError::NoSuchVersion { .. }) => {}
            fetched => _ = fetched?,
        }
    }
    store.sync_customers()?;
    let source = ReleaseSource::of_store(store, &files);
    let checked = check(&source, CustomerSource::new(store.customers_dir()).current().as_deref())?;
    Ok((checked, files))
}

fn check(source: &ReleaseSource<'_>, customers: Option<&Path>) -> Result<Checked, Failure> {
    let cache = GraphCache::new(OnnxRuntime::load()?, 1);
    let mut problems = Problems::new();
    let release = problems.absorb(Release::load(source, &cache));
    // Any sound schema can read the customers, even if other files are wrong.
    let schema = FeatureSchema::parse("features.toml", source.features).ok();
    let loaded = customers.zip(schema.as_ref()).map(|(path, schema)| CustomerTable::load(path, schema));
    let loaded = problems.absorb(loaded.transpose()).flatten();
    let release = problems.into_result(release)?.ok_or_else(Problems::new)?;
    let warnings = review(&release, source).into_warnings()?;
    // A graph may load and still fail to run.
    release.warm_up(cache.sessions(), &[])?;
    let (customers, report) = match loaded {
        Some((table, report)) => (table, Some(report)),
        None => (CustomerTable::empty(release.schema()), None),
    };
    Ok(Checked { release: Arc::new(release), customers: Arc::new(customers), report, warnings })
}

fn describe(checked: &Checked, reached: Option<&Reached>) -> String {
    let release = &checked.release;
    let catalog = release.catalog();
    let mut table = new_table(&["placement", "offers", "models", "fallback"], 1..2);
    for placement in &catalog.policy.placements {
        let fallback = placement.fallback.map_or("none", |offer| &catalog.library.get(offer).id);
        let models: Vec<&str> = placement.models.iter().map(|model| model.name.as_str()).collect();
        table.add_row([
            placement.id.clone(),
            placement.candidates.len().to_string(),
            models.join(", "),
            fallback.to_owned(),
        ]);
    }
    let mut lines = vec![table.to_string(), String::new()];
    let pins = release.pins().iter();
    lines.extend(pins.map(|(name, version)| format!("model {name} version {version}")));
    let deciding = release.deciding_models();
    let variants = deciding.iter().skip(release.pinned_models().len()).map(|model| (model, "of variants"));
    let shadows = release.models().iter().skip(deciding.len()).map(|model| (model, "of shadows"));
    let line = |(model, whose): (&Arc<Model>, &str)| {
        format!("model {} version {}, {whose}", model.name(), model.version())
    };
    lines.extend(variants.chain(shadows).map(line));
    lines.push(checked.report.as_ref().map_or_else(|| "no customers".to_owned(), ToString::to_string));
    lines.extend(reached.map(|reached| format!("\n{}\n", reached.shown(release))));
    if !checked.warnings.is_empty() {
        lines.push(ShownWarnings(&checked.warnings).to_string());
    }
    lines.push("sound".to_owned());
    lines.join("\n")
}
