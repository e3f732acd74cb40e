//! Fixed-width records, row-major: all features of a customer are within two or three cache lines.
//!
//! A float takes four bytes and is NaN if missing. Any other value is an integer of one, two, four or eight bytes. A
//! bool is 0 or 1, and a string is its number in the column's dictionary. The smallest value of the width marks a
//! missing one. A column starts with one byte and is widened in place when a value does not fit. A file is thus read
//! once, and the records never exist twice.

/// The contents of a slot of a record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Packed {
    Missing,
    Float(f32),
    Int(i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// The file has no such column: no bytes, always missing.
    Absent,
    Float,
    Int(Width),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    One,
    Two,
    Four,
    Eight,
}

impl Width {
    fn bytes(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    fn missing(self) -> i64 {
        match self {
            Self::One => i8::MIN.into(),
            Self::Two => i16::MIN.into(),
            Self::Four => i32::MIN.into(),
            Self::Eight => i64::MIN,
        }
    }

    /// The smallest width that holds `value` beside its missing marker; `i64::MIN` is the marker of the widest.
    fn of(value: i64) -> Self {
        if i8::try_from(value).is_ok_and(|narrow| narrow != i8::MIN) {
            return Self::One;
        }
        if i16::try_from(value).is_ok_and(|narrow| narrow != i16::MIN) {
            return Self::Two;
        }
        if i32::try_from(value).is_ok_and(|narrow| narrow != i32::MIN) { Self::Four } else { Self::Eight }
    }

    /// The value at the beginning of `bytes`, possibly the missing marker.
    fn read(self, bytes: &[u8]) -> Option<i64> {
        Some(match self {
            Self::One => i8::from_ne_bytes(*bytes.first_chunk()?).into(),
            Self::Two => i16::from_ne_bytes(*bytes.first_chunk()?).into(),
            Self::Four => i32::from_ne_bytes(*bytes.first_chunk()?).into(),
            Self::Eight => i64::from_ne_bytes(*bytes.first_chunk()?),
        })
    }

    /// Fills `bytes` with `value`, which must fit.
    fn write(self, bytes: &mut [u8], value: i64) {
        match self {
            Self::One => bytes.copy_from_slice(&(value as i8).to_ne_bytes()),
            Self::Two => bytes.copy_from_slice(&(value as i16).to_ne_bytes()),
            Self::Four => bytes.copy_from_slice(&(value as i32).to_ne_bytes()),
            Self::Eight => bytes.copy_from_slice(&value.to_ne_bytes()),
        }
    }
}

/// Where a column is in a record.
#[derive(Debug, Clone, Copy)]
struct Slot {
    offset: usize,
    encoding: Encoding,
}

impl Slot {
    fn width(self) -> usize {
        match self.encoding {
            Encoding::Absent => 0,
            Encoding::Float => size_of::<f32>(),
            Encoding::Int(width) => width.bytes(),
        }
    }
}

/// The kind of a column, before its width is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnKind {
    Absent,
    Float,
    Int,
}

/// The records of all rows.
#[derive(Debug, Clone)]
pub(super) struct PackedRows {
    slots: Vec<Slot>,
    /// Bytes of one record.
    stride: usize,
    /// A record with every value missing.
    blank: Vec<u8>,
    bytes: Vec<u8>,
    rows: usize,
}

impl PackedRows {
    pub(super) fn new(columns: impl IntoIterator<Item = ColumnKind>) -> Self {
        let slots = columns
            .into_iter()
            .map(|kind| match kind {
                ColumnKind::Absent => Encoding::Absent,
                ColumnKind::Float => Encoding::Float,
                ColumnKind::Int => Encoding::Int(Width::One),
            })
            .map(|encoding| Slot { offset: 0, encoding })
            .collect();
        let mut packed = Self { slots, stride: 0, blank: Vec::new(), bytes: Vec::new(), rows: 0 };
        packed.arrange();
        packed
    }

