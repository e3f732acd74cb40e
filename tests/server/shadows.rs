//! Shadows at the real server: answers that they leave alone, whatever goes wrong with them, and reports that say what
//! they would have decided.

mod answers;
mod commands;
mod identical;
mod memory;
mod scene;
mod swaps;
mod trouble;
