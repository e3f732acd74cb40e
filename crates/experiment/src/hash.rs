//! The hashes that draw arms and explore, each as its system defines it.
//!
//! A hash that begins with a seed keeps its state after the seed, so that a draw costs the customer's id alone.

#[cfg(test)]
mod tests;

use md5::{Digest, Md5};

/// UTF-16 code units that a [`Subject`] has room for; a longer id is converted for each hash.
pub(crate) const UNITS: usize = 64;

/// A customer's id, prepared once for all experiments.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    id: &'a str,
    units: Units<'a>,
    /// The FNV state after the id, for hashes that begin with the id.
    after_id: Fnv,
}

/// The UTF-16 code units of a text.
#[derive(Clone, Copy)]
enum Units<'a> {
    /// In ASCII a byte is a unit.
    Bytes(&'a [u8]),
    Wide(&'a [u16]),
    /// Not converted.
    Text(&'a str),
}

impl<'a> Units<'a> {
    fn of(text: &'a str) -> Self {
        if text.is_ascii() { Self::Bytes(text.as_bytes()) } else { Self::Text(text) }
    }
}

impl<'a> Subject<'a> {
    /// Prepares an id, with memory for its code units.
    pub(crate) fn new(id: &'a str, room: &'a mut [u16; UNITS]) -> Self {
        let mut units = Units::of(id);
        if let Units::Text(_) = units {
            let count = id.encode_utf16().count();
            if let Some(room) = room.get_mut(..count) {
                room.iter_mut().zip(id.encode_utf16()).for_each(|(place, unit)| *place = unit);
                units = Units::Wide(room);
            }
        }
        Self { id, units, after_id: Fnv::START.units(units) }
    }

    /// Goes on with four hashes at once.
    pub(crate) fn append_to(&self, states: &mut [Fnv; 4]) {
        match self.units {
            Units::Bytes(bytes) => append(states, bytes.iter().map(|byte| u32::from(*byte))),
            Units::Wide(units) => append(states, units.iter().map(|unit| u32::from(*unit))),
            Units::Text(text) => append(states, text.encode_utf16().map(u32::from)),
        }
    }
}

fn append(states: &mut [Fnv; 4], units: impl Iterator<Item = u32>) {
    *states = units.fold(*states, |states, unit| states.map(|state| state.unit(unit)));
}

/// FNV-1a with 32 bits over UTF-16 code units, as GrowthBook's SDK for JavaScript has it (`charCodeAt`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fnv(u32);

impl Default for Fnv {
    fn default() -> Self {
        Self::START
    }
}

impl Fnv {
    const START: Self = Self(0x811c_9dc5);
    const PRIME: u32 = 0x0100_0193;

    /// The state after a seed.
    pub(crate) fn after(seed: &str) -> Self {
        Self::START.text(seed)
    }

    /// Hash version 2 of the text so far and the id: the hash of the decimal digits of its hash.
    pub(crate) fn twice(self, subject: &Subject<'_>) -> u32 {
        self.units(subject.units).again()
    }

    /// The hash of the decimal digits of the hash so far.
    pub(crate) fn again(self) -> u32 {
        of_digits(self.0)
    }

    /// Hash version 1: of the id and then the seed.
    pub(crate) fn id_then(subject: &Subject<'_>, seed: &str) -> u32 {
        subject.after_id.text(seed).0
    }

    /// A number after the text so far, in decimal digits with leading zeros.
    pub(crate) fn padded(self, number: u32, digits: u32) -> Self {
        (0..digits)
            .rev()
            .fold(self, |state, place| state.unit(u32::from(b'0') + number / 10_u32.pow(place) % 10))
    }

    pub(crate) fn text(self, text: &str) -> Self {
        self.units(Units::of(text))
    }

    fn units(self, units: Units<'_>) -> Self {
        match units {
            Units::Bytes(bytes) => bytes.iter().fold(self, |state, byte| state.unit((*byte).into())),
            Units::Wide(units) => units.iter().fold(self, |state, unit| state.unit((*unit).into())),
            Units::Text(text) => text.encode_utf16().fold(self, |state, unit| state.unit(unit.into())),
        }
    }

    fn unit(self, unit: u32) -> Self {
        Self((self.0 ^ unit).wrapping_mul(Self::PRIME))
    }
}

/// FNV-1a of the decimal digits of `number`: a table has the state after the first two, the others come in pairs.
fn of_digits(number: u32) -> u32 {
    let (first, rest) = (number / 100_000_000, number % 100_000_000);
    if first == 0 {
        return of_few_digits(rest);
    }
    // A fraction with 48 bits; its whole part is the next pair. ⌈2⁴⁸ / 10⁶⌉ is exact enough for four of them.
    let mut fixed = u64::from(rest) * 281_474_977;
    let mut state = Fnv(AFTER_FIRST[first as usize]);
    for _ in 0..4 {
        let [tens, ones] = PAIRS[(fixed >> 48) as usize % PAIRS.len()];
        state = state.unit(tens.into()).unit(ones.into());
        fixed = (fixed & 0xffff_ffff_ffff) * 100;
    }
    state.0
}

/// The same for a number with up to eight digits: two in a hundred.
#[cold]
fn of_few_digits(number: u32) -> u32 {
    let places = number.checked_ilog10().unwrap_or(0);
    let digit = |place: u32| u32::from(b'0') + number / 10_u32.pow(place) % 10;
    (0..=places).rev().fold(Fnv::START, |state, place| state.unit(digit(place))).0
}

/// The states after the digits of what a 32-bit number has above its last eight digits.
const AFTER_FIRST: [u32; 43] = {
    let mut states = [Fnv::START.0; 43];
    let mut first = 1;
    while first < states.len() {
        // Of the digits before the last one, which is none for 1 to 9.
        let before = states[first / 10];
        states[first] = (before ^ (b'0' as u32 + first as u32 % 10)).wrapping_mul(Fnv::PRIME);
        first += 1;
    }
    states
};

/// The digits of 0 to 99 in ASCII; a power of two long, so that no access is out of bounds.
const PAIRS: [[u8; 2]; 128] = {
    let mut pairs = [[0; 2]; 128];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + number as u8 / 10, b'0' + number as u8 % 10];
        number += 1;
    }
    pairs
};

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
