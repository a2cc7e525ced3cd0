// SPDX-License-Identifier: Apache-2.0
//! Acknowledged batches survive `kill -9`, and no batch survives in part.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use berth_store::{EmbeddedStore, Op, Store, StoredRecord};

/// Tells the re-executed test which file to write; the parent sets it.
const CHILD_FILE: &str = "BERTH_STORE_KILL_TEST_FILE";
const ROUNDS: usize = 3;
const COMMITS_BEFORE_KILL: usize = 20;
/// Records of one batch, spread over the key space so that a batch touches many pages.
const RECORDS_PER_BATCH: u64 = 20;

#[test]
fn everything_acknowledged_is_there_after_a_kill() {
    if let Some(path) = std::env::var_os(CHILD_FILE) {
        commit_until_killed(&PathBuf::from(path));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    for round in 0..ROUNDS {
        let acknowledged = run_and_kill(&path);
        let (revision, records) = EmbeddedStore::open(&path).unwrap().load().unwrap();
        assert!(revision >= acknowledged, "round {round}: revision {revision} after acknowledging {acknowledged}");
        assert_eq!(records.len() as u64, RECORDS_PER_BATCH.min(revision * RECORDS_PER_BATCH));
        for record in &records {
            assert_eq!(record.body, body(revision), "round {round}: {} is of another batch", record.key);
        }
    }
}

fn run_and_kill(path: &Path) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "everything_acknowledged_is_there_after_a_kill", "--nocapture"])
        .env(CHILD_FILE, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = 0;
    let mut seen = 0;
    for line in lines.map_while(Result::ok) {
        let Some(number) = line.strip_prefix("acknowledged ") else { continue };
        acknowledged = number.parse().unwrap();
        seen += 1;
        if seen == COMMITS_BEFORE_KILL {
            child.kill().unwrap();
        }
    }
    let status = child.wait().unwrap();
    assert!(status.code().is_none(), "the child ended by itself: {status}");
    acknowledged
}

fn commit_until_killed(path: &Path) -> ! {
    let mut store = EmbeddedStore::open(path).unwrap();
    let (mut revision, _) = store.load().unwrap();
    loop {
        let batch: Vec<Op> = (0..RECORDS_PER_BATCH).map(|n| put(n, revision + 1)).collect();
        revision = store.commit(&batch, revision).unwrap();
        // One write call for the whole line, so that the parent never reads half of it.
        std::io::stdout().write_all(format!("acknowledged {revision}\n").as_bytes()).unwrap();
    }
}

fn put(number: u64, revision: u64) -> Op {
    let key = format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    Op::Put(StoredRecord { kind: "task".to_owned(), key, version: 1, body: body(revision) })
}

fn body(revision: u64) -> Vec<u8> {
    revision.to_le_bytes().repeat(200)
}
