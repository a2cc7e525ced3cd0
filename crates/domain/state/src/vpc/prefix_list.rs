// SPDX-License-Identifier: Apache-2.0
//! Record of a managed prefix list: ranges under one name, for routes and for rules of security groups.

use std::collections::BTreeMap;

use berth_types::{Ipv4Cidr, PrefixListId};
use serde::{Deserialize, Serialize};

use super::index::Index;
use super::routing::AclRange;
use crate::records::Stored;
use crate::{ClientToken, Tags};

/// A managed prefix list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrefixList {
    /// Id.
    pub id: PrefixListId,
    /// Its name, which need not be unique.
    pub name: String,
    /// Family of its ranges.
    pub family: AddressFamily,
    /// Number of ranges that it can hold; it counts as so many rules and routes wherever it is named.
    pub max_entries: u32,
    /// What happened to it last.
    pub state: PrefixListState,
    /// The present version.
    pub version: u64,
    /// The entries of each version.
    pub versions: BTreeMap<u64, Vec<PrefixListEntry>>,
    /// Token of CreateManagedPrefixList, for idempotency, with a digest of the request.
    pub client_token: Option<ClientToken>,
    /// Tags.
    pub tags: Tags,
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressFamily {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// The last change of a prefix list, which is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrefixListState {
    /// It was created.
    Created,
    /// Its entries, size or name changed.
    Modified,
    /// An earlier version was restored.
    Restored,
}

/// A range of a prefix list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixListEntry {
    /// The range, of the list's family.
    pub range: AclRange,
    /// Text given by the user.
    pub description: Option<String>,
}

impl PrefixList {
    /// The entries of the present version.
    pub fn entries(&self) -> &[PrefixListEntry] {
        self.versions.get(&self.version).map_or(&[], Vec::as_slice)
    }

    /// The IPv4 ranges of the present version.
    pub fn ipv4(&self) -> impl Iterator<Item = Ipv4Cidr> + '_ {
        self.entries().iter().filter_map(|entry| match entry.range {
            AclRange::Ipv4(cidr) => Some(cidr),
            AclRange::Ipv6(_) => None,
        })
    }
}

impl Stored for PrefixList {
    type Key = PrefixListId;
    type Index = Index;
    fn key(&self) -> PrefixListId {
        self.id.clone()
    }
}
