// SPDX-License-Identifier: Apache-2.0
//! EC2 networking: VPCs, subnets, security groups, interfaces, gateways, routes, tags.
//!
//! One function per operation, re-exported here under the name the operation table uses. Further items for other
//! crates:
//!
//! * [`interface`]: the life of a network interface: create, attach, attached, detach, delete.
//! * [`settle_nat_gateways`]: the states of NAT gateways that follow without a call.
//! * [`explain`]: the ends of a packet for `berth explain`.
//! * [`instance_interface`]: primary interfaces of hosts; [`seat`]: interfaces of `berth shell`; [`observe`]: reports of hosts on interfaces.
//! * [`vpc`], [`subnet`], [`security_group`], ...: look-ups with AWS's refusal; [`default_network`]: the first start.
//! * [`ensure_world`]: the pool of public addresses. [`set_quotas`]. [`ensure_default_network`],
//!   [`availability_zones`].
//!
//! Not here: packets (`fabric`), the intent of each host (`plan`), permissions and DryRun (`control`).
#![deny(clippy::disallowed_methods)]

pub mod default_network;
mod describe;
mod door;
mod elastic_ip;
mod expire;
pub mod explain;
mod filter;
mod find;
mod instance;
pub mod instance_interface;
pub mod interface;
mod internet_gateway;
mod nat_gateway;
mod network_acl;
mod network_acl_entry;
mod network_interface;
mod network_interface_attribute;
pub mod observe;
mod owner;
mod peering;
mod permission;
mod prefix_list;
mod public_address;
mod quota;
pub mod rate;
mod request;
mod resources;
mod route;
mod route_table;
pub mod seat;
mod security_group;
mod security_group_rule;
mod standalone;
mod subnet;
mod tags;
mod vpc;
mod vpc_cidr;
mod world;
mod zone;

pub use default_network::{create_default_vpc, ensure_default_network};
pub use door::door;
pub use elastic_ip::{
    allocate_address, associate_address, describe_addresses, describe_addresses_attribute, disassociate_address,
    release_address,
};
pub use expire::{Ages, Expired, expire};
pub use find::{internet_gateway, network_interface, route_table, security_group, security_groups, subnet, vpc};
pub use instance::{
    describe_images, describe_instance_attribute, describe_instance_status, describe_instance_types,
    describe_instances, run_instances,
};
pub use internet_gateway::{
    attach_internet_gateway, create_internet_gateway, delete_internet_gateway, describe_internet_gateways,
    detach_internet_gateway,
};
pub use nat_gateway::{
    create_nat_gateway, delete_nat_gateway, describe_nat_gateways, has_unsettled_nat_gateways, settle_nat_gateways,
};
pub use network_acl::{create_network_acl, delete_network_acl, describe_network_acls, replace_network_acl_association};
pub use network_acl_entry::{create_network_acl_entry, delete_network_acl_entry, replace_network_acl_entry};
pub use network_interface::{
    create_network_interface, delete_network_interface, describe_network_interfaces, detach_network_interface,
};
pub use network_interface_attribute::{describe_network_interface_attribute, modify_network_interface_attribute};
pub use observe::observe_eni;
pub use peering::{
    accept_vpc_peering_connection, create_vpc_peering_connection, delete_vpc_peering_connection,
    describe_vpc_peering_connections, modify_vpc_peering_connection_options, reject_vpc_peering_connection,
};
pub use prefix_list::{
    create_managed_prefix_list, delete_managed_prefix_list, describe_managed_prefix_lists,
    get_managed_prefix_list_associations, get_managed_prefix_list_entries, modify_managed_prefix_list,
    restore_managed_prefix_list_version,
};
pub use quota::{set_quotas, set_settings};
pub use route::{create_route, delete_route, replace_route};
pub use route_table::{
    associate_route_table, create_route_table, delete_route_table, describe_route_tables, disassociate_route_table,
    replace_route_table_association,
};
pub use security_group::{create_security_group, delete_security_group, describe_security_groups};
pub use security_group_rule::{
    authorize_security_group_egress, authorize_security_group_ingress, describe_security_group_rules,
    modify_security_group_rules, revoke_security_group_egress, revoke_security_group_ingress,
    update_security_group_rule_descriptions_egress, update_security_group_rule_descriptions_ingress,
};
pub use subnet::{create_subnet, delete_subnet, describe_subnets, modify_subnet_attribute};
pub use tags::{create_tags, delete_tags, describe_tags};
pub use vpc::{create_vpc, delete_vpc, describe_vpc_attribute, describe_vpcs, modify_vpc_attribute};
pub use vpc_cidr::{associate_vpc_cidr_block, disassociate_vpc_cidr_block};
pub use world::ensure_world;
pub use zone::{Zone, availability_zones, describe_account_attributes, describe_availability_zones, describe_regions};

#[cfg(test)]
mod tests;
