//! The header: assigns a role to each column.

use std::collections::BTreeSet;

use super::suspect::{NameHints, hints};
use super::{Purpose, ReadOptions, naming};
use document::{Problems, suggestion};

/// The role of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The ids of the customers.
    Id,
    /// A feature of numbers or yes/no.
    Number,
    /// A text that becomes a feature per value.
    OneHot,
    /// Not read, with the reason.
    LeftOut(&'static str),
}

/// The columns of the file, in order.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) names: Vec<String>,
    pub(super) roles: Vec<Role>,
    /// The hints from the name of each column that is checked.
    pub(super) hints: Vec<Option<NameHints>>,
    pub(super) purpose: Purpose,
}

impl Plan {
    /// Applies the options to the trimmed names of the columns.
    ///
    /// `line`: the line of the header. `problems`: those found so far.
    pub(super) fn new(
        file: &str,
        line: Option<usize>,
        mut names: Vec<String>,
        options: &ReadOptions,
        mut problems: Problems,
    ) -> Result<Self, Problems> {
        for message in naming::rename(&mut names, &options.rename) {
            problems.push(file, line, message);
        }
        let mut problem = |message: String| problems.push(file, line, message);
        let roles: Vec<Role> = names.iter().map(|name| role(name, options)).collect();
        let hints: Vec<Option<NameHints>> =
            names.iter().zip(&roles).map(|(name, role)| suspected(name, *role, options)).collect();
        check_names(&names, &roles, &hints, &mut problem);
        check_options(&names, options, &mut problem);
        if !roles.iter().any(|role| matches!(role, Role::Number | Role::OneHot)) {
            problem(
                "no column is left as a feature; at least one is needed besides the id column".to_owned(),
            );
        }
        problems.into_result(Self { names, roles, hints, purpose: options.purpose })
    }

    /// Marks the columns of the pandas index.
    pub(super) fn mark_index(&mut self, index: &[String]) {
        for (name, hints) in self.names.iter().zip(&mut self.hints) {
            if let Some(hints) = hints.as_mut().filter(|_| index.contains(name)) {
                hints.pandas_index = true;
            }
        }
    }
}

/// The hints from the name of a column, or `None` if it is not checked.
///
/// Columns that the options name are only checked for labels, and those in `keep` not at all.
fn suspected(name: &String, role: Role, options: &ReadOptions) -> Option<NameHints> {
    let takes_part = matches!(role, Role::Number | Role::OneHot);
    if options.purpose == Purpose::AsGiven || !takes_part || options.keep.contains(name) {
        return None;
    }
    let found = hints(name);
    if options.only.is_some() || role == Role::OneHot {
        return Some(NameHints { label: found.label, trusted: true, ..NameHints::default() });
    }
    Some(found)
}

fn role(name: &String, options: &ReadOptions) -> Role {
    if options.id_column.as_ref() == Some(name) {
        Role::Id
    } else if options.drop.contains(name) {
        Role::LeftOut("left out on request")
    } else if options.only.as_ref().is_some_and(|only| !only.contains(name)) {
        Role::LeftOut("not among the requested columns")
    } else if options.one_hot.contains(name) {
        Role::OneHot
    } else {
        Role::Number
    }
}

fn check_names(
    names: &[String],
    roles: &[Role],
    hints: &[Option<NameHints>],
    problem: &mut impl FnMut(String),
) {
    // Only a file without a header begins with numbers.
    if names.iter().all(|name| name.parse::<f64>().is_ok()) {
        problem("the first line has numbers; begin the file with a line of column names".to_owned());
        return;
    }
    let mut seen = BTreeSet::new();
    for (number, (name, role)) in (1..).zip(names.iter().zip(roles)) {
        if matches!(role, Role::LeftOut(_)) {
            continue;
        }
        // An index has no name; its values decide.
        if name.is_empty() && hints[number - 1].is_some_and(|hints| hints.placeholder) {
            continue;
        }
        if name.is_empty() {
            problem(format!("column {number} has no name; name it or remove it"));
        } else if !seen.insert(name) {
            problem(format!("column {number}: another column is named `{name}`; rename or remove one"));
        }
    }
}

