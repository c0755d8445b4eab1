//! Measures agentd and agent-worker as they are built beside this binary.
//!
//! Absolute figures move with the machine and the day, so that each figure stands
//! beside a reference of the same run: the floor (what the disk, the network and
//! the least possible program of this shape reach here) and such peers as are
//! installed. Nothing here is part of the product.

pub mod agents;
pub mod cages;
pub mod figures;
pub mod floor;
pub mod history;
pub mod house;
pub mod http;
pub mod idle;
pub mod jobs;
pub mod peers;
pub mod skeleton;
pub mod streams;
pub mod workers;
