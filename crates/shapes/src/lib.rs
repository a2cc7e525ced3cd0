// SPDX-License-Identifier: Apache-2.0
//! AWS shapes: the inputs, outputs, error codes and operations of the AWS services that Berth implements.
//!
//! `services` and the tables of services, error codes and operations are generated from the public service models by `cargo xtask gen`; everything
//! else is written by hand. Each generated struct is declared by the macro `structure!`: plain data plus a member
//! visitor ([`Structure`]), so that one reader and one writer per protocol (in `berth-wire`) serve every operation
//! without a serde derive.
//! Not here: bytes, HTTP, signatures (`berth-wire`), and the meaning of operations (the crates of the rules).
#![deny(clippy::disallowed_methods)]

pub mod common_errors;
pub mod ec2_errors;
mod error;
mod error_code;
mod facts;
mod operation;
#[allow(missing_docs)]
mod operation_id;
#[allow(missing_docs)]
mod operations;
mod refusal;
#[allow(missing_docs)]
mod service_table;
#[allow(missing_docs, clippy::too_many_lines)]
mod services;
mod structure;
mod visit;

pub use common_errors::CommonErrorCode;
pub use ec2_errors::Ec2ErrorCode;
pub use error::Fault;
pub use error_code::ErrorCode;
pub use facts::{Protocol, ServiceFacts};
pub use operation::{Group, Input, NoOutput, Operation};
pub use operation_id::OperationId;
pub use operations::{GROUPS, OPERATIONS};
pub use refusal::Refusal;
pub use service_table::Service;
pub use services::*;
pub use visit::{Kind, List, Map, Member, Shape, Slot, Structure, Timestamp, Value, View};
