//! The flags of `proffer segment train`, and how they change `segmentation.toml`.

use std::path::PathBuf;

use clap::Args;

use super::super::Failure;
use super::super::upload::read_text;
use super::super::values::{decimal, listed, separator, threads};
use segment::Scale;
use segment_train::train::settings::{Impute, Log1p, TrainSettings};
use table::Decimal;

pub(super) const AFTER_TRAIN: &str = "\
Examples:
  proffer segment train --input customers.csv --output segments --id customer_id
  proffer segment train --input customers.parquet --output segments --k 6 --one-hot region
  proffer segment train --input may.csv --output may --previous segments --push segments

Without --k the number of segments is recommended: the best silhouette of those numbers whose
segments are all found again in bootstrap resamples. DIR gets segments.json, model.toml and
golden.csv, which together are a version to push, and report/report.html with the same numbers as
CSV and JSON next to it. Settings can be in a file (--settings); flags override it.

Row numbers are left out. Columns that look like ids or codes are refused, labels are warned of, and
names that features.toml cannot have must be changed with --rename; --keep uses a column as it is.

Exit code 1 when the table cannot be used, no number of segments is stable, or too many customers
would change segment.";

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(in crate::cli) struct TrainArgs {
    /// The customers: CSV (separator and quotes are detected) or Parquet, one row each, with column names
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// Where to write the version and its report
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
    /// A file with settings, segmentation.toml
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,

    /// The column that names the customer
    #[arg(long, value_name = "COLUMN", help_heading = "Input")]
    pub id: Option<String>,
    /// Columns to leave out
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', value_parser = listed, help_heading = "Input")]
    pub drop: Vec<String>,
    /// Columns to use; all others are left out
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', value_parser = listed, help_heading = "Input")]
    pub only: Vec<String>,
    /// Text columns to one-hot encode: each value becomes a feature
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', value_parser = listed, help_heading = "Input")]
    pub one_hot: Vec<String>,
    /// Words that mean a missing value, besides an empty field, NA, NaN, null, none, - and ?
    #[arg(long, value_name = "WORDS", value_delimiter = ',', value_parser = listed, help_heading = "Input")]
    pub missing: Vec<String>,
    /// The field separator of a CSV: "," ";" "|" or tab [default: detected]
    #[arg(long, value_name = "SEPARATOR", value_parser = separator, help_heading = "Input")]
    pub separator: Option<u8>,
    /// The decimal mark of a CSV: comma (points separate thousands) or point [default: detected]
    #[arg(long, value_name = "MARK", value_parser = decimal, help_heading = "Input")]
    pub decimal: Option<Decimal>,
    /// Columns to use even if they look like row numbers, ids, codes or labels
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', value_parser = listed, help_heading = "Input")]
    pub keep: Vec<String>,
    /// Rename a column to a name that features.toml can have; once for each column
    #[arg(long, value_name = "OLD=NEW", value_parser = renamed, help_heading = "Input")]
    pub rename: Vec<(String, String)>,

    /// What replaces a missing value: median, mean or a number [default: median]
    #[arg(long, value_name = "HOW", value_parser = impute, help_heading = "Preparation")]
    pub impute: Option<Impute>,
    /// Quantiles at which values are clipped, such as 0.01,0.99
    #[arg(long, value_name = "LOW,HIGH", value_parser = quantiles, help_heading = "Preparation")]
    pub winsorise: Option<[f64; 2]>,
    /// Where to take ln(1 + x): auto (skewed amounts and counts), none, or columns [default: auto]
    #[arg(long, value_name = "WHERE", value_parser = |text: &str| Ok::<_, String>(log1p(text)), help_heading = "Preparation")]
    pub log1p: Option<Log1p>,
    /// z-score or min-max [default: z-score]
    #[arg(long, value_name = "SCALE", value_parser = scale, help_heading = "Preparation")]
    pub scale: Option<Scale>,
    /// Drop the later of two features with a greater |r|
    #[arg(long, value_name = "R", help_heading = "Preparation")]
    pub correlation_limit: Option<f64>,
    /// Keep the principal components that explain this share of the variance
    #[arg(long, value_name = "SHARE", help_heading = "Preparation")]
    pub variance_kept: Option<f64>,

    /// The number of segments [default: the recommended one]
    #[arg(long, value_name = "K", help_heading = "Clustering")]
    pub k: Option<usize>,
    /// The smallest number of segments to try [default: 3]
    #[arg(long, value_name = "K", help_heading = "Clustering")]
    pub k_min: Option<usize>,
    /// The largest number of segments to try [default: 12]
    #[arg(long, value_name = "K", help_heading = "Clustering")]
    pub k_max: Option<usize>,
    /// Restarts of k-means; the best one is kept [default: 10]
    #[arg(long, value_name = "N", help_heading = "Clustering")]
    pub n_init: Option<usize>,
    /// Seed of the random generator; the same seed gives the same bytes [default: 42]
    #[arg(long, value_name = "N", help_heading = "Clustering")]
    pub seed: Option<u64>,
    /// Bootstrap resamples for the stability [default: 20]
    #[arg(long, value_name = "N", help_heading = "Clustering")]
    pub resamples: Option<usize>,
    /// Also compute the gap statistic, over this many reference sets
    #[arg(
        long,
        value_name = "SETS",
        num_args = 0..=1,
        default_missing_value = "10",
        help_heading = "Clustering"
    )]
    pub gap: Option<usize>,
    /// Above this number of rows k-means uses mini-batches [default: 200000]
    #[arg(long, value_name = "ROWS", help_heading = "Clustering")]
    pub mini_batch_above: Option<usize>,
    /// Threads, at most 1024; the result does not depend on them [default: one per core]
    #[arg(long, value_name = "N", value_parser = threads, help_heading = "Clustering")]
    pub threads: Option<usize>,

    /// Names of the segments, largest first
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = listed, help_heading = "Output")]
    pub names: Option<Vec<String>>,
    /// A workspace (features.toml, offers.toml, policy.toml, models): the report lists its best offers for each segment
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub offers: Option<PathBuf>,
    /// Also write DIR/report/assignments.csv: the segment of each customer
    #[arg(long, help_heading = "Output")]
    pub assignments: bool,
    /// Write the version without a report
    #[arg(long, help_heading = "Output")]
    pub no_report: bool,
    /// Print the choice and the segments as one line of JSON
    #[arg(long, help_heading = "Output")]
    pub json: bool,

    /// The previous version, whose ids and names are kept: its directory or segments.json, or `NAME/VERSION` of --store
    #[arg(long, value_name = "VERSION", help_heading = "Retraining")]
    pub previous: Option<String>,
    /// The share of customers that may change segment [default: 0.2]
    #[arg(long, value_name = "SHARE", help_heading = "Retraining")]
    pub max_moved: Option<f64>,
    /// Write and push it even if it is not stable, moves more customers, or has a segment of outliers
    #[arg(long, help_heading = "Retraining")]
    pub force: bool,
    /// Push the version as the next one of this model
    #[arg(long, value_name = "NAME", help_heading = "Retraining")]
    pub push: Option<String>,
    /// If it passes its gates, make a release of the current one with it, and promote that
    #[arg(long, requires = "push", help_heading = "Retraining")]
    pub promote: bool,
    #[arg(
        long,
        help = "The server to push to [env: PROFFER_SERVER] [default: 127.0.0.1:50051]",
        value_name = "ADDRESS",
        conflicts_with = "store",
        requires = "push",
        help_heading = "Retraining"
    )]
    pub server: Option<String>,
    /// Push into this store, without a server
    #[arg(long, value_name = "STORE", help_heading = "Retraining")]
    pub store: Option<String>,
}

impl TrainArgs {
    /// The settings of the file, if there is one, overridden by the flags.
    ///
    /// # Errors
    /// Every problem of the file, then every setting that cannot be used.
    pub(crate) fn settings(&self) -> Result<TrainSettings, Failure> {
        let mut settings = match &self.settings {
            None => TrainSettings::default(),
            Some(path) => TrainSettings::parse(&path.display().to_string(), &read_text(path)?)?,
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
        // Both names of a renamed column mean the same column.
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

/// A column and its new name, which has no `=`.
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
