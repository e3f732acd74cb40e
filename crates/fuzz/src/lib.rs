//! Mutated inputs for decoders: valid or nearly valid seeds, each changed a few times.
//!
//! A run in the tests is deterministic: a fixed number of inputs from a fixed seed. `make fuzz MINUTES=` runs for the
//! given time from another seed. An input that makes a decoder panic or exceed its memory limit is kept in
//! `target/fuzz`. Once the decoder is fixed, move it to `tests/fuzz/corpus/<target>`, which every run tries first.
//!
//! `PROFFER_TEST_FUZZ_SECONDS` is the time for each target, instead of the fixed number of inputs.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails should stop")]

use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

/// The most bytes of an input. Without a limit, repeating mutations could double it forever.
const MAX_BYTES: usize = 256 << 10;

/// The most mutations of one input.
const MAX_MUTATIONS: usize = 8;

/// Boundary values of arithmetic and lengths.
const NUMBERS: [u64; 14] =
    [0, 1, 2, 127, 128, 255, 256, 65_535, 1 << 31, (1 << 31) - 1, (1 << 32) - 1, 1 << 40, 1 << 63, u64::MAX];

/// The root folder of the project.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// A decoder that must survive any input.
pub struct Target<'t> {
    /// The name of the target and of its corpus folder.
    pub name: &'static str,
    /// The inputs to mutate.
    pub seeds: Vec<Vec<u8>>,
    /// Words to insert into inputs.
    pub words: &'t [&'t str],
    /// The number of inputs of a run in the tests.
    pub inputs: u64,
}

impl Target<'_> {
    /// Runs `decode` on the corpus, the seeds and their mutations. An `Err` of `decode` is a failure.
    ///
    /// # Panics
    /// When `decode` panics or fails on an input. The input is kept.
    pub fn run(mut self, decode: impl Fn(&[u8]) -> Result<(), String>) {
        self.seeds.splice(0..0, self.corpus());
        let tried = |input: &[u8]| {
            let went = catch_unwind(AssertUnwindSafe(|| decode(input)));
            if let Err(why) = went.unwrap_or_else(|_| Err("it panicked".to_owned())) {
                panic!("{}: {why}; the input is kept in {}", self.name, self.keep(input).display());
            }
        };
        self.seeds.iter().for_each(|seed| tried(seed));
        let seconds = std::env::var("PROFFER_TEST_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
        let time = seconds.map(Duration::from_secs_f64);
        let start = match time {
            None => {
                self.name.bytes().fold(7, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
            }
            Some(_) => SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_nanos() as u64),
        };
        let (mut random, began, mut count) = (SplitMix64::seed_from_u64(start), Instant::now(), 0);
        while time.map_or(count < self.inputs, |time| began.elapsed() < time) {
            tried(&self.mutated(&mut random));
            count += 1;
        }
        println!("{}: {count} inputs in {:.1} s", self.name, began.elapsed().as_secs_f64());
    }

    fn corpus(&self) -> Vec<Vec<u8>> {
        let folder = root().join("tests/fuzz/corpus").join(self.name);
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        files.sort();
        files.iter().filter_map(|file| std::fs::read(file).ok()).collect()
    }

    fn keep(&self, input: &[u8]) -> PathBuf {
        let folder = root().join("target/fuzz");
        let mut name = format!("{}-", self.name);
        let hash = input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        write!(name, "{hash:016x}").unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        std::fs::write(&path, input).unwrap();
        path
    }

    fn mutated(&self, random: &mut SplitMix64) -> Vec<u8> {
        let mut input = self.seeds[below(random, self.seeds.len())].clone();
        for _ in 0..=below(random, MAX_MUTATIONS) {
            self.mutate(&mut input, random);
            input.truncate(MAX_BYTES);
        }
        input
    }

    fn mutate(&self, input: &mut Vec<u8>, random: &mut SplitMix64) {
        let at = below(random, input.len() + 1);
        let longest = 1 << below(random, 10);
        let length = below(random, longest).min(input.len() - at);
        match below(random, 12) {
            0 if at < input.len() => input[at] ^= 1 << below(random, 8),
            1 if at < input.len() => input[at] = random.next_u32() as u8,
            2 => drop(input.drain(at..at + length)),
            3 => {
                let piece = input[at..at + length].to_vec();
                let times = 1 << below(random, 12);
                let times = (MAX_BYTES / piece.len().max(1)).min(times);
                input.splice(at..at, piece.repeat(times));
            }
            4 => {
                let bytes: Vec<u8> = (0..below(random, 16)).map(|_| random.next_u32() as u8).collect();
                input.splice(at..at, bytes);
            }
            5 => {
                let other = &self.seeds[below(random, self.seeds.len())];
                let from = below(random, other.len() + 1);
                let to = from + below(random, (other.len() - from).min(4_096) + 1);
                input.splice(at..at + length, other[from..to].iter().copied());
            }
            6 if !self.words.is_empty() => {
                let word = self.words[below(random, self.words.len())];
                input.splice(at..at, word.bytes());
            }
            7 => {
                let number = NUMBERS[below(random, NUMBERS.len())].to_le_bytes();
                let width = 1 << below(random, 4);
                let end = (at + width).min(input.len());
                input.splice(at..end, number[..width].iter().copied());
            }
            8 => {
                let number = NUMBERS[below(random, NUMBERS.len())];
                input.splice(at..at, varint(number));
            }
            9 => {
                let number = NUMBERS[below(random, NUMBERS.len())];
                input.splice(at..at + length.min(4), number.to_string().into_bytes());
            }
            10 => input.truncate(at),
            _ if at < input.len() => {
                // Repeats one byte: quotes, brackets or characters that a decoder counts.
                let (byte, times) = (input[at], 1 << below(random, 14));
                input.splice(at..at, std::iter::repeat_n(byte, times));
            }
            _ => {}
        }
    }
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn below(random: &mut SplitMix64, limit: usize) -> usize {
    if limit == 0 { 0 } else { (random.next_u64() % limit as u64) as usize }
}
