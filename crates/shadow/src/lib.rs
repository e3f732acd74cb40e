//! What a shadow would have decided, compared with what answered.
//!
//! A [`Comparison`] is one decision made twice: by the champion, which answered, and by a shadow of the release. A
//! [`Tally`] counts comparisons in bounded memory and merges with others, and a [`Report`] is what it found, as text,
//! JSON and HTML. Decides nothing and reads no clock: the same comparisons in the same order give the same bytes. Start
//! reading at [`Tally::add`].

mod comparison;
mod record;
mod reports;
#[cfg(test)]
mod samples;
mod tally;

pub use comparison::{Compared, ComparedOffer, Comparison, ModelVersion, Ranked};
pub use record::{RecordError, read};
pub use reports::{
    Bars, CellReport, Counted, Example, ExampleOffer, Figures, ListedModel, ListedModels, Mean, Names,
    PlacementReport, Quantile, Report, Score, ScoreChange, ScoreShift, SegmentReport, ShadowReport, Share,
    Span, ValueChange,
};
pub use tally::Tally;
