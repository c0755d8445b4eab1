//! Groups are atomic.
