// SPDX-License-Identifier: Apache-2.0
//! The answer to a request that must not be performed.

use std::fmt;

use crate::ErrorCode;

/// A request that must not be performed. Code and message are those of AWS; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub code: ErrorCode,
    /// The words.
    pub message: String,
    /// ARNs that the answer lists in a separate member (ConflictException); only the JSON protocol has one.
    pub resource_ids: Vec<String>,
}

impl Refusal {
    /// A refusal with this code and message.
    pub fn new(code: impl Into<ErrorCode>, message: impl Into<String>) -> Refusal {
        Refusal { code: code.into(), message: message.into(), resource_ids: Vec::new() }
    }

    /// The refusal with the ARNs of the resources that are in the way.
    pub fn because_of(self, resource_ids: Vec<String>) -> Refusal {
        Refusal { resource_ids, ..self }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Refusal {}
