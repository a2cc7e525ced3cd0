// SPDX-License-Identifier: Apache-2.0
//! The executables, called as the official ECS agent and as CNI runtimes call them.
#![allow(clippy::too_many_lines, clippy::unwrap_used)]

#[path = "kernel_cni_lab/mod.rs"]
mod cni_lab;

use std::path::Path;
use std::process::Command;

use berth_fabric::cni::ipam::Ipam;
use berth_fabric::kernel::Namespace;
use berth_fabric::kernel::netlink::VethPair;
use cni_lab::{Lab, mac, show};
use expect_test::{Expect, expect};
use serde_json::{Value, json};

const ENI_MAC: &str = "0a:11:22:33:44:55";
const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

fn bridge_config(version: &str) -> Value {
    json!({"bridge":"ecs-bridge","cniVersion":version,"forceAddress":false,"hairpinMode":false,"ipMasq":false,
        "ipam":{"id":ENI_MAC,"ipv4-routes":[{"dst":"169.254.170.2/32"}],"ipv4-subnet":"169.254.172.0/22","type":"ecs-ipam"},
        "isDefaultGateway":false,"isGateway":false,"mtu":0,"name":"network-name","type":"ecs-bridge"})
}

fn eni_config(version: &str) -> Value {
    json!({"cniVersion":version,"name":"ecs-eni","type":"ecs-eni","eni":"eni-1234","mac":ENI_MAC,
        "ip-addresses":["10.0.1.20/24"],"gateway-ip-addresses":["10.0.1.1"],"vpc-cidrs":["10.0.0.0/16"],
        "block-instance-metadata":true,"connectedSubnetMaskSizeIPv4":24})
}

fn vpc_eni_config() -> Value {
    json!({"blockInstanceMetadata":false,"cniVersion":"0.3.0","dns":{},"eniIPAddresses":["10.77.0.10/24"],
        "eniMACAddress":ENI_MAC,"eniName":"","gatewayIPAddresses":["10.77.0.1"],"name":"network-name",
        "type":"vpc-eni","useExistingNetwork":false})
}

/// A device on the host, as the data path creates it for the EC2 launch type.
fn device(lab: &Lab, name: &str) {
    let fabric = lab.container("fabric");
    let pair = VethPair {
        name: "eni-1",
        up: true,
        peer_name: name,
        peer_mac: Some(mac(ENI_MAC)),
        mtu: Some(9001),
        peer_mtu: Some(9001),
        peer_ns: Some(lab.host.as_fd()),
        ..VethPair::default()
    };
    fabric.netlink().unwrap().create_veth(&pair).unwrap();
}

/// A result without random parts and parts that depend on the test's folder.
fn steady(lab: &Lab, mut result: Value) -> String {
    for interface in result["interfaces"].as_array_mut().into_iter().flatten() {
        let name = interface["name"].as_str().unwrap_or_default().to_owned();
        if name.starts_with("veth") || name == "ecs-bridge" {
            interface["mac"] = json!("random");
        }
        if name.starts_with("veth") {
            interface["name"] = json!("veth-random");
        }
    }
    let netns = lab.host.path().parent().unwrap().display().to_string();
    serde_json::to_string_pretty(&sorted(result)).unwrap().replace(&netns, "NETNS") + "\n"
}

/// Keys in order, whether or not another crate of the build enabled maps that keep the order of insertion.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let entries: std::collections::BTreeMap<_, _> = map.into_iter().map(|(k, v)| (k, sorted(v))).collect();
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

#[test]
fn version_and_capabilities_are_told() {
    let lab = Lab::new();
    let ask = |plugin: &str, flag: &str| -> Value {
        let output = Command::new(lab.plugins().join(plugin)).arg(flag).output().unwrap();
        assert!(output.status.success());
        serde_json::from_slice(&output.stdout).unwrap()
    };
    for plugin in ["ecs-eni", "vpc-eni", "ecs-bridge", "ecs-ipam"] {
        assert_eq!(ask(plugin, "--capabilities"), json!({"capabilities":["awsvpc-network-mode"]}));
        let version = ask(plugin, "--version");
        assert!(version["version"].is_string() && version["dirty"].is_boolean() && version["gitShortHash"].is_string());
        for asked in VERSIONS {
            let config = json!({ "cniVersion": asked });
            let answer = lab.succeed(plugin, "VERSION", Path::new(""), "", &config);
            assert_eq!(answer, json!({"cniVersion": asked, "supportedVersions": VERSIONS}));
        }
    }
}

