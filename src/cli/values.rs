//! Values as a person writes them on a command line or in a CSV, typed without a schema at hand.

use chrono::{DateTime, NaiveDate, Utc};

use crate::feature::{Column, ColumnValues, FeatureBatch};
use crate::table::{Decimal, SEPARATORS};

/// What a text most plainly is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Written {
    /// Nothing: a missing value.
    Missing,
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// Anything else.
    Text(String),
}

impl Written {
    pub fn read(text: &str) -> Self {
        if text.is_empty() {
            return Self::Missing;
        }
        if let Ok(whole) = text.parse() {
            return Self::Int(whole);
        }
        if let Some(number) = text.parse().ok().filter(|number: &f64| number.is_finite()) {
            return Self::Float(number);
        }
        match text {
            "true" => Self::Bool(true),
            "false" => Self::Bool(false),
            _ => Self::Text(text.to_owned()),
        }
    }

    fn number(&self) -> Option<f32> {
        match self {
            Self::Missing => Some(f32::NAN),
            // A number that 32 bits cannot hold goes as a column of integers.
            Self::Int(whole) => Some(*whole as f32).filter(|number| *number as i64 == *whole),
            Self::Float(number) => Some(*number as f32),
            Self::Bool(_) | Self::Text(_) => None,
        }
    }
}

/// What separates the fields of a CSV file.
pub(super) fn separator(text: &str) -> Result<u8, String> {
    let found = SEPARATORS.into_iter().find(|(name, byte)| text == *name || text.as_bytes() == [*byte]);
    found.map(|(_, byte)| byte).ok_or_else(|| "write one of , ; | or tab".to_owned())
}

/// What stands before the decimals in a CSV file.
pub(super) fn decimal(text: &str) -> Result<Decimal, String> {
    match text {
        "point" => Ok(Decimal::Point),
        "comma" => Ok(Decimal::Comma),
        _ => Err("write comma or point".to_owned()),
    }
}

/// `NAME=VALUE`.
pub(super) fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// A moment with its time zone, or a day, which is its midnight in UTC.
pub(super) fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    let text = text.trim();
    let midnight = text.parse().ok().and_then(|day: NaiveDate| day.and_hms_opt(0, 0, 0));
    midnight.map(|midnight| midnight.and_utc()).or_else(|| text.parse().ok()).ok_or_else(|| {
        "must be a day, such as 2026-12-24 (its midnight in UTC), or a moment with its time zone, such as 2026-12-24T18:00:00Z or \
         2026-12-24T18:00:00+01:00"
            .to_owned()
    })
}

/// A batch of named columns of written values: columns of numbers go dense, others as what all their values are.
pub(super) fn batch(names: &[String], rows: &[Vec<String>]) -> FeatureBatch {
    let mut batch = FeatureBatch { rows: rows.len(), ..FeatureBatch::default() };
    let mut dense: Vec<Vec<f32>> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let written: Vec<Written> = rows.iter().map(|row| Written::read(&row[index])).collect();
        if let Some(numbers) = written.iter().map(Written::number).collect::<Option<Vec<f32>>>() {
            batch.dense_names.push(name);
            dense.push(numbers);
            continue;
        }
        let null_rows = written
            .iter()
            .enumerate()
            .filter(|(_, value)| **value == Written::Missing)
            .map(|(row, _)| row as u32)
            .collect();
        let integers: Option<Vec<i64>> = written
            .iter()
            .map(|value| match value {
                Written::Missing => Some(0),
                Written::Int(whole) => Some(*whole),
                Written::Float(_) | Written::Bool(_) | Written::Text(_) => None,
            })
            .collect();
        let truths: Option<Vec<bool>> = written
            .iter()
            .map(|value| match value {
                Written::Missing => Some(false),
                Written::Bool(truth) => Some(*truth),
                Written::Int(_) | Written::Float(_) | Written::Text(_) => None,
            })
            .collect();
        let values = match (integers, truths) {
            (Some(integers), _) => ColumnValues::Ints(integers),
            (None, Some(truths)) => ColumnValues::Bools(truths),
            (None, None) => ColumnValues::Strings(rows.iter().map(|row| row[index].clone()).collect()),
        };
        batch.columns.push(Column { name: name.clone(), values, null_rows });
    }
    for row in 0..rows.len() {
        batch.dense_values.extend(dense.iter().map(|column| column[row]));
    }
    batch
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_day_is_its_midnight_and_a_moment_has_a_time_zone() {
        let read = |text: &str| moment(text).map(|moment| moment.to_rfc3339());
        assert_eq!(read("2026-07-01").as_deref(), Ok("2026-07-01T00:00:00+00:00"));
        assert_eq!(read("2026-07-01T09:30:00Z").as_deref(), Ok("2026-07-01T09:30:00+00:00"));
        assert_eq!(read("2026-07-01T09:30:00+02:00").as_deref(), Ok("2026-07-01T07:30:00+00:00"));
        for wrong in
            ["", "today", "2026-07", "2026-02-30", "2026-07-01T09:30:00", "01.07.2026", "2026-07-01 9"]
        {
            assert!(read(wrong).unwrap_err().contains("its midnight in UTC"), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_day_is_read(days in 0_i64..40_000) {
            let day = DateTime::from_timestamp(days * 86_400, 0).unwrap();
            prop_assert_eq!(moment(&day.format("%Y-%m-%d").to_string()), Ok(day));
        }
    }
}
