// SPDX-License-Identifier: Apache-2.0
//! The format of the embedded store's file, and the upgrade of older files.
//!
//! A format defines the names of the tables and the layout of their keys and values, not the layout of record bodies,
//! which have their own version. A file of an older format is upgraded step by step in one transaction when it is
//! opened; a file of a newer format is refused, because an older program would lose data it does not know.

use redb::{ReadableTable, TableDefinition, WriteTransaction};

/// The format this program writes.
pub const FORMAT: u64 = 1;

/// Numbers about the file itself, by name.
pub(crate) const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");
/// Records by kind and key; the value is the body's layout version (4 bytes, little-endian), then the body.
pub(crate) const RECORDS: TableDefinition<'static, (&'static str, &'static str), &'static [u8]> =
    TableDefinition::new("records");

pub(crate) const META_FORMAT: &str = "format";
pub(crate) const META_REVISION: &str = "revision";

/// Converts the tables of one format into those of the next.
pub(crate) type Upgrade = fn(&WriteTransaction) -> Result<(), redb::Error>;

/// Step `n` (from 0) converts format `n + 1` to `n + 2`.
pub(crate) const UPGRADES: &[Upgrade] = &[];

const _: () = assert!(UPGRADES.len() as u64 + 1 == FORMAT);

/// Result of opening a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It has the present format now.
    Ready,
    /// Written by a later version.
    Newer(u64),
    /// Not a record store.
    Foreign,
}

/// Upgrades the file to the format after the last of `upgrades`; writes nothing when that is impossible.
pub(crate) fn prepare(txn: &WriteTransaction, upgrades: &[Upgrade]) -> Result<Found, redb::Error> {
    let target = upgrades.len() as u64 + 1;
    let is_empty = txn.list_tables()?.next().is_none();
    let found = {
        let meta = txn.open_table(META)?;
        meta.get(META_FORMAT)?.map(|format| format.value())
    };
    match found {
        None if is_empty => {}
        None | Some(0) => return Ok(Found::Foreign),
        Some(format) if format > target => return Ok(Found::Newer(format)),
        Some(format) => {
            for upgrade in upgrades.iter().skip(usize::try_from(format - 1).unwrap_or(usize::MAX)) {
                upgrade(txn)?;
            }
        }
    }
    txn.open_table(RECORDS)?;
    let mut meta = txn.open_table(META)?;
    meta.insert(META_FORMAT, target)?;
    if is_empty {
        meta.insert(META_REVISION, 0)?;
    }
    Ok(Found::Ready)
}
