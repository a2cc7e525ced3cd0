// SPDX-License-Identifier: Apache-2.0
//! The network configuration of tasks: subnet, groups, interface.

use std::sync::Arc;

use berth_shapes::Ec2ErrorCode;
use berth_shapes::ecs::NetworkConfiguration;
use berth_state::ecs::{Host, Task, TaskAttachmentStatus, TaskEni, TaskNetwork};
use berth_state::records::Single;
use berth_state::vpc::{Eni, EniOwner, Subnet};
use berth_state::{Draft, Env, Refusal, Snapshot};
use berth_types::intent::LaunchType;
use berth_types::mode::NetworkMode;
use berth_types::{SecurityGroupId, uuid_text};
use berth_vpc as vpc;

use super::refuse::{at_most, invalid};

const SUBNETS_MAX: usize = 16;
const GROUPS_MAX: usize = 5;

/// A checked `awsvpcConfiguration`.
pub(super) struct Network {
    /// Subnets of one VPC, in the order given.
    pub subnets: Vec<Arc<Subnet>>,
    /// Groups of the same VPC; empty means its default group.
    pub groups: Vec<SecurityGroupId>,
    /// The interface gets a public address; for Fargate alone, unless the operator's settings say otherwise.
    pub assign_public_ip: bool,
}

/// Checks the network configuration: required in network mode awsvpc, refused in any other.
pub(super) fn read(
    snap: &Snapshot,
    asked: Option<&NetworkConfiguration>,
    mode: NetworkMode,
    launch_type: LaunchType,
) -> Result<Option<Network>, Refusal> {
    match (mode, asked) {
        (NetworkMode::Awsvpc, asked) => awsvpc(snap, asked, launch_type).map(Some),
        (NetworkMode::Bridge | NetworkMode::Host | NetworkMode::None, None) => Ok(None),
        (NetworkMode::Bridge | NetworkMode::Host | NetworkMode::None, Some(_)) => {
            Err(invalid("Network Configuration is not valid for the given networkMode of this task definition."))
        }
    }
}

fn awsvpc(snap: &Snapshot, asked: Option<&NetworkConfiguration>, launch_type: LaunchType) -> Result<Network, Refusal> {
    let asked = asked
        .and_then(|asked| asked.awsvpc_configuration.as_ref())
        .ok_or_else(|| invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified."))?;
    let subnet_ids = asked.subnets.as_deref().unwrap_or_default();
    if subnet_ids.is_empty() {
        return Err(invalid("subnets can not be empty."));
    }
    at_most(Some(subnet_ids), SUBNETS_MAX, "subnets")?;
    at_most(asked.security_groups.as_deref(), GROUPS_MAX, "securityGroups")?;
    let assign_public_ip = match asked.assign_public_ip.as_deref() {
        None | Some("DISABLED") => false,
        Some("ENABLED") => true,
        Some(other) => return Err(invalid(format!("'{other}' is not a valid value for assignPublicIp."))),
    };
    let may_be_public = launch_type == LaunchType::Fargate
        || snap.vpc().settings.get(&Single).is_some_and(|settings| settings.ec2_task_public_ip);
    if assign_public_ip && !may_be_public {
        return Err(invalid("Assign public IP is not supported for this launch type."));
    }
    let mut subnets: Vec<Arc<Subnet>> = Vec::new();
    for id in subnet_ids {
        let subnet = vpc::subnet(snap, id).map_err(|_| {
            invalid(format!(
                "Error retrieving subnet information for [{id}]: The subnet ID '{id}' does not exist (ErrorCode: \
                 InvalidSubnetID.NotFound)"
            ))
        })?;
        if subnets.first().is_some_and(|first| first.vpc != subnet.vpc) {
            return Err(invalid("subnets must be from the same VPC"));
        }
        if !subnets.iter().any(|known| known.id == subnet.id) {
            subnets.push(subnet.clone());
        }
    }
    let groups = groups(snap, asked.security_groups.as_deref().unwrap_or_default(), &subnets)?;
    Ok(Network { subnets, groups, assign_public_ip })
}

fn groups(snap: &Snapshot, asked: &[String], subnets: &[Arc<Subnet>]) -> Result<Vec<SecurityGroupId>, Refusal> {
    let mut groups: Vec<SecurityGroupId> = Vec::new();
    for id in asked {
        let group = vpc::security_group(snap, id).map_err(|_| {
            invalid(format!(
                "Error retrieving security group information for [{id}]: The security group '{id}' does not exist \
                 (ErrorCode: InvalidGroup.NotFound)"
            ))
        })?;
        if subnets.iter().any(|subnet| subnet.vpc != group.vpc) {
            return Err(invalid(format!(
                "Security group {id} does not appear to belong to the same VPC as the input subnets."
            )));
        }
        if !groups.contains(&group.id) {
            groups.push(group.id.clone());
        }
    }
    Ok(groups)
}

/// The subnet with the most free addresses, among those in `zone` if given; the first of equals.
pub(super) fn choose_subnet<'a>(
    snap: &Snapshot,
    subnets: &'a [Arc<Subnet>],
    zone: Option<&str>,
) -> Option<&'a Arc<Subnet>> {
    let in_zone = subnets.iter().filter(|subnet| zone.is_none_or(|zone| subnet.availability_zone == zone));
    // `min_by_key` keeps the first of equals, `max_by_key` would keep the last.
    in_zone.min_by_key(|subnet| std::cmp::Reverse(vpc::interface::free_addresses(snap, subnet)))
}

