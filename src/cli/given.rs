//! Files that the user names in place of those of a release. What is wrong with one is told by its path.

use std::fmt::Display;
use std::path::PathBuf;

use super::Failure;

/// The names of files in a release, and the paths that were given for them.
#[derive(Debug, Clone, Default)]
pub(super) struct GivenFiles(Vec<(&'static str, String)>);

impl GivenFiles {
    /// Of flags that may be there.
    pub(super) fn new<'a>(flags: impl IntoIterator<Item = (&'static str, Option<&'a PathBuf>)>) -> Self {
        let given = flags.into_iter().filter_map(|(name, path)| Some((name, path?.display().to_string())));
        Self(given.collect())
    }

    /// An error whose lines name these files.
    pub(super) fn failure(&self, error: impl Display) -> Failure {
        let text = error.to_string();
        Failure::new(text.lines().map(|line| self.with_path(line)).collect::<Vec<_>>().join("\n"))
    }

    /// A line, which may begin with the name of a file behind the code of a status, with the path instead.
    pub(super) fn with_path(&self, line: &str) -> String {
        let code = line.split_once(": ").map(|(code, _)| code).filter(|code| is_code(code));
        let begin = code.map_or(0, |code| code.len() + 2);
        let (before, rest) = line.split_at(begin);
        for (name, path) in &self.0 {
            if let Some(behind) = rest.strip_prefix(name).filter(|behind| behind.starts_with(':')) {
                return format!("{before}{path}{behind}");
            }
        }
        line.to_owned()
    }
}

/// Whether a word is the name of a status code: `FAILED_PRECONDITION`.
fn is_code(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_its_path_wherever_a_line_is_about_it() {
        let (offers, none) = (PathBuf::from("may/offers.toml"), None);
        let given = GivenFiles::new([("offers.toml", Some(&offers)), ("policy.toml", none)]);
        let error = "FAILED_PRECONDITION: offers.toml:3: `value` is missing\noffers.toml: no offer\n\
                     policy.toml:7: names offers.toml:3\nand 2 more problems";
        let expected = "FAILED_PRECONDITION: may/offers.toml:3: `value` is missing\nmay/offers.toml: no offer\n\
                        policy.toml:7: names offers.toml:3\nand 2 more problems";
        assert_eq!(given.failure(error).message, expected);
        assert_eq!(GivenFiles::default().failure(error).message, error);
    }
}
