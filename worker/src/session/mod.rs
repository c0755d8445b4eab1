//! The worker's side of the conversation with the controller: a pure machine
//! that decides, and the one task that owns it and carries out what it wants.

mod event;
mod fence;
mod machine;
mod task;
#[cfg(test)]
mod tests;
mod turns;
#[cfg(test)]
mod wire_tests;

pub use event::{Effect, Held, Ignored, Input, Introduction};
pub use machine::{Identity, Machine};
pub use task::{Session, SessionParts, spawn};
