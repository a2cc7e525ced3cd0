// SPDX-License-Identifier: Apache-2.0
//! libFuzzer's program. `cargo xtask fuzz` builds it and names the target in `BERTH_FUZZ_TARGET`.
#![no_main]

use std::sync::OnceLock;

static RUN: OnceLock<fn(&[u8])> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let name = std::env::var("BERTH_FUZZ_TARGET").unwrap_or_default();
        match berth_fuzz::target(&name) {
            Some(target) => drop(RUN.set(target.run)),
            None => {
                eprintln!("BERTH_FUZZ_TARGET names no target: {name:?}; run `cargo xtask fuzz`");
                std::process::exit(2);
            }
        }
    },
    |data: &[u8]| {
        if let Some(run) = RUN.get() {
            run(data);
        }
    }
);
