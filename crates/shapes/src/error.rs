//! Error codes of all services as one type, and the refusal that carries one.

use std::fmt;

use crate::{CommonErrorCode, Ec2ErrorCode, ecs, sts};

/// Every error code an answer can carry. There is no way to answer with a code made of loose text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// A code of Amazon ECS.
    Ecs(ecs::ErrorCode),
    /// A code of Amazon EC2.
    Ec2(Ec2ErrorCode),
    /// A code of AWS STS.
    Sts(sts::ErrorCode),
    /// A code that services share: authentication, permission, malformed requests.
    Common(CommonErrorCode),
}

/// Who is at fault for an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The caller; trying the same again cannot help.
    Client,
    /// The server; trying again may help.
    Server,
}

impl Fault {
    /// The word in awsQuery errors.
    pub const fn query_type(self) -> &'static str {
        match self {
            Fault::Client => "Sender",
            Fault::Server => "Receiver",
        }
    }
}

impl ErrorCode {
    /// The code as AWS spells it.
    pub const fn code(self) -> &'static str {
        match self {
            ErrorCode::Ecs(code) => code.as_str(),
            ErrorCode::Ec2(code) => code.as_str(),
            ErrorCode::Sts(code) => code.as_str(),
            ErrorCode::Common(code) => code.as_str(),
        }
    }

    /// The HTTP status of the answer.
    pub const fn http_status(self) -> u16 {
        match self {
            ErrorCode::Ecs(code) => code.http_status(),
            ErrorCode::Ec2(code) => code.http_status(),
            ErrorCode::Sts(code) => code.http_status(),
            ErrorCode::Common(code) => code.http_status(),
        }
    }

    /// Who is at fault.
    pub const fn fault(self) -> Fault {
        if self.http_status() >= 500 { Fault::Server } else { Fault::Client }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl From<ecs::ErrorCode> for ErrorCode {
    fn from(code: ecs::ErrorCode) -> ErrorCode {
        ErrorCode::Ecs(code)
    }
}

impl From<Ec2ErrorCode> for ErrorCode {
    fn from(code: Ec2ErrorCode) -> ErrorCode {
        ErrorCode::Ec2(code)
    }
}

impl From<sts::ErrorCode> for ErrorCode {
    fn from(code: sts::ErrorCode) -> ErrorCode {
        ErrorCode::Sts(code)
    }
}

impl From<CommonErrorCode> for ErrorCode {
    fn from(code: CommonErrorCode) -> ErrorCode {
        ErrorCode::Common(code)
    }
}

/// The caller asked for something we must not do. Code and words are what AWS would say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub code: ErrorCode,
    /// The words.
    pub message: String,
    /// ARNs the answer names in a member of its own; the JSON protocol has one.
    pub resource_ids: Vec<String>,
}

impl Refusal {
    /// A refusal with this code and these words.
    pub fn new(code: impl Into<ErrorCode>, message: impl Into<String>) -> Refusal {
        Refusal { code: code.into(), message: message.into(), resource_ids: Vec::new() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Refusal {}
