// SPDX-License-Identifier: Apache-2.0
//! Network ACLs: stateless filters at the border of subnets.
//!
//! A VPC has a default ACL, made and deleted with it, whose first entries admit everything; an ACL made by a user denies
//! everything until it has entries. Each subnet has exactly one: the default one, until another is put in its place.
//! Not here: the entries (`network_acl_entry.rs`).

use berth_shapes::ec2::{
    self, CreateNetworkAclRequest, CreateNetworkAclResult, DeleteNetworkAclRequest, DescribeNetworkAclsRequest,
    DescribeNetworkAclsResult, NetworkAclAssociation, NetworkAclEntry, ReplaceNetworkAclAssociationRequest,
    ReplaceNetworkAclAssociationResult,
};
use berth_shapes::{Ec2ErrorCode as Code, NoOutput};
use berth_state::vpc::{NetworkAcl, RecordKey, Subnet, admit_all};
use berth_state::{Change, ClientToken, Draft, Env, Refusal, Snapshot, Tags};
use berth_types::{NetworkAclAssociationId, NetworkAclId, SubnetId, VpcId};

use super::describe::Selection;
use super::filter::{Filters, each, shown, text};
use super::find::{self, Ec2Id};
use super::quota::Quota;
use super::request::{invalid, made_before, only, required};
use super::{network_acl_entry as entry, tags};

/// CreateNetworkAcl.
pub fn create_network_acl(
    snap: &Snapshot,
    req: &CreateNetworkAclRequest,
    env: &Env,
) -> Result<Change<CreateNetworkAclResult>, Refusal> {
    only(req, &["VpcId", "ClientToken", "TagSpecifications"])?;
    let token = ClientToken::of(req.client_token.as_deref(), req);
    let acls = snap.vpc().network_acls.values().map(AsRef::as_ref);
    let answer = |acl: &NetworkAcl| CreateNetworkAclResult {
        network_acl: Some(show(acl, env)),
        client_token: req.client_token.clone(),
    };
    if let Some(acl) = made_before(token.as_ref(), acls, |acl: &NetworkAcl| acl.client_token.as_ref())? {
        return Ok(Change::none(answer(acl)));
    }
    let tags = tags::asked(&req.tag_specifications, tags::Kind::NetworkAcl)?;
    let vpc = find::vpc(snap, required(&req.vpc_id, "vpcId")?)?;
    if Quota::NetworkAclsPerVpc.is_reached(snap, snap.vpc().network_acls_of(&vpc.id).count()) {
        let words = format!("The maximum number of network ACLs for VPC '{}' has been reached.", vpc.id);
        return Err(Refusal::new(Code::NetworkAclLimitExceeded, words));
    }
    let acl = NetworkAcl {
        id: NetworkAclId::from_bits(env.fresh_bits()),
        vpc: vpc.id.clone(),
        is_default: false,
        associations: Default::default(),
        ingress: Default::default(),
        egress: Default::default(),
        client_token: token,
        tags,
    };
    let answer = answer(&acl);
    let mut draft = Draft::of(snap);
    draft.put(acl);
    Ok(draft.change(answer))
}

/// DeleteNetworkAcl: not the default one, and not while a subnet has it.
pub fn delete_network_acl(
    snap: &Snapshot,
    req: &DeleteNetworkAclRequest,
    _env: &Env,
) -> Result<Change<NoOutput>, Refusal> {
    only(req, &["NetworkAclId"])?;
    let acl = find::network_acl(snap, required(&req.network_acl_id, "networkAclId")?)?;
    if acl.is_default {
        return Err(invalid(format!("cannot delete default network ACL {}", acl.id)));
    }
    if !acl.associations.is_empty() {
        let words = format!("The networkAcl '{}' has dependencies and cannot be deleted.", acl.id);
        return Err(Refusal::new(Code::DependencyViolation, words));
    }
    let mut draft = Draft::of(snap);
    draft.delete(RecordKey::NetworkAcl(acl.id.clone()));
    Ok(draft.change(NoOutput))
}

/// ReplaceNetworkAclAssociation: another ACL for the subnet.
pub fn replace_network_acl_association(
    snap: &Snapshot,
    req: &ReplaceNetworkAclAssociationRequest,
    env: &Env,
) -> Result<Change<ReplaceNetworkAclAssociationResult>, Refusal> {
    only(req, &["AssociationId", "NetworkAclId"])?;
    let text = required(&req.association_id, "associationId")?;
    let id: NetworkAclAssociationId = find::id(text)?;
    let of =
        |acl: &NetworkAcl| acl.associations.iter().find(|(_, known)| **known == id).map(|(subnet, _)| subnet.clone());
    let mut acls = snap.vpc().network_acls.values();
    let found = acls.find_map(|acl| Some((acl.as_ref().clone(), of(acl)?)));
    let (mut left, subnet) = found.ok_or_else(|| NetworkAclAssociationId::not_found(text))?;
    let new = find::network_acl(snap, required(&req.network_acl_id, "networkAclId")?)?;
    if left.vpc != new.vpc {
        let words = format!("network ACL {} and subnet {subnet} belong to different networks", new.id);
        return Err(invalid(words));
    }
    let mut draft = Draft::of(snap);
    left.associations.remove(&subnet);
    draft.put(left);
    let mut taken = find::network_acl(&draft, &new.id)?.as_ref().clone();
    let fresh = NetworkAclAssociationId::from_bits(env.fresh_bits());
    taken.associations.insert(subnet, fresh.clone());
    draft.put(taken);
    Ok(draft.change(ReplaceNetworkAclAssociationResult { new_association_id: Some(fresh.to_string()) }))
}

