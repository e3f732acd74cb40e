//! The configuration of privacy: `records.pseudonyms` and `records.keys`.

use std::path::PathBuf;

use document::settings::Settings;

use super::{PseudonymError, PseudonymMode, Pseudonyms, ValueCipher};
use crate::keys::{Keys, KeysError};

/// How records name customers, and where the keys are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrivacyConfig {
    /// `records.pseudonyms`.
    pub pseudonyms: PseudonymMode,
    /// `records.keys`: the key file; `None` where the value is empty.
    pub keys: Option<PathBuf>,
}

/// Why privacy cannot be had as configured.
#[derive(Debug, thiserror::Error)]
pub enum PrivacyError {
    /// The key file cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// There is no key for pseudonyms.
    #[error(transparent)]
    Pseudonyms(#[from] PseudonymError),
}

impl PrivacyConfig {
    /// Reads its keys.
    pub fn read(settings: &mut Settings) -> Self {
        let config = Self {
            pseudonyms: settings.parsed("records.pseudonyms", |text| match text {
                "none" => Ok(PseudonymMode::None),
                "hmac-sha256" => Ok(PseudonymMode::HmacSha256),
                _ => Err("must be none or hmac-sha256".to_owned()),
            }),
            keys: Some(settings.text("records.keys")).filter(|path| !path.is_empty()).map(PathBuf::from),
        };
        if config.pseudonyms == PseudonymMode::HmacSha256 && config.keys.is_none() {
            let remedy = "must be the path of a key file where `records.pseudonyms` is hmac-sha256; make one with \
                          `proffer privacy keys --out FILE`";
            settings.wrong("records.keys", remedy);
        }
        config
    }

    /// Reads the key file.
    ///
    /// # Errors
    /// Where it cannot be used, or lacks a key for pseudonyms that are wanted.
    pub fn load(&self) -> Result<(Pseudonyms, ValueCipher), PrivacyError> {
        let keys = self.keys.as_deref().map(Keys::read).transpose()?.unwrap_or_default();
        Ok((Pseudonyms::new(self.pseudonyms, &keys)?, ValueCipher::new(&keys)))
    }
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::*;

    fn read(file: &str) -> Result<PrivacyConfig, String> {
        let reference = ("reference", "[records]\npseudonyms = \"none\"\nkeys = \"\"\n");
        let mut settings = Settings::layered(reference, Some(("x.toml", file)), |_| None, &[]);
        let config = PrivacyConfig::read(&mut settings);
        settings.finish().map(|_| config).map_err(|problems| problems.to_string())
    }

    #[test]
    fn pseudonyms_need_a_key_file() {
        assert_eq!(read("").unwrap(), PrivacyConfig::default());
        let lacking = read("[records]\npseudonyms = \"hmac-sha256\"\n").unwrap_err();
        assert!(lacking.contains("`records.keys` = \"\": must be the path of a key file"), "{lacking}");
        let word = read("[records]\npseudonyms = \"md5\"\n").unwrap_err();
        assert!(word.contains("must be none or hmac-sha256"), "{word}");
    }

    #[test]
    fn a_new_key_file_serves_both_uses() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("records.keys");
        let text = format!("[records]\npseudonyms = \"hmac-sha256\"\nkeys = {path:?}\n");
        let config = read(&text).unwrap();
        assert!(config.load().unwrap_err().to_string().contains("records.keys"));
        Keys::create(&path, NaiveDate::from_ymd_opt(2026, 11, 1).unwrap()).unwrap();
        let (pseudonyms, _) = config.load().unwrap();
        assert!(pseudonyms.of("C-1").key.starts_with("pseudonyms-2026-11-"));
        let (plain, _) = PrivacyConfig::default().load().unwrap();
        assert_eq!(plain.of("C-1").key, "");
    }
}
