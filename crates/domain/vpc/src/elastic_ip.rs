// SPDX-License-Identifier: Apache-2.0
//! Elastic IP addresses: public addresses that a user keeps and associates with one interface after another.
//!
//! Interfaces that a service manages are not the user's to associate. Not here: what an interface shows of its public
//! address (`public_address.rs`).

use std::net::Ipv4Addr;

use berth_shapes::ec2::{
    Address, AddressAttribute, AllocateAddressRequest, AllocateAddressResult, AssociateAddressRequest,
    AssociateAddressResult, DescribeAddressesAttributeRequest, DescribeAddressesAttributeResult,
    DescribeAddressesRequest, DescribeAddressesResult, DisassociateAddressRequest, ReleaseAddressRequest,
};
use berth_shapes::{Ec2ErrorCode as Code, NoOutput};
use berth_state::vpc::{ElasticIp, ElasticIpAssociation, Eni, EniOwner, RecordKey};
use berth_state::{Change, Draft, Env, Refusal, Snapshot};
use berth_types::{ElasticIpAssociationId, ElasticIpId};

use super::describe::Selection;
use super::filter::{Filters, text};
use super::find::{self, Ec2Id};
use super::owner::by_owner;
use super::quota::Quota;
use super::request::{invalid, invalid_value, only, required};
use super::{public_address, tags};

/// The domain of all addresses.
const DOMAIN: &str = "vpc";
/// The pool of all addresses.
const POOL: &str = "amazon";
/// The one attribute that addresses have.
const DOMAIN_NAME: &str = "domain-name";

/// AllocateAddress: the lowest free address of the pool.
pub fn allocate_address(
    snap: &Snapshot,
    req: &AllocateAddressRequest,
    env: &Env,
) -> Result<Change<AllocateAddressResult>, Refusal> {
    only(req, &["Domain", "NetworkBorderGroup", "PublicIpv4Pool", "TagSpecifications"])?;
    for (asked, parameter, only_one) in [
        (&req.domain, "domain", DOMAIN),
        (&req.network_border_group, "networkBorderGroup", env.region.as_str()),
        (&req.public_ipv4_pool, "publicIpv4Pool", POOL),
    ] {
        if let Some(other) = asked.as_deref().filter(|asked| !asked.is_empty() && *asked != only_one) {
            return Err(invalid_value(other, parameter, &format!("Only '{only_one}' is offered.")));
        }
    }
    let tags = tags::asked(&req.tag_specifications, tags::Kind::ElasticIp)?;
    if Quota::ElasticIps.is_reached(snap, snap.vpc().elastic_ips.len()) {
        let words = "The maximum number of addresses has been reached.";
        return Err(Refusal::new(Code::AddressLimitExceeded, words));
    }
    let address = public_address::lowest_free(snap)?;
    let id = ElasticIpId::from_bits(env.fresh_bits());
    let mut draft = Draft::of(snap);
    draft.put(ElasticIp { id: id.clone(), address, association: None, allocated_at: env.now, tags });
    Ok(draft.change(AllocateAddressResult {
        allocation_id: Some(id.to_string()),
        domain: Some(DOMAIN.to_owned()),
        network_border_group: Some(env.region.clone()),
        public_ip: Some(address.to_string()),
        public_ipv4_pool: Some(POOL.to_owned()),
        ..Default::default()
    }))
}

