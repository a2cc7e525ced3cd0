// SPDX-License-Identifier: Apache-2.0
//! NAT gateways: interfaces of a subnet that forward packets of other subnets under their own address.
//!
//! A gateway gets its interface, and a public one the association of its elastic IP address, when it is created. It is
//! pending until a host translates for it; what prevents that shows as its failure. All gateways of a VPC are on one
//! host. A deleted gateway leaves its interface when its host was told. Regional gateways and further addresses are
//! refused. Not here: routes to gateways (`route.rs`), the removal of deleted gateways (`expire.rs`).

use berth_shapes::ec2::{
    self, CreateNatGatewayRequest, CreateNatGatewayResult, DeleteNatGatewayRequest, DeleteNatGatewayResult,
    DescribeNatGatewaysRequest, DescribeNatGatewaysResult,
};
use berth_shapes::{Ec2ErrorCode as Code, ErrorCode, Timestamp};
use berth_state::vpc::{
    ElasticIp, NatConnectivity, NatElasticIp, NatGateway, NatGatewayAddress, NatGatewayFailure, NatGatewayState,
    RecordKey, Subnet,
};
use berth_state::{Change, ClientToken, Draft, Env, Refusal, Snapshot};
use berth_types::{EniAttachmentId, HostId, NatGatewayId, TimestampMs, VpcId};
use imbl::OrdSet;

use super::describe::Selection;
use super::filter::{Filters, text};
use super::quota::Quota;
use super::request::{invalid_value, made_before, only, required, unsupported};
use super::{elastic_ip, find, interface, tags};

/// The availability mode of all gateways.
const ZONAL: &str = "zonal";

/// How long deleted and failed gateways can be described.
pub(super) const ENDED_KEPT_MS: u64 = 60 * 60 * 1000;

/// CreateNatGateway.
pub fn create_nat_gateway(
    snap: &Snapshot,
    req: &CreateNatGatewayRequest,
    env: &Env,
) -> Result<Change<CreateNatGatewayResult>, Refusal> {
    only(
        req,
        &[
            "SubnetId",
            "AllocationId",
            "ConnectivityType",
            "PrivateIpAddress",
            "AvailabilityMode",
            "ClientToken",
            "TagSpecifications",
        ],
    )?;
    let created = |gateway: &NatGateway| CreateNatGatewayResult {
        client_token: req.client_token.clone(),
        nat_gateway: Some(show(gateway)),
    };
    let token = ClientToken::of(req.client_token.as_deref(), req);
    let index = snap.vpc().index();
    let known = token.as_ref().and_then(|token| index.nat_gateway_tokens.get(token.text()));
    let known = known.and_then(|id| snap.vpc().nat_gateways.get(id)).map(AsRef::as_ref).into_iter();
    if let Some(gateway) = made_before(token.as_ref(), known, |gateway: &NatGateway| gateway.client_token.as_ref())? {
        return Ok(Change::none(created(gateway)));
    }
    let asked = Asked::read(snap, req)?;
    if Quota::NatGatewaysPerZone.is_reached(snap, count_in_zone(snap, &asked.subnet.availability_zone)) {
        let limit = Quota::NatGatewaysPerZone.value(snap);
        let words = format!("Performing this operation would exceed the limit of {limit} NAT gateways");
        return Err(Refusal::new(Code::NatGatewayLimitExceeded, words));
    }
    let mut draft = Draft::of(snap);
    let gateway = NatGateway { client_token: token, ..make(&mut draft, &asked, env)? };
    draft.put(gateway.clone());
    Ok(draft.change(created(&gateway)))
}

/// DescribeNatGateways.
pub fn describe_nat_gateways(
    snap: &Snapshot,
    req: &DescribeNatGatewaysRequest,
    _env: &Env,
) -> Result<DescribeNatGatewaysResult, Refusal> {
    only(req, &["NatGatewayIds", "Filter", "MaxResults", "NextToken"])?;
    let selection = Selection {
        operation: "DescribeNatGateways",
        ids_parameter: "natGatewayIds",
        ids: &req.nat_gateway_ids,
        filters: &req.filter,
        max_results: req.max_results,
        next_token: &req.next_token,
    };
    let gateways = selection.records(&snap.vpc().nat_gateways, |id| find::nat_gateway(snap, id))?;
    let page = selection.page(&FILTERS, gateways.into_iter().map(|it| (it.id.to_string(), show(it))))?;
    Ok(DescribeNatGatewaysResult { nat_gateways: Some(page.items), next_token: page.next_token })
}

