// SPDX-License-Identifier: Apache-2.0
//! Runs the program on a made-up packet as if an interface had sent it, and returns its decision and its cost. Nothing
//! is delivered, but flows and counters change as for a real packet.

use std::time::Duration;

use aya::programs::{TestRun, TestRunOptions};
use berth_types::EniId;

use super::{Fabric, Fault};

/// `struct __sk_buff` of `linux/bpf.h`: its size, and where the index of the device is.
const CONTEXT_BYTES: usize = 192;
const IFINDEX_AT: usize = 40;
/// `TC_ACT_REDIRECT` of `linux/pkt_cls.h`.
const REDIRECT: u32 = 7;

/// The result of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// True if the last run delivered or answered the packet.
    pub passed: bool,
    /// Mean time of a run.
    pub run: Duration,
}

impl Fabric {
    /// Runs the program `repeat` times on a frame from a plugged interface.
    pub fn try_packet(&mut self, id: &EniId, frame: &[u8], repeat: u32) -> Result<Trial, Fault> {
        let plugged = self.held()?.plugged.get(id).ok_or_else(|| Fault::NotPlugged { eni: id.clone() })?;
        let mut context = [0; CONTEXT_BYTES];
        context[IFINDEX_AT..IFINDEX_AT + 4].copy_from_slice(&plugged.ifindex.to_ne_bytes());
        let options = TestRunOptions { data_in: Some(frame), ctx_in: Some(&context), repeat, ..TestRunOptions::new() };
        let program = &self.program;
        // The kernel looks the device up in the namespace of the calling thread.
        let result = self.namespace.inside(|| program.test_run(options))?.map_err(Fault::program("try"))?;
        Ok(Trial { passed: result.return_value == REDIRECT, run: result.duration })
    }
}
