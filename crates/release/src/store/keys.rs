//! The names of a store's objects: the same names are paths below a directory and keys below a prefix.

use super::StoreError;

/// The pointer to the release that serves.
pub(super) const CURRENT: &str = "CURRENT";
/// The folder of model versions.
pub(super) const MODELS: &str = "models";
/// The folder of releases.
pub(super) const RELEASES: &str = "releases";
/// The folder of verdicts.
pub(super) const VERDICTS: &str = "verdicts";
/// The folder of the copies of every `CURRENT`.
pub(super) const PROMOTIONS: &str = "promotions";
/// The folder of the customers' source.
pub(super) const CUSTOMERS: &str = "customers";
/// The folder of unfinished writes; readers ignore it.
pub(super) const STAGING: &str = ".staging";

/// The file that makes a directory a version.
pub(super) const MANIFEST: &str = "model.toml";
/// The file that makes a directory without a manifest a version, for the Open Inference Protocol alone.
pub(super) const BARE: &str = "model.onnx";
/// The file that makes a directory a release.
pub(super) const RECORD: &str = "release.toml";

/// The folder of a version.
pub(super) fn version(name: &str, version: u64) -> String {
    format!("{MODELS}/{name}/{version}")
}

/// The manifest of a version.
pub(super) fn manifest(name: &str, number: u64) -> String {
    format!("{}/{MANIFEST}", version(name, number))
}

/// The verdict on a version.
pub(super) fn verdict(name: &str, version: u64) -> String {
    format!("{VERDICTS}/{name}/{version}.json")
}

/// A file of a release.
pub(super) fn release(number: u64, file: &str) -> String {
    format!("{RELEASES}/{number}/{file}")
}

/// The copy of a `CURRENT`.
pub(super) fn promotion(sequence: u64) -> String {
    format!("{PROMOTIONS}/{sequence}.toml")
}

/// A positive integer in its canonical spelling, so that no two names mean the same number.
pub(super) fn number(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|number| *number > 0 && number.to_string() == text)
}

/// Whether a model can have this name, which becomes a part of paths.
pub(super) fn is_name(name: &str) -> bool {
    let letter = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
    !name.is_empty() && name.len() <= 64 && !name.starts_with('.') && name.chars().all(letter)
}

/// Refuses what [`is_name`] refuses.
pub(super) fn check_name(name: &str) -> Result<(), StoreError> {
    if is_name(name) { Ok(()) } else { Err(StoreError::BadName { name: name.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_leads_out_of_its_folder() {
        for name in ["", ".", "..", "../x", "a/b", "a\\b", ".hidden", "a\0", "ü", &"x".repeat(65)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        for name in ["propensity", "a.b-c_1", "1", &"x".repeat(64)] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn a_number_is_written_in_one_way() {
        assert_eq!(["1", "12"].map(number), [Some(1), Some(12)]);
        assert_eq!(["0", "01", "+1", "-1", "1.", "", "latest"].map(number), [None; 7]);
    }
}