/// AssociateAddress: the address leaves the interface it had, and the interface the address it had. Repeating it changes
/// nothing.
pub fn associate_address(
    snap: &Snapshot,
    req: &AssociateAddressRequest,
    env: &Env,
) -> Result<Change<AssociateAddressResult>, Refusal> {
    only(
        req,
        &["AllocationId", "AllowReassociation", "InstanceId", "NetworkInterfaceId", "PrivateIpAddress", "PublicIp"],
    )?;
    needs_id(
        &req.allocation_id,
        &req.public_ip,
        "You must specify an allocation id when mapping an address to a VPC instance",
    )?;
    let elastic = find::elastic_ip(snap, required(&req.allocation_id, "allocationId")?)?;
    let eni = target(snap, req)?;
    manageable(eni)?;
    let private_address = private_address(eni, req)?;
    let done = |id: &ElasticIpAssociationId| AssociateAddressResult { association_id: Some(id.to_string()) };
    let is_final = req.allow_reassociation == Some(false);
    if let Some(present) = &elastic.association {
        if present.eni == eni.id {
            return Ok(Change::none(done(&present.id)));
        }
        if let Some(other) = snap.vpc().enis.get(&present.eni) {
            manageable(other)?;
        }
        if is_final {
            return Err(already_associated(elastic.id.as_str(), &present.id));
        }
    }
    let replaced = public_address::elastic_of(snap, &eni.id).and_then(|other| other.association.as_ref());
    if let Some(replaced) = replaced.filter(|_| is_final) {
        return Err(already_associated(eni.id.as_str(), &replaced.id));
    }
    if snap.vpc().internet_gateway_of(&eni.vpc).is_none() {
        let words = format!("Network {} is not attached to any internet gateway", eni.vpc);
        return Err(Refusal::new(Code::GatewayNotAttached, words));
    }
    let mut draft = Draft::of(snap);
    let id = associate(&mut draft, elastic, eni, private_address, env);
    Ok(draft.change(done(&id)))
}

/// Associates an address with an interface; whatever both were associated with before is let go.
pub(super) fn associate(
    draft: &mut Draft,
    elastic: &ElasticIp,
    eni: &Eni,
    private_address: Ipv4Addr,
    env: &Env,
) -> ElasticIpAssociationId {
    public_address::disassociate(draft, &eni.id);
    if eni.public_address.is_some() {
        draft.put(Eni { public_address: None, ..eni.clone() });
    }
    let id = ElasticIpAssociationId::from_bits(env.fresh_bits());
    let association = ElasticIpAssociation { id: id.clone(), eni: eni.id.clone(), private_address };
    draft.put(ElasticIp { association: Some(association), ..elastic.clone() });
    id
}

/// DisassociateAddress.
pub fn disassociate_address(
    snap: &Snapshot,
    req: &DisassociateAddressRequest,
    _env: &Env,
) -> Result<Change<NoOutput>, Refusal> {
    only(req, &["AssociationId", "PublicIp"])?;
    let words = "You must specify an association id when unmapping an address from a VPC instance";
    needs_id(&req.association_id, &req.public_ip, words)?;
    let text = required(&req.association_id, "associationId")?;
    let id: ElasticIpAssociationId = find::id(text)?;
    let has_it = |elastic: &&ElasticIp| elastic.association.as_ref().is_some_and(|association| association.id == id);
    let elastic = snap.vpc().elastic_ips.values().map(AsRef::as_ref).find(has_it);
    let elastic = elastic.ok_or_else(|| ElasticIpAssociationId::not_found(text))?;
    let eni = elastic.association.as_ref().and_then(|association| snap.vpc().enis.get(&association.eni));
    if let Some(eni) = eni {
        manageable(eni)?;
    }
    let mut draft = Draft::of(snap);
    draft.put(ElasticIp { association: None, ..elastic.clone() });
    Ok(draft.change(NoOutput))
}

/// ReleaseAddress: only one that is not associated.
pub fn release_address(snap: &Snapshot, req: &ReleaseAddressRequest, env: &Env) -> Result<Change<NoOutput>, Refusal> {
    only(req, &["AllocationId", "PublicIp", "NetworkBorderGroup"])?;
    let words = "You must specify an allocation id when releasing a VPC elastic IP address";
    needs_id(&req.allocation_id, &req.public_ip, words)?;
    let elastic = find::elastic_ip(snap, required(&req.allocation_id, "allocationId")?)?;
    if let Some(other) = req.network_border_group.as_deref().filter(|group| !group.is_empty() && *group != env.region) {
        return Err(invalid_value(other, "networkBorderGroup", "The address is not in this network border group."));
    }
    if elastic.association.is_some() {
        return Err(Refusal::new(Code::InvalidIpAddressInUse, format!("Address {} is in use.", elastic.address)));
    }
    let mut draft = Draft::of(snap);
    draft.delete(RecordKey::ElasticIp(elastic.id.clone()));
    Ok(draft.change(NoOutput))
}

