// SPDX-License-Identifier: Apache-2.0
//! Stored record of a word.

use serde::{Deserialize, Serialize};

use crate::records::{NoIndex, Stored};

/// A word that a parrot knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// The word.
    pub text: String,
    /// ARN of the teacher.
    pub taught_by: String,
}

impl Stored for Word {
    type Key = String;
    type Index = NoIndex;
    fn key(&self) -> String {
        self.text.clone()
    }
}
