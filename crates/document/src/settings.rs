//! Settings in layers: a reference that has every key, a file, the environment, flags.
//!
//! A component reads each of its own keys once. A problem is collected with the origin of the value, and the type's
//! default replaces the value until then. [`Settings::finish`] reports every problem, including keys that no
//! component has read. A key is a section and a name, as in `server.listen`. Sections can be nested
//! (`sink.kafka.brokers`). A value is one text or a list of texts.
//! is one text, or a list of texts.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use crate::{Document, FromToml, Problems, Table, suggestion};

/// Every setting with its effective value, and the problems found so far.
#[derive(Debug)]
pub struct Settings {
    all: Vec<Setting>,
    read: BTreeSet<String>,
    problems: Problems,
}

/// A setting and where its value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting {
    /// Section and name, such as `server.listen`.
    key: String,
    value: Value,
    origin: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    /// Any scalar, as written on a command line.
    One(String),
    List(Vec<String>),
}

/// The effective settings, in the order of their keys. `Display` writes TOML with the origin of each value and hides
/// passwords in addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved(Vec<Setting>);

impl Settings {
    /// Layers `file` (name and text), the environment that `variable` looks up, and `flags` (key, text) over
    /// `reference`. The reference has every key.
    pub fn layered(
        reference: (&str, &str),
        file: Option<(&str, &str)>,
        variable: impl Fn(&str) -> Option<String>,
        flags: &[(&str, String)],
    ) -> Self {
        let (mut settings, mut problems) = read(reference.0, reference.1, None);
        for setting in &mut settings {
            "default".clone_into(&mut setting.origin);
        }
        if let Some((name, text)) = file {
            let known: Vec<String> = settings.iter().map(|setting| setting.key.clone()).collect();
            let (found, wrong) = read(name, text, Some(&known));
            problems.extend(wrong);
            for found in found {
                let Some(setting) = settings.iter_mut().find(|setting| setting.key == found.key) else {
                    continue;
                };
                if matches!((&setting.value, &found.value), (Value::One(_), Value::List(_))) {
                    let (file, line) = place_of(&found.origin);
                    problems.push(file, line, format!("`{}` takes one value, not a list", found.key));
                } else {
                    setting.replace(found.value, found.origin);
                }
            }
        }
        for setting in &mut settings {
            let name = variable_of(&setting.key);
            if let Some(text) = variable(&name) {
                setting.replace(Value::One(text), name);
            }
        }
        for (key, text) in flags {
            if let Some(setting) = settings.iter_mut().find(|setting| setting.key == *key) {
                setting.replace(Value::One(text.clone()), "flag".to_owned());
            }
        }
        Self { all: settings, read: BTreeSet::new(), problems }
    }

    /// The value of `key`, parsed by `parse`.
    pub fn parsed<T: Default>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> T {
        self.parsed_or(key, T::default(), parse)
    }

    /// The same for a type without a default: `fallback` replaces an invalid value.
    pub fn parsed_or<T>(
        &mut self,
        key: &str,
        fallback: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        let text = match self.value(key) {
            Some(Value::One(text)) => text,
            Some(Value::List(items)) => items.join(","),
            None => return fallback,
        };
        parse(&text).unwrap_or_else(|message| {
            self.wrong(key, &message);
            fallback
        })
    }

    /// A string.
    pub fn text(&mut self, key: &str) -> String {
        self.parsed(key, |text| Ok(text.to_owned()))
    }

    /// A list of strings, separated by commas in the environment and in flags.
    pub fn list(&mut self, key: &str) -> Vec<String> {
        match self.value(key) {
            Some(Value::List(items)) => items,
            Some(Value::One(text)) => items_of(&text),
            None => Vec::new(),
        }
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &str) -> bool {
        self.parsed(key, |text| text.parse().map_err(|_| "must be true or false".to_owned()))
    }

    /// A whole number within `range`.
    pub fn integer(&mut self, key: &str, range: RangeInclusive<usize>) -> usize {
        self.parsed(key, |text| whole(text, &range))
    }

    /// A fraction: above 0 and at most 1.
    pub fn fraction(&mut self, key: &str) -> f64 {
        self.parsed(key, |text| {
            text.parse()
                .ok()
                .filter(|share| *share > 0.0 && *share <= 1.0)
                .ok_or_else(|| "must be a number above 0 and up to 1, such as 0.5".to_owned())
        })
    }

