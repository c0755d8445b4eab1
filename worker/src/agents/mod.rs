//! Agents: a role's prompt, the contract of its answer, and the loop that plays
//! it. Adding a role with an existing contract needs a prompt file alone.

pub mod answer;
pub mod architect;
pub mod brief;
pub mod codegen;
pub mod context;
pub mod custom;
pub mod declared;
pub mod desk;
pub mod document;
pub mod drive;
pub mod edit;
pub mod files;
pub mod memory;
pub mod repomap;
pub mod review;
pub mod schemas;
pub mod symbols;
pub mod thinking;
pub mod turn;

/// What a role answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// A Plan; see [`architect`].
    Plan,
    /// Edits, which are applied and committed; see [`codegen`].
    Edits,
    /// A Verdict; see [`review`].
    Verdict,
    /// The outputs that the step declares; see [`custom`].
    Declared,
}

/// The roles that have a contract of their own; any other one is custom.
pub const ROLES: &[(&str, Answers)] = &[
    ("architect", Answers::Plan),
    ("codegen", Answers::Edits),
    ("review", Answers::Verdict),
];

/// The contract of a role; a custom one that `writes` answers with edits.
pub fn answers(role: &str, writes: bool) -> Answers {
    let own = ROLES.iter().find(|(name, _)| *name == role);
    match own {
        Some((_, answers)) => *answers,
        None if writes => Answers::Edits,
        None => Answers::Declared,
    }
}
