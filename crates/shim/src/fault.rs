// SPDX-License-Identifier: Apache-2.0
//! Faults, and the codes by which containerd receives them.

use std::io;
use std::path::Path;

use containerd_shim_protos::ttrpc::error::get_rpc_status;
use containerd_shim_protos::ttrpc::{self, Code};

/// A failure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The object does not exist.
    #[error("{0}")]
    Absent(String),
    /// The object exists already.
    #[error("{0}")]
    Taken(String),
    /// The object's state does not permit the request.
    #[error("{0}")]
    State(String),
    /// The request itself cannot be met.
    #[error("{0}")]
    Invalid(String),
    /// The request is not supported.
    #[error("{0}")]
    Unsupported(String),
    /// The runtime refused: the call, and its message.
    #[error("OCI runtime {call} failed: {said}")]
    Runtime { call: &'static str, said: String },
    /// The system refused.
    #[error("{doing}: {cause}")]
    System {
        doing: String,
        #[source]
        cause: io::Error,
    },
}

impl Fault {
    /// For `map_err`: the step that failed.
    pub fn system<C: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(C) -> Self {
        let doing = doing.into();
        move |cause| Self::System { doing, cause: cause.into() }
    }

    /// For `map_err`: the step that failed, and on which file.
    pub fn file<C: Into<io::Error>>(doing: &str, file: &Path) -> impl FnOnce(C) -> Self {
        Self::system(format!("{doing} {}", file.display()))
    }
}

impl From<Fault> for ttrpc::Error {
    fn from(fault: Fault) -> Self {
        let code = match &fault {
            Fault::Absent(_) => Code::NOT_FOUND,
            Fault::Taken(_) => Code::ALREADY_EXISTS,
            Fault::State(_) => Code::FAILED_PRECONDITION,
            Fault::Invalid(_) => Code::INVALID_ARGUMENT,
            Fault::Unsupported(_) => Code::UNIMPLEMENTED,
            Fault::Runtime { .. } | Fault::System { .. } => Code::UNKNOWN,
        };
        get_rpc_status(code, fault)
    }
}
