// SPDX-License-Identifier: Apache-2.0
//! Expressions, constraints and strategies of placement.

use berth_types::link::Hello;
use expect_test::expect;
use serde_json::{Value, json};

use super::{World, ec2_definition, hello, merged, run_request};

/// Four instances: 1 and 2 in us-west-2a, 3 and 4 in us-west-2b; 2 and 4 have the attribute `stack`.
fn world() -> World {
    let mut world = World::with_cluster();
    for number in 1..=4 {
        let mut hello = hello(number);
        let zone = if number <= 2 { "us-west-2a" } else { "us-west-2b" };
        hello.attributes.insert("ecs.availability-zone".to_owned(), Some(zone.to_owned()));
        world.connect(&hello);
    }
    for (number, value) in [(2, "prod"), (4, "test")] {
        let attribute = json!({"name": "stack", "value": value, "targetId": format!("{number:032x}")});
        world.call("PutAttributes", json!({"attributes": [attribute]})).unwrap();
    }
    let definition = merged(ec2_definition(), json!({"containerDefinitions": {"0": {"memory": 100, "cpu": 100}}}));
    world.call("RegisterTaskDefinition", definition).unwrap();
    world
}

/// Numbers of the instances, in order.
fn numbers(arns: impl IntoIterator<Item = Value>) -> Vec<u32> {
    let number = |arn: Value| u32::from_str_radix(arn.as_str().unwrap().rsplit('/').next().unwrap(), 16).unwrap();
    arns.into_iter().map(number).collect()
}

