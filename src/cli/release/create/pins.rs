//! Which versions a release of a workspace pins, and how that changes the current release.
//!
//! Pipelines push versions that a person's workspace never had. So a workspace raises versions and adds models; it
//! lowers one only when asked to.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::cli::Failure;
use crate::cli::table::new_table;
use document::{Document, Table, suggestion};
use release::Workspace;

/// The change of a model's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Change {
    New,
    Raised,
    Lowered,
    Removed,
    /// Unchanged: the workspace has a lower version or none.
    Kept,
    /// Unchanged.
    Same,
}

/// A model of the current release or of the new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Pin {
    pub name: String,
    /// The version in the current release; 0: none.
    pub from: u64,
    /// The version in the new release; 0: none.
    pub to: u64,
    pub change: Change,
    /// A remark, if one is needed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
}

impl Pin {
    fn new(name: &str, from: u64, to: u64) -> Self {
        let change = match (from, to) {
            (0, _) => Change::New,
            (_, 0) => Change::Removed,
            _ if from < to => Change::Raised,
            _ if from > to => Change::Lowered,
            _ => Change::Same,
        };
        Self { name: name.to_owned(), from, to, change, why: String::new() }
    }

    fn kept(name: &str, version: u64, why: impl Into<String>) -> Self {
        let name = name.to_owned();
        Self { name, from: version, to: version, change: Change::Kept, why: why.into() }
    }
}

/// Every model of either release, by name.
pub(super) fn between(from: &BTreeMap<String, u64>, to: &BTreeMap<String, u64>) -> Vec<Pin> {
    let names: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    let version = |pins: &BTreeMap<String, u64>, name| pins.get(name).copied().unwrap_or(0);
    names.into_iter().map(|name| Pin::new(name, version(from, name), version(to, name))).collect()
}

/// The pins of a release of `workspace` over `current`: of each model the highest version of both. A model that
/// `downgrade` names keeps the workspace's version. A model that only `current` has stays while the policy names it.
///
/// # Errors
/// A name in `downgrade` that the workspace has no version of.
pub(super) fn of_workspace(
    workspace: &Workspace,
    current: &BTreeMap<String, u64>,
    downgrade: &[String],
) -> Result<Vec<Pin>, Failure> {
    if let Some(name) = downgrade.iter().find(|name| !workspace.models.contains_key(*name)) {
        let hint = suggestion(name, workspace.models.keys().map(String::as_str));
        return Err(Failure::new(format!("--downgrade {name}: the workspace has no model `{name}`{hint}")));
    }
    let named = models_named_in(&workspace.policy);
    let pins = between(current, &workspace.models).into_iter().map(|pin| match pin.change {
        Change::Lowered if !downgrade.contains(&pin.name) => {
            let why = format!("the workspace's highest is {}; to pin that: --downgrade {}", pin.to, pin.name);
            Pin::kept(&pin.name, pin.from, why)
        }
        Change::Removed if named.contains(&pin.name) => {
            Pin::kept(&pin.name, pin.from, "the workspace has no version of it, and its policy names it")
        }
        Change::Removed => Pin {
            why: "the workspace has no version of it, and its policy does not name it".to_owned(),
            ..pin
        },
        Change::New | Change::Raised | Change::Lowered | Change::Kept | Change::Same => pin,
    });
    Ok(pins.collect())
}

/// The models that a policy names. A policy that cannot be read names none here; making the release reports its errors.
fn models_named_in(policy: &str) -> BTreeSet<String> {
    let Ok(document) = Document::parse("policy.toml", policy) else { return BTreeSet::new() };
    let root = document.root();
    let mut names: BTreeSet<String> = root.optional("segmentation").into_iter().collect();
    for placement in root.tables("placement") {
        let scorers = placement.tables("scorer");
        let named = |table: &Table<'_, '_>| table.optional::<String>("model");
        names.extend(scorers.iter().filter_map(named).chain(named(&placement)));
    }
    names
}

