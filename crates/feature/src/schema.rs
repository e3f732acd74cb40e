//! The feature schema: `features.toml`, checked.

use std::fmt;
use std::sync::Arc;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use toml::de::DeValue;

use super::{FeatureType, Value, ValueRef};
use document::{Document, FromToml, Problems, Table, closest, suggestion};

/// What a feature describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Entity {
    /// The customer: from the request, the store or the default.
    Customer,
    /// The offer: from `offers.toml` or the default.
    Offer,
    /// The call: from the request's context or the default.
    Context,
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Customer => "customer",
            Self::Offer => "offer",
            Self::Context => "context",
        })
    }
}

/// One feature.
#[derive(Debug, Clone, PartialEq)]
pub struct Feature {
    /// Unique in the schema, across entities.
    pub name: String,
    /// The type of its values.
    pub feature_type: FeatureType,
    /// What it describes.
    pub entity: Entity,
    /// Replaces a missing value; its use is listed in `degraded`.
    pub default: Option<Value>,
    /// The smallest and the largest expected value, both inclusive; numeric features only.
    pub range: Option<(f64, f64)>,
    /// The expected texts, sorted and distinct; string features only. If empty, any text is expected.
    pub values: Vec<Arc<str>>,
    /// Whether records of decisions hold its values encrypted or not at all; of customers and the context only.
    pub sensitive: bool,
    /// A description for people.
    pub description: String,
}

impl Feature {
    /// A feature without a default and without any restriction on its values.
    #[must_use]
    pub fn new(name: impl Into<String>, feature_type: FeatureType, entity: Entity) -> Self {
        Self {
            name: name.into(),
            feature_type,
            entity,
            default: None,
            range: None,
            values: Vec::new(),
            sensitive: false,
            description: String::new(),
        }
    }

    /// The default, or missing.
    #[must_use]
    pub fn default_ref(&self) -> ValueRef<'_> {
        ValueRef::from(&self.default)
    }

    /// Whether a known `value` is unexpected: a number outside the range, or a text that is not listed.
    #[must_use]
    pub fn is_out_of_range(&self, value: ValueRef<'_>) -> bool {
        if let ValueRef::String(text) = value {
            return !self.expects_text(text);
        }
        match (self.range, value) {
            // Compared as 32-bit floats, so that 0.3 is within a range that ends at 0.3.
            (Some((least, greatest)), ValueRef::Float(number)) => {
                number < least as f32 || number > greatest as f32
            }
            (Some((least, greatest)), value) => {
                value.as_f64().is_some_and(|number| number < least || number > greatest)
            }
            (None, _) => false,
        }
    }

    /// Whether `text` is listed, or no text is. Takes O(log values).
    fn expects_text(&self, text: &str) -> bool {
        self.values.is_empty() || self.values.binary_search_by(|known| (**known).cmp(text)).is_ok()
    }
}

/// Every feature of a release, by name and by entity.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FeatureSchema {
    customer: Vec<Feature>,
    offer: Vec<Feature>,
    context: Vec<Feature>,
    by_name: HashMap<String, (Entity, usize)>,
}

/// The most texts that a string feature can list. A feature with more is an id or free text, not a category.
const MAX_VALUES: usize = 10_000;

/// Names that features cannot have, because rules and models use them for something else.
const RESERVED: [&str; 2] = ["segment", "customer_id"];

/// Whether a customer feature may have this name.
#[must_use]
pub fn is_feature_name(name: &str) -> bool {
    is_identifier(name) && !RESERVED.contains(&name)
}

/// Letters, digits and _, not beginning with a digit.
fn is_identifier(name: &str) -> bool {
    name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}

/// The fields that rules read as `offer.<name>`. An offer feature cannot have such a name.
pub const OFFER_FIELDS: [&str; 5] = ["id", "category", "value", "cost", "weight"];

