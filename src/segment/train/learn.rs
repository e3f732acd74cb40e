//! What the preparation learns from a table: what stands in for missing values, bounds, logarithms, scales, which columns
//! say the same as another, principal components.
//!
//! Each statistic is taken of what serving will see: 32-bit raw values, put through the steps of [`Preparation`]. The
//! steps in order: `column` for each column by itself, `correlation` between columns, `components` of those that remain.
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
use crate::document::{Problems, suggestion};
use crate::segment::layout::DroppedFeature;
use crate::segment::prepare::Preparation;

/// What was learned of a table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Learned {
    /// How rows of the features that remain become points.
    pub(super) preparation: Preparation,
    /// Every column of the file and what became of it, in its order.
    pub(super) columns: Vec<Column>,
    /// The features of the table that remain, in their order.
    pub(super) kept: Vec<usize>,
    /// Columns that were left out, for the artefact.
    pub(super) dropped: Vec<DroppedFeature>,
    /// Pearson correlation of the standardised features that remain, features × features.
    pub(super) correlation: Vec<Vec<f64>>,
    /// Share of the variance that the components hold, where there are components.
    pub(super) variance_kept: Option<f64>,
}

impl Learned {
    /// The raw values of the features that remain, rows × features, row-major, of the `values` of the table: these themselves, where all
    /// of its `width` columns remain, since of a large table there is no room for two.
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

/// The preparation of a table, as the settings (checked) ask for it.
///
/// Cost: a sort per column, columns × columns multiplications per row; columns are shared out among threads, each of which
/// holds one column at a time. The same for every number of threads.
///
/// # Errors
/// Every column that has no value at all, or only one value, or of which ln(1 + x) was asked for and is not defined; every
/// feature that the settings name and the table has not.
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

/// What the column is a column of.
fn source(table: &Table, index: usize) -> ColumnSource<'_> {
    let header = &table.names[index];
    match &table.equals[index] {
        None => ColumnSource { header, name: header, equals: None },
        Some((name, text)) => ColumnSource { header, name, equals: Some(text) },
    }
}

/// Features that the settings name, but that are no numbers of the table.
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

/// What is learned of the columns together.
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
        for twin in &filtered.dropped {
            let like = columns[twin.like].feature.label().into_owned();
            let reason = format!("correlates with `{like}` (r = {:.3}), above the limit of {limit}", twin.r);
            let column = &mut columns[twin.column];
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
