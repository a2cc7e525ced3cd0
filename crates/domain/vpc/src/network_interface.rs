// SPDX-License-Identifier: Apache-2.0
//! The EC2 operations on network interfaces.
//!
//! Users make interfaces of their own and see those of tasks and of `berth shell`. An interface of a task belongs to
//! the task: users may only tag it. Not here: the life of an interface (`interface.rs`), single attributes
//! (`network_interface_attribute.rs`).

use std::net::Ipv4Addr;

use berth_shapes::ec2::{
    self, CreateNetworkInterfaceRequest, CreateNetworkInterfaceResult, DeleteNetworkInterfaceRequest,
    DescribeNetworkInterfacesRequest, DescribeNetworkInterfacesResult, DetachNetworkInterfaceRequest, GroupIdentifier,
    NetworkInterfaceAssociation, NetworkInterfaceAttachment, NetworkInterfacePrivateIpAddress,
};
use berth_shapes::{Ec2ErrorCode as Code, NoOutput, Timestamp};
use berth_state::vpc::{AttachmentStatus, Eni, EniAttachment, EniOwner};
use berth_state::{Change, ClientToken, Draft, Env, Refusal, Snapshot};
use berth_types::intent::{Holder, Standalone};
use berth_types::{EniAttachmentId, NatGatewayId};

use super::describe::Selection;
use super::filter::{Filters, each, shown, text};
use super::find::{self, Ec2Id};
use super::owner::by_owner;
use super::request::{invalid, invalid_value, made_before, only, required, unsupported};
use super::zone::zone_id;
use super::{interface, public_address, tags};

/// Prefix of attachment ids of interfaces that belong to a service.
const MANAGED_ATTACHMENT: &str = "ela-attach";

/// Owner that AWS shows of the instance behind an interface of a NAT gateway.
const SERVICE_OWNER: &str = "amazon-aws";

/// Maximum length of a description in characters.
const DESCRIPTION_CHARS_MAX: usize = 255;

/// CreateNetworkInterface: the address asked for, or the lowest free one.
pub fn create_network_interface(
    snap: &Snapshot,
    req: &CreateNetworkInterfaceRequest,
    env: &Env,
) -> Result<Change<CreateNetworkInterfaceResult>, Refusal> {
    only(
        req,
        &[
            "SubnetId",
            "Description",
            "Groups",
            "PrivateIpAddress",
            "PrivateIpAddresses",
            "InterfaceType",
            "ClientToken",
            "TagSpecifications",
        ],
    )?;
    let token = ClientToken::of(req.client_token.as_deref(), req);
    let known = token.as_ref().and_then(|token| snap.vpc().enis.get(snap.vpc().index().eni_tokens.get(token.text())?));
    let known = known.map(AsRef::as_ref).into_iter();
    if let Some(eni) = made_before(token.as_ref(), known, |eni: &Eni| eni.client_token.as_ref())? {
        return Ok(Change::none(created(snap, eni, req, env)));
    }
    if let Some(kind) = req.interface_type.as_deref().filter(|kind| !matches!(*kind, "" | "interface")) {
        return Err(invalid_value(kind, "interfaceType", "Only the type 'interface' is offered."));
    }
    let tags = tags::asked(&req.tag_specifications, tags::Kind::NetworkInterface)?;
    let description = checked_description(req.description.as_deref().unwrap_or_default())?;
    let subnet = find::subnet(snap, required(&req.subnet_id, "subnetId")?)?;
    let groups = find::security_groups(snap, &subnet.vpc, req.groups.as_deref().unwrap_or_default())?;
    let mut draft = Draft::of(snap);
    let address = asked_address(req)?;
    let eni = interface::create(&mut draft, subnet, &groups, address, EniOwner::User, description, env)?;
    let eni = Eni { client_token: token, tags, ..eni.as_ref().clone() };
    draft.put(eni.clone());
    let result = created(&draft, &eni, req, env);
    Ok(draft.change(result))
}

/// DescribeNetworkInterfaces.
pub fn describe_network_interfaces(
    snap: &Snapshot,
    req: &DescribeNetworkInterfacesRequest,
    env: &Env,
) -> Result<DescribeNetworkInterfacesResult, Refusal> {
    only(req, &["NetworkInterfaceIds", "Filters", "MaxResults", "NextToken", "IncludeManagedResources"])?;
    let selection = Selection {
        operation: "DescribeNetworkInterfaces",
        ids_parameter: "networkInterfaceIds",
        ids: &req.network_interface_ids,
        filters: &req.filters,
        max_results: req.max_results,
        next_token: &req.next_token,
    };
    let enis = selection.records(&snap.vpc().enis, |id| find::network_interface(snap, id))?;
    let page = selection.page(&FILTERS, enis.into_iter().map(|eni| (eni.id.to_string(), show(snap, eni, env))))?;
    Ok(DescribeNetworkInterfacesResult { network_interfaces: Some(page.items), next_token: page.next_token })
}