/// DeleteNatGateway. Its routes remain as blackholes, and its elastic IP address remains allocated.
pub fn delete_nat_gateway(
    snap: &Snapshot,
    req: &DeleteNatGatewayRequest,
    env: &Env,
) -> Result<Change<DeleteNatGatewayResult>, Refusal> {
    only(req, &["NatGatewayId"])?;
    let gateway = find::nat_gateway(snap, required(&req.nat_gateway_id, "natGatewayId")?)?;
    let done = DeleteNatGatewayResult { nat_gateway_id: Some(gateway.id.to_string()) };
    let mut draft = Draft::of(snap);
    match gateway.state {
        NatGatewayState::Pending | NatGatewayState::Available => {
            draft.put(NatGateway { state: NatGatewayState::Deleting, ..gateway.as_ref().clone() });
        }
        NatGatewayState::Failed => draft.put(ended(gateway, NatGatewayState::Deleted, env)),
        NatGatewayState::Deleting => {}
        NatGatewayState::Deleted => return Err(find::no_nat_gateway(gateway.id.as_str())),
    }
    Ok(draft.change(done))
}

/// True if [`settle_nat_gateways`] changes something.
pub fn has_unsettled_nat_gateways(snap: &Snapshot) -> bool {
    let mut unsettled = unsettled(snap);
    unsettled.any(|gateway| next(snap, gateway).is_some())
}

/// Moves pending and deleting NAT gateways to the states that follow. A pending one waits for a connected host.
pub fn settle_nat_gateways(snap: &Snapshot, env: &Env) -> Change<()> {
    let mut draft = Draft::of(snap);
    for gateway in unsettled(snap) {
        match next(&draft, gateway) {
            Some(Next::Available(host)) => {
                let state = NatGatewayState::Available;
                draft.put(NatGateway { state, host: Some(host), ..gateway.clone() });
            }
            Some(Next::Failed) => draft.put(ended(gateway, NatGatewayState::Failed, env)),
            Some(Next::Deleted) => {
                if let Some(eni) = gateway.eni() {
                    interface::delete(&mut draft, eni);
                }
                draft.put(ended(gateway, NatGatewayState::Deleted, env));
            }
            None => {}
        }
    }
    draft.change(())
}

/// Removes deleted and failed gateways.
pub(super) fn expire(snap: &Snapshot, ended: &OrdSet<(TimestampMs, NatGatewayId)>) -> Change<()> {
    let mut draft = Draft::of(snap);
    for entry in ended.iter().filter(|entry| snap.vpc().index().ended_nat_gateways.contains(*entry)) {
        draft.delete(RecordKey::NatGateway(entry.1.clone()));
    }
    draft.change(())
}

/// The state after a pending or deleting one.
enum Next {
    Available(HostId),
    Failed,
    Deleted,
}

fn next(snap: &Snapshot, gateway: &NatGateway) -> Option<Next> {
    match gateway.state {
        NatGatewayState::Pending if gateway.failure.is_some() => Some(Next::Failed),
        NatGatewayState::Pending => home_host(snap, &gateway.vpc).map(Next::Available),
        NatGatewayState::Deleting => Some(Next::Deleted),
        NatGatewayState::Failed | NatGatewayState::Available | NatGatewayState::Deleted => None,
    }
}

fn unsettled(snap: &Snapshot) -> impl Iterator<Item = &NatGateway> {
    let ids = snap.vpc().index().unsettled_nat_gateways.iter();
    ids.filter_map(|id| snap.vpc().nat_gateways.get(id).map(AsRef::as_ref))
}

/// The host of a VPC's NAT gateways: that of those it has, or the connected one with the lowest id.
fn home_host(snap: &Snapshot, vpc: &VpcId) -> Option<HostId> {
    let present = snap.vpc().nat_gateways.values().filter(|gateway| gateway.vpc == *vpc);
    if let Some((host, _)) = present.filter_map(|gateway| gateway.serving()).next() {
        return Some(host.clone());
    }
    let mut hosts = snap.ecs().hosts.values();
    hosts.find(|host| host.connected && host.deregistered_at.is_none()).map(|host| host.id.clone())
}

