// SPDX-License-Identifier: Apache-2.0
//! A store for the tests of the commit loop and of its callers.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use berth_store::{Op, Store, StoreFault, StoredRecord};
use tokio::sync::watch;

/// A store in memory that counts batches, and can be made to block or to fail.
#[derive(Clone, Default)]
pub(crate) struct FakeStore {
    pub(crate) records: Arc<Mutex<(u64, Vec<StoredRecord>)>>,
    pub(crate) batches: Arc<AtomicUsize>,
    /// Number of batches that were stored or failed.
    pub(crate) trials: watch::Sender<usize>,
    pub(crate) fails: Arc<AtomicBool>,
    /// Stores, and then returns an error.
    pub(crate) lies: Arc<AtomicBool>,
    pub(crate) is_full: Arc<AtomicBool>,
    pub(crate) gate: Arc<tokio::sync::Mutex<()>>,
}

impl Store for FakeStore {
    fn load(&self) -> Result<(u64, Vec<StoredRecord>), StoreFault> {
        Ok(self.records.lock().unwrap().clone())
    }

    fn commit(&mut self, batch: &[Op], expected: u64) -> Result<u64, StoreFault> {
        let _gate = self.gate.blocking_lock();
        self.trials.send_modify(|trials| *trials += 1);
        let failed = || StoreFault::Reach { path: "fake".into(), cause: std::io::Error::other("no space left") };
        if self.fails.load(Ordering::Relaxed) {
            return Err(failed());
        }
        let mut held = self.records.lock().unwrap();
        if held.0 != expected {
            return Err(StoreFault::Moved { expected, found: held.0 });
        }
        held.0 += 1;
        held.1.extend(batch.iter().filter_map(|op| match op {
            Op::Put(record) => Some(record.clone()),
            Op::Delete { .. } => None,
        }));
        self.batches.fetch_add(1, Ordering::Relaxed);
        if self.lies.load(Ordering::Relaxed) { Err(failed()) } else { Ok(held.0) }
    }

    fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }
}
