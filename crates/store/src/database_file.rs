// SPDX-License-Identifier: Apache-2.0
//! A redb file that recovers from a failed write.
//!
//! redb refuses every call after one I/O error until the file is opened again. This type opens the file again at once,
//! so that a full disk affects only the writes of that time. When the disk is full, the reserve next to the file is
//! released and the write is retried; [`DatabaseFile::is_full`] is true until the reserve is restored, and callers
//! then refuse operations that can wait.
//!
//! Not here: the contents of the file (`embedded`, the node's journal).

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, Error, ReadTransaction, ReadableDatabase as _, WriteTransaction};

use crate::StoreFault;
use crate::reserve::Reserve;

/// A redb file, locked while this value exists.
#[derive(Debug)]
pub struct DatabaseFile {
    path: PathBuf,
    cache_bytes: usize,
    present: RwLock<Present>,
    reserve: Reserve,
}

#[derive(Debug)]
struct Present {
    /// Absent after a failure, until the file is opened again.
    database: Option<Database>,
    /// Number of times the file has been opened again.
    reopened: u64,
}

impl DatabaseFile {
    /// Opens the file, creates it when it does not exist, and creates its reserve. Only its owner may read it.
    /// `cache_bytes` bounds the memory for its pages.
    pub fn open(path: &Path, cache_bytes: usize) -> Result<Self, StoreFault> {
        let reach = |cause| StoreFault::Reach { path: path.to_owned(), cause };
        let is_new = !path.try_exists().map_err(reach)?;
        let file = file_options().create(true).truncate(false).open(path).map_err(reach)?;
        let reserve = Reserve::beside(path);
        let database = match database(file, cache_bytes) {
            // On a full disk the repair of a file may need the reserve's space.
            Err(DatabaseError::Storage(_)) if reserve.release() => {
                database(file_options().open(path).map_err(reach)?, cache_bytes)
            }
            outcome => outcome,
        };
        let database = database.map_err(|cause| match cause {
            DatabaseError::DatabaseAlreadyOpen => StoreFault::InUse { path: path.to_owned() },
            other => StoreFault::Open { path: path.to_owned(), cause: Box::new(other) },
        })?;
        if is_new && let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            // The file's name must survive a power cut as well as its contents.
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(reach)?;
        }
        let present = RwLock::new(Present { database: Some(database), reopened: 0 });
        Ok(Self { path: path.to_owned(), cache_bytes, present, reserve })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// True while the disk is full: the reserve is released and there is no space to create it again.
    pub fn is_full(&self) -> bool {
        !self.reserve.restore()
    }

    /// Reads.
    pub fn read<T>(&self, work: impl Fn(&ReadTransaction) -> Result<T, Error>) -> Result<T, Error> {
        self.with(|database| work(&database.begin_read()?))
    }

    /// Durably writes the changes of `work` if it returns `Continue`, and nothing if it returns `Break`. After an error
    /// the write may or may not have been stored. `work` may be called more than once.
    pub fn write<T>(&self, work: impl Fn(&WriteTransaction) -> Result<ControlFlow<T, T>, Error>) -> Result<T, Error> {
        self.with(|database| {
            let edit = database.begin_write()?;
            match work(&edit)? {
                ControlFlow::Continue(answer) => {
                    edit.commit()?;
                    Ok(answer)
                }
                ControlFlow::Break(answer) => Ok(answer),
            }
        })
    }

    /// Does the work as often as something has changed since it failed: the file was opened again, or space was made.
    fn with<T>(&self, work: impl Fn(&Database) -> Result<T, Error>) -> Result<T, Error> {
        loop {
            let (outcome, seen) = self.attempt(&work);
            match outcome {
                Err(cause) if is_of_storage(&cause) => {
                    if !self.recover(&cause, seen)? {
                        return Err(cause);
                    }
                }
                outcome => return outcome,
            }
        }
    }

    /// The outcome, and how often the file had been reopened before.
    fn attempt<T>(&self, work: &impl Fn(&Database) -> Result<T, Error>) -> (Result<T, Error>, u64) {
        let present = self.present.read().unwrap_or_else(PoisonError::into_inner);
        (present.database.as_ref().map_or(Err(Error::DatabaseClosed), work), present.reopened)
    }

    /// Opens the file again unless another thread has done so. True if the failed operation may succeed now.
    fn recover(&self, cause: &Error, seen: u64) -> Result<bool, Error> {
        let mut present = self.present.write().unwrap_or_else(PoisonError::into_inner);
        if present.reopened != seen {
            return Ok(true);
        }
        // The error of another thread's write does not say why: the next attempt meets the reason itself.
        let is_own = matches!(cause, Error::Io(_));
        // The file is locked until the database is closed.
        present.database = None;
        let has_made_space = is_out_of_space(cause) && self.reserve.release();
        let file = file_options().open(&self.path)?;
        present.database = Some(database(file, self.cache_bytes)?);
        present.reopened += 1;
        Ok(!is_own || has_made_space)
    }
}

fn file_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

fn database(file: File, cache_bytes: usize) -> Result<Database, DatabaseError> {
    let file = FileBackend::new(file)?;
    redb::Builder::new().set_cache_size(cache_bytes).create_with_backend(file)
}

/// True for errors after which redb requires that the file is opened again.
fn is_of_storage(cause: &Error) -> bool {
    matches!(cause, Error::Io(_) | Error::PreviousIo | Error::DatabaseClosed)
}

fn is_out_of_space(cause: &Error) -> bool {
    let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
    matches!(cause, Error::Io(cause) if kinds.contains(&cause.kind()))
}
