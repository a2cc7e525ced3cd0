// SPDX-License-Identifier: Apache-2.0
//! Kernel suite: a full disk affects only the writes of that time, and the same process continues afterwards. Needs
//! root.
#![allow(clippy::unwrap_used)]

mod disk;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use berth_store::{DatabaseFile, EmbeddedStore, Op, Store, StoreFault, StoredRecord};
use disk::SmallDisk;
use redb::{ReadableTable as _, TableDefinition};

const BODY_BYTES: usize = 256 << 10;
/// A table like one of the node's journal.
const TASKS: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("tasks");

/// A store, and the changes it has acknowledged.
struct Acknowledged {
    store: EmbeddedStore,
    revision: u64,
    records: BTreeMap<String, Vec<u8>>,
}

impl Acknowledged {
    fn open(path: &Path) -> Self {
        let store = EmbeddedStore::open(path).unwrap();
        Self { store, revision: 0, records: BTreeMap::new() }
    }

    fn put(&mut self, key: &str) -> Result<(), StoreFault> {
        let body = vec![u8::try_from(self.revision % 251).unwrap(); BODY_BYTES];
        let record = StoredRecord { kind: "task".to_owned(), key: key.to_owned(), version: 1, body: body.clone() };
        self.revision = self.store.commit(&[Op::Put(record)], self.revision)?;
        self.records.insert(key.to_owned(), body);
        Ok(())
    }

    fn delete(&mut self, key: &str) -> Result<(), StoreFault> {
        let op = Op::Delete { kind: "task".to_owned(), key: key.to_owned() };
        self.revision = self.store.commit(&[op], self.revision)?;
        self.records.remove(key);
        Ok(())
    }

    #[track_caller]
    fn is_all_there(&self) {
        let (revision, records) = self.store.load().unwrap();
        assert_eq!(revision, self.revision);
        assert!(records.into_iter().map(|record| (record.key, record.body)).eq(self.records.clone()));
    }
}

#[test]
fn a_full_disk_costs_the_writes_of_that_time_and_loses_nothing_acknowledged() {
    let disk = SmallDisk::new(24);
    let path = disk.path().join("state.redb");
    let mut held = Acknowledged::open(&path);
    held.put("first").unwrap();
    held.put("second").unwrap();
    assert!(!held.store.is_full());
    disk.fill();

    // The reserve is used before the first write fails.
    let mut written = 0;
    let refused = loop {
        match held.put(&format!("more {written}")) {
            Ok(()) => written += 1,
            Err(fault) => break fault,
        }
        assert!(written < 1000, "the disk is not full");
    };
    assert!(written > 0, "{refused:?}");
    assert!(matches!(refused, StoreFault::Write { .. }), "{refused:?}");
    assert!(held.store.is_full());
    held.is_all_there();
    // Space freed inside the file is used again.
    held.delete("first").unwrap();
    held.is_all_there();

    disk.free();
    held.put("after").unwrap();
    assert!(!held.store.is_full());
    held.is_all_there();
    let Acknowledged { store, revision, records } = held;
    drop(store);
    Acknowledged { store: EmbeddedStore::open(&path).unwrap(), revision, records }.is_all_there();
}

#[test]
fn a_store_opens_on_a_full_disk() {
    let disk = SmallDisk::new(24);
    let path = disk.path().join("state.redb");
    let mut held = Acknowledged::open(&path);
    held.put("first").unwrap();
    let Acknowledged { store, revision, records } = held;
    drop(store);
    disk.fill();
    let mut held = Acknowledged { store: EmbeddedStore::open(&path).unwrap(), revision, records };
    held.is_all_there();
    held.delete("first").unwrap();
    held.is_all_there();
}

fn put(file: &DatabaseFile, key: &str) -> Result<(), redb::Error> {
    let body = vec![7; BODY_BYTES];
    file.write(|edit| {
        edit.open_table(TASKS)?.insert(key, body.as_slice())?;
        Ok(ControlFlow::Continue(()))
    })
}

/// Many tasks write to the node's journal at a time: one opens the file again, the others continue.
#[test]
fn writers_beside_each_other_go_on_after_a_full_disk() {
    let disk = SmallDisk::new(24);
    let file = DatabaseFile::open(&disk.path().join("journal.redb"), 1 << 20).unwrap();
    put(&file, "first").unwrap();
    disk.fill();
    let until_full = |writer: usize, file: &DatabaseFile| {
        let keys = (0..1000).map(|number| format!("{writer} {number}"));
        keys.take_while(|key| put(file, key).is_ok()).collect::<Vec<_>>()
    };
    let mut acknowledged: Vec<String> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                scope.spawn({
                    let file = &file;
                    move || until_full(writer, file)
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    assert!(file.is_full() && acknowledged.len() < 4 * 1000);

    disk.free();
    for writer in 0..4 {
        let key = format!("{writer} after");
        put(&file, &key).unwrap();
        acknowledged.push(key);
    }
    assert!(!file.is_full());
    let there = file.read(|read| {
        let table = read.open_table(TASKS)?;
        let keys = table.iter()?.map(|row| row.map(|(key, _)| key.value().to_owned()));
        keys.collect::<Result<Vec<_>, _>>().map_err(redb::Error::from)
    });
    let there = there.unwrap();
    for key in &acknowledged {
        assert!(there.contains(key), "{key} is lost");
    }
}
