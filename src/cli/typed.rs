//! Values typed by the server's schema, never by their look: `01234` is a text where the feature is one.

use super::printing::say;
use crate::grpc::client::Client;
use feature::store::read_cell;
use feature::{Column, ColumnValues, Feature, FeatureBatch, FeatureSchema, FeatureType, ValueRef};
use table::Decimal;

/// The schema of the server's current release; `None`, with a remark to the user, if the server does not return it.
pub(super) async fn schema(client: &Client) -> Option<FeatureSchema> {
    let told = match client.release(0).await {
        Ok(files) => {
            FeatureSchema::parse("features.toml", &files.features).map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    told.map_err(|error| {
        say(format_args!(
            "note: the server did not return its features ({error}); values are typed by how they look"
        ));
    })
    .ok()
}

/// Columns of one batch, which are filled row by row.
pub(super) struct TypedColumns<'s> {
    columns: Vec<TypedColumn<'s>>,
    rows: usize,
    decimal: Decimal,
}

struct TypedColumn<'s> {
    feature: &'s Feature,
    /// The position of its field in a row.
    position: usize,
    values: ColumnValues,
    null_rows: Vec<u32>,
}

impl<'s> TypedColumns<'s> {
    /// Columns of these features, each with the position of its field in a row.
    pub(super) fn new(features: &[(usize, &'s Feature)], decimal: Decimal) -> Self {
        let column = |(position, feature): &(usize, &'s Feature)| TypedColumn {
            feature,
            position: *position,
            values: empty(feature.feature_type),
            null_rows: Vec::new(),
        };
        Self { columns: features.iter().map(column).collect(), rows: 0, decimal }
    }

    /// How many rows there are.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Adds a row.
    ///
    /// # Errors
    /// Every field whose text does not have its feature's type; the row is then to be discarded.
    pub(super) fn push<'f>(&mut self, field: impl Fn(usize) -> &'f [u8]) -> Result<(), Vec<String>> {
        let mut wrong = Vec::new();
        for column in &mut self.columns {
            match read_cell(column.feature, field(column.position), self.decimal) {
                Ok(value) => column.push(self.rows as u32, value),
                Err(message) => {
                    column.push(self.rows as u32, ValueRef::Missing);
                    wrong.push(message);
                }
            }
        }
        self.rows += 1;
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// Takes the batch, and leaves no rows.
    pub(super) fn take(&mut self) -> FeatureBatch {
        let mut batch = FeatureBatch { rows: std::mem::take(&mut self.rows), ..FeatureBatch::default() };
        for column in &mut self.columns {
            batch.columns.push(Column {
                name: column.feature.name.clone(),
                values: std::mem::replace(&mut column.values, empty(column.feature.feature_type)),
                null_rows: std::mem::take(&mut column.null_rows),
            });
        }
        batch
    }
}

impl TypedColumn<'_> {
    fn push(&mut self, row: u32, value: ValueRef<'_>) {
        if value == ValueRef::Missing {
            self.null_rows.push(row);
        }
        match &mut self.values {
            ColumnValues::Floats(values) => {
                values.push(if let ValueRef::Float(number) = value { number } else { f32::NAN });
            }
            ColumnValues::Ints(values) => {
                values.push(if let ValueRef::Int(number) = value { number } else { 0 });
            }
            ColumnValues::Bools(values) => values.push(value == ValueRef::Bool(true)),
            ColumnValues::Strings(values) => {
                values.push(if let ValueRef::String(text) = value { text.to_owned() } else { String::new() });
            }
        }
    }
}

fn empty(feature_type: FeatureType) -> ColumnValues {
    match feature_type {
        FeatureType::Float => ColumnValues::Floats(Vec::new()),
        FeatureType::Int => ColumnValues::Ints(Vec::new()),
        FeatureType::String => ColumnValues::Strings(Vec::new()),
        FeatureType::Bool => ColumnValues::Bools(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEATURES: &str = "[[feature]]\nname = \"zip\"\ntype = \"string\"\nentity = \"customer\"\n\
                            [[feature]]\nname = \"f0\"\ntype = \"float\"\nentity = \"customer\"\n\
                            [[feature]]\nname = \"age\"\ntype = \"int\"\nentity = \"customer\"\n\
                            [[feature]]\nname = \"active\"\ntype = \"bool\"\nentity = \"customer\"\n";

    #[test]
    fn values_have_the_type_of_their_feature_whatever_they_look_like() {
        let schema = FeatureSchema::parse("features.toml", FEATURES).unwrap();
        let features: Vec<(usize, &Feature)> =
            (0..).zip(["zip", "f0", "age", "active"].map(|name| schema.get(name).unwrap())).collect();
        let mut columns = TypedColumns::new(&features, Decimal::Either);
        let rows = [["01234", "20000001", "7", "1"], ["1234", "NaN", "NA", "no"], ["", "5,5", "", ""]];
        for row in rows {
            columns.push(|position| row[position].as_bytes()).unwrap();
        }
        let batch = columns.take();
        assert_eq!((batch.rows, columns.rows()), (3, 0));
        let ColumnValues::Floats(numbers) = &batch.columns[1].values else { panic!("{batch:?}") };
        assert_eq!([numbers[0].to_bits(), numbers[2].to_bits()], [20_000_001.0_f32, 5.5].map(f32::to_bits));
        assert!(numbers[1].is_nan());
        let texts = ["01234", "1234", ""].map(str::to_owned).to_vec();
        assert_eq!(batch.columns[0].values, ColumnValues::Strings(texts));
        assert_eq!(batch.columns[0].null_rows, [2]);
        assert_eq!(batch.columns[2].values, ColumnValues::Ints(vec![7, 0, 0]));
        assert_eq!(batch.columns[2].null_rows, [1, 2]);
        assert_eq!(batch.columns[3].values, ColumnValues::Bools(vec![true, false, false]));
        let wrong = columns.push(|_| b"x").unwrap_err();
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        assert!(wrong[0].starts_with("`f0` is a float: \"x\" is not a number"), "{wrong:?}");
    }
}
