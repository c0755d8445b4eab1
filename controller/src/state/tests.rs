//! Tables and world agree.
