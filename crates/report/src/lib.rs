//! What the HTML reports of the command line share: the frame of a page and its style, tables, numbers.
//!
//! A page is one file: it has no script and names nothing outside itself, so it opens offline and prints. It is dark on
//! white and fits screens from 360 to 1400 pixels. Every text that comes from elsewhere goes through [`escape`].
//! Nothing here knows what a report is about. Start reading at [`Page`], then [`Table`].

#[cfg(any(test, feature = "test-support"))]
pub mod checks;
pub mod numbers;
mod page;
pub mod percent;
mod table;

pub use page::{Header, Page, Section, append, capitalised, escape, figure, marked, sentence};
pub use table::{Column, Table};
