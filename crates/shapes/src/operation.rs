//! What an operation is: its service, name, permission and protocol. The rows are generated (`operations.rs`).

use crate::{OperationId, Shape, Slot, Structure, View};

/// An AWS service this program answers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Amazon ECS.
    Ecs,
    /// Amazon EC2 (the VPC part).
    Ec2,
    /// AWS STS.
    Sts,
}

impl Service {
    /// The name in credential scopes, ARNs and permissions.
    pub const fn name(self) -> &'static str {
        match self {
            Service::Ecs => "ecs",
            Service::Ec2 => "ec2",
            Service::Sts => "sts",
        }
    }

    /// The protocol of the service.
    pub const fn protocol(self) -> Protocol {
        match self {
            Service::Ecs => Protocol::AwsJson11,
            Service::Ec2 => Protocol::Ec2Query,
            Service::Sts => Protocol::AwsQuery,
        }
    }
}

/// How requests and answers look on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// JSON both ways, operation in the `X-Amz-Target` header.
    AwsJson11,
    /// Form-encoded request, XML answer with a result wrapper.
    AwsQuery,
    /// Form-encoded request with flattened lists, XML answer without a wrapper.
    Ec2Query,
}

/// One row of `operations.toml`, with what the service model says about it.
#[derive(Debug)]
pub struct Operation {
    /// The row's identity.
    pub id: OperationId,
    /// The service.
    pub service: Service,
    /// The name, such as `RunTask`.
    pub name: &'static str,
    /// The protocol.
    pub protocol: Protocol,
    /// The permission IAM decides on, such as `ecs:RunTask`.
    pub action: &'static str,
    /// Further permissions the operation checks.
    pub also: &'static [&'static str],
    /// The function of the domain crate that answers it.
    pub handler: &'static str,
    /// The first release that answers it.
    pub since: &'static str,
    /// The group of operations among which throttling counts; empty when it never does.
    pub rate: &'static str,
    /// Top-level members of the input that the service model requires, by model name.
    pub required_members: &'static [&'static str],
    /// The element around the result in awsQuery answers; empty in other protocols.
    pub result_wrapper: &'static str,
    /// False when the service model gives the operation no output.
    pub has_output: bool,
}

/// The input of an operation.
pub trait Input: Structure + Default {
    /// The operation.
    const OPERATION: OperationId;
    /// What it answers.
    type Output: Structure + Default;
}

/// The output of operations that answer nothing but success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoOutput;

impl Structure for NoOutput {
    fn shape(&self) -> &'static Shape {
        &Shape { name: "NoOutput", members: &[] }
    }
    fn member(&self, _index: usize) -> Option<View<'_>> {
        None
    }
    fn slot(&mut self, _index: usize) -> Option<Slot<'_>> {
        None
    }
}
