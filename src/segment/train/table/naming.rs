//! Names of columns that no schema can have, and the names that a person gives them instead.
//!
//! A segmentation asks the server for its features by their names, so segments over `Credit Limit (k$)` could be trained
//! and never served. That is said before the training, with what to add to the command.

use std::collections::{BTreeMap, BTreeSet};

use super::column::argument;
use crate::document::suggestion;
use crate::feature::is_feature_name;
use crate::segment::report::words::words;

/// Letters that have a spelling without accents.
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

/// Renames columns; returns what is wrong with the request.
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

/// What to do about those of the `features` that no schema can name; `taken`: the names of all columns.
pub(super) fn unservable(features: &[&str], taken: &[String]) -> Option<String> {
    let unfit = features.iter().filter(|name| !name.is_empty() && !is_feature_name(name));
    let unfit: Vec<&str> = unfit.copied().collect::<BTreeSet<_>>().into_iter().collect();
    if unfit.is_empty() {
        return None;
    }
    let mut taken: BTreeSet<String> = taken.iter().cloned().collect();
    let mut flags = Vec::with_capacity(unfit.len());
    for name in &unfit {
        let new = free(fitting(name), &taken);
        flags.push(format!("--rename {}", argument(&format!("{name}={new}"))));
        taken.insert(new);
    }
    let named: Vec<String> = unfit.iter().map(|name| format!("`{name}`")).collect();
    let (are, them) = if unfit.len() == 1 { ("is no name", "it") } else { ("are no names", "them") };
    Some(format!(
        "{} {are} that features.toml can have (letters, digits and _, no digit first; not `segment` or `customer_id`), so \
         that no server could serve the segments; add {}, or leave {them} out with --drop",
        named.join(", "),
        flags.join(" ")
    ))
}

/// A name near this one that a schema can have.
fn fitting(name: &str) -> String {
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
        // It begins with a digit, or has a meaning of its own.
        format!("feature_{joined}")
    }
}

/// The name, or with a number behind it where another column has it.
fn free(name: String, taken: &BTreeSet<String>) -> String {
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
    fn names_that_no_schema_has_come_with_the_flags_that_rename_them() {
        let names = ["freq", "Annual Balance", "Credit Limit (k$)"];
        let message = unservable(&names, &owned(&names)).unwrap();
        assert!(message.starts_with("`Annual Balance`, `Credit Limit (k$)` are no names that"), "{message}");
        let flags =
            "add --rename 'Annual Balance=annual_balance' --rename 'Credit Limit (k$)=credit_limit_k', or";
        assert!(message.contains(flags), "{message}");
        assert_eq!(unservable(&["freq", "_x1"], &owned(&["freq", "_x1"])), None);
    }

    #[test]
    fn suggestions_are_names_near_the_column() {
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
            assert_eq!(fitting(name), expected);
        }
        let twice = ["a b", "a.b", "a_b"];
        let message = unservable(&twice, &owned(&twice)).unwrap();
        assert!(message.contains("'a b=a_b_2' --rename a.b=a_b_3,"), "{message}");
        let quoted = unservable(&["o'clock"], &owned(&["o'clock"])).unwrap();
        assert!(quoted.contains(r"--rename 'o'\''clock=o_clock'"), "{quoted}");
    }

    #[test]
    fn columns_are_renamed_by_what_the_file_calls_them() {
        let mut names = owned(&["a b", "c"]);
        let renamed =
            BTreeMap::from([("a b".to_owned(), "ab".to_owned()), ("cc".to_owned(), "d".to_owned())]);
        let problems = rename(&mut names, &renamed);
        assert_eq!(names, ["ab", "c"]);
        assert_eq!(problems, ["there is no column `cc` to rename; did you mean `c`?"]);
    }

    proptest! {
        #[test]
        fn every_suggestion_can_be_used(names in proptest::collection::btree_set(any::<String>(), 1..8)) {
            let names: Vec<String> = names.into_iter().collect();
            let mut taken: BTreeSet<String> = names.iter().cloned().collect();
            for name in &names {
                let new = free(fitting(name), &taken);
                prop_assert!(is_feature_name(&new), "{new:?} for {name:?}");
                prop_assert!(taken.insert(new));
            }
        }
    }
}
