// SPDX-License-Identifier: Apache-2.0
//! The suite of all back ends on the embedded one.
#![allow(clippy::unwrap_used)]

mod suite;

use berth_store::EmbeddedStore;

#[test]
fn the_embedded_store_passes_the_suite_of_all_back_ends() {
    suite::run(|| {
        let folder = tempfile::tempdir().unwrap();
        Box::new(move || EmbeddedStore::open(&folder.path().join("state.redb")).unwrap())
    });
}
