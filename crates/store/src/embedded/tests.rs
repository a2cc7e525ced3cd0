// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use std::io::Read as _;
use std::path::PathBuf;

use redb::{Database, TableDefinition, WriteTransaction};

use super::*;

/// A store of format 1 with three records at revision 2, written by the first version of this program.
const V1: &[u8] = include_bytes!("../../tests/v1.redb.gz");

fn v1_file(folder: &Path) -> PathBuf {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(V1).read_to_end(&mut bytes).unwrap();
    let path = folder.join("state.redb");
    std::fs::write(&path, bytes).unwrap();
    path
}

fn record(kind: &str, key: &str, version: u32, body: &str) -> StoredRecord {
    StoredRecord { kind: kind.to_owned(), key: key.to_owned(), version, body: body.as_bytes().to_vec() }
}

#[test]
fn a_store_of_the_first_format_is_read_by_this_program() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(&v1_file(folder.path())).unwrap();
    let expected = vec![
        record("cluster", "default", 1, r#"{"name":"default"}"#),
        record("eni", "eni-00000000000000001", 1, r#"{"id":"eni-00000000000000001"}"#),
        record("eni", "eni-00000000000000002", 2, ""),
    ];
    assert_eq!(store.load().unwrap(), (2, expected));
}

/// A made-up second format that adds a mark to each body.
fn mark_bodies(txn: &WriteTransaction) -> Result<(), redb::Error> {
    let mut records = txn.open_table(RECORDS)?;
    let mut marked = Vec::new();
    for entry in records.iter()? {
        let (key, value) = entry?;
        let (kind, key) = key.value();
        let value = [value.value(), b"!"].concat();
        marked.push((kind.to_owned(), key.to_owned(), value));
    }
    for (kind, key, value) in marked {
        records.insert((kind.as_str(), key.as_str()), value.as_slice())?;
    }
    Ok(())
}

#[test]
fn an_older_store_is_lifted_once_and_then_refused_by_the_older_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = v1_file(folder.path());
    for _ in 0..2 {
        let store = EmbeddedStore::open_with(&path, &[mark_bodies]).unwrap();
        let (revision, records) = store.load().unwrap();
        assert_eq!((revision, records[2].body.as_slice()), (2, b"!".as_slice()));
    }
    let refused = EmbeddedStore::open(&path).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "the record store {} has format 2, this version of Berth reads up to 1; start the version of Berth that \
             wrote it, or a later one",
            path.display()
        )
    );
}

#[test]
fn a_failed_upgrade_leaves_the_store_as_it_was() {
    fn fails(txn: &WriteTransaction) -> Result<(), redb::Error> {
        mark_bodies(txn)?;
        Err(redb::Error::Corrupted("made up".to_owned()))
    }
    let folder = tempfile::tempdir().unwrap();
    let path = v1_file(folder.path());
    EmbeddedStore::open_with(&path, &[fails]).unwrap_err();
    let (_, records) = EmbeddedStore::open(&path).unwrap().load().unwrap();
    assert_eq!(records[2].body, b"");
}

#[test]
fn a_database_of_somebody_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let database = Database::create(&path).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(TableDefinition::<u64, u64>::new("theirs")).unwrap();
    txn.commit().unwrap();
    drop(database);
    assert!(matches!(EmbeddedStore::open(&path), Err(StoreFault::Foreign { .. })));
}

#[test]
fn a_second_opener_is_told_who_is_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let _held = EmbeddedStore::open(&path).unwrap();
    let refused = EmbeddedStore::open(&path).unwrap_err();
    assert!(matches!(refused, StoreFault::InUse { .. }), "{refused}");
}

#[test]
fn only_the_owner_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(&folder.path().join("state.redb")).unwrap();
    let mode = std::fs::metadata(store.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
