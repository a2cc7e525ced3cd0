//! EC2 networking.

pub mod record;
