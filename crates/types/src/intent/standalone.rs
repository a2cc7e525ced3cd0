// SPDX-License-Identifier: Apache-2.0
//! Standalone interfaces: those that no task has, each in a network namespace of its own.
//!
//! The owner in the record of an interface and the plug in the intent of its host are the same [`Standalone`]. A new
//! kind of them is a variant of [`Holder`].

use serde::{Deserialize, Serialize};

/// An interface in a namespace of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standalone {
    /// Name of the namespace under `<run>/netns/`.
    pub namespace: String,
    /// User of the interface.
    pub holder: Holder,
}

/// User of an interface that no task has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// A command of `berth shell`.
    #[default]
    Shell,
}

impl Standalone {
    /// Start of the name of each such namespace, before a hyphen and twelve hexadecimal digits.
    pub const NAMESPACE_PREFIX: &str = "seat";

    /// An interface for this holder, in a namespace named after the highest 48 bits of `bits`.
    pub fn new(holder: Holder, bits: u128) -> Self {
        Self { namespace: format!("{}-{:012x}", Self::NAMESPACE_PREFIX, bits >> 80), holder }
    }

    /// An interface of `berth shell` in the namespace of this name.
    pub fn seat(namespace: String) -> Self {
        Self { namespace, holder: Holder::Shell }
    }

    /// The name of the namespace if `berth shell` is the holder, otherwise the interface itself. Version 0.1.0 has no
    /// other holder: it reads and writes the name alone, as `{"seat": NAME}`.
    pub fn into_seat(self) -> Result<String, Self> {
        if self.holder == Holder::Shell { Ok(self.namespace) } else { Err(self) }
    }
}
