//! What training did, as a table for people.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};

use super::Trained;

/// Sizes, shares, inertia and what was done to the features; made by [`Trained::summary`], shown by `Display`.
#[derive(Debug, Clone, Copy)]
pub struct Summary<'t> {
    trained: &'t Trained,
}

impl<'t> Summary<'t> {
    pub(super) fn new(trained: &'t Trained) -> Self {
        Self { trained }
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segmentation = &self.trained.segmentation;
        let (features, notes) = (segmentation.features(), segmentation.training());
        writeln!(
            f,
            "{} customers, {} features, {} segments; inertia {:.1} (sum of squared distances; k-means++, {} restarts, seed {})",
            notes.rows,
            features.len(),
            notes.k,
            segmentation.inertia(),
            notes.n_init,
            notes.seed,
        )?;
        let logged = features.iter().filter(|feature| feature.log1p).map(|feature| feature.name.clone());
        list(f, "taken as ln(1 + x)", &logged.collect::<Vec<_>>())?;
        let missing = features.iter().zip(&self.trained.missing).filter(|(_, missing)| **missing > 0);
        let missing = missing.map(|(feature, missing)| format!("{} ({missing})", feature.name));
        list(f, "missing values, imputed with the median", &missing.collect::<Vec<_>>())?;

        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED).set_header(["id", "segment", "customers", "share"]);
        for (id, segment) in segmentation.segments().iter().enumerate() {
            let share = 100.0 * segment.size as f64 / notes.rows as f64;
            table.add_row([
                id.to_string(),
                segment.name.clone(),
                segment.size.to_string(),
                format!("{share:.1} %"),
            ]);
        }
        for number in [0, 2, 3] {
            if let Some(column) = table.column_mut(number) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        write!(f, "{table}")
    }
}

fn list(f: &mut fmt::Formatter<'_>, label: &str, items: &[String]) -> fmt::Result {
    if items.is_empty() { Ok(()) } else { writeln!(f, "{label}: {}", items.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::assign::tests::segmentation;

    #[test]
    fn sizes_shares_and_inertia_are_shown() {
        let mut trained = Trained {
            segmentation: segmentation(),
            segments: Vec::new(),
            customers: None,
            missing: vec![0, 3],
        };
        trained.segmentation.preparation.features[0].log1p = true;
        let text = trained.summary().to_string();
        let mut lines = text.lines();
        let first = lines.next().unwrap();
        assert!(first.starts_with("10 customers, 2 features, 2 segments; inertia 12.5 "), "{first}");
        assert_eq!(lines.next(), Some("taken as ln(1 + x): balance"));
        assert_eq!(lines.next(), Some("missing values, imputed with the median: purchases (3)"));
        assert!(text.contains("│  1 ┆ Busy    ┆         4 ┆ 40.0 % │"), "{text}");
    }
}
