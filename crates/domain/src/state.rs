//! The records and the snapshot that holds them.
//!
//! A snapshot is a set of persistent maps: cloning shares everything, a write copies only the path to what it changes.
//! Records are kept behind `Arc`. Each kind has a name and a version for the store; a record of an older version is
//! lifted when it is read. Indexes (`index.rs`) are derived from the records and are never stored.

use std::sync::Arc;

use berth_types::{
    EniId, GroupSetId, HostId, InternetGatewayId, NetworkAclId, RouteTableId, SecurityGroupId, SubnetId, TaskId, VpcId,
};
use imbl::OrdMap;

use crate::ecs::record::{
    AccountSetting, AccountSettingKey, Cluster, ClusterName, FamilyName, Host, Task, TaskDefinition,
    TaskDefinitionFamily, TaskDefinitionKey,
};
use crate::index::{Index, Single, Stored};
use crate::sts::record::{AccessKey, AccessKeyId};
use crate::vpc::record::{
    DefaultNetwork, Eni, GroupSet, InternetGateway, NetworkAcl, RouteTable, SecurityGroup, Subnet, Vpc,
};

/// A stored record cannot be read by this program.
#[derive(Debug, thiserror::Error)]
pub enum Undecodable {
    /// The kind is not known.
    #[error(
        "record kind {0:?} is not known to this version of Berth; use the version that wrote the data folder or a later one"
    )]
    UnknownKind(String),
    /// The version is not known.
    #[error("record {kind}/{key} has version {found}, this version of Berth reads up to {known}; use a later version")]
    UnknownVersion {
        /// Kind of the record.
        kind: &'static str,
        /// Its key.
        key: String,
        /// Version it has.
        found: u32,
        /// Latest version known here.
        known: u32,
    },
    /// The body does not parse.
    #[error("record {kind}/{key} cannot be read")]
    Body {
        /// Kind of the record.
        kind: &'static str,
        /// Its key.
        key: String,
        /// Where and why.
        #[source]
        cause: serde_json::Error,
    },
}

macro_rules! records {
    ($($(#[$doc:meta])* $map:ident: $key:ty => $Kind:ident = $name:literal v $version:literal;)*) => {
        /// All that is known at one revision.
        #[derive(Clone, Debug, Default)]
        pub struct Snapshot {
            /// Number of the commit that led here; 0 is empty.
            pub revision: u64,
            $($(#[$doc])* pub $map: OrdMap<$key, Arc<$Kind>>,)*
            index: Index,
        }

        /// Any record.
        #[derive(Clone, Debug)]
        pub enum Record {
            $($(#[$doc])* $Kind(Arc<$Kind>),)*
        }

        /// The key of any record.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum RecordKey {
            $($(#[$doc])* $Kind($key),)*
        }

        $(impl From<$Kind> for Record {
            fn from(record: $Kind) -> Self {
                Self::$Kind(Arc::new(record))
            }
        })*

        impl Record {
            /// Name of the kind in the store.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$Kind(_) => $name,)* }
            }

            /// Version of the kind's layout that this program writes.
            pub fn version(&self) -> u32 {
                match self { $(Self::$Kind(_) => $version,)* }
            }

            /// The key under which it is stored.
            pub fn key(&self) -> RecordKey {
                match self { $(Self::$Kind(record) => RecordKey::$Kind(record.key()),)* }
            }

            /// The body for the store.
            pub fn encode(&self) -> serde_json::Result<Vec<u8>> {
                match self { $(Self::$Kind(record) => serde_json::to_vec(record.as_ref()),)* }
            }

            /// Reads a record back, lifting older versions.
            pub fn decode(kind: &str, key: &str, version: u32, body: &[u8]) -> Result<Self, Undecodable> {
                match kind {
                    $($name => {
                        if version == 0 || version > $version {
                            return Err(Undecodable::UnknownVersion { kind: $name, key: key.to_owned(), found: version, known: $version });
                        }
                        let body = crate::state::lift($name, version, body)
                            .map_err(|cause| Undecodable::Body { kind: $name, key: key.to_owned(), cause })?;
                        serde_json::from_value::<$Kind>(body)
                            .map(|record| Self::$Kind(Arc::new(record)))
                            .map_err(|cause| Undecodable::Body { kind: $name, key: key.to_owned(), cause })
                    })*
                    other => Err(Undecodable::UnknownKind(other.to_owned())),
                }
            }
        }

        impl RecordKey {
            /// Name of the kind in the store.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$Kind(_) => $name,)* }
            }

            /// The key as text, unique inside its kind.
            pub fn text(&self) -> String {
                match self { $(Self::$Kind(key) => key.to_string(),)* }
            }
        }

        impl Snapshot {
            /// Applies one write to this copy.
            pub fn apply(&mut self, write: &Write) {
                match write {
                    $(Write::Put(Record::$Kind(record)) => {
                        match self.$map.insert(record.key(), record.clone()) {
                            Some(old) => record.reindex(&old, &mut self.index),
                            None => record.index(&mut self.index),
                        }
                    })*
                    $(Write::Delete(RecordKey::$Kind(key)) => {
                        if let Some(old) = self.$map.remove(key) { old.unindex(&mut self.index); }
                    })*
                }
            }

            /// Every record, kind by kind.
            pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
                std::iter::empty()$(.chain(self.$map.values().map(|record| Record::$Kind(record.clone()))))*
            }
        }
    };
}

/// One step of a change.
#[derive(Clone, Debug)]
pub enum Write {
    /// Store this record, whether it existed or not.
    Put(Record),
    /// Remove the record with this key.
    Delete(RecordKey),
}

impl Snapshot {
    /// The derived look-ups.
    pub fn index(&self) -> &Index {
        &self.index
    }
}

/// Lifts the body of an older version to the present one. A kind that changes its layout gets an arm here.
fn lift(_kind: &'static str, _version: u32, body: &[u8]) -> serde_json::Result<serde_json::Value> {
    serde_json::from_slice(body)
}

records! {
    /// VPCs.
    vpcs: VpcId => Vpc = "vpc" v 1;
    /// Subnets.
    subnets: SubnetId => Subnet = "subnet" v 1;
    /// Security groups with their rules.
    security_groups: SecurityGroupId => SecurityGroup = "security-group" v 1;
    /// Distinct sets of groups in use.
    group_sets: GroupSetId => GroupSet = "group-set" v 1;
    /// Network interfaces.
    enis: EniId => Eni = "eni" v 1;
    /// Internet gateways.
    internet_gateways: InternetGatewayId => InternetGateway = "internet-gateway" v 1;
    /// Network ACLs.
    network_acls: NetworkAclId => NetworkAcl = "network-acl" v 1;
    /// Route tables.
    route_tables: RouteTableId => RouteTable = "route-table" v 1;
    /// What the first start made, so that it is made once.
    default_network: Single => DefaultNetwork = "default-network" v 1;
    /// ECS account settings.
    account_settings: AccountSettingKey => AccountSetting = "account-setting" v 1;
    /// ECS clusters.
    clusters: ClusterName => Cluster = "cluster" v 1;
    /// Highest revision ever used by a family.
    families: FamilyName => TaskDefinitionFamily = "task-definition-family" v 1;
    /// Task definitions.
    task_definitions: TaskDefinitionKey => TaskDefinition = "task-definition" v 1;
    /// Tasks.
    tasks: TaskId => Task = "task" v 1;
    /// Hosts, each a container instance of at most one cluster.
    hosts: HostId => Host = "host" v 1;
    /// Access keys and whose they are.
    access_keys: AccessKeyId => AccessKey = "access-key" v 1;
}
