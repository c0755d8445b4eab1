//! Agents: a role's prompt, the contract of its answer, and the loop that plays
//! it. Adding a role with an existing contract needs a prompt file alone.

pub mod edit;
pub mod symbols;
pub mod thinking;
pub mod turn;
