//! The least and the greatest value of columns of a row group, to skip those that a query does not want.

use ::parquet::file::statistics::Statistics;

use super::SealedFile;
use crate::columns::{Condition, Wanted};
use crate::read::Wants;

/// The least and the greatest, both possible values.
pub(crate) type Bounds<T> = Option<(T, T)>;

impl SealedFile {
    /// Whether a row group may have events that are wanted.
    pub(crate) fn may_be_wanted(&self, group: usize, wants: &dyn Wants) -> bool {
        let conditions = wants.conditions(self.kind(), self.server());
        conditions.iter().all(|condition| self.may_fulfil(group, condition))
    }

    fn may_fulfil(&self, group: usize, condition: &Condition<'_>) -> bool {
        let Condition { column, wanted } = condition;
        match wanted {
            Wanted::Times(range) | Wanted::Wholes(range) => {
                let bounds = self.number_bounds(group, column);
                bounds.is_none_or(|(least, most)| most >= *range.start() && least <= *range.end())
            }
            Wanted::Text(text) => {
                let bounds = self.text_bounds(group, column);
                bounds.is_none_or(|(least, greatest)| (least..=greatest).contains(&text.as_bytes()))
            }
            Wanted::Among(texts) => {
                let bounds = self.text_bounds(group, column);
                bounds.is_none_or(|(least, greatest)| {
                    texts.iter().any(|text| (least..=greatest).contains(&text.as_bytes()))
                })
            }
            // Lists have no statistics.
            Wanted::With(_) => true,
        }
    }

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
        // Parts of lists and maps have names, too.
        let leaf = (0..schema.num_columns()).find(|leaf| schema.column(*leaf).path().parts() == [name])?;
        let statistics = self.parquet().row_group(group).column(leaf).statistics()?;
        (!statistics.is_min_max_deprecated()).then_some(statistics)
    }
}