/// DeleteNetworkInterface: only one that is not plugged.
pub fn delete_network_interface(
    snap: &Snapshot,
    req: &DeleteNetworkInterfaceRequest,
    _env: &Env,
) -> Result<Change<NoOutput>, Refusal> {
    only(req, &["NetworkInterfaceId"])?;
    let eni = find::network_interface(snap, required(&req.network_interface_id, "networkInterfaceId")?)?;
    if eni.attachment.is_some() || matches!(eni.owner, EniOwner::NatGateway(_)) {
        return Err(interface::in_use(&eni.id));
    }
    not_of_a_task(eni)?;
    let mut draft = Draft::of(snap);
    interface::delete(&mut draft, &eni.id);
    Ok(draft.change(NoOutput))
}

/// DetachNetworkInterface. The interface of a seat is deleted with its attachment; a host keeps its primary interface.
pub fn detach_network_interface(
    snap: &Snapshot,
    req: &DetachNetworkInterfaceRequest,
    _env: &Env,
) -> Result<Change<NoOutput>, Refusal> {
    // Force skips the guest's consent, which is never asked for.
    only(req, &["AttachmentId", "Force"])?;
    let eni = attached_as(snap, required(&req.attachment_id, "attachmentId")?)?;
    not_of_a_task(eni)?;
    if let EniOwner::Instance(_) = eni.owner {
        let words = "The network interface at device index 0 cannot be detached.";
        return Err(Refusal::new(Code::OperationNotPermitted, words));
    }
    let mut draft = Draft::of(snap);
    interface::detach(&mut draft, &eni.id);
    Ok(draft.change(NoOutput))
}

/// Refuses to change the interface of a task; stopping the task releases it.
pub(super) fn not_of_a_task(eni: &Eni) -> Result<(), Refusal> {
    match &eni.owner {
        EniOwner::User | EniOwner::Instance(_) => Ok(()),
        EniOwner::Standalone(Standalone { holder: Holder::Shell, .. }) => Ok(()),
        EniOwner::FargateTask(_) | EniOwner::NatGateway(_) => {
            let words = format!("You are not allowed to manage '{MANAGED_ATTACHMENT}' attachments.");
            Err(Refusal::new(Code::OperationNotPermitted, words))
        }
        EniOwner::Ec2Task(task) => {
            let words = format!(
                "Network interface '{}' belongs to the Amazon ECS task '{task}' and cannot be detached, modified or \
                 deleted. To release it, stop the task.",
                eni.id
            );
            Err(Refusal::new(Code::OperationNotPermitted, words))
        }
    }
}

/// Returns a description that AWS admits; refuses any other.
pub(super) fn checked_description(text: &str) -> Result<&str, Refusal> {
    if text.chars().count() > DESCRIPTION_CHARS_MAX {
        return Err(invalid(format!("Description exceeds the maximum length of {DESCRIPTION_CHARS_MAX} characters.")));
    }
    Ok(text)
}

/// The groups of an interface with their names.
pub(super) fn show_groups(snap: &Snapshot, eni: &Eni) -> Vec<GroupIdentifier> {
    let name = |id| snap.vpc().security_groups.get(id).map(|group| group.name.clone());
    eni.groups.iter().map(|id| GroupIdentifier { group_id: Some(id.to_string()), group_name: name(id) }).collect()
}

/// The attachment of an interface for an answer.
pub(super) fn show_attachment(snap: &Snapshot, eni: &Eni, env: &Env) -> Option<NetworkInterfaceAttachment> {
    if let EniOwner::NatGateway(gateway) = &eni.owner {
        return show_gateway_attachment(snap, eni, gateway);
    }
    let attachment = eni.attachment.as_ref()?;
    let by_owner = by_owner(&eni.owner);
    Some(NetworkInterfaceAttachment {
        attach_time: Some(Timestamp(attachment.attached_at.0)),
        attachment_id: Some(shown_attachment_id(eni, attachment)),
        delete_on_termination: Some(by_owner.delete_on_termination),
        device_index: i32::try_from(attachment.device_index).ok(),
        instance_id: Some(attachment.instance.to_string()).filter(|_| !by_owner.requester_managed),
        instance_owner_id: Some(env.account.clone()),
        network_card_index: Some(0),
        status: Some(
            match attachment.status {
                AttachmentStatus::Attaching => "attaching",
                AttachmentStatus::Attached => "attached",
                AttachmentStatus::Detaching => "detaching",
            }
            .to_owned(),
        ),
        ..Default::default()
    })
}

