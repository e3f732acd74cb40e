//! The id of a customer as words of a block.

use smallvec::SmallVec;

use crate::entry::Entry;

/// Bytes of a word.
const WORD: usize = 8;

/// Behind the last byte of an id; zeros fill its last word. So ids of every length and content stay apart.
const END: u8 = 0x80;

/// An id in words.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Id(SmallVec<[Entry; 8]>);

impl Id {
    pub(crate) fn new(text: &str) -> Self {
        let (whole, rest) = text.as_bytes().as_chunks();
        let mut last = [0_u8; WORD];
        last[..rest.len()].copy_from_slice(rest);
        last[rest.len()] = END;
        let words = whole.iter().chain([&last]).map(|bytes| Entry::from_bits(u64::from_le_bytes(*bytes)));
        Self(words.collect())
    }

    /// The id whose words these are.
    pub(super) fn from_words(words: &[Entry]) -> Self {
        Self(words.into())
    }

    pub(super) fn words(&self) -> &[Entry] {
        &self.0
    }

    pub(crate) fn text(&self) -> Box<str> {
        let mut bytes: Vec<u8> = self.0.iter().flat_map(|word| word.bits().to_le_bytes()).collect();
        let end = bytes.iter().rposition(|byte| *byte == END).unwrap_or(0);
        bytes.truncate(end);
        // It was made of a text.
        String::from_utf8_lossy(&bytes).into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_gives_its_text_again(text in "\\PC{0,30}", other in "[a\0]{0,18}", another in "[a\0]{0,18}") {
            prop_assert_eq!(&*Id::new(&text).text(), text.as_str());
            prop_assert_eq!(Id::new(&other) == Id::new(&another), other == another);
        }
    }
}
