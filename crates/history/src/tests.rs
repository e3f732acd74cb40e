//! What must hold whatever happens, in whatever order.

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
