// SPDX-License-Identifier: Apache-2.0
//! The objects that the benchmarks of the API need on an endpoint: a cluster, a subnet, a task definition.

use anyhow::{Context, Result, ensure};
use berth_shapes::ec2::{DescribeSecurityGroupsRequest, DescribeSubnetsRequest};
use berth_shapes::ecs::{
    AwsVpcConfiguration, ContainerDefinition, CreateClusterRequest, NetworkConfiguration,
    RegisterTaskDefinitionRequest, RunTaskRequest,
};

use crate::client::Client;

/// Family of the registered task definition.
pub const FAMILY: &str = "berth-bench";

/// Family of the definition whose tasks have no interface.
const PLAIN_FAMILY: &str = "berth-bench-plain";

/// Maximum number of tasks that one RunTask may start.
pub const RUN_MAX: u32 = 10;

/// Maximum number of subnets that one RunTask may name.
const SUBNETS_MAX: usize = 16;

/// The placement of tasks: the objects of an endpoint's default VPC.
pub struct Scene {
    /// Its subnets.
    pub subnets: Vec<String>,
    group: String,
}

/// Creates the cluster, registers a one-container definition and finds subnets and a security group.
pub fn prepare(client: &mut Client, cluster: &str, image: &str) -> Result<Scene> {
    client.call(&CreateClusterRequest { cluster_name: Some(cluster.to_owned()), ..Default::default() })?;
    client.call(&definition(image))?;
    let answer = String::from_utf8(client.call(&DescribeSubnetsRequest::default())?)?;
    let subnets: Vec<String> = texts(&answer, "subnetId").take(SUBNETS_MAX).collect();
    ensure!(!subnets.is_empty(), "the endpoint has no subnet");
    let answer = String::from_utf8(client.call(&DescribeSecurityGroupsRequest::default())?)?;
    let group = texts(&answer, "groupId").next().context("the endpoint has no security group")?;
    Ok(Scene { subnets, group })
}

/// One container of launch type EC2 or FARGATE that waits.
pub fn definition(image: &str) -> RegisterTaskDefinitionRequest {
    let container = ContainerDefinition {
        name: Some("app".to_owned()),
        image: Some(image.to_owned()),
        essential: Some(true),
        // moto counts resources by containers and needs it.
        memory: Some(128),
        command: Some(vec!["sleep".to_owned(), "100000".to_owned()]),
        stop_timeout: Some(2),
        ..Default::default()
    };
    RegisterTaskDefinitionRequest {
        family: Some(FAMILY.to_owned()),
        network_mode: Some("awsvpc".to_owned()),
        requires_compatibilities: Some(vec!["EC2".to_owned(), "FARGATE".to_owned()]),
        cpu: Some("256".to_owned()),
        memory: Some("512".to_owned()),
        container_definitions: Some(vec![container]),
        ..Default::default()
    }
}

/// The content of the elements with this name, in order.
pub fn texts(xml: &str, element: &str) -> impl Iterator<Item = String> {
    let after: Vec<String> = xml.split(&format!("<{element}>")).skip(1).map(str::to_owned).collect();
    after.into_iter().filter_map(|rest| rest.split('<').next().map(str::to_owned))
}

/// One task of the benchmark's definition.
pub fn run_task(cluster: &str, scene: &Scene, launch_type: &str) -> RunTaskRequest {
    let vpc = AwsVpcConfiguration {
        subnets: Some(scene.subnets.clone()),
        security_groups: Some(vec![scene.group.clone()]),
        ..Default::default()
    };
    RunTaskRequest {
        cluster: Some(cluster.to_owned()),
        task_definition: Some(FAMILY.to_owned()),
        launch_type: Some(launch_type.to_owned()),
        network_configuration: Some(NetworkConfiguration { awsvpc_configuration: Some(vpc) }),
        ..Default::default()
    }
}

/// Registers the definition of [`run_plain_tasks`].
pub fn prepare_plain(client: &mut Client, cluster: &str, image: &str) -> Result<()> {
    client.call(&CreateClusterRequest { cluster_name: Some(cluster.to_owned()), ..Default::default() })?;
    let container = ContainerDefinition {
        name: Some("app".to_owned()),
        image: Some(image.to_owned()),
        memory: Some(6),
        ..Default::default()
    };
    client.call(&RegisterTaskDefinitionRequest {
        family: Some(PLAIN_FAMILY.to_owned()),
        network_mode: Some("none".to_owned()),
        container_definitions: Some(vec![container]),
        ..Default::default()
    })?;
    Ok(())
}

/// As many tasks as one call may start, on a container instance, without address and port.
pub fn run_plain_tasks(cluster: &str) -> RunTaskRequest {
    RunTaskRequest {
        cluster: Some(cluster.to_owned()),
        task_definition: Some(PLAIN_FAMILY.to_owned()),
        launch_type: Some("EC2".to_owned()),
        count: Some(RUN_MAX as i32),
        ..Default::default()
    }
}
