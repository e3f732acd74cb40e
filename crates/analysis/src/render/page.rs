//! The report of an experiment as a self-contained HTML page.

use report::{Column, Header, Page, Section, Table, append};
use telemetry::foreign;

use super::number::{Style, number};
use super::words::{self, code, escape, of_role, or_none, prose};
use super::{breakdowns, figures, results};
use crate::report::{ArmCount, ExperimentReport, LeftOut, MismatchResult, Role, Source, StepLine};

use Column::{Number, Words};

/// The style of these pages beside that of all.
pub(super) const STYLE: &str = include_str!("style.css");

/// Tiles of arms; tables have all.
const TILES: usize = 4;

/// The page. If the split is wrong, it has no result, whatever the report has.
pub(super) fn render(report: &ExperimentReport) -> String {
    let title = format!("Experiment {}", report.experiment);
    let mut sections = vec![
        Section::new("arms", "Arms", arms(&report.arms)),
        Section::new("exposure", "Exposure by day", exposure(report)),
        Section::new("split", "Split", split(report.mismatch.as_ref())),
    ];
    if !is_mismatch(report) {
        sections.extend(result(report));
    }
    sections.extend([
        Section::new("left-out", "Left out", left_out(&report.left_out)),
        Section::new("sources", "Sources and phases", sources(report)),
        Section::new("ramp", "Decision log of the ramp", steps(&report.steps)),
        Section::new("method", "Method", list(&report.method)),
    ]);
    let page = Page {
        title: foreign::escaped(&title).into_owned(),
        style: STYLE,
        header: header(report, &title),
        sections,
        footer: "Written by Proffer. The same report as JSON has every number in full.".to_owned(),
    };
    page.html()
}

/// Whether the split is wrong.
pub(super) fn is_mismatch(report: &ExperimentReport) -> bool {
    report.mismatch.as_ref().is_some_and(|mismatch| mismatch.is_mismatch)
}

fn header(report: &ExperimentReport, title: &str) -> Header {
    let arms = report.arms.iter().take(TILES);
    let mut tiles: Vec<(String, String)> = arms
        .map(|arm| (number(arm.customers, Style::Count), format!("customers in {}", code(&arm.variant))))
        .collect();
    tiles.push((number(report.coverage, Style::Share), "of those eligible take part".to_owned()));
    tiles
        .push((number(report.alpha, Style::Level), "false alarms accepted, over all comparisons".to_owned()));
    Header {
        title: foreign::escaped(title).into_owned(),
        source: format!(
            "Phase {}, {}. Decisions from {} to {}.",
            code(&report.phase),
            escape(&report.state),
            escape(or_none(&report.from)),
            escape(or_none(&report.to))
        ),
        lead: format!(
            "<b class=\"verdict\">{}</b> {}",
            report::capitalised(words::verdict(report.verdict.word)),
            prose(&report.verdict.sentence)
        ),
        warnings: report.warnings.iter().map(|warning| prose(warning)).collect(),
        tiles,
    }
}

/// What metrics say.
fn result(report: &ExperimentReport) -> Vec<Section> {
    let Some(primary) = report.metrics.first() else {
        return vec![Section::new("primary", "Primary metric", "<p>No metric is compared.</p>\n".to_owned())];
    };
    let all = |role: Role, one: fn(&crate::report::MetricResult) -> String| -> String {
        of_role(&report.metrics, role).map(one).collect()
    };
    let explored = all(Role::Secondary, results::secondary);
    let note = "<p class=\"note\">Exploratory: these are not among the comparisons that share α, so that each may be \
                a false alarm on its own.</p>\n";
    let explored = if explored.is_empty() { explored } else { format!("{note}{explored}") };
    vec![
        Section::new(
            "primary",
            "Primary metric",
            format!("{}{}", all(Role::Primary, results::metric), level(report)),
        ),
        Section::new("guardrails", "Guardrails", all(Role::Guardrail, results::guardrail)),
        Section::new("secondary", "Secondary metrics (exploratory)", explored),
        Section::new(
            "segments",
            "By segment (exploratory)",
            breakdowns::parts(&report.by_segment, primary, "segment"),
        ),
        Section::new(
            "placements",
            "By placement (exploratory)",
            breakdowns::parts(&report.by_placement, primary, "placement"),
        ),
        Section::new("value", "Effect on value", breakdowns::value(report)),
    ]
}

/// The level of each comparison.
fn level(report: &ExperimentReport) -> String {
    format!(
        "<p class=\"note\">Limits at any time hold however often one looks; those for one look hold at a time that \
         was fixed before. α is {} over {} comparisons of the primary metric and the guardrails, which is {} for each \
         (Bonferroni). Limits at any time are tightest at {} customers of both arms. Differences of shares are in \
         percentage points (pp).</p>\n",
        number(report.alpha, Style::Level),
        number(report.comparisons as u64, Style::Count),
        number(report.alpha_each, Style::Level),
        number(report.planned, Style::Count)
    )
}