#[test]
fn the_chain_of_the_official_agent_works_and_is_taken_down_twice() {
    let lab = Lab::new();
    let task = lab.container("task");
    device(&lab, "ens6");
    let netns = task.path();
    let result = lab.succeed("vpc-eni", "ADD", netns, "eth0", &vpc_eni_config());
    expect![[r#"
        {
          "cniVersion": "0.3.0",
          "dns": {},
          "interfaces": [
            {
              "mac": "0a:11:22:33:44:55",
              "name": "eth0",
              "sandbox": "NETNS/task"
            }
          ],
          "ips": [
            {
              "address": "10.77.0.10/24",
              "gateway": "10.77.0.1",
              "interface": 0,
              "version": "4"
            }
          ],
          "routes": [
            {
              "dst": "0.0.0.0/0",
              "gw": "10.77.0.1"
            }
          ]
        }
    "#]]
    .assert_eq(&steady(&lab, result));
    let result = lab.succeed("ecs-bridge", "ADD", netns, "ecs-eth0", &bridge_config("0.3.0"));
    expect![[r#"
        {
          "cniVersion": "0.3.0",
          "dns": {},
          "interfaces": [
            {
              "mac": "random",
              "name": "ecs-bridge"
            },
            {
              "mac": "random",
              "name": "veth-random"
            },
            {
              "mac": "0a:58:a9:fe:ac:02",
              "name": "ecs-eth0",
              "sandbox": "NETNS/task"
            }
          ],
          "ips": [
            {
              "address": "169.254.172.2/22",
              "gateway": "169.254.172.1",
              "interface": 2,
              "version": "4"
            }
          ],
          "routes": [
            {
              "dst": "169.254.170.2/32"
            },
            {
              "dst": "169.254.172.1/32",
              "gw": "169.254.172.1"
            }
          ]
        }
    "#]]
    .assert_eq(&steady(&lab, result));
    expect![[r#"
        ecs-eth0 veth 0a:58:a9:fe:ac:02 mtu 1500 up
          169.254.172.2/22
        eth0 veth 0a:11:22:33:44:55 mtu 9001 up
          10.77.0.10/24
        10.77.0.0/24 dev eth0
        169.254.170.2 via 169.254.172.1 dev ecs-eth0
        169.254.172.1 via 169.254.172.1 dev ecs-eth0
        default via 10.77.0.1 dev eth0
    "#]]
    .assert_eq(&show(&task));
    let mut without_ipam = bridge_config("0.3.0");
    without_ipam["ipam"] = json!({});
    let mut ipam = bridge_config("0.3.0");
    ipam["type"] = json!("ecs-ipam");
    for _ in 0..2 {
        assert_eq!(lab.succeed("ecs-bridge", "DEL", netns, "ecs-eth0", &without_ipam), Value::Null);
        lab.succeed("vpc-eni", "DEL", netns, "eth0", &vpc_eni_config());
        // The agent's own call: no container id, and an impossible path.
        let mut environment = lab.environment("DEL", Path::new("/host/proc//ns/net"), "ecs-eth0");
        environment.insert("CNI_CONTAINERID".into(), String::new());
        assert!(lab.run("ecs-ipam", &environment, &ipam.to_string()).status.success());
    }
    assert_eq!(show(&task), "\n");
    assert!(show(&lab.host).contains("ecsa1122 veth 0a:11:22:33:44:55 mtu 9001 down"));
    assert!(Ipam::at(&lab.ipam_db()).leases().unwrap().is_empty());
}

#[test]
fn every_version_gets_its_own_shape() {
    for version in VERSIONS {
        let lab = Lab::new();
        let task = lab.container("task");
        let result = lab.succeed("ecs-bridge", "ADD", task.path(), "ecs-eth0", &bridge_config(version));
        assert_eq!(result["cniVersion"], json!(version));
        let again = lab.succeed("ecs-bridge", "ADD", task.path(), "ecs-eth0", &bridge_config(version));
        assert_eq!(again, result, "the same caller holds the lease of this id");
        let has_family = matches!(version, "0.3.0" | "0.3.1" | "0.4.0");
        assert_eq!(result["ips"][0].get("version").is_some(), has_family, "{version}: {result}");
        let ipam = lab.fail("ecs-ipam", "ADD", task.path(), "other", &bridge_config(version));
        assert_eq!((&ipam["cniVersion"], &ipam["code"]), (&json!(version), &json!(100)), "the id is in use: {ipam}");
        let mut config = bridge_config(version);
        config["prevResult"] = result;
        if has_family && version != "0.4.0" {
            let error = lab.fail("ecs-bridge", "CHECK", task.path(), "ecs-eth0", &config);
            assert_eq!(error["code"], json!(1));
        } else {
            lab.succeed("ecs-bridge", "CHECK", task.path(), "ecs-eth0", &config);
        }
        lab.succeed("ecs-bridge", "DEL", task.path(), "ecs-eth0", &config);
        lab.succeed("ecs-bridge", "DEL", task.path(), "ecs-eth0", &config);
        assert_eq!(show(&task), "\n");
    }
}

#[test]
fn ecs_eni_moves_the_device_and_answers_as_the_official_one() {
    let lab = Lab::new();
    let task = lab.container("task");
    device(&lab, "ens6");
    let result = lab.succeed("ecs-eni", "ADD", task.path(), "eth0", &eni_config("0.3.0"));
    expect![[r#"
        {
          "cniVersion": "0.3.0",
          "dns": {},
          "interfaces": [
            {
              "mac": "0a:11:22:33:44:55",
              "name": "ens6"
            }
          ],
          "ips": [
            {
              "address": "10.0.1.20/24",
              "version": "4"
            }
          ]
        }
    "#]]
    .assert_eq(&steady(&lab, result));
    assert_eq!(show(&lab.host), "\n");
    expect![[r#"
        eth0 veth 0a:11:22:33:44:55 mtu 9001 up
          10.0.1.20/24
        10.0.0.0/16 via 10.0.1.1 dev eth0 mtu 9001
        10.0.1.0/24 dev eth0
        blackhole 169.254.169.254
        blackhole fd00:ec2::254
        default via 10.0.1.1 dev eth0 mtu 1500
    "#]]
    .assert_eq(&show(&task));
    for _ in 0..2 {
        assert_eq!(lab.succeed("ecs-eni", "DEL", task.path(), "eth0", &eni_config("0.3.0")), Value::Null);
    }
}

#[test]
fn ecs_eni_is_checked_and_differences_are_named() {
    let lab = Lab::new();
    let task = lab.container("task");
    device(&lab, "ens6");
    let mut config = eni_config("1.1.0");
    let result = lab.succeed("ecs-eni", "ADD", task.path(), "eth0", &config);
    expect![[r#"
        {
          "cniVersion": "1.1.0",
          "dns": {},
          "interfaces": [
            {
              "mac": "0a:11:22:33:44:55",
              "name": "eth0",
              "sandbox": "NETNS/task"
            }
          ],
          "ips": [
            {
              "address": "10.0.1.20/24",
              "gateway": "10.0.1.1",
              "interface": 0
            }
          ],
          "routes": [
            {
              "dst": "0.0.0.0/0",
              "gw": "10.0.1.1"
            }
          ]
        }
    "#]]
    .assert_eq(&steady(&lab, result.clone()));
    config["prevResult"] = result;
    lab.succeed("ecs-eni", "CHECK", task.path(), "eth0", &config);
    let mut inside = task.netlink().unwrap();
    let index = inside.link_by_name("eth0").unwrap().unwrap().index;
    inside.delete_address(index, "10.0.1.20/24".parse().unwrap()).unwrap();
    let error = lab.fail("ecs-eni", "CHECK", task.path(), "eth0", &config);
    assert!(error["msg"].as_str().unwrap().contains("add address 10.0.1.20/24"), "{error}");
}

#[test]
fn a_device_that_stays_down_is_only_moved() {
    let lab = Lab::new();
    let task = lab.container("task");
    device(&lab, "ens6");
    let mut config = eni_config("0.3.0");
    config["stay-down"] = json!(true);
    lab.succeed("ecs-eni", "ADD", task.path(), "eth5", &config);
    expect![[r#"
        ens6 veth 0a:11:22:33:44:55 mtu 9001 down
    "#]]
    .assert_eq(&show(&task));
}

#[test]
fn the_type_decides_for_a_program_of_another_name() {
    let lab = Lab::new();
    let task = lab.container("task");
    lab.succeed("berth-cni", "ADD", task.path(), "ecs-eth0", &bridge_config("1.0.0"));
    let error = lab.fail("berth-cni", "ADD", task.path(), "x", &json!({"cniVersion": "1.0.0", "type": "bridge"}));
    assert_eq!(error["code"], json!(7));
}

#[test]
fn an_ipam_plugin_of_another_make_is_run_as_a_program() {
    let lab = Lab::new();
    let task = lab.container("task");
    let other = lab.plugins().join("fixed-ipam");
    let answer = r#"{"cniVersion":"1.0.0","ips":[{"address":"192.0.2.5/29","gateway":"192.0.2.1"}]}"#;
    let script = format!("#!/bin/sh\ncat > /dev/null\n[ $CNI_COMMAND != ADD ] || echo '{answer}'\n");
    std::fs::write(&other, script).unwrap();
    std::fs::set_permissions(&other, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut config = bridge_config("1.0.0");
    config["ipam"] = json!({"type": "fixed-ipam"});
    lab.succeed("ecs-bridge", "ADD", task.path(), "ecs-eth0", &config);
    assert!(show(&task).contains("192.0.2.5/29"), "{}", show(&task));
    lab.succeed("ecs-bridge", "DEL", task.path(), "ecs-eth0", &config);
    config["ipam"] = json!({"type": "no-such-ipam"});
    let error = lab.fail("ecs-bridge", "ADD", task.path(), "ecs-eth0", &config);
    assert!(error["msg"].as_str().unwrap().contains("no-such-ipam"), "{error}");
}

#[track_caller]
fn refuses(change: impl FnOnce(&mut std::collections::BTreeMap<String, String>, &mut Value), expected: Expect) {
    let lab = Lab::new();
    let task = lab.container("task");
    let mut config = bridge_config("1.0.0");
    let mut environment = lab.environment("ADD", task.path(), "ecs-eth0");
    change(&mut environment, &mut config);
    let input = config.as_str().map_or_else(|| config.to_string(), str::to_owned);
    let plugin = config.get("type").and_then(Value::as_str).unwrap_or("ecs-bridge");
    let output = lab.run(plugin, &environment, &input);
    assert_eq!(output.status.code(), Some(1));
    let error = serde_json::from_slice::<Value>(&output.stdout).unwrap();
    expected.assert_eq(&format!("{}\n", sorted(error)));
    assert_eq!(show(&task), "\n");
    assert!(Ipam::at(&lab.ipam_db()).leases().unwrap().is_empty());
}

#[test]
fn what_cannot_be_is_refused_with_the_code_of_the_specification() {
    refuses(
        |_, config| config["cniVersion"] = json!("9.9.9"),
        expect![[r#"
            {"cniVersion":"9.9.9","code":1,"details":"config is \"9.9.9\", plugin supports 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0","msg":"incompatible CNI versions"}
        "#]],
    );
    refuses(
        |environment, _| drop(environment.remove("CNI_NETNS")),
        expect![[r#"
            {"cniVersion":"1.0.0","code":4,"msg":"required env variables [CNI_NETNS] missing"}
        "#]],
    );
    refuses(
        |environment, config| {
            config["type"] = json!("ecs-ipam");
            environment.remove("CNI_NETNS");
        },
        expect![[r#"
            {"cniVersion":"1.0.0","code":4,"msg":"required env variables [CNI_NETNS] missing"}
        "#]],
    );
    refuses(
        |environment, _| drop(environment.insert("CNI_IFNAME".into(), "much-too-long-a-name".into())),
        expect![[r#"
            {"cniVersion":"1.0.0","code":4,"msg":"invalid CNI_IFNAME \"much-too-long-a-name\""}
        "#]],
    );
    refuses(
        |environment, _| drop(environment.insert("CNI_COMMAND".into(), "JUMP".into())),
        expect![[r#"
            {"cniVersion":"1.1.0","code":4,"msg":"unknown CNI_COMMAND: JUMP"}
        "#]],
    );
    refuses(
        |_, config| *config = json!("{"),
        expect![[r#"
            {"cniVersion":"1.1.0","code":6,"details":"EOF while parsing an object at line 1 column 1","msg":"error unmarshall network config"}
        "#]],
    );
    refuses(
        |_, config| config["ipMasq"] = json!(true),
        expect![[r#"
            {"cniVersion":"1.0.0","code":7,"details":"remove ipMasq or set it to false","msg":"ipMasq is not offered: tasks reach the world through their own interface"}
        "#]],
    );
    refuses(
        |_, config| config["ipam"]["ipv4-subnet"] = json!("169.254.172.0/31"),
        expect![[r#"
            {"cniVersion":"1.0.0","code":7,"msg":"subnet 169.254.172.0/31 has no address to lease; use a larger one"}
        "#]],
    );
    refuses(
        |environment, _| drop(environment.insert("CNI_COMMAND".into(), "STATUS".into())),
        expect![[r#"
            {"cniVersion":"1.0.0","code":1,"msg":"config version 1.0.0 does not allow STATUS; it came with 1.1.0"}
        "#]],
    );
}

#[test]
fn an_exhausted_pool_is_an_error_and_leaves_nothing() {
    let lab = Lab::new();
    let (one, two) = (lab.container("one"), lab.container("two"));
    let mut config = bridge_config("1.0.0");
    config["ipam"]["ipv4-subnet"] = json!("169.254.172.0/30");
    lab.succeed("ecs-bridge", "ADD", one.path(), "ecs-eth0", &config);
    config["ipam"]["id"] = json!("another");
    let error = lab.fail("ecs-bridge", "ADD", two.path(), "ecs-eth0", &config);
    assert!(error["msg"].as_str().unwrap().starts_with("no address left in pool 169.254.172.0/30"), "{error}");
    assert_eq!(show(&two), "\n");
}

#[test]
fn a_failed_add_frees_its_address() {
    let lab = Lab::new();
    let task = lab.container("task");
    let mut config = bridge_config("1.0.0");
    // A router without a route to it.
    config["ipam"]["ipv4-routes"] = json!([{"dst": "203.0.113.0/24", "gw": "198.51.100.1"}]);
    let error = lab.fail("ecs-bridge", "ADD", task.path(), "ecs-eth0", &config);
    assert!(error["msg"].as_str().unwrap().starts_with("could not add route"), "{error}");
    assert_eq!(show(&task), "\n");
    assert!(Ipam::at(&lab.ipam_db()).leases().unwrap().is_empty());
}

#[test]
fn a_namespace_that_is_gone_is_deleted_without_error() {
    let lab = Lab::new();
    let task = lab.container("task");
    let path = task.path().to_owned();
    lab.succeed("ecs-bridge", "ADD", &path, "ecs-eth0", &bridge_config("0.4.0"));
    Namespace::delete(&path).unwrap();
    drop(task);
    for plugin in ["ecs-bridge", "vpc-eni", "ecs-eni"] {
        let config = if plugin == "vpc-eni" { vpc_eni_config() } else { bridge_config("0.4.0") };
        lab.succeed(plugin, "DEL", &path, "ecs-eth0", &config);
        lab.succeed(plugin, "DEL", Path::new(""), "ecs-eth0", &config);
    }
    assert!(Ipam::at(&lab.ipam_db()).leases().unwrap().is_empty());
}

#[test]
fn gc_frees_what_the_runtime_no_longer_knows() {
    let lab = Lab::new();
    let (one, two) = (lab.container("one"), lab.container("two"));
    let add = |netns: &Path, container: &str, id: &str| {
        let mut config = bridge_config("1.1.0");
        config["ipam"]["id"] = json!(id);
        let mut environment = lab.environment("ADD", netns, "ecs-eth0");
        environment.insert("CNI_CONTAINERID".into(), container.into());
        assert!(lab.run("ecs-bridge", &environment, &config.to_string()).status.success());
    };
    add(one.path(), "pause-1", "a");
    add(two.path(), "pause-2", "b");
    let mut config = bridge_config("1.1.0");
    config["cni.dev/valid-attachments"] = json!([{"containerID": "pause-1", "ifname": "ecs-eth0"}]);
    lab.succeed("ecs-bridge", "GC", Path::new(""), "", &config);
    lab.succeed("ecs-bridge", "STATUS", Path::new(""), "", &config);
    let left = Ipam::at(&lab.ipam_db()).leases().unwrap();
    assert_eq!(left.iter().map(|lease| lease.id.as_str()).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn nothing_keeps_running_and_many_at_once_do_not_meet() {
    let lab = Lab::new();
    let tasks: Vec<_> = (0..8).map(|n| lab.container(&format!("task-{n}"))).collect();
    let mut addresses: Vec<_> = std::thread::scope(|scope| {
        let lab = &lab;
        let threads: Vec<_> = tasks
            .iter()
            .enumerate()
            .map(|(n, task)| {
                scope.spawn(move || {
                    let mut config = bridge_config("1.0.0");
                    config["ipam"]["id"] = json!(format!("task-{n}"));
                    let result = lab.succeed("ecs-bridge", "ADD", task.path(), "ecs-eth0", &config);
                    result["ips"][0]["address"].as_str().unwrap().to_owned()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 8);
}
