// SPDX-License-Identifier: Apache-2.0
//! Routes: the targets of packets by their destination.
//!
//! The local route of each range of the VPC stands first in every table and cannot be removed, but its target can be
//! replaced by an interface. A route whose target was deleted remains and shows as a blackhole.

use std::fmt;
use std::sync::Arc;

use berth_shapes::ec2::{self, CreateRouteRequest, CreateRouteResult, DeleteRouteRequest, ReplaceRouteRequest};
use berth_shapes::{Ec2ErrorCode as Code, NoOutput};
use berth_state::vpc::{Eni, RouteTable, RouteTarget};
use berth_state::{Change, Draft, Env, Refusal, Snapshot};
use berth_types::{InternetGatewayId, Ipv4Cidr, NatGatewayId, PeeringId, PrefixListId};

use super::find::Ec2Id as _;
use super::quota::Quota;
use super::request::{cidr, invalid, missing, only, required};
use super::{find, owner};

/// CreateRoute. Repeating a route is not an error.
pub fn create_route(
    snap: &Snapshot,
    req: &CreateRouteRequest,
    _env: &Env,
) -> Result<Change<CreateRouteResult>, Refusal> {
    only(
        req,
        &[
            "RouteTableId",
            "DestinationCidrBlock",
            "DestinationPrefixListId",
            "GatewayId",
            "NatGatewayId",
            "NetworkInterfaceId",
            "InstanceId",
            "VpcPeeringConnectionId",
        ],
    )?;
    let mut table = find::route_table(snap, required(&req.route_table_id, "routeTableId")?)?.as_ref().clone();
    let destination = Destination::of(snap, &req.destination_cidr_block, &req.destination_prefix_list_id)?;
    let named = Named {
        gateway: &req.gateway_id,
        nat_gateway: &req.nat_gateway_id,
        interface: &req.network_interface_id,
        instance: &req.instance_id,
        peering: &req.vpc_peering_connection_id,
    };
    let target = named.target(snap, &table)?;
    let done = CreateRouteResult { r#return: Some(true) };
    if destination.is_local(snap, &table) {
        return Err(already_exists(&table, &destination));
    }
    check_inside(snap, &table, &destination, &target)?;
    match destination.target(&table) {
        Some(old) if *old == target => return Ok(Change::none(done)),
        Some(_) => return Err(already_exists(&table, &destination)),
        None => destination.lead(&mut table, target),
    }
    check_room(snap, &table)?;
    let mut draft = Draft::of(snap);
    draft.put(table);
    Ok(draft.change(done))
}

/// ReplaceRoute: another target for an existing destination, also for a local one.
pub fn replace_route(snap: &Snapshot, req: &ReplaceRouteRequest, _env: &Env) -> Result<Change<NoOutput>, Refusal> {
    only(
        req,
        &[
            "RouteTableId",
            "DestinationCidrBlock",
            "DestinationPrefixListId",
            "GatewayId",
            "NatGatewayId",
            "NetworkInterfaceId",
            "InstanceId",
            "VpcPeeringConnectionId",
            "LocalTarget",
        ],
    )?;
    let mut table = find::route_table(snap, required(&req.route_table_id, "routeTableId")?)?.as_ref().clone();
    let destination = Destination::of(snap, &req.destination_cidr_block, &req.destination_prefix_list_id)?;
    let is_local = destination.is_local(snap, &table);
    if req.local_target == Some(true) || req.gateway_id.as_deref() == Some("local") {
        if !is_local {
            return Err(invalid("The local target is only for the local route."));
        }
        destination.remove(&mut table);
    } else {
        if !is_local && destination.target(&table).is_none() {
            return Err(no_such_route(&table, &destination));
        }
        let named = Named {
            gateway: &req.gateway_id,
            nat_gateway: &req.nat_gateway_id,
            interface: &req.network_interface_id,
            instance: &req.instance_id,
            peering: &req.vpc_peering_connection_id,
        };
        let target = named.target(snap, &table)?;
        check_inside(snap, &table, &destination, &target)?;
        destination.lead(&mut table, target);
    }
    let mut draft = Draft::of(snap);
    draft.put(table);
    Ok(draft.change(NoOutput))
}

/// DeleteRoute.
pub fn delete_route(snap: &Snapshot, req: &DeleteRouteRequest, _env: &Env) -> Result<Change<NoOutput>, Refusal> {
    only(req, &["RouteTableId", "DestinationCidrBlock", "DestinationPrefixListId"])?;
    let mut table = find::route_table(snap, required(&req.route_table_id, "routeTableId")?)?.as_ref().clone();
    let destination = Destination::of(snap, &req.destination_cidr_block, &req.destination_prefix_list_id)?;
    if destination.is_local(snap, &table) {
        let words = format!("cannot remove local route {destination} in route table {}", table.id);
        return Err(invalid(words));
    }
    if destination.remove(&mut table).is_none() {
        return Err(no_such_route(&table, &destination));
    }
    let mut draft = Draft::of(snap);
    draft.put(table);
    Ok(draft.change(NoOutput))
}

/// The routes of a table for an answer, the local ones first.
pub(super) fn show(snap: &Snapshot, table: &RouteTable, env: &Env) -> Vec<ec2::Route> {
    let cidrs: Vec<Ipv4Cidr> = snap.vpc().vpcs.get(&table.vpc).iter().flat_map(|vpc| vpc.cidrs()).collect();
    let local = cidrs.iter().filter(|cidr| !table.routes.contains_key(cidr)).map(|cidr| ec2::Route {
        destination_cidr_block: Some(cidr.to_string()),
        gateway_id: Some("local".to_owned()),
        origin: Some("CreateRouteTable".to_owned()),
        state: Some("active".to_owned()),
        ..Default::default()
    });
    let others = table.routes.iter().map(|(destination, target)| ec2::Route {
        destination_cidr_block: Some(destination.to_string()),
        origin: Some(if cidrs.contains(destination) { "CreateRouteTable" } else { "CreateRoute" }.to_owned()),
        ..show_target(snap, table, target, env)
    });
    let lists = table.prefix_list_routes.iter().map(|(list, target)| ec2::Route {
        destination_prefix_list_id: Some(list.to_string()),
        origin: Some("CreateRoute".to_owned()),
        ..show_target(snap, table, target, env)
    });
    local.chain(others).chain(lists).collect()
}

/// Refuses a table with too many routes. A prefix list counts as many as it can hold entries.
pub(super) fn check_room(snap: &Snapshot, table: &RouteTable) -> Result<(), Refusal> {
    let lists = table.prefix_list_routes.keys().filter_map(|list| snap.vpc().prefix_lists.get(list));
    let count = table.routes.len() + lists.map(|list| list.max_entries as usize).sum::<usize>();
    if count > Quota::RoutesPerRouteTable.value(snap) as usize {
        let words = format!("The maximum number of routes for route table '{}' has been reached.", table.id);
        return Err(Refusal::new(Code::RouteLimitExceeded, words));
    }
    Ok(())
}

/// The destination of a route.
enum Destination {
    Cidr(Ipv4Cidr),
    List(PrefixListId),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cidr(cidr) => cidr.fmt(f),
            Self::List(list) => list.fmt(f),
        }
    }
}

