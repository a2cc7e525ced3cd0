//! The embedded back end: one redb file, one process.
//!
//! Everything is held in memory by the server, so the file is read once at start and only written afterwards; the page
//! cache is small on purpose.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable};

use crate::format::{Found, META, META_FORMAT, META_REVISION, RECORDS, UPGRADES, Upgrade, prepare};
use crate::{Op, Store, StoreFault, StoredRecord};

/// Memory for pages of the file.
const CACHE_BYTES: usize = 4 << 20;
/// Bytes of the layout version in front of each body.
const VERSION_BYTES: usize = 4;

/// Records in one file. The file is locked while this lives.
#[derive(Debug)]
pub struct EmbeddedStore {
    path: PathBuf,
    database: Database,
}

impl EmbeddedStore {
    /// Opens the file, makes it when there is none, and lifts an older format. Only its owner may read it: records
    /// hold secrets.
    pub fn open(path: &Path) -> Result<Self, StoreFault> {
        Self::open_with(path, UPGRADES)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn open_with(path: &Path, upgrades: &[Upgrade]) -> Result<Self, StoreFault> {
        let reach = |cause| StoreFault::Reach { path: path.to_owned(), cause };
        let is_new = !path.try_exists().map_err(reach)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(reach)?;
        let database = FileBackend::new(file)
            .and_then(|file| redb::Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(file))
            .map_err(|cause| match cause {
                DatabaseError::DatabaseAlreadyOpen => StoreFault::InUse { path: path.to_owned() },
                other => StoreFault::Open { path: path.to_owned(), cause: Box::new(other) },
            })?;
        if is_new && let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            // The file's name must survive a power cut as surely as its contents.
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(reach)?;
        }
        let store = Self { path: path.to_owned(), database };
        store.bring_to_format(upgrades)?;
        Ok(store)
    }

    fn bring_to_format(&self, upgrades: &[Upgrade]) -> Result<(), StoreFault> {
        if self.format().map_err(|cause| self.read_fault(cause))? == Some(upgrades.len() as u64 + 1) {
            return Ok(());
        }
        let txn = self.database.begin_write().map_err(|cause| self.write_fault(cause.into()))?;
        match prepare(&txn, upgrades).map_err(|cause| self.write_fault(cause))? {
            Found::Ready => txn.commit().map_err(|cause| self.write_fault(cause.into())),
            Found::Newer(found) => {
                Err(StoreFault::Newer { path: self.path.clone(), found, known: upgrades.len() as u64 + 1 })
            }
            Found::Foreign => Err(StoreFault::Foreign { path: self.path.clone() }),
        }
    }

    /// The format written in the file, if there is one.
    fn format(&self) -> Result<Option<u64>, redb::Error> {
        let txn = self.database.begin_read()?;
        match txn.open_table(META) {
            Ok(meta) => Ok(meta.get(META_FORMAT)?.map(|format| format.value())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }

    fn read_all(&self) -> Result<Result<(u64, Vec<StoredRecord>), StoreFault>, redb::Error> {
        let txn = self.database.begin_read()?;
        let revision = txn.open_table(META)?.get(META_REVISION)?.map_or(0, |revision| revision.value());
        let mut records = Vec::new();
        for entry in txn.open_table(RECORDS)?.iter()? {
            let (key, value) = entry?;
            let (kind, key) = key.value();
            let Some((version, body)) = value.value().split_first_chunk::<VERSION_BYTES>() else {
                let (kind, key) = (kind.to_owned(), key.to_owned());
                return Ok(Err(StoreFault::Damaged { path: self.path.clone(), kind, key }));
            };
            records.push(StoredRecord {
                kind: kind.to_owned(),
                key: key.to_owned(),
                version: u32::from_le_bytes(*version),
                body: body.to_owned(),
            });
        }
        Ok(Ok((revision, records)))
    }

    fn write(&self, batch: &[Op], expected: u64) -> Result<Result<u64, StoreFault>, redb::Error> {
        let txn = self.database.begin_write()?;
        {
            let mut meta = txn.open_table(META)?;
            let found = meta.get(META_REVISION)?.map_or(0, |revision| revision.value());
            if found != expected {
                return Ok(Err(StoreFault::Moved { expected, found }));
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
        }
        txn.commit()?;
        Ok(Ok(expected + 1))
    }

    fn read_fault(&self, cause: redb::Error) -> StoreFault {
        StoreFault::Read { path: self.path.clone(), cause: Box::new(cause) }
    }

    fn write_fault(&self, cause: redb::Error) -> StoreFault {
        StoreFault::Write { path: self.path.clone(), cause: Box::new(cause) }
    }
}

impl Store for EmbeddedStore {
    fn load(&self) -> Result<(u64, Vec<StoredRecord>), StoreFault> {
        self.read_all().map_err(|cause| self.read_fault(cause))?
    }

    fn commit(&mut self, batch: &[Op], expected: u64) -> Result<u64, StoreFault> {
        self.write(batch, expected).map_err(|cause| self.write_fault(cause))?
    }
}

#[cfg(test)]
mod tests;
