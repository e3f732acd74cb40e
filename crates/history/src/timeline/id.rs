//! The id of a customer as words of a block.

use smallvec::SmallVec;

use crate::entry::Entry;

/// Bytes of a word.
const WORD: usize = 8;

/// Behind the last byte of an id; zeros fill its last word. So ids of every length and content stay apart.
const END: u8 = 0x80;

/// An id in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Id(SmallVec<[Entry; 8]>);

impl Id {
    pub(crate) fn new(text: &str) -> Self {
        let (whole, rest) = text.as_bytes().as_chunks::<WORD>();
        let mut last = [0_u8; WORD];
        last[..rest.len()].copy_from_slice(rest);
        last[rest.len()] = END;
        let words = whole.iter().chain([&last]).map(|bytes| Entry::from_bits(u64::from_le_bytes(*bytes)));
        Self(words.collect())
    }

    pub(crate) fn words(&self) -> &[Entry] {
        &self.0
    }
}

/// The text of an id.
pub(super) fn text(words: &[Entry]) -> Box<str> {
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.bits().to_le_bytes()).collect();
    let end = bytes.iter().rposition(|byte| *byte == END).unwrap_or(0);
    bytes.truncate(end);
    // It was made of a text.
    String::from_utf8_lossy(&bytes).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_gives_its_text_again(text in "\\PC{0,30}", other in "[a\0]{0,18}", another in "[a\0]{0,18}") {
            prop_assert_eq!(&*super::text(Id::new(&text).words()), text.as_str());
            prop_assert_eq!(Id::new(&other) == Id::new(&another), other == another);
        }
    }
}
