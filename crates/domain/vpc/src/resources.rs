// SPDX-License-Identifier: Apache-2.0
//! ARNs of the EC2 resources that a request names, on which IAM decides its permission.
//!
//! A resource is found by the prefix of its id, anywhere in the request. A kind that a request does not name is
//! `KIND/*`: the resource is created, or is the VPC's default one.

use berth_shapes::{Structure, View};
use berth_state::{Env, Snapshot};

use super::tags::Kind;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident: $kind:ident;)*) => {
        $($(#[$doc])*
        pub(super) fn $name(_snap: &Snapshot, input: &dyn Structure, env: &Env) -> Vec<String> {
            named_of(Kind::$kind, input, env)
        })*
    };
}

kinds! {
    /// VPCs.
    vpc: Vpc;
    /// Subnets.
    subnet: Subnet;
    /// Security groups.
    security_group: SecurityGroup;
    /// Rules of security groups.
    security_group_rule: SecurityGroupRule;
    /// Network interfaces.
    network_interface: NetworkInterface;
    /// Internet gateways.
    internet_gateway: InternetGateway;
    /// Peerings.
    vpc_peering_connection: Peering;
    /// Prefix lists.
    prefix_list: PrefixList;
    /// Network ACLs.
    network_acl: NetworkAcl;
    /// Route tables.
    route_table: RouteTable;
    /// NAT gateways.
    natgateway: NatGateway;
    /// Elastic IP addresses.
    elastic_ip: ElasticIp;
}

/// Resources of any kind that the request names.
pub(super) fn named(_snap: &Snapshot, input: &dyn Structure, env: &Env) -> Vec<String> {
    let mut found = Vec::new();
    each_text(&View::Structure(input), &mut |text| {
        found.extend(Kind::of_id(text).map(|kind| arn(kind, text, env)));
    });
    found
}

fn named_of(kind: Kind, input: &dyn Structure, env: &Env) -> Vec<String> {
    let mut found = Vec::new();
    each_text(&View::Structure(input), &mut |text| {
        if Kind::of_id(text) == Some(kind) {
            found.push(arn(kind, text, env));
        }
    });
    if found.is_empty() {
        found.push(arn(kind, "*", env));
    }
    found
}

fn arn(kind: Kind, id: &str, env: &Env) -> String {
    env.arn("ec2", format_args!("{}/{id}", kind.name()))
}

fn each_text(view: &View<'_>, each: &mut dyn FnMut(&str)) {
    match view {
        View::Text(text) => each(text),
        View::Structure(structure) => {
            let members = 0..structure.shape().members.len();
            members.filter_map(|index| structure.member(index)).for_each(|member| each_text(&member, each));
        }
        View::List(list) => (0..list.len()).filter_map(|at| list.item(at)).for_each(|item| each_text(&item, each)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use berth_shapes::OperationId;
    use berth_shapes::ec2::{AuthorizeSecurityGroupIngressRequest, CreateSubnetRequest, CreateTagsRequest};

    use super::*;

    fn on(operation: OperationId, input: &dyn Structure) -> Vec<String> {
        crate::door(operation).unwrap().resources(&Snapshot::default(), input, &Env::fixed())
    }

    #[test]
    fn a_permission_is_decided_on_the_resources_that_a_request_names() {
        let arn = |resource: &str| format!("arn:aws:ec2:us-west-2:111122223333:{resource}");
        let vpc = "vpc-0123456789abcdef0";
        let subnet = CreateSubnetRequest { vpc_id: Some(vpc.to_owned()), ..Default::default() };
        assert_eq!(on(OperationId::Ec2CreateSubnet, &subnet), [arn("subnet/*"), arn(&format!("vpc/{vpc}"))]);
        let group = "sg-0123456789abcdef0";
        let rule = AuthorizeSecurityGroupIngressRequest { group_id: Some(group.to_owned()), ..Default::default() };
        let expected = [arn(&format!("security-group/{group}")), arn("security-group-rule/*")];
        assert_eq!(on(OperationId::Ec2AuthorizeSecurityGroupIngress, &rule), expected);
        let tags = CreateTagsRequest { resources: Some(vec![vpc.to_owned(), group.to_owned()]), ..Default::default() };
        let expected = [arn(&format!("vpc/{vpc}")), arn(&format!("security-group/{group}"))];
        assert_eq!(on(OperationId::Ec2CreateTags, &tags), expected);
        assert_eq!(on(OperationId::Ec2DescribeVpcs, &subnet), ["*"]);
    }
}
