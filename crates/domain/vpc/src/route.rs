// SPDX-License-Identifier: Apache-2.0
//! Routes: the targets of packets to destinations outside the VPC.
//!
//! The local route stands first in every table and cannot be removed. A route whose target was deleted remains and
//! shows as a blackhole. The only target users can set is an internet gateway; every other kind is refused, because it
//! could not forward packets.

use berth_shapes::ec2::{self, CreateRouteRequest, CreateRouteResult, DeleteRouteRequest, ReplaceRouteRequest};
use berth_shapes::{Ec2ErrorCode as Code, NoOutput};
use berth_state::vpc::{InternetGateway, RouteTable, RouteTarget};
use berth_state::{Change, Draft, Env, Refusal, Snapshot};
use berth_types::intent::RouteIntent;
use berth_types::{InternetGatewayId, Ipv4Cidr};

use super::find;
use super::request::{cidr, invalid, missing, only, required};

/// Maximum number of routes of one table, without the local one.
const ROUTES_MAX: usize = 50;

/// CreateRoute. Repeating a route is not an error.
pub fn create_route(
    snap: &Snapshot,
    req: &CreateRouteRequest,
    _env: &Env,
) -> Result<Change<CreateRouteResult>, Refusal> {
    if let Some(interface) = req.network_interface_id.as_deref().filter(|id| !id.is_empty()) {
        // An interface is not yet supported as target (`only`); one that does not exist has its own refusal.
        find::network_interface(snap, interface)?;
    }
    only(req, &["RouteTableId", "DestinationCidrBlock", "GatewayId", "NatGatewayId"])?;
    let mut table = find::route_table(snap, required(&req.route_table_id, "routeTableId")?)?.as_ref().clone();
    let destination = cidr(required(&req.destination_cidr_block, "destinationCidrBlock")?, "destinationCidrBlock")?;
    let target = target(snap, &table, &req.gateway_id, &req.nat_gateway_id)?;
    outside_the_vpc(snap, &table, destination)?;
    let done = CreateRouteResult { r#return: Some(true) };
    match table.routes.get(&destination) {
        Some(old) if *old == target => return Ok(Change::none(done)),
        Some(_) => {
            let words = format!("The route identified by {destination} already exists.");
            return Err(Refusal::new(Code::RouteAlreadyExists, words));
        }
        None if table.routes.len() >= ROUTES_MAX => {
            let words = format!("The maximum number of routes for route table '{}' has been reached.", table.id);
            return Err(Refusal::new(Code::RouteLimitExceeded, words));
        }
        None => {}
    }
    table.routes.insert(destination, target);
    let mut draft = Draft::of(snap);
    draft.put(table);
    Ok(draft.change(done))
}

/// ReplaceRoute: another target for an existing destination.
pub fn replace_route(snap: &Snapshot, req: &ReplaceRouteRequest, _env: &Env) -> Result<Change<NoOutput>, Refusal> {
    only(req, &["RouteTableId", "DestinationCidrBlock", "GatewayId", "NatGatewayId", "LocalTarget"])?;
    let mut table = find::route_table(snap, required(&req.route_table_id, "routeTableId")?)?.as_ref().clone();
    let destination = cidr(required(&req.destination_cidr_block, "destinationCidrBlock")?, "destinationCidrBlock")?;
    let to_local = req.local_target == Some(true) || req.gateway_id.as_deref() == Some("local");
    if is_local(snap, &table, destination) {
        // The target of the local route cannot change.
        return if to_local { Ok(Change::none(NoOutput)) } else { Err(local_route_refusal(destination)) };
    }
    if to_local {
        return Err(invalid("The local target is only for the local route."));
    }
    if !table.routes.contains_key(&destination) {
        return Err(no_such_route(&table, destination));
    }
    let target = target(snap, &table, &req.gateway_id, &req.nat_gateway_id)?;
    table.routes.insert(destination, target);
    let mut draft = Draft::of(snap);
    draft.put(table);
    Ok(draft.change(NoOutput))
}

/// DeleteRoute.
pub fn delete_route(snap: &Snapshot, req: &DeleteRouteRequest, _env: &Env) -> Result<Change<NoOutput>, Refusal> {
    only(req, &["RouteTableId", "DestinationCidrBlock"])?;
    let mut table = find::route_table(snap, required(&req.route_table_id, "routeTableId")?)?.as_ref().clone();
    let destination = cidr(required(&req.destination_cidr_block, "destinationCidrBlock")?, "destinationCidrBlock")?;
    if is_local(snap, &table, destination) {
        let words = format!("cannot remove local route {destination} in route table {}", table.id);
        return Err(invalid(words));
    }
    if table.routes.remove(&destination).is_none() {
        return Err(no_such_route(&table, destination));
    }
    let mut draft = Draft::of(snap);
    draft.put(table);
    Ok(draft.change(NoOutput))
}

/// The routes of a table for an answer, the local one first.
pub(super) fn show(snap: &Snapshot, table: &RouteTable) -> Vec<ec2::Route> {
    let local = snap.vpc().vpcs.get(&table.vpc).map(|vpc| ec2::Route {
        destination_cidr_block: Some(vpc.cidr.to_string()),
        gateway_id: Some("local".to_owned()),
        origin: Some("CreateRouteTable".to_owned()),
        state: Some("active".to_owned()),
        ..Default::default()
    });
    let others = table.routes.iter().map(|(destination, target)| {
        let (gateway_id, network_interface_id) = match target {
            RouteTarget::InternetGateway(gateway) => (Some(gateway.to_string()), None),
            RouteTarget::Eni(eni) => (None, Some(eni.to_string())),
        };
        let state = match snap.vpc().route_intent(target, &table.vpc) {
            RouteIntent::Blackhole => "blackhole",
            _ => "active",
        };
        ec2::Route {
            destination_cidr_block: Some(destination.to_string()),
            gateway_id,
            network_interface_id,
            origin: Some("CreateRoute".to_owned()),
            state: Some(state.to_owned()),
            ..Default::default()
        }
    });
    local.into_iter().chain(others).collect()
}

fn target(
    snap: &Snapshot,
    table: &RouteTable,
    gateway: &Option<String>,
    nat_gateway: &Option<String>,
) -> Result<RouteTarget, Refusal> {
    if let Some(id) = nat_gateway.as_deref().filter(|id| !id.is_empty()) {
        let words = format!("The natGateway ID '{id}' does not exist");
        return Err(Refusal::new(Code::InvalidNatGatewayIdNotFound, words));
    }
    let text = gateway.as_deref().filter(|id| !id.is_empty()).ok_or_else(|| missing("gatewayId"))?;
    let gateway = find_gateway(snap, text)?;
    if gateway.vpc.as_ref() != Some(&table.vpc) {
        let words = format!("route table {} and network gateway {} belong to different networks", table.id, gateway.id);
        return Err(invalid(words));
    }
    Ok(RouteTarget::InternetGateway(gateway.id.clone()))
}

/// An unknown gateway has another code as a route target than in its own operations.
fn find_gateway<'a>(snap: &'a Snapshot, text: &str) -> Result<&'a InternetGateway, Refusal> {
    let gateway = InternetGatewayId::parse(text).ok().and_then(|id| snap.vpc().internet_gateways.get(&id));
    gateway
        .map(AsRef::as_ref)
        .ok_or_else(|| Refusal::new(Code::InvalidGatewayIdNotFound, format!("The gateway ID '{text}' does not exist")))
}

fn is_local(snap: &Snapshot, table: &RouteTable, destination: Ipv4Cidr) -> bool {
    snap.vpc().vpcs.get(&table.vpc).is_some_and(|vpc| vpc.cidr == destination)
}

/// Refuses a destination inside the VPC: AWS allows only middleboxes there, which are not supported as targets.
fn outside_the_vpc(snap: &Snapshot, table: &RouteTable, destination: Ipv4Cidr) -> Result<(), Refusal> {
    let is_inside = snap.vpc().vpcs.get(&table.vpc).is_some_and(|vpc| vpc.cidr.covers(destination));
    if is_inside { Err(local_route_refusal(destination)) } else { Ok(()) }
}

fn local_route_refusal(destination: Ipv4Cidr) -> Refusal {
    invalid(format!(
        "The destination CIDR block {destination} is equal to or more specific than one of this VPC's CIDR blocks. \
         This route can target only an interface or an instance."
    ))
}

fn no_such_route(table: &RouteTable, destination: Ipv4Cidr) -> Refusal {
    let words = format!("no route with destination-cidr-block {destination} in route table {}", table.id);
    Refusal::new(Code::InvalidRouteNotFound, words)
}
