//! The features of a request: dense rows, typed columns, or both.
//!
//! What concerns the whole batch (lengths, names, texts where numbers belong) fails it; a value that its feature cannot have is the
//! fault of its row alone. Start reading at [`FeatureBatch::bind`].

mod faults;

use faults::{Fault, Faults};

use super::{Entity, FeatureSchema, FeatureType, Names, ValueRef};

/// A batch as it was sent, before it is held against a schema. Row `i` is customer `i`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FeatureBatch {
    /// The number of rows, whatever columns there are.
    pub rows: usize,
    /// Names of the dense columns.
    pub dense_names: Names,
    /// `rows × dense_names`, row-major; NaN is a missing value.
    pub dense_values: Vec<f32>,
    /// Columns with a type of their own.
    pub columns: Vec<Column>,
}

/// A typed column of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The feature's name.
    pub name: String,
    /// One value per row; the value of a null row means nothing.
    pub values: ColumnValues,
    /// Rows without a value, in any order.
    pub null_rows: Vec<u32>,
}

/// The values of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnValues {
    /// For float features; NaN is a missing value.
    Floats(Vec<f32>),
    /// For int features.
    Ints(Vec<i64>),
    /// For string features.
    Strings(Vec<String>),
    /// For bool features.
    Bools(Vec<bool>),
}

impl ColumnValues {
    fn len(&self) -> usize {
        match self {
            Self::Floats(values) => values.len(),
            Self::Ints(values) => values.len(),
            Self::Strings(values) => values.len(),
            Self::Bools(values) => values.len(),
        }
    }

    /// The value of a row, which must be one of them.
    fn value(&self, row: usize) -> ValueRef<'_> {
        match self {
            Self::Floats(values) if values[row].is_nan() => ValueRef::Missing,
            Self::Floats(values) => ValueRef::Float(values[row]),
            Self::Ints(values) => ValueRef::Int(values[row]),
            Self::Strings(values) => ValueRef::String(&values[row]),
            Self::Bools(values) => ValueRef::Bool(values[row]),
        }
    }

    fn feature_type(&self) -> FeatureType {
        match self {
            Self::Floats(_) => FeatureType::Float,
            Self::Ints(_) => FeatureType::Int,
            Self::Strings(_) => FeatureType::String,
            Self::Bools(_) => FeatureType::Bool,
        }
    }
}

/// What is wrong with a batch; it fails the whole call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct BatchError {
    /// The path of the field within the batch (`columns[3].name`).
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl BatchError {
    fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// What becomes of a name that no feature of the schema has, or one that cannot be sent here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownNames {
    /// It fails the batch.
    Refused,
    /// Its values are not looked at; [`BoundBatch::unknown`] names it.
    Ignored,
}

/// Where a feature's values are in a batch, and what type they become.
#[derive(Debug, Clone, Copy)]
enum Place {
    Dense(usize, FeatureType),
    Column(usize, FeatureType),
}

/// A batch that fits a schema: values by entity and position.
#[derive(Debug)]
pub struct BoundBatch {
    batch: FeatureBatch,
    /// Of the features of each entity; empty where the batch may not have any.
    customer: Vec<Option<Place>>,
    context: Vec<Option<Place>>,
    offer: Vec<Option<Place>>,
    nulls: Vec<Vec<bool>>,
    unknown: Vec<String>,
    faults: Faults,
}

