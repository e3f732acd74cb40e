//! A node's constants by name.

use crate::Attribute;
use crate::Unsupported;
use crate::proto::NodeProto;

/// The attributes of a node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attributes<'n>(pub(crate) &'n NodeProto);

impl<'n> Attributes<'n> {
    /// The integers of an attribute; empty where it does not exist.
    pub(crate) fn ints(self, name: &str) -> Vec<i64> {
        self.0.attribute(name).map(Attribute::ints).unwrap_or_default()
    }

    /// The floats of an attribute; empty where it does not exist.
    pub(crate) fn floats(self, name: &str) -> Vec<f32> {
        self.0.attribute(name).map(Attribute::floats).unwrap_or_default()
    }

    /// The texts of an attribute; empty where it does not exist.
    pub(crate) fn strings(self, name: &str) -> impl Iterator<Item = &'n [u8]> {
        self.0.attribute(name).into_iter().flat_map(Attribute::strings)
    }

    /// An integer.
    pub(crate) fn int(self, name: &str, default: i64) -> i64 {
        self.0.attribute(name).map_or(default, Attribute::int)
    }

    /// A float.
    pub(crate) fn float(self, name: &str, default: f32) -> f32 {
        self.0.attribute(name).map_or(default, Attribute::float)
    }

    /// A text.
    pub(crate) fn string(self, name: &str, default: &'n str) -> Result<&'n str, Unsupported> {
        let Some(attribute) = self.0.attribute(name) else { return Ok(default) };
        str::from_utf8(attribute.string())
            .map_err(|_| Unsupported::because(format!("`{name}` is not a text")))
    }

    /// The numbers of a tensor, of the type `wanted` if that is given; empty where the attribute does not exist.
    pub(crate) fn tensor(self, name: &str, wanted: Option<i32>) -> Result<Vec<f64>, Unsupported> {
        let Some(attribute) = self.0.attribute(name) else { return Ok(Vec::new()) };
        let tensor = attribute.tensor();
        if let (Some(wanted), Some(tensor)) = (wanted, &tensor)
            && tensor.data_type != wanted
        {
            return Err(Unsupported::because(format!("`{name}` is of another type than the input")));
        }
        let numbers = tensor.and_then(|tensor| tensor.numbers());
        numbers.ok_or_else(|| Unsupported::because(format!("the tensor `{name}` cannot be read")))
    }

    /// Floats, or if there are none the tensor `<name>_as_tensor`.
    pub(crate) fn floats_or_tensor(self, name: &str) -> Result<Vec<f64>, Unsupported> {
        let floats = self.floats(name);
        if floats.is_empty() {
            return self.tensor(&format!("{name}_as_tensor"), None);
        }
        Ok(floats.into_iter().map(f64::from).collect())
    }
}

/// Checks that two lists have the same length.
pub(super) fn same_length(name: &str, length: usize, wanted: usize) -> Result<(), Unsupported> {
    if length == wanted {
        return Ok(());
    }
    Err(Unsupported::because(format!("`{name}` has {length} entries, not {wanted}")))
}

/// Checks that a number is a valid index.
pub(super) fn index(name: &str, value: i64) -> Result<usize, Unsupported> {
    /// A feature, target or node above this is damage.
    const MOST: i64 = 1 << 24;
    if (0..MOST).contains(&value) {
        return Ok(value as usize);
    }
    Err(Unsupported::because(format!("`{name}` has {value}")))
}
