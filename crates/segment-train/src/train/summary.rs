//! The results of a training as tables for the terminal.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};

use super::study::{Candidate, Choice, Study, shares};
use telemetry::foreign;

/// How the number of segments was chosen, a row for each number that was tried.
#[derive(Debug, Clone, Copy)]
pub struct ChoiceTable<'s>(pub &'s Choice);

impl fmt::Display for ChoiceTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let choice = self.0;
        let gap = choice.candidates.iter().any(|candidate| candidate.gap.is_some());
        let mut header = vec!["k", "inertia", "silhouette", "Calinski–Harabasz", "Davies–Bouldin"];
        header.extend(gap.then_some("gap"));
        header.extend(["smallest", "ARI", "lowest Jaccard", "stable", ""]);
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED).set_header(&header);
        for candidate in &choice.candidates {
            table.add_row(row(candidate, gap, &marks(choice, candidate.k)));
        }
        for column in 0..header.len() - 2 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        write!(f, "{table}\n{}", choice.reason)
    }
}

fn row(candidate: &Candidate, gap: bool, marks: &str) -> Vec<String> {
    let silhouette = match candidate.silhouette_error {
        None => format!("{:.4}", candidate.silhouette),
        Some(error) => format!("{:.4} ± {error:.4}", candidate.silhouette),
    };
    let mut cells = vec![
        candidate.k.to_string(),
        format!("{:.1}", candidate.inertia),
        silhouette,
        format!("{:.1}", candidate.calinski_harabasz),
        format!("{:.3}", candidate.davies_bouldin),
    ];
    if gap {
        cells.push(
            candidate.gap.map_or_else(String::new, |gap| format!("{:.4} ± {:.4}", gap.value, gap.error)),
        );
    }
    cells.extend([
        candidate.smallest(),
        format!("{:.3}", candidate.stability.ari),
        format!("{:.2}", candidate.stability.least()),
        if candidate.stable { "yes" } else { "no" }.to_owned(),
        marks.to_owned(),
    ]);
    cells
}

fn marks(choice: &Choice, k: u64) -> String {
    let marks = [
        (choice.chosen == k, "chosen"),
        (choice.recommended == Some(k) && choice.chosen != k, "recommended"),
        (choice.knee == Some(k), "knee"),
    ];
    marks.iter().filter(|(holds, _)| *holds).map(|(_, mark)| *mark).collect::<Vec<_>>().join(", ")
}

/// The segments with their sizes, shares and distinguishing features, and how the columns were prepared.
#[derive(Debug, Clone, Copy)]
pub struct Summary<'s>(pub &'s Study);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let study = self.0;
        let source = &study.source;
        writeln!(
            f,
            "{} customers, {} features, {} segments; inertia {:.1} (sum of squared distances; k-means++, {} restarts, \
             seed {})",
            source.rows,
            study.features.len(),
            study.segments.len(),
            source.inertia,
            source.n_init,
            source.seed,
        )?;
        let columns = &study.columns;
        let logged = columns.iter().filter(|column| column.log1p).map(|column| column.name.clone());
        list(f, "ln(1 + x) applied", logged)?;
        let imputed = columns.iter().filter(|column| column.missing > 0 && column.impute.is_some());
        list(
            f,
            "missing values imputed",
            imputed.map(|column| format!("{} ({})", column.name, column.missing)),
        )?;
        let left_out = columns.iter().filter_map(|column| Some((column, column.left_out.as_ref()?)));
        list(f, "left out", left_out.map(|(column, why)| format!("{} ({why})", column.name)))?;
        let warned = columns.iter().filter(|column| column.warning.is_some());
        list(f, "labels used as features, probably by mistake", warned.map(|column| column.name.clone()))?;
        let outside =
            columns.iter().filter_map(|column| Some((column, column.out_of_range.filter(|n| *n > 0)?)));
        list(
            f,
            "values outside the training range of the previous version",
            outside.map(|(column, n)| format!("{} ({n})", column.name)),
        )?;

        let mut table = Table::new();
        let header = ["id", "segment", "customers", "share", "silhouette", "Jaccard", "distinguished by"];
        table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header);
        for (segment, share) in study.segments.iter().zip(shares(&study.segments)) {
            let apart = segment
                .distinguishing
                .iter()
                .take(3)
                .map(|at| format!("{} {:+.1} σ", study.features[*at].name, segment.features[*at].z));
            table.add_row([
                segment.id.to_string(),
                foreign::shown(&segment.name).into_owned(),
                segment.size.to_string(),
                share,
                format!("{:.2}", segment.silhouette),
                format!("{:.2}", segment.jaccard),
                foreign::shown(&apart.collect::<Vec<_>>().join(", ")).into_owned(),
            ]);
        }
        for number in [0, 2, 3, 4, 5] {
            if let Some(column) = table.column_mut(number) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        write!(f, "{table}")
    }
}

fn list(f: &mut fmt::Formatter<'_>, label: &str, items: impl Iterator<Item = String>) -> fmt::Result {
    let items: Vec<String> = items.collect();
    if items.is_empty() { Ok(()) } else { writeln!(f, "{label}: {}", items.join(", ")) }
}