/// DescribeNetworkAcls.
pub fn describe_network_acls(
    snap: &Snapshot,
    req: &DescribeNetworkAclsRequest,
    env: &Env,
) -> Result<DescribeNetworkAclsResult, Refusal> {
    only(req, &["NetworkAclIds", "Filters", "MaxResults", "NextToken"])?;
    let selection = Selection {
        operation: "DescribeNetworkAcls",
        ids_parameter: "networkAclIds",
        ids: &req.network_acl_ids,
        filters: &req.filters,
        max_results: req.max_results,
        next_token: &req.next_token,
    };
    let acls = selection.records(&snap.vpc().network_acls, |id| find::network_acl(snap, id))?;
    let page = selection.page(&FILTERS, acls.into_iter().map(|acl| (acl.id.to_string(), show(acl, env))))?;
    Ok(DescribeNetworkAclsResult { network_acls: Some(page.items), next_token: page.next_token })
}

/// Makes the default ACL of a new VPC.
pub(super) fn create(draft: &mut Draft, vpc: &VpcId, env: &Env) {
    draft.put(NetworkAcl {
        id: NetworkAclId::from_bits(env.fresh_bits()),
        vpc: vpc.clone(),
        is_default: true,
        associations: Default::default(),
        ingress: admit_all(),
        egress: admit_all(),
        client_token: None,
        tags: Tags::new(),
    });
}

/// Associates a new subnet with its VPC's default ACL.
pub(super) fn associate(draft: &mut Draft, subnet: &Subnet, env: &Env) {
    let Some(mut acl) = default_of(draft, &subnet.vpc) else { return };
    acl.associations.insert(subnet.id.clone(), NetworkAclAssociationId::from_bits(env.fresh_bits()));
    draft.put(acl);
}

/// Removes the association of a deleted subnet.
pub(super) fn dissociate(draft: &mut Draft, vpc: &VpcId, subnet: &SubnetId) {
    let acl = draft.vpc().network_acls_of(vpc).find(|acl| acl.associations.contains_key(subnet));
    let Some(mut acl) = acl.cloned() else { return };
    acl.associations.remove(subnet);
    draft.put(acl);
}

/// Removes the default ACL of a deleted VPC.
pub(super) fn delete(draft: &mut Draft, vpc: &VpcId) {
    if let Some(acl) = default_of(draft, vpc) {
        draft.delete(RecordKey::NetworkAcl(acl.id));
    }
}

fn default_of(snap: &Snapshot, vpc: &VpcId) -> Option<NetworkAcl> {
    snap.vpc().network_acls_of(vpc).find(|acl| acl.is_default).cloned()
}

static FILTERS: Filters<ec2::NetworkAcl> = Filters {
    rows: &[
        (&["network-acl-id"], |acl| text(&acl.network_acl_id)),
        (&["vpc-id"], |acl| text(&acl.vpc_id)),
        (&["default"], |acl| shown(&acl.is_default)),
        (&["owner-id"], |acl| text(&acl.owner_id)),
        (&["association.association-id"], |acl| each(&acl.associations, |it| &it.network_acl_association_id)),
        (&["association.network-acl-id"], |acl| each(&acl.associations, |it| &it.network_acl_id)),
        (&["association.subnet-id"], |acl| each(&acl.associations, |it| &it.subnet_id)),
        (&["entry.cidr"], |acl| each(&acl.entries, |it| &it.cidr_block)),
        (&["entry.ipv6-cidr"], |acl| each(&acl.entries, |it| &it.ipv6_cidr_block)),
        (&["entry.egress"], |acl| acl.entries.iter().flatten().flat_map(|it| shown(&it.egress)).collect()),
        (&["entry.protocol"], |acl| each(&acl.entries, |it| &it.protocol)),
        (&["entry.rule-action"], |acl| each(&acl.entries, |it| &it.rule_action)),
        (&["entry.rule-number"], |acl| acl.entries.iter().flatten().flat_map(|it| shown(&it.rule_number)).collect()),
        (&["entry.port-range.from"], |acl| numbers(acl, |it| it.port_range.as_ref()?.from)),
        (&["entry.port-range.to"], |acl| numbers(acl, |it| it.port_range.as_ref()?.to)),
        (&["entry.icmp.code"], |acl| numbers(acl, |it| it.icmp_type_code.as_ref()?.code)),
        (&["entry.icmp.type"], |acl| numbers(acl, |it| it.icmp_type_code.as_ref()?.r#type)),
    ],
    tags: Some(|acl| &acl.tags),
};

fn numbers(acl: &ec2::NetworkAcl, number: fn(&NetworkAclEntry) -> Option<i32>) -> Vec<String> {
    acl.entries.iter().flatten().filter_map(number).map(|number| number.to_string()).collect()
}

fn show(acl: &NetworkAcl, env: &Env) -> ec2::NetworkAcl {
    let association = |(subnet, id): (&SubnetId, &NetworkAclAssociationId)| NetworkAclAssociation {
        network_acl_association_id: Some(id.to_string()),
        network_acl_id: Some(acl.id.to_string()),
        subnet_id: Some(subnet.to_string()),
    };
    ec2::NetworkAcl {
        associations: Some(acl.associations.iter().map(association).collect()),
        entries: Some(entry::show(acl)),
        is_default: Some(acl.is_default),
        network_acl_id: Some(acl.id.to_string()),
        owner_id: Some(env.account.clone()),
        tags: tags::show(&acl.tags),
        vpc_id: Some(acl.vpc.to_string()),
    }
}
