// SPDX-License-Identifier: Apache-2.0
//! Route tables and their associations with subnets.
//!
//! A subnet uses the table it is associated with, else the VPC's main table. The local route is in every table and is
//! not stored. Not here: the routes themselves (`route.rs`).

use berth_shapes::ec2::{
    self, AssociateRouteTableRequest, AssociateRouteTableResult, CreateRouteTableRequest, CreateRouteTableResult,
    DeleteRouteTableRequest, DescribeRouteTablesRequest, DescribeRouteTablesResult, DisassociateRouteTableRequest,
    ReplaceRouteTableAssociationRequest, ReplaceRouteTableAssociationResult, RouteTableAssociationState,
};
use berth_shapes::{Ec2ErrorCode as Code, NoOutput};
use berth_state::vpc::{RecordKey, RouteTable};
use berth_state::{Change, ClientToken, Draft, Env, Refusal, Snapshot};
use berth_types::{RouteTableAssociationId, RouteTableId};

use super::describe::Selection;
use super::filter::{Filters, each, text};
use super::find::{self, Ec2Id};
use super::quota::Quota;
use super::request::{invalid, made_before, only, required};
use super::{route, tags};

/// CreateRouteTable.
pub fn create_route_table(
    snap: &Snapshot,
    req: &CreateRouteTableRequest,
    env: &Env,
) -> Result<Change<CreateRouteTableResult>, Refusal> {
    only(req, &["VpcId", "ClientToken", "TagSpecifications"])?;
    let token = ClientToken::of(req.client_token.as_deref(), req);
    let tables = snap.vpc().route_tables.values().map(AsRef::as_ref);
    if let Some(table) = made_before(token.as_ref(), tables, |table: &RouteTable| table.client_token.as_ref())? {
        let route_table = Some(show(snap, table, env));
        return Ok(Change::none(CreateRouteTableResult { route_table, client_token: req.client_token.clone() }));
    }
    let tags = tags::asked(&req.tag_specifications, tags::Kind::RouteTable)?;
    let vpc = find::vpc(snap, required(&req.vpc_id, "vpcId")?)?;
    let tables = snap.vpc().route_tables.values().filter(|table| table.vpc == vpc.id);
    if Quota::RouteTablesPerVpc.is_reached(snap, tables.count()) {
        let words = format!("The maximum number of route tables for VPC '{}' has been reached.", vpc.id);
        return Err(Refusal::new(Code::RouteTableLimitExceeded, words));
    }
    let table = RouteTable {
        id: RouteTableId::from_bits(env.fresh_bits()),
        vpc: vpc.id.clone(),
        main_association: None,
        associations: Default::default(),
        routes: Default::default(),
        prefix_list_routes: Default::default(),
        client_token: token,
        tags,
    };
    let mut draft = Draft::of(snap);
    draft.put(table.clone());
    let route_table = Some(show(&draft, &table, env));
    Ok(draft.change(CreateRouteTableResult { route_table, client_token: req.client_token.clone() }))
}

/// DescribeRouteTables.
pub fn describe_route_tables(
    snap: &Snapshot,
    req: &DescribeRouteTablesRequest,
    env: &Env,
) -> Result<DescribeRouteTablesResult, Refusal> {
    only(req, &["RouteTableIds", "Filters", "MaxResults", "NextToken"])?;
    let selection = Selection {
        operation: "DescribeRouteTables",
        ids_parameter: "routeTableIds",
        ids: &req.route_table_ids,
        filters: &req.filters,
        max_results: req.max_results,
        next_token: &req.next_token,
    };
    let tables = selection.records(&snap.vpc().route_tables, |id| find::route_table(snap, id))?;
    let answers = tables.into_iter().map(|table| (table.id.to_string(), show(snap, table, env)));
    let page = selection.page(&FILTERS, answers)?;
    Ok(DescribeRouteTablesResult { route_tables: Some(page.items), next_token: page.next_token })
}

