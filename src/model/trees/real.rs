//! The two kinds of numbers that leaves are added up in.

use std::fmt::Debug;
use std::mem::take;
use std::ops::{Add, Div};

use super::machine::LANES;
use super::scratch::Scratch;

/// A float or a double.
pub(super) trait Real:
    Copy + Debug + Default + PartialOrd + Add<Output = Self> + Div<Output = Self> + Send + Sync + 'static
{
    /// The nearest to a double.
    fn of(value: f64) -> Self;
    /// The nearest float.
    fn to_f32(self) -> f32;
    /// The scratch's room for sums of blocks.
    fn take(scratch: &mut Scratch) -> Vec<[Self; LANES]>;
    /// Room for the next who asks.
    fn give_back(scratch: &mut Scratch, sums: Vec<[Self; LANES]>);
    /// The scratch's room for the sums of a row.
    fn take_row(scratch: &mut Scratch) -> Vec<Self>;
    /// Room for the next who asks.
    fn give_back_row(scratch: &mut Scratch, sums: Vec<Self>);
}

macro_rules! real {
    ($real:ty, $blocks:ident, $row:ident) => {
        impl Real for $real {
            #[inline(always)]
            fn of(value: f64) -> Self {
                value as $real
            }
            #[inline(always)]
            fn to_f32(self) -> f32 {
                self as f32
            }
            fn take(scratch: &mut Scratch) -> Vec<[Self; LANES]> {
                take(&mut scratch.$blocks)
            }
            fn give_back(scratch: &mut Scratch, sums: Vec<[Self; LANES]>) {
                scratch.$blocks = sums;
            }
            fn take_row(scratch: &mut Scratch) -> Vec<Self> {
                take(&mut scratch.$row)
            }
            fn give_back_row(scratch: &mut Scratch, sums: Vec<Self>) {
                scratch.$row = sums;
            }
        }
    };
}

real!(f32, floats, row_floats);
real!(f64, doubles, row_doubles);