    /// An address and a port.
    pub fn address(&mut self, key: &str) -> SocketAddr {
        self.parsed_or(key, SocketAddr::from(([127, 0, 0, 1], 0)), |text| {
            text.parse().map_err(|_| {
                "must be an address and a port, such as 127.0.0.1:50051 or [::1]:50051".to_owned()
            })
        })
    }

    /// A duration with its unit.
    pub fn duration(&mut self, key: &str) -> Duration {
        self.parsed(key, duration)
    }

    /// A duration above 0.
    pub fn positive(&mut self, key: &str) -> Duration {
        self.parsed(key, |text| {
            Some(duration(text)?)
                .filter(|duration| !duration.is_zero())
                .ok_or_else(|| "must be more than 0".to_owned())
        })
    }

    /// A duration of at least one second.
    pub fn seconds(&mut self, key: &str) -> Duration {
        self.parsed(key, |text| {
            Some(duration(text)?)
                .filter(|time| *time >= Duration::from_secs(1))
                .ok_or_else(|| "must be at least 1s".to_owned())
        })
    }

    /// A size in bytes with its unit, above 0.
    pub fn size(&mut self, key: &str) -> usize {
        self.parsed(key, size)
    }

    /// The value parsed by `parse`, or `None` if the text is `auto`.
    pub fn automatic<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.parsed(key, |text| match text {
            "auto" => Ok(None),
            text => parse(text).map(Some).map_err(|message| format!("{message}, or auto")),
        })
    }

    /// Reports a problem with the value of `key`, such as a conflict with another key.
    pub fn wrong(&mut self, key: &str, message: &str) {
        let Some(setting) = self.all.iter().find(|setting| setting.key == key) else { return };
        let (file, line) = place_of(&setting.origin);
        let text = match &setting.value {
            Value::One(text) => format!("{text:?}"),
            Value::List(items) => format!("{items:?}"),
        };
        self.problems.push(file, line, format!("`{key}` = {text}: {message}"));
    }

    /// The effective settings, once every component has read its own.
    ///
    /// # Errors
    /// Every problem found.
    pub fn finish(mut self) -> Result<Resolved, Problems> {
        let keys: Vec<String> = self.all.iter().map(|setting| setting.key.clone()).collect();
        for key in keys {
            if !self.read.contains(&key) {
                self.wrong(&key, "is in the reference but no component reads it");
            }
        }
        self.problems.into_result(Resolved(self.all))
    }

    fn value(&mut self, key: &str) -> Option<Value> {
        let Some(setting) = self.all.iter().find(|setting| setting.key == key) else {
            self.problems.push("the reference", None, format!("it has no key `{key}`"));
            return None;
        };
        self.read.insert(key.to_owned());
        Some(setting.value.clone())
    }
}

impl Setting {
    /// Replaces the value. A list stays a list.
    fn replace(&mut self, value: Value, origin: String) {
        self.value = match (&self.value, value) {
            (Value::List(_), Value::One(text)) => Value::List(items_of(&text)),
            (_, value) => value,
        };
        self.origin = origin;
    }
}

impl fmt::Display for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut section = "";
        for Setting { key, value, origin } in &self.0 {
            let (this, name) = key.rsplit_once('.').unwrap_or(("", key));
            if this != section {
                writeln!(f, "{}[{this}]", if section.is_empty() { "" } else { "\n" })?;
                section = this;
            }
            let shown = match value {
                Value::One(text) if is_bare(text) => text.clone(),
                Value::One(text) => format!("{:?}", redact(text)),
                Value::List(items) => {
                    format!("{:?}", items.iter().map(|item| redact(item)).collect::<Vec<_>>())
                }
            };
            writeln!(f, "{:<40} # {origin}", format!("{name} = {shown}"))?;
        }
        Ok(())
    }
}

/// The keys of a reference, in order.
#[must_use]
pub fn keys_of(name: &str, reference: &str) -> Vec<String> {
    read(name, reference, None).0.into_iter().map(|setting| setting.key).collect()
}

/// The environment variable of a key: `server.listen` → `PROFFER_SERVER_LISTEN`.
#[must_use]
pub fn variable_of(key: &str) -> String {
    format!("PROFFER_{}", key.replace('.', "_").to_uppercase())
}

/// A whole number within `range`.
///
/// # Errors
/// What the value must be.
fn whole(text: &str, range: &RangeInclusive<usize>) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("must be a whole number within {}..={}", range.start(), range.end()))
}

