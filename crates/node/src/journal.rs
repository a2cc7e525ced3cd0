// SPDX-License-Identifier: Apache-2.0
//! The journal of the node's work: written before each effect, so that a node killed at any line knows what to finish.
//!
//! Tables of JSON records: tasks, network namespaces (with their owner), standalone interfaces, places of containers
//! and their bridge, the wall around the way to the world.
//! A record does not say that a thing exists on the machine; it says that the thing may exist and must be looked for.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use berth_store::DatabaseFile;
use redb::{ReadableTable, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Fault;
use crate::blocking::blocking;

/// Memory for pages of the file.
const CACHE_BYTES: usize = 1 << 20;

/// Name of a table.
pub(crate) type Table = TableDefinition<'static, &'static str, &'static [u8]>;

/// Tasks by id.
pub(crate) const TASKS: Table = TableDefinition::new("tasks");
/// Network namespaces by name.
pub(crate) const NAMESPACES: Table = TableDefinition::new("namespaces");
/// Standalone interfaces by interface id, under the name that version 0.1.0 gave to those of `berth shell`.
pub(crate) const STANDALONE: Table = TableDefinition::new("seats");
/// Places of containers outside of network mode awsvpc, by task and container.
pub(crate) const PLACES: Table = TableDefinition::new("places");
/// The instance's bridge, if it has one.
pub(crate) const BRIDGE: Table = TableDefinition::new("bridge");
/// The wall around the way to the world, if there is one.
pub(crate) const WORLD: Table = TableDefinition::new("world");

/// The journal. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Journal {
    file: Arc<DatabaseFile>,
}

impl Journal {
    /// Opens or makes the journal. Only one node at a time can hold it.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let dir = path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(dir).map_err(Fault::file("create", dir))?;
        let file = DatabaseFile::open(path, CACHE_BYTES)
            .map_err(|cause| Fault::JournalFile { path: path.to_owned(), cause: Box::new(cause) })?;
        let journal = Self { file: Arc::new(file) };
        journal.edit("prepare", |edit| {
            [TASKS, NAMESPACES, STANDALONE, PLACES, BRIDGE, WORLD]
                .into_iter()
                .try_for_each(|table| edit.open_table(table).map(drop))?;
            Ok(ControlFlow::Continue(Ok(())))
        })?;
        Ok(journal)
    }

    /// Writes a record; durable when this returns. While the disk is full only records that are there can change:
    /// what ends must be written, what begins can wait.
    pub async fn put<T: Serialize>(&self, table: Table, key: &str, record: &T) -> Result<(), Fault> {
        let text = serde_json::to_vec(record).expect("records are plain data");
        let (journal, key) = (self.clone(), key.to_owned());
        blocking("journal writer", move || {
            let is_full = journal.file.is_full();
            journal.edit("write", |edit| {
                let mut table = edit.open_table(table)?;
                if is_full && table.get(key.as_str())?.is_none() {
                    return Ok(ControlFlow::Break(Err(Fault::JournalFull { path: journal.file.path().to_owned() })));
                }
                table.insert(key.as_str(), text.as_slice())?;
                Ok(ControlFlow::Continue(Ok(())))
            })
        })
        .await
    }

    /// Forgets a record.
    pub async fn remove(&self, table: Table, key: &str) -> Result<(), Fault> {
        let (journal, key) = (self.clone(), key.to_owned());
        blocking("journal writer", move || {
            journal.edit("write", |edit| {
                edit.open_table(table)?.remove(key.as_str())?;
                Ok(ControlFlow::Continue(Ok(())))
            })
        })
        .await
    }

    /// Every record of a table.
    pub fn all<T: DeserializeOwned>(&self, table: Table) -> Result<Vec<(String, T)>, Fault> {
        let path = || self.file.path().to_owned();
        let rows = self.file.read(|read| {
            let table = read.open_table(table)?;
            let rows =
                table.iter()?.map(|row| row.map(|(key, text)| (key.value().to_owned(), text.value().to_owned())));
            rows.collect::<Result<Vec<_>, _>>().map_err(redb::Error::from)
        });
        let rows = rows.map_err(|cause| Fault::Journal { step: "read", path: path(), cause: Box::new(cause) })?;
        let read = |(key, text): (String, Vec<u8>)| match serde_json::from_slice(&text) {
            Ok(record) => Ok((key, record)),
            Err(cause) => Err(Fault::Content {
                path: path(),
                problem: format!("record {key} is not readable ({cause}); run `berth down` to start over"),
            }),
        };
        rows.into_iter().map(read).collect()
    }

    fn edit(
        &self,
        step: &'static str,
        work: impl Fn(&redb::WriteTransaction) -> Result<Edited, redb::Error>,
    ) -> Result<(), Fault> {
        let edited = self.file.write(work);
        edited.map_err(|cause| Fault::Journal { step, path: self.file.path().to_owned(), cause: Box::new(cause) })?
    }
}

/// Whether an edit is kept, and the result for its caller.
type Edited = ControlFlow<Result<(), Fault>, Result<(), Fault>>;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn what_was_put_is_there_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("node/journal.redb");
        let journal = Journal::open(&file).unwrap();
        journal.put(TASKS, "a", &1u32).await.unwrap();
        journal.put(TASKS, "b", &2u32).await.unwrap();
        journal.remove(TASKS, "a").await.unwrap();
        drop(journal);
        let journal = Journal::open(&file).unwrap();
        assert_eq!(journal.all::<u32>(TASKS).unwrap(), [("b".to_owned(), 2)]);
        assert!(journal.all::<u32>(STANDALONE).unwrap().is_empty());
    }
    #[tokio::test]
    async fn on_a_full_disk_nothing_is_begun_and_what_is_there_ends() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("journal.redb");
        // What cannot be replaced by the reserve stands for a disk without space.
        let obstacle = dir.path().join("journal.redb.reserve");
        let journal = Journal::open(&file).unwrap();
        journal.put(TASKS, "a", &1u32).await.unwrap();
        drop(journal);
        std::fs::remove_file(&obstacle).unwrap();
        std::fs::create_dir_all(obstacle.join("full")).unwrap();
        let journal = Journal::open(&file).unwrap();
        let refused = journal.put(TASKS, "b", &2u32).await.unwrap_err();
        assert!(refused.to_string().contains("journal.redb is full"), "{refused}");
        journal.put(TASKS, "a", &3u32).await.unwrap();
        assert_eq!(journal.all::<u32>(TASKS).unwrap(), [("a".to_owned(), 3)]);
        journal.remove(TASKS, "a").await.unwrap();
        std::fs::remove_dir_all(&obstacle).unwrap();
        journal.put(TASKS, "b", &2u32).await.unwrap();
        assert_eq!(journal.all::<u32>(TASKS).unwrap(), [("b".to_owned(), 2)]);
    }
}
