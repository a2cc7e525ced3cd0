// SPDX-License-Identifier: Apache-2.0
//! What a host is asked to hold.
#![allow(clippy::too_many_lines, clippy::unwrap_used)]

mod addresses;
mod routes;

use berth_types::report::{EniState, TaskStage};
use expect_test::expect;
use serde_json::json;

use super::host;
use berth_world::{World, fargate_definition, hello, merged, run_request};

#[test]
fn a_task_is_wanted_with_its_overrides_and_its_network() {
    let mut world = World::with_host();
    let definition = merged(
        fargate_definition(),
        json!({"volumes": [{"name": "v"}], "containerDefinitions": {"0": {
        "environment": [{"name": "A", "value": "defined"}, {"name": "B", "value": "defined"}], "command": ["defined"],
        "mountPoints": [{"sourceVolume": "v", "containerPath": "/v", "readOnly": true}], "user": "1:1"}}}),
    );
    world.call("RegisterTaskDefinition", definition).unwrap();
    let patch = json!({"overrides": {"containerOverrides": [{"name": "nginx", "command": ["given"], "cpu": 10,
        "environment": [{"name": "A", "value": "given"}]}]}});
    world.call("RunTask", merged(run_request(), patch)).unwrap();
    let env = world.env();
    let intent = host(&world.snap, &hello(1).host, &env);
    expect![[r#"
        {
          "vpcs": {
            "1": {
              "vpc": "vpc-00000000000000001",
              "cidrs": [
                "10.0.0.0/16"
              ],
              "subnets": {
                "subnet-0000000000000000a": {
                  "cidr": "10.0.0.0/24"
                },
                "subnet-0000000000000000b": {
                  "cidr": "10.0.1.0/24"
                },
                "subnet-0000000000000000c": {
                  "cidr": "10.0.2.0/28"
                }
              }
            }
          },
          "group_sets": {
            "1": {
              "vni": 1,
              "groups": [
                "sg-0000000000000000e"
              ]
            }
          },
          "security_groups": {
            "sg-0000000000000000d": {
              "rules": {}
            },
            "sg-0000000000000000e": {
              "rules": {}
            }
          },
          "endpoints": {
            "eni-79a36db76b0c9a8cf": {
              "vni": 1,
              "address": "10.0.0.4",
              "mac": "02:34:cc:10:72:17",
              "group_set": 1,
              "host": "00000000000000000000000000000001"
            }
          },
          "enis": {
            "eni-79a36db76b0c9a8cf": {
              "vni": 1,
              "vpc": "vpc-00000000000000001",
              "subnet": "subnet-0000000000000000a",
              "subnet_cidr": "10.0.0.0/24",
              "vpc_cidrs": [
                "10.0.0.0/16"
              ],
              "mac": "02:34:cc:10:72:17",
              "address": "10.0.0.4",
              "group_set": 1,
              "source_dest_check": true,
              "mtu": 9001,
              "plug": {
                "in_place": "c622de6a6fe7817a5a7986694e19a6df"
              }
            }
          },
          "tasks": {
            "c622de6a6fe7817a5a7986694e19a6df": {
              "arn": "arn:aws:ecs:us-west-2:111122223333:task/default/c622de6a6fe7817a5a7986694e19a6df",
              "cluster_arn": "arn:aws:ecs:us-west-2:111122223333:cluster/default",
              "family": "nginx",
              "revision": 1,
              "launch_type": "FARGATE",
              "availability_zone": "us-west-2a",
              "desired": "RUNNING",
              "network_mode": "awsvpc",
              "eni": "eni-79a36db76b0c9a8cf",
              "hostname": "ip-10-0-0-4.us-west-2.compute.internal",
              "dns": {
                "servers": [
                  "10.0.0.2"
                ],
                "search": [
                  "us-west-2.compute.internal"
                ]
              },
              "cpu_units": 256,
              "memory_mib": 512,
              "ephemeral_storage_gib": 20,
              "volumes": [
                {
                  "name": "v",
                  "source": "empty"
                }
              ],
              "containers": [
                {
                  "name": "nginx",
                  "arn": "arn:aws:ecs:us-west-2:111122223333:container/default/c622de6a6fe7817a5a7986694e19a6df/eeab0277-55e2-494d-ad1e-c32f9e72e0ab",
                  "endpoint_id": "9a453ba4-cc86-4cb7-a8c9-e33bfc1fb812",
                  "image": "nginx",
                  "entry_point": null,
                  "command": [
                    "given"
                  ],
                  "environment": [
                    [
                      "B",
                      "defined"
                    ],
                    [
                      "A",
                      "given"
                    ]
                  ],
                  "essential": true,
                  "cpu_units": 10,
                  "memory_mib": null,
                  "memory_reservation_mib": null,
                  "stop_timeout_s": 30,
                  "working_directory": null,
                  "user": "1:1",
                  "readonly_root_filesystem": false,
                  "pseudo_terminal": false,
                  "labels": {},
                  "mounts": [
                    {
                      "volume": "v",
                      "path": "/v",
                      "read_only": true
                    }
                  ],
                  "ports": [
                    {
                      "container_port": 80,
                      "host_port": 80,
                      "protocol": "tcp"
                    }
                  ]
                }
              ]
            }
          },
          "route_tables": {},
          "network_acls": {},
          "public_addresses": {},
          "nat_gateways": {},
          "worlds": {
            "198.18.0.0/20": {
              "host_address": "198.18.0.1",
              "endpoints": {
                "range": "198.18.15.192/26",
                "region": "us-west-2",
                "all": "198.18.15.193",
                "services": {
                  "198.18.15.194": "ec2",
                  "198.18.15.195": "ecs",
                  "198.18.15.196": "sts"
                }
              }
            }
          }
        }"#]].assert_eq(&serde_json::to_string_pretty(&intent).unwrap());
}

#[test]
fn an_interface_is_wanted_until_no_container_is_left() {
    let mut world = World::with_host();
    world.connect(&hello(2));
    let task = world.run(json!({}))[0].clone();
    let on = world.snap.ecs().tasks[&task].host.clone().unwrap();
    let shape = |world: &mut World| {
        let env = world.env();
        let intent = host(&world.snap, &on, &env);
        (intent.vpcs.len(), intent.endpoints.len(), intent.enis.len(), intent.tasks.len())
    };
    assert_eq!(shape(&mut world), (1, 1, 1, 1));
    world.eni(&task, EniState::Attached);
    world.stage(&task, TaskStage::Running, None);
    world.call("StopTask", json!({"task": task.as_str()})).unwrap();
    assert_eq!(shape(&mut world), (1, 1, 1, 1));
    world.stage(&task, TaskStage::Stopped, None);
    assert_eq!(shape(&mut world), (0, 0, 0, 0));
}

#[test]
fn a_host_knows_the_interfaces_of_its_vpcs_on_other_hosts() {
    let mut world = World::with_host();
    world.connect(&hello(2));
    world.run(json!({"count": 2}));
    let far =
        json!({"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-far"], "securityGroups": []}}});
    world.run(far);
    let env = world.env();
    let intents = [1, 2].map(|number| host(&world.snap, &hello(number).host, &env));
    // The third task went to one of the hosts and brought its VPC with it; the first two are one on each host.
    let counts = intents.map(|intent| (intent.vpcs.len(), intent.endpoints.len(), intent.enis.len()));
    assert_eq!(counts, [(2, 3, 2), (1, 2, 1)]);
}
