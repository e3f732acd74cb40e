//! `proffer check`: everything that a workspace or a store would be refused for, at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use comfy_table::{CellAlignment, Table};

use super::{Failure, print};
use crate::document::Problems;
use crate::feature::FeatureSchema;
use crate::feature::store::{CustomerSource, CustomerTable, LoadReport};
use crate::model::onnx::{OnnxCache, OnnxRuntime};
use crate::release::{Release, ReleaseSource, ShownWarnings, Store, StoreError, Workspace, review};

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The workspace to check
    #[arg(value_name = "WORKSPACE", required_unless_present = "store")]
    workspace: Option<PathBuf>,
    /// Check the current release of this store instead
    #[arg(long, value_name = "STORE", conflicts_with = "workspace")]
    store: Option<String>,
}

/// A workspace or store that passed.
pub(super) struct Checked {
    pub release: Arc<Release>,
    pub customers: CustomerTable,
    report: Option<LoadReport>,
    /// What is sound and most likely not meant.
    pub warnings: Problems,
}

pub(super) fn run(args: &CheckArgs) -> Result<(), Failure> {
    let checked = match (&args.workspace, &args.store) {
        (Some(workspace), _) => check_workspace(&Workspace::open(workspace)?)?,
        (None, Some(store)) => check_store(&Store::open(store, None)?)?,
        // clap requires one of the two.
        (None, None) => return Ok(()),
    };
    print(describe(&checked))
}

/// Checks a workspace as `init` would.
pub(super) fn check_workspace(workspace: &Workspace) -> Result<Checked, Failure> {
    check(&ReleaseSource::of_workspace(workspace), workspace.customers.as_deref())
}

fn check_store(store: &Store) -> Result<Checked, Failure> {
    let number = store.current()?.current.release;
    let files = store.release(number)?;
    for (name, version) in &files.record.models {
        match store.fetch_version(name, *version) {
            // Told with everything else that is wrong.
            Err(StoreError::NoSuchVersion { .. }) => {}
            fetched => _ = fetched?,
        }
    }
    store.sync_customers()?;
    let source = ReleaseSource::of_store(store, &files);
    check(&source, CustomerSource::new(store.customers_dir()).current().as_deref())
}

fn check(source: &ReleaseSource<'_>, customers: Option<&Path>) -> Result<Checked, Failure> {
    let cache = OnnxCache::new(OnnxRuntime::load()?, 1);
    let mut problems = Problems::new();
    let release = problems.absorb(Release::load(source, &cache));
    // Whatever else is wrong, the customers can be read by any schema that is sound.
    let schema = FeatureSchema::parse("features.toml", source.features).ok();
    let loaded = customers.zip(schema.as_ref()).map(|(path, schema)| CustomerTable::load(path, schema));
    let loaded = problems.absorb(loaded.transpose()).flatten();
    let release = problems.into_result(release)?.ok_or_else(Problems::new)?;
    let warnings = review(&release, source).into_warnings()?;
    // A graph may load and yet not run.
    release.warm_up(cache.sessions(), &[])?;
    let (customers, report) = match loaded {
        Some((table, report)) => (table, Some(report)),
        None => (CustomerTable::empty(release.schema()), None),
    };
    Ok(Checked { release: Arc::new(release), customers, report, warnings })
}

fn describe(checked: &Checked) -> String {
    let catalog = checked.release.catalog();
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["placement", "offers", "models", "fallback"]);
    for placement in &catalog.policy.placements {
        let fallback = placement.fallback.map_or("none", |offer| &catalog.library.offers()[offer].id);
        let models: Vec<&str> = placement.models.iter().map(|model| model.name.as_str()).collect();
        table.add_row([
            placement.id.clone(),
            placement.candidates.len().to_string(),
            models.join(", "),
            fallback.to_owned(),
        ]);
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut lines = vec![table.to_string(), String::new()];
    let pins = checked.release.pins().iter();
    lines.extend(pins.map(|(name, version)| format!("model {name} version {version}")));
    lines.push(checked.report.as_ref().map_or_else(|| "no customers".to_owned(), ToString::to_string));
    if !checked.warnings.is_empty() {
        lines.push(ShownWarnings(&checked.warnings).to_string());
    }
    lines.push("sound".to_owned());
    lines.join("\n")
}
