// SPDX-License-Identifier: Apache-2.0
//! Single attributes of network interfaces.

use berth_shapes::ec2::{
    AttributeBooleanValue, AttributeValue, DescribeNetworkInterfaceAttributeRequest,
    DescribeNetworkInterfaceAttributeResult, ModifyNetworkInterfaceAttributeRequest,
};
use berth_shapes::{Ec2ErrorCode as Code, NoOutput};
use berth_state::vpc::Eni;
use berth_state::{Change, Draft, Env, Refusal, Snapshot};

use super::network_interface::{checked_description, not_of_a_task, show_attachment, show_groups};
use super::request::{invalid_value, only, required};
use super::{find, interface};

/// ModifyNetworkInterfaceAttribute: one attribute per call. Interfaces of tasks belong to their task.
pub fn modify_network_interface_attribute(
    snap: &Snapshot,
    req: &ModifyNetworkInterfaceAttributeRequest,
    _env: &Env,
) -> Result<Change<NoOutput>, Refusal> {
    only(req, &["NetworkInterfaceId", "Description", "SourceDestCheck", "Groups"])?;
    let eni = find::network_interface(snap, required(&req.network_interface_id, "networkInterfaceId")?)?;
    not_of_a_task(eni)?;
    let groups = req.groups.as_deref().filter(|groups| !groups.is_empty());
    let mut draft = Draft::of(snap);
    match (&req.description, &req.source_dest_check, groups) {
        (Some(given), None, None) => {
            let description = checked_description(given.value.as_deref().unwrap_or_default())?.to_owned();
            draft.put(Eni { description, ..eni.as_ref().clone() });
        }
        (None, Some(given), None) => {
            let source_dest_check = given.value.ok_or_else(no_attribute)?;
            draft.put(Eni { source_dest_check, ..eni.as_ref().clone() });
        }
        (None, None, Some(groups)) => interface::set_groups(&mut draft, &eni.id, groups)?,
        (None, None, None) => return Err(no_attribute()),
        _ => {
            let words = "Fields for multiple attribute types specified";
            return Err(Refusal::new(Code::InvalidParameterCombination, words));
        }
    }
    Ok(draft.change(NoOutput))
}

/// DescribeNetworkInterfaceAttribute: one attribute per call.
pub fn describe_network_interface_attribute(
    snap: &Snapshot,
    req: &DescribeNetworkInterfaceAttributeRequest,
    env: &Env,
) -> Result<DescribeNetworkInterfaceAttributeResult, Refusal> {
    only(req, &["NetworkInterfaceId", "Attribute"])?;
    let eni = find::network_interface(snap, required(&req.network_interface_id, "networkInterfaceId")?)?;
    let mut result = DescribeNetworkInterfaceAttributeResult {
        network_interface_id: Some(eni.id.to_string()),
        ..Default::default()
    };
    match required(&req.attribute, "attribute")? {
        "description" => result.description = Some(AttributeValue { value: Some(eni.description.clone()) }),
        "groupSet" => result.groups = Some(show_groups(snap, eni)),
        "sourceDestCheck" => {
            result.source_dest_check = Some(AttributeBooleanValue { value: Some(eni.source_dest_check) });
        }
        "attachment" => result.attachment = show_attachment(snap, eni, env),
        "associatePublicIpAddress" => {
            result.associate_public_ip_address = Some(eni.public_address.is_some());
        }
        other => return Err(invalid_value(other, "attribute", "Unknown attribute name.")),
    }
    Ok(result)
}

fn no_attribute() -> Refusal {
    Refusal::new(Code::InvalidParameterCombination, "No attributes specified.")
}
