//! Parts of a run of trees, in the width of the run's vectors.

use crate::ensemble::bits::Nodes;
use crate::ensemble::word::Word;
use crate::instructions::SIMD_WIDTH;

/// A part of a run, in the width of its vectors.
#[derive(Debug, Clone)]
pub(super) enum Own<P: Per> {
    Bits32(P::Of<u32>),
    Bits64(P::Of<u64>),
    Bits128(P::Of<[u64; 2]>),
    Bits256(P::Of<[u64; 4]>),
    Walk,
}

/// A kind of part of a run.
pub(super) trait Per {
    type Of<W: Word>: std::fmt::Debug + Clone;
}

#[derive(Debug, Clone)]
pub(super) struct NodesOf;

impl Per for NodesOf {
    type Of<W: Word> = Nodes<W>;
}

/// A vector per tree.
#[derive(Debug, Clone)]
pub(super) struct OneRow;

impl Per for OneRow {
    type Of<W: Word> = Vec<W>;
}

/// Blocks × trees × rows.
#[derive(Debug, Clone)]
pub(super) struct Rows;

impl Per for Rows {
    type Of<W: Word> = Vec<[W; SIMD_WIDTH]>;
}

/// The part of a run that has the width of the given nodes.
pub(super) trait InWidth<W: Word> {
    type Part;
    fn of(&self, like: &Nodes<W>) -> Option<&Self::Part>;
}

macro_rules! in_width {
    ($word:ty, $width:ident) => {
        impl<P: Per> InWidth<$word> for Own<P> {
            type Part = P::Of<$word>;
            fn of(&self, _: &Nodes<$word>) -> Option<&Self::Part> {
                if let Self::$width(part) = self { Some(part) } else { None }
            }
        }
    };
}

in_width!(u32, Bits32);
in_width!(u64, Bits64);
in_width!([u64; 2], Bits128);
in_width!([u64; 4], Bits256);