fn ended(gateway: &NatGateway, state: NatGatewayState, env: &Env) -> NatGateway {
    NatGateway { state, ended_at: Some(env.now), ..gateway.clone() }
}

/// Gateways of a zone that are pending, available or deleting.
fn count_in_zone(snap: &Snapshot, zone: &str) -> usize {
    let is_there = |gateway: &&NatGateway| {
        let subnet = snap.vpc().subnets.get(&gateway.subnet);
        gateway.ended_at.is_none() && subnet.is_some_and(|subnet| subnet.availability_zone == zone)
    };
    snap.vpc().nat_gateways.values().map(AsRef::as_ref).filter(is_there).count()
}

/// A checked request.
struct Asked<'a> {
    subnet: &'a Subnet,
    connectivity: NatConnectivity,
    elastic: Option<&'a ElasticIp>,
    private_address: Option<std::net::Ipv4Addr>,
    tags: berth_state::Tags,
}

impl<'a> Asked<'a> {
    fn read(snap: &'a Snapshot, req: &CreateNatGatewayRequest) -> Result<Self, Refusal> {
        match req.availability_mode.as_deref() {
            None | Some("" | ZONAL) => {}
            Some("regional") => return Err(unsupported("Regional NAT gateways are not supported.")),
            Some(other) => return Err(invalid_value(other, "availabilityMode", "Choose 'zonal'.")),
        }
        let connectivity = match req.connectivity_type.as_deref() {
            None | Some("" | "public") => NatConnectivity::Public,
            Some("private") => NatConnectivity::Private,
            Some(other) => return Err(invalid_value(other, "connectivityType", "Choose 'public' or 'private'.")),
        };
        let subnet = find::subnet(snap, required(&req.subnet_id, "subnetId")?)?;
        let allocation = req.allocation_id.as_deref().filter(|id| !id.is_empty());
        let elastic = match (connectivity, allocation) {
            (NatConnectivity::Public, Some(id)) => Some(find::elastic_ip(snap, id)?.as_ref()),
            (NatConnectivity::Private, None) => None,
            (NatConnectivity::Public, None) => {
                let words = "The request must include the AllocationId parameter. Add the required parameter and retry \
                             the request.";
                return Err(Refusal::new(Code::MissingParameter, words));
            }
            (NatConnectivity::Private, Some(_)) => {
                let words = "AllocationId cannot be specified for a NAT Gateway with Connectivity Type private.";
                return Err(Refusal::new(Code::InvalidParameterCombination, words));
            }
        };
        let address = req.private_ip_address.as_deref().filter(|address| !address.is_empty());
        let parse = |text: &str| {
            text.parse().map_err(|_| invalid_value(text, "privateIpAddress", "This is not a valid IPv4 address."))
        };
        Ok(Self {
            subnet,
            connectivity,
            elastic,
            private_address: address.map(parse).transpose()?,
            tags: tags::asked(&req.tag_specifications, tags::Kind::NatGateway)?,
        })
    }

    /// Why a public gateway cannot become available.
    fn failure(&self, snap: &Snapshot) -> Option<Refusal> {
        let elastic = self.elastic?;
        if snap.vpc().internet_gateway_of(&self.subnet.vpc).is_none() {
            let words = format!("Network {} has no Internet gateway attached", self.subnet.vpc);
            return Some(Refusal::new(Code::GatewayNotAttached, words));
        }
        elastic.association.as_ref().map(|_| {
            let words = format!("Elastic IP address [{}] is already associated", elastic.id);
            Refusal::new(Code::ResourceAlreadyAssociated, words)
        })
    }
}

