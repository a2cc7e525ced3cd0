//! One container: its specification, its user, its files, its share of the machine. Decisions here are pure.

pub(crate) mod cgroups;
pub(crate) mod files;
pub(crate) mod image_volumes;
mod linux;
pub(crate) mod machine;
pub(crate) mod mounts;
pub(crate) mod names;
pub(crate) mod seed;
pub(crate) mod spec;
pub(crate) mod storage;
pub(crate) mod users;
