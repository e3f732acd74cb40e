//! Parses `segmentation.toml` and reports every problem with its line.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::{ClusterSettings, Impute, Log1p, PrepareSettings, ReadSettings, RetrainSettings, TrainSettings};
use document::{Document, FromToml, Problems, Table};
use segment::prepare::Scale;
use table::{Decimal, SEPARATORS};

impl TrainSettings {
    /// Parses `segmentation.toml`; `file` is the name in problems. Absent keys have their defaults.
    ///
    /// # Errors
    /// Every syntax error; otherwise every key that is unknown, of a wrong type or out of bounds.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let document = Document::parse(file, text)?;
        let root = document.root();
        let sections = Sections {
            read: root.table("read"),
            prepare: root.table("prepare"),
            cluster: root.table("cluster"),
            names: root.table("names"),
            retrain: root.table("retrain"),
        };
        let settings = Self {
            read: sections.read.as_ref().map(read).unwrap_or_default(),
            prepare: sections.prepare.as_ref().map(prepare).unwrap_or_default(),
            cluster: sections.cluster.as_ref().map(cluster).unwrap_or_default(),
            names: sections.names.as_ref().map(names).unwrap_or_default(),
            retrain: sections.retrain.as_ref().map(retrain).unwrap_or_default(),
        };
        root.finish();
        if let Err(invalid) = settings.check() {
            for setting in invalid.iter() {
                match sections.find(setting.section) {
                    Some(table) => table.problem_at(&setting.key, setting),
                    None => root.problem(setting),
                }
            }
        }
        document.finish(settings)
    }
}

/// The sections that the file has.
struct Sections<'d, 'i> {
    read: Option<Table<'d, 'i>>,
    prepare: Option<Table<'d, 'i>>,
    cluster: Option<Table<'d, 'i>>,
    names: Option<Table<'d, 'i>>,
    retrain: Option<Table<'d, 'i>>,
}

impl<'d, 'i> Sections<'d, 'i> {
    fn find(&self, name: &str) -> Option<&Table<'d, 'i>> {
        match name {
            "read" => self.read.as_ref(),
            "prepare" => self.prepare.as_ref(),
            "cluster" => self.cluster.as_ref(),
            "names" => self.names.as_ref(),
            "retrain" => self.retrain.as_ref(),
            _ => None,
        }
    }
}

fn read(table: &Table<'_, '_>) -> ReadSettings {
    let settings = ReadSettings {
        id: table.optional("id"),
        drop: table.or("drop", Vec::new()),
        one_hot: table.or("one_hot", Vec::new()),
        missing: table.or("missing", Vec::new()),
        only: table.optional("only"),
        separator: table.choice("separator", &SEPARATORS),
        decimal: table.choice("decimal", &[("point", Decimal::Point), ("comma", Decimal::Comma)]),
        keep: table.or("keep", Vec::new()),
        rename: table.table("rename").as_ref().map(rename).unwrap_or_default(),
    };
    table.finish();
    settings
}

fn rename(table: &Table<'_, '_>) -> BTreeMap<String, String> {
    let keys = table.keys().into_iter();
    keys.filter_map(|old| table.optional::<String>(&old).map(|new| (old, new))).collect()
}

fn prepare(table: &Table<'_, '_>) -> PrepareSettings {
    let mut settings = PrepareSettings {
        impute: table.or("impute", Impute::default()),
        winsorise: table.optional("winsorise"),
        log1p: table.or("log1p", Log1p::default()),
        scale: table
            .choice("scale", &[("z-score", Scale::ZScore), ("min-max", Scale::MinMax)])
            .unwrap_or_default(),
        correlation_limit: table.optional("correlation_limit"),
        variance_kept: table.optional("variance_kept"),
        ..PrepareSettings::default()
    };
    if let Some(by_feature) = table.table("impute_by_feature") {
        let keys = by_feature.keys().into_iter();
        settings.impute_by_feature =
            keys.filter_map(|key| by_feature.optional(&key).map(|impute| (key, impute))).collect();
    }
    table.finish();
    settings
}

fn cluster(table: &Table<'_, '_>) -> ClusterSettings {
    let default = ClusterSettings::default();
    let settings = ClusterSettings {
        k: table.optional("k"),
        k_min: table.or("k_min", default.k_min),
        k_max: table.or("k_max", default.k_max),
        n_init: table.or("n_init", default.n_init),
        seed: table.or("seed", default.seed),
        mini_batch_above: table.or("mini_batch_above", default.mini_batch_above),
        resamples: table.or("resamples", default.resamples),
        gap: table.optional("gap"),
    };
    table.finish();
    settings
}

fn names(table: &Table<'_, '_>) -> BTreeMap<u32, String> {
    let mut names = BTreeMap::new();
    for key in table.keys() {
        let Some(name) = table.optional::<String>(&key) else { continue };
        // `01` is refused, so no segment has two names.
        match key.parse::<u32>().ok().filter(|id| id.to_string() == key) {
            Some(id) => {
                names.insert(id, name);
            }
            None => table.problem_at(&key, format!("`{key}` must be the id of a segment: 0, 1, …")),
        }
    }
    names
}

fn retrain(table: &Table<'_, '_>) -> RetrainSettings {
    let settings = RetrainSettings { max_moved: table.or("max_moved", RetrainSettings::default().max_moved) };
    table.finish();
    settings
}

