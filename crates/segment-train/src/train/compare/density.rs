//! DBSCAN: dense regions are clusters, everything else is noise.

use linfa::ParamGuard;
use linfa::traits::Transformer;
use linfa_clustering::Dbscan;
use ndarray::ArrayView2;
use rayon::prelude::*;

use super::Clustering;
use crate::train::choose::kneedle::farthest_below_chord;

/// Clusters rows that have enough neighbours.
///
/// `points`: rows × dimensions. A row is a core point if 2 × dimensions rows, including itself, lie within ε of it.
/// ε is at the knee of the distances to the last of those neighbours, in descending order.
/// Cost: rows² × dimensions. Sources: Ester, Kriegel, Sander & Xu, "A density-based algorithm for discovering clusters"
/// (1996); for the number of neighbours: Sander et al., "Density-based clustering in spatial databases" (1998).
pub(super) fn dbscan(points: ArrayView2<'_, f64>) -> Clustering {
    let min_points = (2 * points.ncols()).max(2);
    let settings = format!("{min_points} neighbours");
    let Some(eps) = eps(points, min_points) else {
        let note = "the distances between neighbours have no knee, so there is no radius to choose";
        return Clustering { settings, labels: Err(note.to_owned()) };
    };
    Clustering { settings: format!("{settings} within {eps:.3}"), labels: within(points, min_points, eps) }
}

fn within(points: ArrayView2<'_, f64>, min_points: usize, eps: f64) -> Result<Vec<Option<u32>>, String> {
    let parameters = Dbscan::params(min_points).tolerance(eps).check().map_err(|error| error.to_string())?;
    let labels = parameters.transform(&points.to_owned());
    Ok(labels.iter().map(|label| label.map(|label| label as u32)).collect())
}

/// The knee of the distances of the rows to their `min_points`-th neighbour, counting themselves, in descending order.
///
/// `None` for too few rows or equal distances.
fn eps(points: ArrayView2<'_, f64>, min_points: usize) -> Option<f64> {
    let rows: Vec<Vec<f64>> = points.rows().into_iter().map(|row| row.to_vec()).collect();
    if rows.len() < min_points {
        return None;
    }
    let last_neighbour = |row: &Vec<f64>| {
        let squared = |other: &Vec<f64>| row.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
        let mut squared: Vec<f64> = rows.iter().map(squared).collect();
        let (_, last, _) = squared.select_nth_unstable_by(min_points - 1, f64::total_cmp);
        last.sqrt()
    };
    let mut distances: Vec<f64> = rows.par_iter().map(last_neighbour).collect();
    distances.sort_by(|one, other| other.total_cmp(one));
    let positions: Vec<f64> = (0..distances.len()).map(|position| position as f64).collect();
    let knee = farthest_below_chord(&positions, &distances)?;
    // Rows with enough duplicates have distance 0. The knee may be there, but a radius must be positive.
    distances[..=knee].iter().rev().copied().find(|distance| *distance > 0.0)
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::super::super::choose::golden;
    use super::super::numbered;
    use super::*;

    #[test]
    fn radius_and_clusters_agree_with_scikit_learn() {
        let case = &golden::read()["other_methods"];
        let points = golden::matrix(&case["points"]);
        let min_points = case["min_points"].as_u64().unwrap() as usize;
        let expected = case["eps"].as_f64().unwrap();
        golden::near(eps(points.view(), min_points).unwrap(), expected, 1e-12);
        // Slightly more, so that both include the row at the knee.
        let found = within(points.view(), min_points, expected * (1.0 + 1e-12)).unwrap();
        let expected: Vec<Option<u32>> = case["dbscan"]
            .as_array()
            .unwrap()
            .iter()
            .map(|label| u32::try_from(label.as_i64().unwrap()).ok())
            .collect();
        // Both number the clusters by their first row.
        assert_eq!(numbered(&found), numbered(&expected));
    }

    #[test]
    fn many_equal_rows_are_one_cluster_and_all_equal_rows_have_no_radius() {
        let mut points = Array2::zeros((400, 2));
        assert!(dbscan(points.view()).labels.is_err());
        for row in 300..400 {
            points[[row, 0]] = row as f64;
        }
        let found = dbscan(points.view()).labels.unwrap();
        assert_eq!(found[..300], [Some(0); 300]);
    }

    #[test]
    fn fewer_rows_than_neighbours_leave_a_note() {
        assert!(dbscan(Array2::from_elem((3, 2), 1.0).view()).labels.is_err());
    }
}
