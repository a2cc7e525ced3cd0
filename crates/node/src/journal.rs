//! What the node has begun: written before each effect, so that a node killed at any line knows what to finish.
//!
//! Tables of JSON records: tasks, network namespaces (with their owner), seats, places of containers and their bridge. The journal never says what
//! is true of the machine; it says what may have been made and must be looked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Fault;
use crate::blocking::blocking;

/// Name of a table.
pub(crate) type Table = TableDefinition<'static, &'static str, &'static [u8]>;

/// Tasks by id.
pub(crate) const TASKS: Table = TableDefinition::new("tasks");
/// Network namespaces by name.
pub(crate) const NAMESPACES: Table = TableDefinition::new("namespaces");
/// Seats by interface id.
pub(crate) const SEATS: Table = TableDefinition::new("seats");
/// Places of containers outside of network mode awsvpc, by task and container.
pub(crate) const PLACES: Table = TableDefinition::new("places");
/// The instance's bridge, if it has one.
pub(crate) const BRIDGE: Table = TableDefinition::new("bridge");

/// The journal. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Journal {
    database: Arc<Database>,
    path: PathBuf,
}

impl Journal {
    /// Opens or makes the journal. Only one node at a time can hold it.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let dir = path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(dir).map_err(Fault::file("create", dir))?;
        let database = Database::builder().set_cache_size(1 << 20).create(path).map_err(|cause| Fault::Journal {
            step: "open",
            path: path.to_owned(),
            cause: Box::new(cause.into()),
        })?;
        let journal = Self { database: Arc::new(database), path: path.to_owned() };
        journal.edit("prepare", |edit| {
            [TASKS, NAMESPACES, SEATS, PLACES, BRIDGE]
                .into_iter()
                .try_for_each(|table| edit.open_table(table).map(drop))?;
            Ok(())
        })?;
        Ok(journal)
    }

    /// Writes a record; durable when this returns.
    pub async fn put<T: Serialize>(&self, table: Table, key: &str, record: &T) -> Result<(), Fault> {
        let text = serde_json::to_vec(record).expect("records are plain data");
        let (journal, key) = (self.clone(), key.to_owned());
        blocking("journal writer", move || {
            journal.edit("write", |edit| {
                edit.open_table(table)?.insert(key.as_str(), text.as_slice())?;
                Ok(())
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
                Ok(())
            })
        })
        .await
    }

    /// Every record of a table.
    pub fn all<T: DeserializeOwned>(&self, table: Table) -> Result<Vec<(String, T)>, Fault> {
        let fault =
            |cause: redb::Error| Fault::Journal { step: "read", path: self.path.clone(), cause: Box::new(cause) };
        let read = self.database.begin_read().map_err(|cause| fault(cause.into()))?;
        let table = read.open_table(table).map_err(|cause| fault(cause.into()))?;
        let mut records = Vec::new();
        for row in table.iter().map_err(|cause| fault(cause.into()))? {
            let (key, text) = row.map_err(|cause| fault(cause.into()))?;
            let record = serde_json::from_slice(text.value()).map_err(|cause| Fault::Content {
                path: self.path.clone(),
                problem: format!("record {} is not readable ({cause}); run `berth down` to start over", key.value()),
            })?;
            records.push((key.value().to_owned(), record));
        }
        Ok(records)
    }

    fn edit(
        &self,
        step: &'static str,
        work: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), Fault> {
        let run = || {
            let edit = self.database.begin_write()?;
            work(&edit)?;
            edit.commit()?;
            Ok(())
        };
        run().map_err(|cause| Fault::Journal { step, path: self.path.clone(), cause: Box::new(cause) })
    }
}

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
        assert!(journal.all::<u32>(SEATS).unwrap().is_empty());
    }
}
