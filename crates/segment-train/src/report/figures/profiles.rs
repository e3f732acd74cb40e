//! Bar charts of the sizes of the segments and of their profiles.

use report::numbers;

use super::FigureError;
use super::canvas::{Anchor, Axes, SMALL, TEXT, figure, fitted, ticks, width_of};
use crate::report::palette;
use crate::report::palette::{AXIS, GRID, INK, MUTED};
use crate::train::study;
use crate::train::study::SegmentProfile;

/// A bar per segment.
pub(in crate::report) fn shares(segments: &[SegmentProfile]) -> Result<String, FigureError> {
    let names =
        segments.iter().map(|segment| width_of(&segment.name, TEXT) + 6.0).fold(80.0, f64::max).min(400.0);
    let most = segments.iter().map(|segment| segment.share).fold(0.0, f64::max).max(1e-9);
    let (left, row) = (names + 46.0, 32.0);
    let width = 960.0 - left - 150.0;
    figure((960.0, row * segments.len() as f64 + 8.0), "Customers by segment", |canvas| {
        for (number, (segment, share)) in segments.iter().zip(study::shares(segments)).enumerate() {
            let (id, middle) = (segment.id as usize, row * (number as f64 + 0.5) + 4.0);
            let colour = palette::segment(id);
            canvas.badge(id, (12.0, middle), colour)?;
            canvas.text(&fitted(&segment.name, TEXT, names), (30.0, middle), TEXT, INK, Anchor::Start)?;
            let end = left + width * segment.share / most;
            canvas.rectangle((left, middle - 9.0), (end, middle + 9.0), colour)?;
            let text = format!("{share} · {}", numbers::count(segment.size));
            canvas.text(&text, (end + 8.0, middle), TEXT, INK, Anchor::Start)?;
        }
        canvas.line(&[(left, 4.0), (left, row * segments.len() as f64 + 4.0)], AXIS, 1.0)
    })
}

/// A bar per feature of one segment. The axis runs from `-end` to `end`, the same for every segment.
pub(in crate::report) fn bar_profile(
    segment: &SegmentProfile,
    labels: &[String],
    order: &[usize],
    end: f64,
) -> Result<String, FigureError> {
    let (row, names) = (20.0, 192.0);
    let bottom = 8.0 + row * order.len() as f64;
    let axes = Axes { frame: [names + 20.0, 8.0, 456.0, bottom], x: [-end, end], y: [0.0, 1.0] };
    let label = format!("Profile of segment {}: {}", segment.id, segment.name);
    figure((480.0, bottom + 46.0), &label, |canvas| {
        let marks = ticks(axes.x, 6);
        for tick in &marks {
            let (x, _) = axes.at(*tick, 0.0);
            canvas.line(&[(x, 8.0), (x, bottom)], GRID, 1.0)?;
        }
        let (zero, _) = axes.at(0.0, 0.0);
        for (number, feature) in order.iter().enumerate() {
            let middle = 8.0 + row * (number as f64 + 0.5);
            let z = segment.features[*feature].z;
            let (tip, _) = axes.at(z, 0.0);
            let distinguishing = segment.distinguishing.contains(feature);
            let own = palette::segment(segment.id as usize);
            let colour = if distinguishing { own } else { own.mixed(palette::PAPER, 0.5) };
            canvas.rectangle((zero.min(tip), middle - 7.0), (zero.max(tip), middle + 7.0), colour)?;
            let name = fitted(&labels[*feature], SMALL, names);
            let ink = if distinguishing { INK } else { MUTED };
            canvas.text(&name, (names + 4.0, middle), SMALL, ink, Anchor::End)?;
            let side = if z < 0.0 { (-5.0, Anchor::End) } else { (5.0, Anchor::Start) };
            canvas.text(&numbers::signed(z, 1), (tip + side.0, middle), SMALL, ink, side.1)?;
        }
        canvas.line(&[(zero, 8.0), (zero, bottom)], AXIS, 1.2)?;
        axes.draw_x(canvas, &marks, numbers::short)?;
        let middle = f64::midpoint(axes.frame[0], axes.frame[2]);
        let title = "standard deviations from the mean of all customers";
        canvas.text(title, (middle, bottom + 34.0), SMALL, MUTED, Anchor::Middle)
    })
}
