//! Workflows: loaded from YAML, checked, and kept in the form that jobs pin.

pub mod graph;
pub mod model;
pub mod template;
