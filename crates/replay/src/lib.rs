//! Records of decisions made, decided again, and compared.
//!
//! [`record::write`] turns the decisions of a call into records, on the thread that writes them. [`identity`] decides
//! again from records with the releases they name. [`shadow_record`] writes comparisons with shadows, and
//! [`replay_shadows`] runs shadows over records. Never serves, and writes nothing.

mod compare;
mod comparison;
mod effect;
mod explain;
pub mod identity;
mod names;
mod ordered;
mod parallel;
mod privacy;
mod record;
mod releases;
mod reports;
mod rescore;
#[cfg(test)]
mod samples;
mod shadows;
mod simulate;
#[cfg(test)]
mod tests;
mod values;
mod view;
mod whatif;

pub use compare::{Difference, differences};
pub use comparison::{Comparison, Customers, Excluded, Failure, Named, Options, Records, Subject};
pub use effect::{
    BeforeAfter, Effect, Move, NamedOffer, OfferEffect, PlacementEffect, ReasonEffect, SegmentEffect, Totals,
    WithheldEffect,
};
pub use explain::{Explained, NamedValue, explain};
pub use names::names;
pub use parallel::{ParallelError, ThreadError};
pub use privacy::{CustomerNames, Privacy};
pub use record::{FORMAT, RecordError, read, write};
pub use releases::{Loaded, Releases, without_customers};
pub use rescore::{Rescored, Scores};
pub use shadows::{ReplayedShadows, ShadowOptions, replay_shadows, shadow_names, shadow_record};
pub use simulate::{SimulatedHistory, Simulation, SimulationError, check_placements, simulate};
pub use values::{ValuesError, recorded_source};
pub use view::{
    DecisionView, ListedDecision, ViewedAssignment, ViewedEvent, ViewedFactors, ViewedHistory, ViewedLimit,
    ViewedOffer, ViewedRefusal, ViewedReservation, ViewedSegment, ViewedValue, ViewedWithheld, rfc3339,
    shortest, why,
};
pub use whatif::{simulate_records, what_if};
