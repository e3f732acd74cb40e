//! Learns the preparation from a table: imputation, bounds, logarithms, scales, redundant columns, components.
//!
//! Every statistic uses the values that serving sees: 32-bit raw values after the steps of [`Preparation`].
//! The steps in order: `column` for each column by itself, `correlation` between columns, `components` of the rest.
//! Start reading at [`learn`].

mod column;
mod components;
mod correlation;
mod facts;
mod out_of_range;
mod statistics;
#[cfg(test)]
mod tests;

use ndarray::Array2;
use rayon::prelude::*;

use self::column::{ColumnSource, LearnedColumn};
use super::settings::{Log1p, PrepareSettings};
use super::study::Column;
use super::table::Table;
use document::{Problems, suggestion};
use segment::artefact::DroppedFeature;
use segment::prepare::Preparation;

/// What was learned from a table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Learned {
    /// How rows of the kept features become points.
    pub(super) preparation: Preparation,
    /// Every column of the file and how it was used, in the order of the file.
    pub(super) columns: Vec<Column>,
    /// The kept features of the table, in order.
    pub(super) kept: Vec<usize>,
    /// Columns that were left out, for the artefact.
    pub(super) dropped: Vec<DroppedFeature>,
    /// Pearson correlation of the kept, standardised features, features × features.
    pub(super) correlation: Vec<Vec<f64>>,
    /// Share of the variance that the components explain, if there are components.
    pub(super) variance_kept: Option<f64>,
}

impl Learned {
    /// The raw values of the kept features, rows × features, row-major.
    ///
    /// `values`: those of the table, with `width` columns. They are returned unchanged if all columns are kept, since a
    /// large table may not fit into memory twice.
    pub(super) fn raw(&self, values: Vec<f32>, width: usize) -> Vec<f32> {
        if self.kept.len() == width {
            return values;
        }
        let rows = values.chunks_exact(width);
        let mut raw = Vec::with_capacity(rows.len() * self.kept.len());
        rows.for_each(|row| raw.extend(self.kept.iter().map(|index| row[*index])));
        raw
    }
}

/// Learns the preparation of a table. `settings`: validated ones.
///
/// Threads process one column at a time each, and the result does not depend on their number.
/// Cost: a sort per column, and columns² multiplications per row.
///
/// # Errors
/// Every column without a value, with a single distinct value, or with negative values although `log1p` names it;
/// every feature that the settings name and the table lacks.
pub(super) fn learn(table: &Table, settings: &PrepareSettings) -> Result<Learned, Problems> {
    let sources: Vec<ColumnSource<'_>> = (0..table.names.len()).map(|index| source(table, index)).collect();
    let mut problems = unknown_features(&table.file, &sources, settings);
    let learned: Vec<Result<LearnedColumn, String>> = sources
        .par_iter()
        .enumerate()
        .map(|(index, source)| column::learn(*source, table.column(index).collect(), settings))
        .collect();
    let mut columns = Vec::with_capacity(learned.len());
    for (learned, source) in learned.into_iter().zip(&sources) {
        match learned {
            Ok(column) => columns.push(column),
            Err(message) => {
                let message = format!("column `{}`: {message}", source.header);
                problems.push(table.file.clone(), Some(1), message);
            }
        }
    }
    problems.into_result(())?;
    join(table, columns, settings).map_err(|message| Problems::one(table.file.clone(), None, message))
}

/// The feature that a column of the table holds.
fn source(table: &Table, index: usize) -> ColumnSource<'_> {
    let header = &table.names[index];
    match &table.equals[index] {
        None => ColumnSource { header, name: header, equals: None },
        Some((name, text)) => ColumnSource { header, name, equals: Some(text) },
    }
}

/// A problem for each feature that the settings name but that is not a number of the table.
fn unknown_features(file: &str, sources: &[ColumnSource<'_>], settings: &PrepareSettings) -> Problems {
    let logged = match &settings.log1p {
        Log1p::Auto | Log1p::Never => &[][..],
        Log1p::Of(names) => names,
    };
    let named = settings.impute_by_feature.keys().map(|name| (name, "impute_by_feature"));
    let named = named.chain(logged.iter().map(|name| (name, "log1p")));
    let mut problems = Problems::new();
    for (name, key) in named {
        let mut known = sources.iter().filter(|source| source.name == name || source.header == name);
        let message = match known.next() {
            Some(ColumnSource { equals: None, .. }) => continue,
            Some(_) => format!("`{key}` names `{name}`, which is text; name columns of numbers only"),
            None => {
                let hint = suggestion(name, sources.iter().map(|source| source.header));
                format!("`{key}` names `{name}`, but there is no such column{hint}")
            }
        };
        problems.push(file, Some(1), message);
    }
    problems
}

/// Learns from all columns together.
fn join(
    table: &Table,
    mut columns: Vec<LearnedColumn>,
    settings: &PrepareSettings,
) -> Result<Learned, String> {
    let standard = columns.iter().map(LearnedColumn::standard).collect();
    let correlation = correlation::correlation(&Preparation { features: standard, pca: None }, &table.values);
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    let mut dropped = facts::not_read(table);
    if let Some(limit) = settings.correlation_limit {
        let filtered = correlation::filter(&correlation, limit);
        for redundant in &filtered.dropped {
            let (other, r) = (columns[redundant.similar].feature.label().into_owned(), redundant.r);
            let reason = format!("correlates with `{other}` (r = {r:.3}), above the limit of {limit}");
            let column = &mut columns[redundant.column];
            column.facts.left_out = Some(reason.clone());
            dropped.push(DroppedFeature { feature: column.feature.label().into_owned(), reason });
        }
        kept = filtered.kept;
    }
    let correlation = select(&correlation, &kept);
    let components = settings.variance_kept.map(|share| {
        let scales: Vec<f64> = kept.iter().map(|index| columns[*index].scaled_deviation()).collect();
        components::components(&correlation, &scales, share)
    });
    let (pca, variance_kept) = components.transpose()?.map(|found| (found.weights, found.share)).unzip();
    let features = kept.iter().map(|index| columns[*index].feature.clone()).collect();
    Ok(Learned {
        preparation: Preparation { features, pca },
        columns: facts::of_file(table, columns),
        kept,
        dropped,
        correlation: correlation.rows().into_iter().map(|row| row.to_vec()).collect(),
        variance_kept,
    })
}

/// The rows and columns of a square matrix at some positions.
fn select(matrix: &Array2<f64>, positions: &[usize]) -> Array2<f64> {
    Array2::from_shape_fn((positions.len(), positions.len()), |(row, column)| {
        matrix[[positions[row], positions[column]]]
    })
}
