// SPDX-License-Identifier: Apache-2.0
//! Storage of records: versioned bodies under kind and key, changed in batches, durable before the answer.
//!
//! * A batch is stored whole or not at all, and is on the disk when `commit` returns.
//! * Every batch raises the revision by one; a batch made for another revision than the present one is refused
//!   ([`StoreFault::Moved`]), so that two writers never build on the same revision.
//! * Bodies are bytes with the version of their layout. Their meaning, and the upgrade of an old layout, belong to the
//!   reader.
//!
//! [`DatabaseFile`] is a redb file that recovers from a failed write; the node's journal uses it too.
//!
//! Not here: the snapshot for readers, and the grouping of changes (`berth-control`).

mod database_file;
mod embedded;
mod fault;
mod format;
mod reserve;

pub use database_file::DatabaseFile;
pub use embedded::EmbeddedStore;
pub use fault::StoreFault;
pub use format::FORMAT;

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredRecord {
    /// Kind of the record, such as `eni`.
    pub kind: String,
    /// Its key, unique inside the kind.
    pub key: String,
    /// Version of the body's layout.
    pub version: u32,
    /// The body.
    pub body: Vec<u8>,
}

/// One step of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Store this record, whether it existed or not.
    Put(StoredRecord),
    /// Remove this record; does nothing when it does not exist.
    Delete {
        /// Its kind.
        kind: String,
        /// Its key.
        key: String,
    },
}

/// The operations of a back end. Calls block until the disk or the network has answered; the caller gives them a
/// thread.
pub trait Store: Send {
    /// Returns the present revision (0 is empty) and every record, ordered by kind and key.
    fn load(&self) -> Result<(u64, Vec<StoredRecord>), StoreFault>;

    /// Applies the steps in order and returns the new revision once they are durable. Nothing is stored when the
    /// present revision is not `expected`.
    ///
    /// After any other fault than `Moved` the batch may or may not have been stored; `load` shows which.
    fn commit(&mut self, batch: &[Op], expected: u64) -> Result<u64, StoreFault>;

    /// True while hardly any space is left. A batch may still be stored; callers refuse changes that add records.
    fn is_full(&self) -> bool;
}
