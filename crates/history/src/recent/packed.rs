//! A decision in one block: numbers of 7 bits a byte, and the customer at the end.

/// The most bytes of a number.
const NUMBER_BYTES: usize = 10;

/// Writes a block.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// With room for a decision that shows so many offers, for a customer of so many bytes.
    pub(super) fn new(offers: usize, customer: usize) -> Self {
        // Key, placement, channel, time and count; offer, cost and value.
        Self(Vec::with_capacity(18 + 14 * offers + customer))
    }

    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// A number of either sign; small ones are short.
    pub(super) fn signed(&mut self, number: i64) {
        self.number((number << 1 ^ number >> 63).cast_unsigned());
    }

    /// The block, with the customer at its end.
    pub(super) fn end(mut self, customer: &str) -> Box<[u8]> {
        self.0.extend_from_slice(customer.as_bytes());
        self.0.into_boxed_slice()
    }
}

/// Reads a block.
pub(super) struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    pub(super) fn new(block: &'b [u8]) -> Self {
        Self(block)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for place in 0..NUMBER_BYTES {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// What is behind the numbers.
    pub(super) fn rest(self) -> &'b [u8] {
        self.0
    }
}

/// The customer of a block.
pub(super) fn customer(block: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(block);
    for _ in 0..4 {
        reader.number()?;
    }
    for _ in 0..3 * reader.number()? {
        reader.number()?;
    }
    Some(reader.rest())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(numbers in prop::collection::vec(any::<u64>(), 0..9), text in "\\PC{0,9}") {
            let mut writer = Writer::new(0, 0);
            for number in &numbers {
                writer.number(*number);
                writer.signed(number.cast_signed());
            }
            let block = writer.end(&text);
            let mut reader = Reader::new(&block);
            for number in numbers {
                prop_assert_eq!(reader.number(), Some(number));
                prop_assert_eq!(reader.signed(), Some(number.cast_signed()));
            }
            prop_assert_eq!(reader.rest(), text.as_bytes());
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in any::<Vec<u8>>()) {
            let _ = customer(&bytes);
        }
    }
}
