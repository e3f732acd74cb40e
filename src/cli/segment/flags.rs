//! The flags of `proffer segment train`, and what they make of `segmentation.toml`.

use std::path::PathBuf;

use clap::Args;

use super::super::Failure;
use super::super::upload::read_text;
use super::super::values::{decimal, separator};
use crate::segment::Scale;
use crate::segment::train::settings::{Impute, Log1p, SETTINGS_FILE, TrainSettings};
use crate::table::Decimal;

pub(super) const AFTER_TRAIN: &str = "\
Examples:
  proffer segment train --input customers.csv --output segments --id customer_id
  proffer segment train --input customers.parquet --output segments --k 6 --one-hot region
  proffer segment train --input may.csv --output may --previous segments --push segments

Without --k the number of segments is recommended: the best silhouette of those numbers whose
segments are all found again in bootstrap resamples. DIR gets segments.json, model.toml and
golden.csv, which together are a version to push, and report/report.html with the same numbers as
CSV and JSON beside it. Settings may stand in a file, see --settings; flags come before it.

Row numbers are left out. Columns that look like ids or codes are refused, labels are warned of, and
names that features.toml cannot have are to be changed with --rename; --keep takes a column as it is.

Exit code 1 when the table cannot be used, no number of segments is stable, or too many customers
would change segment.";

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(in crate::cli) struct TrainArgs {
    /// The customers: CSV (separator and quotes are detected) or Parquet, one row each, with names of columns
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// Where the version and its report are written
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
    /// Settings that are kept in a file, segmentation.toml
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,

    /// The column that names the customer
    #[arg(long, value_name = "COLUMN", help_heading = "What is read")]
    pub id: Option<String>,
    /// Columns that take no part
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', help_heading = "What is read")]
    pub drop: Vec<String>,
    /// The columns that take part, and no others
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', help_heading = "What is read")]
    pub only: Vec<String>,
    /// Columns of text, each value of which becomes a feature of its own
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', help_heading = "What is read")]
    pub one_hot: Vec<String>,
    /// Words that mean a missing value, beside an empty field, NA, NaN, null, none, - and ?
    #[arg(long, value_name = "WORDS", value_delimiter = ',', help_heading = "What is read")]
    pub missing: Vec<String>,
    /// What separates the fields of CSV: "," ";" "|" or tab [default: told from the file]
    #[arg(long, value_name = "SEPARATOR", value_parser = separator, help_heading = "What is read")]
    pub separator: Option<u8>,
    /// What stands before decimals in CSV: comma (points stand between thousands) or point [default: told from the file]
    #[arg(long, value_name = "MARK", value_parser = decimal, help_heading = "What is read")]
    pub decimal: Option<Decimal>,
    /// Columns that take part although they look like row numbers, ids, codes or labels
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', help_heading = "What is read")]
    pub keep: Vec<String>,
    /// Calls a column by a name that features.toml can have; once for each column
    #[arg(long, value_name = "OLD=NEW", value_parser = renamed, help_heading = "What is read")]
    pub rename: Vec<(String, String)>,

    /// What stands in for a missing value: median, mean or a number [default: median]
    #[arg(long, value_name = "HOW", value_parser = impute, help_heading = "How it is prepared")]
    pub impute: Option<Impute>,
    /// Quantiles beyond which values count as the quantile, such as 0.01,0.99
    #[arg(long, value_name = "LOW,HIGH", value_parser = quantiles, help_heading = "How it is prepared")]
    pub winsorise: Option<[f64; 2]>,
    /// Where ln(1 + x) is taken: auto (skewed amounts and counts), none, or columns [default: auto]
    #[arg(long, value_name = "WHERE", value_parser = |text: &str| Ok::<_, String>(log1p(text)), help_heading = "How it is prepared")]
    pub log1p: Option<Log1p>,
    /// z-score or min-max [default: z-score]
    #[arg(long, value_name = "SCALE", value_parser = scale, help_heading = "How it is prepared")]
    pub scale: Option<Scale>,
    /// Of two features with a greater |r| the later one is left out
    #[arg(long, value_name = "R", help_heading = "How it is prepared")]
    pub correlation_limit: Option<f64>,
    /// As many principal components as hold this share of the variance
    #[arg(long, value_name = "SHARE", help_heading = "How it is prepared")]
    pub variance_kept: Option<f64>,

    /// The number of segments [default: the recommended one]
    #[arg(long, value_name = "K", help_heading = "How it is clustered")]
    pub k: Option<usize>,
    /// The least number of segments that is tried [default: 3]
    #[arg(long, value_name = "K", help_heading = "How it is clustered")]
    pub k_min: Option<usize>,
    /// The most that is tried [default: 12]
    #[arg(long, value_name = "K", help_heading = "How it is clustered")]
    pub k_max: Option<usize>,
    /// Restarts of k-means, of which the best is kept [default: 10]
    #[arg(long, value_name = "N", help_heading = "How it is clustered")]
    pub n_init: Option<usize>,
    /// Seed of the random generator; the same seed gives the same bytes [default: 42]
    #[arg(long, value_name = "N", help_heading = "How it is clustered")]
    pub seed: Option<u64>,
    /// Bootstrap resamples, for the stability [default: 20]
    #[arg(long, value_name = "N", help_heading = "How it is clustered")]
    pub resamples: Option<usize>,
    /// Also compute the gap statistic, over this many reference sets
    #[arg(
        long,
        value_name = "SETS",
        num_args = 0..=1,
        default_missing_value = "10",
        help_heading = "How it is clustered"
    )]
    pub gap: Option<usize>,
    /// Rows above which k-means takes a sample at a time [default: 200000]
    #[arg(long, value_name = "ROWS", help_heading = "How it is clustered")]
    pub mini_batch_above: Option<usize>,
    /// Threads; the result does not depend on it [default: one per core]
    #[arg(long, value_name = "N", help_heading = "How it is clustered")]
    pub threads: Option<usize>,

    /// Names of the segments, largest first
    #[arg(long, value_name = "NAMES", value_delimiter = ',', help_heading = "What is made of it")]
    pub names: Option<Vec<String>>,
    /// A workspace (features.toml, offers.toml, policy.toml, models): the report tells which of its offers suit each segment
    #[arg(long, value_name = "DIR", help_heading = "What is made of it")]
    pub offers: Option<PathBuf>,
    /// Also write DIR/report/assignments.csv: the segment of each customer
    #[arg(long, help_heading = "What is made of it")]
    pub assignments: bool,
    /// Write the version without a report
    #[arg(long, help_heading = "What is made of it")]
    pub no_report: bool,
    /// Print the choice and the segments as one line of JSON
    #[arg(long, help_heading = "What is made of it")]
    pub json: bool,

    /// The version before, whose ids and names go on: its directory or segments.json, or `NAME/VERSION` of --store
    #[arg(long, value_name = "VERSION", help_heading = "When segments are trained again")]
    pub previous: Option<String>,
    /// The share of customers that may change segment [default: 0.2]
    #[arg(long, value_name = "SHARE", help_heading = "When segments are trained again")]
    pub max_moved: Option<f64>,
    /// Write and push it although it is not stable, moves more customers, or has a segment of outliers
    #[arg(long, help_heading = "When segments are trained again")]
    pub force: bool,
    /// Push the version as the next one of this model
    #[arg(long, value_name = "NAME", help_heading = "When segments are trained again")]
    pub push: Option<String>,
    /// If it passes its gates, make a release of the current one with it, and promote that
    #[arg(long, requires = "push", help_heading = "When segments are trained again")]
    pub promote: bool,
    #[arg(
        long,
        help = "The server to push to [env: PROFFER_SERVER] [default: 127.0.0.1:50051]",
        value_name = "ADDRESS",
        conflicts_with = "store",
        help_heading = "When segments are trained again"
    )]
    pub server: Option<String>,
    /// Push into this store, without a server
    #[arg(long, value_name = "STORE", help_heading = "When segments are trained again")]
    pub store: Option<String>,
}

