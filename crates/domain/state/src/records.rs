// SPDX-License-Identifier: Apache-2.0
//! Declaration of a service's records: `records!` makes the maps, the enums over all kinds, and their stored form.
//!
//! A service's maps are persistent: a clone shares everything, a write copies only the path to the record it changes.
//! Each kind has a name and a version for the store; a record of an older version is lifted when it is read. The
//! service's index is derived from its records and is never stored.

use std::fmt;

/// Key of a record that exists once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Single;

impl fmt::Display for Single {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("single")
    }
}

/// The index of a service whose records are looked up by their keys alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoIndex;

/// Properties of a stored kind besides its serde form.
pub trait Stored {
    /// Type of its key.
    type Key;
    /// The index of its service.
    type Index;
    /// The key under which it is stored.
    fn key(&self) -> Self::Key;
    /// Adds the entries under which other records look it up.
    fn index(&self, _index: &mut Self::Index) {}
    /// Removes the entries that `index` added.
    fn unindex(&self, _index: &mut Self::Index) {}
    /// Replaces the entries of `old` by those of this record.
    fn reindex(&self, old: &Self, index: &mut Self::Index) {
        old.unindex(index);
        self.index(index);
    }
}

/// A record of a kind that a service declared, alone or shared.
pub trait Kind {
    /// Any record of the service.
    type Record;
    /// The record among those of its service.
    fn record(self) -> Self::Record;
}

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
        /// Position and cause.
        #[source]
        cause: serde_json::Error,
    },
}

/// Reads the body of a kind whose layout never changed.
pub(crate) fn as_stored(_kind: &'static str, _version: u32, body: &[u8]) -> serde_json::Result<serde_json::Value> {
    serde_json::from_slice(body)
}

/// Declares the records of one service in the module of the service:
///
/// ```ignore
/// records! { indexed by Index, lifted by as_stored;
///     /// Subnets.
///     subnets: SubnetId => Subnet = "subnet" v 1;
/// }
/// ```
///
/// `lifted by` names a function that reads the body of
/// any version and answers it in the present layout; each kind implements [`Stored`] with the service's index.
macro_rules! records {
    (indexed by $Index:ty, lifted by $lift:path;
     $($(#[$doc:meta])* $map:ident: $key:ty => $Kind:ident = $name:literal v $version:literal;)*) => {
        /// The records of the service at one revision.
        #[derive(Clone, Debug, Default)]
        pub struct Records {
            $($(#[$doc])* pub $map: imbl::OrdMap<$key, std::sync::Arc<$Kind>>,)*
            index: $Index,
        }

        /// Any record of the service.
        #[derive(Clone, Debug)]
        pub enum Record {
            $($(#[$doc])* $Kind(std::sync::Arc<$Kind>),)*
        }

        /// The key of any record of the service.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum RecordKey {
            $($(#[$doc])* $Kind($key),)*
        }

        $(impl $crate::records::Kind for $Kind {
            type Record = Record;
            fn record(self) -> Record {
                Record::$Kind(std::sync::Arc::new(self))
            }
        }

        impl $crate::records::Kind for std::sync::Arc<$Kind> {
            type Record = Record;
            fn record(self) -> Record {
                Record::$Kind(self)
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
                match self { $(Self::$Kind(record) => RecordKey::$Kind($crate::records::Stored::key(record.as_ref())),)* }
            }

            /// The body for the store.
            pub fn encode(&self) -> serde_json::Result<Vec<u8>> {
                match self { $(Self::$Kind(record) => serde_json::to_vec(record.as_ref()),)* }
            }

            /// Reads a record back, lifting older versions; `None` for a kind of another service.
            pub(crate) fn decode(
                kind: &str,
                key: &str,
                version: u32,
                body: &[u8],
            ) -> Option<Result<Self, $crate::records::Undecodable>> {
                match kind {
                    $($name => {
                        if version == 0 || version > $version {
                            let key = key.to_owned();
                            let fault = $crate::records::Undecodable::UnknownVersion { kind: $name, key, found: version, known: $version };
                            return Some(Err(fault));
                        }
                        let record = $lift($name, version, body).and_then(serde_json::from_value::<$Kind>);
                        let record = record.map(|record| Self::$Kind(std::sync::Arc::new(record)));
                        Some(record.map_err(|cause| $crate::records::Undecodable::Body { kind: $name, key: key.to_owned(), cause }))
                    })*
                    _ => None,
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

        impl Records {
            /// Look-ups of records by values other than their keys.
            pub fn index(&self) -> &$Index {
                &self.index
            }

            /// Stores a record.
            pub(crate) fn put(&mut self, record: &Record) {
                match record {
                    $(Record::$Kind(record) => {
                        match self.$map.insert($crate::records::Stored::key(record.as_ref()), record.clone()) {
                            Some(old) => $crate::records::Stored::reindex(record.as_ref(), &old, &mut self.index),
                            None => $crate::records::Stored::index(record.as_ref(), &mut self.index),
                        }
                    })*
                }
            }

            /// Removes a record, if it exists.
            pub(crate) fn delete(&mut self, key: &RecordKey) {
                match key {
                    $(RecordKey::$Kind(key) => {
                        if let Some(old) = self.$map.remove(key) {
                            $crate::records::Stored::unindex(old.as_ref(), &mut self.index);
                        }
                    })*
                }
            }

            /// True if there is a record with this key.
            pub fn contains(&self, key: &RecordKey) -> bool {
                match key { $(RecordKey::$Kind(key) => self.$map.contains_key(key),)* }
            }

            /// Every record, kind by kind.
            pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
                std::iter::empty()$(.chain(self.$map.values().map(|record| Record::$Kind(record.clone()))))*
            }
        }
    };
}

pub(crate) use records;
