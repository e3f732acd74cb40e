//! Records while things fail: servers are killed, disks fill, stores and clocks go away and come back. Every
//! acknowledged decision is recorded once, and `degraded` and the metrics tell of the others.

pub(crate) mod clock;
mod damage;
mod disk;
mod kills;
mod queue;
mod scene;
mod servers;
mod store_away;

pub(super) use scene::{Answered, Scene, channel, client, metric, until};
