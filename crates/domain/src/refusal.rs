//! The caller asked for something that must not be done: AWS's code with AWS's words.

use berth_shapes::ErrorCode;

/// Answered to the caller as it is. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", code.code())]
pub struct Refusal {
    /// AWS's error code.
    pub code: ErrorCode,
    /// AWS's words.
    pub message: String,
    /// ARNs the answer names in a member of its own (ConflictException).
    pub resource_ids: Vec<String>,
}

impl Refusal {
    /// A refusal with any code of the services.
    pub fn new(code: impl Into<ErrorCode>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), resource_ids: Vec::new() }
    }

    /// The refusal with ARNs of what is in the way.
    pub fn because_of(self, resource_ids: Vec<String>) -> Self {
        Self { resource_ids, ..self }
    }
}