/// The network of a task that has no interface yet.
pub(super) fn precreated(subnet: &Subnet, groups: &[SecurityGroupId], env: &Env) -> TaskNetwork {
    TaskNetwork {
        attachment: uuid_text(env.fresh_bits()),
        status: TaskAttachmentStatus::Precreated,
        subnet: subnet.id.clone(),
        availability_zone: subnet.availability_zone.clone(),
        security_groups: groups.to_vec(),
        eni: None,
    }
}

/// Makes the task's interface and asks its host to plug it. The refusal carries AWS's `stoppedReason`.
pub(super) fn plug(
    draft: &mut Draft,
    task: &mut Task,
    host: &Host,
    network: &Network,
    env: &Env,
) -> Result<(), String> {
    let Some(own) = &mut task.network else { return Ok(()) };
    let subnet_id = own.subnet.clone();
    let failed = |refusal: Refusal| {
        let code = match refusal.code {
            berth_shapes::ErrorCode::Ec2(code) => code,
            _ => Ec2ErrorCode::InternalError,
        };
        let public = if network.assign_public_ip { "enabled" } else { "disabled" };
        format!(
            "Unexpected EC2 error while attempting to Create Network Interface with public IP assignment {public} in \
             subnet '{subnet_id}': {}",
            code.as_str()
        )
    };
    let subnet = vpc::subnet(draft, &subnet_id).map_err(failed)?.clone();
    let owner = match task.launch_type {
        LaunchType::Fargate => EniOwner::FargateTask(task.id.clone()),
        LaunchType::Ec2 => EniOwner::Ec2Task(task.id.clone()),
    };
    let description = env.arn("ecs", format_args!("attachment/{}", own.attachment));
    // On a copy, so that an interface that cannot be made leaves nothing behind.
    let mut trial = draft.clone();
    let made = vpc::interface::create_attached(&mut trial, &subnet, &network.groups, owner, &description, host, env);
    let mut eni = made.map_err(failed)?;
    if network.assign_public_ip {
        eni = vpc::interface::give_public_address(&mut trial, &eni.id).map_err(failed)?;
    }
    if task.enable_ecs_managed_tags {
        let tags = [("aws:ecs:clusterName".to_owned(), task.cluster.0.clone())].into();
        trial.put(Eni { tags, ..(*eni).clone() });
    }
    *draft = trial;
    own.status = TaskAttachmentStatus::Attaching;
    own.security_groups = eni.groups.clone();
    own.eni = Some(TaskEni {
        id: eni.id.clone(),
        mac: eni.mac,
        address: eni.address,
        private_dns_name: vpc::interface::private_dns_name(draft, &eni, &env.region),
    });
    Ok(())
}
