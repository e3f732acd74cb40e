//! Keeps the ids and names of segments when they are trained again.
//!
//! Customers are assigned by the previous artefact and by the new clusters. Each new cluster continues at most one
//! previous segment, so that as many customers as possible keep their segment.
//! These are pure functions of labels, which `customers` computes. [`Gate`] decides whether the result may replace the
//! previous version, and [`MigrationTable`] prints it. Start reading at [`match_segments`].

mod display;
mod gate;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use pathfinding::kuhn_munkres::kuhn_munkres;
use pathfinding::matrix::Matrix;

pub use self::display::MigrationTable;
pub(super) use self::gate::Gate;
pub use self::gate::{Cause, RetrainRefusal};

use super::study::Migration;
use segment::Segmentation;

/// The version that new segments continue.
#[derive(Debug, Clone, PartialEq)]
pub struct Previous {
    /// Its name in messages: a path or a version.
    pub name: String,
    /// Its artefact.
    pub segmentation: Segmentation,
}

/// Which new cluster continues which previous segment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Matching {
    /// The id of each new cluster: a permutation.
    pub(super) order: Vec<usize>,
    /// The customers by previous and new segment, with the new ids.
    pub(super) migration: Migration,
}

/// Matches `k` new clusters to the segments of `previous` so that the most customers keep their segment.
///
/// `previous_labels`, `labels`: one per customer, below the number of previous segments and below `k`.
/// `limit`: the share of customers that may move, for the record.
/// A cluster that continues a segment gets its id. Ids are positions, so an id of `k` or more becomes the lowest free
/// one.
/// Clusters that continue nothing come last, the largest first.
/// Cost: customers + n³, where n is the greater number of segments.
/// Source: Kuhn, "The Hungarian method for the assignment problem" (1955); Munkres (1957).
#[must_use]
pub(super) fn match_segments(
    previous: &Previous,
    previous_labels: &[u32],
    k: usize,
    labels: &[u32],
    limit: f64,
) -> Matching {
    let before = previous.segmentation.len();
    let mut overlap = vec![vec![0_u64; k]; before];
    for (old, new) in previous_labels.iter().zip(labels) {
        overlap[*old as usize][*new as usize] += 1;
    }
    let continues = optimal_assignment(&overlap, k);
    let sizes: Vec<u64> = (0..k).map(|new| overlap.iter().map(|row| row[new]).sum()).collect();
    let order = ids(&continues, &sizes);

    let mut matrix = vec![vec![0; k]; before];
    let mut by_id = vec![None; k];
    for (new, id) in order.iter().enumerate() {
        by_id[*id] = continues[new].map(|old| old as u32);
        matrix.iter_mut().zip(&overlap).for_each(|(row, counted)| row[*id] = counted[new]);
    }
    let names = previous.segmentation.segments().iter().map(|segment| segment.name.clone());
    let mut migration = Migration {
        previous: previous.name.clone(),
        names: names.collect(),
        continues: by_id,
        matrix,
        moved: 0.0,
        limit,
    };
    migration.moved = share(migration.customers_moved(), migration.customers());
    Matching { order, migration }
}

/// For each new cluster, the previous segment that it continues, if they share a customer.
fn optimal_assignment(overlap: &[Vec<u64>], k: usize) -> Vec<Option<usize>> {
    let side = overlap.len().max(k);
    // The matrix is padded to a square. A match with a padded row or column continues nothing.
    let at = |(old, new): (usize, usize)| overlap.get(old).and_then(|row| row.get(new)).copied().unwrap_or(0);
    let (_, columns) = kuhn_munkres(&Matrix::from_fn(side, side, |place| at(place) as i64));
    let mut continues = vec![None; k];
    for (old, new) in columns.into_iter().enumerate() {
        if at((old, new)) > 0 {
            continues[new] = Some(old);
        }
    }
    continues
}

/// The final ids of the clusters.
fn ids(continues: &[Option<usize>], sizes: &[u64]) -> Vec<usize> {
    let k = continues.len();
    let mut ids: Vec<Option<usize>> = continues.iter().map(|old| old.filter(|old| *old < k)).collect();
    let taken: BTreeSet<usize> = ids.iter().flatten().copied().collect();
    let mut rest: Vec<usize> = (0..k).filter(|new| ids[*new].is_none()).collect();
    // Continued segments come before new ones, because people know them.
    rest.sort_by_key(|new| {
        (continues[*new].is_none(), continues[*new], std::cmp::Reverse(sizes[*new]), *new)
    });
    let free = (0..k).filter(|id| !taken.contains(id));
    for (new, id) in rest.into_iter().zip(free) {
        ids[new] = Some(id);
    }
    ids.into_iter().flatten().collect()
}

impl Matching {
    /// The names of the new segments by id: the previous name if it continues a segment, else the proposed one.
    ///
    /// A proposed name that another segment has gets a number. `proposed`: one per id.
    #[must_use]
    pub(super) fn names(&self, proposed: &[String]) -> Vec<String> {
        let carried = |id: usize| {
            let old = self.migration.continues.get(id).copied().flatten()?;
            self.migration.names.get(old as usize)
        };
        let mut taken: BTreeSet<String> = (0..proposed.len()).filter_map(carried).cloned().collect();
        let mut names = Vec::with_capacity(proposed.len());
        for (id, proposed) in proposed.iter().enumerate() {
            if let Some(name) = carried(id) {
                names.push(name.clone());
                continue;
            }
            let (mut name, mut number) = (proposed.clone(), 1);
            while !taken.insert(name.clone()) {
                number += 1;
                name = format!("{proposed} {number}");
            }
            names.push(name);
        }
        names
    }
}

impl Migration {
    /// The number of customers compared.
    #[must_use]
    pub fn customers(&self) -> u64 {
        self.matrix.iter().flatten().sum()
    }

    /// The number of customers who are not in the segment that continues theirs.
    #[must_use]
    pub fn customers_moved(&self) -> u64 {
        let stay = |(new, old): (usize, &Option<u32>)| old.map_or(0, |old| self.matrix[old as usize][new]);
        self.customers() - self.continues.iter().enumerate().map(stay).sum::<u64>()
    }

    /// Previous segments that no new one continues, ascending.
    #[must_use]
    pub fn ended(&self) -> Vec<u32> {
        let continued: BTreeSet<u32> = self.continues.iter().flatten().copied().collect();
        (0..self.names.len() as u32).filter(|old| !continued.contains(old)).collect()
    }

    /// New segments that continue no previous one, ascending.
    #[must_use]
    pub fn begun(&self) -> Vec<u32> {
        (0..).zip(&self.continues).filter(|(_, old)| old.is_none()).map(|(id, _)| id).collect()
    }

    /// Continued segments with another id: the old id and the new one.
    #[must_use]
    pub fn renumbered(&self) -> Vec<(u32, u32)> {
        let pairs = (0..).zip(&self.continues).filter_map(|(id, old)| Some(((*old)?, id)));
        pairs.filter(|(old, id)| old != id).collect()
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
