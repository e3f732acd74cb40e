//! What changes from one release to another, for people and for scripts.

use std::collections::{BTreeMap, BTreeSet};

use similar::TextDiff;

use crate::{FileChange, ModelChange, RELEASE_FILES, ReleaseDiff, ReleaseFiles};

/// The models, files and offers that differ.
pub(super) fn diff(from: &ReleaseFiles, to: &ReleaseFiles) -> ReleaseDiff {
    let (before, after) = (&from.record.models, &to.record.models);
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let version = |models: &BTreeMap<String, u64>, name: &str| models.get(name).copied().unwrap_or_default();
    let models = names
        .into_iter()
        .map(|name| ModelChange { name: name.clone(), from: version(before, name), to: version(after, name) })
        .filter(|change| change.from != change.to)
        .collect();
    let texts = |files: &ReleaseFiles| [files.features.clone(), files.offers.clone(), files.policy.clone()];
    let files = RELEASE_FILES
        .into_iter()
        .zip(texts(from).into_iter().zip(texts(to)))
        .filter(|(_, (old, new))| old != new)
        .map(|(name, (old, new))| {
            let header = |number: u64| format!("release {number}/{name}");
            let (old_name, new_name) = (header(from.record.number), header(to.record.number));
            let lines = TextDiff::from_lines(&old, &new);
            let diff = lines.unified_diff().context_radius(3).header(&old_name, &new_name).to_string();
            FileChange { name: name.to_owned(), diff }
        })
        .collect();
    let (old, new) = (offers(&from.offers), offers(&to.offers));
    let only = |left: &BTreeMap<String, toml::Value>, right: &BTreeMap<String, toml::Value>| -> Vec<String> {
        left.keys().filter(|id| !right.contains_key(*id)).cloned().collect()
    };
    let changed = old.iter().filter(|(id, offer)| new.get(*id).is_some_and(|other| other != *offer));
    ReleaseDiff {
        from: from.record.number,
        to: to.record.number,
        models,
        files,
        offers_added: only(&new, &old),
        offers_removed: only(&old, &new),
        offers_changed: changed.map(|(id, _)| id.clone()).collect(),
    }
}

/// The offers by id. Tables without an id are skipped: the texts were checked when the release was made.
fn offers(text: &str) -> BTreeMap<String, toml::Value> {
    let Ok(table) = text.parse::<toml::Table>() else { return BTreeMap::new() };
    let listed = table.get("offer").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    listed.into_iter().filter_map(|offer| Some((offer.get("id")?.as_str()?.to_owned(), offer))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ReleaseRecord;

    fn release(number: u64, models: &[(&str, u64)], offers: &str) -> ReleaseFiles {
        let models = models.iter().map(|(name, version)| ((*name).to_owned(), *version)).collect();
        let record = ReleaseRecord {
            number,
            author: String::new(),
            note: String::new(),
            created: String::new(),
            models,
            hashes: BTreeMap::new(),
            step: None,
        };
        ReleaseFiles {
            record,
            features: "f\n".to_owned(),
            offers: offers.to_owned(),
            policy: "p\n".to_owned(),
        }
    }

    #[test]
    fn models_files_and_offers_that_differ_are_named() {
        let before =
            release(3, &[("a", 1), ("b", 2), ("c", 1)], "[[offer]]\nid='x'\n[[offer]]\nid='y'\nvalue=1\n");
        let after =
            release(4, &[("a", 1), ("b", 3), ("d", 1)], "[[offer]]\nid='y'\nvalue=2\n[[offer]]\nid='z'\n");
        let diff = diff(&before, &after);
        let models: Vec<_> = diff.models.iter().map(|m| (m.name.as_str(), m.from, m.to)).collect();
        assert_eq!(models, [("b", 2, 3), ("c", 1, 0), ("d", 0, 1)]);
        assert_eq!(
            (diff.offers_added, diff.offers_removed, diff.offers_changed),
            (vec!["z".to_owned()], vec!["x".to_owned()], vec!["y".to_owned()])
        );
        assert_eq!(diff.files.len(), 1);
        let text = &diff.files[0].diff;
        assert!(text.starts_with("--- release 3/offers.toml\n+++ release 4/offers.toml\n@@"), "{text}");
        assert!(text.contains("-value=1") && text.contains("+value=2"), "{text}");
    }
}
