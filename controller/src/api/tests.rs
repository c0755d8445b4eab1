//! Rights, generated from the table of routes.
