// SPDX-License-Identifier: Apache-2.0
//! Network modes bridge, host and none: no interface, ports of the host instead.

use std::net::Ipv4Addr;

use berth_plan as plan;
use berth_state::ecs::TaskStatus;
use berth_types::intent::HostIntent;
use berth_types::mode::{NetworkBinding, Protocol};
use berth_types::report::{StopCause, TaskStage};
use berth_types::{HostId, TaskId};
use expect_test::expect;
use serde_json::{Value, json};

use super::{World, ec2_definition, hello, merged, report, run_request, table};

fn definition(mode: &str, ports: Value) -> Value {
    let patch = json!({"family": mode, "networkMode": mode, "containerDefinitions": {"0": {"portMappings": ports}}});
    merged(ec2_definition(), patch)
}

fn run(world: &mut World, family: &str) -> Result<TaskId, String> {
    let answer = world.call("RunTask", json!({"taskDefinition": family}))?;
    match answer["tasks"][0]["taskArn"].as_str() {
        Some(arn) => Ok(arn.rsplit('/').next().unwrap().parse().unwrap()),
        None => Err(answer["failures"].to_string()),
    }
}

#[test]
fn a_network_configuration_is_for_awsvpc_only() {
    let mut world = World::with_host();
    for mode in ["bridge", "host", "none"] {
        world.call("RegisterTaskDefinition", definition(mode, json!([]))).unwrap();
    }
    world.register();
    let network = run_request()["networkConfiguration"].clone();
    let cases = [
        ("bridge", json!({"taskDefinition": "bridge"})),
        ("host", json!({"taskDefinition": "host", "launchType": "EC2"})),
        ("none", json!({"taskDefinition": "none"})),
        ("awsvpc", json!({"taskDefinition": "nginx", "launchType": "EC2"})),
        ("bridge with a network", json!({"taskDefinition": "bridge", "networkConfiguration": network})),
        ("bridge on Fargate", json!({"taskDefinition": "bridge", "launchType": "FARGATE"})),
    ];
    let found = table(&cases, |case| world.call("RunTask", case));
    expect![[r#"
        bridge: ok
        host: ok
        none: ok
        awsvpc: InvalidParameterException: Network Configuration must be provided when networkMode 'awsvpc' is specified.
        bridge with a network: InvalidParameterException: Network Configuration is not valid for the given networkMode of this task definition.
        bridge on Fargate: InvalidParameterException: Task definition does not support launch_type FARGATE.
    "#]].assert_eq(&found);
    let refused = World::with_cluster().call("RunTask", json!({"taskDefinition": "bridge"})).unwrap_err();
    assert_eq!(refused, "ClientException: TaskDefinition not found.");
}

#[test]
fn the_default_launch_type_needs_an_instance() {
    let mut world = World::with_cluster();
    world.call("RegisterTaskDefinition", definition("bridge", json!([]))).unwrap();
    let refused = run(&mut world, "bridge").unwrap_err();
    assert_eq!(refused, "InvalidParameterException: No Container Instances were found in your cluster.");
}

#[test]
fn a_task_without_an_interface_is_shown_without_one() {
    let mut world = World::with_host();
    world.call("RegisterTaskDefinition", definition("bridge", json!([{"containerPort": 80}]))).unwrap();
    let task = run(&mut world, "bridge").unwrap();
    let mut seen = String::new();
    let mut look = |world: &mut World| {
        let shown = world.call("DescribeTasks", json!({"tasks": [task.as_str()]})).unwrap()["tasks"][0].clone();
        let names = ["lastStatus", "launchType", "attachments", "availabilityZone", "connectivity", "version"];
        let fields: Vec<String> = names.iter().map(|name| shown[name].to_string()).collect();
        let container = &shown["containers"][0];
        seen.push_str(&format!(
            "{} {} {}\n",
            fields.join(" "),
            container["networkBindings"],
            container["networkInterfaces"]
        ));
    };
    look(&mut world);
    let known = world.snap.ecs().tasks[&task].clone();
    let mut running = report(&known, TaskStage::Running, None);
    let binding = |host_port, last_container_port| NetworkBinding {
        bind_ip: Ipv4Addr::UNSPECIFIED,
        container_port: 80,
        host_port,
        protocol: Protocol::Tcp,
        last_container_port,
    };
    running.containers[0].network_bindings = vec![binding(32768, None), binding(40000, Some(82))];
    world.task_report(&running);
    look(&mut world);
    world.call("StopTask", json!({"task": task.as_str()})).unwrap();
    look(&mut world);
    world.stage(&task, TaskStage::Stopped, None);
    look(&mut world);
    expect![[r#"
        "PENDING" "EC2" [] "us-west-2a" "CONNECTED" 1 [] []
        "RUNNING" "EC2" [] "us-west-2a" "CONNECTED" 2 [{"bindIP":"0.0.0.0","containerPort":80,"hostPort":32768,"protocol":"tcp"},{"bindIP":"0.0.0.0","containerPortRange":"80-82","hostPortRange":"40000-40002","protocol":"tcp"}] []
        "DEACTIVATING" "EC2" [] "us-west-2a" "CONNECTED" 3 [{"bindIP":"0.0.0.0","containerPort":80,"hostPort":32768,"protocol":"tcp"},{"bindIP":"0.0.0.0","containerPortRange":"80-82","hostPortRange":"40000-40002","protocol":"tcp"}] []
        "STOPPED" "EC2" [] "us-west-2a" "CONNECTED" 5 [{"bindIP":"0.0.0.0","containerPort":80,"hostPort":32768,"protocol":"tcp"},{"bindIP":"0.0.0.0","containerPortRange":"80-82","hostPortRange":"40000-40002","protocol":"tcp"}] []
    "#]].assert_eq(&seen);
}

#[test]
fn a_static_port_of_an_instance_is_given_once_for_each_protocol() {
    let mut world = World::with_host();
    let port = |port: u16, protocol: &str| json!([{"containerPort": port, "hostPort": port, "protocol": protocol}]);
    let ports = |world: &mut World, which: &str| {
        let request = json!({"containerInstances": [hello(1).host.as_str()]});
        let shown = world.call("DescribeContainerInstances", request).unwrap()["containerInstances"][0].clone();
        let sets = shown[which].as_array().unwrap()[2..].iter().map(|set| set["stringSetValue"].to_string());
        sets.collect::<Vec<_>>().join(" ")
    };
    let run_with = |world: &mut World, mode: &str, ports: Value| {
        let patch = json!({"containerDefinitions": {"0": {"memory": 64, "cpu": 0}}});
        world.call("RegisterTaskDefinition", merged(definition(mode, ports), patch)).unwrap();
        run(world, mode)
    };
    let first = run_with(&mut world, "bridge", port(8080, "tcp")).unwrap();
    let taken = |port: &str, reason: &str| {
        let arn = format!("arn:aws:ecs:us-west-2:111122223333:container-instance/default/{}", hello(1).host);
        let detail = format!("port {port} of the container instance is taken");
        json!([{"arn": arn, "detail": detail, "reason": reason}]).to_string()
    };
    assert_eq!(run(&mut world, "bridge").unwrap_err(), taken("8080/tcp", "RESOURCE:PORTS"));
    assert_eq!(run_with(&mut world, "host", port(8080, "tcp")).unwrap_err(), taken("8080/tcp", "RESOURCE:PORTS"));
    assert_eq!(run_with(&mut world, "host", port(22, "tcp")).unwrap_err(), taken("22/tcp", "RESOURCE:PORTS"));
    run_with(&mut world, "bridge", port(8080, "udp")).unwrap();
    assert_eq!(run(&mut world, "bridge").unwrap_err(), taken("8080/udp", "RESOURCE:PORTS_UDP"));
    for _ in 0..2 {
        run_with(&mut world, "bridge", json!([{"containerPort": 8080}, {"containerPortRange": "81-82"}])).unwrap_err();
    }
    assert_eq!(
        ports(&mut world, "remainingResources"),
        r#"["22","2376","2375","51678","51679","51680","8080"] ["8080"]"#
    );
    assert_eq!(ports(&mut world, "registeredResources"), r#"["22","2376","2375","51678","51679","51680"] []"#);
    world.call("StopTask", json!({"task": first.as_str()})).unwrap();
    world.stage(&first, TaskStage::Stopped, None);
    run_with(&mut world, "host", port(8080, "tcp")).unwrap();
}

#[test]
fn another_instance_has_its_own_ports() {
    let mut world = World::with_host();
    world.connect(&hello(2));
    let ports = json!([{"containerPort": 80, "hostPort": 80}]);
    world.call("RegisterTaskDefinition", definition("bridge", ports)).unwrap();
    let answer = world.call("RunTask", json!({"taskDefinition": "bridge", "count": 3})).unwrap();
    let instances: std::collections::BTreeSet<&str> =
        answer["tasks"].as_array().unwrap().iter().map(|task| task["containerInstanceArn"].as_str().unwrap()).collect();
    assert_eq!(instances.len(), 2);
    let reasons: Vec<&str> =
        answer["failures"].as_array().unwrap().iter().map(|failure| failure["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["RESOURCE:PORTS", "RESOURCE:PORTS"]);
}

#[test]
fn a_task_is_started_on_an_instance_by_name() {
    let mut world = World::with_host();
    let ports = json!([{"containerPort": 80, "hostPort": 80}]);
    world.call("RegisterTaskDefinition", definition("host", ports)).unwrap();
    let request = json!({"taskDefinition": "host", "containerInstances": [hello(1).host.as_str()]});
    let answer = world.call("StartTask", request.clone()).unwrap();
    assert_eq!((answer["tasks"][0]["lastStatus"].as_str(), &answer["failures"]), (Some("PENDING"), &json!([])));
    let answer = world.call("StartTask", request.clone()).unwrap();
    assert_eq!(answer["failures"][0]["reason"], "RESOURCE:PORTS");
    let network = run_request()["networkConfiguration"].clone();
    let refused = world.call("StartTask", merged(request, json!({"networkConfiguration": network}))).unwrap_err();
    assert!(refused.contains("Network Configuration is not valid for the given networkMode"), "{refused}");
}

#[test]
fn the_interfaces_of_an_instance_do_not_limit_other_modes() {
    let mut world = World::with_host();
    let patch = json!({"containerDefinitions": {"0": {"memory": 64, "cpu": 0}}});
    world.call("RegisterTaskDefinition", merged(definition("none", json!([])), patch)).unwrap();
    let answer = world.call("RunTask", json!({"taskDefinition": "none", "count": 8})).unwrap();
    assert_eq!((answer["tasks"].as_array().unwrap().len(), &answer["failures"]), (8, &json!([])));
}

#[test]
fn a_task_that_cannot_start_ends_without_an_interface() {
    let mut world = World::with_host();
    world.call("RegisterTaskDefinition", definition("bridge", json!([]))).unwrap();
    let task = run(&mut world, "bridge").unwrap();
    let stop = Some(StopCause::FailedToStart { reason: "CannotPullContainerError: x".to_owned() });
    world.stage(&task, TaskStage::Stopped, stop);
    assert_eq!(world.status(&task), TaskStatus::Stopped);
    let env = world.env();
    let host: HostId = hello(1).host;
    let intent = plan::host(&world.snap, &host, &env);
    let nothing = HostIntent { worlds: intent.worlds.clone(), ..Default::default() };
    assert_eq!(intent, nothing);
}

#[test]
fn a_host_hears_the_names_of_a_container_and_that_who_it_is_linked_to_comes_first() {
    let mut world = World::with_host();
    let mut bridge = definition("bridge", json!([]));
    let web = json!({"links": ["db:data", "db", "cache"], "hostname": "web", "disableNetworking": true,
        "extraHosts": [{"hostname": "old", "ipAddress": "10.0.0.9"}], "dnsServers": ["10.0.0.2"],
        "dnsSearchDomains": ["example.com"], "dependsOn": [{"containerName": "cache", "condition": "COMPLETE"}]});
    bridge["containerDefinitions"][0].as_object_mut().unwrap().extend(web.as_object().unwrap().clone());
    let others = bridge["containerDefinitions"].as_array_mut().unwrap();
    others.push(json!({"name": "db", "image": "db", "memory": 64}));
    others.push(json!({"name": "cache", "image": "cache", "memory": 64, "essential": false}));
    let answer = world.call("RegisterTaskDefinition", bridge).unwrap();
    let task = run(&mut world, "bridge").unwrap();
    let env = world.env();
    let intent =
        serde_json::to_value(&plan::host(&world.snap, &hello(1).host, &env).tasks[&task].containers[0]).unwrap();
    let heard = ["hostname", "extra_hosts", "dns_servers", "dns_search_domains", "disable_networking", "depends_on"];
    let heard: Vec<String> = heard.iter().map(|member| format!("{member} {}", intent[member])).collect();
    expect![[r#"
        hostname "web"
        extra_hosts [{"hostname":"old","ip_address":"10.0.0.9"}]
        dns_servers ["10.0.0.2"]
        dns_search_domains ["example.com"]
        disable_networking true
        depends_on [{"condition":"COMPLETE","container":"cache"},{"condition":"START","container":"db"}]"#]]
    .assert_eq(&heard.join("\n"));
    let shown = &answer["taskDefinition"]["containerDefinitions"][0]["dependsOn"];
    assert_eq!(shown.as_array().unwrap().len(), 1, "what was not asked for is not answered: {shown}");
}

#[test]
fn a_host_hears_the_mode_the_ports_and_the_links() {
    let mut world = World::with_host();
    let ports = json!([{"containerPort": 80, "hostPort": 8080}, {"containerPort": 53, "protocol": "udp"},
        {"containerPortRange": "90-92"}]);
    let mut bridge = definition("bridge", ports);
    bridge["containerDefinitions"][0]["links"] = json!(["db:data", "db"]);
    bridge["containerDefinitions"].as_array_mut().unwrap().push(json!({"name": "db", "image": "db", "memory": 64}));
    world.call("RegisterTaskDefinition", bridge).unwrap();
    let refused = run(&mut world, "bridge").unwrap_err();
    assert!(refused.contains("ecs.capability.network.container-port-range"), "{refused}");
    let mut able = hello(1);
    able.attributes.insert("ecs.capability.network.container-port-range".to_owned(), None);
    world.connect(&able);
    let task = run(&mut world, "bridge").unwrap();
    let env = world.env();
    let intent = plan::host(&world.snap, &able.host, &env);
    assert!(intent.vpcs.is_empty() && intent.enis.is_empty());
    let wanted = serde_json::to_value(&intent.tasks[&task]).unwrap();
    expect![[r#"
        "bridge" null null {"servers":[],"search":[]}
        [{"container_port":80,"host_port":8080,"protocol":"tcp"},{"container_port":53,"protocol":"udp"},{"container_port":90,"last_container_port":92,"protocol":"tcp"}]
        [{"container":"db","alias":"data"},{"container":"db","alias":"db"}]"#]]
    .assert_eq(&format!(
        "{} {} {} {}\n{}\n{}",
        wanted["network_mode"],
        wanted["eni"],
        wanted["hostname"],
        serde_json::to_string(&intent.tasks[&task].dns).unwrap(),
        serde_json::to_string(&intent.tasks[&task].containers[0].ports).unwrap(),
        serde_json::to_string(&intent.tasks[&task].containers[0].links).unwrap(),
    ));
}
