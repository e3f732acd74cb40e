//! The features of a request: dense rows, typed columns, or both.

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

/// Where a feature's values are in a batch.
#[derive(Debug, Clone, Copy)]
enum Place {
    Dense(usize, FeatureType),
    Column(usize),
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
}

impl FeatureBatch {
    /// Holds the batch against `schema`.
    ///
    /// # Errors
    /// The first of: a length that does not fit, a name that is unknown, belongs to an entity outside `entities` or comes
    /// twice, another type than the feature's, an infinite value, a null row beyond the batch.
    pub fn bind(self, schema: &FeatureSchema, entities: &[Entity]) -> Result<BoundBatch, BatchError> {
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
            let (feature_type, place) = bound.place(schema, entities, name, &field)?;
            if !feature_type.is_numeric() {
                let message = format!("feature `{name}` is a {feature_type}; send it as a column of its own");
                return Err(BatchError::new(field(), message));
            }
            *place = Some(Place::Dense(index, feature_type));
            all_floats &= feature_type == FeatureType::Float;
        }
        // One pass without branches first: nearly every batch is sound.
        if !all_floats || self.dense_values.iter().any(|value| value.is_infinite()) {
            self.check_dense(schema)?;
        }
        for (index, column) in self.columns.iter().enumerate() {
            let name = &column.name;
            let field = || format!("columns[{index}].name");
            let (feature_type, place) = bound.place(schema, entities, name, &field)?;
            if column.values.feature_type() != feature_type {
                let (field, sent) = (column_field(index, &column.values), column.values.feature_type());
                let message = format!("feature `{name}` is of type {feature_type}, not {sent}");
                return Err(BatchError::new(field, message));
            }
            *place = Some(Place::Column(index));
            bound.nulls.push(column.check(index, self.rows)?);
        }
        bound.batch = self;
        Ok(bound)
    }

    fn check_dense(&self, schema: &FeatureSchema) -> Result<(), BatchError> {
        let width = self.dense_names.len();
        let feature_type = |name| schema.get(name).map_or(FeatureType::Float, |feature| feature.feature_type);
        let types: Vec<FeatureType> = self.dense_names.iter().map(feature_type).collect();
        for (index, value) in self.dense_values.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
            let (row, column) = (index / width, index % width);
            let wanted = match types[column] {
                // Beyond 64 bits every float is whole, and none of them is the number that was meant.
                FeatureType::Int if value.fract() != 0.0 || value.abs() >= 9.223_372e18 => {
                    "a whole number of 64 bits"
                }
                FeatureType::Bool if !(*value == 0.0 || (*value - 1.0).abs() == 0.0) => "0 or 1",
                FeatureType::Float | FeatureType::Int | FeatureType::Bool | FeatureType::String
                    if value.is_infinite() =>
                {
                    "finite or NaN (missing)"
                }
                FeatureType::Float | FeatureType::Int | FeatureType::Bool | FeatureType::String => continue,
            };
            let name = &self.dense_names[column];
            return Err(BatchError::new(
                format!("dense.values[{index}]"),
                format!("row {row} of feature `{name}` is {value}; it must be {wanted}"),
            ));
        }
        Ok(())
    }
}

