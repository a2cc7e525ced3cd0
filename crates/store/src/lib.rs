//! Where records are kept: versioned bodies under kind and key, changed by whole batches, durable before the answer.
//!
//! * A batch is stored whole or not at all, and is on the disk when `commit` returns.
//! * Every batch raises the revision by one; a batch made for another revision than the present one is refused
//!   ([`StoreFault::Moved`]), so two writers never build on the same past.
//! * Bodies are bytes with a layout version beside them. What they mean, and how an old layout is lifted, is the
//!   business of whoever reads them.
//!
//! Not here: the snapshot readers use (`berth-domain`), and grouping of changes (`berth-control`).

mod embedded;
mod fault;
mod format;

pub use embedded::EmbeddedStore;
pub use fault::StoreFault;
pub use format::FORMAT;

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredRecord {
    /// What kind of record it is, such as `eni`.
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
    /// Remove this record; nothing happens when it is not there.
    Delete {
        /// Its kind.
        kind: String,
        /// Its key.
        key: String,
    },
}

/// What every back end does. Calls block until the disk or the network answered; the caller gives them a thread.
pub trait Store: Send {
    /// The present revision (0 is empty) and every record, ordered by kind and key.
    fn load(&self) -> Result<(u64, Vec<StoredRecord>), StoreFault>;

    /// Applies the steps in order and answers the new revision once they are durable. Nothing is stored when the
    /// present revision is not `expected`.
    ///
    /// After any other fault than `Moved` the batch may or may not have been stored; `load` tells.
    fn commit(&mut self, batch: &[Op], expected: u64) -> Result<u64, StoreFault>;
}