fn check_options(names: &[String], options: &ReadOptions, problem: &mut impl FnMut(String)) {
    let unknown = |wanted: &String| !names.contains(wanted);
    let hint = |wanted: &str| suggestion(wanted, names.iter().map(String::as_str));
    let id = options.id_column.as_ref();
    if let Some(wanted) = id.filter(|wanted| unknown(wanted)) {
        problem(format!("there is no column `{wanted}` to identify customers by{}", hint(wanted)));
    }
    let only = options.only.as_deref().unwrap_or_default();
    for (wanted, purpose) in (options.drop.iter().map(|name| (name, "to leave out")))
        .chain(options.keep.iter().map(|name| (name, "to keep")))
        .chain(options.one_hot.iter().map(|name| (name, "to encode")))
        .chain(only.iter().map(|name| (name, "to read")))
    {
        if unknown(wanted) {
            problem(format!("there is no column `{wanted}` {purpose}{}", hint(wanted)));
        } else if id == Some(wanted) && purpose != "to read" {
            problem(format!("column `{wanted}` identifies customers, so it cannot be a column {purpose}"));
        }
    }
    for wanted in options.one_hot.iter().filter(|wanted| !unknown(wanted) && id != Some(wanted)) {
        if matches!(role(wanted, options), Role::LeftOut(_)) {
            problem(format!("column `{wanted}` is left out, so it cannot be encoded"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn plan(names: &[&str], options: &ReadOptions) -> Result<Plan, Vec<String>> {
        let plan = Plan::new("x.csv", Some(1), owned(names), options, Problems::new());
        plan.map_err(|problems| problems.iter().map(|problem| problem.message.clone()).collect())
    }

    #[test]
    fn each_column_gets_the_requested_role() {
        let options = ReadOptions {
            id_column: Some("id".into()),
            drop: owned(&["when"]),
            one_hot: owned(&["job"]),
            only: Some(owned(&["balance", "job"])),
            ..ReadOptions::default()
        };
        let plan = plan(&["when", "id", "job", "balance", "age"], &options).unwrap();
        let [when, id, job, balance, age] = plan.roles[..] else { panic!("{plan:?}") };
        assert_eq!(when, Role::LeftOut("left out on request"));
        assert_eq!((id, job, balance), (Role::Id, Role::OneHot, Role::Number));
        assert_eq!(age, Role::LeftOut("not among the requested columns"));
    }

    #[test]
    fn unknown_columns_are_reported_with_a_suggestion() {
        let options = ReadOptions {
            id_column: Some("Id".into()),
            drop: owned(&["jobs"]),
            one_hot: owned(&["marita"]),
            only: Some(owned(&["job", "marital", "xyz"])),
            ..ReadOptions::default()
        };
        assert_eq!(
            plan(&["id", "job", "marital"], &options).unwrap_err(),
            [
                "there is no column `Id` to identify customers by; did you mean `id`?",
                "there is no column `jobs` to leave out; did you mean `job`?",
                "there is no column `marita` to encode; did you mean `marital`?",
                "there is no column `xyz` to read",
            ]
        );
    }

    #[test]
    fn a_column_has_one_role() {
        let options = ReadOptions {
            id_column: Some("id".into()),
            drop: owned(&["id", "job"]),
            one_hot: owned(&["job"]),
            ..ReadOptions::default()
        };
        assert_eq!(
            plan(&["id", "job", "age"], &options).unwrap_err(),
            [
                "column `id` identifies customers, so it cannot be a column to leave out",
                "column `job` is left out, so it cannot be encoded",
            ]
        );
    }

    #[test]
    fn a_file_without_a_header_or_without_features_is_refused() {
        let first = plan(&["1", "2.5", "3"], &ReadOptions::default()).unwrap_err();
        assert_eq!(first, ["the first line has numbers; begin the file with a line of column names"]);
        let options = ReadOptions { id_column: Some("id".into()), ..ReadOptions::default() };
        let nothing = plan(&["id"], &options).unwrap_err();
        assert_eq!(nothing, ["no column is left as a feature; at least one is needed besides the id column"]);
    }

    #[test]
    fn a_duplicate_name_is_allowed_if_it_is_left_out() {
        let options = ReadOptions { drop: owned(&["a"]), ..ReadOptions::default() };
        assert!(plan(&["a", "a", "b"], &options).is_ok());
        let twice = plan(&["a", "a", "", "b"], &ReadOptions::default()).unwrap_err();
        assert_eq!(
            twice,
            [
                "column 2: another column is named `a`; rename or remove one",
                "column 3 has no name; name it or remove it",
            ]
        );
    }
}
