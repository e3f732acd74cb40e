//! Limits at the real server: what a customer and all customers together were shown withholds offers, and frees them
//! when it says so; across restarts, releases, clocks and erasures.

mod bank;
mod clock;
mod customers;
mod erased;
mod releases;
mod restarts;
mod servers;
mod totals;
mod unrecorded;
