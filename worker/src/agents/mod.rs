//! Agents: a role's prompt, the contract of its answer, and the loop that plays
//! it. Adding a role with an existing contract needs a prompt file alone.

pub mod answer;
pub mod context;
pub mod declared;
pub mod edit;
pub mod repomap;
pub mod schemas;
pub mod symbols;
pub mod thinking;
pub mod turn;
