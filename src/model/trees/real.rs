//! The two kinds of numbers that leaves are added up in.

#![expect(clippy::inline_always, reason = "it must become part of the function that has the instruction set")]

use std::fmt::Debug;
use std::mem::take;
use std::ops::{Add, Div};

use super::machine::LANES;
use super::scratch::Scratch;
use super::vectors::{self, Leaves};

/// A float or a double.
pub(super) trait Real:
    Copy + Debug + Default + PartialOrd + Add<Output = Self> + Div<Output = Self> + Send + Sync + 'static
{
    /// The nearest to a double.
    fn of(value: f64) -> Self;
    /// The nearest float.
    fn to_f32(self) -> f32;
    /// Adds the value of each row's leaf to its sum. `SIZE`: a power of two.
    fn add_leaves<const SIZE: usize>(leaves: impl Leaves, table: &[Self; SIZE], sums: &mut [Self; LANES]);
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
    ($real:ty, $blocks:ident, $row:ident, $add:ident) => {
        impl Real for $real {
            #[inline(always)]
            fn of(value: f64) -> Self {
                value as $real
            }
            #[inline(always)]
            fn to_f32(self) -> f32 {
                self as f32
            }
            #[inline(always)]
            fn add_leaves<const SIZE: usize>(
                leaves: impl Leaves,
                table: &[Self; SIZE],
                sums: &mut [Self; LANES],
            ) {
                $add(leaves, table, sums);
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

real!(f32, floats, row_floats, add_floats);
real!(f64, doubles, row_doubles, add_doubles);

#[inline(always)]
fn add_floats<const SIZE: usize>(leaves: impl Leaves, table: &[f32; SIZE], sums: &mut [f32; LANES]) {
    // Of these two sizes at most one is this, which the compiler knows.
    if let (32, Some(table)) = (SIZE, table.first_chunk()) {
        leaves.add_32(table, sums);
    } else if let (64, Some(table)) = (SIZE, table.first_chunk()) {
        leaves.add_64(table, sums);
    } else {
        vectors::add(leaves.numbers(), table, sums);
    }
}

#[inline(always)]
fn add_doubles<const SIZE: usize>(leaves: impl Leaves, table: &[f64; SIZE], sums: &mut [f64; LANES]) {
    vectors::add(leaves.numbers(), table, sums);
}