impl FromToml for Impute {
    const EXPECTED: &'static str = "\"median\", \"mean\" or a finite number";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        match value.as_str() {
            Some("median") => Some(Self::Median),
            Some("mean") => Some(Self::Mean),
            Some(_) => None,
            None => f64::from_toml(value).map(Self::Constant),
        }
    }
}

impl FromToml for Log1p {
    const EXPECTED: &'static str = "\"auto\", \"none\" or a list of features";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        match value.as_str() {
            Some("auto") => Some(Self::Auto),
            Some("none") => Some(Self::Never),
            Some(_) => None,
            None => Vec::from_toml(value).map(Self::Of),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::REFERENCE;
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let problems = TrainSettings::parse("segmentation.toml", text).unwrap_err();
        problems.iter().map(ToString::to_string).map(|line| line.replace("segmentation.toml:", "")).collect()
    }

    #[test]
    fn the_reference_has_the_defaults() {
        assert_eq!(TrainSettings::parse("reference.toml", REFERENCE).unwrap(), TrainSettings::default());
        assert_eq!(TrainSettings::parse("empty.toml", "").unwrap(), TrainSettings::default());
    }

    #[test]
    fn every_key_of_the_reference_can_be_set() {
        // `# key = value` and `# [table]` are keys, `# Words` are not.
        let is_key = |line: &str| line.contains(" = ") || line.starts_with('[');
        let set: Vec<&str> = REFERENCE
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|rest| is_key(rest)).unwrap_or(line))
            .filter(|line| !line.starts_with("only"))
            .collect();
        let settings = TrainSettings::parse("reference.toml", &set.join("\n")).unwrap();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            settings.read,
            ReadSettings {
                id: Some("customer_id".into()),
                drop: names(&["tenure"]),
                one_hot: names(&["job"]),
                missing: names(&["unknown"]),
                only: None,
                separator: Some(b';'),
                decimal: Some(Decimal::Comma),
                keep: names(&["Exited"]),
                rename: BTreeMap::from([("Credit Limit (k$)".to_owned(), "credit_limit_k".to_owned())]),
            }
        );
        assert_eq!(settings.prepare.winsorise, Some([0.01, 0.99]));
        assert_eq!(settings.prepare.correlation_limit, Some(0.95));
        assert_eq!(settings.prepare.variance_kept, Some(0.9));
        assert_eq!(settings.prepare.impute("balance"), Impute::Constant(0.0));
        assert_eq!(settings.prepare.impute("limit"), Impute::Median);
        assert_eq!((settings.cluster.k, settings.cluster.gap), (Some(6), Some(10)));
        assert_eq!(settings.names.get(&0).map(String::as_str), Some("Transactors"));
    }

    #[test]
    fn values_other_than_the_defaults_are_read() {
        let text = "[prepare]\nimpute = -1\nlog1p = ['a', 'b']\nscale = 'min-max'\n\
                    impute_by_feature = { a = 'mean', 'b c' = 2.5 }\n[read]\nonly = ['a']\n[names]\n3 = 'x'";
        let settings = TrainSettings::parse("segmentation.toml", text).unwrap();
        assert_eq!(settings.prepare.impute, Impute::Constant(-1.0));
        assert_eq!(settings.prepare.log1p, Log1p::Of(vec!["a".into(), "b".into()]));
        assert_eq!(settings.prepare.scale, Scale::MinMax);
        assert_eq!(settings.prepare.impute("a"), Impute::Mean);
        assert_eq!(settings.prepare.impute("b c"), Impute::Constant(2.5));
        assert_eq!(settings.read.only, Some(vec!["a".into()]));
        assert_eq!(settings.names.get(&3).map(String::as_str), Some("x"));
        let none = TrainSettings::parse("segmentation.toml", "[prepare]\nlog1p = 'none'").unwrap();
        assert_eq!(none.prepare.log1p, Log1p::Never);
    }

    #[test]
    fn every_problem_is_reported_with_its_line() {
        let found = problems(
            "[prepare]\nimpute = 'mode'\nwinsorise = [0.9, 0.1]\nlog1p = 3\nscale = 'minmax'\n\
             [cluster]\nk_min = 1\nk_max = 0\nresample = 3\n[names]\n01 = 'a'\n1 = 'b'\n2 = 'b'\n[retrian]\n",
        );
        assert_eq!(
            found,
            [
                "2: [prepare]: `impute` must be \"median\", \"mean\" or a finite number, not the string \"mode\"",
                "3: [prepare]: `winsorise` must be two quantiles, 0 ≤ low < high ≤ 1, not [0.9, 0.1]",
                "4: [prepare]: `log1p` must be \"auto\", \"none\" or a list of features, not the number 3",
                "5: [prepare]: `scale` must be one of z-score, min-max, not \"minmax\"; did you mean `min-max`?",
                "7: [cluster]: `k_min` must be at least 2, not 1",
                "8: [cluster]: `k_max` must be at least `k_min`, 1, not 0",
                "9: [cluster]: unknown key `resample`; did you mean `resamples`?",
                "11: [names]: `01` must be the id of a segment: 0, 1, …",
                "13: [names]: `2` is named `b`, as segment 1 is; names must differ",
                "14: unknown key `retrian`; did you mean `retrain`?",
            ]
        );
        assert_eq!(problems("[read]\nid = \n").len(), 1);
    }
}
