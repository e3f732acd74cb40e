//! Values as the user writes them on a command line or in a CSV, typed without a schema.

use chrono::{DateTime, NaiveDate, Utc};

use feature::{Column, ColumnValues, FeatureBatch};
use table::{Decimal, SEPARATORS};
use work::MAX_THREADS;

/// A text, typed by its look.
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
    pub(super) fn read(text: &str) -> Self {
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
            // A whole number that 32 bits cannot hold is sent as an integer.
            Self::Int(whole) => Some(*whole as f32).filter(|number| *number as i64 == *whole),
            Self::Float(number) => Some(*number as f32),
            Self::Bool(_) | Self::Text(_) => None,
        }
    }
}

/// A number of threads; 0 stands for one per core.
pub(super) fn threads(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number <= MAX_THREADS);
    number.ok_or_else(|| format!("must be a whole number, 0 to {MAX_THREADS}; 0 = one per core"))
}

/// The field separator of a CSV file.
pub(super) fn separator(text: &str) -> Result<u8, String> {
    let found = SEPARATORS.into_iter().find(|(name, byte)| text == *name || text.as_bytes() == [*byte]);
    found.map(|(_, byte)| byte).ok_or_else(|| "write one of , ; | or tab".to_owned())
}

/// The decimal mark of a CSV file.
pub(super) fn decimal(text: &str) -> Result<Decimal, String> {
    match text {
        "point" => Ok(Decimal::Point),
        "comma" => Ok(Decimal::Comma),
        _ => Err("write comma or point".to_owned()),
    }
}

/// One of several names between commas. Spaces around it are dropped: people write lists as `a, b`.
pub(super) fn listed(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() {
        return Err("there is no name between two commas, or none at all".to_owned());
    }
    Ok(name.to_owned())
}

/// `NAME=VALUE`.
pub(super) fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// A time with its zone, or a day, which means its midnight in UTC.
pub(super) fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    let text = text.trim();
    let midnight = text.parse().ok().and_then(|day: NaiveDate| day.and_hms_opt(0, 0, 0));
    midnight.map(|midnight| midnight.and_utc()).or_else(|| text.parse().ok()).ok_or_else(|| {
        "must be a day, such as 2026-12-24 (its midnight in UTC), or a moment with its time zone, such as 2026-12-24T18:00:00Z or \
         2026-12-24T18:00:00+01:00"
            .to_owned()
    })
}

/// A batch of named columns of written values. Columns of numbers are dense; others take the type that all their values
/// have.
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
    fn names_between_commas_have_no_spaces_around_them() {
        assert_eq!(listed(" travel_gold\t").as_deref(), Ok("travel_gold"));
        assert_eq!(listed("Credit Limit (k$)").as_deref(), Ok("Credit Limit (k$)"));
        assert!(listed("").is_err() && listed("  ").is_err());
    }

    #[test]
    fn threads_have_one_bound() {
        assert_eq!((threads("0"), threads("1024")), (Ok(0), Ok(1024)));
        for wrong in ["1025", "100000", "18446744073709551616", "-1", "two", ""] {
            assert!(threads(wrong).unwrap_err().contains("0 to 1024"), "{wrong}");
        }
    }

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
