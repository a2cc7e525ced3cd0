// SPDX-License-Identifier: Apache-2.0
//! The embedded back end: one redb file, one process.
//!
//! The server holds all records in memory, so the file is read once at start and only written afterwards; the page
//! cache is small on purpose.

use std::ops::ControlFlow;
use std::path::Path;

use redb::ReadableTable as _;

use crate::database_file::DatabaseFile;
use crate::format::{Found, META, META_FORMAT, META_REVISION, RECORDS, UPGRADES, Upgrade, prepare};
use crate::{Op, Store, StoreFault, StoredRecord};

/// Memory for pages of the file.
const CACHE_BYTES: usize = 4 << 20;
/// Bytes of the layout version in front of each body.
const VERSION_BYTES: usize = 4;

/// Records in one file. The file is locked while this value exists.
#[derive(Debug)]
pub struct EmbeddedStore {
    file: DatabaseFile,
}

impl EmbeddedStore {
    /// Opens the file, creates it when it does not exist, and upgrades an older format. Only its owner may read it,
    /// because records contain secrets.
    pub fn open(path: &Path) -> Result<Self, StoreFault> {
        Self::open_with(path, UPGRADES)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    fn open_with(path: &Path, upgrades: &[Upgrade]) -> Result<Self, StoreFault> {
        let store = Self { file: DatabaseFile::open(path, CACHE_BYTES)? };
        store.bring_to_format(upgrades)?;
        Ok(store)
    }

    fn bring_to_format(&self, upgrades: &[Upgrade]) -> Result<(), StoreFault> {
        if self.format().map_err(|cause| self.read_fault(cause))? == Some(upgrades.len() as u64 + 1) {
            return Ok(());
        }
        let prepared = self.file.write(|txn| {
            Ok(match prepare(txn, upgrades)? {
                Found::Ready => ControlFlow::Continue(Ok(())),
                Found::Newer(found) => ControlFlow::Break(Err(StoreFault::Newer {
                    path: self.path().to_owned(),
                    found,
                    known: upgrades.len() as u64 + 1,
                })),
                Found::Foreign => ControlFlow::Break(Err(StoreFault::Foreign { path: self.path().to_owned() })),
            })
        });
        prepared.map_err(|cause| self.write_fault(cause))?
    }

    /// The format written in the file, if there is one.
    fn format(&self) -> Result<Option<u64>, redb::Error> {
        self.file.read(|txn| match txn.open_table(META) {
            Ok(meta) => Ok(meta.get(META_FORMAT)?.map(|format| format.value())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(other) => Err(other.into()),
        })
    }

    fn read_all(&self) -> Result<Result<(u64, Vec<StoredRecord>), StoreFault>, redb::Error> {
        self.file.read(|txn| {
            let revision = txn.open_table(META)?.get(META_REVISION)?.map_or(0, |revision| revision.value());
            let mut records = Vec::new();
            for entry in txn.open_table(RECORDS)?.iter()? {
                let (key, value) = entry?;
                let (kind, key) = key.value();
                let Some((version, body)) = value.value().split_first_chunk::<VERSION_BYTES>() else {
                    let (path, kind, key) = (self.path().to_owned(), kind.to_owned(), key.to_owned());
                    return Ok(Err(StoreFault::Damaged { path, kind, key }));
                };
                records.push(StoredRecord {
                    kind: kind.to_owned(),
                    key: key.to_owned(),
                    version: u32::from_le_bytes(*version),
                    body: body.to_owned(),
                });
            }
            Ok(Ok((revision, records)))
        })
    }

    fn write(&self, batch: &[Op], expected: u64) -> Result<Result<u64, StoreFault>, redb::Error> {
        self.file.write(|txn| {
            let mut meta = txn.open_table(META)?;
            let found = meta.get(META_REVISION)?.map_or(0, |revision| revision.value());
            if found != expected {
                return Ok(ControlFlow::Break(Err(StoreFault::Moved { expected, found })));
            }
            meta.insert(META_REVISION, expected + 1)?;
            let mut records = txn.open_table(RECORDS)?;
            for op in batch {
                match op {
                    Op::Put(record) => {
                        let key = (record.kind.as_str(), record.key.as_str());
                        let mut value = records.insert_reserve(key, VERSION_BYTES + record.body.len())?;
                        let (version, body) = value.as_mut().split_at_mut(VERSION_BYTES);
                        version.copy_from_slice(&record.version.to_le_bytes());
                        body.copy_from_slice(&record.body);
                    }
                    Op::Delete { kind, key } => {
                        records.remove((kind.as_str(), key.as_str()))?;
                    }
                }
            }
            Ok(ControlFlow::Continue(Ok(expected + 1)))
        })
    }

    fn read_fault(&self, cause: redb::Error) -> StoreFault {
        StoreFault::Read { path: self.path().to_owned(), cause: Box::new(cause) }
    }

    fn write_fault(&self, cause: redb::Error) -> StoreFault {
        StoreFault::Write { path: self.path().to_owned(), cause: Box::new(cause) }
    }
}

impl Store for EmbeddedStore {
    fn load(&self) -> Result<(u64, Vec<StoredRecord>), StoreFault> {
        self.read_all().map_err(|cause| self.read_fault(cause))?
    }

    fn commit(&mut self, batch: &[Op], expected: u64) -> Result<u64, StoreFault> {
        self.write(batch, expected).map_err(|cause| self.write_fault(cause))?
    }

    fn is_full(&self) -> bool {
        self.file.is_full()
    }
}

#[cfg(test)]
mod tests;
