// SPDX-License-Identifier: Apache-2.0
//! Requirements on every back end. `open` opens the same store again each time it is called.

use berth_store::{Op, Store, StoreFault, StoredRecord};

/// Runs every check, each on a fresh store.
pub fn run<S: Store>(mut fresh: impl FnMut() -> Box<dyn FnMut() -> S>) {
    an_empty_store_is_at_revision_zero(&mut fresh());
    records_outlive_the_store(&mut fresh());
    steps_of_a_batch_apply_in_order(&mut fresh());
    a_batch_for_another_revision_changes_nothing(&mut fresh());
    records_come_back_ordered_and_byte_for_byte(&mut fresh());
    an_empty_batch_counts(&mut fresh());
}

fn put(kind: &str, key: &str, body: &[u8]) -> Op {
    Op::Put(record(kind, key, body))
}

fn record(kind: &str, key: &str, body: &[u8]) -> StoredRecord {
    StoredRecord { kind: kind.to_owned(), key: key.to_owned(), version: 1, body: body.to_vec() }
}

fn delete(kind: &str, key: &str) -> Op {
    Op::Delete { kind: kind.to_owned(), key: key.to_owned() }
}

fn an_empty_store_is_at_revision_zero<S: Store>(open: &mut dyn FnMut() -> S) {
    assert_eq!(open().load().unwrap(), (0, vec![]));
}

fn records_outlive_the_store<S: Store>(open: &mut dyn FnMut() -> S) {
    assert_eq!(open().commit(&[put("a", "1", b"x")], 0).unwrap(), 1);
    assert_eq!(open().commit(&[put("a", "2", b"y"), delete("a", "1")], 1).unwrap(), 2);
    assert_eq!(open().load().unwrap(), (2, vec![record("a", "2", b"y")]));
}

fn steps_of_a_batch_apply_in_order<S: Store>(open: &mut dyn FnMut() -> S) {
    let mut store = open();
    let batch = [put("a", "1", b"first"), delete("a", "1"), put("a", "2", b"old"), put("a", "2", b"new")];
    store.commit(&batch, 0).unwrap();
    assert_eq!(store.load().unwrap(), (1, vec![record("a", "2", b"new")]));
}

fn a_batch_for_another_revision_changes_nothing<S: Store>(open: &mut dyn FnMut() -> S) {
    let mut store = open();
    store.commit(&[put("a", "1", b"x")], 0).unwrap();
    let moved = store.commit(&[delete("a", "1"), put("a", "2", b"y")], 0).unwrap_err();
    assert!(matches!(moved, StoreFault::Moved { expected: 0, found: 1 }), "{moved}");
    assert_eq!(store.load().unwrap(), (1, vec![record("a", "1", b"x")]));
    assert_eq!(store.commit(&[], 1).unwrap(), 2, "the store goes on after a refusal");
}

fn records_come_back_ordered_and_byte_for_byte<S: Store>(open: &mut dyn FnMut() -> S) {
    let every_byte: Vec<u8> = (0..=255).collect();
    let large = vec![7; 3 << 20];
    open().commit(&[put("b", "", &every_byte), put("a", "z/ü", &large), put("a", "", b"")], 0).unwrap();
    let (_, records) = open().load().unwrap();
    assert_eq!(records, vec![record("a", "", b""), record("a", "z/ü", &large), record("b", "", &every_byte)]);
}

fn an_empty_batch_counts<S: Store>(open: &mut dyn FnMut() -> S) {
    assert_eq!(open().commit(&[], 0).unwrap(), 1);
    assert_eq!(open().load().unwrap(), (1, vec![]));
}