/// The attachment of the interface of a NAT gateway, which belongs to no instance.
fn show_gateway_attachment(snap: &Snapshot, eni: &Eni, gateway: &NatGatewayId) -> Option<NetworkInterfaceAttachment> {
    let gateway = snap.vpc().nat_gateways.get(gateway)?;
    Some(NetworkInterfaceAttachment {
        attach_time: Some(Timestamp(eni.created_at.0)),
        attachment_id: Some(managed_attachment_id(&gateway.attachment)),
        delete_on_termination: Some(false),
        device_index: Some(1),
        instance_owner_id: Some(SERVICE_OWNER.to_owned()),
        network_card_index: Some(0),
        status: Some("attached".to_owned()),
        ..Default::default()
    })
}

static FILTERS: Filters<ec2::NetworkInterface> = Filters {
    rows: &[
        (&["network-interface-id"], |eni| text(&eni.network_interface_id)),
        (&["subnet-id"], |eni| text(&eni.subnet_id)),
        (&["vpc-id"], |eni| text(&eni.vpc_id)),
        (&["group-id"], |eni| each(&eni.groups, |group| &group.group_id)),
        (&["group-name"], |eni| each(&eni.groups, |group| &group.group_name)),
        (&["private-ip-address"], |eni| text(&eni.private_ip_address)),
        (&["addresses.private-ip-address"], |eni| each(&eni.private_ip_addresses, |it| &it.private_ip_address)),
        (&["addresses.primary"], |eni| {
            eni.private_ip_addresses.iter().flatten().filter_map(|it| it.primary).map(|it| it.to_string()).collect()
        }),
        (&["private-dns-name"], |eni| text(&eni.private_dns_name)),
        (&["mac-address"], |eni| text(&eni.mac_address)),
        (&["description"], |eni| text(&eni.description)),
        (&["status"], |eni| text(&eni.status)),
        (&["interface-type"], |eni| text(&eni.interface_type)),
        (&["availability-zone"], |eni| text(&eni.availability_zone)),
        (&["availability-zone-id"], |eni| text(&eni.availability_zone_id)),
        (&["owner-id"], |eni| text(&eni.owner_id)),
        (&["requester-id"], |eni| text(&eni.requester_id)),
        (&["requester-managed"], |eni| shown(&eni.requester_managed)),
        (&["source-dest-check"], |eni| shown(&eni.source_dest_check)),
        (&["attachment.attachment-id"], |eni| attachment(eni, |it| it.attachment_id.clone())),
        (&["attachment.instance-id"], |eni| attachment(eni, |it| it.instance_id.clone())),
        (&["attachment.instance-owner-id"], |eni| attachment(eni, |it| it.instance_owner_id.clone())),
        (&["attachment.status"], |eni| attachment(eni, |it| it.status.clone())),
        (&["attachment.device-index"], |eni| attachment(eni, |it| it.device_index.map(|it| it.to_string()))),
        (&["attachment.delete-on-termination"], |eni| {
            attachment(eni, |it| it.delete_on_termination.map(|it| it.to_string()))
        }),
        (&["association.public-ip", "addresses.association.public-ip"], |eni| association(eni, |it| &it.public_ip)),
        (&["association.public-dns-name"], |eni| association(eni, |it| &it.public_dns_name)),
        (&["association.allocation-id"], |eni| association(eni, |it| &it.allocation_id)),
        (&["association.association-id"], |eni| association(eni, |it| &it.association_id)),
        (&["association.ip-owner-id", "addresses.association.owner-id"], |eni| association(eni, |it| &it.ip_owner_id)),
        (&["ipv6-addresses.ipv6-address"], |_| Vec::new()),
    ],
    tags: Some(|eni| &eni.tag_set),
};

