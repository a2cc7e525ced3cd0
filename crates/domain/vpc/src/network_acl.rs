// SPDX-License-Identifier: Apache-2.0
//! Network ACLs: the default one of each VPC, which admits every packet.
//!
//! Every subnet is associated with it from creation to deletion. Not here: ACLs made by users, which are not supported;
//! the entries of the default ACL are therefore implied and not stored.

use berth_shapes::ec2::{
    self, DescribeNetworkAclsRequest, DescribeNetworkAclsResult, NetworkAclAssociation, NetworkAclEntry,
};
use berth_state::vpc::{NetworkAcl, RecordKey, Subnet};
use berth_state::{Draft, Env, Refusal, Snapshot, Tags};
use berth_types::{NetworkAclAssociationId, NetworkAclId, SubnetId, VpcId};

use super::describe::Selection;
use super::filter::{Filters, each, shown, text};
use super::request::only;
use super::{find, tags};

/// Number of the entry that admits everything.
const ADMITS_ALL: i32 = 100;

/// Number of the last entry, which AWS shows as `*`.
const LAST: i32 = 32_767;

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
    let id = NetworkAclId::from_bits(env.fresh_bits());
    draft.put(NetworkAcl { id, vpc: vpc.clone(), associations: Default::default(), tags: Tags::new() });
}

/// Associates a new subnet with its VPC's ACL.
pub(super) fn associate(draft: &mut Draft, subnet: &Subnet, env: &Env) {
    let Some(mut acl) = of_vpc(draft, &subnet.vpc) else { return };
    acl.associations.insert(subnet.id.clone(), NetworkAclAssociationId::from_bits(env.fresh_bits()));
    draft.put(acl);
}

/// Removes the association of a deleted subnet.
pub(super) fn dissociate(draft: &mut Draft, vpc: &VpcId, subnet: &SubnetId) {
    let Some(mut acl) = of_vpc(draft, vpc) else { return };
    acl.associations.remove(subnet);
    draft.put(acl);
}

/// Removes the ACL of a deleted VPC.
pub(super) fn delete(draft: &mut Draft, vpc: &VpcId) {
    if let Some(acl) = of_vpc(draft, vpc) {
        draft.delete(RecordKey::NetworkAcl(acl.id));
    }
}

fn of_vpc(snap: &Snapshot, vpc: &VpcId) -> Option<NetworkAcl> {
    snap.vpc().network_acls.values().find(|acl| acl.vpc == *vpc).map(|acl| acl.as_ref().clone())
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
        (&["entry.ipv6-cidr"], |_| Vec::new()),
        (&["entry.egress"], |acl| acl.entries.iter().flatten().flat_map(|it| shown(&it.egress)).collect()),
        (&["entry.protocol"], |acl| each(&acl.entries, |it| &it.protocol)),
        (&["entry.rule-action"], |acl| each(&acl.entries, |it| &it.rule_action)),
        (&["entry.rule-number"], |acl| acl.entries.iter().flatten().flat_map(|it| shown(&it.rule_number)).collect()),
        (&["entry.port-range.from", "entry.port-range.to", "entry.icmp.code", "entry.icmp.type"], |_| Vec::new()),
    ],
    tags: Some(|acl| &acl.tags),
};

fn show(acl: &NetworkAcl, env: &Env) -> ec2::NetworkAcl {
    let association = |(subnet, id): (&SubnetId, &NetworkAclAssociationId)| NetworkAclAssociation {
        network_acl_association_id: Some(id.to_string()),
        network_acl_id: Some(acl.id.to_string()),
        subnet_id: Some(subnet.to_string()),
    };
    let entry = |egress: bool, number: i32, action: &str| NetworkAclEntry {
        cidr_block: Some("0.0.0.0/0".to_owned()),
        egress: Some(egress),
        protocol: Some("-1".to_owned()),
        rule_action: Some(action.to_owned()),
        rule_number: Some(number),
        ..Default::default()
    };
    let entries = [true, false].map(|egress| [entry(egress, ADMITS_ALL, "allow"), entry(egress, LAST, "deny")]);
    ec2::NetworkAcl {
        associations: Some(acl.associations.iter().map(association).collect()),
        entries: Some(entries.concat()),
        is_default: Some(true),
        network_acl_id: Some(acl.id.to_string()),
        owner_id: Some(env.account.clone()),
        tags: tags::show(&acl.tags),
        vpc_id: Some(acl.vpc.to_string()),
    }
}