impl FeatureSchema {
    /// Reads `features.toml`. Problems carry `file` as the file's name.
    ///
    /// # Errors
    /// Every problem: a syntax error, an unknown type or entity, a duplicate name. Also a default of the wrong type,
    /// and a range that is empty or belongs to text.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let document = Document::parse(file, text)?;
        let root = document.root();
        let mut schema = Self::default();
        for table in root.tables("feature") {
            let feature = read_feature(&table);
            if schema.find(&feature.name).is_some() {
                table.problem_at(
                    "name",
                    "another feature has this name; names must be unique across entities",
                );
            } else {
                schema.add(feature);
            }
        }
        root.finish();
        if document.is_valid() && schema.by_name.is_empty() {
            root.problem("no [[feature]]: a release needs at least one");
        }
        drop(root);
        document.finish(schema)
    }

    /// Builds a schema from features with distinct names, for tests and generated releases.
    #[must_use]
    pub fn from_features(features: impl IntoIterator<Item = Feature>) -> Self {
        let mut schema = Self::default();
        for feature in features {
            schema.add(feature);
        }
        schema
    }

    /// The features of an entity in the order of the file, which is the order of the slices of a [`Row`](super::Row).
    #[must_use]
    pub fn of(&self, entity: Entity) -> &[Feature] {
        match entity {
            Entity::Customer => &self.customer,
            Entity::Offer => &self.offer,
            Entity::Context => &self.context,
        }
    }

    /// The entity of the feature called `name`, and the feature's position within it.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<(Entity, usize)> {
        self.by_name.get(name).copied()
    }

    /// The feature called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Feature> {
        self.find(name).map(|(entity, index)| &self.of(entity)[index])
    }

    /// The known name that `name` most likely means.
    #[must_use]
    pub fn closest(&self, name: &str) -> Option<&str> {
        let mut names: Vec<&str> = self.by_name.keys().map(String::as_str).collect();
        names.sort_unstable();
        closest(name, names)
    }

    fn add(&mut self, feature: Feature) {
        let features = match feature.entity {
            Entity::Customer => &mut self.customer,
            Entity::Offer => &mut self.offer,
            Entity::Context => &mut self.context,
        };
        self.by_name.insert(feature.name.clone(), (feature.entity, features.len()));
        features.push(feature);
    }
}

/// A TOML value of any type, before it is converted to its feature's type.
struct AnyValue(AnyKind);

enum AnyKind {
    Number(f64, Option<i64>),
    Text(String),
    Truth(bool),
}

impl FromToml for AnyValue {
    const EXPECTED: &'static str = "a finite number, a string, true or false";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        if let Some(text) = String::from_toml(value) {
            return Some(Self(AnyKind::Text(text)));
        }
        if let Some(truth) = bool::from_toml(value) {
            return Some(Self(AnyKind::Truth(truth)));
        }
        f64::from_toml(value).map(|number| Self(AnyKind::Number(number, i64::from_toml(value))))
    }
}

/// Reads the value of `key` as a feature of the given type. Returns `None` and records a problem if it does not fit.
///
/// Reads both the defaults in `features.toml` and the features of an offer.
pub fn read_value(table: &Table<'_, '_>, key: &str, feature_type: FeatureType) -> Option<Value> {
    let AnyValue(written) = table.optional(key)?;
    let value = match (feature_type, written) {
        (FeatureType::Float, AnyKind::Number(number, _)) => {
            Some(number as f32).filter(|value| value.is_finite()).map(Value::Float)
        }
        (FeatureType::Int, AnyKind::Number(_, whole)) => whole.map(Value::Int),
        (FeatureType::String, AnyKind::Text(text)) => Some(Value::String(text.into())),
        (FeatureType::Bool, AnyKind::Truth(truth)) => Some(Value::Bool(truth)),
        _ => None,
    };
    if value.is_none() {
        table.problem_at(key, format!("`{key}` must be of the feature's type, {feature_type}"));
    }
    value
}

