//! Where work is done: calls and their deadlines, lanes, worker threads, the cost of work, threads of idle priority,
//! and the points at which tests interrupt it.

mod background;
mod cost;
pub mod fault;
mod panic;
pub mod priority;
mod workers;

pub use background::{Background, IdleThread, Reclaimer, run_with_foreign_stack};
pub use cost::Cost;
pub use panic::{Panicked, catch_panic};
pub use workers::{
    Call, Cancellation, FOREIGN_STACK, INLINE, Lane, MAX_THREADS, Needs, Rejection, Stoppable, Worker,
    Workers,
};
