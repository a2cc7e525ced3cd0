//! What demo, tests and benchmarks need around Berth: container images made on the spot.
//!
//! No registry has to be reached: the images are made of Debian's packages and of one small static program. The same
//! inputs give the same bytes, hence the same digests.
//! Not here: the tests themselves (`tests/`, `crates/*/tests`), the mirror that serves the images (`scripts/mirror`).

pub mod debian;
pub mod images;
pub mod oci;
pub mod rootfs;
