//! Shadows at the real server: answers that they leave alone, whatever goes wrong with them, and reports that say what
//! they would have decided.

mod answers;
mod commands;
mod drain;
mod endless;
mod identical;
mod memory;
mod recording;
mod scene;
mod statistics;
mod swaps;
mod trouble;
