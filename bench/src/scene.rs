//! What the benchmarks of the API need on an endpoint: a cluster, a subnet, a task definition.

use anyhow::{Result, ensure};
use berth_shapes::ec2::DescribeSubnetsRequest;
use berth_shapes::ecs::{
    AwsVpcConfiguration, ContainerDefinition, CreateClusterRequest, NetworkConfiguration,
    RegisterTaskDefinitionRequest, RunTaskRequest,
};

use crate::client::Client;

/// Family of the task definition the benchmarks register.
pub const FAMILY: &str = "berth-bench";

/// As many as one RunTask may name.
const SUBNETS_MAX: usize = 16;

/// Creates the cluster, registers a one-container definition and finds the subnets.
pub fn prepare(client: &mut Client, cluster: &str, image: &str) -> Result<Vec<String>> {
    client.call(&CreateClusterRequest { cluster_name: Some(cluster.to_owned()), ..Default::default() })?;
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
    client.call(&RegisterTaskDefinitionRequest {
        family: Some(FAMILY.to_owned()),
        network_mode: Some("awsvpc".to_owned()),
        requires_compatibilities: Some(vec!["EC2".to_owned(), "FARGATE".to_owned()]),
        cpu: Some("256".to_owned()),
        memory: Some("512".to_owned()),
        container_definitions: Some(vec![container]),
        ..Default::default()
    })?;
    let subnets = String::from_utf8(client.call(&DescribeSubnetsRequest::default())?)?;
    let ids = subnets.split("<subnetId>").skip(1).filter_map(|rest| rest.split('<').next());
    let ids: Vec<String> = ids.take(SUBNETS_MAX).map(str::to_owned).collect();
    ensure!(!ids.is_empty(), "the endpoint has no subnet");
    Ok(ids)
}

/// One task of the benchmark's definition.
pub fn run_task(cluster: &str, subnets: &[String], launch_type: &str) -> RunTaskRequest {
    let vpc = AwsVpcConfiguration { subnets: Some(subnets.to_vec()), ..Default::default() };
    RunTaskRequest {
        cluster: Some(cluster.to_owned()),
        task_definition: Some(FAMILY.to_owned()),
        launch_type: Some(launch_type.to_owned()),
        network_configuration: Some(NetworkConfiguration { awsvpc_configuration: Some(vpc) }),
        ..Default::default()
    }
}
