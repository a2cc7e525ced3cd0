// SPDX-License-Identifier: Apache-2.0
//! Network ACLs and their entries.

use super::check;
use expect_test::expect;

const PREPARED: &str = "!CreateVpc CidrBlock=10.0.0.0/16
    !CreateSubnet VpcId=vpc-1 CidrBlock=10.0.0.0/24
    !DescribeNetworkAcls
    !CreateNetworkAcl VpcId=vpc-1 tag:network-acl:Name=mine";

#[test]
fn the_default_acl_admits_everything_and_a_new_one_nothing() {
    check(
        &format!(
            "{PREPARED}
             DescribeNetworkAcls
             DescribeNetworkAcls filter:default=false | NetworkAclId
             DescribeNetworkAcls filter:association.subnet-id=subnet-1 | NetworkAclId
             DescribeTags"
        ),
        expect![[r#"
            DescribeNetworkAcls
              NetworkAcls=[{Associations=[{NetworkAclAssociationId=aclassoc-1 NetworkAclId=acl-1 SubnetId=subnet-1}] Entries=[{CidrBlock=0.0.0.0/0 Egress=true Protocol=-1 RuleAction=allow RuleNumber=100}, {CidrBlock=0.0.0.0/0 Egress=true Protocol=-1 RuleAction=deny RuleNumber=32767}, {CidrBlock=0.0.0.0/0 Egress=false Protocol=-1 RuleAction=allow RuleNumber=100}, {CidrBlock=0.0.0.0/0 Egress=false Protocol=-1 RuleAction=deny RuleNumber=32767}] IsDefault=true NetworkAclId=acl-1 VpcId=vpc-1}, {Entries=[{CidrBlock=0.0.0.0/0 Egress=true Protocol=-1 RuleAction=deny RuleNumber=32767}, {CidrBlock=0.0.0.0/0 Egress=false Protocol=-1 RuleAction=deny RuleNumber=32767}] IsDefault=false NetworkAclId=acl-2 Tags=[{Key=Name Value=mine}] VpcId=vpc-1}]
            DescribeNetworkAcls filter:default=false | NetworkAclId
              NetworkAcls=[{NetworkAclId=acl-2}]
            DescribeNetworkAcls filter:association.subnet-id=subnet-1 | NetworkAclId
              NetworkAcls=[{Associations=[{NetworkAclId=acl-1}] NetworkAclId=acl-1}]
            DescribeTags
              Tags=[{Key=Name ResourceId=acl-2 ResourceType=network-acl Value=mine}]
        "#]],
    );
}

#[test]
fn entries_are_shown_in_the_order_in_which_they_are_tried() {
    let entry = "CreateNetworkAclEntry NetworkAclId=acl-2";
    check(
        &format!(
            "{PREPARED}
             !{entry} Egress=false RuleNumber=200 Protocol=6 RuleAction=allow CidrBlock=10.9.9.9/16 PortRange.From=80 PortRange.To=443
             !{entry} Egress=false RuleNumber=90 Protocol=17 RuleAction=deny CidrBlock=0.0.0.0/0 PortRange.From=-1 PortRange.To=-1
             !{entry} Egress=false RuleNumber=100 Protocol=1 RuleAction=allow CidrBlock=0.0.0.0/0 IcmpTypeCode.Type=8 IcmpTypeCode.Code=0
             !{entry} Egress=false RuleNumber=101 Protocol=1 RuleAction=allow CidrBlock=0.0.0.0/0 IcmpTypeCode.Type=-1 IcmpTypeCode.Code=-1
             !{entry} Egress=true RuleNumber=32766 Protocol=-1 RuleAction=allow CidrBlock=0.0.0.0/0 PortRange.From=0 PortRange.To=0
             !{entry} Egress=true RuleNumber=5 Protocol=58 RuleAction=allow Ipv6CidrBlock=2001:db8::/32 IcmpTypeCode.Type=128 IcmpTypeCode.Code=-1
             !{entry} Egress=true RuleNumber=6 Protocol=47 RuleAction=allow CidrBlock=0.0.0.0/0
             DescribeNetworkAcls NetworkAclIds.1=acl-2 | Entries
             !ReplaceNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=6 Protocol=-1 RuleAction=deny CidrBlock=10.0.0.0/8
             !DeleteNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=5
             !DeleteNetworkAclEntry NetworkAclId=acl-1 Egress=true RuleNumber=100
             DescribeNetworkAcls filter:entry.egress=true filter:entry.cidr=10.0.0.0/8 | NetworkAclId
             DescribeNetworkAcls filter:entry.port-range.from=80 | NetworkAclId
             DescribeNetworkAcls filter:entry.icmp.type=8 | NetworkAclId
             DescribeNetworkAcls NetworkAclIds.1=acl-1 | Entries"
        ),
        expect![[r#"
            DescribeNetworkAcls NetworkAclIds.1=acl-2 | Entries
              NetworkAcls=[{Entries=[{Egress=true IcmpTypeCode={Code=-1 Type=128} Ipv6CidrBlock=2001:db8::/32 Protocol=58 RuleAction=allow RuleNumber=5}, {CidrBlock=0.0.0.0/0 Egress=true Protocol=47 RuleAction=allow RuleNumber=6}, {CidrBlock=0.0.0.0/0 Egress=true Protocol=-1 RuleAction=allow RuleNumber=32766}, {CidrBlock=0.0.0.0/0 Egress=true Protocol=-1 RuleAction=deny RuleNumber=32767}, {CidrBlock=0.0.0.0/0 Egress=false PortRange={From=0 To=65535} Protocol=17 RuleAction=deny RuleNumber=90}, {CidrBlock=0.0.0.0/0 Egress=false IcmpTypeCode={Code=0 Type=8} Protocol=1 RuleAction=allow RuleNumber=100}, {CidrBlock=0.0.0.0/0 Egress=false IcmpTypeCode={Code=-1 Type=-1} Protocol=1 RuleAction=allow RuleNumber=101}, {CidrBlock=10.9.0.0/16 Egress=false PortRange={From=80 To=443} Protocol=6 RuleAction=allow RuleNumber=200}, {CidrBlock=0.0.0.0/0 Egress=false Protocol=-1 RuleAction=deny RuleNumber=32767}]}]
            DescribeNetworkAcls filter:entry.egress=true filter:entry.cidr=10.0.0.0/8 | NetworkAclId
              NetworkAcls=[{NetworkAclId=acl-2}]
            DescribeNetworkAcls filter:entry.port-range.from=80 | NetworkAclId
              NetworkAcls=[{NetworkAclId=acl-2}]
            DescribeNetworkAcls filter:entry.icmp.type=8 | NetworkAclId
              NetworkAcls=[{NetworkAclId=acl-2}]
            DescribeNetworkAcls NetworkAclIds.1=acl-1 | Entries
              NetworkAcls=[{Entries=[{CidrBlock=0.0.0.0/0 Egress=true Protocol=-1 RuleAction=deny RuleNumber=32767}, {CidrBlock=0.0.0.0/0 Egress=false Protocol=-1 RuleAction=allow RuleNumber=100}, {CidrBlock=0.0.0.0/0 Egress=false Protocol=-1 RuleAction=deny RuleNumber=32767}]}]
        "#]],
    );
}

#[test]
fn entries_that_cannot_be_are_refused() {
    let good = "Protocol=-1 RuleAction=allow CidrBlock=0.0.0.0/0";
    check(
        &format!(
            "{PREPARED}
             !CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=7 {good}
             CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=7 {good}
             !CreateNetworkAclEntry NetworkAclId=acl-2 Egress=false RuleNumber=7 {good}
             CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=0 {good}
             CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=32767 {good}
             CreateNetworkAclEntry NetworkAclId=acl-0123456789abcdef0 Egress=true RuleNumber=8 {good}
             CreateNetworkAclEntry NetworkAclId=acl Egress=true RuleNumber=8 {good}
             CreateNetworkAclEntry NetworkAclId=acl-2 RuleNumber=8 {good}
             CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=8 Protocol=-1 RuleAction=pass CidrBlock=0.0.0.0/0
             CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=8 Protocol=256 RuleAction=allow CidrBlock=0.0.0.0/0
             CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=8 Protocol=-1 RuleAction=allow
             CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=8 Protocol=-1 RuleAction=allow CidrBlock=0.0.0.0/0 Ipv6CidrBlock=::/0
             CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=8 Protocol=-1 RuleAction=allow CidrBlock=10.0.0.0/33
             CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=8 Protocol=6 RuleAction=allow CidrBlock=0.0.0.0/0
             CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=8 Protocol=6 RuleAction=allow CidrBlock=0.0.0.0/0 PortRange.From=9 PortRange.To=8
             CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=8 Protocol=6 RuleAction=allow CidrBlock=0.0.0.0/0 PortRange.From=9 PortRange.To=65536
             CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=8 Protocol=1 RuleAction=allow CidrBlock=0.0.0.0/0
             CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=8 Protocol=1 RuleAction=allow CidrBlock=0.0.0.0/0 IcmpTypeCode.Type=-1 IcmpTypeCode.Code=3
             ReplaceNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=8 {good}
             DeleteNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=8
             DeleteNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=32767"
        ),
        expect![[r#"
            CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=7 Protocol=-1 RuleAction=allow CidrBlock=0.0.0.0/0
              refused NetworkAclEntryAlreadyExists: The network acl entry identified by 7 already exists.
            CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=0 Protocol=-1 RuleAction=allow CidrBlock=0.0.0.0/0
              refused InvalidParameterValue: Value (0) for parameter ruleNumber is invalid. The rule number must be between 1 and 32766.
            CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=32767 Protocol=-1 RuleAction=allow CidrBlock=0.0.0.0/0
              refused InvalidParameterValue: Value (32767) for parameter ruleNumber is invalid. The rule number must be between 1 and 32766.
            CreateNetworkAclEntry NetworkAclId=acl-0123456789abcdef0 Egress=true RuleNumber=8 Protocol=-1 RuleAction=allow CidrBlock=0.0.0.0/0
              refused InvalidNetworkAclID.NotFound: The networkAcl ID 'acl-0123456789abcdef0' does not exist
            CreateNetworkAclEntry NetworkAclId=acl Egress=true RuleNumber=8 Protocol=-1 RuleAction=allow CidrBlock=0.0.0.0/0
              refused InvalidNetworkAclId.Malformed: Invalid id: "acl" (expecting "acl-...")
            CreateNetworkAclEntry NetworkAclId=acl-2 RuleNumber=8 Protocol=-1 RuleAction=allow CidrBlock=0.0.0.0/0
              refused MissingParameter: The request must contain the parameter egress
            CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=8 Protocol=-1 RuleAction=pass CidrBlock=0.0.0.0/0
              refused InvalidParameterValue: Value (pass) for parameter ruleAction is invalid. Valid values are 'allow' and 'deny'.
            CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=8 Protocol=256 RuleAction=allow CidrBlock=0.0.0.0/0
              refused InvalidParameterValue: Invalid value '256' for IP protocol. Unknown protocol.
            CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=8 Protocol=-1 RuleAction=allow
              refused MissingParameter: The request must contain the parameter cidrBlock
            CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=8 Protocol=-1 RuleAction=allow CidrBlock=0.0.0.0/0 Ipv6CidrBlock=::/0
              refused InvalidParameterCombination: The parameter cidrBlock cannot be used with the parameter ipv6CidrBlock
            CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=8 Protocol=-1 RuleAction=allow CidrBlock=10.0.0.0/33
              refused InvalidParameterValue: Value (10.0.0.0/33) for parameter cidrBlock is invalid. This is not a valid CIDR block.
            CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=8 Protocol=6 RuleAction=allow CidrBlock=0.0.0.0/0
              refused MissingParameter: The request must contain the parameter portRange
            CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=8 Protocol=6 RuleAction=allow CidrBlock=0.0.0.0/0 PortRange.From=9 PortRange.To=8
              refused InvalidParameterValue: Invalid TCP/UDP port range (9:8)
            CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=8 Protocol=6 RuleAction=allow CidrBlock=0.0.0.0/0 PortRange.From=9 PortRange.To=65536
              refused InvalidParameterValue: TCP/UDP port (65536) out of range
            CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=8 Protocol=1 RuleAction=allow CidrBlock=0.0.0.0/0
              refused MissingParameter: The request must contain the parameter icmpTypeCode
            CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=8 Protocol=1 RuleAction=allow CidrBlock=0.0.0.0/0 IcmpTypeCode.Type=-1 IcmpTypeCode.Code=3
              refused InvalidParameterValue: ICMP code (3) cannot be given for all ICMP types
            ReplaceNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=8 Protocol=-1 RuleAction=allow CidrBlock=0.0.0.0/0
              refused InvalidNetworkAclEntry.NotFound: The network acl entry identified by 8 does not exist.
            DeleteNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=8
              refused InvalidNetworkAclEntry.NotFound: The network acl entry identified by 8 does not exist.
            DeleteNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=32767
              refused InvalidParameterValue: Value (32767) for parameter ruleNumber is invalid. The rule number must be between 1 and 32766.
        "#]],
    );
}

#[test]
fn an_acl_holds_twenty_entries_in_each_direction() {
    let mut world = super::World::empty();
    world.transcript(PREPARED);
    let entry = |egress: bool, number: u32| {
        format!(
            "CreateNetworkAclEntry NetworkAclId=acl-2 Egress={egress} RuleNumber={number} Protocol=-1 RuleAction=allow CidrBlock=0.0.0.0/0"
        )
    };
    (1..=20).for_each(|number| drop(world.line(&entry(true, number)).unwrap()));
    (1..=20).for_each(|number| drop(world.line(&entry(false, number)).unwrap()));
    expect![[r#"
        CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=21 Protocol=-1 RuleAction=allow CidrBlock=0.0.0.0/0
          refused NetworkAclEntryLimitExceeded: The maximum number of network acl entries has been reached.
    "#]].assert_eq(&world.transcript(&entry(true, 21)));
}

#[test]
fn a_subnet_has_one_acl() {
    check(
        &format!(
            "{PREPARED}
             !CreateVpc CidrBlock=10.1.0.0/16
             !CreateNetworkAcl VpcId=vpc-2
             ReplaceNetworkAclAssociation AssociationId=aclassoc-1 NetworkAclId=acl-3
             ReplaceNetworkAclAssociation AssociationId=aclassoc-1 NetworkAclId=acl-2
             ReplaceNetworkAclAssociation AssociationId=aclassoc-1 NetworkAclId=acl-2
             ReplaceNetworkAclAssociation AssociationId=association NetworkAclId=acl-2
             DescribeNetworkAcls filter:vpc-id=vpc-1 | Associations
             DeleteNetworkAcl NetworkAclId=acl-1
             DeleteNetworkAcl NetworkAclId=acl-2
             !DeleteSubnet SubnetId=subnet-1
             DeleteVpc VpcId=vpc-1
             DeleteNetworkAcl NetworkAclId=acl-2
             DeleteNetworkAcl NetworkAclId=acl-2
             DeleteVpc VpcId=vpc-1"
        ),
        expect![[r#"
            ReplaceNetworkAclAssociation AssociationId=aclassoc-1 NetworkAclId=acl-3
              refused InvalidParameterValue: network ACL acl-3 and subnet subnet-1 belong to different networks
            ReplaceNetworkAclAssociation AssociationId=aclassoc-1 NetworkAclId=acl-2
              NewAssociationId=aclassoc-2
            ReplaceNetworkAclAssociation AssociationId=aclassoc-1 NetworkAclId=acl-2
              refused InvalidAssociationID.NotFound: The association ID 'aclassoc-1' does not exist
            ReplaceNetworkAclAssociation AssociationId=association NetworkAclId=acl-2
              refused InvalidAssociationID.Malformed: Invalid id: "association" (expecting "aclassoc-...")
            DescribeNetworkAcls filter:vpc-id=vpc-1 | Associations
              NetworkAcls=[{}, {Associations=[{NetworkAclAssociationId=aclassoc-2 NetworkAclId=acl-2 SubnetId=subnet-1}]}]
            DeleteNetworkAcl NetworkAclId=acl-1
              refused InvalidParameterValue: cannot delete default network ACL acl-1
            DeleteNetworkAcl NetworkAclId=acl-2
              refused DependencyViolation: The networkAcl 'acl-2' has dependencies and cannot be deleted.
            DeleteVpc VpcId=vpc-1
              refused DependencyViolation: The vpc 'vpc-1' has dependencies and cannot be deleted.
            DeleteNetworkAcl NetworkAclId=acl-2
              nothing
            DeleteNetworkAcl NetworkAclId=acl-2
              refused InvalidNetworkAclID.NotFound: The networkAcl ID 'acl-2' does not exist
            DeleteVpc VpcId=vpc-1
              nothing
        "#]],
    );
}

#[test]
fn a_client_token_makes_one_acl() {
    check(
        "!CreateVpc CidrBlock=10.0.0.0/16
         !CreateVpc CidrBlock=10.1.0.0/16
         CreateNetworkAcl VpcId=vpc-1 ClientToken=t
         CreateNetworkAcl VpcId=vpc-1 ClientToken=t | NetworkAclId
         CreateNetworkAcl VpcId=vpc-2 ClientToken=t",
        expect![[r#"
            CreateNetworkAcl VpcId=vpc-1 ClientToken=t
              ClientToken=t NetworkAcl={Entries=[{CidrBlock=0.0.0.0/0 Egress=true Protocol=-1 RuleAction=deny RuleNumber=32767}, {CidrBlock=0.0.0.0/0 Egress=false Protocol=-1 RuleAction=deny RuleNumber=32767}] IsDefault=false NetworkAclId=acl-1 VpcId=vpc-1}
            CreateNetworkAcl VpcId=vpc-1 ClientToken=t | NetworkAclId
              NetworkAcl={NetworkAclId=acl-1}
            CreateNetworkAcl VpcId=vpc-2 ClientToken=t
              refused IdempotentParameterMismatch: The client token 't' was used before with different parameters.
        "#]],
    );
}
