//! The data, and how customers moved since the previous version.

use report::percent::percents;
use report::{Column as Cells, Table, append, escape, figure, numbers};

use super::{badge, labels, percent};
use crate::report::figures;
use crate::report::figures::FigureError;
use crate::report::palette::{Colour, PAPER};
use crate::train::study::{Column, Migration, Study};

/// Maximum number of features in the correlation matrix.
const CORRELATED: usize = 60;

/// The background of a full cell of the migration matrix.
const FULL_CELL: Colour = Colour(0x5b, 0x9b, 0xc8);

/// The columns and their correlation.
pub(super) fn data(study: &Study) -> Result<String, FigureError> {
    let source = &study.source;
    let used = study.columns.iter().filter(|column| column.left_out.is_none() && column.kind != "id").count();
    let id = source.id_column.as_deref().map_or_else(
        || "The row number identifies a customer.".to_owned(),
        |id| format!("The column <code>{}</code> identifies a customer.", escape(id)),
    );
    let mut html = format!(
        "<p>{} rows and {} columns, of which {used} are used. {id}</p>\n",
        numbers::count(source.rows),
        study.columns.len()
    );
    html.push_str("<h3>Columns</h3>\n");
    html.push_str(&columns(study));
    let names: Vec<String> = labels(study).into_iter().take(CORRELATED).collect();
    if names.len() > 1 {
        let rest = if study.features.len() > CORRELATED {
            format!(" The first {CORRELATED} features are shown; all are in <code>correlation.csv</code>.")
        } else {
            String::new()
        };
        html.push_str("<h3>Correlation of the features</h3>\n");
        html.push_str(&figure(
            &figures::correlation(&names, &study.correlation)?,
            &format!(
                "Features that rise together (red) or in opposite directions (blue) carry much the same information, \
                 which then has more weight in every distance.{rest}"
            ),
        ));
    }
    Ok(html)
}

fn columns(study: &Study) -> String {
    let checked = study.columns.iter().any(|column| column.out_of_range.is_some());
    let mut titles = vec![
        ("column", Cells::Words),
        ("type", Cells::Words),
        ("missing", Cells::Number),
        ("distinct", Cells::Number),
        ("range", Cells::Number),
        ("mean", Cells::Number),
        ("skewness", Cells::Number),
        ("imputed<br>with", Cells::Number),
    ];
    if checked {
        titles.push(("out of<br>range", Cells::Number));
    }
    titles.push(("preparation", Cells::Words));
    let mut table = Table::new(&titles);
    for column in &study.columns {
        let mut cells = vec![
            escape(&column.name),
            escape(column.kind),
            missing(column, study.source.rows),
            format!("{}{}", if column.distinct_bounded { "≥ " } else { "" }, numbers::count(column.distinct)),
            column.range.map_or_else(String::new, range),
            column.mean.map_or_else(String::new, numbers::quantity),
            column.skewness.map_or_else(String::new, |value| numbers::fixed(value, 2)),
            column.impute.filter(|_| column.missing > 0).map_or_else(String::new, numbers::quantity),
        ];
        if checked {
            cells.push(column.out_of_range.map_or_else(String::new, numbers::count));
        }
        cells.push(prepared(column));
        table.row(if column.left_out.is_some() { "out" } else { "" }, &cells);
    }
    table.wide()
}

fn missing(column: &Column, rows: u64) -> String {
    if column.missing == 0 {
        return "0".to_owned();
    }
    let share = numbers::share(column.missing as f64 / rows.max(1) as f64);
    format!("{} ({share})", numbers::count(column.missing))
}

fn range([low, high]: [f64; 2]) -> String {
    format!("{} to {}", numbers::short(low), numbers::short(high))
}

/// How the column was prepared, or why it was left out.
fn prepared(column: &Column) -> String {
    if let Some(reason) = &column.left_out {
        return format!("left out: {}", escape(reason));
    }
    let winsor = column.winsor.map(|bounds| format!("clamped to {}", range(bounds)));
    let logged = column.log1p.then(|| "ln(1 + x)".to_owned());
    let steps: Vec<String> = [winsor, logged].into_iter().flatten().collect();
    steps.join(", ")
}

/// Where the customers of each previous segment are now; empty without a previous version.
pub(super) fn migration(study: &Study) -> String {
    let Some(migration) = &study.migration else { return String::new() };
    let mut html = format!(
        "<p>Compared with {}, <b>{}</b> of the customers change segment; the limit is {}. A segment keeps the number \
         of the previous segment that it continues.</p>\n",
        escape(&migration.previous),
        numbers::share(migration.moved),
        percent(migration.limit)
    );
    let titles: Vec<String> =
        study.segments.iter().map(|segment| format!("now {}", badge(segment.id))).collect();
    let mut columns = vec![("before", Cells::Words)];
    columns.extend(titles.iter().map(|title| (title.as_str(), Cells::Number)));
    columns.push(("customers", Cells::Number));
    let mut table = Table::new(&columns);
    for (old, (name, counts)) in migration.names.iter().zip(&migration.matrix).enumerate() {
        table.shaded(&format!("{} {}", badge(old as u32), escape(name)), &moved(migration, old, counts));
    }
    html.push_str(&table.wide());
    let fresh: Vec<String> = study
        .segments
        .iter()
        .zip(&migration.continues)
        .filter(|(_, old)| old.is_none())
        .map(|(segment, _)| format!("{} {}", badge(segment.id), escape(&segment.name)))
        .collect();
    if !fresh.is_empty() {
        append(&mut html, format_args!("<p>New: {}.</p>\n", fresh.join(", ")));
    }
    html.push_str(
        "<p class=\"note\">Rows are previous segments, columns are new ones. A darker cell holds a larger share of its \
         row. The frame marks the segment that continues the previous one.</p>\n",
    );
    html
}

fn moved(migration: &Migration, old: usize, counts: &[u64]) -> Vec<(String, String)> {
    let total: u64 = counts.iter().sum();
    let mut cells: Vec<(String, String)> = counts
        .iter()
        .zip(percents(counts))
        .enumerate()
        .map(|(new, (count, shown))| {
            let share = *count as f64 / total.max(1) as f64;
            let colour = PAPER.mixed(FULL_CELL, share);
            let continues = migration.continues.get(new).copied().flatten() == Some(old as u32);
            let frame = if continues { ";box-shadow:inset 0 0 0 2px #1f2933" } else { "" };
            let cell =
                if *count == 0 { "0".to_owned() } else { format!("{} ({shown})", numbers::count(*count)) };
            (cell, format!("background:{};padding-left:8px;padding-right:8px{frame}", colour.css()))
        })
        .collect();
    cells.push((numbers::count(total), String::new()));
    cells
}
