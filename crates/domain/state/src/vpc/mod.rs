// SPDX-License-Identifier: Apache-2.0
//! Records of EC2 networking: VPCs, subnets, security groups, interfaces, gateways, route tables, public addresses.

mod address;
mod index;
mod ipv6;
mod kinds;
mod look_up;
mod nat_gateway;
mod peering;
mod prefix_list;
mod quotas;
mod record;
mod routing;
mod settings;

pub use address::{ElasticIp, ElasticIpAssociation, World};
pub use index::Index;
pub use ipv6::{InvalidRange, Ipv6Cidr};
pub use kinds::{Record, RecordKey, Records};
pub use nat_gateway::{
    NatConnectivity, NatElasticIp, NatGateway, NatGatewayAddress, NatGatewayFailure, NatGatewayState,
};
pub use peering::{Peering, PeeringEnd, PeeringState};
pub use prefix_list::{AddressFamily, PrefixList, PrefixListEntry, PrefixListState};
pub use quotas::Quotas;
pub use record::{
    AttachmentStatus, DefaultNetwork, Eni, EniAttachment, EniOwner, GroupSet, ICMPV6, InternetGateway, Matches,
    PRIMARY_DEVICE_INDEX, Peer, SecurityGroup, SecurityGroupRule, Subnet, Vpc,
};
pub use routing::{AclEntry, AclRange, LAST_ENTRY, NetworkAcl, RouteTable, RouteTarget, admit_all};
pub use settings::Settings;
