// SPDX-License-Identifier: Apache-2.0
//! Faults of the store. Every message names the file and the remedy.

use std::path::PathBuf;

/// The store or the machine failed, or another writer was first.
#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    /// The file could not be opened or created.
    #[error("could not open the record store {}; check that the folder exists, is writable and has free space", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Box<redb::DatabaseError>,
    },
    /// The file or its folder could not be reached.
    #[error("could not reach the record store {}; check that the folder exists and is writable", path.display())]
    Reach {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Another process holds the file.
    #[error("the record store {} is in use by another Berth server; stop that server or choose another data folder", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a later version of Berth.
    #[error(
        "the record store {} has format {found}, this version of Berth reads up to {known}; \
         start the version of Berth that wrote it, or a later one", path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The latest format that this program supports.
        known: u64,
    },
    /// The file is a database, but not one of Berth's.
    #[error("the file {} is not a record store of Berth; choose another data folder", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A record has no layout version, so the file was damaged.
    #[error("record {kind}/{key} of {} is damaged; restore the data folder from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Kind of the record.
        kind: String,
        /// Its key.
        key: String,
    },
    /// Reading failed.
    #[error("could not read the record store {}; check the disk", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Box<redb::Error>,
    },
    /// Writing failed. The store has been opened again, or the next write opens it.
    #[error("could not write to the record store {}; check free space and the disk; the server recovers by itself", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Box<redb::Error>,
    },
    /// Another writer was first: load again and decide again.
    #[error("the records moved from revision {expected} to {found}")]
    Moved {
        /// The revision the batch was made for.
        expected: u64,
        /// The present revision.
        found: u64,
    },
}
