// SPDX-License-Identifier: Apache-2.0
//! Instances: the hosts of Berth, as clients of EC2 see them.
//!
//! A host is an instance from its first connection on, and is running while it is connected. Its type is named after its
//! size, its image after its processor. Instances are not launched by a call: hosts come from Berth's own node.

use std::collections::BTreeMap;
use std::sync::Arc;

use berth_shapes::Ec2ErrorCode as Code;
use berth_shapes::Timestamp;
use berth_shapes::ec2::{
    AttributeBooleanValue, AttributeValue, DescribeImagesRequest, DescribeImagesResult,
    DescribeInstanceAttributeRequest, DescribeInstanceStatusRequest, DescribeInstanceStatusResult,
    DescribeInstanceTypesRequest, DescribeInstanceTypesResult, DescribeInstancesRequest, DescribeInstancesResult,
    EnclaveOptions, Image, Instance, InstanceAttribute, InstanceNetworkInterface, InstanceNetworkInterfaceAttachment,
    InstancePrivateIpAddress, InstanceState, InstanceStatus, InstanceStatusDetails, InstanceStatusSummary,
    InstanceTypeInfo, MemoryInfo, Monitoring, Placement, ProcessorInfo, Reservation, RunInstancesRequest, VCpuInfo,
};
use berth_state::ecs::Host;
use berth_state::{Env, Refusal, Snapshot};
use berth_types::InstanceId;

use super::describe::Selection;
use super::filter::{Filters, shown, text};
use super::find::{self, Ec2Id};
use super::request::{invalid_value, only, required, unsupported};
use super::zone::zone_id;
use super::{instance_interface, interface, network_interface, owner, public_address};

/// CPU units of one core.
const UNITS_PER_CORE: u32 = 1024;

/// Images of hosts, by the processor they are for.
const IMAGES: [(&str, &str); 2] = [("x86_64", "ami-00000000000000086"), ("arm64", "ami-00000000000000064")];

/// DescribeInstances.
pub fn describe_instances(
    snap: &Snapshot,
    req: &DescribeInstancesRequest,
    env: &Env,
) -> Result<DescribeInstancesResult, Refusal> {
    only(req, &["InstanceIds", "Filters", "MaxResults", "NextToken"])?;
    let selection = Selection {
        operation: "DescribeInstances",
        ids_parameter: "instancesSet",
        ids: &req.instance_ids,
        filters: &req.filters,
        max_results: req.max_results,
        next_token: &req.next_token,
    };
    let hosts = selection.records(&snap.ecs().hosts, |id| of_instance(snap, id))?;
    let page = selection.page(&FILTERS, by_id(&hosts, |host| show(snap, host, env)))?;
    let reservation = |instance: Instance| Reservation {
        reservation_id: instance.instance_id.as_ref().map(|id| id.replacen("i-", "r-", 1)),
        owner_id: Some(env.account.clone()),
        groups: Some(Vec::new()),
        instances: Some(vec![instance]),
        ..Default::default()
    };
    Ok(DescribeInstancesResult {
        reservations: Some(page.items.into_iter().map(reservation).collect()),
        next_token: page.next_token,
    })
}

/// DescribeInstanceStatus: running instances, and with IncludeAllInstances the others too.
pub fn describe_instance_status(
    snap: &Snapshot,
    req: &DescribeInstanceStatusRequest,
    env: &Env,
) -> Result<DescribeInstanceStatusResult, Refusal> {
    only(req, &["InstanceIds", "Filters", "MaxResults", "NextToken", "IncludeAllInstances"])?;
    let selection = Selection {
        operation: "DescribeInstanceStatus",
        ids_parameter: "instancesSet",
        ids: &req.instance_ids,
        filters: &req.filters,
        max_results: req.max_results,
        next_token: &req.next_token,
    };
    let mut hosts = selection.records(&snap.ecs().hosts, |id| of_instance(snap, id))?;
    hosts.retain(|host| host.connected || req.include_all_instances == Some(true));
    let page = selection.page(&STATUS_FILTERS, by_id(&hosts, |host| show_status(host, env)))?;
    Ok(DescribeInstanceStatusResult { instance_statuses: Some(page.items), next_token: page.next_token })
}

