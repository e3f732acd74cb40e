//! The least and the greatest value of columns of a row group, to skip those that a query does not want.

use ::parquet::file::statistics::Statistics;

use super::SealedFile;

/// The least and the greatest, both possible values.
pub(crate) type Bounds<T> = Option<(T, T)>;

impl SealedFile {
    /// The bounds of a column of texts; `None` if they are not known. The texts may be cut, so that they are only
    /// bounds.
    pub(crate) fn text_bounds(&self, group: usize, name: &str) -> Bounds<&[u8]> {
        let statistics = self.statistics(group, name)?;
        let Statistics::ByteArray(_) = statistics else { return None };
        Some((statistics.min_bytes_opt()?, statistics.max_bytes_opt()?))
    }

    /// The bounds of a column of whole numbers or times; `None` if they are not known.
    pub(crate) fn number_bounds(&self, group: usize, name: &str) -> Bounds<i64> {
        let Statistics::Int64(values) = self.statistics(group, name)? else { return None };
        Some((*values.min_opt()?, *values.max_opt()?))
    }

    /// Statistics that other orders and deprecated fields cannot have spoilt.
    fn statistics(&self, group: usize, name: &str) -> Option<&Statistics> {
        // In files of other programs, times may have other units.
        self.description()?;
        let schema = self.parquet().file_metadata().schema_descr();
        let leaf = (0..schema.num_columns()).find(|leaf| schema.column(*leaf).name() == name)?;
        let statistics = self.parquet().row_group(group).column(leaf).statistics()?;
        (!statistics.is_min_max_deprecated()).then_some(statistics)
    }
}