fn arms(arms: &[ArmCount]) -> String {
    if arms.is_empty() {
        return "<p>The experiment has no arm.</p>\n".to_owned();
    }
    let mut table = Table::new(&[
        ("arm", Words),
        ("", Words),
        ("share of those who take part", Number),
        ("customers (n)", Number),
        ("decisions", Number),
        ("outcomes", Number),
    ]);
    for (at, arm) in arms.iter().enumerate() {
        table.row(
            "",
            &[
                code(&arm.variant),
                if at == 0 { "control" } else { "challenger" }.to_owned(),
                number(arm.weight, Style::Share),
                number(arm.customers, Style::Count),
                number(arm.decisions, Style::Count),
                number(arm.outcomes, Style::Count),
            ],
        );
    }
    table.wide()
}

fn exposure(report: &ExperimentReport) -> String {
    if report.exposure.is_empty() {
        return "<p>No customer has been exposed yet.</p>\n".to_owned();
    }
    let names: Vec<&str> = report.arms.iter().map(|arm| arm.variant.as_str()).collect();
    let titles: Vec<String> = names
        .iter()
        .flat_map(|name| [format!("new in {}", code(name)), format!("all in {}", code(name))])
        .collect();
    let mut columns = vec![("day", Words)];
    columns.extend(titles.iter().map(|title| (title.as_str(), Number)));
    let mut table = Table::new(&columns);
    for day in &report.exposure {
        let mut cells = vec![escape(&day.day)];
        for (new, all) in day.new.iter().zip(&day.all) {
            cells.extend([number(*new, Style::Count), number(*all, Style::Count)]);
        }
        table.row("", &cells);
    }
    format!("{}{}", figures::exposure(&report.exposure, &names), table.wide())
}

fn split(mismatch: Option<&MismatchResult>) -> String {
    let Some(mismatch) = mismatch else {
        return "<p>There is nothing to judge the split by yet.</p>\n".to_owned();
    };
    let sentence = if mismatch.is_mismatch {
        "The arms are <b>not</b> as large as their shares say (sample ratio mismatch). Until the cause is found, no \
         other number of this phase means anything, so none is shown."
    } else {
        "The arms are as large as their shares say, as far as chance allows (no sample ratio mismatch)."
    };
    let mut table = Table::new(&[("test", Words), ("statistic", Number), ("degrees", Number), ("p", Number)]);
    table.row(
        "",
        &[
            "sequential, least so far; holds however often one looks".to_owned(),
            words::NONE.to_owned(),
            words::NONE.to_owned(),
            number(mismatch.sequential_p, Style::P),
        ],
    );
    table.row(
        "",
        &[
            "χ², for one look".to_owned(),
            number(mismatch.chi_squared, Style::Plain),
            number(mismatch.degrees, Style::Count),
            number(mismatch.p, Style::P),
        ],
    );
    format!("<p>{sentence}</p>\n{}", table.wide())
}

/// What is not in the figures.
pub(super) fn left_out(left_out: &LeftOut) -> String {
    let mut table = Table::new(&[("", Number), ("what", Words)]);
    for (count, what) in words::left_out(left_out) {
        table.row("", &[number(count, Style::Count), what.to_owned()]);
    }
    table.wide()
}

fn sources(report: &ExperimentReport) -> String {
    let mut html = servers(&report.sources);
    if !report.other_phases.is_empty() {
        html.push_str("<h3>Other phases</h3>\n<p>Nothing of them is in this report.</p>\n");
        let mut table =
            Table::new(&[("phase", Words), ("from", Words), ("to", Words), ("decisions", Number)]);
        for other in &report.other_phases {
            table.row(
                "",
                &[
                    code(&other.phase),
                    escape(&other.from),
                    escape(&other.to),
                    number(other.decisions, Style::Count),
                ],
            );
        }
        html.push_str(&table.wide());
    }
    html
}

/// How old the newest event of each server is; empty without one.
pub(super) fn servers(sources: &[Source]) -> String {
    if sources.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[("server", Words), ("its newest event", Words), ("age", Number)]);
    for source in sources {
        let age = number(source.age_seconds, Style::Age);
        table.row("", &[code(&source.server), escape(&source.newest), age]);
    }
    table.wide()
}

fn steps(steps: &[StepLine]) -> String {
    if steps.is_empty() {
        return "<p>No step of a ramp is recorded.</p>\n".to_owned();
    }
    let mut table = Table::new(&[
        ("time", Words),
        ("action", Words),
        ("coverage", Number),
        ("release", Number),
        ("by", Words),
        ("why", Words),
    ]);
    for step in steps {
        table.row(
            "",
            &[
                escape(&step.time),
                escape(&step.action.replace('_', " ")),
                number(step.coverage, Style::Share),
                number(step.release, Style::Id),
                escape(&step.author),
                prose(or_none(&step.reason)),
            ],
        );
    }
    table.wide()
}

/// Sentences as a list; empty without one.
pub(super) fn list(sentences: &[String]) -> String {
    if sentences.is_empty() {
        return String::new();
    }
    let mut html = String::from("<ul class=\"method\">\n");
    for sentence in sentences {
        append(&mut html, format_args!("<li>{}</li>\n", prose(sentence)));
    }
    html.push_str("</ul>\n");
    html
}
