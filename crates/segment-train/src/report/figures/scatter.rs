//! Scatter plots of single customers, with a colour, shape and number per segment.

use report::numbers;

use super::FigureError;
use super::canvas::{Anchor, Axes, Canvas, Drawn, SMALL, TEXT, figure, rounded, ticks};
use crate::report::palette;
use crate::report::palette::{AXIS, Colour, GRID, INK, MUTED};
use crate::train::study::Scatter;

const SIZE: (f64, f64) = (480.0, 460.0);

/// The projection of a scatter plot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::report) enum Plane {
    /// Principal components that explain these shares of the variance.
    Components([f64; 2]),
    /// t-SNE, whose axes have no unit.
    Tsne,
}

/// The points of `scatter`, with the number of each segment at its centre.
pub(in crate::report) fn scatter(scatter: &Scatter, plane: Plane) -> Result<String, FigureError> {
    let label = match plane {
        Plane::Components(_) => "Customers by the first two principal components",
        Plane::Tsne => "Customers by t-SNE",
    };
    let range = |axis: usize| {
        let values = scatter.points.iter().map(|point| f64::from(point[axis]));
        let (low, high) = values
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        match plane {
            _ if low >= high => [-1.0, 1.0],
            Plane::Components(_) => rounded([low, high], 8),
            Plane::Tsne => [low - 0.04 * (high - low), high + 0.04 * (high - low)],
        }
    };
    let axes = Axes { frame: [54.0, 8.0, SIZE.0 - 10.0, SIZE.1 - 52.0], x: range(0), y: range(1) };
    figure(SIZE, label, |canvas| {
        frame(canvas, &axes, plane)?;
        for (point, segment) in drawing_order(scatter) {
            let at = axes.at(f64::from(point[0]), f64::from(point[1]));
            mark(canvas, segment, at, palette::segment(segment))?;
        }
        for (segment, middle) in middles(scatter) {
            canvas.badge(segment, axes.at(middle[0], middle[1]), palette::segment(segment))?;
        }
        Ok(())
    })
}

fn frame(canvas: &Canvas<'_>, axes: &Axes, plane: Plane) -> Drawn {
    let [left, top, right, bottom] = axes.frame;
    let Plane::Components(shares) = plane else {
        canvas.outline((left, top), (right, bottom), GRID, 1.0)?;
        let middle = f64::midpoint(left, right);
        let unit = "no unit: nearby customers are similar, distances between groups mean little";
        canvas.text("t-SNE, first coordinate", (middle, bottom + 18.0), TEXT, INK, Anchor::Middle)?;
        canvas.text(unit, (middle, bottom + 38.0), SMALL, MUTED, Anchor::Middle)?;
        return canvas.upwards(
            "t-SNE, second coordinate",
            (38.0, f64::midpoint(top, bottom)),
            TEXT,
            INK,
            Anchor::Middle,
        );
    };
    for tick in ticks(axes.x, 6) {
        let (x, _) = axes.at(tick, axes.y[0]);
        canvas.line(&[(x, top), (x, bottom)], GRID, 1.0)?;
    }
    axes.draw_y(canvas, &ticks(axes.y, 6), numbers::short)?;
    axes.draw_x(canvas, &ticks(axes.x, 6), numbers::short)?;
    canvas.line(&[(left, top), (left, bottom)], AXIS, 1.0)?;
    let name =
        |which: &str, share: f64| format!("{which} component ({} of the variance)", numbers::share(share));
    axes.titles(canvas, &name("first", shares[0]), &name("second", shares[1]))
}

/// Interleaves the points of the segments, so that no segment hides the others.
fn drawing_order(scatter: &Scatter) -> Vec<([f32; 2], usize)> {
    let segments = scatter.segments.iter().map(|segment| *segment as usize + 1).max().unwrap_or(0);
    let mut sizes = vec![0_usize; segments];
    for segment in &scatter.segments {
        sizes[*segment as usize] += 1;
    }
    let mut seen = vec![0_usize; segments];
    let mut keyed: Vec<(f64, [f32; 2], usize)> = Vec::with_capacity(scatter.points.len());
    for (point, segment) in scatter.points.iter().zip(&scatter.segments) {
        let segment = *segment as usize;
        seen[segment] += 1;
        keyed.push((seen[segment] as f64 / sizes[segment] as f64, *point, segment));
    }
    keyed.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.2.cmp(&other.2)));
    keyed.into_iter().map(|(_, point, segment)| (point, segment)).collect()
}

/// Draws a small disc, square, triangle or diamond.
fn mark(canvas: &Canvas<'_>, segment: usize, (x, y): (f64, f64), colour: Colour) -> Drawn {
    let opacity = 0.62;
    match segment % 4 {
        0 => canvas.disc((x, y), 2.5, colour, opacity),
        1 => canvas.polygon(
            &[(x - 2.2, y - 2.2), (x + 2.2, y - 2.2), (x + 2.2, y + 2.2), (x - 2.2, y + 2.2)],
            colour,
            opacity,
        ),
        2 => canvas.polygon(&[(x, y - 3.0), (x + 2.8, y + 2.2), (x - 2.8, y + 2.2)], colour, opacity),
        _ => canvas.polygon(&[(x, y - 3.2), (x + 3.2, y), (x, y + 3.2), (x - 3.2, y)], colour, opacity),
    }
}

/// The customer of each segment nearest to its coordinate-wise median, so that the number is among its points.
fn middles(scatter: &Scatter) -> Vec<(usize, [f64; 2])> {
    let segments = scatter.segments.iter().map(|segment| *segment as usize + 1).max().unwrap_or(0);
    let mut members: Vec<Vec<[f64; 2]>> = vec![Vec::new(); segments];
    for (point, segment) in scatter.points.iter().zip(&scatter.segments) {
        members[*segment as usize].push(point.map(f64::from));
    }
    let median = |points: &[[f64; 2]], axis: usize| {
        let mut values: Vec<f64> = points.iter().map(|point| point[axis]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let middle = |points: &Vec<[f64; 2]>| {
        let centre = [median(points, 0), median(points, 1)];
        let distance = |point: &[f64; 2]| (point[0] - centre[0]).hypot(point[1] - centre[1]);
        points.iter().copied().min_by(|one, other| distance(one).total_cmp(&distance(other)))
    };
    let numbered = members.iter().enumerate().filter(|(_, points)| !points.is_empty());
    numbered.filter_map(|(segment, points)| Some((segment, middle(points)?))).collect()
}
