//! What must hold for all events in any order.

pub(crate) mod catalogs;
mod clock;
mod contacts;
mod frees;
mod full;
mod oracle;
pub(crate) mod rebuilt;
mod recorded;
mod slates;
mod suppressions;
mod threads;