    pub(super) fn len(&self) -> usize {
        self.rows
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.blank.capacity() + self.slots.capacity() * size_of::<Slot>()
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// Adds a row with every value missing.
    pub(super) fn push_blank(&mut self) {
        self.bytes.extend_from_slice(&self.blank);
        self.rows += 1;
    }

    /// Stores a value in an existing row and column. `Missing` changes nothing.
    pub(super) fn put(&mut self, row: usize, column: usize, value: Packed) {
        match (value, self.slots[column].encoding) {
            (Packed::Float(number), Encoding::Float) => {
                self.slot_bytes(row, column).copy_from_slice(&number.to_ne_bytes());
            }
            (Packed::Int(number), Encoding::Int(width)) => {
                let needed = Width::of(number);
                if needed.bytes() > width.bytes() {
                    self.widen(column, width, needed);
                }
                let width = if needed.bytes() > width.bytes() { needed } else { width };
                width.write(self.slot_bytes(row, column), number);
            }
            (Packed::Missing | Packed::Float(_) | Packed::Int(_), _) => {}
        }
    }

    /// The record of a row, to be read with [`Self::read`]; empty beyond the last row.
    #[inline]
    pub(super) fn record(&self, row: usize) -> &[u8] {
        let start = row * self.stride;
        self.bytes.get(start..start + self.stride).unwrap_or_default()
    }

    /// The value of a column in a record; a column that does not exist is missing.
    #[inline]
    pub(super) fn read(&self, record: &[u8], column: usize) -> Packed {
        let Some(slot) = self.slots.get(column) else { return Packed::Missing };
        let Some(bytes) = record.get(slot.offset..) else { return Packed::Missing };
        match slot.encoding {
            Encoding::Absent => Packed::Missing,
            Encoding::Float => match bytes.first_chunk() {
                Some(number) => present(f32::from_ne_bytes(*number)),
                None => Packed::Missing,
            },
            Encoding::Int(width) => match width.read(bytes) {
                Some(number) if number != width.missing() => Packed::Int(number),
                _ => Packed::Missing,
            },
        }
    }

    fn slot_bytes(&mut self, row: usize, column: usize) -> &mut [u8] {
        let slot = self.slots[column];
        let start = row * self.stride + slot.offset;
        &mut self.bytes[start..start + slot.width()]
    }

    /// Lays the slots end to end and makes the matching blank record.
    fn arrange(&mut self) {
        self.stride = 0;
        self.blank.clear();
        for slot in &mut self.slots {
            slot.offset = self.stride;
            self.stride += slot.width();
            self.blank.resize(self.stride, 0);
            let blank = &mut self.blank[slot.offset..];
            match slot.encoding {
                Encoding::Absent => {}
                Encoding::Float => blank.copy_from_slice(&f32::NAN.to_ne_bytes()),
                Encoding::Int(width) => width.write(blank, width.missing()),
            }
        }
    }

    /// Widens a column in place. It moves rows from last to first, so that no record is overwritten before it has
    /// moved. Happens at most three times per column.
    fn widen(&mut self, column: usize, old: Width, new: Width) {
        let (head, old_stride) = (self.slots[column].offset, self.stride);
        self.slots[column].encoding = Encoding::Int(new);
        self.arrange();
        self.bytes.resize(self.rows * self.stride, 0);
        for row in (0..self.rows).rev() {
            let (from, to) = (row * old_stride, row * self.stride);
            let tail = from + head + old.bytes()..from + old_stride;
            self.bytes.copy_within(tail, to + head + new.bytes());
            let value = old.read(&self.bytes[from + head..]).filter(|value| *value != old.missing());
            self.bytes.copy_within(from..from + head, to);
            let slot = &mut self.bytes[to + head..to + head + new.bytes()];
            new.write(slot, value.unwrap_or(new.missing()));
        }
    }
}

#[inline]
fn present(number: f32) -> Packed {
    if number.is_nan() { Packed::Missing } else { Packed::Float(number) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_integer_takes_the_smallest_width_that_leaves_space_for_the_marker() {
        let widths =
            [(0, 1), (-127, 1), (-128, 2), (127, 1), (128, 2), (-32_768, 4), (1 << 31, 8), (i64::MAX, 8)];
        for (value, bytes) in widths {
            assert_eq!(Width::of(value).bytes(), bytes, "{value}");
        }
    }

    #[test]
    fn absent_columns_and_rows_are_missing() {
        let mut rows = PackedRows::new([ColumnKind::Absent, ColumnKind::Float, ColumnKind::Int]);
        rows.push_blank();
        assert!((0..4).all(|column| rows.read(rows.record(0), column) == Packed::Missing));
        assert!((0..4).all(|column| rows.read(rows.record(1), column) == Packed::Missing));
        rows.put(0, 0, Packed::Float(1.0));
        assert_eq!(rows.read(rows.record(0), 0), Packed::Missing);
    }

    fn cells() -> impl Strategy<Value = Vec<[Packed; 4]>> {
        let int = prop_oneof![
            Just(Packed::Missing),
            (-200_i64..200).prop_map(Packed::Int),
            (i64::MIN + 1..).prop_map(Packed::Int),
            (-40_000_i64..40_000).prop_map(Packed::Int),
        ];
        let float = prop_oneof![Just(Packed::Missing), any::<f32>().prop_map(present)];
        let row = (int.clone(), float, int.clone(), int).prop_map(|(a, b, c, d)| [a, b, c, d]);
        proptest::collection::vec(row, 0..60)
    }

    proptest! {
        #[test]
        fn stored_values_are_read_back_after_any_widening(cells in cells()) {
            let kinds = [ColumnKind::Int, ColumnKind::Float, ColumnKind::Int, ColumnKind::Int];
            let mut rows = PackedRows::new(kinds);
            for (row, values) in cells.iter().enumerate() {
                rows.push_blank();
                for (column, value) in values.iter().enumerate() {
                    rows.put(row, column, *value);
                }
            }
            prop_assert_eq!(rows.len(), cells.len());
            for (row, values) in cells.iter().enumerate() {
                for (column, value) in values.iter().enumerate() {
                    prop_assert_eq!(rows.read(rows.record(row), column), *value);
                }
            }
        }
    }
}