impl TrainArgs {
    /// The settings: the file's, where there is one, with what the flags say in their place.
    ///
    /// # Errors
    /// Every problem of the file, then every setting that cannot be used.
    pub fn settings(&self) -> Result<TrainSettings, Failure> {
        let mut settings = match &self.settings {
            None => TrainSettings::default(),
            Some(path) => {
                let file =
                    path.file_name().map_or_else(|| SETTINGS_FILE.into(), |name| name.to_string_lossy());
                TrainSettings::parse(&file, &read_text(path)?)?
            }
        };
        replace_option(&mut settings.read.id, self.id.as_ref());
        for (list, flag) in [
            (&mut settings.read.drop, &self.drop),
            (&mut settings.read.one_hot, &self.one_hot),
            (&mut settings.read.missing, &self.missing),
            (&mut settings.read.keep, &self.keep),
        ] {
            if !flag.is_empty() {
                list.clone_from(flag);
            }
        }
        replace_option(&mut settings.read.separator, self.separator.as_ref());
        replace_option(&mut settings.read.decimal, self.decimal.as_ref());
        for (old, new) in &self.rename {
            if let Some(before) = settings.read.rename.insert(old.clone(), new.clone())
                && self.rename.iter().any(|(other, name)| (other, name) == (old, &before))
                && before != *new
            {
                let message = format!("--rename calls `{old}` both `{before}` and `{new}`; leave one out");
                return Err(Failure::new(message));
            }
        }
        if !self.only.is_empty() {
            settings.read.only = Some(self.only.clone());
        }
        let prepare = &mut settings.prepare;
        replace(&mut prepare.impute, self.impute.as_ref());
        replace_option(&mut prepare.winsorise, self.winsorise.as_ref());
        replace(&mut prepare.log1p, self.log1p.as_ref());
        replace(&mut prepare.scale, self.scale.as_ref());
        replace_option(&mut prepare.correlation_limit, self.correlation_limit.as_ref());
        replace_option(&mut prepare.variance_kept, self.variance_kept.as_ref());
        let cluster = &mut settings.cluster;
        replace_option(&mut cluster.k, self.k.as_ref());
        replace(&mut cluster.k_min, self.k_min.as_ref());
        replace(&mut cluster.k_max, self.k_max.as_ref());
        replace(&mut cluster.n_init, self.n_init.as_ref());
        replace(&mut cluster.seed, self.seed.as_ref());
        replace(&mut cluster.resamples, self.resamples.as_ref());
        replace_option(&mut cluster.gap, self.gap.as_ref());
        replace(&mut cluster.mini_batch_above, self.mini_batch_above.as_ref());
        if let Some(names) = &self.names {
            settings.names = (0..).zip(names.iter().cloned()).collect();
        }
        replace(&mut settings.retrain.max_moved, self.max_moved.as_ref());
        settings.check()?;
        // A name that was written both ways is one column.
        let settings = settings.renamed();
        settings.check()?;
        Ok(settings)
    }
}

