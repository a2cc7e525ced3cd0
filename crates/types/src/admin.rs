// SPDX-License-Identifier: Apache-2.0
//! Requests of the local command line to the server, over the server's Unix socket.
//!
//! Only questions that have no AWS operation; everything else goes through the AWS API.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::explain::Ends;
use crate::instance::InstanceInterface;
use crate::intent::Rate;
use crate::{EniId, HostId, Ipv4Cidr, NatGatewayId, SecurityGroupId, SubnetId, Vni, VpcId};

/// What the command line asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Asks for the server's state.
    Status,
    /// Creates an interface in a new namespace of its own (`berth shell`); answered when it is usable.
    OpenSeat {
        /// Its subnet; the first default subnet when absent.
        subnet: Option<SubnetId>,
        /// Its groups; the VPC's default group when empty.
        security_groups: Vec<SecurityGroupId>,
        /// The host; any connected one when absent.
        host: Option<HostId>,
    },
    /// Removes a seat; answered when it is gone.
    CloseSeat {
        /// The interface that `OpenSeat` returned.
        eni: EniId,
    },
    /// Moves the primary interface of a host; answered when the new one is usable.
    MoveHost {
        /// The host.
        host: HostId,
        /// Subnet and groups of the new one.
        wishes: InstanceInterface,
    },
    /// Asks for every limit of an interface or a NAT gateway.
    Rates,
    /// Asks for the limit of one, or sets it.
    Rate {
        /// A NAT gateway, or whatever names an interface: its id, an instance, a task, an address.
        target: String,
        /// The new limit, or its end; the limit stays when absent.
        set: Option<RateChange>,
    },
    /// Asks for the ends of a packet and their rules (`berth explain`). An end is an address, an interface or a
    /// task.
    Explain {
        /// The sending end.
        from: String,
        /// The receiving end.
        to: String,
        /// The VPC of the addresses when neither end determines it; the default VPC when absent.
        vpc: Option<VpcId>,
    },
}

/// The server's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Answer to `Status`.
    Status(Status),
    /// Answer to `OpenSeat`.
    Seat(Seat),
    /// Answer to `CloseSeat`.
    Closed,
    /// Answer to `MoveHost`: the new interface and its address.
    Moved {
        /// The interface.
        eni: EniId,
        /// Its address.
        address: Ipv4Addr,
    },
    /// Answer to `Explain`.
    Ends(Box<Ends>),
    /// Answer to `Rates` and `Rate`.
    Rates(Vec<RateOf>),
}

/// A change of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateChange {
    /// This limit from now on.
    Limit(Rate),
    /// No limit from now on.
    NoLimit,
}

/// The limit of an interface or a NAT gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateOf {
    /// Its subject.
    pub limited: Limited,
    /// The limit; `None` if there is none.
    pub rate: Option<Rate>,
}

/// The subject of a limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limited {
    /// An interface.
    Eni(EniId),
    /// A NAT gateway.
    NatGateway {
        /// Its id.
        id: NatGatewayId,
        /// Number of its VPC; with the address it names the gateway in the data path.
        vni: Vni,
        /// Its primary private address.
        address: Option<Ipv4Addr>,
    },
}

/// The server's state in a few numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of Berth.
    pub version: String,
    /// Address of the AWS API, e.g. `http://127.0.0.1:4566`.
    pub endpoint: String,
    /// Address of this instance's health and metrics, e.g. `http://127.0.0.1:4567`.
    #[serde(default)]
    pub admin_endpoint: String,
    /// Region it serves.
    pub region: String,
    /// Account it serves.
    pub account: String,
    /// Revision of the store.
    pub revision: u64,
    /// Hosts known.
    pub hosts: Vec<HostStatus>,
    /// Tasks that have not ended.
    pub tasks: usize,
    /// Interfaces attached or available.
    pub enis: usize,
    /// VPCs.
    pub vpcs: usize,
    /// Pool of public addresses; earlier versions have none.
    #[serde(default)]
    pub public_pool: Option<Ipv4Cidr>,
}

/// One host in `Status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostStatus {
    /// Its id.
    pub host: HostId,
    /// Cluster it joins.
    pub cluster: String,
    /// Its stream is open.
    pub connected: bool,
    /// Generation of the last intent its data path holds.
    pub programmed: u64,
    /// Tasks placed on it that have not ended.
    pub tasks: usize,
}

/// A seat inside a VPC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seat {
    /// Its interface.
    pub eni: EniId,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its subnet.
    pub subnet: SubnetId,
    /// The host it is on.
    pub host: HostId,
    /// File name under `<run>/netns/` that holds its network namespace.
    pub netns: String,
}
