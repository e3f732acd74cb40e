//! What a replay, a what-if or a simulation came to: text for a terminal, JSON, one HTML page. And the page of a
//! decision.
//!
//! `outline` is what all reports are made of. `compared` and `identity` say what a reader gets to know, once for text
//! and HTML; `decision` does so for a page. The same result gives the same bytes: nothing here reads a clock.

mod compared;
mod decision;
mod html;
mod identity;
mod outline;
mod text;
mod words;

use super::comparison::Comparison;
use super::identity::Replayed;
use super::view::DecisionView;

impl DecisionView {
    /// The decision as a self-contained HTML page.
    #[must_use]
    pub fn html(&self) -> String {
        html::render(&decision::outline(self))
    }
}

impl Comparison {
    /// The report for a terminal. Its tables are as wide as the terminal, or as they need to be without one.
    #[must_use]
    pub fn text(&self) -> String {
        text::render(&compared::outline(self), None)
    }

    /// The report as a self-contained HTML page.
    #[must_use]
    pub fn html(&self) -> String {
        html::render(&compared::outline(self))
    }

    /// The report as indented JSON. The names are those of the fields of [`Comparison`].
    ///
    /// # Errors
    /// When it cannot be written, which no comparison causes.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }
}

impl Replayed {
    /// The report for a terminal. It ends with how many are identical, else with a table of what differs.
    #[must_use]
    pub fn text(&self) -> String {
        text::render(&identity::outline(self, identity::Order::DifferencesLast), None)
    }

    /// The report as a self-contained HTML page.
    #[must_use]
    pub fn html(&self) -> String {
        html::render(&identity::outline(self, identity::Order::DifferencesFirst))
    }

    /// The report as indented JSON. The names are those of the fields of [`Replayed`].
    ///
    /// # Errors
    /// When it cannot be written, which no replay causes.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }
}

#[cfg(test)]
mod tests;