impl Destination {
    /// The destination of a request: exactly one must be named.
    fn of(snap: &Snapshot, range: &Option<String>, list: &Option<String>) -> Result<Self, Refusal> {
        let given = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        match (given(range), given(list)) {
            (true, true) => {
                let words = "The parameter destinationCidrBlock cannot be used with the parameter \
                             destinationPrefixListId";
                Err(Refusal::new(Code::InvalidParameterCombination, words))
            }
            (false, true) => {
                let list = find::prefix_list(snap, required(list, "destinationPrefixListId")?)?;
                Ok(Self::List(list.id.clone()))
            }
            (_, false) => Ok(Self::Cidr(cidr(required(range, "destinationCidrBlock")?, "destinationCidrBlock")?)),
        }
    }

    fn is_local(&self, snap: &Snapshot, table: &RouteTable) -> bool {
        match self {
            Self::Cidr(cidr) => is_local(snap, table, *cidr),
            Self::List(_) => false,
        }
    }

    fn target<'a>(&self, table: &'a RouteTable) -> Option<&'a RouteTarget> {
        match self {
            Self::Cidr(cidr) => table.routes.get(cidr),
            Self::List(list) => table.prefix_list_routes.get(list),
        }
    }

    fn lead(self, table: &mut RouteTable, target: RouteTarget) {
        match self {
            Self::Cidr(cidr) => table.routes.insert(cidr, target),
            Self::List(list) => table.prefix_list_routes.insert(list, target),
        };
    }

    fn remove(&self, table: &mut RouteTable) -> Option<RouteTarget> {
        match self {
            Self::Cidr(cidr) => table.routes.remove(cidr),
            Self::List(list) => table.prefix_list_routes.remove(list),
        }
    }
}

