// SPDX-License-Identifier: Apache-2.0
//! The description of an operation: its service, name, permission and protocol. The rows are generated
//! (`operations.rs`).

use crate::{OperationId, Protocol, Service, Shape, Slot, Structure, View};

/// One line of `operations/SERVICE.toml`, with what the service model says about it.
#[derive(Debug)]
pub struct Operation {
    /// The row's identity.
    pub id: OperationId,
    /// The service.
    pub service: Service,
    /// The name, such as `RunTask`.
    pub name: &'static str,
    /// The permission for IAM's decision, such as `ecs:RunTask`.
    pub action: &'static str,
    /// Further permissions the operation checks.
    pub also: &'static [&'static str],
    /// The first release that answers it.
    pub since: &'static str,
    /// The group of operations that share a throttling limit; empty when the operation is never throttled.
    pub rate: &'static str,
    /// Top-level members of the input that the service model requires, by model name.
    pub required_members: &'static [&'static str],
    /// The element around the result in awsQuery answers; empty in other protocols.
    pub result_wrapper: &'static str,
    /// False when the service model gives the operation no output.
    pub has_output: bool,
}

impl Service {
    /// The name in credential scopes, ARNs and permissions.
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// The protocol of the service.
    pub const fn protocol(self) -> Protocol {
        self.facts().protocol
    }
}

impl Operation {
    /// The protocol of its service.
    pub const fn protocol(&self) -> Protocol {
        self.service.protocol()
    }
}

/// A group of operations with the rate limit that AWS documents.
#[derive(Debug)]
pub struct Group {
    /// Its name, such as `ecs-cluster-read`.
    pub name: &'static str,
    /// Calls at once.
    pub burst: u32,
    /// Calls per second after that.
    pub per_second: u32,
}

/// The input of an operation.
pub trait Input: Structure + Default {
    /// The operation.
    const OPERATION: OperationId;
    /// The output of the operation.
    type Output: Structure + Default;
}

/// The output of operations that return only success.
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
