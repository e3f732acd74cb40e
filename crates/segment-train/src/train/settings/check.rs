//! The bounds of the settings, from a file or from flags.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use feature::is_feature_name;

use super::{ClusterSettings, Impute, Log1p, PrepareSettings, ReadSettings, TrainSettings};

/// All invalid settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSettings(Vec<InvalidSetting>);

/// An invalid setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidSetting {
    /// Its section of `segmentation.toml`.
    pub section: &'static str,
    /// Its key in the section.
    pub key: String,
    /// What is wrong and what to do, beginning with the key.
    pub message: String,
}

impl InvalidSettings {
    /// The settings, in the order of the sections of the file.
    pub fn iter(&self) -> impl Iterator<Item = &InvalidSetting> {
        self.0.iter()
    }
}

impl std::error::Error for InvalidSettings {}

impl fmt::Display for InvalidSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, setting) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}[{}]: {setting}", setting.section)?;
        }
        Ok(())
    }
}

impl TrainSettings {
    /// Checks that every setting is within its bounds. To be called after a change and before use.
    ///
    /// # Errors
    /// Every setting that is out of bounds or contradicts another.
    pub fn check(&self) -> Result<(), InvalidSettings> {
        let mut checker = Checker { section: "read", invalid: Vec::new() };
        checker.read(&self.read);
        checker.section = "prepare";
        checker.prepare(&self.prepare);
        checker.section = "cluster";
        checker.cluster(&self.cluster);
        checker.section = "names";
        checker.names(&self.names, self.cluster.k);
        checker.section = "retrain";
        let moved = self.retrain.max_moved;
        checker.require((0.0..=1.0).contains(&moved), "max_moved", || {
            format!("must be a share, 0 to 1, not {moved}")
        });
        if checker.invalid.is_empty() { Ok(()) } else { Err(InvalidSettings(checker.invalid)) }
    }
}

/// Collects the invalid settings.
struct Checker {
    section: &'static str,
    invalid: Vec<InvalidSetting>,
}

impl Checker {
    fn require(&mut self, holds: bool, key: &str, message: impl FnOnce() -> String) {
        if !holds {
            let message = format!("`{key}` {}", message());
            self.invalid.push(InvalidSetting { section: self.section, key: key.to_owned(), message });
        }
    }

    fn read(&mut self, read: &ReadSettings) {
        let empty = read.id.as_ref().is_some_and(String::is_empty);
        self.require(!empty, "id", || "is empty; name the column, or leave it out".to_owned());
        self.list("drop", &read.drop);
        self.list("one_hot", &read.one_hot);
        self.list("missing", &read.missing);
        self.list("keep", &read.keep);
        self.rename(&read.rename);
        if let Some(only) = &read.only {
            self.require(!only.is_empty(), "only", || "is an empty list; leave it out".to_owned());
            self.list("only", only);
        }
        // A column has one role.
        let (id, only) = (read.id.as_slice(), read.only.as_deref().unwrap_or_default());
        let roles = [
            ("id", id),
            ("drop", &read.drop),
            ("one_hot", &read.one_hot),
            ("only", only),
            ("keep", &read.keep),
        ];
        let contradict = [
            ("drop", "id"),
            ("one_hot", "id"),
            ("one_hot", "drop"),
            ("only", "id"),
            ("only", "drop"),
            ("keep", "id"),
            ("keep", "drop"),
        ];
        let of =
            |role: &str| roles.iter().find(|(name, _)| *name == role).map_or(&[][..], |(_, names)| names);
        for (role, other) in contradict {
            for name in of(role).iter().filter(|name| of(other).contains(name)) {
                self.require(false, role, || format!("has `{name}`, which `{other}` also has; remove one"));
            }
        }
        if let Some(only) = &read.only {
            for name in read.one_hot.iter().filter(|name| !only.contains(name)) {
                self.require(false, "one_hot", || format!("has `{name}`, which `only` leaves out"));
            }
        }
    }

    fn rename(&mut self, rename: &BTreeMap<String, String>) {
        let mut seen = BTreeSet::new();
        for (old, new) in rename {
            self.require(is_feature_name(new), "rename", || {
                format!(
                    "renames `{old}` to `{new}`, which is no valid feature name: use letters, digits and _, no digit \
                     first, and not `segment` or `customer_id`"
                )
            });
            self.require(seen.insert(new), "rename", || {
                format!("renames two columns to `{new}`; names must differ")
            });
            self.require(!rename.contains_key(new), "rename", || {
                format!(
                    "renames `{old}` to `{new}`, and `{new}` to another name; use names that no column has"
                )
            });
        }
    }