impl FeatureBatch {
    /// Holds the batch against `schema`. A number or a bool is taken for a feature of another numeric type where that has such
    /// a value ([`ValueRef::cast`]).
    ///
    /// # Errors
    /// The first of: a length that does not fit, a name that is unknown or belongs to an entity outside `entities` (unless
    /// those are ignored), one that comes twice, text where numbers belong or numbers where text does, a null row beyond the
    /// batch.
    pub fn bind(
        self,
        schema: &FeatureSchema,
        entities: &[Entity],
        unknown: UnknownNames,
    ) -> Result<BoundBatch, BatchError> {
        let places = |entity| {
            let features = if entities.contains(&entity) { schema.of(entity).len() } else { 0 };
            vec![None; features]
        };
        let mut bound = BoundBatch {
            batch: Self::default(),
            customer: places(Entity::Customer),
            context: places(Entity::Context),
            offer: places(Entity::Offer),
            nulls: Vec::with_capacity(self.columns.len()),
            unknown: Vec::new(),
            faults: Faults::default(),
        };
        let cells = self.rows.checked_mul(self.dense_names.len());
        if cells != Some(self.dense_values.len()) {
            return Err(BatchError::new(
                "dense.values",
                format!(
                    "{} values, but {} rows × {} names need {}",
                    self.dense_values.len(),
                    self.rows,
                    self.dense_names.len(),
                    cells.map_or_else(|| "more than can be counted".to_owned(), |cells| cells.to_string()),
                ),
            ));
        }
        let mut all_floats = true;
        for (index, name) in self.dense_names.iter().enumerate() {
            let field = || format!("dense.names[{index}]");
            let Some((feature_type, place)) = bound.place(schema, entities, name, unknown, &field)? else {
                all_floats = false;
                continue;
            };
            if !feature_type.is_numeric() {
                let message = format!("feature `{name}` is a {feature_type}; send it as a column of its own");
                return Err(BatchError::new(field(), message));
            }
            *place = Some(Place::Dense(index, feature_type));
            all_floats &= feature_type == FeatureType::Float;
        }
        // One pass without branches first: nearly every batch is sound.
        if !all_floats || self.dense_values.iter().any(|value| value.is_infinite()) {
            self.check_dense(schema, entities, &mut bound.faults);
        }
        for (index, column) in self.columns.iter().enumerate() {
            let name = &column.name;
            let field = || format!("columns[{index}].name");
            let nulls = column.nulls(index, self.rows)?;
            if let Some((feature_type, place)) = bound.place(schema, entities, name, unknown, &field)? {
                let sent = column.values.feature_type();
                if sent.is_numeric() != feature_type.is_numeric() {
                    let message = format!("feature `{name}` is of type {feature_type}, not {sent}");
                    return Err(BatchError::new(column_field(index, &column.values), message));
                }
                *place = Some(Place::Column(index, feature_type));
                column.check(index, feature_type, &nulls, self.rows, &mut bound.faults);
            }
            bound.nulls.push(nulls);
        }
        bound.batch = self;
        Ok(bound)
    }

    /// Notes the first value of each row that its feature cannot have.
    fn check_dense(&self, schema: &FeatureSchema, entities: &[Entity], faults: &mut Faults) {
        let width = self.dense_names.len();
        let feature_type = |name| {
            let (entity, index) = schema.find(name)?;
            entities.contains(&entity).then(|| schema.of(entity)[index].feature_type)
        };
        let types: Vec<Option<FeatureType>> = self.dense_names.iter().map(feature_type).collect();
        for (index, value) in self.dense_values.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
            let Some(wanted) = types[index % width] else { continue };
            if ValueRef::Float(*value).cast(wanted).is_none() {
                faults.add(index / width, self.rows, Fault::Dense { column: index % width, wanted });
            }
        }
    }
}

impl Column {
    /// The null rows as a mask, empty where there are none.
    ///
    /// # Errors
    /// Another number of values than rows, a null row beyond them.
    fn nulls(&self, index: usize, rows: usize) -> Result<Vec<bool>, BatchError> {
        if self.values.len() != rows {
            return Err(BatchError::new(
                column_field(index, &self.values),
                format!("{} values for {rows} rows", self.values.len()),
            ));
        }
        let mut mask = vec![false; if self.null_rows.is_empty() { 0 } else { rows }];
        for row in &self.null_rows {
            let Some(slot) = mask.get_mut(*row as usize) else {
                return Err(BatchError::new(
                    format!("columns[{index}].null_rows"),
                    format!("row {row} is beyond the {rows} rows of the batch"),
                ));
            };
            *slot = true;
        }
        Ok(mask)
    }

    /// Notes the rows whose value the feature cannot have.
    fn check(&self, index: usize, wanted: FeatureType, nulls: &[bool], rows: usize, faults: &mut Faults) {
        // Every value of these is one of the feature.
        if self.values.feature_type() == wanted && wanted != FeatureType::Float {
            return;
        }
        for row in 0..rows {
            let is_null = nulls.get(row).is_some_and(|null| *null);
            if !is_null && self.values.value(row).cast(wanted).is_none() {
                faults.add(row, rows, Fault::Column { column: index, wanted });
            }
        }
    }
}

fn column_field(index: usize, values: &ColumnValues) -> String {
    let kind = match values {
        ColumnValues::Floats(_) => "floats",
        ColumnValues::Ints(_) => "int64s",
        ColumnValues::Strings(_) => "strings",
        ColumnValues::Bools(_) => "bools",
    };
    format!("columns[{index}].{kind}")
}