fn read_feature(table: &Table<'_, '_>) -> Feature {
    let name: String = table.required("name");
    table.label(format!("feature `{name}`"));
    if !is_identifier(&name) && !name.is_empty() {
        table.problem_at("name", "`name` must be letters, digits and _, and must not begin with a digit");
    }
    if RESERVED.contains(&name.as_str()) {
        table.problem_at("name", format!("`{name}` is a reserved name; choose another name"));
    }
    let types = [
        ("float", FeatureType::Float),
        ("int", FeatureType::Int),
        ("string", FeatureType::String),
        ("bool", FeatureType::Bool),
    ];
    let entities = [("customer", Entity::Customer), ("offer", Entity::Offer), ("context", Entity::Context)];
    if !table.has("type") {
        table.problem("`type` is missing; give it float, int, string or bool");
    }
    if !table.has("entity") {
        table.problem("`entity` is missing; give it customer, offer or context");
    }
    let feature_type = table.choice("type", &types).unwrap_or(FeatureType::Float);
    let entity = table.choice("entity", &entities).unwrap_or(Entity::Customer);
    if entity == Entity::Offer && OFFER_FIELDS.contains(&name.as_str()) {
        table.problem_at("name", format!("every offer has a field `{name}`; choose another name"));
    }
    let default = read_value(table, "default", feature_type);
    let range = table.optional::<Vec<f64>>("range").and_then(|bounds| match bounds[..] {
        [least, greatest] if least <= greatest => Some((least, greatest)),
        _ => {
            table.problem_at("range", "`range` must be [least, greatest]");
            None
        }
    });
    if range.is_some() && !matches!(feature_type, FeatureType::Float | FeatureType::Int) {
        table.problem_at(
            "range",
            format!("only numbers have a `range`, and this is of type {feature_type}; remove it"),
        );
    }
    let values = read_values(table, feature_type);
    // A server from before this key refuses the release that has it: it would record the values in the clear.
    let sensitive = table.or("sensitive", false);
    if sensitive && entity == Entity::Offer {
        table.problem_at(
            "sensitive",
            "only features of customers and of the context are `sensitive`: values of offers are not recorded; \
             remove it",
        );
    }
    let description = table.or("description", String::new());
    table.finish();
    let feature = Feature { name, feature_type, entity, default, range, values, sensitive, description };
    let default = feature.default_ref();
    if feature.is_out_of_range(default) {
        if let ValueRef::String(text) = default {
            let hint = suggestion(text, feature.values.iter().map(|value| &**value));
            table.problem_at("default", format!("`default` must be one of `values`, not {text:?}{hint}"));
        } else {
            table.problem_at("default", "`default` lies outside `range`");
        }
    }
    feature
}