    fn prepare(&mut self, prepare: &PrepareSettings) {
        self.impute("impute", prepare.impute);
        for (feature, impute) in &prepare.impute_by_feature {
            self.require(!feature.is_empty(), "impute_by_feature", || {
                "has a feature without a name".to_owned()
            });
            if let Impute::Constant(value) = impute {
                self.require(value.is_finite(), "impute_by_feature", || {
                    format!("of `{feature}` must be finite, not {value}")
                });
            }
        }
        if let Some([low, high]) = prepare.winsorise {
            self.require(0.0 <= low && low < high && high <= 1.0, "winsorise", || {
                format!("must be two quantiles, 0 ≤ low < high ≤ 1, not [{low}, {high}]")
            });
        }
        if let Log1p::Of(features) = &prepare.log1p {
            self.require(!features.is_empty(), "log1p", || "is an empty list; use \"none\"".to_owned());
            self.list("log1p", features);
        }
        self.share("correlation_limit", prepare.correlation_limit);
        self.share("variance_kept", prepare.variance_kept);
    }

    fn cluster(&mut self, cluster: &ClusterSettings) {
        let ClusterSettings { k_min, k_max, .. } = *cluster;
        self.at_least("k", 1, cluster.k);
        self.at_least("k_min", 2, Some(k_min));
        self.require(k_min <= k_max, "k_max", || format!("must be at least `k_min`, {k_min}, not {k_max}"));
        self.at_least("n_init", 1, Some(cluster.n_init));
        self.at_least("mini_batch_above", 1, Some(cluster.mini_batch_above));
        self.at_least("resamples", 2, Some(cluster.resamples));
        self.at_least("gap", 2, cluster.gap);
    }

    fn names(&mut self, names: &BTreeMap<u32, String>, k: Option<usize>) {
        let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
        for (id, name) in names {
            let key = id.to_string();
            self.require(!name.trim().is_empty(), &key, || {
                "is an empty name; give the segment a name in plain words".to_owned()
            });
            if let Some(other) = seen.insert(name, *id) {
                self.require(false, &key, || {
                    format!("is named `{name}`, as segment {other} is; names must differ")
                });
            }
            if let Some(k) = k.filter(|k| *id as usize >= *k) {
                self.require(false, &key, || {
                    format!("is not one of the {k} segments (k), whose ids begin at 0")
                });
            }
        }
    }

    fn impute(&mut self, key: &str, impute: Impute) {
        if let Impute::Constant(value) = impute {
            self.require(value.is_finite(), key, || format!("must be finite, not {value}"));
        }
    }

    fn list(&mut self, key: &str, names: &[String]) {
        let mut seen = BTreeSet::new();
        for name in names {
            self.require(!name.is_empty(), key, || "has an empty name; leave it out".to_owned());
            self.require(seen.insert(name), key, || format!("has `{name}` twice"));
        }
    }

    fn share(&mut self, key: &str, share: Option<f64>) {
        if let Some(share) = share {
            self.require(share > 0.0 && share <= 1.0, key, || {
                format!("must be above 0 and at most 1, not {share}")
            });
        }
    }