/// DescribeInstanceAttribute.
pub fn describe_instance_attribute(
    snap: &Snapshot,
    req: &DescribeInstanceAttributeRequest,
    _env: &Env,
) -> Result<InstanceAttribute, Refusal> {
    only(req, &["InstanceId", "Attribute"])?;
    let host = of_instance(snap, required(&req.instance_id, "instanceId")?)?;
    let no = || Some(AttributeBooleanValue { value: Some(false) });
    let text = |value: &str| Some(AttributeValue { value: Some(value.to_owned()) });
    let none = || Some(AttributeValue { value: None });
    let mut answer = InstanceAttribute { instance_id: Some(host.instance.to_string()), ..Default::default() };
    let primary = instance_interface::present(snap, &host.id);
    let primary = primary.as_deref();
    match required(&req.attribute, "attribute")? {
        "instanceType" => answer.instance_type = text(&type_of(host)),
        "kernel" => answer.kernel_id = none(),
        "ramdisk" => answer.ramdisk_id = none(),
        "userData" => answer.user_data = none(),
        "disableApiTermination" => answer.disable_api_termination = no(),
        "disableApiStop" => answer.disable_api_stop = no(),
        "instanceInitiatedShutdownBehavior" => answer.instance_initiated_shutdown_behavior = text("stop"),
        "rootDeviceName" => answer.root_device_name = none(),
        "blockDeviceMapping" => answer.block_device_mappings = Some(Vec::new()),
        "productCodes" => answer.product_codes = Some(Vec::new()),
        "groupSet" => {
            let groups = primary.map(|eni| network_interface::show_groups(snap, eni));
            answer.groups = Some(groups.unwrap_or_default());
        }
        "sourceDestCheck" => {
            let value = primary.map(|eni| eni.source_dest_check);
            answer.source_dest_check = Some(AttributeBooleanValue { value });
        }
        "ebsOptimized" => answer.ebs_optimized = no(),
        "enaSupport" => answer.ena_support = no(),
        "sriovNetSupport" => answer.sriov_net_support = none(),
        "enclaveOptions" => answer.enclave_options = Some(EnclaveOptions { enabled: Some(false) }),
        other => return Err(invalid_value(other, "attribute", "Unknown attribute.")),
    }
    Ok(answer)
}

/// DescribeInstanceTypes: one for each size of the hosts there are.
pub fn describe_instance_types(
    snap: &Snapshot,
    req: &DescribeInstanceTypesRequest,
    _env: &Env,
) -> Result<DescribeInstanceTypesResult, Refusal> {
    only(req, &["InstanceTypes", "Filters", "MaxResults", "NextToken"])?;
    let mut types: BTreeMap<String, InstanceTypeInfo> =
        snap.ecs().hosts.values().map(|host| (type_of(host), show_type(host))).collect();
    let selection = Selection {
        operation: "DescribeInstanceTypes",
        ids_parameter: "instanceTypes",
        ids: &req.instance_types,
        filters: &req.filters,
        max_results: req.max_results,
        next_token: &req.next_token,
    };
    if let Some(asked) = selection.ids() {
        let unknown: Vec<&str> = asked.iter().filter(|name| !types.contains_key(*name)).map(String::as_str).collect();
        if !unknown.is_empty() {
            let words = format!("The following supplied instance types do not exist: [{}]", unknown.join(", "));
            return Err(Refusal::new(Code::InvalidInstanceType, words));
        }
        types.retain(|name, _| asked.contains(name));
    }
    let page = selection.page(&TYPE_FILTERS, types)?;
    Ok(DescribeInstanceTypesResult { instance_types: Some(page.items), next_token: page.next_token })
}

