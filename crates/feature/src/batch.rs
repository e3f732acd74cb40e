//! The features of a request: dense rows, typed columns, or both.
//!
//! A problem of the whole batch (lengths, names, texts for numeric features) fails the batch. A value that its
//! feature cannot have is a fault of its row alone. Start reading at [`FeatureBatch::bind`].

mod faults;

use faults::{Fault, Faults};

use super::{Entity, FeatureSchema, FeatureType, Names, ValueRef};

/// A batch as sent, before it is checked against a schema. Row `i` is customer `i`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FeatureBatch {
    /// The number of rows, whether or not there are columns.
    pub rows: usize,
    /// Names of the dense columns.
    pub dense_names: Names,
    /// `rows × dense_names`, row-major; NaN is a missing value.
    pub dense_values: Vec<f32>,
    /// Typed columns.
    pub columns: Vec<Column>,
}

/// A typed column of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The feature's name.
    pub name: String,
    /// One value per row; the value of a null row is ignored.
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

    /// The value of a row, which must exist.
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

/// A problem that fails the whole batch.
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

/// How a feature of the schema that cannot be sent here is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misplaced {
    /// It fails the batch.
    Refused,
    /// It is ignored, like a name that the schema does not have.
    Ignored,
}

/// Where a feature's values are in a batch, and the type to convert them to.
#[derive(Debug, Clone, Copy)]
enum Place {
    Dense(usize, FeatureType),
    Column(usize, FeatureType),
}

/// A batch that fits a schema: values by entity and position.
#[derive(Debug)]
pub struct BoundBatch {
    batch: FeatureBatch,
    /// One place per feature of each entity; empty if the batch may not contain the entity.
    customer: Vec<Option<Place>>,
    context: Vec<Option<Place>>,
    offer: Vec<Option<Place>>,
    nulls: Vec<Vec<bool>>,
    unknown: Vec<String>,
    faults: Faults,
}

