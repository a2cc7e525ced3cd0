// SPDX-License-Identifier: Apache-2.0
//! Path of the checkout from which this program was built.

use std::path::Path;

/// The root of the checkout.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}