/// DescribeImages: one for each processor of the hosts there are.
pub fn describe_images(
    snap: &Snapshot,
    req: &DescribeImagesRequest,
    env: &Env,
) -> Result<DescribeImagesResult, Refusal> {
    only(req, &["ImageIds", "Owners", "Filters", "MaxResults", "NextToken"])?;
    let mut images: BTreeMap<String, Image> =
        snap.ecs().hosts.values().map(|host| (image_of(host).to_owned(), show_image(host, env))).collect();
    let selection = Selection {
        operation: "DescribeImages",
        ids_parameter: "imageIds",
        ids: &req.image_ids,
        filters: &req.filters,
        max_results: req.max_results,
        next_token: &req.next_token,
    };
    if let Some(asked) = selection.ids() {
        for id in asked {
            if !id.starts_with("ami-") {
                let words = format!("Invalid id: \"{id}\" (expecting \"ami-...\")");
                return Err(Refusal::new(Code::InvalidAmiIdMalformed, words));
            }
            if !images.contains_key(id) {
                let words = format!("The image id '[{id}]' does not exist");
                return Err(Refusal::new(Code::InvalidAmiIdNotFound, words));
            }
        }
        images.retain(|id, _| asked.contains(id));
    }
    if let Some(owners) = req.owners.as_deref().filter(|owners| !owners.is_empty()) {
        let is_mine = owners.iter().any(|owner| owner == "self" || *owner == env.account);
        images.retain(|_, _| is_mine);
    }
    let page = selection.page(&IMAGE_FILTERS, images)?;
    Ok(DescribeImagesResult { images: Some(page.items), next_token: page.next_token })
}

/// RunInstances: refused, because hosts are processes of Berth.
pub fn run_instances(_snap: &Snapshot, _req: &RunInstancesRequest, _env: &Env) -> Result<Reservation, Refusal> {
    Err(unsupported(
        "Instances are hosts of Berth and are not launched by a call; run `berth node` on another machine.",
    ))
}

/// The host that an instance id names.
pub(super) fn of_instance<'a>(snap: &'a Snapshot, text: &str) -> Result<&'a Arc<Host>, Refusal> {
    let id: InstanceId = find::id(text)?;
    snap.ecs().hosts.values().find(|host| host.instance == id).ok_or_else(|| InstanceId::not_found(text))
}

/// What is shown of each host, in ascending order of the instance ids.
fn by_id<T>(hosts: &[&Arc<Host>], show: impl Fn(&Host) -> T) -> BTreeMap<String, T> {
    hosts.iter().map(|host| (host.instance.to_string(), show(host))).collect()
}

/// The type of a host: its cores and memory.
fn type_of(host: &Host) -> String {
    format!("berth.{}x{}", cores(host), host.capacity.memory_mib)
}

fn cores(host: &Host) -> u32 {
    (host.capacity.cpu_units / UNITS_PER_CORE).max(1)
}

fn architecture(host: &Host) -> &'static str {
    let told = host.attribute("ecs.cpu-architecture").flatten();
    IMAGES
        .iter()
        .find(|(architecture, _)| told == Some(architecture))
        .map_or("x86_64", |(architecture, _)| architecture)
}

fn image_of(host: &Host) -> &'static str {
    let architecture = architecture(host);
    IMAGES.iter().find(|(known, _)| *known == architecture).map_or("", |(_, image)| image)
}

fn state(host: &Host) -> InstanceState {
    let (code, name) = if host.connected { (16, "running") } else { (80, "stopped") };
    InstanceState { code: Some(code), name: Some(name.to_owned()) }
}

fn placement(host: &Host, env: &Env) -> Placement {
    Placement {
        availability_zone: Some(host.availability_zone.clone()),
        availability_zone_id: zone_id(&env.region, &host.availability_zone),
        tenancy: Some("default".to_owned()),
        ..Default::default()
    }
}

fn show(snap: &Snapshot, host: &Host, env: &Env) -> Instance {
    let primary = instance_interface::present(snap, &host.id);
    let primary = primary.as_deref();
    let public = primary.and_then(|eni| public_address::show(snap, eni, env)).unwrap_or_default();
    Instance {
        ami_launch_index: Some(0),
        architecture: Some(architecture(host).to_owned()),
        block_device_mappings: Some(Vec::new()),
        image_id: Some(image_of(host).to_owned()),
        instance_id: Some(host.instance.to_string()),
        instance_type: Some(type_of(host)),
        launch_time: host.registered_at.map(|at| Timestamp(at.0)),
        monitoring: Some(Monitoring { state: Some("disabled".to_owned()), ..Default::default() }),
        network_interfaces: Some(interfaces(snap, host, env)),
        placement: Some(placement(host, env)),
        platform_details: Some("Linux/UNIX".to_owned()),
        private_dns_name: primary.and_then(|eni| interface::private_dns_name(snap, eni, &env.region)),
        private_ip_address: primary.map(|eni| eni.address.to_string()),
        public_dns_name: public.public_dns_name,
        public_ip_address: public.public_ip,
        security_groups: Some(primary.map(|eni| network_interface::show_groups(snap, eni)).unwrap_or_default()),
        source_dest_check: primary.map(|eni| eni.source_dest_check),
        state: Some(state(host)),
        subnet_id: primary.map(|eni| eni.subnet.to_string()),
        tags: Some(Vec::new()),
        vpc_id: primary.map(|eni| eni.vpc.to_string()),
        virtualization_type: Some("hvm".to_owned()),
        ..Default::default()
    }
}

