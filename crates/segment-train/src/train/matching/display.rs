//! The migration between segments as a table for the terminal.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};

use crate::train::study::Migration;
use report::percent::{percent, percent_near, percents};
use telemetry::foreign;

/// A row per previous segment and a column per new one, with the customers and their share of the row.
#[derive(Debug, Clone, Copy)]
pub struct MigrationTable<'m>(pub &'m Migration);

impl fmt::Display for MigrationTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let migration = self.0;
        writeln!(f, "Customers by segment in {} (rows) and by new segment (columns):", migration.previous)?;
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        let now = (0..).zip(&migration.continues).map(|(id, old)| column(migration, id, *old));
        table.set_header(["before".to_owned(), "customers".to_owned()].into_iter().chain(now));
        for (old, row) in (0..).zip(&migration.matrix) {
            let all: u64 = row.iter().sum();
            let cells = cells(row);
            table.add_row([segment(migration, old), all.to_string()].into_iter().chain(cells));
        }
        let (customers, k) = (migration.customers(), migration.continues.len());
        let columns: Vec<u64> = (0..k).map(|new| migration.matrix.iter().map(|row| row[new]).sum()).collect();
        let cells = cells(&columns);
        table.add_row(["all".to_owned(), customers.to_string()].into_iter().chain(cells));
        for index in 1..k + 2 {
            if let Some(column) = table.column_mut(index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        writeln!(f, "{table}")?;
        write!(
            f,
            "{} of {customers} customers ({}) change segment; the limit is {}",
            migration.customers_moved(),
            percent_near(migration.moved, migration.limit),
            percent(migration.limit)
        )?;
        for (old, new) in migration.renumbered() {
            write!(f, "\nsegment {} continues as {new}", segment(migration, old))?;
        }
        for old in migration.ended() {
            write!(f, "\nsegment {} is gone", segment(migration, old))?;
        }
        for new in migration.begun() {
            write!(f, "\nsegment {new} is new")?;
        }
        Ok(())
    }
}

/// `2 Transactors`.
fn segment(migration: &Migration, old: u32) -> String {
    let name = migration.names.get(old as usize).map_or("", String::as_str);
    format!("{old} {}", foreign::shown(name))
}

fn column(migration: &Migration, id: u32, continues: Option<u32>) -> String {
    match continues {
        None => format!("{id}\n(new)"),
        Some(old) if old == id => segment(migration, old).replacen(' ', "\n", 1),
        Some(old) => format!("{id}\nwas {}", segment(migration, old)),
    }
}

/// The counts with their shares of the total.
fn cells(counts: &[u64]) -> impl Iterator<Item = String> {
    let cell = |(count, share): (&u64, String)| {
        if *count == 0 { "–".to_owned() } else { format!("{count}\n{share}") }
    };
    counts.iter().zip(percents(counts)).map(cell)
}
