//! The one expression and template language of workflows (minijinja).
