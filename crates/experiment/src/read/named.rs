//! The versions of models that a policy names, for those who keep them without reading the rest of it.

use std::collections::BTreeSet;

use document::{Document, Table};

use super::value::Version;

/// A model and a version of it.
type Named = (String, u64);

/// The versions of models that a policy may need besides those that a release pins, each once and sorted: those of its
/// shadows, and those of its variants but for experiments that are stopped. A policy that cannot be read has none: who
/// reads it whole says what is wrong.
#[must_use]
pub fn versions(policy: &str) -> BTreeSet<Named> {
    named_by(policy, |root| [of_variants(root, is_not_over), of_shadows(root)].concat())
}

/// Those of them that answers need: without them there is no release. A release serves without its shadows.
#[must_use]
pub fn variant_versions(policy: &str) -> BTreeSet<Named> {
    named_by(policy, |root| of_variants(root, is_not_over))
}

/// The versions of models that a policy names in shadows and in variants of experiments of any state, each once and
/// sorted. That an experiment stops does not make its challenger the version for everyone.
#[must_use]
pub fn named_versions(policy: &str) -> BTreeSet<Named> {
    named_by(policy, |root| [of_variants(root, |_| true), of_shadows(root)].concat())
}

fn is_not_over(state: Option<&str>) -> bool {
    state != Some("stopped")
}

/// What `find` finds in a policy.
fn named_by(policy: &str, find: impl FnOnce(&Table<'_, '_>) -> Vec<Named>) -> BTreeSet<Named> {
    // Most policies have neither, and a parse takes some hundred microseconds.
    if !policy.contains("experiment") && !policy.contains("shadow") {
        return BTreeSet::new();
    }
    let Ok(document) = Document::parse("policy.toml", policy) else { return BTreeSet::new() };
    find(&document.root()).into_iter().collect()
}

/// The versions that variants name of experiments whose state `counts`.
fn of_variants(root: &Table<'_, '_>, counts: impl Fn(Option<&str>) -> bool) -> Vec<Named> {
    let experiments = root.tables("experiment");
    let counted = |table: &&Table<'_, '_>| counts(table.optional::<String>("state").as_deref());
    let variants = experiments.iter().filter(counted).flat_map(|table| table.tables("variant"));
    variants.flat_map(|variant| of_table(&variant)).collect()
}

fn of_shadows(root: &Table<'_, '_>) -> Vec<Named> {
    root.tables("shadow").iter().flat_map(of_table).collect()
}

/// The versions under `models` of a variant or a shadow.
fn of_table(table: &Table<'_, '_>) -> Vec<Named> {
    let Some(models) = table.table("models") else { return Vec::new() };
    let version = |name: String| models.optional(&name).map(|Version(version)| (name, version));
    models.keys().into_iter().filter_map(version).collect()
}
