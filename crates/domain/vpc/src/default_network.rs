// SPDX-License-Identifier: Apache-2.0
//! The default VPC, which a region has from its first start.
//!
//! 172.31.0.0/16 with one /20 default subnet in each zone and an internet gateway the main route table leads to. Made
//! once on the first start, and again by CreateDefaultVpc when it was deleted.

use std::net::Ipv4Addr;
use std::sync::Arc;

use berth_shapes::Ec2ErrorCode as Code;
use berth_shapes::ec2::{CreateDefaultVpcRequest, CreateDefaultVpcResult};
use berth_state::vpc::{DefaultNetwork, InternetGateway, RouteTable, RouteTarget, Subnet, Vpc};
use berth_state::{Change, Draft, Env, Refusal, Snapshot, Tags, records::Single};
use berth_types::{InternetGatewayId, Ipv4Cidr, SubnetId};

use super::{availability_zones, find, network_acl, request, vpc};

const VPC_NETWORK: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 0);
const VPC_PREFIX: u8 = 16;
const SUBNET_PREFIX: u8 = 20;

/// Makes the default VPC on the first start and records that it did, so that one deleted by a user stays deleted.
pub fn ensure_default_network(snap: &Snapshot, env: &Env) -> Change<()> {
    if snap.vpc().default_network.contains_key(&Single) {
        return Change::none(());
    }
    let mut draft = Draft::of(snap);
    if find::default_vpc(&draft).is_none() {
        // Refused only if the quota of VPCs is used up, which requires a store that was filled before its first start.
        match create(&draft, env) {
            Ok(change) => {
                draft.take(change);
            }
            Err(_full) => return Change::none(()),
        }
    }
    draft.put(DefaultNetwork { created_at: env.now });
    draft.change(())
}

/// CreateDefaultVpc.
pub fn create_default_vpc(
    snap: &Snapshot,
    req: &CreateDefaultVpcRequest,
    env: &Env,
) -> Result<Change<CreateDefaultVpcResult>, Refusal> {
    request::only(req, &[])?;
    if find::default_vpc(snap).is_some() {
        let words = "A Default VPC already exists for this account in this region.";
        return Err(Refusal::new(Code::DefaultVpcAlreadyExists, words));
    }
    let change = create(snap, env)?;
    Ok(change.map(|vpc| CreateDefaultVpcResult { vpc: Some(vpc::show(&vpc, env)) }))
}

fn create(snap: &Snapshot, env: &Env) -> Result<Change<Arc<Vpc>>, Refusal> {
    let mut draft = Draft::of(snap);
    let cidr = range(VPC_NETWORK, VPC_PREFIX);
    let vpc = vpc::create(&mut draft, cidr, Tags::new(), env)?;
    let vpc = Arc::new(Vpc { is_default: true, dns_hostnames: true, ..vpc.as_ref().clone() });
    draft.put(vpc.as_ref().clone());
    let gateway = InternetGatewayId::from_bits(env.fresh_bits());
    draft.put(InternetGateway { id: gateway.clone(), vpc: Some(vpc.id.clone()), tags: Tags::new() });
    if let Some(main) = find::main_route_table(&draft, &vpc.id) {
        let mut main: RouteTable = main.as_ref().clone();
        main.routes.insert(range(Ipv4Addr::UNSPECIFIED, 0), RouteTarget::InternetGateway(gateway));
        draft.put(main);
    }
    let zones = availability_zones(&env.region);
    // Ids in the order of the zones: the first subnet of a list is then in the zone of a single host.
    let mut ids: Vec<SubnetId> = zones.iter().map(|_| SubnetId::from_bits(env.fresh_bits())).collect();
    ids.sort();
    for ((zone, id), number) in zones.into_iter().zip(ids).zip(0u32..) {
        let network = Ipv4Addr::from_bits(VPC_NETWORK.to_bits() + (number << (32 - SUBNET_PREFIX)));
        let subnet = Subnet {
            id,
            vpc: vpc.id.clone(),
            cidr: range(network, SUBNET_PREFIX),
            availability_zone: zone.name,
            default_for_az: true,
            map_public_ip_on_launch: true,
            tags: Tags::new(),
        };
        network_acl::associate(&mut draft, &subnet, env);
        draft.put(subnet);
    }
    Ok(draft.change(vpc))
}

fn range(network: Ipv4Addr, prefix: u8) -> Ipv4Cidr {
    Ipv4Cidr::containing(network, prefix).expect("the prefixes above are below 32")
}
