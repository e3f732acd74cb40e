//! The assignment of rows to centroids.

use std::collections::HashSet;

use segment::assign::Centroids;

/// The number of distinct points, counted up to `enough`.
pub(super) fn distinct_rows(points: &[f64], dimensions: usize, enough: usize) -> usize {
    let mut seen = HashSet::new();
    for point in points.chunks_exact(dimensions) {
        // Adding 0 turns −0 into 0, so equal coordinates have equal bits.
        seen.insert(point.iter().map(|coordinate| (coordinate + 0.0).to_bits()).collect::<Vec<u64>>());
        if seen.len() >= enough {
            break;
        }
    }
    seen.len()
}

/// The nearest centroid of each point.
pub(super) struct Membership {
    /// One per point.
    pub(super) segments: Vec<u32>,
    /// Points per centroid.
    pub(super) sizes: Vec<u64>,
    /// The sum of the squared distances, in the order of the points.
    pub(super) inertia: f64,
}

impl Membership {
    /// Assigns every point to its nearest centroid; the lowest wins a tie.
    ///
    /// `points`: rows × `dimensions`, row-major.
    pub(super) fn of(centroids: &Centroids, points: &[f64], dimensions: usize) -> Self {
        let rows = points.chunks_exact(dimensions);
        let mut membership = Self {
            segments: Vec::with_capacity(rows.len()),
            sizes: vec![0; centroids.rows().len()],
            inertia: 0.0,
        };
        for point in rows {
            let nearest = centroids.nearest(point);
            membership.segments.push(nearest.id);
            membership.sizes[nearest.id as usize] += 1;
            membership.inertia += nearest.squared;
        }
        membership
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inertia_is_the_sum_of_squares() {
        let membership = Membership::of(&Centroids::new(1, vec![0.0, 10.0]), &[1.0, -2.0, 13.0, 5.0], 1);
        assert_eq!(membership.segments, [0, 0, 1, 0]);
        assert_eq!(membership.sizes, [3, 1]);
        assert_eq!(membership.inertia.to_bits(), (1.0_f64 + 4.0 + 9.0 + 25.0).to_bits());
    }

    #[test]
    fn distinct_points_are_counted_until_there_are_enough() {
        let points = [0.0, 1.0, -0.0, 1.0, 2.0, 2.0, 3.0, 3.0];
        assert_eq!(distinct_rows(&points, 2, 9), 3);
        assert_eq!(distinct_rows(&points, 2, 2), 2);
    }
}
