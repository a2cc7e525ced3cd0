// SPDX-License-Identifier: Apache-2.0
//! Interfaces: every attached one of a VPC as its hosts need it, and those to be plugged on one host.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::routing::Rate;
use super::standalone::Standalone;
use crate::container::is_default;
use crate::{GroupSetId, HostId, Ipv4Cidr, MacAddress, SubnetId, TaskId, Vni, VpcId};

/// An interface anywhere in the VPC, as every host of the VPC must know it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointIntent {
    /// Its VPC.
    pub vni: Vni,
    /// Its private address.
    pub address: Ipv4Addr,
    /// Its hardware address, given in answers to ARP.
    pub mac: MacAddress,
    /// Its identity for rules that name groups.
    pub group_set: GroupSetId,
    /// The host it is plugged on.
    pub host: HostId,
}

/// An interface to be plugged on this host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EniIntent {
    /// Its VPC's number.
    pub vni: Vni,
    /// Its VPC; absent in records of earlier versions.
    #[serde(default, skip_serializing_if = "is_default")]
    pub vpc: Option<VpcId>,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Range of the subnet: gives prefix length and router.
    pub subnet_cidr: Ipv4Cidr,
    /// CIDRs of the VPC: reached with the full MTU through the router.
    pub vpc_cidrs: Vec<Ipv4Cidr>,
    /// Hardware address of the inner end.
    pub mac: MacAddress,
    /// Private address of the inner end.
    pub address: Ipv4Addr,
    /// Its set of security groups.
    pub group_set: GroupSetId,
    /// Drop packets that are not from or to its own address.
    pub source_dest_check: bool,
    /// MTU of the inner end (9001 as on AWS).
    pub mtu: u32,
    /// Destination of the inner end.
    pub plug: Plug,
    /// Limit of the packets it sends, and of those it receives, each on its own; `None` means no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

/// Destination of the inner end of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PlugForm", into = "PlugForm")]
pub enum Plug {
    /// Created inside the task's namespace as `eth1` (Fargate).
    InPlace(TaskId),
    /// Appears in the host's namespace first; the plugin `ecs-eni` moves it into the task as `eth0` (EC2 launch type).
    HostFirst(TaskId),
    /// Created in the host's own namespace: the host's primary interface.
    Host,
    /// Created inside a namespace of its own as `eth1`, without a task.
    Standalone(Standalone),
}

impl Plug {
    /// The task that has the interface.
    pub fn task(&self) -> Option<&TaskId> {
        match self {
            Self::InPlace(task) | Self::HostFirst(task) => Some(task),
            Self::Host | Self::Standalone(_) => None,
        }
    }
}

/// Form of a [`Plug`] on the link.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PlugForm {
    InPlace(TaskId),
    HostFirst(TaskId),
    Host,
    /// Held by `berth shell`: the form of version 0.1.0.
    Seat(String),
    /// Held by anything else.
    Standalone(Standalone),
}

impl From<PlugForm> for Plug {
    fn from(form: PlugForm) -> Self {
        match form {
            PlugForm::InPlace(task) => Self::InPlace(task),
            PlugForm::HostFirst(task) => Self::HostFirst(task),
            PlugForm::Host => Self::Host,
            PlugForm::Seat(namespace) => Self::Standalone(Standalone::seat(namespace)),
            PlugForm::Standalone(standalone) => Self::Standalone(standalone),
        }
    }
}

impl From<Plug> for PlugForm {
    fn from(plug: Plug) -> Self {
        match plug {
            Plug::InPlace(task) => Self::InPlace(task),
            Plug::HostFirst(task) => Self::HostFirst(task),
            Plug::Host => Self::Host,
            Plug::Standalone(standalone) => standalone.into_seat().map_or_else(Self::Standalone, Self::Seat),
        }
    }
}
