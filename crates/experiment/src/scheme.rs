//! The ways to draw an arm: our own, and those of other systems, so that they agree with us on the arm.
//!
//! A scheme hashes seed and id to a bucket. A variant owns a range of buckets that begins at the sum of the weights
//! before it and is coverage × weight long. So raising coverage moves nobody to another variant.
//!
//! | scheme | buckets | hash | text |
//! |---|---|---|---|
//! | `growthbook` | 10,000 | FNV-1a of the decimal digits of the FNV-1a of seed + id | UTF-16 code units |
//! | `growthbook_1` | 1,000 | FNV-1a of id + seed | UTF-16 code units |
//! | `unleash` | 100 for coverage, 1,000 for the variant | `MurmurHash3` of seed + `:` + id | UTF-8 |
//! | `flagd` | 2³² | `MurmurHash3` of seed + id | UTF-8 |
//! | `eppo` | 10,000 | the first 32 bits of the MD5 of seed + `-` + id | UTF-8 |
//!
//! **GrowthBook** hashes what JavaScript calls characters, UTF-16 code units: `é` is one, `😀` two. Its SDK for Python
//! does so since version 4. SDKs that hash bytes or whole characters differ from it, and from us, for an id that is
//! not ASCII. Its version 1 draws related arms under seeds that are alike, such as `model_7` and `model_8`: take it only
//! to go on with an experiment that began with it.
//!
//! **Unleash** asks two hashes. The one for coverage has 100 buckets from seed 0 (`flexibleRollout`, with the group id
//! as our seed), the one for the variant 1,000 from seed 86028157. So coverage is a whole percentage there, and a
//! weight a whole number of thousandths.
//!
//! **flagd** is its operation `fractional` since March 2026, in the short form that hashes flag key + targeting key:
//! `(hash × total weight) >> 32`. Before that it took `abs(hash) / 2³¹`. Evaluators that encode both keys as CBOR first
//! differ, such as `openfeature-flagd-core` 2.0 for Python. flagd has no coverage: at coverage 1 we agree.
//!
//! **Eppo** calls buckets shards and the seed a salt. It draws who takes part with a salt of its own: at coverage 1 we
//! agree.

/// A way to draw an arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scheme {
    /// GrowthBook's hash version 2, our own.
    #[default]
    GrowthBook,
    /// GrowthBook's hash version 1.
    GrowthBook1,
    /// Unleash's gradual rollout and its variants.
    Unleash,
    /// flagd's `fractional`.
    Flagd,
    /// Eppo's shards.
    Eppo,
}

impl Scheme {
    /// Every scheme by its name in `policy.toml`.
    pub const ALL: [(&'static str, Self); 5] = [
        ("growthbook", Self::GrowthBook),
        ("growthbook_1", Self::GrowthBook1),
        ("unleash", Self::Unleash),
        ("flagd", Self::Flagd),
        ("eppo", Self::Eppo),
    ];

    /// Its name in `policy.toml`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::GrowthBook => "growthbook",
            Self::GrowthBook1 => "growthbook_1",
            Self::Unleash => "unleash",
            Self::Flagd => "flagd",
            Self::Eppo => "eppo",
        }
    }
}
