//! The two text formats of the metrics, and the choice between them.
//!
//! `prometheus-client` writes OpenMetrics 1.0. The text format of Prometheus, 0.0.4, differs only in its comments. A
//! counter is described under the name of its samples, and there is no unit and no end marker. Sources:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>,
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

/// The format of the exposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// The text format of Prometheus, 0.0.4; the default.
    #[default]
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    const ALL: [Self; 2] = [Self::Text, Self::OpenMetrics];

    /// The value of `Content-Type`.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The format preferred by the values of `Accept` (RFC 9110, 12.5.1). Among equally preferred formats the first
    /// one named wins. If none is accepted, [`Format::Text`] is better than no metrics.
    #[must_use]
    pub fn of_accept<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let ranges = values.into_iter().flat_map(|value| value.split(','));
        let ranges: Vec<Range<'_>> = ranges.enumerate().filter_map(Range::parse).collect();
        let mut best: Option<(Self, &Range<'_>)> = None;
        for format in Self::ALL {
            let fitting = ranges.iter().filter_map(|range| Some((range.fit(format)?, range.weight, range)));
            // The most specific range decides about a format; among equally specific ones, the highest weight.
            let decides =
                fitting.max_by(|(one, weight, _), (other, more, _)| one.cmp(other).then(weight.cmp(more)));
            let Some((_, weight, range)) = decides.filter(|(_, weight, _)| *weight > 0) else { continue };
            let is_better = best.is_none_or(|(_, chosen)| {
                weight > chosen.weight || (weight == chosen.weight && range.place < chosen.place)
            });
            if is_better {
                best = Some((format, range));
            }
        }
        best.map_or(Self::default(), |(format, _)| format)
    }
}

/// One media range of an `Accept` header.
#[derive(Debug)]
struct Range<'a> {
    /// Its position in the header.
    place: usize,
    kind: &'a str,
    subtype: &'a str,
    version: Option<&'a str>,
    /// `q` in thousandths.
    weight: u32,
}

impl<'a> Range<'a> {
    /// `None` if the text is not a media range.
    fn parse((place, text): (usize, &'a str)) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let mut range = Self { place, kind, subtype, version: None, weight: 1000 };
        for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim() {
                name if name.eq_ignore_ascii_case("q") => {
                    let weight: f64 = value.parse().ok().filter(|q| (0.0..=1.0).contains(q))?;
                    range.weight = (weight * 1000.0).round() as u32;
                }
                name if name.eq_ignore_ascii_case("version") => range.version = Some(value),
                // `charset` and `escaping` do not matter: all names here are plain ASCII.
                _ => {}
            }
        }
        Some(range)
    }

    /// How specifically the range matches the format, from 0 for `*/*`; `None` if it does not match.
    fn fit(&self, format: Format) -> Option<u8> {
        let (kind, subtype, versions): (_, _, &[&str]) = match format {
            Format::Text => ("text", "plain", &["0.0.4"]),
            // Prometheus before 2.23 asks for 0.0.1, which has the same syntax.
            Format::OpenMetrics => ("application", "openmetrics-text", &["1.0.0", "0.0.1"]),
        };
        if self.kind == "*" && self.subtype == "*" {
            return Some(0);
        }
        if !self.kind.eq_ignore_ascii_case(kind) {
            return None;
        }
        if self.subtype == "*" {
            return Some(1);
        }
        if !self.subtype.eq_ignore_ascii_case(subtype) {
            return None;
        }
        match self.version {
            None => Some(2),
            Some(version) => versions.contains(&version).then_some(3),
        }
    }
}

