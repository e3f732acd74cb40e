//! The protocol's names of datatypes, and the shapes that a tensor may have.

use model::onnx::{ElementType, TensorSpec, ValueKind};

/// The protocol's name of an element type.
pub(super) fn name(element: ElementType) -> &'static str {
    match element {
        ElementType::Bool => "BOOL",
        ElementType::Uint8 => "UINT8",
        ElementType::Uint16 => "UINT16",
        ElementType::Uint32 => "UINT32",
        ElementType::Uint64 => "UINT64",
        ElementType::Int8 => "INT8",
        ElementType::Int16 => "INT16",
        ElementType::Int32 => "INT32",
        ElementType::Int64 => "INT64",
        ElementType::Float16 => "FP16",
        ElementType::Bfloat16 => "BF16",
        ElementType::Float32 => "FP32",
        ElementType::Float64 => "FP64",
        ElementType::String => "BYTES",
    }
}

/// The bytes of an element in raw contents; strings carry their length.
pub(super) fn size(element: ElementType) -> Option<usize> {
    match element {
        ElementType::Bool | ElementType::Uint8 | ElementType::Int8 => Some(1),
        ElementType::Uint16 | ElementType::Int16 | ElementType::Float16 | ElementType::Bfloat16 => Some(2),
        ElementType::Uint32 | ElementType::Int32 | ElementType::Float32 => Some(4),
        ElementType::Uint64 | ElementType::Int64 | ElementType::Float64 => Some(8),
        ElementType::String => None,
    }
}

/// The field of typed contents that holds elements of the type; half precision has none and is always raw.
pub(super) fn contents_field(element: ElementType) -> Option<&'static str> {
    match element {
        ElementType::Bool => Some("bool_contents"),
        ElementType::Int8 | ElementType::Int16 | ElementType::Int32 => Some("int_contents"),
        ElementType::Int64 => Some("int64_contents"),
        ElementType::Uint8 | ElementType::Uint16 | ElementType::Uint32 => Some("uint_contents"),
        ElementType::Uint64 => Some("uint64_contents"),
        ElementType::Float32 => Some("fp32_contents"),
        ElementType::Float64 => Some("fp64_contents"),
        ElementType::String => Some("bytes_contents"),
        ElementType::Float16 | ElementType::Bfloat16 => None,
    }
}

/// An output's element type and declared shape, where `-1` is a size known only after a run. `None` for a type that no
/// tensor can carry.
pub(super) fn of_output(spec: &TensorSpec) -> Option<(ElementType, Vec<i64>)> {
    match &spec.kind {
        ValueKind::Tensor(element) => Some((*element, spec.shape.clone())),
        ValueKind::ZipMap { .. } => Some((ElementType::Float32, vec![-1, -1])),
        ValueKind::Unsupported(_) => None,
    }
}

/// The number of elements of `shape`; `None` when a dimension is negative or there are more than `limit` elements.
///
/// A dimension of zero makes the tensor empty, but the limit still holds for the others: a model may sum over the empty
/// axis and allocate the rest.
pub(super) fn elements(shape: &[i64], limit: usize) -> Option<usize> {
    let mut extent = 1_usize;
    for dimension in shape {
        let dimension = usize::try_from(*dimension).ok()?;
        extent = extent.checked_mul(dimension.max(1)).filter(|extent| *extent <= limit)?;
    }
    Some(if shape.contains(&0) { 0 } else { extent })
}

/// Whether a tensor of `shape` fits the dimensions that the model declares.
///
/// A model that declares none has either a scalar or an input of any rank; ONNX Runtime knows which.
pub(super) fn fits(shape: &[i64], declared: &[i64]) -> bool {
    declared.is_empty()
        || (shape.len() == declared.len()
            && shape.iter().zip(declared).all(|(sent, wanted)| *wanted < 0 || sent == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn elements_are_counted_within_a_limit() {
        assert_eq!(elements(&[], 10), Some(1));
        assert_eq!(elements(&[2, 5], 10), Some(10));
        assert_eq!(elements(&[2, 6], 10), None);
        assert_eq!(elements(&[3, 0], 10), Some(0));
        assert_eq!(elements(&[0, 11], 10), None);
        assert_eq!(elements(&[-1, 2], 10), None);
        assert_eq!(elements(&[i64::MAX, i64::MAX], usize::MAX), None);
    }

    #[test]
    fn a_shape_fits_where_the_model_says_nothing_else() {
        assert!(fits(&[3, 4], &[-1, 4]));
        assert!(!fits(&[3, 5], &[-1, 4]));
        assert!(!fits(&[4], &[-1, 4]));
        assert!(fits(&[3, 5], &[]));
    }

    proptest! {
        #[test]
        fn the_count_is_the_product(shape in prop::collection::vec(0_i64..50, 0..4)) {
            prop_assert_eq!(elements(&shape, 1 << 30), Some(shape.iter().product::<i64>() as usize));
        }

        #[test]
        fn no_shape_counts_more_than_the_limit(shape in prop::collection::vec(any::<i64>(), 0..6), limit: u32) {
            prop_assert!(elements(&shape, limit as usize).is_none_or(|count| count <= limit as usize));
        }
    }
}
