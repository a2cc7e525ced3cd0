// SPDX-License-Identifier: Apache-2.0
//! The ends of a packet, as `berth explain` names them.

use super::World;
use crate::explain;
use expect_test::expect;

/// Two interfaces of the default VPC, one of another with the address of the first.
fn world() -> World {
    let mut world = World::with_default_vpc();
    world.transcript(
        "!DescribeSubnets\n\
         !CreateNetworkInterface SubnetId=subnet-1 PrivateIpAddress=172.31.0.10\n\
         !CreateNetworkInterface SubnetId=subnet-1 PrivateIpAddress=172.31.0.20\n\
         !CreateVpc CidrBlock=172.31.0.0/16\n\
         !CreateSubnet VpcId=vpc-2 CidrBlock=172.31.0.0/20\n\
         !CreateNetworkInterface SubnetId=subnet-4 PrivateIpAddress=172.31.0.10",
    );
    world
}

fn told(world: &mut World, from: &str, to: &str, vpc: Option<&str>) -> String {
    let (from, to) = (world.meant(from), world.meant(to));
    let vpc = vpc.map(|vpc| world.meant(vpc).parse().unwrap());
    let answer = match explain::ends(&world.snap, &from, &to, vpc.as_ref()) {
        Ok(ends) => format!(
            "{} {} {} to {} {}",
            ends.vpc,
            ends.sender().map_or("world".to_owned(), |sender| sender.eni.to_string()),
            ends.source_address(),
            ends.destination,
            ends.receiver.map_or("nobody".to_owned(), |receiver| receiver.eni.to_string())
        ),
        Err(refusal) => refusal.to_string(),
    };
    world.named(&answer)
}

#[test]
fn an_address_is_looked_for_in_the_vpc_of_the_other_end() {
    let mut world = world();
    let mut out = String::new();
    for (from, to, vpc) in [
        ("172.31.0.10", "172.31.0.20", None),
        ("172.31.0.10", "172.31.0.20", Some("vpc-2")),
        ("eni-3", "172.31.0.20", None),
        ("172.31.0.10", "eni-2", None),
        ("eni-1", "8.8.8.8", None),
        ("eni-1", "eni-3", None),
        ("eni-1", "172.31.0.20", Some("vpc-2")),
        ("172.31.0.99", "eni-1", None),
        ("00000000000000000000000000000007", "eni-1", None),
        ("web", "eni-1", None),
        ("eni-1", "internet", None),
        ("internet", "eni-1", None),
        ("internet@8.8.8.8", "172.31.0.10", None),
        ("9.9.9.9", "eni-2", None),
        ("internet@web", "eni-1", None),
        ("internet", "9.9.9.9", None),
        ("internet", "internet", None),
        ("i-00000000000000abc", "internet", None),
    ] {
        out.push_str(&format!("{from} {to} {}: {}\n", vpc.unwrap_or("-"), told(&mut world, from, to, vpc)));
    }
    expect![[r#"
        172.31.0.10 172.31.0.20 -: vpc-1 eni-1 172.31.0.10 to 172.31.0.20 eni-2
        172.31.0.10 172.31.0.20 vpc-2: vpc-2 eni-3 172.31.0.10 to 172.31.0.20 nobody
        eni-3 172.31.0.20 -: vpc-2 eni-3 172.31.0.10 to 172.31.0.20 nobody
        172.31.0.10 eni-2 -: vpc-1 eni-1 172.31.0.10 to 172.31.0.20 eni-2
        eni-1 8.8.8.8 -: vpc-1 eni-1 172.31.0.10 to 8.8.8.8 nobody
        eni-1 eni-3 -: InvalidParameterValue: You have specified two resources that belong to different networks.
        eni-1 172.31.0.20 vpc-2: InvalidParameterValue: You have specified two resources that belong to different networks.
        172.31.0.99 eni-1 -: InvalidParameterValue: No interface of vpc-1 has the address 172.31.0.99, so it sends no packets; name an interface, or the VPC with --vpc.
        00000000000000000000000000000007 eni-1 -: InvalidParameterValue: The task '00000000000000000000000000000007' does not exist.
        web eni-1 -: InvalidParameterValue: "web" is none of internet, an IPv4 address, an interface (eni-...), an instance (i-...), and the id or ARN of a task.
        eni-1 internet -: vpc-1 eni-1 172.31.0.10 to 203.0.113.1 nobody
        internet eni-1 -: vpc-1 world 203.0.113.1 to 172.31.0.10 eni-1
        internet@8.8.8.8 172.31.0.10 -: vpc-1 world 8.8.8.8 to 172.31.0.10 eni-1
        9.9.9.9 eni-2 -: vpc-1 world 9.9.9.9 to 172.31.0.20 eni-2
        internet@web eni-1 -: InvalidParameterValue: "internet@web" is neither internet nor internet@ADDRESS.
        internet 9.9.9.9 -: InvalidParameterValue: No interface has the address 9.9.9.9, so nothing there receives packets of the world.
        internet internet -: InvalidParameterValue: Both ends lie outside all VPCs; name a task, an interface or an instance as one.
        i-00000000000000abc internet -: InvalidInstanceID.NotFound: The instance ID 'i-00000000000000abc' does not exist
    "#]].assert_eq(&out);
}
