//! Trees of more than 256 leaves: a block of rows walks down together, one level at a time.

#![expect(clippy::inline_always, reason = "it must become part of the function that has the instruction set")]

use crate::ensemble::leaves::Reached;
use crate::ensemble::trees::{Child, Split, Tree};
use crate::instructions::SIMD_WIDTH;

/// Consecutive trees of an ensemble.
#[derive(Debug)]
pub(crate) struct WalkRun {
    trees: Vec<Walk>,
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Copy)]
struct Walk {
    /// The position of the root.
    root: u32,
    /// Levels of conditions: the steps after which every row is at its leaf.
    depth: u32,
}

/// A condition, or a leaf, which points to itself.
#[derive(Debug, Clone, Copy)]
struct Node {
    column: u32,
    cut: i32,
    /// The next node if it holds, and if it fails.
    next: [u32; 2],
    leaf: u32,
}

impl WalkRun {
    pub(crate) fn new(trees: &[Tree], cut: impl Fn(&Split) -> i32) -> Self {
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
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of_val(self.trees.as_slice()) + size_of_val(self.nodes.as_slice())
    }

    /// Finds the leaves of `B` × [`SIMD_WIDTH`] rows in every tree, in order, and passes them to `reached`. `keys` are
    /// those of all columns, per block.
    #[inline(always)]
    pub(crate) fn reach<const B: usize>(&self, keys: [&[[i32; SIMD_WIDTH]]; B], reached: &mut impl Reached) {
        for (tree, walk) in self.trees.iter().enumerate() {
            for (block, keys) in keys.iter().enumerate() {
                let mut at = [walk.root; SIMD_WIDTH];
                for _ in 0..walk.depth {
                    for (row, at) in at.iter_mut().enumerate() {
                        let node = &self.nodes[*at as usize];
                        *at = node.next[usize::from(keys[node.column as usize][row] > node.cut)];
                    }
                }
                reached.leaves(tree, block, at.map(|at| self.nodes[at as usize].leaf));
            }
        }
    }
}

fn depth(tree: &Tree) -> u32 {
    // A condition precedes those below it.
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
