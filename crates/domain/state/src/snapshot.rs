// SPDX-License-Identifier: Apache-2.0
//! The snapshot: all records of a region at one revision, and the two writes that change it.
//!
//! A snapshot is one region's view: the records of the global services and those of the region's own. A rule sees no
//! other region, and must not assume that there is only one. A clone costs one reference count per service; a write
//! copies the roots of one service's maps and the paths to the records it changes.

use std::sync::Arc;

use crate::records::Undecodable;

/// One step of a change.
#[derive(Clone, Debug)]
pub enum Write {
    /// Store this record; an existing one is replaced.
    Put(Record),
    /// Remove the record with this key.
    Delete(RecordKey),
}

macro_rules! services {
    (global { $($(#[$global_doc:meta])* $Global:ident => $global:ident,)* }
     regional { $($(#[$regional_doc:meta])* $Regional:ident => $regional:ident,)* }) => {
        /// The records of the global services.
        #[derive(Clone, Debug, Default)]
        pub struct Global {
            $($global: Arc<crate::$global::Records>,)*
        }

        /// The records of the regional services.
        #[derive(Clone, Debug, Default)]
        pub struct Regional {
            $($regional: Arc<crate::$regional::Records>,)*
        }

        impl Snapshot {
            $($(#[$global_doc])* pub fn $global(&self) -> &crate::$global::Records {
                &self.global.$global
            })*
            $($(#[$regional_doc])* pub fn $regional(&self) -> &crate::$regional::Records {
                &self.regional.$regional
            })*
        }

        services!(@both $($(#[$global_doc])* $Global => $global in global,)* $($(#[$regional_doc])* $Regional => $regional in regional,)*);
    };
    (@both $($(#[$doc:meta])* $Service:ident => $service:ident in $scope:ident,)*) => {
        /// Any record.
        #[derive(Clone, Debug)]
        pub enum Record {
            $($(#[$doc])* $Service(crate::$service::Record),)*
        }

        /// The key of any record.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum RecordKey {
            $($(#[$doc])* $Service(crate::$service::RecordKey),)*
        }

        $(impl From<crate::$service::Record> for Record {
            fn from(record: crate::$service::Record) -> Self {
                Self::$Service(record)
            }
        }

        impl From<crate::$service::RecordKey> for RecordKey {
            fn from(key: crate::$service::RecordKey) -> Self {
                Self::$Service(key)
            }
        })*

        impl Record {
            /// Name of the kind in the store.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$Service(record) => record.kind(),)* }
            }

            /// Version of the kind's layout that this program writes.
            pub fn version(&self) -> u32 {
                match self { $(Self::$Service(record) => record.version(),)* }
            }

            /// The key under which it is stored.
            pub fn key(&self) -> RecordKey {
                match self { $(Self::$Service(record) => RecordKey::$Service(record.key()),)* }
            }

            /// The body for the store.
            pub fn encode(&self) -> serde_json::Result<Vec<u8>> {
                match self { $(Self::$Service(record) => record.encode(),)* }
            }

            /// Reads a record back, lifting older versions.
            ///
            /// # Errors
            /// The kind or its version is not known, or the body does not parse.
            pub fn decode(kind: &str, key: &str, version: u32, body: &[u8]) -> Result<Self, Undecodable> {
                $(if let Some(record) = crate::$service::Record::decode(kind, key, version, body) {
                    return record.map(Self::$Service);
                })*
                Err(Undecodable::UnknownKind(kind.to_owned()))
            }
        }

        impl RecordKey {
            /// Name of the kind in the store.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$Service(key) => key.kind(),)* }
            }

            /// The key as text, unique inside its kind.
            pub fn text(&self) -> String {
                match self { $(Self::$Service(key) => key.text(),)* }
            }
        }

        impl Snapshot {
            /// Applies one write to this copy.
            pub fn apply(&mut self, write: &Write) {
                match write {
                    $(Write::Put(Record::$Service(record)) => Arc::make_mut(&mut self.$scope.$service).put(record),)*
                    $(Write::Delete(RecordKey::$Service(key)) => Arc::make_mut(&mut self.$scope.$service).delete(key),)*
                }
            }

            /// True if there is a record with this key.
            pub fn contains(&self, key: &RecordKey) -> bool {
                match key { $(RecordKey::$Service(key) => self.$scope.$service.contains(key),)* }
            }

            /// Every record, service by service and kind by kind.
            pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
                std::iter::empty()$(.chain(self.$scope.$service.records().map(Record::$Service)))*
            }
        }
    };
}

/// All records at one revision.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Number of the last commit; 0 for an empty snapshot.
    pub revision: u64,
    global: Global,
    regional: Regional,
}

// A new service: its module in `lib.rs`, and one row here.
services! {
    global {
        /// IAM and STS.
        Iam => iam,
    }
    regional {
        /// Amazon ECS.
        Ecs => ecs,
        /// EC2 networking.
        Vpc => vpc,
    }
}