/// DeleteRouteTable: not the main one, and not while a subnet is associated.
pub fn delete_route_table(
    snap: &Snapshot,
    req: &DeleteRouteTableRequest,
    _env: &Env,
) -> Result<Change<NoOutput>, Refusal> {
    only(req, &["RouteTableId"])?;
    let table = find::route_table(snap, required(&req.route_table_id, "routeTableId")?)?;
    if table.main_association.is_some() || !table.associations.is_empty() {
        let words = format!("The routeTable '{}' has dependencies and cannot be deleted.", table.id);
        return Err(Refusal::new(Code::DependencyViolation, words));
    }
    let mut draft = Draft::of(snap);
    draft.delete(RecordKey::RouteTable(table.id.clone()));
    Ok(draft.change(NoOutput))
}

/// AssociateRouteTable.
pub fn associate_route_table(
    snap: &Snapshot,
    req: &AssociateRouteTableRequest,
    env: &Env,
) -> Result<Change<AssociateRouteTableResult>, Refusal> {
    only(req, &["RouteTableId", "SubnetId"])?;
    let mut table = find::route_table(snap, required(&req.route_table_id, "routeTableId")?)?.as_ref().clone();
    let subnet = find::subnet(snap, required(&req.subnet_id, "subnetId")?)?;
    if table.vpc != subnet.vpc {
        let words = format!("route table {} and subnet {} belong to different networks", table.id, subnet.id);
        return Err(invalid(words));
    }
    let is_associated = |table: &RouteTable| table.associations.values().any(|it| *it == subnet.id);
    if snap.vpc().route_tables.values().any(|table| is_associated(table)) {
        let words =
            format!("the specified association for route table {} conflicts with an existing association", table.id);
        return Err(Refusal::new(Code::ResourceAlreadyAssociated, words));
    }
    let association = RouteTableAssociationId::from_bits(env.fresh_bits());
    table.associations.insert(association.clone(), subnet.id.clone());
    let mut draft = Draft::of(snap);
    draft.put(table);
    Ok(draft.change(AssociateRouteTableResult {
        association_id: Some(association.to_string()),
        association_state: Some(associated()),
    }))
}

/// DisassociateRouteTable: the subnet uses the main table again.
pub fn disassociate_route_table(
    snap: &Snapshot,
    req: &DisassociateRouteTableRequest,
    _env: &Env,
) -> Result<Change<NoOutput>, Refusal> {
    only(req, &["AssociationId"])?;
    let (id, table) = association(snap, required(&req.association_id, "associationId")?)?;
    if table.main_association.as_ref() == Some(&id) {
        return Err(invalid(format!("cannot disassociate the main route table association {id}")));
    }
    let mut table = table.clone();
    table.associations.remove(&id);
    let mut draft = Draft::of(snap);
    draft.put(table);
    Ok(draft.change(NoOutput))
}

/// ReplaceRouteTableAssociation: another table for the subnet, or another main table for the VPC.
pub fn replace_route_table_association(
    snap: &Snapshot,
    req: &ReplaceRouteTableAssociationRequest,
    env: &Env,
) -> Result<Change<ReplaceRouteTableAssociationResult>, Refusal> {
    only(req, &["AssociationId", "RouteTableId"])?;
    let (id, old) = association(snap, required(&req.association_id, "associationId")?)?;
    let new = find::route_table(snap, required(&req.route_table_id, "routeTableId")?)?;
    if old.vpc != new.vpc {
        let words = format!("route table {} and route table {} belong to different networks", new.id, old.id);
        return Err(invalid(words));
    }
    let mut draft = Draft::of(snap);
    let fresh = RouteTableAssociationId::from_bits(env.fresh_bits());
    let mut left = old.clone();
    let subnet = left.associations.remove(&id);
    if subnet.is_none() {
        left.main_association = None;
    }
    draft.put(left);
    let mut taken = find::route_table(&draft, &new.id)?.as_ref().clone();
    match subnet {
        Some(subnet) => {
            taken.associations.insert(fresh.clone(), subnet);
        }
        None => taken.main_association = Some(fresh.clone()),
    }
    draft.put(taken);
    Ok(draft.change(ReplaceRouteTableAssociationResult {
        association_state: Some(associated()),
        new_association_id: Some(fresh.to_string()),
    }))
}