/// The interfaces that show themselves as attached to the instance.
fn interfaces(snap: &Snapshot, host: &Host, env: &Env) -> Vec<InstanceNetworkInterface> {
    let mine = interface::of_host(snap, &host.id).filter_map(|id| snap.vpc().enis.get(id));
    let mine = mine.filter(|eni| !owner::by_owner(&eni.owner).requester_managed);
    mine.map(|eni| {
        let attachment = network_interface::show_attachment(snap, eni, env).unwrap_or_default();
        let private_dns_name = interface::private_dns_name(snap, eni, &env.region);
        InstanceNetworkInterface {
            attachment: Some(InstanceNetworkInterfaceAttachment {
                attach_time: attachment.attach_time,
                attachment_id: attachment.attachment_id,
                delete_on_termination: attachment.delete_on_termination,
                device_index: attachment.device_index,
                network_card_index: attachment.network_card_index,
                status: attachment.status,
                ..Default::default()
            }),
            description: Some(eni.description.clone()),
            groups: Some(network_interface::show_groups(snap, eni)),
            interface_type: Some(owner::by_owner(&eni.owner).interface_type.to_owned()),
            mac_address: Some(eni.mac.to_string()),
            network_interface_id: Some(eni.id.to_string()),
            owner_id: Some(env.account.clone()),
            private_dns_name: private_dns_name.clone(),
            private_ip_address: Some(eni.address.to_string()),
            private_ip_addresses: Some(vec![InstancePrivateIpAddress {
                primary: Some(true),
                private_dns_name,
                private_ip_address: Some(eni.address.to_string()),
                ..Default::default()
            }]),
            source_dest_check: Some(eni.source_dest_check),
            status: Some("in-use".to_owned()),
            subnet_id: Some(eni.subnet.to_string()),
            vpc_id: Some(eni.vpc.to_string()),
            ..Default::default()
        }
    })
    .collect()
}

fn show_status(host: &Host, env: &Env) -> InstanceStatus {
    let summary = |status: &str, reachable: Option<&str>| InstanceStatusSummary {
        details: reachable.map(|status| {
            vec![InstanceStatusDetails {
                name: Some("reachability".to_owned()),
                status: Some(status.to_owned()),
                ..Default::default()
            }]
        }),
        status: Some(status.to_owned()),
    };
    let told = || if host.connected { summary("ok", Some("passed")) } else { summary("not-applicable", None) };
    InstanceStatus {
        availability_zone: Some(host.availability_zone.clone()),
        availability_zone_id: zone_id(&env.region, &host.availability_zone),
        instance_id: Some(host.instance.to_string()),
        instance_state: Some(state(host)),
        instance_status: Some(told()),
        system_status: Some(told()),
        ..Default::default()
    }
}

fn show_type(host: &Host) -> InstanceTypeInfo {
    InstanceTypeInfo {
        bare_metal: Some(false),
        current_generation: Some(true),
        instance_type: Some(type_of(host)),
        memory_info: Some(MemoryInfo { size_in_mib: Some(host.capacity.memory_mib.into()) }),
        processor_info: Some(ProcessorInfo {
            supported_architectures: Some(vec![architecture(host).to_owned()]),
            ..Default::default()
        }),
        supported_usage_classes: Some(vec!["on-demand".to_owned()]),
        v_cpu_info: Some(VCpuInfo { default_v_cpus: i32::try_from(cores(host)).ok(), ..Default::default() }),
        ..Default::default()
    }
}