/// The texts of `values`, sorted; empty if the key is absent or invalid.
fn read_values(table: &Table<'_, '_>, feature_type: FeatureType) -> Vec<Arc<str>> {
    if feature_type != FeatureType::String && table.has("values") {
        let message = format!("only texts have `values`, and this is of type {feature_type}; remove it");
        table.problem_at("values", message);
        return Vec::new();
    }
    let Some(listed) = table.optional::<Vec<String>>("values") else { return Vec::new() };
    if listed.is_empty() {
        table.problem_at("values", "`values` must list at least one text, or be left out");
    }
    if listed.len() > MAX_VALUES {
        let message = format!(
            "`values` lists {} texts, more than {MAX_VALUES}; leave it out for free text",
            listed.len()
        );
        table.problem_at("values", message);
        return Vec::new();
    }
    let mut values: Vec<Arc<str>> = listed.into_iter().map(Arc::from).collect();
    values.sort_unstable();
    for pair in values.windows(2).filter(|pair| pair[0] == pair[1]) {
        table.problem_at("values", format!("{:?} comes twice in `values`", pair[0]));
    }
    values.dedup();
    values
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VALID: &str = r#"
[[feature]]
name = "balance"
type = "float"
entity = "customer"
default = 10
range = [0, 100]
description = "Balance, in the card's currency"

[[feature]]
name = "hour"
type = "int"
entity = "context"

[[feature]]
name = "fee"
type = "float"
entity = "offer"
default = 0.5
"#;

    #[test]
    fn a_schema_knows_its_features_by_name_and_entity() {
        let schema = FeatureSchema::parse("features.toml", VALID).unwrap();
        assert_eq!(schema.find("hour"), Some((Entity::Context, 0)));
        assert_eq!(schema.get("balance").unwrap().default, Some(Value::Float(10.0)));
        assert_eq!(schema.of(Entity::Offer)[0].name, "fee");
        assert_eq!(schema.closest("balanse"), Some("balance"));
        assert!(schema.get("balance").unwrap().is_out_of_range(ValueRef::Float(101.0)));
        assert!(!schema.get("balance").unwrap().is_out_of_range(ValueRef::Missing));
        let tenths =
            FeatureSchema::parse("features.toml", &VALID.replace("[0, 100]", "[0.1, 10.3]")).unwrap();
        let balance = tenths.get("balance").unwrap();
        assert!([0.1_f32, 10.3].iter().all(|end| !balance.is_out_of_range(ValueRef::Float(*end))));
    }

    fn problems(text: &str) -> String {
        FeatureSchema::parse("features.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn problems_are_named_with_their_line() {
        let text = VALID.replace("\"int\"", "\"integer\"").replace("default = 0.5", "default = 'x'");
        let found = problems(&text);
        assert!(found.contains("features.toml:12: feature `hour`: `type` must be one of"), "{found}");
        assert!(found.contains("feature `fee`: `default` must be of the feature's type, float"), "{found}");
        let twice = problems(&VALID.replace("hour", "balance"));
        assert!(twice.contains("names must be unique"), "{twice}");
        assert!(problems("").contains("no [[feature]]"));
        assert!(problems(&VALID.replace("[0, 100]", "[20, 100]")).contains("outside `range`"));
        assert!(problems(&VALID.replace("\"fee\"", "\"value\"")).contains("field `value`"));
    }

    #[test]
    fn a_string_feature_lists_its_values() {
        let text =
            "[[feature]]\nname = 'plan'\ntype = 'string'\nentity = 'customer'\nvalues = ['c', 'a', 'b']\n";
        let schema = FeatureSchema::parse("features.toml", &format!("{text}default = 'b'")).unwrap();
        let plan = schema.get("plan").unwrap();
        assert_eq!(plan.values.iter().map(|value| &**value).collect::<Vec<_>>(), ["a", "b", "c"]);
        for (value, out) in [("a", false), ("c", false), ("d", true), ("", true), ("A", true)] {
            assert_eq!(plan.is_out_of_range(ValueRef::String(value)), out, "{value}");
        }
        assert!(!plan.is_out_of_range(ValueRef::Missing));
        let default = problems(&format!("{text}default = 'bb'"));
        assert!(default.contains("`default` must be one of `values`, not \"bb\""), "{default}");
        let listed = |values: &str| problems(&text.replace("['c', 'a', 'b']", values));
        assert!(listed("[]").contains("at least one text"));
        assert!(listed("['a', 'b', 'a']").contains("\"a\" comes twice"));
        assert!(listed("['a', 1]").contains("`values` must be"));
        let many: Vec<String> = (0..=MAX_VALUES).map(|at| format!("'{at}'")).collect();
        assert!(listed(&format!("[{}]", many.join(", "))).contains("10001 texts"));
        let number = problems(&VALID.replace("range = [0, 100]", "values = ['a']"));
        assert!(number.contains("only texts have `values`, and this is of type float"), "{number}");
    }

    #[test]
    fn features_of_customers_and_of_the_context_can_be_sensitive() {
        let sensitive = |name: &str, word: &str| {
            VALID.replace(&format!("name = \"{name}\""), &format!("name = \"{name}\"\nsensitive = {word}"))
        };
        for name in ["balance", "hour"] {
            let schema = FeatureSchema::parse("features.toml", &sensitive(name, "true")).unwrap();
            let marked = |entity| schema.of(entity).iter().filter(|feature| feature.sensitive).count();
            assert!(schema.get(name).unwrap().sensitive);
            assert_eq!(
                [Entity::Customer, Entity::Offer, Entity::Context].map(marked).iter().sum::<usize>(),
                1
            );
        }
        assert!(FeatureSchema::parse("features.toml", &sensitive("fee", "false")).is_ok());
        let offer = problems(&sensitive("fee", "true"));
        assert!(offer.starts_with("features.toml:17: feature `fee`: only features of customers"), "{offer}");
        let word = problems(&sensitive("hour", "\"yes\""));
        assert!(word.contains("`sensitive` must be true or false, not the string \"yes\""), "{word}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            let _ = FeatureSchema::parse("features.toml", &String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn a_damaged_schema_is_refused_or_its_names_are_still_unique(
            at in any::<prop::sample::Index>(), put in "\\PC{0,4}", gone in 0_usize..12,
        ) {
            let at = at.index(VALID.len());
            let end = (at + gone).min(VALID.len());
            // A person types UTF-8, and the text around it is ASCII.
            let text = format!("{}{put}{}", &VALID[..at], &VALID[end..]);
            if let Ok(schema) = FeatureSchema::parse("features.toml", &text) {
                for entity in [Entity::Customer, Entity::Offer, Entity::Context] {
                    for (index, feature) in schema.of(entity).iter().enumerate() {
                        prop_assert_eq!(schema.find(&feature.name), Some((entity, index)));
                    }
                }
            }
        }
    }
}
