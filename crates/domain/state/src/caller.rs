// SPDX-License-Identifier: Apache-2.0
//! The caller of an operation: its principal and the origin of the call.

use std::net::IpAddr;

use berth_types::{EniId, TaskId};

/// Caller of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Identity.
    pub principal: Principal,
    /// Origin of the call.
    pub origin: Origin,
}

/// Identity of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// The account's root user.
    Root {
        /// The account, twelve digits.
        account: String,
    },
    /// A user with an access key.
    User {
        /// ARN.
        arn: String,
        /// Unique id, such as `AIDA...`.
        id: String,
    },
    /// A session of a role that a caller assumed.
    RoleSession {
        /// ARN, `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`.
        arn: String,
        /// Unique id, `AROA...:SESSION`.
        id: String,
    },
    /// A task, by the credentials of its role.
    Task {
        /// The task.
        task: TaskId,
        /// ARN of the role's session.
        arn: String,
        /// Unique id of the role's session.
        id: String,
    },
    /// Berth itself, for reconcilers and reports of hosts.
    Service {
        /// Name, such as `ecs.amazonaws.com`.
        name: String,
    },
}

/// Origin of a call. Members that are unknown or do not apply are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Source address.
    pub address: Option<IpAddr>,
    /// The interface of a VPC that sent it.
    pub eni: Option<EniId>,
    /// The VPC endpoint through which it came.
    pub endpoint: Option<String>,
}

impl Caller {
    /// The root user of an account.
    pub fn root(account: &str) -> Self {
        Principal::Root { account: account.to_owned() }.into()
    }

    /// A user with an access key.
    pub fn user(arn: &str, id: &str) -> Self {
        Principal::User { arn: arn.to_owned(), id: id.to_owned() }.into()
    }

    /// Berth itself, in the name of a service.
    pub fn service(name: &str) -> Self {
        Principal::Service { name: name.to_owned() }.into()
    }

    /// The same caller, from a source address.
    pub fn from_address(self, address: IpAddr) -> Self {
        Self { origin: Origin { address: Some(address), ..self.origin }, ..self }
    }

    /// The ARN AWS shows for the caller; for Berth itself, the name of the service.
    pub fn arn(&self) -> String {
        match &self.principal {
            Principal::Root { account } => format!("arn:aws:iam::{account}:root"),
            Principal::User { arn, .. } | Principal::RoleSession { arn, .. } | Principal::Task { arn, .. } => {
                arn.clone()
            }
            Principal::Service { name } => name.clone(),
        }
    }

    /// The unique id AWS shows for the caller; the account's number for the root user.
    pub fn id(&self) -> &str {
        match &self.principal {
            Principal::Root { account } => account,
            Principal::User { id, .. } | Principal::RoleSession { id, .. } | Principal::Task { id, .. } => id,
            Principal::Service { name } => name,
        }
    }
}

impl From<Principal> for Caller {
    fn from(principal: Principal) -> Self {
        Self { principal, origin: Origin::default() }
    }
}