fn run(world: &mut World, patch: Value) -> String {
    let request = json!({"launchType": "EC2",
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-a", "subnet-b"]}}});
    match world.call("RunTask", merged(merged(run_request(), request), patch)) {
        Err(words) => words,
        Ok(answer) => {
            let tasks = answer["tasks"].as_array().unwrap().iter().map(|task| task["containerInstanceArn"].clone());
            let mut reasons: Vec<String> =
                answer["failures"].as_array().unwrap().iter().map(|failure| failure["reason"].to_string()).collect();
            reasons.dedup();
            format!("{:?} {}", numbers(tasks), reasons.join(" "))
        }
    }
}

#[test]
fn an_expression_selects_instances() {
    let mut world = world();
    run(&mut world, json!({"group": "web"}));
    let mut found = String::new();
    for filter in [
        "attribute:ecs.availability-zone == us-west-2a",
        "attribute:ecs.availability-zone==us-west-2a",
        "attribute:ecs.availability-zone != us-west-2a",
        "attribute:ecs.availability-zone in [us-west-2b, us-west-2c]",
        "attribute:ecs.availability-zone !in [us-west-2b, us-west-2c]",
        "attribute:ecs.availability-zone not_in us-west-2b",
        "attribute:ecs.availability-zone =~ us-west-2.*",
        "attribute:ecs.availability-zone =~ west",
        "attribute:ecs.availability-zone !~ .*a",
        "attribute:stack exists",
        "attribute:stack !exists",
        "attribute:stack == 'prod' || attribute:ecs.availability-zone == \"us-west-2b\" && attribute:stack !exists",
        "(attribute:stack == prod or attribute:ecs.availability-zone == us-west-2b) and not attribute:stack exists",
        "!(attribute:stack exists) && agentConnected == true",
        "agentConnected == false",
        "agentVersion >= 0.1.0",
        "agentVersion > 0.9",
        "ec2InstanceId in [i-00000000000000001, 'i-00000000000000003']",
        "runningTasksCount == 0",
        "runningTasksCount > 0",
        "registeredAt < 2100-01-01T00:00:00Z",
        "registeredAt >= 2100-01-01",
        "task:group == web",
        "task:group != web",
        "task:group =~ w.*",
        "",
        "attribute:stack",
        "attribute:stack ==",
        "attribute:stack is prod",
        "colour == red",
        "(agentConnected == true",
        "agentConnected == true)",
        "agentConnected == maybe",
        "runningTasksCount > some",
        "registeredAt > yesterday",
        "attribute:stack =~ [",
        "attribute:stack =~ 'a)|(b'",
        r"attribute:stack =~ '(\w{100}){100}'",
        "attribute:stack in [a, b",
        "attribute:stack == 'a",
        "attribute:stack == a &",
    ] {
        let answer = world.call("ListContainerInstances", json!({"filter": filter}));
        let shown = answer.map_or_else(
            |words| words,
            |answer| format!("{:?}", numbers(answer["containerInstanceArns"].as_array().unwrap().iter().cloned())),
        );
        found.push_str(&format!("{filter}: {shown}\n"));
    }
    let deep = format!("{}agentConnected == true{}", "(".repeat(100), ")".repeat(100));
    found.push_str(&world.call("ListContainerInstances", json!({"filter": deep})).unwrap_err());
    let long = format!("attribute:stack == {}", "x".repeat(2000));
    found.push_str(&format!("\n{}", world.call("ListContainerInstances", json!({"filter": long})).unwrap_err()));
    expect![[r#"
        attribute:ecs.availability-zone == us-west-2a: [1, 2]
        attribute:ecs.availability-zone==us-west-2a: [1, 2]
        attribute:ecs.availability-zone != us-west-2a: [3, 4]
        attribute:ecs.availability-zone in [us-west-2b, us-west-2c]: [3, 4]
        attribute:ecs.availability-zone !in [us-west-2b, us-west-2c]: [1, 2]
        attribute:ecs.availability-zone not_in us-west-2b: [1, 2]
        attribute:ecs.availability-zone =~ us-west-2.*: [1, 2, 3, 4]
        attribute:ecs.availability-zone =~ west: []
        attribute:ecs.availability-zone !~ .*a: [3, 4]
        attribute:stack exists: [2, 4]
        attribute:stack !exists: [1, 3]
        attribute:stack == 'prod' || attribute:ecs.availability-zone == "us-west-2b" && attribute:stack !exists: [2, 3]
        (attribute:stack == prod or attribute:ecs.availability-zone == us-west-2b) and not attribute:stack exists: [3]
        !(attribute:stack exists) && agentConnected == true: [1, 3]
        agentConnected == false: []
        agentVersion >= 0.1.0: [1, 2, 3, 4]
        agentVersion > 0.9: []
        ec2InstanceId in [i-00000000000000001, 'i-00000000000000003']: [1, 3]
        runningTasksCount == 0: [1, 2, 3, 4]
        runningTasksCount > 0: []
        registeredAt < 2100-01-01T00:00:00Z: [1, 2, 3, 4]
        registeredAt >= 2100-01-01: []
        task:group == web: [1]
        task:group != web: [2, 3, 4]
        task:group =~ w.*: [1]
        : [1, 2, 3, 4]
        attribute:stack: InvalidParameterException: Invalid expression: an operator is missing.
        attribute:stack ==: InvalidParameterException: Invalid expression: an argument is missing.
        attribute:stack is prod: InvalidParameterException: Invalid expression: 'is' is no operator.
        colour == red: InvalidParameterException: Invalid expression: 'colour' is no subject.
        (agentConnected == true: InvalidParameterException: Invalid expression: a ')' is missing.
        agentConnected == true): InvalidParameterException: Invalid expression: ')' is not expected.
        agentConnected == maybe: InvalidParameterException: Invalid expression: 'maybe' cannot be compared with AgentConnected.
        runningTasksCount > some: InvalidParameterException: Invalid expression: 'some' cannot be compared with RunningTasksCount.
        registeredAt > yesterday: InvalidParameterException: Invalid expression: 'yesterday' cannot be compared with RegisteredAt.
        attribute:stack =~ [: InvalidParameterException: Invalid expression: '[' is not expected.
        attribute:stack =~ 'a)|(b': InvalidParameterException: Invalid expression: 'a)|(b' is no regular expression.
        attribute:stack =~ '(\w{100}){100}': InvalidParameterException: Invalid expression: '(\w{100}){100}' is no regular expression.
        attribute:stack in [a, b: InvalidParameterException: Invalid expression: a ']' is missing.
        attribute:stack == 'a: InvalidParameterException: Invalid expression: a quotation has no end.
        attribute:stack == a &: InvalidParameterException: Invalid expression: '&' is not expected.
        InvalidParameterException: Invalid expression: more than 64 levels.
        InvalidParameterException: Invalid expression: an expression has at most 2000 characters."#]].assert_eq(&found);
}

#[test]
fn constraints_leave_instances_out() {
    let mut found = String::new();
    let mut note = |what: &str, shown: String| found.push_str(&format!("{what}: {shown}\n"));
    let mut fresh = world();
    let distinct = json!({"placementConstraints": [{"type": "distinctInstance"}], "count": 6});
    note("distinct", run(&mut fresh, distinct.clone()));
    note("distinct in another group", run(&mut fresh, merged(distinct, json!({"group": "other"}))));
    let member = |expression: &str| json!({"placementConstraints": [{"type": "memberOf", "expression": expression}]});
    note("memberOf", run(&mut fresh, merged(member("attribute:stack == test"), json!({"count": 1}))));
    note("memberOf nothing", run(&mut fresh, member("attribute:stack == none")));
    for wrong in [
        member(""),
        member("attribute:stack is"),
        json!({"placementConstraints": [{"type": "distinctInstance", "expression": "agentConnected == true"}]}),
        json!({"placementConstraints": [{"type": "sameInstance"}]}),
        json!({"placementConstraints": vec![json!({"type": "distinctInstance"}); 11]}),
    ] {
        note("wrong", run(&mut fresh, wrong));
    }
    let definition = json!({"placementConstraints": [{"type": "memberOf", "expression": "attribute:stack exists"}]});
    let registered = fresh.call("RegisterTaskDefinition", merged(ec2_definition(), definition)).unwrap();
    note("of the definition", registered["taskDefinition"]["placementConstraints"].to_string());
    note("compatibilities", registered["taskDefinition"]["compatibilities"].to_string());
    let mut other = world();
    let definition = json!({"placementConstraints": [{"type": "memberOf", "expression": "attribute:stack exists"}],
        "containerDefinitions": {"0": {"memory": 100, "cpu": 100}}});
    other.call("RegisterTaskDefinition", merged(ec2_definition(), definition)).unwrap();
    note("run of the definition", run(&mut other, json!({"count": 3})));
    for wrong in [json!({"type": "memberOf", "expression": "x"}), json!({"type": "distinctInstance"})] {
        let definition = merged(ec2_definition(), json!({"placementConstraints": [wrong]}));
        note("registered wrong", fresh.call("RegisterTaskDefinition", definition).unwrap_err());
    }
    expect![[r#"
        distinct: [1, 2, 3, 4] "DistinctInstance placement constraint unsatisfied."
        distinct in another group: [1, 2, 3, 4] "DistinctInstance placement constraint unsatisfied."
        memberOf: [4] 
        memberOf nothing: [] "MemberOf placement constraint unsatisfied." "RESOURCE:ENI"
        wrong: InvalidParameterException: memberOf expression should be specified
        wrong: InvalidParameterException: Invalid expression: 'is' is no operator.
        wrong: InvalidParameterException: distinctInstance expression should not be specified
        wrong: InvalidParameterException: 'sameInstance' is not a valid value for placementConstraints.type.
        wrong: InvalidParameterException: placementConstraints can have at most 10 items.
        of the definition: [{"expression":"attribute:stack exists","type":"memberOf"}]
        compatibilities: ["EC2"]
        run of the definition: [2, 4, 2] 
        registered wrong: ClientException: Invalid expression: 'x' is no subject.
        registered wrong: ClientException: 'distinctInstance' is not a valid value for placementConstraints.type.
    "#]]
    .assert_eq(&found);
}

#[test]
fn strategies_choose_among_instances() {
    let mut found = String::new();
    for strategies in [
        json!([]),
        json!([{"type": "spread", "field": "instanceId"}]),
        json!([{"type": "spread", "field": "attribute:ecs.availability-zone"}]),
        json!([{"type": "spread", "field": "attribute:stack"}]),
        json!([{"type": "binpack", "field": "memory"}]),
        json!([{"type": "binpack", "field": "CPU"}]),
        json!([{"type": "spread", "field": "attribute:ecs.availability-zone"}, {"type": "binpack", "field": "cpu"}]),
        json!([{"type": "random", "field": "cpu"}]),
        json!([{"type": "binpack", "field": "disk"}]),
        json!([{"type": "binpack"}]),
        json!([{"type": "spread", "field": "zone"}]),
        json!([{"type": "stack", "field": "zone"}]),
        json!(vec![json!({"type": "random"}); 6]),
    ] {
        let mut world = world();
        // Something of another group is there already.
        run(
            &mut world,
            json!({"group": "other", "placementConstraints":
            [{"type": "memberOf", "expression": "ec2InstanceId == i-00000000000000001"}]}),
        );
        let shown = run(&mut world, json!({"placementStrategy": strategies, "count": 5}));
        found.push_str(&format!("{strategies}: {shown}\n"));
    }
    expect![[r#"
        []: [2, 3, 4, 1, 2] 
        [{"field":"instanceId","type":"spread"}]: [2, 3, 4, 1, 2] 
        [{"field":"attribute:ecs.availability-zone","type":"spread"}]: [2, 3, 4, 1, 2] 
        [{"field":"attribute:stack","type":"spread"}]: [2, 3, 4, 1, 2] 
        [{"field":"memory","type":"binpack"}]: [1, 1, 2, 2, 2] 
        [{"field":"CPU","type":"binpack"}]: [1, 1, 2, 2, 2] 
        [{"field":"attribute:ecs.availability-zone","type":"spread"},{"field":"cpu","type":"binpack"}]: [1, 3, 1, 3, 3] 
        [{"field":"cpu","type":"random"}]: InvalidParameterException: random field should not be specified
        [{"field":"disk","type":"binpack"}]: InvalidParameterException: binpack field 'disk' is invalid
        [{"type":"binpack"}]: InvalidParameterException: binpack field '' is invalid
        [{"field":"zone","type":"spread"}]: InvalidParameterException: spread field 'zone' is invalid
        [{"field":"zone","type":"stack"}]: InvalidParameterException: 'stack' is not a valid value for placementStrategy.type.
        [{"type":"random"},{"type":"random"},{"type":"random"},{"type":"random"},{"type":"random"},{"type":"random"}]: InvalidParameterException: Maximum number of strategies is 5
    "#]].assert_eq(&found);
    let mut world = world();
    let random = run(&mut world, json!({"placementStrategy": [{"type": "random"}], "count": 10}));
    assert_eq!(random.matches(',').count(), 9, "{random}");
}

/// The hosts of the tasks of a RunTask, in order.
fn hosts_of_tasks(world: &mut World, subnet: &str) -> Vec<u128> {
    let subnets = json!({"subnets": [world.meant(subnet)], "securityGroups": []});
    let network = json!({"networkConfiguration": {"awsvpcConfiguration": subnets}});
    let tasks = world.run(merged(network, json!({"count": 3})));
    let host = |task| u128::from_str_radix(world.snap.ecs().tasks[task].host.as_ref().unwrap().as_str(), 16).unwrap();
    let mut hosts: Vec<u128> = tasks.iter().map(host).collect();
    hosts.sort_unstable();
    hosts
}

/// A host with room for all tasks.
fn large(number: u128) -> Hello {
    let mut large = hello(number);
    large.capacity.memory_mib = 1 << 20;
    large
}

#[test]
fn tasks_of_subnets_that_lead_to_a_nat_gateway_run_on_its_host() {
    let mut world = World::with_cluster();
    world.connect(&large(2));
    world.register();
    world.transcript(
        "!CreateVpc CidrBlock=10.0.0.0/16
         !CreateSubnet VpcId=vpc-1 CidrBlock=10.0.0.0/24
         !CreateSubnet VpcId=vpc-1 CidrBlock=10.0.1.0/24
         !CreateNatGateway SubnetId=subnet-1 ConnectivityType=private
         !CreateRouteTable VpcId=vpc-1
         !AssociateRouteTable RouteTableId=rtb-1 SubnetId=subnet-2
         !CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=10.9.0.0/16 NatGatewayId=nat-1",
    );
    world.settle_nat_gateways();
    for number in [1, 3] {
        world.connect(&large(number));
    }
    assert_eq!(hosts_of_tasks(&mut world, "subnet-1"), [1, 2, 3]);
    assert_eq!(hosts_of_tasks(&mut world, "subnet-2"), [2; 3]);
    world.transcript("!DescribeRouteTables filter:association.main=true filter:vpc-id=vpc-1");
    world.transcript("!CreateRoute RouteTableId=rtb-2 DestinationCidrBlock=10.9.0.0/16 NatGatewayId=nat-1");
    assert_eq!(hosts_of_tasks(&mut world, "subnet-1"), [2; 3], "the main table counts for it");
    world.transcript("!DeleteNatGateway NatGatewayId=nat-1");
    assert_eq!(hosts_of_tasks(&mut world, "subnet-2"), [1, 1, 3]);
}
