//! Published vectors of each hash, and the avalanche of the mixer.

use md5::{Digest, Md5};
use proptest::prelude::{any, prop_assert_eq, proptest};

use super::{Fnv, Murmur, Subject, UNITS, md5_after, mix, of_digits, wide};

/// FNV-1a of bytes, as it is written down.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |state: u32, byte| (state ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[test]
fn fnv_has_its_published_values() {
    // From the test vectors of its authors.
    for (text, hash) in [("", 0x811c_9dc5), ("a", 0xe40c_292c), ("b", 0xe70c_2de5), ("foobar", 0xbf9c_f968)] {
        assert_eq!(Fnv::after(text), Fnv(hash), "{text}");
    }
}

#[test]
fn fnv_reads_utf16_code_units() {
    // é is one unit of 16 bits, and two bytes in UTF-8; 😀 is a surrogate pair.
    let units = |units: &[u32]| units.iter().fold(Fnv::START, |state, unit| state.unit(*unit));
    assert_eq!(Fnv::after("é"), units(&[0xe9]));
    assert_ne!(Fnv::after("é"), units(&[0xc3, 0xa9]));
    assert_eq!(Fnv::after("😀"), units(&[0xd83d, 0xde00]));
    assert_eq!(Fnv::after("a日"), units(&[0x61, 0x65e5]));
}

#[test]
fn murmur_has_its_published_values() {
    for (seed, text, hash) in [
        (0, "", 0),
        (1, "", 0x514e_28b7),
        (0xffff_ffff, "", 0x81f1_6f39),
        (0, "test", 0xba6b_d213),
        (0x9747_b28c, "test", 0x704b_81dc),
        (0x9747_b28c, "Hello, world!", 0x2488_4cba),
        (0x9747_b28c, "The quick brown fox jumps over the lazy dog", 0x2fa8_26cd),
        (0x9747_b28c, "ππππππππ", 0xd580_63c1),
        (0x9747_b28c, "aaa", 0x283e_0130),
        (0x9747_b28c, "aa", 0x5d21_1726),
        (0x9747_b28c, "a", 0x7fa0_9ea6),
    ] {
        assert_eq!(Murmur::new(seed).text(text).finish(), hash, "{text}");
    }
}

#[test]
fn md5_has_its_published_values() {
    // RFC 1321.
    let hash = |prefix: &Md5, text: &str| super::md5(prefix, &Subject::new(text, &mut [0; UNITS]));
    assert_eq!(hash(&md5_after(""), "message digest"), 0xf96b_697d);
    assert_eq!(hash(&md5_after("message"), " digest"), 0xf96b_697d);
    assert_eq!(hash(&Md5::new(), ""), 0xd41d_8cd9);
}

#[test]
fn the_hash_of_digits_has_every_pair_at_every_place() {
    for pair in 0..100 {
        for place in [1, 100, 10_000, 1_000_000] {
            for number in [pair * place, 4_100_000_000 + pair * place, 99_999_999 - pair * place] {
                assert_eq!(of_digits(number), fnv1a(number.to_string().as_bytes()), "{number}");
            }
        }
    }
    for first in 0..=42 {
        let number = first * 100_000_000;
        assert_eq!(of_digits(number), fnv1a(number.to_string().as_bytes()), "{number}");
    }
}

#[test]
fn the_hash_of_digits_has_no_leading_zeros() {
    for power in 0..10 {
        for number in [10_u32.pow(power) - 1, 10_u32.pow(power), 10_u32.pow(power) + 1] {
            assert_eq!(of_digits(number), fnv1a(number.to_string().as_bytes()), "{number}");
        }
    }
}

#[test]
fn each_bit_of_the_mixer_changes_each_bit_half_of_the_time() {
    const SAMPLES: u64 = 4_096;
    for input in 0..64 {
        let mut flips = [0_u64; 64];
        for sample in 0..SAMPLES {
            let number = mix(sample);
            let changed = mix(number) ^ mix(number ^ 1 << input);
            for (output, flips) in flips.iter_mut().enumerate() {
                *flips += changed >> output & 1;
            }
        }
        // 0.5 ± 5 standard errors.
        for (output, flips) in flips.iter().enumerate() {
            let share = *flips as f64 / SAMPLES as f64;
            assert!((share - 0.5).abs() < 5.0 * 0.5 / (SAMPLES as f64).sqrt(), "{input} {output} {share}");
        }
    }
}

#[test]
fn ids_that_resemble_each_other_have_unlike_wide_hashes() {
    let ones = (0..10_000_u32).map(|number| (wide(format!("offer_{number}").as_bytes()) & 0xff).count_ones());
    let mean = f64::from(ones.sum::<u32>()) / 10_000.0;
    // Eight bits, √2 the standard deviation of their sum.
    assert!((mean - 4.0).abs() < 5.0 * 2.0_f64.sqrt() / 100.0, "{mean}");
}

proptest! {
    #[test]
    fn the_hash_of_digits_is_that_of_the_number_as_text(number in any::<u32>(), small in 0_u32..2_000) {
        for number in [number, small, u32::MAX, 999_999_999, 1_000_000_000] {
            prop_assert_eq!(of_digits(number), fnv1a(number.to_string().as_bytes()));
        }
    }

    #[test]
    fn padded_numbers_are_hashed_as_their_text(number in 0_u32..10_000) {
        prop_assert_eq!(Fnv::after("a").padded(number, 4), Fnv::after(&format!("a{number:04}")));
    }

    #[test]
    fn a_hash_in_pieces_is_the_hash_of_the_whole(first in ".{0,80}", second in ".{0,80}") {
        let whole = format!("{first}{second}");
        let (mut room, mut other) = ([0; UNITS], [0; UNITS]);
        let (before, after) = (Subject::new(&first, &mut room), Subject::new(&second, &mut other));
        prop_assert_eq!(Murmur::new(7).text(&first).of(&after), Murmur::new(7).text(&whole).finish());
        prop_assert_eq!(Fnv::after(&first).twice(&after), of_digits(Fnv::after(&whole).0));
        prop_assert_eq!(Fnv::id_then(&before, &second), Fnv::after(&whole).0);
    }
}
