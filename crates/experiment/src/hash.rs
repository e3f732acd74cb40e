//! The hashes that draw arms and explore, each as its system defines it.
//!
//! A hash that begins with a seed keeps its state after the seed, so that a draw costs the customer's id alone.

#[cfg(test)]
mod tests;

use md5::{Digest, Md5};

/// A customer's id, prepared once for all experiments.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    id: &'a str,
    /// In ASCII a byte is a UTF-16 code unit.
    is_ascii: bool,
    /// The FNV state after the id, for hashes that begin with the id.
    after_id: Fnv,
}

impl<'a> Subject<'a> {
    pub(crate) fn new(id: &'a str) -> Self {
        let is_ascii = id.is_ascii();
        Self { id, is_ascii, after_id: Fnv::START.text(id, is_ascii) }
    }
}

/// FNV-1a with 32 bits over UTF-16 code units, as GrowthBook's SDK for JavaScript has it (`charCodeAt`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fnv(u32);

impl Fnv {
    const START: Self = Self(0x811c_9dc5);
    const PRIME: u32 = 0x0100_0193;

    /// The state after a seed.
    pub(crate) fn after(seed: &str) -> Self {
        Self::START.text(seed, seed.is_ascii())
    }

    /// Hash version 2 of the text so far and the id: the hash of the decimal digits of its hash.
    pub(crate) fn twice(self, subject: &Subject<'_>) -> u32 {
        of_digits(self.text(subject.id, subject.is_ascii).0)
    }

    /// Hash version 1: of the id and then the seed.
    pub(crate) fn id_then(subject: &Subject<'_>, seed: &str) -> u32 {
        subject.after_id.text(seed, seed.is_ascii()).0
    }

    /// A number after the text so far, in decimal digits with leading zeros.
    pub(crate) fn padded(self, number: u32, digits: u32) -> Self {
        (0..digits)
            .rev()
            .fold(self, |state, place| state.unit(u32::from(b'0') + number / 10_u32.pow(place) % 10))
    }

    pub(crate) fn text(self, text: &str, is_ascii: bool) -> Self {
        if is_ascii {
            text.bytes().fold(self, |state, byte| state.unit(byte.into()))
        } else {
            text.encode_utf16().fold(self, |state, unit| state.unit(unit.into()))
        }
    }

    fn unit(self, unit: u32) -> Self {
        Self((self.0 ^ unit).wrapping_mul(Self::PRIME))
    }
}

/// FNV-1a of the decimal digits of `number`.
fn of_digits(number: u32) -> u32 {
    // Two halves of five digits: divisions by constants that do not wait for each other.
    let (high, low) = (number / 100_000, number % 100_000);
    let digit = |half: u32, place: u32| b'0' + (half / place % 10) as u8;
    let five = |half| [10_000, 1_000, 100, 10, 1].map(|place| digit(half, place));
    let mut digits = [0; 10];
    let (first, last) = digits.split_at_mut(5);
    first.copy_from_slice(&five(high));
    last.copy_from_slice(&five(low));
    let count = number.checked_ilog10().map_or(1, |log| log as usize + 1);
    let shown = digits.get(digits.len() - count..).unwrap_or(&digits);
    shown.iter().fold(Fnv::START, |state, digit| state.unit((*digit).into())).0
}

/// `MurmurHash3` x86 with 32 bits over UTF-8, fed piece by piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Murmur {
    state: u32,
    /// The bytes of the unfinished block, little-endian.
    pending: u32,
    /// How many these are, 0 to 3.
    held: u32,
    length: u32,
}

impl Murmur {
    pub(crate) fn new(seed: u32) -> Self {
        Self { state: seed, pending: 0, held: 0, length: 0 }
    }

    pub(crate) fn text(self, text: &str) -> Self {
        text.bytes().fold(self, Self::byte)
    }

    pub(crate) fn of(self, subject: &Subject<'_>) -> u32 {
        self.text(subject.id).finish()
    }

    fn byte(mut self, byte: u8) -> Self {
        self.pending |= u32::from(byte) << (8 * self.held);
        self.held += 1;
        self.length = self.length.wrapping_add(1);
        if self.held == 4 {
            let mixed = (self.state ^ scrambled(self.pending)).rotate_left(13);
            self.state = mixed.wrapping_mul(5).wrapping_add(0xe654_6b64);
            (self.pending, self.held) = (0, 0);
        }
        self
    }

    fn finish(self) -> u32 {
        // A block without bytes is scrambled to zero.
        let mut hash = self.state ^ scrambled(self.pending) ^ self.length;
        hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
        hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
        hash ^ hash >> 16
    }
}

fn scrambled(block: u32) -> u32 {
    block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593)
}

/// The first four bytes of the MD5 of `prefix` and the id, in UTF-8, as a big-endian number.
pub(crate) fn md5(prefix: &Md5, subject: &Subject<'_>) -> u32 {
    let digest: [u8; 16] = prefix.clone().chain_update(subject.id).finalize().into();
    let [a, b, c, d, ..] = digest;
    u32::from_be_bytes([a, b, c, d])
}

/// The state of an MD5 after `prefix`.
pub(crate) fn md5_after(prefix: &str) -> Md5 {
    Md5::new_with_prefix(prefix)
}

/// A bijection of 64 bits in which each bit of the input changes each bit of the output half of the time.
///
/// Source: Stafford (2011), variant 13; the finaliser of `SplitMix64`.
pub(crate) fn mix(mut number: u64) -> u64 {
    number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

/// A 64-bit hash of bytes: FNV-1a, then [`mix`], since FNV-1a alone leaves its low bits weak.
pub(crate) fn wide(bytes: &[u8]) -> u64 {
    let fold = |state: u64, byte: &u8| (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}
