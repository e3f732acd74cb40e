//! Trees of more than 256 leaves: a block of rows goes down side by side, a level at a time.

use super::ensemble::{Child, Split, Tree};
use super::leaves::Reached;
use super::machine::LANES;

/// Consecutive trees of an ensemble.
#[derive(Debug)]
pub(super) struct WalkRun {
    trees: Vec<Walk>,
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Copy)]
struct Walk {
    /// The position of the root.
    root: u32,
    /// Levels of conditions: how often a row must step to be sure of its leaf.
    depth: u32,
}

/// A condition, or a leaf, which leads to itself.
#[derive(Debug, Clone, Copy)]
struct Node {
    column: u32,
    cut: i32,
    /// Where it leads if it holds and if it fails.
    next: [u32; 2],
    leaf: u32,
}

impl WalkRun {
    pub(super) fn new(trees: &[Tree], cut: impl Fn(&Split) -> i32) -> Self {
        let mut run = Self { trees: Vec::with_capacity(trees.len()), nodes: Vec::new() };
        for tree in trees {
            let (start, splits) = (run.nodes.len() as u32, tree.splits.len() as u32);
            let place = |child: Child| match child {
                Child::Split(split) => start + split,
                Child::Leaf(leaf) => start + splits + leaf,
            };
            for split in &tree.splits {
                let next = [place(split.holds), place(split.fails)];
                run.nodes.push(Node { column: split.column, cut: cut(split), next, leaf: 0 });
            }
            for leaf in 0..tree.leaves.len() as u32 {
                let itself = start + splits + leaf;
                run.nodes.push(Node { column: 0, cut: 0, next: [itself; 2], leaf });
            }
            run.trees.push(Walk { root: place(tree.root), depth: depth(tree) });
        }
        run
    }

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(self.trees.as_slice()) + size_of_val(self.nodes.as_slice())
    }

    /// Finds the leaves of `B` × [`LANES`] rows in every tree, in order, and tells `reached`. `keys`: of all columns, for
    /// each block.
    #[inline(always)]
    pub(super) fn reach<const B: usize>(&self, keys: [&[[i32; LANES]]; B], reached: &mut impl Reached) {
        for (tree, walk) in self.trees.iter().enumerate() {
            for (block, keys) in keys.iter().enumerate() {
                let mut at = [walk.root; LANES];
                for _ in 0..walk.depth {
                    for (lane, at) in at.iter_mut().enumerate() {
                        let node = &self.nodes[*at as usize];
                        *at = node.next[usize::from(keys[node.column as usize][lane] > node.cut)];
                    }
                }
                reached.leaves(tree, block, &at.map(|at| self.nodes[at as usize].leaf));
            }
        }
    }
}

fn depth(tree: &Tree) -> u32 {
    // A condition comes before those below it.
    let mut depths = vec![1; tree.splits.len()];
    for at in 0..tree.splits.len() {
        for child in [tree.splits[at].holds, tree.splits[at].fails] {
            if let Child::Split(below) = child {
                depths[below as usize] = depths[at] + 1;
            }
        }
    }
    depths.into_iter().max().unwrap_or(0)
}
