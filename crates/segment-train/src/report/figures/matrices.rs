//! Heat maps from blue over white to red: profiles and correlations.

use report::numbers;

use super::FigureError;
use super::canvas::{Anchor, Canvas, Drawn, SMALL, TEXT, figure, fitted, width_of};
use crate::report::palette;
use crate::report::palette::{INK, MUTED, NEUTRAL, PAPER};
use crate::train::study::{PopulationProfile, SegmentProfile, shares};

/// The end of the colour scale, in standard deviations.
const Z_END: f64 = 2.0;

/// The maximum width of feature names, in pixels.
const NAMES: f64 = 260.0;

const ROW: f64 = 27.0;

/// Features × segments: the mean z of each feature in each segment, and η² of each feature.
///
/// `labels`: one per feature. `order`: the features to show, from the top.
pub(in crate::report) fn heat_map(
    segments: &[SegmentProfile],
    features: &[PopulationProfile],
    labels: &[String],
    order: &[usize],
) -> Result<String, FigureError> {
    let cell = if segments.len() > 9 {
        58.0
    } else if segments.len() > 7 {
        76.0
    } else {
        90.0
    };
    let names = name_width(order.iter().map(|feature| labels[*feature].as_str()));
    let (left, top) = (names + 12.0, 56.0);
    let right = left + cell * segments.len() as f64;
    let bottom = top + ROW * order.len() as f64;
    let size = (right + 180.0, bottom + 62.0);
    figure(size, "Profiles: standard deviations from the mean, by feature and segment", |canvas| {
        for (column, (segment, share)) in segments.iter().zip(shares(segments)).enumerate() {
            let x = left + cell * (column as f64 + 0.5);
            canvas.badge(segment.id as usize, (x, 20.0), palette::segment(segment.id as usize))?;
            canvas.text(&share, (x, 42.0), SMALL, MUTED, Anchor::Middle)?;
        }
        canvas.text("explained by", (right + 14.0, 26.0), SMALL, MUTED, Anchor::Start)?;
        canvas.text("the segments (η²)", (right + 14.0, 41.0), SMALL, MUTED, Anchor::Start)?;
        for (row, feature) in order.iter().enumerate() {
            let y = top + ROW * row as f64;
            let middle = y + ROW / 2.0;
            let name = fitted(&labels[*feature], TEXT, names);
            canvas.text(&name, (left - 10.0, middle), TEXT, INK, Anchor::End)?;
            for (column, segment) in segments.iter().enumerate() {
                let z = segment.features[*feature].z;
                let x = left + cell * column as f64;
                tile(canvas, (x, y), (cell, ROW), z / Z_END, &numbers::signed(z, 2))?;
            }
            let explained = features[*feature].explained;
            let bar = right + 14.0 + 110.0 * explained;
            canvas.rectangle((right + 14.0, middle - 5.0), (bar, middle + 5.0), NEUTRAL)?;
            canvas.text(&numbers::share(explained), (bar + 6.0, middle), SMALL, INK, Anchor::Start)?;
        }
        let title = "segment mean, in standard deviations from the mean of all customers";
        legend(
            canvas,
            (left, bottom + 28.0),
            (right - left).max(300.0),
            ["−2 or less", "0", "+2 or more"],
            title,
        )
    })
}

/// Features × features.
pub(in crate::report) fn correlation(names: &[String], matrix: &[Vec<f64>]) -> Result<String, FigureError> {
    let count = names.len();
    let cell = (820.0 / count.max(1) as f64).clamp(9.0, 40.0);
    let longest = name_width(names.iter().map(String::as_str));
    let left = longest + 12.0;
    let top = longest + 12.0;
    let extent = cell * count as f64;
    let (right, bottom) = (left + extent, top + extent);
    let letters = TEXT.min(cell * 0.86).max(7.0);
    let size = (right.max(left + 300.0) + 20.0, bottom + 64.0);
    figure(size, "Correlation of the features", |canvas| {
        for (row, name) in names.iter().enumerate() {
            let middle = cell * (row as f64 + 0.5);
            let shown = fitted(name, letters, longest);
            canvas.text(&shown, (left - 8.0, top + middle), letters, INK, Anchor::End)?;
            canvas.upwards(&shown, (left + middle, top - 8.0), letters, INK, Anchor::Start)?;
            for (column, value) in matrix[row].iter().enumerate() {
                let text = if cell >= 30.0 && row != column { hundredths(*value) } else { String::new() };
                let at = (left + cell * column as f64, top + cell * row as f64);
                tile(canvas, at, (cell, cell), *value, &text)?;
            }
        }
        let title = "Pearson correlation of the prepared features";
        legend(canvas, (left, bottom + 28.0), extent.clamp(300.0, 460.0), ["−1", "0", "+1"], title)
    })
}

/// The width of the column for these names, in pixels.
fn name_width<'n>(names: impl Iterator<Item = &'n str>) -> f64 {
    names.map(|name| width_of(name, TEXT) + 4.0).fold(60.0, f64::max).min(NAMES)
}

fn tile(
    canvas: &Canvas<'_>,
    (x, y): (f64, f64),
    (width, height): (f64, f64),
    value: f64,
    text: &str,
) -> Drawn {
    let colour = palette::diverging(value);
    canvas.rectangle((x, y), (x + width, y + height), colour)?;
    canvas.outline((x, y), (x + width, y + height), PAPER, 1.0)?;
    if text.is_empty() {
        return Ok(());
    }
    let middle = (x + width / 2.0, y + height / 2.0);
    canvas.text(text, middle, SMALL, colour.text_on(), Anchor::Middle)
}

/// Draws the colour scale.
fn legend(canvas: &Canvas<'_>, (x, y): (f64, f64), width: f64, ends: [&str; 3], title: &str) -> Drawn {
    let width = width.min(460.0);
    let steps = 64;
    for step in 0..steps {
        let share = f64::from(step) / f64::from(steps);
        let (from, to) = (x + width * share, x + width * (share + 1.0 / f64::from(steps)) + 0.8);
        canvas.rectangle((from, y), (to, y + 8.0), palette::diverging(2.0 * share - 1.0))?;
    }
    let below = y + 18.0;
    canvas.text(ends[0], (x, below), SMALL, MUTED, Anchor::Start)?;
    canvas.text(ends[1], (x + width / 2.0, below), SMALL, MUTED, Anchor::Middle)?;
    canvas.text(ends[2], (x + width, below), SMALL, MUTED, Anchor::End)?;
    canvas.text(title, (x, y - 9.0), SMALL, MUTED, Anchor::Start)
}

/// A correlation with two digits: `.83`, `−.20`, `0`.
fn hundredths(value: f64) -> String {
    let text = format!("{:.2}", value.abs());
    if text == "0.00" {
        return "0".to_owned();
    }
    let digits = text.strip_prefix('0').unwrap_or(&text);
    if value < 0.0 { format!("−{digits}") } else { digits.to_owned() }
}