    fn at_least(&mut self, key: &str, least: usize, number: Option<usize>) {
        if let Some(number) = number {
            self.require(number >= least, key, || format!("must be at least {least}, not {number}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(TrainSettings::default().check(), Ok(()));
    }

    #[test]
    fn every_bound_is_checked() {
        type Change = fn(&mut TrainSettings);
        let cases: [(&str, Change); 33] = [
            ("[read]: `rename` renames `a` to `b c`, which is no valid feature name", |settings| {
                settings.read.rename.insert("a".into(), "b c".into());
            }),
            ("[read]: `rename` renames two columns to `c`", |settings| {
                settings.read.rename.insert("a".into(), "c".into());
                settings.read.rename.insert("b".into(), "c".into());
            }),
            ("[read]: `rename` renames `a` to `b`, and `b` to another name", |settings| {
                settings.read.rename.insert("a".into(), "b".into());
                settings.read.rename.insert("b".into(), "c".into());
            }),
            ("[read]: `keep` has `a`, which `drop` also has", |settings| {
                settings.read.keep = names(&["a"]);
                settings.read.drop = names(&["a"]);
            }),
            ("[read]: `only` is an empty list", |settings| settings.read.only = Some(Vec::new())),
            ("[read]: `id` is empty", |settings| settings.read.id = Some(String::new())),
            ("[read]: `drop` has `a` twice", |settings| settings.read.drop = names(&["a", "b", "a"])),
            ("[read]: `missing` has an empty name", |settings| settings.read.missing = names(&[""])),
            ("[read]: `drop` has `a`, which `id` also has", |settings| {
                settings.read.id = Some("a".into());
                settings.read.drop = names(&["a"]);
            }),
            ("[read]: `one_hot` has `a`, which `drop` also has; remove one", |settings| {
                settings.read.drop = names(&["a"]);
                settings.read.one_hot = names(&["a"]);
            }),
            ("[read]: `one_hot` has `a`, which `only` leaves out", |settings| {
                settings.read.only = Some(names(&["b"]));
                settings.read.one_hot = names(&["a"]);
            }),
            ("[prepare]: `impute` must be finite, not NaN", |settings| {
                settings.prepare.impute = Impute::Constant(f64::NAN);
            }),
            ("[prepare]: `impute_by_feature` of `a` must be finite, not inf", |settings| {
                settings.prepare.impute_by_feature.insert("a".into(), Impute::Constant(f64::INFINITY));
            }),
            ("[prepare]: `impute_by_feature` has a feature without a name", |settings| {
                settings.prepare.impute_by_feature.insert(String::new(), Impute::Mean);
            }),
            ("`winsorise` must be two quantiles", |settings| settings.prepare.winsorise = Some([-0.1, 0.9])),
            ("`winsorise` must be two quantiles", |settings| settings.prepare.winsorise = Some([0.1, 1.1])),
            ("`winsorise` must be two quantiles", |settings| settings.prepare.winsorise = Some([0.5, 0.5])),
            ("`winsorise` must be two quantiles", |settings| {
                settings.prepare.winsorise = Some([f64::NAN, 0.5]);
            }),
            ("`log1p` is an empty list; use", |settings| settings.prepare.log1p = Log1p::Of(Vec::new())),
            ("`log1p` has `a` twice", |settings| settings.prepare.log1p = Log1p::Of(names(&["a", "a"]))),
            ("`correlation_limit` must be above 0", |settings| {
                settings.prepare.correlation_limit = Some(0.0);
            }),
            ("`variance_kept` must be above 0 and at most 1, not 1.01", |settings| {
                settings.prepare.variance_kept = Some(1.01);
            }),
            ("[cluster]: `k` must be at least 1, not 0", |settings| settings.cluster.k = Some(0)),
            ("`k_min` must be at least 2, not 1", |settings| settings.cluster.k_min = 1),
            ("`k_max` must be at least `k_min`, 3, not 2", |settings| settings.cluster.k_max = 2),
            ("`n_init` must be at least 1", |settings| settings.cluster.n_init = 0),
            ("`mini_batch_above` must be at least 1", |settings| settings.cluster.mini_batch_above = 0),
            ("`resamples` must be at least 2, not 1", |settings| settings.cluster.resamples = 1),
            ("`gap` must be at least 2, not 1", |settings| settings.cluster.gap = Some(1)),
            ("[names]: `0` is an empty name", |settings| {
                settings.names.insert(0, " ".into());
            }),
            ("[names]: `3` is not one of the 3 segments (k)", |settings| {
                settings.cluster.k = Some(3);
                settings.names.insert(3, "a".into());
            }),
            ("[retrain]: `max_moved` must be a share, 0 to 1, not 1.5", |settings| {
                settings.retrain.max_moved = 1.5;
            }),
            ("[retrain]: `max_moved` must be a share", |settings| settings.retrain.max_moved = f64::NAN),
        ];
        for (expected, change) in cases {
            let mut settings = TrainSettings::default();
            change(&mut settings);
            let found = settings.check().unwrap_err();
            assert_eq!(found.iter().count(), 1, "{found}");
            assert!(found.to_string().contains(expected), "{expected}\nnot in\n{found}");
        }
    }

    #[test]
    fn all_invalid_settings_are_reported() {
        let mut settings = TrainSettings::default();
        settings.cluster.n_init = 0;
        settings.retrain.max_moved = -1.0;
        let found = settings.check().unwrap_err().to_string();
        assert_eq!(
            found,
            "[cluster]: `n_init` must be at least 1, not 0\n[retrain]: `max_moved` must be a share, 0 to 1, not -1"
        );
    }
}
