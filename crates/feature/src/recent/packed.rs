//! Rows as sent from one process to another: each schema once, and the values by type.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{RecentRow, RowData};
use crate::{Entity, Feature, FeatureSchema, FeatureType, Value};

/// The entities in the order in which their values are packed.
const ORDER: [Entity; 3] = [Entity::Customer, Entity::Context, Entity::Offer];

/// [`RecentRow`]s in serialisable form.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackedRows {
    schemas: Vec<Vec<Column>>,
    rows: Vec<Packed>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Column {
    name: String,
    entity: Entity,
    #[serde(rename = "type")]
    feature_type: FeatureType,
}

/// The values of each type, in the order of the columns.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Packed {
    schema: usize,
    floats: Vec<Option<f32>>,
    ints: Vec<Option<i64>>,
    texts: Vec<Option<String>>,
    bools: Vec<Option<bool>>,
    offer: String,
    segment: Option<(i64, String)>,
}

impl PackedRows {
    /// Packs rows.
    #[must_use]
    pub fn pack(rows: &[RecentRow]) -> Self {
        let (mut packed, mut places) = (Self::default(), HashMap::new());
        packed.rows = rows.iter().map(|row| packed_row(&row.0, &mut packed.schemas, &mut places)).collect();
        packed
    }

    /// Restores the rows. A row without its schema is left out.
    #[must_use]
    pub fn unpack(self) -> Vec<RecentRow> {
        let column = |Column { name, entity, feature_type }| Feature::new(name, feature_type, entity);
        let schemas = self.schemas.into_iter().map(|columns| columns.into_iter().map(column));
        let schemas: Vec<Arc<FeatureSchema>> =
            schemas.map(|features| Arc::new(FeatureSchema::from_features(features))).collect();
        let row = |row: Packed| {
            let schema = Arc::clone(schemas.get(row.schema)?);
            Some(unpacked_row(row, schema))
        };
        self.rows.into_iter().filter_map(row).collect()
    }
}

fn packed_row(
    row: &RowData,
    schemas: &mut Vec<Vec<Column>>,
    places: &mut HashMap<*const FeatureSchema, usize>,
) -> Packed {
    let schema = *places.entry(Arc::as_ptr(&row.schema)).or_insert_with(|| {
        let column = |feature: &Feature| Column {
            name: feature.name.clone(),
            entity: feature.entity,
            feature_type: feature.feature_type,
        };
        schemas.push(ORDER.iter().flat_map(|entity| row.schema.of(*entity)).map(column).collect());
        schemas.len() - 1
    });
    let (offer, segment) = (row.offer_id.to_string(), row.segment.as_ref());
    let segment = segment.map(|(id, name)| (*id, name.to_string()));
    let mut packed = Packed { schema, offer, segment, ..Packed::default() };
    for (entity, values) in ORDER.into_iter().zip([&row.customer, &row.context, &row.offer]) {
        for (at, feature) in row.schema.of(entity).iter().enumerate() {
            let value = values.get(at).and_then(Option::as_ref);
            match (feature.feature_type, value) {
                (FeatureType::Float, Some(Value::Float(value))) => packed.floats.push(Some(*value)),
                (FeatureType::Int, Some(Value::Int(value))) => packed.ints.push(Some(*value)),
                (FeatureType::String, Some(Value::String(text))) => packed.texts.push(Some(text.to_string())),
                (FeatureType::Bool, Some(Value::Bool(truth))) => packed.bools.push(Some(*truth)),
                (FeatureType::Float, _) => packed.floats.push(None),
                (FeatureType::Int, _) => packed.ints.push(None),
                (FeatureType::String, _) => packed.texts.push(None),
                (FeatureType::Bool, _) => packed.bools.push(None),
            }
        }
    }
    packed
}

fn unpacked_row(row: Packed, schema: Arc<FeatureSchema>) -> RecentRow {
    let Packed { floats, ints, texts, bools, offer, segment, .. } = row;
    let (mut floats, mut ints) = (floats.into_iter(), ints.into_iter());
    let (mut texts, mut bools) = (texts.into_iter(), bools.into_iter());
    // A value that is absent is a missing value.
    let mut value = |feature: &Feature| match feature.feature_type {
        FeatureType::Float => floats.next().flatten().map(Value::Float),
        FeatureType::Int => ints.next().flatten().map(Value::Int),
        FeatureType::String => texts.next().flatten().map(|text| Value::String(text.into())),
        FeatureType::Bool => bools.next().flatten().map(Value::Bool),
    };
    let [customer, context, of_offer] =
        ORDER.map(|entity| schema.of(entity).iter().map(&mut value).collect());
    let segment = segment.map(|(id, name)| (id, name.into()));
    let offer_id = offer.into();
    RecentRow(Arc::new(RowData { schema, customer, context, offer: of_offer, offer_id, segment }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Row, SegmentRef, ValueRef};

    proptest! {
        #[test]
        fn rows_survive_packing_and_unpacking(
            values in proptest::collection::vec(
                (
                    proptest::option::of(-1e30_f32..1e30),
                    any::<Option<i64>>(),
                    any::<Option<String>>(),
                    any::<Option<bool>>(),
                ),
                0..20,
            ),
        ) {
            let schema = Arc::new(FeatureSchema::from_features([
                Feature::new("text", FeatureType::String, Entity::Offer),
                Feature::new("float", FeatureType::Float, Entity::Customer),
                Feature::new("other", FeatureType::Float, Entity::Context),
                Feature::new("int", FeatureType::Int, Entity::Customer),
                Feature::new("truth", FeatureType::Bool, Entity::Context),
            ]));
            let rows: Vec<RecentRow> = values.iter().map(|(float, int, text, truth)| {
                let float = float.map_or(ValueRef::Missing, ValueRef::Float);
                let int = int.map_or(ValueRef::Missing, ValueRef::Int);
                let text = text.as_deref().map_or(ValueRef::Missing, ValueRef::String);
                let truth = truth.map_or(ValueRef::Missing, ValueRef::Bool);
                let segment = Some(SegmentRef { id: 7, name: "savers" });
                let row = Row { customer: &[float, int], context: &[float, truth], offer: &[text], segment };
                RecentRow::new(&schema, &"gold".into(), &row)
            }).collect();
            let text = serde_json::to_string(&PackedRows::pack(&rows)).unwrap();
            let again = serde_json::from_str::<PackedRows>(&text).unwrap().unpack();
            prop_assert_eq!(again.len(), rows.len());
            for (row, again) in rows.iter().zip(&again) {
                let (row, again) = (&row.0, &again.0);
                prop_assert_eq!(&row.customer, &again.customer);
                prop_assert_eq!((&row.context, &row.offer), (&again.context, &again.offer));
                prop_assert_eq!((&row.offer_id, &row.segment), (&again.offer_id, &again.segment));
            }
        }
    }
}
