// SPDX-License-Identifier: Apache-2.0
//! Internet gateways: at most one per VPC, at most one VPC each.
//!
//! Routes to a detached gateway remain and show as blackholes (`route_table.rs`).

use berth_shapes::ec2::{
    self, AttachInternetGatewayRequest, CreateInternetGatewayRequest, CreateInternetGatewayResult,
    DeleteInternetGatewayRequest, DescribeInternetGatewaysRequest, DescribeInternetGatewaysResult,
    DetachInternetGatewayRequest, InternetGatewayAttachment,
};
use berth_shapes::{Ec2ErrorCode as Code, NoOutput};
use berth_state::vpc::{InternetGateway, RecordKey};
use berth_state::{Change, Draft, Env, Refusal, Snapshot};
use berth_types::InternetGatewayId;

use super::describe::Selection;
use super::filter::{Filters, each, text};
use super::quota::Quota;
use super::request::{invalid, only, required};
use super::{find, public_address, tags};

/// CreateInternetGateway.
pub fn create_internet_gateway(
    snap: &Snapshot,
    req: &CreateInternetGatewayRequest,
    env: &Env,
) -> Result<Change<CreateInternetGatewayResult>, Refusal> {
    only(req, &["TagSpecifications"])?;
    let tags = tags::asked(&req.tag_specifications, tags::Kind::InternetGateway)?;
    if Quota::InternetGateways.is_reached(snap, snap.vpc().internet_gateways.len()) {
        let words = "The maximum number of internet gateways has been reached.";
        return Err(Refusal::new(Code::InternetGatewayLimitExceeded, words));
    }
    let gateway = InternetGateway { id: InternetGatewayId::from_bits(env.fresh_bits()), vpc: None, tags };
    let mut draft = Draft::of(snap);
    draft.put(gateway.clone());
    Ok(draft.change(CreateInternetGatewayResult { internet_gateway: Some(show(&gateway, env)) }))
}

/// AttachInternetGateway.
pub fn attach_internet_gateway(
    snap: &Snapshot,
    req: &AttachInternetGatewayRequest,
    _env: &Env,
) -> Result<Change<NoOutput>, Refusal> {
    only(req, &["InternetGatewayId", "VpcId"])?;
    let gateway = find::internet_gateway(snap, required(&req.internet_gateway_id, "internetGatewayId")?)?;
    let vpc = find::vpc(snap, required(&req.vpc_id, "vpcId")?)?;
    if let Some(other) = &gateway.vpc {
        let words = format!("resource {} is already attached to network {other}", gateway.id);
        return Err(Refusal::new(Code::ResourceAlreadyAssociated, words));
    }
    if snap.vpc().internet_gateways.values().any(|other| other.vpc.as_ref() == Some(&vpc.id)) {
        return Err(invalid(format!("Network {} already has an internet gateway attached", vpc.id)));
    }
    let mut draft = Draft::of(snap);
    draft.put(InternetGateway { vpc: Some(vpc.id.clone()), ..gateway.as_ref().clone() });
    Ok(draft.change(NoOutput))
}

/// DetachInternetGateway: only from a VPC whose interfaces have no public address.
pub fn detach_internet_gateway(
    snap: &Snapshot,
    req: &DetachInternetGatewayRequest,
    _env: &Env,
) -> Result<Change<NoOutput>, Refusal> {
    only(req, &["InternetGatewayId", "VpcId"])?;
    let gateway = find::internet_gateway(snap, required(&req.internet_gateway_id, "internetGatewayId")?)?;
    let vpc = find::vpc(snap, required(&req.vpc_id, "vpcId")?)?;
    if gateway.vpc.as_ref() != Some(&vpc.id) {
        let words = format!("resource {} is not attached to network {}", gateway.id, vpc.id);
        return Err(Refusal::new(Code::GatewayNotAttached, words));
    }
    if public_address::is_any_in(snap, &vpc.id) {
        let words = format!(
            "Network {} has some mapped public address(es). Please unmap those public address(es) before detaching the \
             gateway.",
            vpc.id
        );
        return Err(Refusal::new(Code::DependencyViolation, words));
    }
    let mut draft = Draft::of(snap);
    draft.put(InternetGateway { vpc: None, ..gateway.as_ref().clone() });
    Ok(draft.change(NoOutput))
}

/// DeleteInternetGateway.
pub fn delete_internet_gateway(
    snap: &Snapshot,
    req: &DeleteInternetGatewayRequest,
    _env: &Env,
) -> Result<Change<NoOutput>, Refusal> {
    only(req, &["InternetGatewayId"])?;
    let gateway = find::internet_gateway(snap, required(&req.internet_gateway_id, "internetGatewayId")?)?;
    if gateway.vpc.is_some() {
        let words = format!("The internetGateway '{}' has dependencies and cannot be deleted.", gateway.id);
        return Err(Refusal::new(Code::DependencyViolation, words));
    }
    let mut draft = Draft::of(snap);
    draft.delete(RecordKey::InternetGateway(gateway.id.clone()));
    Ok(draft.change(NoOutput))
}

/// DescribeInternetGateways.
pub fn describe_internet_gateways(
    snap: &Snapshot,
    req: &DescribeInternetGatewaysRequest,
    env: &Env,
) -> Result<DescribeInternetGatewaysResult, Refusal> {
    only(req, &["InternetGatewayIds", "Filters", "MaxResults", "NextToken"])?;
    let selection = Selection {
        operation: "DescribeInternetGateways",
        ids_parameter: "internetGatewayIds",
        ids: &req.internet_gateway_ids,
        filters: &req.filters,
        max_results: req.max_results,
        next_token: &req.next_token,
    };
    let gateways = selection.records(&snap.vpc().internet_gateways, |id| find::internet_gateway(snap, id))?;
    let answers = gateways.into_iter().map(|gateway| (gateway.id.to_string(), show(gateway, env)));
    let page = selection.page(&FILTERS, answers)?;
    Ok(DescribeInternetGatewaysResult { internet_gateways: Some(page.items), next_token: page.next_token })
}

static FILTERS: Filters<ec2::InternetGateway> = Filters {
    rows: &[
        (&["internet-gateway-id"], |gateway| text(&gateway.internet_gateway_id)),
        (&["attachment.vpc-id"], |gateway| each(&gateway.attachments, |attachment| &attachment.vpc_id)),
        (&["attachment.state"], |gateway| each(&gateway.attachments, |attachment| &attachment.state)),
        (&["owner-id"], |gateway| text(&gateway.owner_id)),
    ],
    tags: Some(|gateway| &gateway.tags),
};

fn show(gateway: &InternetGateway, env: &Env) -> ec2::InternetGateway {
    // AWS says "available" here, where other attachments are "attached".
    let attachments = gateway
        .vpc
        .iter()
        .map(|vpc| InternetGatewayAttachment { state: Some("available".to_owned()), vpc_id: Some(vpc.to_string()) });
    ec2::InternetGateway {
        attachments: Some(attachments.collect()),
        internet_gateway_id: Some(gateway.id.to_string()),
        owner_id: Some(env.account.clone()),
        tags: tags::show(&gateway.tags),
    }
}