/// The members of a route that tell of its target.
fn show_target(snap: &Snapshot, table: &RouteTable, target: &RouteTarget, env: &Env) -> ec2::Route {
    let state = if snap.vpc().is_route_active(target, &table.vpc) { "active" } else { "blackhole" };
    let mut route = ec2::Route { state: Some(state.to_owned()), ..Default::default() };
    match target {
        RouteTarget::InternetGateway(gateway) => route.gateway_id = Some(gateway.to_string()),
        RouteTarget::Peering(peering) => route.vpc_peering_connection_id = Some(peering.to_string()),
        RouteTarget::NatGateway(gateway) => route.nat_gateway_id = Some(gateway.to_string()),
        RouteTarget::Eni(eni) => {
            route.network_interface_id = Some(eni.to_string());
            let eni = snap.vpc().enis.get(eni).filter(|eni| !owner::by_owner(&eni.owner).requester_managed);
            if let Some(attachment) = eni.and_then(|eni| eni.attachment.as_ref()) {
                route.instance_id = Some(attachment.instance.to_string());
                route.instance_owner_id = Some(env.account.clone());
            }
        }
    }
    route
}

/// The members of a request that name the target of a route.
struct Named<'a> {
    gateway: &'a Option<String>,
    nat_gateway: &'a Option<String>,
    interface: &'a Option<String>,
    instance: &'a Option<String>,
    peering: &'a Option<String>,
}

impl Named<'_> {
    /// The target; exactly one must be named.
    fn target(&self, snap: &Snapshot, table: &RouteTable) -> Result<RouteTarget, Refusal> {
        let named = [
            (self.gateway, "gatewayId"),
            (self.nat_gateway, "natGatewayId"),
            (self.interface, "networkInterfaceId"),
            (self.instance, "instanceId"),
            (self.peering, "vpcPeeringConnectionId"),
        ];
        let given = named.map(|(id, parameter)| Some((id.as_deref().filter(|id| !id.is_empty())?, parameter)));
        let mut given = given.into_iter().flatten();
        let (id, parameter) = given.next().ok_or_else(|| missing("gatewayId"))?;
        if let Some((_, other)) = given.next() {
            let words = format!("The parameter {parameter} cannot be used with the parameter {other}");
            return Err(Refusal::new(Code::InvalidParameterCombination, words));
        }
        match parameter {
            "gatewayId" => to_gateway(snap, table, id),
            "vpcPeeringConnectionId" => to_peering(snap, table, id),
            "natGatewayId" => to_nat_gateway(snap, table, id),
            _ => {
                let eni = if parameter == "instanceId" {
                    only_interface(snap, id)?
                } else {
                    find::network_interface(snap, id)?
                };
                let is_mine = eni.vpc == table.vpc;
                is_mine.then(|| RouteTarget::Eni(eni.id.clone())).ok_or_else(|| {
                    invalid(format!("route table {} and interface {} belong to different networks", table.id, eni.id))
                })
            }
        }
    }
}

/// The interface of an instance that has one interface alone.
fn only_interface<'a>(snap: &'a Snapshot, instance: &str) -> Result<&'a Arc<Eni>, Refusal> {
    let primary = find::primary_interface(snap, instance)?;
    let is_another = |eni: &&Arc<Eni>| {
        let attachment = eni.attachment.as_ref().filter(|_| !owner::by_owner(&eni.owner).requester_managed);
        attachment.is_some_and(|attachment| attachment.instance.as_str() == instance) && eni.id != primary.id
    };
    if snap.vpc().enis.values().any(|eni| is_another(&eni)) {
        let words = format!(
            "There are multiple interfaces attached to instance '{instance}'. Please specify an interface ID for the \
             operation instead."
        );
        return Err(Refusal::new(Code::InvalidInstanceId, words));
    }
    Ok(primary)
}

