// SPDX-License-Identifier: Apache-2.0
//! Drop reasons of packets. The list is `bpf/drop_reasons.def`; the eBPF program counts by the same numbers.

use std::fmt;

include!(concat!(env!("OUT_DIR"), "/drop_reasons.rs"));

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