/// A duration with its unit, from milliseconds to days of 24 hours.
///
/// # Errors
/// What the value must be.
pub fn duration(text: &str) -> Result<Duration, String> {
    amount(text, &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)])
        .map(|(millis, _)| Duration::from_millis(millis))
        .ok_or_else(|| "must be a duration with its unit, such as 500ms, 30s or 2m".to_owned())
}

/// A duration in the greatest unit that has it whole, as a configuration has it: `400d`, `90s`. Parts of a millisecond
/// are left out.
#[must_use]
pub fn shown(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    let whole = units.into_iter().find(|(_, unit)| millis > 0 && millis.is_multiple_of(*unit));
    let (name, unit) = whole.unwrap_or(("ms", 1));
    format!("{}{name}", millis / unit)
}

/// A size in bytes with its unit, above 0.
///
/// # Errors
/// What the value must be.
pub fn size(text: &str) -> Result<usize, String> {
    amount(text, &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)])
        .and_then(|(bytes, _)| usize::try_from(bytes).ok())
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "must be a size with its unit, such as 64KiB or 16MiB".to_owned())
}

fn amount<'a>(text: &str, units: &[(&'a str, u64)]) -> Option<(u64, &'a str)> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let (unit, factor) = units.iter().find(|(unit, _)| *unit == text[digits..].trim())?;
    Some((number.checked_mul(*factor)?, unit))
}

/// The items of a comma-separated list.
fn items_of(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// Whether a text keeps its meaning in TOML without quotes. Rust parses `inf`, `nan`, `007` and `+1` as numbers.
/// Written bare, they would be read back as words or as other texts.
fn is_bare(text: &str) -> bool {
    let whole = text.parse::<i64>().is_ok_and(|number| number.to_string() == text);
    let fraction = text.contains('.') && text.parse::<f64>().is_ok_and(|number| number.to_string() == text);
    whole || fraction || text.parse::<bool>().is_ok()
}

/// The file and line of an origin.
fn place_of(origin: &str) -> (String, Option<usize>) {
    match origin.rsplit_once(':') {
        Some((file, line)) => (file.to_owned(), line.parse().ok()),
        None => (origin.to_owned(), None),
    }
}

/// Hides user and password, which an address may contain.
fn redact(text: &str) -> String {
    match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            let mut shown = text[..scheme + 3].to_owned();
            let _ = write!(shown, "***{}", &text[at..]);
            shown
        }
        _ => text.to_owned(),
    }
}

impl Value {
    const EXPECTED: &'static str = "a string, a number, true, false, or a list of those";
}

impl FromToml for Value {
    const EXPECTED: &'static str = Value::EXPECTED;
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        let DeValue::Array(items) = value else { return scalar(value).map(Self::One) };
        items.iter().map(|item| scalar(item.get_ref())).collect::<Option<_>>().map(Self::List)
    }
}

/// Any scalar, as written on a command line.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    String::from_toml(value)
        .or_else(|| i64::from_toml(value).map(|number| number.to_string()))
        .or_else(|| f64::from_toml(value).map(|number| number.to_string()))
        .or_else(|| bool::from_toml(value).map(|truth| truth.to_string()))
}

/// The settings of a file, section by section in the order of their names, and the file's problems. If `known` is
/// given, any other key is a problem.
fn read(name: &str, text: &str, known: Option<&[String]>) -> (Vec<Setting>, Problems) {
    let mut settings = Vec::new();
    let document = match Document::parse(name, text) {
        Ok(document) => document,
        Err(problems) => return (settings, problems),
    };
    let root = document.root();
    for section in root.keys() {
        let Some(table) = root.table(&section) else { continue };
        read_section(name, &section, &table, known, &mut settings);
    }
    drop(root);
    let problems = document.finish(()).err().unwrap_or_default();
    (settings, problems)
}