impl Column {
    /// The null rows as a mask, empty where there are none.
    fn check(&self, index: usize, rows: usize) -> Result<Vec<bool>, BatchError> {
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
        if let ColumnValues::Floats(values) = &self.values
            && let Some(row) =
                (0..rows).find(|row| values[*row].is_infinite() && !mask.get(*row).is_some_and(|null| *null))
        {
            return Err(BatchError::new(
                format!("{}[{row}]", column_field(index, &self.values)),
                format!("row {row} of feature `{}` is infinite", self.name),
            ));
        }
        Ok(mask)
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
                    _ if value.is_nan() => ValueRef::Missing,
                    FeatureType::Int => ValueRef::Int(value as i64),
                    FeatureType::Bool => ValueRef::Bool(value != 0.0),
                    FeatureType::Float | FeatureType::String => ValueRef::Float(value),
                }
            }
            Some(Place::Column(column)) => {
                if self.nulls[column].get(row).copied().unwrap_or(false) {
                    return ValueRef::Missing;
                }
                match &self.batch.columns[column].values {
                    ColumnValues::Floats(values) if values[row].is_nan() => ValueRef::Missing,
                    ColumnValues::Floats(values) => ValueRef::Float(values[row]),
                    ColumnValues::Ints(values) => ValueRef::Int(values[row]),
                    ColumnValues::Strings(values) => ValueRef::String(&values[row]),
                    ColumnValues::Bools(values) => ValueRef::Bool(values[row]),
                }
            }
        }
    }

    fn places(&self, entity: Entity) -> &[Option<Place>] {
        match entity {
            Entity::Customer => &self.customer,
            Entity::Offer => &self.offer,
            Entity::Context => &self.context,
        }
    }

    /// The type of a feature, and where to note its place; it has none yet.
    fn place(
        &mut self,
        schema: &FeatureSchema,
        entities: &[Entity],
        name: &str,
        field: &dyn Fn() -> String,
    ) -> Result<(FeatureType, &mut Option<Place>), BatchError> {
        let Some((entity, index)) = schema.find(name) else {
            let hint = schema.closest(name).map(|close| format!("; did you mean `{close}`?"));
            return Err(BatchError::new(
                field(),
                format!("the release has no feature `{name}`{}", hint.unwrap_or_default()),
            ));
        };
        if !entities.contains(&entity) {
            let message = format!("`{name}` is a feature of the {entity}, which cannot be sent here");
            return Err(BatchError::new(field(), message));
        }
        let places = match entity {
            Entity::Customer => &mut self.customer,
            Entity::Offer => &mut self.offer,
            Entity::Context => &mut self.context,
        };
        let place = &mut places[index];
        if place.is_some() {
            return Err(BatchError::new(field(), format!("feature `{name}` comes twice")));
        }
        Ok((schema.of(entity)[index].feature_type, place))
    }
}

#[cfg(test)]
mod tests {
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
        let bound = batch.bind(&schema, &[Entity::Customer]).unwrap();
        assert_eq!(bound.value(Entity::Customer, 0, 0), ValueRef::Float(1.5));
        assert_eq!(bound.value(Entity::Customer, 0, 1), ValueRef::Missing);
        assert_eq!(bound.value(Entity::Customer, 1, 1), ValueRef::Int(6));
        assert_eq!(bound.value(Entity::Customer, 2, 0), ValueRef::String("gold"));
        assert_eq!(bound.value(Entity::Customer, 2, 1), ValueRef::Missing);
    }

    fn refused(change: impl FnOnce(&mut FeatureBatch)) -> BatchError {
        let mut batch = batch();
        change(&mut batch);
        batch.bind(&schema(), &[Entity::Customer]).unwrap_err()
    }

    #[test]
    fn each_mistake_names_its_field() {
        let named = |second| ["balance", second].into_iter().collect();
        assert_eq!(refused(|batch| batch.rows = 3).field, "dense.values");
        assert_eq!(refused(|batch| batch.rows = usize::MAX).field, "dense.values");
        assert_eq!(refused(|batch| batch.dense_names = named("tenor")).field, "dense.names[1]");
        assert_eq!(refused(|batch| batch.dense_names = named("balance")).field, "dense.names[1]");
        assert_eq!(refused(|batch| batch.dense_names = named("fee")).field, "dense.names[1]");
        assert_eq!(refused(|batch| batch.dense_values[3] = 6.5).field, "dense.values[3]");
        assert_eq!(refused(|batch| batch.dense_values[2] = f32::INFINITY).field, "dense.values[2]");
        assert_eq!(refused(|batch| batch.columns[0].null_rows[0] = 2).field, "columns[0].null_rows");
        let wrong_type = refused(|batch| batch.columns[0].values = ColumnValues::Ints(vec![1, 2]));
        assert_eq!(wrong_type.field, "columns[0].int64s");
        assert_eq!(wrong_type.message, "feature `tier` is of type string, not int");
        let short = refused(|batch| batch.columns[0].values = ColumnValues::Strings(vec![]));
        assert_eq!(short.field, "columns[0].strings");
    }
}