/// Converts the output of `prometheus-client` to the text format of Prometheus.
pub(super) fn to_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len() + open_metrics.len() / 16);
    let mut help = None;
    for line in open_metrics.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        match comment.split_once(' ') {
            // The help precedes the type, which decides the name.
            Some(("HELP", described)) => help = described.split_once(' '),
            Some(("TYPE", typed)) => {
                let Some((name, kind)) = typed.split_once(' ') else { continue };
                let (suffix, kind) = match kind {
                    "counter" => ("_total", kind),
                    "info" => ("_info", "gauge"),
                    "stateset" => ("", "gauge"),
                    "unknown" => ("", "untyped"),
                    _ => ("", kind),
                };
                if let Some((_, words)) = help.take().filter(|(described, _)| *described == name) {
                    text.extend(["# HELP ", name, suffix, " ", words, "\n"]);
                }
                text.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
            }
            // The text format has neither the unit nor the end marker.
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(header: &str) -> Format {
        Format::of_accept([header])
    }

    #[test]
    fn prometheus_gets_its_preferred_format() {
        let of_2 = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                    text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let of_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                    application/openmetrics-text;version=0.0.1;q=0.5,\
                    text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                    text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let text_of_3 = "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.5,\
                         application/openmetrics-text;version=1.0.0;q=0.4,*/*;q=0.2";
        let before_2_23 =
            "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let native = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
                      application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for wanted in [of_2, of_3, before_2_23, native] {
            assert_eq!(accept(wanted), Format::OpenMetrics, "{wanted}");
        }
        assert_eq!(accept(text_of_3), Format::Text);
    }

    #[test]
    fn a_request_for_unknown_formats_gets_text() {
        for wanted in
            ["*/*", "", "text/*", "text/html, */*;q=0.8", "application/json", "nonsense;;", "*/*;q=x"]
        {
            assert_eq!(accept(wanted), Format::Text, "{wanted}");
        }
        assert_eq!(Format::of_accept([]), Format::Text);
        // A version that is not supported: the next best format is used.
        assert_eq!(accept("application/openmetrics-text;version=2.0.0,text/plain;q=0.1"), Format::Text);
    }

    #[test]
    fn weights_decide_then_the_order_and_0_is_never() {
        assert_eq!(accept("text/plain;q=0.2,application/openmetrics-text;q=0.3"), Format::OpenMetrics);
        assert_eq!(accept("text/plain;q=0.3,application/openmetrics-text;q=0.2"), Format::Text);
        assert_eq!(accept("application/openmetrics-text,text/plain"), Format::OpenMetrics);
        assert_eq!(accept("text/plain,application/openmetrics-text"), Format::Text);
        assert_eq!(accept("*/*,text/plain;q=0"), Format::OpenMetrics);
        assert_eq!(accept("*/*,text/plain;version=\"0.0.4\";Q=0"), Format::OpenMetrics);
        assert_eq!(accept("Application/OpenMetrics-Text;q=0.9,*/*;q=0.1"), Format::OpenMetrics);
        assert_eq!(accept("application/*"), Format::OpenMetrics);
        assert_eq!(
            Format::of_accept(["text/html", "application/openmetrics-text"]),
            Format::OpenMetrics,
            "two headers are one list"
        );
    }

    #[test]
    fn the_text_format_describes_counters_by_the_name_of_their_samples() {
        let open_metrics = "# HELP calls Calls.\n# TYPE calls counter\ncalls_total{path=\"a # b\"} 3\n\
                            # HELP wait_seconds Time.\n# TYPE wait_seconds histogram\n# UNIT wait_seconds seconds\n\
                            wait_seconds_sum 0.5\nwait_seconds_count 1\nwait_seconds_bucket{le=\"+Inf\"} 1\n\
                            # HELP build Version.\n# TYPE build info\nbuild_info{version=\"1\"} 1\n# EOF\n";
        let text = "# HELP calls_total Calls.\n# TYPE calls_total counter\ncalls_total{path=\"a # b\"} 3\n\
                    # HELP wait_seconds Time.\n# TYPE wait_seconds histogram\n\
                    wait_seconds_sum 0.5\nwait_seconds_count 1\nwait_seconds_bucket{le=\"+Inf\"} 1\n\
                    # HELP build_info Version.\n# TYPE build_info gauge\nbuild_info{version=\"1\"} 1\n";
        assert_eq!(to_text(open_metrics), text);
    }
}
