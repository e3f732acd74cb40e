//! Column names that are not valid feature names, and the flags that rename them.
//!
//! A segmentation refers to the features of the server by name.
//! So segments over `Credit Limit (k$)` could be trained but never served.
//! Such names are refused before the training, with the flags to add to the command.

use std::collections::{BTreeMap, BTreeSet};

use super::column::argument;
use crate::report::words::words;
use document::suggestion;
use feature::is_feature_name;

/// Accented letters with their ASCII spelling.
const SPELLED: [(char, &str); 24] = [
    ('ä', "ae"),
    ('ö', "oe"),
    ('ü', "ue"),
    ('ß', "ss"),
    ('à', "a"),
    ('á', "a"),
    ('â', "a"),
    ('ã', "a"),
    ('å', "a"),
    ('æ', "ae"),
    ('ç', "c"),
    ('è', "e"),
    ('é', "e"),
    ('ê', "e"),
    ('ë', "e"),
    ('í', "i"),
    ('î', "i"),
    ('ñ', "n"),
    ('ó', "o"),
    ('ô', "o"),
    ('ø', "o"),
    ('õ', "o"),
    ('ú', "u"),
    ('û', "u"),
];

/// Renames columns; returns the problems of the request.
pub(super) fn rename(names: &mut [String], renamed: &BTreeMap<String, String>) -> Vec<String> {
    let unknown = renamed.keys().filter(|old| !names.contains(old));
    let problems = unknown.map(|old| {
        let hint = suggestion(old, names.iter().map(String::as_str));
        format!("there is no column `{old}` to rename{hint}")
    });
    let problems = problems.collect();
    for name in names {
        if let Some(new) = renamed.get(name) {
            name.clone_from(new);
        }
    }
    problems
}

/// The advice for features with invalid names. `taken`: the names of all columns.
pub(super) fn invalid_names(features: &[&str], taken: &[String]) -> Option<String> {
    let invalid = features.iter().filter(|name| !name.is_empty() && !is_feature_name(name));
    let invalid: Vec<&str> = invalid.copied().collect::<BTreeSet<_>>().into_iter().collect();
    if invalid.is_empty() {
        return None;
    }
    let mut taken: BTreeSet<String> = taken.iter().cloned().collect();
    let mut flags = Vec::with_capacity(invalid.len());
    for name in &invalid {
        let new = unique(valid_name(name), &taken);
        flags.push(format!("--rename {}", argument(&format!("{name}={new}"))));
        taken.insert(new);
    }
    let named: Vec<String> = invalid.iter().map(|name| format!("`{name}`")).collect();
    let (are, them) = if invalid.len() == 1 {
        ("is no valid feature name", "it")
    } else {
        ("are no valid feature names", "them")
    };
    Some(format!(
        "{} {are} (use letters, digits and _, no digit first, and not `segment` or `customer_id`), so the server could \
         not serve the segments; add {}, or leave {them} out with --drop",
        named.join(", "),
        flags.join(" ")
    ))
}

/// A valid feature name similar to this one.
fn valid_name(name: &str) -> String {
    let mut spelled = String::with_capacity(name.len());
    for letter in words(name).chars() {
        match SPELLED.iter().find(|(accented, _)| *accented == letter) {
            Some((_, plain)) => spelled.push_str(plain),
            None if letter.is_ascii_alphanumeric() => spelled.push(letter),
            None => spelled.push(' '),
        }
    }
    let joined = spelled.split_whitespace().collect::<Vec<_>>().join("_").to_lowercase();
    if joined.is_empty() {
        "feature".to_owned()
    } else if is_feature_name(&joined) {
        joined
    } else {
        // It begins with a digit or is reserved.
        format!("feature_{joined}")
    }
}

/// The name, with a number appended if another column has it.
fn unique(name: String, taken: &BTreeSet<String>) -> String {
    if !taken.contains(&name) {
        return name;
    }
    let numbered = (2_u32..).map(|number| format!("{name}_{number}"));
    numbered.into_iter().find(|name| !taken.contains(name)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn invalid_names_come_with_the_flags_that_rename_them() {
        let names = ["freq", "Annual Balance", "Credit Limit (k$)"];
        let message = invalid_names(&names, &owned(&names)).unwrap();
        assert!(
            message.starts_with("`Annual Balance`, `Credit Limit (k$)` are no valid feature"),
            "{message}"
        );
        let flags =
            "add --rename 'Annual Balance=annual_balance' --rename 'Credit Limit (k$)=credit_limit_k', or";
        assert!(message.contains(flags), "{message}");
        assert_eq!(invalid_names(&["freq", "_x1"], &owned(&["freq", "_x1"])), None);
    }

    #[test]
    fn suggestions_are_similar_to_the_column() {
        let cases = [
            ("Credit Limit (k$)", "credit_limit_k"),
            ("emp.var.rate", "emp_var_rate"),
            ("default payment next month", "default_payment_next_month"),
            ("2023 sales", "feature_2023_sales"),
            ("Größe", "groesse"),
            ("Prénom d'usage", "prenom_d_usage"),
            ("segment", "feature_segment"),
            ("$$$", "feature"),
            ("年齢", "feature"),
        ];
        for (name, expected) in cases {
            assert_eq!(valid_name(name), expected);
        }
        let twice = ["a b", "a.b", "a_b"];
        let message = invalid_names(&twice, &owned(&twice)).unwrap();
        assert!(message.contains("'a b=a_b_2' --rename a.b=a_b_3,"), "{message}");
        let quoted = invalid_names(&["o'clock"], &owned(&["o'clock"])).unwrap();
        assert!(quoted.contains(r"--rename 'o'\''clock=o_clock'"), "{quoted}");
    }

    #[test]
    fn columns_are_renamed_by_their_names_in_the_file() {
        let mut names = owned(&["a b", "c"]);
        let renamed =
            BTreeMap::from([("a b".to_owned(), "ab".to_owned()), ("cc".to_owned(), "d".to_owned())]);
        let problems = rename(&mut names, &renamed);
        assert_eq!(names, ["ab", "c"]);
        assert_eq!(problems, ["there is no column `cc` to rename; did you mean `c`?"]);
    }

    proptest! {
        #[test]
        fn every_suggestion_is_valid_and_unique(names in proptest::collection::btree_set(any::<String>(), 1..8)) {
            let names: Vec<String> = names.into_iter().collect();
            let mut taken: BTreeSet<String> = names.iter().cloned().collect();
            for name in &names {
                let new = unique(valid_name(name), &taken);
                prop_assert!(is_feature_name(&new), "{new:?} for {name:?}");
                prop_assert!(taken.insert(new));
            }
        }
    }
}
