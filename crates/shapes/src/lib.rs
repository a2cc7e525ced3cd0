//! AWS shapes: the inputs, outputs, error codes and operations of the AWS services this program answers for.
//!
//! `ecs`, `ec2`, `sts` and `operations` are generated from the public service models by `cargo xtask gen`; everything
//! else is written by hand. Each generated struct is plain data plus a member visitor ([`Structure`]), so that one
//! reader and one writer per protocol (in `berth-wire`) serve every operation without a serde derive.
//! Not here: bytes, HTTP, signatures (`berth-wire`), and what the operations mean (`berth-domain`).

pub mod common_errors;
#[allow(missing_docs)]
pub mod ec2;
pub mod ec2_errors;
#[allow(missing_docs)]
pub mod ecs;
mod error;
mod operation;
#[allow(missing_docs)]
mod operations;
#[allow(missing_docs)]
pub mod sts;
mod visit;

pub use common_errors::CommonErrorCode;
pub use ec2_errors::Ec2ErrorCode;
pub use error::{ErrorCode, Fault, Refusal};
pub use operation::{Input, NoOutput, Operation, Protocol, Service};
pub use operations::{OPERATIONS, OperationId};
pub use visit::{Kind, List, Map, Member, Shape, Slot, Structure, Timestamp, Value, View};