impl BoundBatch {
    /// The number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.batch.rows
    }

    /// The names and values of the dense part as they were sent (`rows × names`, row-major), if the batch has nothing else:
    /// a model may be able to read them in place.
    #[must_use]
    pub fn dense_only(&self) -> Option<(&Names, &[f32])> {
        self.batch.columns.is_empty().then_some((&self.batch.dense_names, &self.batch.dense_values))
    }

    /// Whether the batch has a feature of the entity.
    #[must_use]
    pub fn has_any(&self, entity: Entity) -> bool {
        self.places(entity).iter().any(Option::is_some)
    }

    /// The value of a feature in a row, missing where the batch does not have it.
    #[must_use]
    pub fn value(&self, entity: Entity, index: usize, row: usize) -> ValueRef<'_> {
        match self.places(entity).get(index).copied().flatten() {
            None => ValueRef::Missing,
            Some(Place::Dense(column, feature_type)) => {
                let value = self.batch.dense_values[row * self.batch.dense_names.len() + column];
                match feature_type {
                    // An infinite value is a fault of its row.
                    _ if !value.is_finite() => ValueRef::Missing,
                    FeatureType::Int => ValueRef::Int(value as i64),
                    FeatureType::Bool => ValueRef::Bool(value != 0.0),
                    FeatureType::Float | FeatureType::String => ValueRef::Float(value),
                }
            }
            Some(Place::Column(column, feature_type)) => {
                if self.nulls[column].get(row).copied().unwrap_or(false) {
                    return ValueRef::Missing;
                }
                let value = self.batch.columns[column].values.value(row);
                value.cast(feature_type).unwrap_or(ValueRef::Missing)
            }
        }
    }

    /// What is wrong with the values of a row, the first of it. Such a row must not be decided or scored.
    #[must_use]
    pub fn fault(&self, row: usize) -> Option<BatchError> {
        self.faults.of(row).map(|fault| fault.describe(&self.batch, row))
    }

    /// Whether a row of the batch has a fault.
    #[must_use]
    pub fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Names that were ignored, in the order in which they came.
    #[must_use]
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    fn places(&self, entity: Entity) -> &[Option<Place>] {
        match entity {
            Entity::Customer => &self.customer,
            Entity::Offer => &self.offer,
            Entity::Context => &self.context,
        }
    }

    /// The type of a feature, and where to note its place; it has none yet. `None` for a name that is ignored.
    fn place(
        &mut self,
        schema: &FeatureSchema,
        entities: &[Entity],
        name: &str,
        unknown: UnknownNames,
        field: &dyn Fn() -> String,
    ) -> Result<Option<(FeatureType, &mut Option<Place>)>, BatchError> {
        let found = schema.find(name);
        let Some((entity, index)) = found.filter(|(entity, _)| entities.contains(entity)) else {
            if unknown == UnknownNames::Ignored {
                self.unknown.push(name.to_owned());
                return Ok(None);
            }
            let message = if let Some((entity, _)) = found {
                format!("`{name}` is a feature of the {entity}, which cannot be sent here")
            } else {
                let hint = schema.closest(name).map(|close| format!("; did you mean `{close}`?"));
                format!("the release has no feature `{name}`{}", hint.unwrap_or_default())
            };
            return Err(BatchError::new(field(), message));
        };
        let places = match entity {
            Entity::Customer => &mut self.customer,
            Entity::Offer => &mut self.offer,
            Entity::Context => &mut self.context,
        };
        let place = &mut places[index];
        if place.is_some() {
            return Err(BatchError::new(field(), format!("feature `{name}` comes twice")));
        }
        Ok(Some((schema.of(entity)[index].feature_type, place)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::feature::Feature;

    fn schema() -> FeatureSchema {
        let feature = |name: &str, feature_type, entity| Feature {
            name: name.to_owned(),
            feature_type,
            entity,
            default: None,
            range: None,
            values: Vec::new(),
            description: String::new(),
        };
        FeatureSchema::from_features([
            feature("balance", FeatureType::Float, Entity::Customer),
            feature("tenure", FeatureType::Int, Entity::Customer),
            feature("tier", FeatureType::String, Entity::Customer),
            feature("fee", FeatureType::Float, Entity::Offer),
        ])
    }

    fn batch() -> FeatureBatch {
        FeatureBatch {
            rows: 2,
            dense_names: ["balance", "tenure"].into_iter().collect(),
            dense_values: vec![1.5, 12.0, f32::NAN, 6.0],
            columns: vec![Column {
                name: "tier".into(),
                values: ColumnValues::Strings(vec!["gold".into(), String::new()]),
                null_rows: vec![1],
            }],
        }
    }

    #[test]
    fn values_are_found_by_entity_and_row() {
        let (schema, batch) = (schema(), batch());
        let bound = batch.bind(&schema, &[Entity::Customer], UnknownNames::Refused).unwrap();
        assert_eq!(bound.value(Entity::Customer, 0, 0), ValueRef::Float(1.5));
        assert_eq!(bound.value(Entity::Customer, 0, 1), ValueRef::Missing);
        assert_eq!(bound.value(Entity::Customer, 1, 1), ValueRef::Int(6));
        assert_eq!(bound.value(Entity::Customer, 2, 0), ValueRef::String("gold"));
        assert_eq!(bound.value(Entity::Customer, 2, 1), ValueRef::Missing);
    }

    #[test]
    fn a_value_that_a_feature_cannot_have_is_the_fault_of_its_row() {
        let mut batch = batch();
        batch.dense_values = vec![1.5, 6.5, f32::INFINITY, 0.5];
        batch.columns.push(Column {
            name: "visits".into(),
            values: ColumnValues::Floats(vec![f32::INFINITY, 7.0]),
            null_rows: vec![0],
        });
        let schema = FeatureSchema::from_features(
            [Entity::Customer, Entity::Offer].iter().flat_map(|entity| schema().of(*entity).to_vec()).chain(
                [Feature {
                    name: "visits".into(),
                    feature_type: FeatureType::Int,
                    ..schema().of(Entity::Customer)[0].clone()
                }],
            ),
        );
        let bound = batch.bind(&schema, &[Entity::Customer], UnknownNames::Refused).unwrap();
        assert!(bound.has_faults());
        let told = |row| bound.fault(row).unwrap().to_string();
        assert_eq!(
            told(0),
            "dense.values[1]: row 0 of feature `tenure` is 6.5; it must be a whole number of 64 bits"
        );
        // The first of the row; what it has of others does not matter.
        assert_eq!(
            told(1),
            "dense.values[2]: row 1 of feature `balance` is inf; it must be finite or NaN (missing)"
        );
        assert_eq!(bound.value(Entity::Customer, 3, 0), ValueRef::Missing);
        assert_eq!(bound.value(Entity::Customer, 3, 1), ValueRef::Int(7));
    }

    #[test]
    fn unknown_names_are_refused_or_passed_over() {
        let mut with_unknown = batch();
        with_unknown.dense_names = ["balance", "gone"].into_iter().collect();
        with_unknown.dense_values[1] = f32::INFINITY;
        with_unknown.columns[0].name = "fee".to_owned();
        let bound = with_unknown.bind(&schema(), &[Entity::Customer], UnknownNames::Ignored).unwrap();
        assert_eq!(bound.unknown(), ["gone", "fee"]);
        assert!(!bound.has_faults(), "nobody looks at them");
        assert_eq!(bound.value(Entity::Customer, 0, 0), ValueRef::Float(1.5));
        assert_eq!(bound.value(Entity::Customer, 2, 0), ValueRef::Missing);
    }

    proptest! {
        #[test]
        fn a_value_of_another_type_says_the_same_or_is_none(number in any::<i64>(), small in -3..3_i64, float in any::<f32>()) {
            for int in [number, small] {
                let as_bool = ValueRef::Int(int).cast(FeatureType::Bool);
                prop_assert_eq!(as_bool, [ValueRef::Bool(false), ValueRef::Bool(true)].get(usize::try_from(int).unwrap_or(9)).copied());
                prop_assert_eq!(ValueRef::Int(int).cast(FeatureType::Float), Some(ValueRef::Float(int as f32)));
                prop_assert_eq!(ValueRef::Int(int).cast(FeatureType::String), None);
            }
            let back = ValueRef::Float(float).cast(FeatureType::Int).map(|int| int.cast(FeatureType::Float));
            let whole = float.fract() == 0.0 && float.abs() < 9.0e18;
            prop_assert!(!whole || back == Some(Some(ValueRef::Float(float))));
            prop_assert!(whole || float.abs() >= 9.0e18 || back.is_none());
            prop_assert_eq!(ValueRef::Float(float).cast(FeatureType::Float).is_some(), float.is_finite());
        }
    }

    fn refused(change: impl FnOnce(&mut FeatureBatch)) -> BatchError {
        let mut batch = batch();
        change(&mut batch);
        batch.bind(&schema(), &[Entity::Customer], UnknownNames::Refused).unwrap_err()
    }

    #[test]
    fn each_mistake_names_its_field() {
        let named = |second| ["balance", second].into_iter().collect();
        assert_eq!(refused(|batch| batch.rows = 3).field, "dense.values");
        assert_eq!(refused(|batch| batch.rows = usize::MAX).field, "dense.values");
        assert_eq!(refused(|batch| batch.dense_names = named("tenor")).field, "dense.names[1]");
        assert_eq!(refused(|batch| batch.dense_names = named("balance")).field, "dense.names[1]");
        assert_eq!(refused(|batch| batch.dense_names = named("fee")).field, "dense.names[1]");
        assert_eq!(refused(|batch| batch.columns[0].null_rows[0] = 2).field, "columns[0].null_rows");
        let wrong_type = refused(|batch| batch.columns[0].values = ColumnValues::Ints(vec![1, 2]));
        assert_eq!(wrong_type.field, "columns[0].int64s");
        assert_eq!(wrong_type.message, "feature `tier` is of type string, not int");
        let short = refused(|batch| batch.columns[0].values = ColumnValues::Strings(vec![]));
        assert_eq!(short.field, "columns[0].strings");
    }
}