fn show(snap: &Snapshot, eni: &Eni, env: &Env) -> ec2::NetworkInterface {
    let subnet = snap.vpc().subnets.get(&eni.subnet);
    let zone = subnet.map(|subnet| subnet.availability_zone.clone());
    let private_dns_name = interface::private_dns_name(snap, eni, &env.region);
    let by_owner = by_owner(&eni.owner);
    let association = public_address::show(snap, eni, env);
    let address = NetworkInterfacePrivateIpAddress {
        association: association.clone(),
        primary: Some(true),
        private_dns_name: private_dns_name.clone(),
        private_ip_address: Some(eni.address.to_string()),
    };
    ec2::NetworkInterface {
        association,
        attachment: show_attachment(snap, eni, env),
        availability_zone_id: zone.as_deref().and_then(|zone| zone_id(&env.region, zone)),
        availability_zone: zone,
        description: Some(eni.description.clone()),
        groups: Some(show_groups(snap, eni)),
        interface_type: Some(by_owner.interface_type.to_owned()),
        ipv6_addresses: Some(Vec::new()),
        mac_address: Some(eni.mac.to_string()),
        network_interface_id: Some(eni.id.to_string()),
        owner_id: Some(env.account.clone()),
        private_dns_name,
        private_ip_address: Some(eni.address.to_string()),
        private_ip_addresses: Some(vec![address]),
        requester_id: Some(env.account.clone()).filter(|_| by_owner.requester_managed),
        requester_managed: Some(by_owner.requester_managed),
        source_dest_check: Some(eni.source_dest_check),
        status: Some(status(eni).to_owned()),
        subnet_id: Some(eni.subnet.to_string()),
        tag_set: tags::show(&eni.tags),
        vpc_id: Some(eni.vpc.to_string()),
        ..Default::default()
    }
}

fn status(eni: &Eni) -> &'static str {
    match eni.attachment.as_ref().map(|attachment| attachment.status) {
        None if matches!(eni.owner, EniOwner::NatGateway(_)) => "in-use",
        None => "available",
        Some(AttachmentStatus::Attaching) => "attaching",
        Some(AttachmentStatus::Attached) => "in-use",
        Some(AttachmentStatus::Detaching) => "detaching",
    }
}

fn shown_attachment_id(eni: &Eni, attachment: &EniAttachment) -> String {
    let is_managed = by_owner(&eni.owner).requester_managed;
    if is_managed { managed_attachment_id(&attachment.id) } else { attachment.id.to_string() }
}

fn managed_attachment_id(id: &EniAttachmentId) -> String {
    let rest = id.as_str().strip_prefix(EniAttachmentId::PREFIX).unwrap_or_default();
    format!("{MANAGED_ATTACHMENT}{rest}")
}

fn attachment(eni: &ec2::NetworkInterface, value: fn(&NetworkInterfaceAttachment) -> Option<String>) -> Vec<String> {
    eni.attachment.as_ref().and_then(value).into_iter().collect()
}

fn association(eni: &ec2::NetworkInterface, value: fn(&NetworkInterfaceAssociation) -> &Option<String>) -> Vec<String> {
    eni.association.as_ref().and_then(|association| value(association).clone()).into_iter().collect()
}

fn created(snap: &Snapshot, eni: &Eni, req: &CreateNetworkInterfaceRequest, env: &Env) -> CreateNetworkInterfaceResult {
    let network_interface = Some(show(snap, eni, env));
    CreateNetworkInterfaceResult { client_token: req.client_token.clone(), network_interface }
}

fn asked_address(req: &CreateNetworkInterfaceRequest) -> Result<Option<Ipv4Addr>, Refusal> {
    let listed = req.private_ip_addresses.as_deref().unwrap_or_default();
    let single = req.private_ip_address.as_deref().filter(|address| !address.is_empty());
    let text = match (single, listed) {
        (single, []) => single,
        (None, [one]) if one.primary != Some(false) => one.private_ip_address.as_deref(),
        (Some(_), [one]) if one.primary == Some(true) => {
            let words = "Only one primary private IP address can be specified.";
            return Err(Refusal::new(Code::InvalidParameterCombination, words));
        }
        _ => return Err(unsupported("Secondary private IP addresses are not supported.")),
    };
    let parse = |text: &str| {
        text.parse().map_err(|_| invalid_value(text, "privateIpAddress", "This is not a valid IPv4 address."))
    };
    text.map(parse).transpose()
}

fn attached_as<'a>(snap: &'a Snapshot, text: &str) -> Result<&'a Eni, Refusal> {
    if !text.starts_with(MANAGED_ATTACHMENT) {
        find::id::<EniAttachmentId>(text)?;
    }
    let is_it = |eni: &&Eni| match &eni.owner {
        EniOwner::NatGateway(gateway) => {
            let gateway = snap.vpc().nat_gateways.get(gateway);
            gateway.is_some_and(|gateway| managed_attachment_id(&gateway.attachment) == text)
        }
        _ => eni.attachment.as_ref().is_some_and(|attachment| shown_attachment_id(eni, attachment) == text),
    };
    snap.vpc().enis.values().map(AsRef::as_ref).find(is_it).ok_or_else(|| EniAttachmentId::not_found(text))
}