/// The pins as a person reads them.
pub(super) fn shown(pins: &[Pin]) -> String {
    let mut table = new_table(&["model", "current", "new", "", ""], 1..3);
    for pin in pins {
        let version = |version: u64| if version == 0 { "–".to_owned() } else { version.to_string() };
        table.add_row([
            pin.name.clone(),
            version(pin.from),
            format!("→ {}", version(pin.to)),
            pin.change.word().to_owned(),
            pin.why.clone(),
        ]);
    }
    table.to_string()
}

impl Change {
    fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Raised => "raised",
            Self::Lowered => "LOWERED",
            Self::Removed => "REMOVED",
            Self::Kept => "kept",
            Self::Same => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: &str =
        "segmentation = 's'\n[[placement]]\nid = 'p'\nmodel = 'a'\n[[placement.scorer]]\nmodel = 'b'\n";

    fn workspace(models: &[(&str, u64)]) -> Workspace {
        let directory = tempfile::tempdir().unwrap();
        for name in ["features.toml", "offers.toml"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        std::fs::write(directory.path().join("policy.toml"), POLICY).unwrap();
        for (name, version) in models {
            let version = directory.path().join(name).join(version.to_string());
            std::fs::create_dir_all(&version).unwrap();
            std::fs::write(version.join("model.toml"), "").unwrap();
        }
        Workspace::open(directory.path()).unwrap()
    }

    fn pins(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
        pairs.iter().map(|(name, version)| ((*name).to_owned(), *version)).collect()
    }

    fn said(found: &[Pin]) -> Vec<(&str, u64, u64, Change)> {
        found.iter().map(|pin| (pin.name.as_str(), pin.from, pin.to, pin.change)).collect()
    }

    #[test]
    fn a_workspace_raises_adds_and_takes_out_but_lowers_nothing_by_itself() {
        let workspace = workspace(&[("a", 1), ("b", 3), ("new", 1), ("same", 2)]);
        let current = pins(&[("a", 2), ("b", 2), ("same", 2), ("s", 4), ("gone", 5)]);
        let found = of_workspace(&workspace, &current, &[]).unwrap();
        assert_eq!(
            said(&found),
            [
                ("a", 2, 2, Change::Kept),
                ("b", 2, 3, Change::Raised),
                ("gone", 5, 0, Change::Removed),
                ("new", 0, 1, Change::New),
                ("s", 4, 4, Change::Kept),
                ("same", 2, 2, Change::Same),
            ]
        );
        assert!(shown(&found).contains("--downgrade a"), "{}", shown(&found));
        let found = of_workspace(&workspace, &current, &["a".to_owned()]).unwrap();
        assert_eq!(said(&found)[0], ("a", 2, 1, Change::Lowered));
        let unknown = of_workspace(&workspace, &current, &["sam".to_owned()]).unwrap_err();
        assert!(unknown.message.contains("did you mean `same`?"), "{}", unknown.message);
    }

    proptest! {
        #[test]
        fn whatever_the_versions_none_is_lowered_unless_it_was_named(
            ours in prop::collection::btree_map("[abs]", 1_u64..4, 0..4),
            theirs in prop::collection::btree_map("[abs]", 1_u64..4, 0..4),
            named in prop::collection::vec("[abs]", 0..2),
        ) {
            let mut workspace = workspace(&[]);
            workspace.models.clone_from(&ours);
            prop_assume!(named.iter().all(|name| ours.contains_key(name)));
            let found = of_workspace(&workspace, &theirs, &named).unwrap();
            for pin in &found {
                prop_assert!(pin.to >= pin.from || named.contains(&pin.name), "{pin:?}");
            }
            for (name, version) in &ours {
                let pin = found.iter().find(|pin| pin.name == *name).unwrap();
                prop_assert!(pin.to >= *version);
            }
        }
    }
}