fn to_gateway(snap: &Snapshot, table: &RouteTable, text: &str) -> Result<RouteTarget, Refusal> {
    // An unknown gateway has another code as a route target than in its own operations.
    let gateway = InternetGatewayId::parse(text).ok().and_then(|id| snap.vpc().internet_gateways.get(&id));
    let unknown = || Refusal::new(Code::InvalidGatewayIdNotFound, format!("The gateway ID '{text}' does not exist"));
    let gateway = gateway.ok_or_else(unknown)?;
    if gateway.vpc.as_ref() != Some(&table.vpc) {
        let words = format!("route table {} and network gateway {} belong to different networks", table.id, gateway.id);
        return Err(invalid(words));
    }
    Ok(RouteTarget::InternetGateway(gateway.id.clone()))
}

/// A peering that is not active yet is a target too; the route is a blackhole until it is.
fn to_peering(snap: &Snapshot, table: &RouteTable, text: &str) -> Result<RouteTarget, Refusal> {
    let peering = find::peering(snap, text)?;
    if !peering.is_live() {
        return Err(PeeringId::not_found(text));
    }
    if peering.peer_of(&table.vpc).is_none() {
        let words = format!("route table {} and peering connection {text} belong to different networks", table.id);
        return Err(invalid(words));
    }
    Ok(RouteTarget::Peering(peering.id.clone()))
}

fn to_nat_gateway(snap: &Snapshot, table: &RouteTable, text: &str) -> Result<RouteTarget, Refusal> {
    // An unknown NAT gateway has another code as a route target than in its own operations.
    let gateway = NatGatewayId::parse(text).ok().and_then(|id| snap.vpc().nat_gateways.get(&id));
    let gateway = gateway.filter(|gateway| gateway.is_live()).ok_or_else(|| {
        Refusal::new(Code::InvalidNatGatewayIdNotFound, format!("The natGateway ID '{text}' does not exist"))
    })?;
    if gateway.vpc != table.vpc {
        let words = format!("route table {} and NAT gateway {} belong to different networks", table.id, gateway.id);
        return Err(invalid(words));
    }
    Ok(RouteTarget::NatGateway(gateway.id.clone()))
}

fn is_local(snap: &Snapshot, table: &RouteTable, destination: Ipv4Cidr) -> bool {
    snap.vpc().vpcs.get(&table.vpc).is_some_and(|vpc| vpc.cidrs().any(|cidr| cidr == destination))
}

/// Refuses what AWS does not allow for destinations inside the VPC: another target than a middlebox, and another range
/// than that of the VPC or of a whole subnet.
fn check_inside(
    snap: &Snapshot,
    table: &RouteTable,
    destination: &Destination,
    target: &RouteTarget,
) -> Result<(), Refusal> {
    let Destination::Cidr(destination) = *destination else { return Ok(()) };
    let vpc = snap.vpc().vpcs.get(&table.vpc);
    if !vpc.is_some_and(|vpc| vpc.cidrs().any(|cidr| cidr.covers(destination))) {
        return Ok(());
    }
    if !matches!(target, RouteTarget::Eni(_) | RouteTarget::NatGateway(_)) {
        return Err(invalid(format!(
            "The destination CIDR block {destination} is equal to or more specific than one of this VPC's CIDR blocks. \
             This route can target only an interface or an instance."
        )));
    }
    let is_whole = is_local(snap, table, destination)
        || snap.vpc().subnets_of(&table.vpc).any(|subnet| subnet.cidr == destination);
    if !is_whole {
        return Err(invalid(format!(
            "The destination CIDR block {destination} is more specific than one of this VPC's CIDR blocks. It must be \
             equal to the CIDR block of a subnet."
        )));
    }
    Ok(())
}

fn already_exists(table: &RouteTable, destination: &Destination) -> Refusal {
    let words = match destination {
        Destination::Cidr(cidr) => format!("The route identified by {cidr} already exists."),
        Destination::List(list) => {
            format!("route table {} already has a route with destination-prefix-list-id {list}", table.id)
        }
    };
    Refusal::new(Code::RouteAlreadyExists, words)
}

fn no_such_route(table: &RouteTable, destination: &Destination) -> Refusal {
    let kind = match destination {
        Destination::Cidr(_) => "cidr-block",
        Destination::List(_) => "prefix-list-id",
    };
    let words = format!("no route with destination-{kind} {destination} in route table {}", table.id);
    Refusal::new(Code::InvalidRouteNotFound, words)
}