/// DescribeAddresses. It has no pages.
pub fn describe_addresses(
    snap: &Snapshot,
    req: &DescribeAddressesRequest,
    env: &Env,
) -> Result<DescribeAddressesResult, Refusal> {
    only(req, &["AllocationIds", "PublicIps", "Filters"])?;
    let selection = Selection {
        operation: "DescribeAddresses",
        ids_parameter: "allocationIds",
        ids: &req.allocation_ids,
        filters: &req.filters,
        max_results: None,
        next_token: &None,
    };
    let mut addresses = selection.records(&snap.vpc().elastic_ips, |id| find::elastic_ip(snap, id))?;
    let named = req.public_ips.as_deref().unwrap_or_default();
    let is_named = |elastic: &ElasticIp, text: &String| elastic.address.to_string() == *text;
    if let Some(unknown) = named.iter().find(|text| !addresses.iter().any(|elastic| is_named(elastic, text))) {
        return Err(Refusal::new(Code::InvalidAddressNotFound, format!("Address '{unknown}' not found.")));
    }
    addresses.retain(|elastic| named.is_empty() || named.iter().any(|text| is_named(elastic, text)));
    let answers = addresses.into_iter().map(|elastic| (elastic.id.to_string(), show(snap, elastic, env)));
    Ok(DescribeAddressesResult { addresses: Some(selection.page(&FILTERS, answers)?.items) })
}

/// DescribeAddressesAttribute. No address has a name in reverse DNS.
pub fn describe_addresses_attribute(
    snap: &Snapshot,
    req: &DescribeAddressesAttributeRequest,
    _env: &Env,
) -> Result<DescribeAddressesAttributeResult, Refusal> {
    only(req, &["AllocationIds", "Attribute", "MaxResults", "NextToken"])?;
    if let Some(other) = req.attribute.as_deref().filter(|attribute| !matches!(*attribute, "" | DOMAIN_NAME)) {
        return Err(invalid_value(other, "attribute", "Unknown attribute name."));
    }
    let selection = Selection {
        operation: "DescribeAddressesAttribute",
        ids_parameter: "allocationIds",
        ids: &req.allocation_ids,
        filters: &None,
        max_results: req.max_results,
        next_token: &req.next_token,
    };
    let addresses = selection.records(&snap.vpc().elastic_ips, |id| find::elastic_ip(snap, id))?;
    let answers = addresses.into_iter().map(|elastic| {
        let attribute = AddressAttribute {
            allocation_id: Some(elastic.id.to_string()),
            public_ip: Some(elastic.address.to_string()),
            ..Default::default()
        };
        (elastic.id.to_string(), attribute)
    });
    let page = selection.page(&Filters { rows: &[], tags: None }, answers)?;
    Ok(DescribeAddressesAttributeResult { addresses: Some(page.items), next_token: page.next_token })
}

static FILTERS: Filters<Address> = Filters {
    rows: &[
        (&["allocation-id"], |address| text(&address.allocation_id)),
        (&["association-id"], |address| text(&address.association_id)),
        (&["public-ip"], |address| text(&address.public_ip)),
        (&["domain"], |address| text(&address.domain)),
        (&["network-interface-id"], |address| text(&address.network_interface_id)),
        (&["network-interface-owner-id"], |address| text(&address.network_interface_owner_id)),
        (&["private-ip-address"], |address| text(&address.private_ip_address)),
        (&["instance-id"], |address| text(&address.instance_id)),
        (&["network-border-group"], |address| text(&address.network_border_group)),
    ],
    tags: Some(|address| &address.tags),
};