impl FeatureBatch {
    /// Checks the batch against `schema`. A number or bool is accepted for another numeric type that has the same
    /// value ([`ValueRef::cast`]). Names that the schema does not have (any more) are ignored and listed by
    /// [`BoundBatch::unknown`].
    ///
    /// # Errors
    /// The first problem found, one of:
    ///
    /// - a wrong length, or a null row beyond the batch,
    /// - a name of an entity outside `entities`, unless those are ignored,
    /// - a duplicate name,
    /// - text for a numeric feature, or numbers for a text feature.
    pub fn bind(
        self,
        schema: &FeatureSchema,
        entities: &[Entity],
        misplaced: Misplaced,
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
            let Some((feature_type, place)) = bound.place(schema, entities, name, misplaced, &field)? else {
                all_floats = false;
                continue;
            };
            if !feature_type.is_numeric() {
                let message =
                    format!("feature `{name}` is of type {feature_type}; send it as a typed column");
                return Err(BatchError::new(field(), message));
            }
            *place = Some(Place::Dense(index, feature_type));
            all_floats &= feature_type == FeatureType::Float;
        }
        // One branchless pass comes first: nearly every batch is valid.
        if !all_floats || self.dense_values.iter().any(|value| value.is_infinite()) {
            self.check_dense(schema, entities, &mut bound.faults);
        }
        for (index, column) in self.columns.iter().enumerate() {
            let name = &column.name;
            let field = || format!("columns[{index}].name");
            let nulls = column.nulls(index, self.rows)?;
            if let Some((feature_type, place)) = bound.place(schema, entities, name, misplaced, &field)? {
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

    /// Records the first value of each row that its feature cannot have.
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
    /// The null rows as a mask, empty if there are none.
    ///
    /// # Errors
    /// A number of values other than the number of rows, or a null row beyond them.
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

    /// Records the rows with a value that the feature cannot have.
    fn check(&self, index: usize, wanted: FeatureType, nulls: &[bool], rows: usize, faults: &mut Faults) {
        // Every value of these types is valid for the feature.
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

    /// The names and values of the dense part as sent (`rows × names`, row-major), if the batch has no columns. A
    /// model may be able to read them in place.
    #[must_use]
    pub fn dense_only(&self) -> Option<(&Names, &[f32])> {
        self.batch.columns.is_empty().then_some((&self.batch.dense_names, &self.batch.dense_values))
    }

    /// Whether the batch has any feature of the entity.
    #[must_use]
    pub fn has_any(&self, entity: Entity) -> bool {
        self.places(entity).iter().any(Option::is_some)
    }

    /// The value of a feature in a row; missing if the batch does not have it.
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

    /// The first fault among the values of a row. A row with a fault must not be decided or scored.
    #[must_use]
    pub fn fault(&self, row: usize) -> Option<BatchError> {
        self.faults.of(row).map(|fault| fault.describe(&self.batch, row))
    }

    /// Whether any row of the batch has a fault.
    #[must_use]
    pub fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// The ignored names, in the order in which they were sent.
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

    /// The type of a feature, and the place to fill in, which is still empty. `None` for an ignored name.
    fn place(
        &mut self,
        schema: &FeatureSchema,
        entities: &[Entity],
        name: &str,
        misplaced: Misplaced,
        field: &dyn Fn() -> String,
    ) -> Result<Option<(FeatureType, &mut Option<Place>)>, BatchError> {
        let found = schema.find(name);
        let Some((entity, index)) = found.filter(|(entity, _)| entities.contains(entity)) else {
            let Some((entity, _)) = found.filter(|_| misplaced == Misplaced::Refused) else {
                self.unknown.push(name.to_owned());
                return Ok(None);
            };
            let message = format!("`{name}` is a feature of the {entity}, which cannot be sent here");
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
    use crate::Feature;

    fn schema() -> FeatureSchema {
        let feature = |name: &str, feature_type, entity| Feature::new(name, feature_type, entity);
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
        let bound = batch.bind(&schema, &[Entity::Customer], Misplaced::Refused).unwrap();
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
        let bound = batch.bind(&schema, &[Entity::Customer], Misplaced::Refused).unwrap();
        assert!(bound.has_faults());
        let message = |row| bound.fault(row).unwrap().to_string();
        assert_eq!(
            message(0),
            "dense.values[1]: row 0 of feature `tenure` is 6.5; it must be a whole number of 64 bits"
        );
        // The first fault of the row; its further faults do not matter.
        assert_eq!(
            message(1),
            "dense.values[2]: row 1 of feature `balance` is inf; it must be finite or NaN (missing)"
        );
        assert_eq!(bound.value(Entity::Customer, 3, 0), ValueRef::Missing);
        assert_eq!(bound.value(Entity::Customer, 3, 1), ValueRef::Int(7));
    }

    #[test]
    fn unknown_names_are_ignored_and_misplaced_ones_if_asked() {
        let mut with_unknown = batch();
        with_unknown.dense_names = ["balance", "gone"].into_iter().collect();
        with_unknown.dense_values[1] = f32::INFINITY;
        with_unknown.columns[0].name = "fee".to_owned();
        let bound = with_unknown.bind(&schema(), &[Entity::Customer], Misplaced::Ignored).unwrap();
        assert_eq!(bound.unknown(), ["gone", "fee"]);
        assert!(!bound.has_faults(), "ignored columns are not checked");
        assert_eq!(bound.value(Entity::Customer, 0, 0), ValueRef::Float(1.5));
        assert_eq!(bound.value(Entity::Customer, 2, 0), ValueRef::Missing);
    }

    proptest! {
        #[test]
        fn a_cast_value_keeps_its_meaning_or_is_none(
            number in any::<i64>(), small in -3..3_i64, float in any::<f32>(),
        ) {
            for int in [number, small] {
                let as_bool = ValueRef::Int(int).cast(FeatureType::Bool);
                let expected = [ValueRef::Bool(false), ValueRef::Bool(true)];
                prop_assert_eq!(as_bool, expected.get(usize::try_from(int).unwrap_or(9)).copied());
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
        batch.bind(&schema(), &[Entity::Customer], Misplaced::Refused).unwrap_err()
    }

    #[test]
    fn each_mistake_names_its_field() {
        let named = |second| ["balance", second].into_iter().collect();
        assert_eq!(refused(|batch| batch.rows = 3).field, "dense.values");
        assert_eq!(refused(|batch| batch.rows = usize::MAX).field, "dense.values");
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