fn replace<T: Clone>(setting: &mut T, flag: Option<&T>) {
    if let Some(value) = flag {
        setting.clone_from(value);
    }
}

fn replace_option<T: Clone>(setting: &mut Option<T>, flag: Option<&T>) {
    if flag.is_some() {
        *setting = flag.cloned();
    }
}

/// A column and the name that it is called by, which has no `=`.
pub(super) fn renamed(text: &str) -> Result<(String, String), String> {
    let both = text.rsplit_once('=').map(|(old, new)| (old.trim().to_owned(), new.trim().to_owned()));
    both.filter(|(old, new)| !old.is_empty() && !new.is_empty())
        .ok_or_else(|| "write the column and its new name, such as 'Credit Limit=credit_limit'".to_owned())
}

fn impute(text: &str) -> Result<Impute, String> {
    match text {
        "median" => Ok(Impute::Median),
        "mean" => Ok(Impute::Mean),
        number => {
            number.parse().map(Impute::Constant).map_err(|_| "write median, mean or a number".to_owned())
        }
    }
}

fn quantiles(text: &str) -> Result<[f64; 2], String> {
    let both = text.split_once(',').map(|(low, high)| (low.trim().parse(), high.trim().parse()));
    let Some((Ok(low), Ok(high))) = both else {
        return Err("write two quantiles, such as 0.01,0.99".to_owned());
    };
    Ok([low, high])
}

fn log1p(text: &str) -> Log1p {
    match text {
        "auto" => Log1p::Auto,
        "none" => Log1p::Never,
        columns => Log1p::Of(columns.split(',').map(|column| column.trim().to_owned()).collect()),
    }
}

fn scale(text: &str) -> Result<Scale, String> {
    match text {
        "z-score" => Ok(Scale::ZScore),
        "min-max" => Ok(Scale::MinMax),
        _ => Err("write z-score or min-max".to_owned()),
    }
}
