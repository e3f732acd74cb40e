//! Class labels.

/// The class labels of a ZipMap, in the order of its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Labels {
    /// Integers.
    Int64(Vec<i64>),
    /// Text.
    String(Vec<String>),
}

impl Labels {
    /// The number of classes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Int64(labels) => labels.len(),
            Self::String(labels) => labels.len(),
        }
    }

    /// Whether there are no classes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