fn show_image(host: &Host, env: &Env) -> Image {
    let architecture = architecture(host);
    Image {
        architecture: Some(architecture.to_owned()),
        block_device_mappings: Some(Vec::new()),
        description: Some("A host of Berth".to_owned()),
        image_id: Some(image_of(host).to_owned()),
        image_location: Some(format!("{}/berth-{architecture}", env.account)),
        image_type: Some("machine".to_owned()),
        name: Some(format!("berth-{architecture}")),
        owner_id: Some(env.account.clone()),
        platform_details: Some("Linux/UNIX".to_owned()),
        public: Some(false),
        state: Some("available".to_owned()),
        tags: Some(Vec::new()),
        virtualization_type: Some("hvm".to_owned()),
        ..Default::default()
    }
}

static FILTERS: Filters<Instance> = Filters {
    rows: &[
        (&["instance-id"], |it| text(&it.instance_id)),
        (&["instance-state-name"], |it| it.state.iter().filter_map(|state| state.name.clone()).collect()),
        (&["instance-state-code"], |it| it.state.iter().flat_map(|state| shown(&state.code)).collect()),
        (&["instance-type"], |it| text(&it.instance_type)),
        (&["image-id"], |it| text(&it.image_id)),
        (&["architecture"], |it| text(&it.architecture)),
        (&["availability-zone", "placement-availability-zone"], |it| {
            it.placement.iter().filter_map(|place| place.availability_zone.clone()).collect()
        }),
        (&["vpc-id"], |it| text(&it.vpc_id)),
        (&["subnet-id"], |it| text(&it.subnet_id)),
        (&["private-ip-address"], |it| text(&it.private_ip_address)),
        (&["ip-address"], |it| text(&it.public_ip_address)),
        (&["network-interface.network-interface-id"], |it| {
            let interfaces = it.network_interfaces.iter().flatten();
            interfaces.filter_map(|interface| interface.network_interface_id.clone()).collect()
        }),
    ],
    tags: Some(|it| &it.tags),
};

static STATUS_FILTERS: Filters<InstanceStatus> = Filters {
    rows: &[
        (&["availability-zone"], |it| text(&it.availability_zone)),
        (&["instance-state-name"], |it| it.instance_state.iter().filter_map(|state| state.name.clone()).collect()),
        (&["instance-state-code"], |it| it.instance_state.iter().flat_map(|state| shown(&state.code)).collect()),
        (&["instance-status.status"], |it| it.instance_status.iter().filter_map(|it| it.status.clone()).collect()),
        (&["system-status.status"], |it| it.system_status.iter().filter_map(|it| it.status.clone()).collect()),
    ],
    tags: None,
};

static TYPE_FILTERS: Filters<InstanceTypeInfo> = Filters {
    rows: &[
        (&["instance-type"], |it| text(&it.instance_type)),
        (&["bare-metal"], |it| shown(&it.bare_metal)),
        (&["current-generation"], |it| shown(&it.current_generation)),
        (&["memory-info.size-in-mib"], |it| it.memory_info.iter().flat_map(|it| shown(&it.size_in_mib)).collect()),
        (&["vcpu-info.default-vcpus"], |it| it.v_cpu_info.iter().flat_map(|it| shown(&it.default_v_cpus)).collect()),
        (&["processor-info.supported-architecture"], |it| {
            it.processor_info.iter().flat_map(|it| it.supported_architectures.iter().flatten()).cloned().collect()
        }),
    ],
    tags: None,
};

static IMAGE_FILTERS: Filters<Image> = Filters {
    rows: &[
        (&["image-id"], |it| text(&it.image_id)),
        (&["name"], |it| text(&it.name)),
        (&["architecture"], |it| text(&it.architecture)),
        (&["description"], |it| text(&it.description)),
        (&["image-type"], |it| text(&it.image_type)),
        (&["is-public"], |it| shown(&it.public)),
        (&["owner-id"], |it| text(&it.owner_id)),
        (&["state"], |it| text(&it.state)),
        (&["virtualization-type"], |it| text(&it.virtualization_type)),
    ],
    tags: Some(|it| &it.tags),
};
