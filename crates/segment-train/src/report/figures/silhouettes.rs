//! Charts of the silhouettes of single customers and of the stability of each segment.

use report::numbers;

use super::FigureError;
use super::canvas::{Anchor, Axes, SMALL, TEXT, figure, rounded, ticks};
use crate::report::palette;
use crate::report::palette::{AXIS, GRID, INK};
use crate::train::study::{STABLE_JACCARD, SegmentProfile};

/// The silhouettes of the customers of each segment, in descending order, with the overall mean.
pub(in crate::report) fn silhouettes(by_segment: &[Vec<f32>], mean: f64) -> Result<String, FigureError> {
    let known: usize = by_segment.iter().map(Vec::len).sum();
    let gap = 8.0;
    let (top, height) = (26.0, 400.0);
    let bands = height - gap * (by_segment.len().max(1) - 1) as f64;
    let values = || by_segment.iter().flatten().map(|value| f64::from(*value));
    let range = [values().fold(-0.05, f64::min), values().fold(0.1, f64::max)];
    let axes = Axes { frame: [40.0, top, 466.0, top + height], x: rounded(range, 8), y: [0.0, 1.0] };
    figure((480.0, top + height + 52.0), "Silhouettes of the customers by segment", |canvas| {
        for tick in ticks(axes.x, 8) {
            let (x, _) = axes.at(tick, 0.0);
            canvas.line(&[(x, top), (x, top + height)], GRID, 1.0)?;
        }
        let (zero, _) = axes.at(0.0, 0.0);
        let mut y = top;
        for (id, values) in by_segment.iter().enumerate() {
            let band = bands * values.len() as f64 / known.max(1) as f64;
            // At most one corner per pixel of height: more are not visible.
            let steps = (band.ceil() as usize).clamp(1, values.len().max(1));
            let mut corners = vec![(zero, y)];
            for step in 0..=steps {
                let Some(last) = values.len().checked_sub(1) else { break };
                let (x, _) = axes.at(f64::from(values[last * step / steps]), 0.0);
                corners.push((x, y + band * step as f64 / steps as f64));
            }
            corners.push((zero, y + band));
            canvas.polygon(&corners, palette::segment(id), 0.9)?;
            canvas.badge(id, (22.0, y + band / 2.0), palette::segment(id))?;
            y += band + gap;
        }
        canvas.line(&[(zero, top), (zero, top + height)], AXIS, 1.2)?;
        let (x, _) = axes.at(mean, 0.0);
        canvas.dashed((x, top), (x, top + height), INK, 1.4)?;
        let text = format!("mean {}", numbers::fixed(mean, 3));
        canvas.bold(&text, (x, 13.0), SMALL, INK, Anchor::Middle)?;
        axes.draw_x(canvas, &ticks(axes.x, 8), |tick| numbers::signed(tick, 1))?;
        let middle = f64::midpoint(axes.frame[0], axes.frame[2]);
        let title = "silhouette of a customer (below 0: nearer to another segment)";
        canvas.text(title, (middle, top + height + 36.0), TEXT, INK, Anchor::Middle)
    })
}

/// The mean Jaccard similarity of each segment over the resamples, with the threshold of stability.
pub(in crate::report) fn jaccard(segments: &[SegmentProfile]) -> Result<String, FigureError> {
    let (row, top) = (30.0, 26.0);
    let bottom = top + row * segments.len() as f64;
    let axes = Axes { frame: [40.0, top, 436.0, bottom], x: [0.0, 1.0], y: [0.0, 1.0] };
    figure((480.0, bottom + 50.0), "Stability of each segment", |canvas| {
        for tick in ticks(axes.x, 5) {
            let (x, _) = axes.at(tick, 0.0);
            canvas.line(&[(x, top), (x, bottom)], GRID, 1.0)?;
        }
        let (zero, _) = axes.at(0.0, 0.0);
        for (number, segment) in segments.iter().enumerate() {
            let (id, middle) = (segment.id as usize, top + row * (number as f64 + 0.5));
            canvas.badge(id, (22.0, middle), palette::segment(id))?;
            let (end, _) = axes.at(segment.jaccard, 0.0);
            canvas.rectangle((zero, middle - 8.0), (end, middle + 8.0), palette::segment(id))?;
            let text = numbers::fixed(segment.jaccard, 2);
            canvas.text(&text, (end + 6.0, middle), SMALL, INK, Anchor::Start)?;
        }
        let (x, _) = axes.at(STABLE_JACCARD, 0.0);
        canvas.dashed((x, top), (x, bottom), INK, 1.4)?;
        canvas.bold(&format!("stable from {STABLE_JACCARD}"), (x, 13.0), SMALL, INK, Anchor::Middle)?;
        canvas.line(&[(zero, top), (zero, bottom)], AXIS, 1.0)?;
        axes.draw_x(canvas, &ticks(axes.x, 5), |tick| numbers::fixed(tick, 1))?;
        let middle = f64::midpoint(axes.frame[0], axes.frame[2]);
        let title = "mean Jaccard similarity over resamples";
        canvas.text(title, (middle, bottom + 36.0), TEXT, INK, Anchor::Middle)
    })
}
