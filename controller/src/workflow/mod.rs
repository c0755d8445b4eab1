//! Workflows: loaded from YAML, checked, and kept in the form that jobs pin.

pub mod catalog;
pub mod graph;
pub mod inputs;
pub mod load;
pub mod model;
pub mod prompts;
pub mod template;
pub mod trifecta;

mod check;
mod names;
mod read;
mod suggest;
mod yaml;