static FILTERS: Filters<ec2::RouteTable> = Filters {
    rows: &[
        (&["route-table-id"], |table| text(&table.route_table_id)),
        (&["vpc-id"], |table| text(&table.vpc_id)),
        (&["owner-id"], |table| text(&table.owner_id)),
        (&["association.main"], |table| {
            table
                .associations
                .iter()
                .flatten()
                .filter_map(|association| association.main)
                .map(|it| it.to_string())
                .collect()
        }),
        (&["association.subnet-id"], |table| each(&table.associations, |association| &association.subnet_id)),
        (&["association.gateway-id"], |table| each(&table.associations, |association| &association.gateway_id)),
        (&["association.route-table-id"], |table| each(&table.associations, |association| &association.route_table_id)),
        (&["association.route-table-association-id"], |table| {
            each(&table.associations, |association| &association.route_table_association_id)
        }),
        (&["route.destination-cidr-block"], |table| each(&table.routes, |route| &route.destination_cidr_block)),
        (&["route.destination-ipv6-cidr-block"], |table| {
            each(&table.routes, |route| &route.destination_ipv6_cidr_block)
        }),
        (&["route.destination-prefix-list-id"], |table| each(&table.routes, |route| &route.destination_prefix_list_id)),
        (&["route.gateway-id"], |table| each(&table.routes, |route| &route.gateway_id)),
        (&["route.nat-gateway-id"], |table| each(&table.routes, |route| &route.nat_gateway_id)),
        (&["route.instance-id"], |table| each(&table.routes, |route| &route.instance_id)),
        (&["route.network-interface-id"], |table| each(&table.routes, |route| &route.network_interface_id)),
        (&["route.transit-gateway-id"], |table| each(&table.routes, |route| &route.transit_gateway_id)),
        (&["route.egress-only-internet-gateway-id"], |table| {
            each(&table.routes, |route| &route.egress_only_internet_gateway_id)
        }),
        (&["route.vpc-peering-connection-id"], |table| each(&table.routes, |route| &route.vpc_peering_connection_id)),
        (&["route.origin"], |table| each(&table.routes, |route| &route.origin)),
        (&["route.state"], |table| each(&table.routes, |route| &route.state)),
    ],
    tags: Some(|table| &table.tags),
};

fn show(snap: &Snapshot, table: &RouteTable, env: &Env) -> ec2::RouteTable {
    let association = |id: &RouteTableAssociationId, subnet: Option<String>| ec2::RouteTableAssociation {
        association_state: Some(associated()),
        main: Some(subnet.is_none()),
        route_table_association_id: Some(id.to_string()),
        route_table_id: Some(table.id.to_string()),
        subnet_id: subnet,
        ..Default::default()
    };
    let main = table.main_association.iter().map(|id| association(id, None));
    let explicit = table.associations.iter().map(|(id, subnet)| association(id, Some(subnet.to_string())));
    ec2::RouteTable {
        associations: Some(main.chain(explicit).collect()),
        owner_id: Some(env.account.clone()),
        propagating_vgws: Some(Vec::new()),
        route_table_id: Some(table.id.to_string()),
        routes: Some(route::show(snap, table, env)),
        tags: tags::show(&table.tags),
        vpc_id: Some(table.vpc.to_string()),
    }
}

fn associated() -> RouteTableAssociationState {
    RouteTableAssociationState { state: Some("associated".to_owned()), status_message: None }
}

fn association<'a>(snap: &'a Snapshot, text: &str) -> Result<(RouteTableAssociationId, &'a RouteTable), Refusal> {
    let id: RouteTableAssociationId = find::id(text)?;
    let mut tables = snap.vpc().route_tables.values().map(AsRef::as_ref);
    let table = tables.find(|table: &&RouteTable| {
        table.main_association.as_ref() == Some(&id) || table.associations.contains_key(&id)
    });
    match table {
        Some(table) => Ok((id, table)),
        None => Err(RouteTableAssociationId::not_found(text)),
    }
}
