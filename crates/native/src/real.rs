//! The two number types in which leaves are summed.

#![expect(clippy::inline_always, reason = "it must become part of the function that has the instruction set")]

use std::fmt::Debug;
use std::mem::take;
use std::ops::{Add, Div};

use crate::instructions::SIMD_WIDTH;
use crate::scratch::Scratch;
use crate::vectors::{self, Leaves};

/// A float or a double.
pub(super) trait Real:
    Copy + Debug + Default + PartialOrd + Add<Output = Self> + Div<Output = Self> + Send + Sync + 'static
{
    /// Converts from a double, rounding to nearest.
    fn of(value: f64) -> Self;
    /// Converts to the nearest float.
    fn to_f32(self) -> f32;
    /// Adds the value of each row's leaf to its sum. `SIZE`: a power of two.
    fn add_leaves<const SIZE: usize>(
        leaves: impl Leaves,
        table: &[Self; SIZE],
        sums: &mut [Self; SIMD_WIDTH],
    );
    /// Takes the buffer for sums of blocks out of the scratch memory.
    fn take(scratch: &mut Scratch) -> Vec<[Self; SIMD_WIDTH]>;
    /// Returns the buffer.
    fn give_back(scratch: &mut Scratch, sums: Vec<[Self; SIMD_WIDTH]>);
    /// Takes the buffer for sums of a row out of the scratch memory.
    fn take_row(scratch: &mut Scratch) -> Vec<Self>;
    /// Returns the buffer.
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
                sums: &mut [Self; SIMD_WIDTH],
            ) {
                $add(leaves, table, sums);
            }
            fn take(scratch: &mut Scratch) -> Vec<[Self; SIMD_WIDTH]> {
                take(&mut scratch.$blocks)
            }
            fn give_back(scratch: &mut Scratch, sums: Vec<[Self; SIMD_WIDTH]>) {
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
fn add_floats<const SIZE: usize>(leaves: impl Leaves, table: &[f32; SIZE], sums: &mut [f32; SIMD_WIDTH]) {
    // At most one of the two sizes matches, which the compiler knows.
    if let (32, Some(table)) = (SIZE, table.first_chunk()) {
        leaves.add_32(table, sums);
    } else if let (64, Some(table)) = (SIZE, table.first_chunk()) {
        leaves.add_64(table, sums);
    } else {
        vectors::add(leaves.numbers(), table, sums);
    }
}

#[inline(always)]
fn add_doubles<const SIZE: usize>(leaves: impl Leaves, table: &[f64; SIZE], sums: &mut [f64; SIMD_WIDTH]) {
    vectors::add(leaves.numbers(), table, sums);
}
