//! One-hot encoding: a column of codes becomes a column of 0 and 1 per value, in place.

/// Maximum distinct values of an encoded text, each of which becomes a feature.
pub(super) const MAX_VALUES: usize = 50;

/// The columns that a column of the narrow table becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Width {
    /// The same column.
    One,
    /// A column per code; holds the position of the column that is 1 for each code. A missing value is 0 in all.
    Many(Vec<usize>),
    /// No column.
    None,
}

impl Width {
    fn columns(&self) -> usize {
        match self {
            Self::One => 1,
            Self::Many(positions) => positions.len(),
            Self::None => 0,
        }
    }
}

/// Widens the rows of a table in place, from the last to the first, so that no row is overwritten before it is read.
///
/// `values`: rows × `widths.len()`, row-major. A column of [`Width::Many`] has codes, at least one, and NaN for a
/// missing value. Cost: one pass. Memory: only the wide table.
pub(super) fn widen(values: &mut Vec<f32>, widths: &[Width]) {
    let kept = without(values, widths);
    let widths = kept.as_slice();
    let narrow = widths.len();
    let wide: usize = widths.iter().map(Width::columns).sum();
    if wide == narrow && widths.iter().all(|width| *width == Width::One) {
        return;
    }
    let rows = values.len() / narrow;
    values.resize(rows * wide, 0.0);
    let mut before = vec![0.0; narrow];
    for row in (0..rows).rev() {
        before.copy_from_slice(&values[row * narrow..(row + 1) * narrow]);
        let mut rest = &mut values[row * wide..(row + 1) * wide];
        for (value, width) in before.iter().zip(widths) {
            let (cells, after) = rest.split_at_mut(width.columns());
            match width {
                Width::One => cells.fill(*value),
                // `without` removed these columns.
                Width::None => {}
                Width::Many(positions) => {
                    cells.fill(0.0);
                    if !value.is_nan() {
                        cells[positions[*value as usize]] = 1.0;
                    }
                }
            }
            rest = after;
        }
    }
}

/// Removes the columns of [`Width::None`] from the rows; returns the widths of the others.
fn without(values: &mut Vec<f32>, widths: &[Width]) -> Vec<Width> {
    let kept: Vec<Width> = widths.iter().filter(|width| **width != Width::None).cloned().collect();
    if kept.len() < widths.len() {
        let mut position = 0;
        values.retain(|_| {
            let keep = widths[position] != Width::None;
            position = (position + 1) % widths.len();
            keep
        });
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_columns_of_zeros_and_ones() {
        let mut values = vec![7.0, 0.0, 8.0, 1.0, 9.0, f32::NAN];
        widen(&mut values, &[Width::One, Width::Many(vec![1, 0])]);
        assert_eq!(values, [7.0, 0.0, 1.0, 8.0, 1.0, 0.0, 9.0, 0.0, 0.0]);
    }

    #[test]
    fn columns_left_out_are_removed() {
        let mut values = vec![7.0, 0.0, 0.5, 8.0, 1.0, 1.5];
        widen(&mut values, &[Width::None, Width::Many(vec![1, 0]), Width::One]);
        assert_eq!(values, [0.0, 1.0, 0.5, 1.0, 0.0, 1.5]);
        let mut values = vec![7.0, 0.5, 8.0, 1.5];
        widen(&mut values, &[Width::One, Width::None]);
        assert_eq!(values, [7.0, 8.0]);
    }

    #[test]
    fn a_single_value_and_no_text_at_all_keep_the_width() {
        let mut values = vec![0.0, 1.5, f32::NAN, 2.5];
        widen(&mut values, &[Width::Many(vec![0]), Width::One]);
        assert_eq!(values, [1.0, 1.5, 0.0, 2.5]);
        widen(&mut values, &[Width::One, Width::One]);
        assert_eq!(values, [1.0, 1.5, 0.0, 2.5]);
    }
}
