//! Drift as tables for the terminal.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};

use super::{Drift, FeatureDrift};
use document::agreeing;
use report::percent::percent;
use telemetry::foreign;

/// With fewer customers, chance alone changes the PSI by 0.01 or more: about 9 (1 / n + 1 / m) over ten bins.
const FEW: u64 = 1000;

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, customers, trained_on, .. } = self;
        writeln!(f, "{file}: {customers} customers, compared with {trained_on} in training")?;
        writeln!(f, "{}", self.table_of_features())?;
        writeln!(f, "{}", self.table_of_segments())?;
        let (index, verdict) = (self.segments.psi, self.segments.verdict.as_str());
        write!(f, "shares of the segments: PSI {index:.4}, {verdict}")?;
        for feature in self.suspects() {
            let FeatureDrift { feature, far_out, range_then: [least, greatest], .. } = feature;
            write!(
                f,
                "\n`{feature}`: {far_out} {} at least 100 times the training range ({} to {}): is a decimal point \
                 missing?",
                agreeing(*far_out, "value is", "values are"),
                number(*least),
                number(*greatest)
            )?;
        }
        if self.features.iter().any(|feature| feature.psi.is_none()) {
            f.write_str(
                "\nsegments.json has no distribution of some features (–); train the segments again to compare them",
            )?;
        }
        if *customers.min(trained_on) < FEW {
            write!(f, "\nfewer than {FEW} customers: chance alone changes the PSI by 0.01 or more")?;
        }
        let shifted: Vec<&str> = self.shifted_features().map(|feature| feature.feature.as_str()).collect();
        let limit = self.limit;
        match (shifted.as_slice(), self.segments.psi > limit) {
            ([], false) => write!(f, "\nno PSI is above {limit}"),
            ([], true) => write!(f, "\nPSI above {limit}: the shares of the segments"),
            (features, false) => write!(f, "\nPSI above {limit}: {}", features.join(", ")),
            (features, true) => {
                write!(f, "\nPSI above {limit}: the shares of the segments, {}", features.join(", "))
            }
        }
    }
}

impl Drift {
    fn table_of_features(&self) -> Table {
        let header =
            ["feature", "PSI", "", "missing before", "now", "training range", "mean now", "below", "above"];
        let rows = self.features.iter().map(|feature| {
            let [least, greatest] = feature.range_then.map(number);
            vec![
                feature.feature.clone(),
                feature.psi.map_or_else(none, |psi| format!("{psi:.4}")),
                feature.verdict.map_or("", super::Verdict::as_str).to_owned(),
                feature.missing_then.map_or_else(none, percent),
                percent(feature.missing_now),
                format!("{least} to {greatest}"),
                feature.mean_now.map_or_else(none, number),
                counted(feature.below, self.customers),
                counted(feature.above, self.customers),
            ]
        });
        table(&header, rows, &[0, 2])
    }

    fn table_of_segments(&self) -> Table {
        let rows = self.segments.shares.iter().map(|segment| {
            let points = 100.0 * (segment.now - segment.then);
            let name = format!("{} {}", segment.id, segment.name);
            vec![name, percent(segment.then), percent(segment.now), format!("{points:+.1}")]
        });
        table(&["segment", "before", "now", "change (points)"], rows, &[0])
    }
}

/// `left`: columns of text, aligned left.
fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>, left: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header);
    rows.for_each(|row| {
        table.add_row(row.iter().map(|cell| foreign::shown(cell).into_owned()));
    });
    for index in (0..header.len()).filter(|index| !left.contains(index)) {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn none() -> String {
    "–".to_owned()
}

fn counted(count: u64, all: u64) -> String {
    if count == 0 { none() } else { format!("{count} ({})", percent(super::share(count, all))) }
}

/// A number with four significant digits and all its integer digits.
fn number(value: f64) -> String {
    let digits = if value == 0.0 { 0.0 } else { value.abs().log10().floor() + 1.0 };
    let places = (4.0 - digits).clamp(0.0, 8.0) as usize;
    let text = format!("{value:.places$}");
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