/// A pending gateway with its interface, or with its failure; not yet stored.
fn make(draft: &mut Draft, asked: &Asked<'_>, env: &Env) -> Result<NatGateway, Refusal> {
    let mut gateway = NatGateway {
        id: NatGatewayId::from_bits(env.fresh_bits()),
        vpc: asked.subnet.vpc.clone(),
        subnet: asked.subnet.id.clone(),
        connectivity: asked.connectivity,
        state: NatGatewayState::Pending,
        addresses: Vec::new(),
        attachment: EniAttachmentId::from_bits(env.fresh_bits()),
        host: None,
        failure: None,
        rate: None,
        client_token: None,
        created_at: env.now,
        ended_at: None,
        tags: asked.tags.clone(),
    };
    let elastic = |association| {
        asked.elastic.map(|elastic| NatElasticIp {
            allocation: elastic.id.clone(),
            association,
            address: elastic.address,
        })
    };
    let made = match asked.failure(draft) {
        Some(failure) => Err(failure),
        None => interface::create_for_nat_gateway(draft, asked.subnet, asked.private_address, &gateway.id, env),
    };
    match made {
        Ok(eni) => {
            let associate = |it: &ElasticIp| elastic_ip::associate(draft, it, &eni, eni.address, env);
            let association = asked.elastic.map(associate);
            gateway.addresses.push(NatGatewayAddress {
                eni: Some(eni.id.clone()),
                private: Some(eni.address),
                elastic: elastic(association),
            });
        }
        Err(refusal) if shows_as_failure(&refusal) => {
            gateway.addresses.push(NatGatewayAddress { eni: None, private: None, elastic: elastic(None) });
            let code = refusal.code.code().to_owned();
            gateway.failure = Some(NatGatewayFailure { code, message: refusal.message });
        }
        Err(refusal) => return Err(refusal),
    }
    Ok(gateway)
}

/// True for what AWS finds out after it has answered the call.
fn shows_as_failure(refusal: &Refusal) -> bool {
    let late = [Code::GatewayNotAttached, Code::ResourceAlreadyAssociated, Code::InsufficientFreeAddressesInSubnet];
    late.into_iter().any(|code| refusal.code == ErrorCode::Ec2(code))
}

static FILTERS: Filters<ec2::NatGateway> = Filters {
    rows: &[
        (&["nat-gateway-id"], |gateway| text(&gateway.nat_gateway_id)),
        (&["state"], |gateway| text(&gateway.state)),
        (&["subnet-id"], |gateway| text(&gateway.subnet_id)),
        (&["vpc-id"], |gateway| text(&gateway.vpc_id)),
        (&["connectivity-type"], |gateway| text(&gateway.connectivity_type)),
    ],
    tags: Some(|gateway| &gateway.tags),
};

fn show(gateway: &NatGateway) -> ec2::NatGateway {
    let connectivity = match gateway.connectivity {
        NatConnectivity::Public => "public",
        NatConnectivity::Private => "private",
    };
    let state = match gateway.state {
        NatGatewayState::Pending => "pending",
        NatGatewayState::Failed => "failed",
        NatGatewayState::Available => "available",
        NatGatewayState::Deleting => "deleting",
        NatGatewayState::Deleted => "deleted",
    };
    let failure = gateway.failure.as_ref().filter(|_| gateway.state != NatGatewayState::Pending);
    let addresses = gateway.addresses.iter().zip(0..).map(|(address, number)| show_address(gateway, address, number));
    ec2::NatGateway {
        availability_mode: Some(ZONAL.to_owned()),
        connectivity_type: Some(connectivity.to_owned()),
        create_time: Some(Timestamp(gateway.created_at.0)),
        delete_time: gateway.ended_at.map(|at| Timestamp(at.0)),
        failure_code: failure.map(|failure| failure.code.clone()),
        failure_message: failure.map(|failure| failure.message.clone()),
        nat_gateway_addresses: Some(addresses.collect()),
        nat_gateway_id: Some(gateway.id.to_string()),
        state: Some(state.to_owned()),
        subnet_id: Some(gateway.subnet.to_string()),
        tags: tags::show(&gateway.tags),
        vpc_id: Some(gateway.vpc.to_string()),
        ..Default::default()
    }
}

fn show_address(gateway: &NatGateway, address: &NatGatewayAddress, number: u32) -> ec2::NatGatewayAddress {
    let elastic = address.elastic.as_ref();
    let status = match gateway.state {
        NatGatewayState::Pending => "associating",
        NatGatewayState::Failed => "failed",
        NatGatewayState::Available | NatGatewayState::Deleting | NatGatewayState::Deleted => "succeeded",
    };
    ec2::NatGatewayAddress {
        allocation_id: elastic.map(|elastic| elastic.allocation.to_string()),
        association_id: elastic.and_then(|elastic| elastic.association.as_ref()).map(ToString::to_string),
        is_primary: Some(number == 0),
        network_interface_id: address.eni.as_ref().map(ToString::to_string),
        private_ip: address.private.map(|address| address.to_string()),
        public_ip: elastic.map(|elastic| elastic.address.to_string()),
        status: Some(status.to_owned()),
        ..Default::default()
    }
}