fn show(snap: &Snapshot, elastic: &ElasticIp, env: &Env) -> Address {
    let association = elastic.association.as_ref();
    let eni = association.and_then(|association| snap.vpc().enis.get(&association.eni));
    let attachment = eni.and_then(|eni| eni.attachment.as_ref().filter(|_| !by_owner(&eni.owner).requester_managed));
    Address {
        allocation_id: Some(elastic.id.to_string()),
        association_id: association.map(|association| association.id.to_string()),
        domain: Some(DOMAIN.to_owned()),
        instance_id: attachment.map(|attachment| attachment.instance.to_string()),
        network_border_group: Some(env.region.clone()),
        network_interface_id: association.map(|association| association.eni.to_string()),
        network_interface_owner_id: association.map(|_| env.account.clone()),
        private_ip_address: association.map(|association| association.private_address.to_string()),
        public_ip: Some(elastic.address.to_string()),
        public_ipv4_pool: Some(POOL.to_owned()),
        tags: tags::show(&elastic.tags),
        ..Default::default()
    }
}

/// The interface that a request names, or the primary one of the instance it names.
fn target<'a>(snap: &'a Snapshot, req: &AssociateAddressRequest) -> Result<&'a Eni, Refusal> {
    let given = |id: &'_ Option<String>| id.clone().filter(|id| !id.is_empty());
    match (given(&req.network_interface_id), given(&req.instance_id)) {
        (Some(interface), None) => find::network_interface(snap, &interface).map(AsRef::as_ref),
        (None, Some(instance)) => find::primary_interface(snap, &instance).map(AsRef::as_ref),
        (Some(_), Some(_)) => {
            let words = "The parameter instanceId cannot be used with the parameter networkInterfaceId";
            Err(Refusal::new(Code::InvalidParameterCombination, words))
        }
        (None, None) => {
            let words = "Either 'InstanceId' or 'NetworkInterfaceId' must be specified.";
            Err(Refusal::new(Code::MissingParameter, words))
        }
    }
}

fn private_address(eni: &Eni, req: &AssociateAddressRequest) -> Result<Ipv4Addr, Refusal> {
    match req.private_ip_address.as_deref().filter(|address| !address.is_empty()) {
        Some(text) if text != eni.address.to_string() => {
            Err(invalid(format!("The private IP address {text} is not assigned to network interface '{}'.", eni.id)))
        }
        Some(_) | None => Ok(eni.address),
    }
}

/// Refuses an interface that a service manages.
fn manageable(eni: &Eni) -> Result<(), Refusal> {
    match &eni.owner {
        EniOwner::User | EniOwner::Ec2Task(_) | EniOwner::Instance(_) | EniOwner::Standalone(_) => Ok(()),
        EniOwner::FargateTask(_) | EniOwner::NatGateway(_) => {
            let words = "You do not have permission to access the specified resource.";
            Err(Refusal::new(Code::AuthFailure, words))
        }
    }
}

/// Refuses a public address in place of an id, as AWS does in a VPC.
fn needs_id(id: &Option<String>, public_ip: &Option<String>, words: &str) -> Result<(), Refusal> {
    let is_given = |value: &Option<String>| value.as_deref().is_some_and(|value| !value.is_empty());
    if !is_given(public_ip) {
        return Ok(());
    }
    if is_given(id) {
        let words = "You may specify public IP or an id, but not both in the same call";
        return Err(Refusal::new(Code::InvalidParameterCombination, words));
    }
    Err(invalid(words))
}

fn already_associated(resource: &str, association: &ElasticIpAssociationId) -> Refusal {
    let words = format!("resource {resource} is already associated with associate-id {association}");
    Refusal::new(Code::ResourceAlreadyAssociated, words)
}
