// SPDX-License-Identifier: Apache-2.0
//! Container images for demo, tests and benchmarks, built locally.
//!
//! No registry is needed: the images are built from Debian's packages and one small static program. Equal inputs give
//! equal bytes, and so equal digests. Not here: the tests themselves (`tests/`, `crates/*/tests`), the mirror that
//! serves the images (`scripts/mirror`).

pub mod debian;
pub mod images;
pub mod oci;
pub mod rootfs;
