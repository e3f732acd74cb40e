//! The line of a text that an offset is on.

/// Bytes between two offsets with a stored line number. The index adds one part in five hundred to the text's memory.
/// A lookup scans at most this many bytes, however long the lines are.
const STRIDE: usize = 4_096;

/// The lines of a text.
pub(super) struct Lines<'i> {
    text: &'i [u8],
    /// Line ends before each multiple of [`STRIDE`].
    before: Vec<usize>,
}

impl<'i> Lines<'i> {
    pub(super) fn of(text: &'i str) -> Self {
        let text = text.as_bytes();
        let ends = text.chunks(STRIDE).scan(0, |sum, piece| {
            let before = *sum;
            *sum += line_ends(piece);
            Some(before)
        });
        Self { text, before: ends.collect() }
    }

    /// The number of the line, from 1, that `offset` is on.
    pub(super) fn number_at(&self, offset: usize) -> usize {
        let offset = offset.min(self.text.len());
        let piece = (offset / STRIDE).min(self.before.len().saturating_sub(1));
        let before = self.before.get(piece).copied().unwrap_or_default();
        before + line_ends(&self.text[piece * STRIDE..offset]) + 1
    }
}

#[expect(clippy::naive_bytecount, reason = "the pieces are short")]
fn line_ends(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lines_are_counted_as_by_hand(piece in "[ab\n]{1,600}", times in 1_usize..40, offset in 0_usize..25_000) {
            let text = piece.repeat(times);
            let counted = text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
            prop_assert_eq!(Lines::of(&text).number_at(offset), counted);
        }
    }

    #[test]
    fn an_empty_text_has_one_line() {
        assert_eq!(Lines::of("").number_at(7), 1);
    }
}
