use super::*;

fn read(text: &str) -> Result<(String, f64, Option<i64>), Problems> {
    let document = Document::parse("x.toml", text)?;
    let root = document.root();
    let value = (root.required("id"), root.or("value", 1.5), root.optional("count"));
    root.finish();
    document.finish(value)
}

#[test]
fn a_valid_file_is_read() {
    assert_eq!(read("id = 'a'\nvalue = 2\ncount = 3").unwrap(), ("a".to_owned(), 2.0, Some(3)));
    assert_eq!(read("id = 'a'").unwrap(), ("a".to_owned(), 1.5, None));
}

#[test]
fn every_problem_is_reported_with_its_line() {
    let problems = read("value = 'x'\n\nconut = 3\ncount = 1.5").unwrap_err();
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    assert_eq!(
        lines,
        [
            "x.toml:1: `id` is missing; give it a string",
            "x.toml:1: `value` must be a finite number, not the string \"x\"",
            "x.toml:3: unknown key `conut`; did you mean `count`?",
            "x.toml:4: `count` must be a whole number, not the number 1.5",
        ]
    );
}

#[test]
fn syntax_errors_name_their_lines() {
    let problems = read("id = 'a'\nvalue = = 3\n").unwrap_err();
    assert_eq!(problems.iter().next().unwrap().line, Some(2));
}

#[test]
fn a_date_is_a_local_midnight_and_an_offset_makes_a_moment() {
    let document = Document::parse("x.toml", "a = 2026-01-31\nb = 2026-01-31T08:00:00+01:00").unwrap();
    let root = document.root();
    let WrittenTime::Local(local) = root.optional("a").unwrap() else { panic!("an offset") };
    assert_eq!(local.to_string(), "2026-01-31 00:00:00");
    let WrittenTime::Moment(moment) = root.optional("b").unwrap() else { panic!("no offset") };
    assert_eq!(moment.to_rfc3339(), "2026-01-31T07:00:00+00:00");
}

#[test]
fn infinity_is_refused() {
    let problems = read("id = 'a'\nvalue = inf").unwrap_err();
    assert!(problems.to_string().contains("finite"), "{problems}");
}

#[test]
fn a_long_text_reports_its_first_syntax_error() {
    let short = Document::parse("x.toml", &"a = = 1\n".repeat(3)).err().unwrap();
    assert!(short.len() >= 3, "{short}");
    let long = Document::parse("x.toml", &"a = = 1\n".repeat(RECOVERED_BYTES / 4)).err().unwrap();
    assert_eq!((long.len(), long.iter().next().unwrap().line), (1, Some(1)), "{long}");
}

#[test]
fn a_text_of_a_million_wrong_tables_keeps_a_thousand_problems() {
    let text = "[[offer]]\nid = 3\n".repeat(20_000);
    let document = Document::parse("offers.toml", &text).unwrap();
    for table in document.root().tables("offer") {
        table.required::<String>("id");
        table.required::<String>("name");
        table.finish();
    }
    let problems = document.finish(()).unwrap_err();
    assert_eq!((problems.len(), problems.iter().count()), (40_000, MAX_PROBLEMS));
    assert!(problems.to_string().ends_with("and 39,000 more problems"));
}