fn read_section(
    file: &str,
    section: &str,
    table: &Table<'_, '_>,
    known: Option<&[String]>,
    settings: &mut Vec<Setting>,
) {
    let mut sections = Vec::new();
    for key in table.keys() {
        let line = table.line(&key);
        let path = format!("{section}.{key}");
        let prefix = format!("{path}.");
        let is_section = match known {
            Some(known) => known.iter().any(|known| known.starts_with(&prefix)),
            None => table.has_table(&key),
        };
        if is_section {
            sections.push((key, path));
        } else if known.is_some_and(|known| !known.contains(&path)) {
            let known = known.unwrap_or_default().iter().map(String::as_str);
            table.problem_at(&key, format!("unknown key `{key}`{}", suggestion(&path, known)));
        } else if let Some(value) = table.optional::<Value>(&key) {
            settings.push(Setting { key: path, value, origin: format!("{file}:{line}") });
        }
    }
    // Nested sections come after the section's own keys, as in TOML.
    for (key, path) in sections {
        if let Some(table) = table.table(&key) {
            read_section(file, &path, &table, known, settings);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCE: &str = "[server]\nlisten = \"127.0.0.1:1\"\nthreads = 2\n\n[sink]\nnames = [\"a\", \"b\"]\n\n\
                             [sink.kafka]\nbrokers = []\ntimeout = \"5s\"\n";

    fn layered(file: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Settings {
        let variables: Vec<_> = variables.to_vec();
        let find = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
        };
        let flags: Vec<_> = flags.iter().map(|(key, text)| (*key, (*text).to_owned())).collect();
        Settings::layered(("reference", REFERENCE), Some(("x.toml", file)), find, &flags)
    }

    type Read = (SocketAddr, usize, Vec<String>, Vec<String>, Duration);

    fn read_all(mut settings: Settings) -> Result<(Read, Resolved), String> {
        let read = (
            settings.address("server.listen"),
            settings.integer("server.threads", 1..=9),
            settings.list("sink.names"),
            settings.list("sink.kafka.brokers"),
            settings.positive("sink.kafka.timeout"),
        );
        settings.finish().map(|resolved| (read, resolved)).map_err(|problems| problems.to_string())
    }

    #[test]
    fn lists_and_sections_of_sections_come_from_every_layer() {
        let file = "[sink.kafka]\nbrokers = [\"one:1\", \"two:2\"]\n";
        let ((listen, threads, names, brokers, timeout), shown) =
            read_all(layered(file, &[("PROFFER_SINK_NAMES", "x, y,")], &[("sink.kafka.timeout", "7s")]))
                .unwrap();
        assert_eq!((listen.port(), threads, timeout), (1, 2, Duration::from_secs(7)));
        assert_eq!(
            (names, brokers),
            (vec!["x".to_owned(), "y".to_owned()], vec!["one:1".to_owned(), "two:2".to_owned()])
        );
        let shown = shown.to_string();
        for line in [
            "[sink.kafka]",
            "brokers = [\"one:1\", \"two:2\"]",
            "# x.toml:2",
            "names = [\"x\", \"y\"]",
            "# flag",
        ] {
            assert!(shown.contains(line), "{shown}");
        }
        // What is printed reads as what it was.
        let again = read_all(layered(&shown, &[], &[])).unwrap();
        assert_eq!(again.0.3, ["one:1", "two:2"]);
    }

    #[test]
    fn all_problems_are_reported_at_once_with_their_place() {
        let file =
            "[server]\nlisten = \"here\"\nthreads = [1, 2]\n[sink.kafka]\nbroker = 1\ntimeout = { s = 1 }\n";
        let reported = read_all(layered(file, &[], &[("sink.kafka.timeout", "0s")])).unwrap_err();
        for part in [
            "x.toml:2: `server.listen` = \"here\": must be an address",
            "x.toml:3: `server.threads` takes one value, not a list",
            "x.toml:5: [sink] [kafka]: unknown key `broker`; did you mean `sink.kafka.brokers`?",
            "x.toml:6:",
            "flag: `sink.kafka.timeout` = \"0s\": must be more than 0",
        ] {
            assert!(reported.contains(part), "{part} in {reported}");
        }
    }

    #[test]
    fn durations_have_units_from_milliseconds_to_days() {
        let cases =
            [("250ms", 250), ("7s", 7_000), ("2 m", 120_000), ("3h", 10_800_000), ("400d", 34_560_000_000)];
        for (text, millis) in cases {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
            assert_eq!(shown(Duration::from_millis(millis)), text.replace(' ', ""));
        }
        assert_eq!(
            [0, 90_000, 86_400_001].map(|millis| shown(Duration::from_millis(millis))),
            ["0ms", "90s", "86400001ms"]
        );
        for text in ["", "7", "d", "1.5h", "-1d", "1w", "999999999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_that_no_component_reads_is_reported() {
        let reported = layered("", &[], &[]).finish().unwrap_err().to_string();
        assert_eq!(reported.matches("no component reads it").count(), 5, "{reported}");
    }
}
