// SPDX-License-Identifier: Apache-2.0
//! Managed prefix lists, and the routes and rules that name them.

use super::check;
use expect_test::expect;

const PREPARED: &str = "!CreateManagedPrefixList PrefixListName=office AddressFamily=IPv4 MaxEntries=3 Entries.1.Cidr=192.0.2.9/24 Entries.1.Description=one Entries.2.Cidr=198.51.100.0/24";

#[test]
fn a_change_of_entries_makes_a_version() {
    check(
        "CreateManagedPrefixList PrefixListName=office AddressFamily=IPv4 MaxEntries=3 Entries.1.Cidr=192.0.2.9/24 Entries.1.Description=one tag:prefix-list:Name=mine
         DescribeManagedPrefixLists
         ModifyManagedPrefixList PrefixListId=pl-1 CurrentVersion=1 AddEntries.1.Cidr=203.0.113.0/24 RemoveEntries.1.Cidr=192.0.2.0/24 | State Version
         ModifyManagedPrefixList PrefixListId=pl-1 CurrentVersion=1 AddEntries.1.Cidr=203.0.114.0/24
         ModifyManagedPrefixList PrefixListId=pl-1 AddEntries.1.Cidr=203.0.114.0/24
         ModifyManagedPrefixList PrefixListId=pl-1 CurrentVersion=2 RemoveEntries.1.Cidr=203.0.114.0/24
         ModifyManagedPrefixList PrefixListId=pl-1 CurrentVersion=2 AddEntries.1.Cidr=203.0.113.0/24
         ModifyManagedPrefixList PrefixListId=pl-1 CurrentVersion=2 AddEntries.1.Cidr=203.0.114.0/24 MaxEntries=5
         ModifyManagedPrefixList PrefixListId=pl-1 PrefixListName=home MaxEntries=1 | State Version MaxEntries PrefixListName
         ModifyManagedPrefixList PrefixListId=pl-1 CurrentVersion=2 AddEntries.1.Cidr=203.0.115.0/24
         GetManagedPrefixListEntries PrefixListId=pl-1
         GetManagedPrefixListEntries PrefixListId=pl-1 TargetVersion=1
         GetManagedPrefixListEntries PrefixListId=pl-1 TargetVersion=7
         RestoreManagedPrefixListVersion PrefixListId=pl-1 PreviousVersion=1 CurrentVersion=1
         RestoreManagedPrefixListVersion PrefixListId=pl-1 PreviousVersion=1 CurrentVersion=2 | State Version
         GetManagedPrefixListEntries PrefixListId=pl-1
         DescribeManagedPrefixLists filter:prefix-list-name=home filter:tag:Name=mine | Version State
         DescribeTags
         DeleteManagedPrefixList PrefixListId=pl-1 | State
         DeleteManagedPrefixList PrefixListId=pl-1
         DeleteManagedPrefixList PrefixListId=office",
        expect![[r#"
            CreateManagedPrefixList PrefixListName=office AddressFamily=IPv4 MaxEntries=3 Entries.1.Cidr=192.0.2.9/24 Entries.1.Description=one tag:prefix-list:Name=mine
              PrefixList={AddressFamily=IPv4 MaxEntries=3 PrefixListArn=arn:aws:ec2:us-west-2:111122223333:prefix-list/pl-1 PrefixListId=pl-1 PrefixListName=office State=create-in-progress Tags=[{Key=Name Value=mine}] Version=1}
            DescribeManagedPrefixLists
              PrefixLists=[{AddressFamily=IPv4 MaxEntries=3 PrefixListArn=arn:aws:ec2:us-west-2:111122223333:prefix-list/pl-1 PrefixListId=pl-1 PrefixListName=office State=create-complete Tags=[{Key=Name Value=mine}] Version=1}]
            ModifyManagedPrefixList PrefixListId=pl-1 CurrentVersion=1 AddEntries.1.Cidr=203.0.113.0/24 RemoveEntries.1.Cidr=192.0.2.0/24 | State Version
              PrefixList={State=modify-in-progress Version=2}
            ModifyManagedPrefixList PrefixListId=pl-1 CurrentVersion=1 AddEntries.1.Cidr=203.0.114.0/24
              refused PrefixListVersionMismatch: The prefix list has the incorrect version number.
            ModifyManagedPrefixList PrefixListId=pl-1 AddEntries.1.Cidr=203.0.114.0/24
              refused MissingParameter: The request must contain the parameter currentVersion
            ModifyManagedPrefixList PrefixListId=pl-1 CurrentVersion=2 RemoveEntries.1.Cidr=203.0.114.0/24
              refused InvalidPrefixListModification: The prefix list has no entry with the CIDR 203.0.114.0/24.
            ModifyManagedPrefixList PrefixListId=pl-1 CurrentVersion=2 AddEntries.1.Cidr=203.0.113.0/24
              refused InvalidParameterValue: The prefix list has several entries with the CIDR 203.0.113.0/24.
            ModifyManagedPrefixList PrefixListId=pl-1 CurrentVersion=2 AddEntries.1.Cidr=203.0.114.0/24 MaxEntries=5
              refused InvalidPrefixListModification: The entries and the maximum number of entries of a prefix list cannot be modified in one request.
            ModifyManagedPrefixList PrefixListId=pl-1 PrefixListName=home MaxEntries=1 | State Version MaxEntries PrefixListName
              PrefixList={MaxEntries=1 PrefixListName=home State=modify-in-progress Version=2}
            ModifyManagedPrefixList PrefixListId=pl-1 CurrentVersion=2 AddEntries.1.Cidr=203.0.115.0/24
              refused PrefixListMaxEntriesExceeded: The maximum number of entries for the prefix list has been reached.
            GetManagedPrefixListEntries PrefixListId=pl-1
              Entries=[{Cidr=203.0.113.0/24}]
            GetManagedPrefixListEntries PrefixListId=pl-1 TargetVersion=1
              Entries=[{Cidr=192.0.2.0/24 Description=one}]
            GetManagedPrefixListEntries PrefixListId=pl-1 TargetVersion=7
              refused InvalidParameterValue: The prefix list 'pl-1' has no version 7.
            RestoreManagedPrefixListVersion PrefixListId=pl-1 PreviousVersion=1 CurrentVersion=1
              refused PrefixListVersionMismatch: The prefix list has the incorrect version number.
            RestoreManagedPrefixListVersion PrefixListId=pl-1 PreviousVersion=1 CurrentVersion=2 | State Version
              PrefixList={State=restore-in-progress Version=3}
            GetManagedPrefixListEntries PrefixListId=pl-1
              Entries=[{Cidr=192.0.2.0/24 Description=one}]
            DescribeManagedPrefixLists filter:prefix-list-name=home filter:tag:Name=mine | Version State
              PrefixLists=[{State=restore-complete Version=3}]
            DescribeTags
              Tags=[{Key=Name ResourceId=pl-1 ResourceType=prefix-list Value=mine}]
            DeleteManagedPrefixList PrefixListId=pl-1 | State
              PrefixList={State=delete-in-progress}
            DeleteManagedPrefixList PrefixListId=pl-1
              refused InvalidPrefixListID.NotFound: The prefix list ID 'pl-1' does not exist
            DeleteManagedPrefixList PrefixListId=office
              refused InvalidPrefixListId.Malformed: Invalid id: "office" (expecting "pl-...")
        "#]],
    );
}

#[test]
fn lists_that_cannot_be_are_refused() {
    let named = "CreateManagedPrefixList PrefixListName=office AddressFamily=IPv4";
    check(
        &format!(
            "{named}
             {named} MaxEntries=0
             {named} MaxEntries=1001
             {named} MaxEntries=1 Entries.1.Cidr=10.0.0.0/8 Entries.2.Cidr=192.168.0.0/16
             {named} MaxEntries=2 Entries.1.Cidr=10.0.0.0/8 Entries.2.Cidr=10.1.0.0/8
             {named} MaxEntries=2 Entries.1.Cidr=2001:db8::/32
             {named} MaxEntries=2 Entries.1.Cidr=anywhere
             CreateManagedPrefixList PrefixListName=com.amazonaws.mine AddressFamily=IPv4 MaxEntries=1
             CreateManagedPrefixList PrefixListName=office AddressFamily=IPX MaxEntries=1
             CreateManagedPrefixList AddressFamily=IPv4 MaxEntries=1
             CreateManagedPrefixList PrefixListName=six AddressFamily=IPv6 MaxEntries=1 Entries.1.Cidr=2001:db8::1/32 ClientToken=t | PrefixListId State
             CreateManagedPrefixList PrefixListName=six AddressFamily=IPv6 MaxEntries=1 Entries.1.Cidr=2001:db8::1/32 ClientToken=t | PrefixListId State
             CreateManagedPrefixList PrefixListName=seven AddressFamily=IPv6 MaxEntries=1 ClientToken=t
             GetManagedPrefixListEntries PrefixListId=pl-1
             DescribeManagedPrefixLists PrefixListIds.1=pl-0123456789abcdef0"
        ),
        expect![[r#"
            CreateManagedPrefixList PrefixListName=office AddressFamily=IPv4
              refused MissingParameter: The request must contain the parameter maxEntries
            CreateManagedPrefixList PrefixListName=office AddressFamily=IPv4 MaxEntries=0
              refused InvalidParameterValue: Value (0) for parameter maxEntries is invalid. It must be between 1 and 1000.
            CreateManagedPrefixList PrefixListName=office AddressFamily=IPv4 MaxEntries=1001
              refused InvalidParameterValue: Value (1001) for parameter maxEntries is invalid. It must be between 1 and 1000.
            CreateManagedPrefixList PrefixListName=office AddressFamily=IPv4 MaxEntries=1 Entries.1.Cidr=10.0.0.0/8 Entries.2.Cidr=192.168.0.0/16
              refused PrefixListMaxEntriesExceeded: The maximum number of entries for the prefix list has been reached.
            CreateManagedPrefixList PrefixListName=office AddressFamily=IPv4 MaxEntries=2 Entries.1.Cidr=10.0.0.0/8 Entries.2.Cidr=10.1.0.0/8
              refused InvalidParameterValue: The prefix list has several entries with the CIDR 10.1.0.0/8.
            CreateManagedPrefixList PrefixListName=office AddressFamily=IPv4 MaxEntries=2 Entries.1.Cidr=2001:db8::/32
              refused InvalidParameterValue: Value (2001:db8::/32) for parameter cidr is invalid. This is not a valid CIDR block of the prefix list's family.
            CreateManagedPrefixList PrefixListName=office AddressFamily=IPv4 MaxEntries=2 Entries.1.Cidr=anywhere
              refused InvalidParameterValue: Value (anywhere) for parameter cidr is invalid. This is not a valid CIDR block of the prefix list's family.
            CreateManagedPrefixList PrefixListName=com.amazonaws.mine AddressFamily=IPv4 MaxEntries=1
              refused InvalidParameterValue: Value (com.amazonaws.mine) for parameter prefixListName is invalid. It cannot start with 'com.amazonaws'.
            CreateManagedPrefixList PrefixListName=office AddressFamily=IPX MaxEntries=1
              refused InvalidParameterValue: Value (IPX) for parameter addressFamily is invalid. Valid values are 'IPv4' and 'IPv6'.
            CreateManagedPrefixList AddressFamily=IPv4 MaxEntries=1
              refused MissingParameter: The request must contain the parameter prefixListName
            CreateManagedPrefixList PrefixListName=six AddressFamily=IPv6 MaxEntries=1 Entries.1.Cidr=2001:db8::1/32 ClientToken=t | PrefixListId State
              PrefixList={PrefixListId=pl-1 State=create-in-progress}
            CreateManagedPrefixList PrefixListName=six AddressFamily=IPv6 MaxEntries=1 Entries.1.Cidr=2001:db8::1/32 ClientToken=t | PrefixListId State
              PrefixList={PrefixListId=pl-1 State=create-complete}
            CreateManagedPrefixList PrefixListName=seven AddressFamily=IPv6 MaxEntries=1 ClientToken=t
              refused IdempotentParameterMismatch: The client token 't' was used before with different parameters.
            GetManagedPrefixListEntries PrefixListId=pl-1
              Entries=[{Cidr=2001:db8::/32}]
            DescribeManagedPrefixLists PrefixListIds.1=pl-0123456789abcdef0
              refused InvalidPrefixListID.NotFound: The prefix list ID 'pl-0123456789abcdef0' does not exist
        "#]],
    );
}

#[test]
fn a_route_leads_to_the_ranges_of_a_list() {
    check(
        &format!(
            "{PREPARED}
             !CreateVpc CidrBlock=10.0.0.0/16
             !CreateInternetGateway
             !AttachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-1
             !CreateRouteTable VpcId=vpc-1
             CreateRoute RouteTableId=rtb-1 DestinationPrefixListId=pl-1 GatewayId=igw-1
             CreateRoute RouteTableId=rtb-1 DestinationPrefixListId=pl-1 GatewayId=igw-1
             CreateRoute RouteTableId=rtb-1 DestinationPrefixListId=pl-1 DestinationCidrBlock=0.0.0.0/0 GatewayId=igw-1
             CreateRoute RouteTableId=rtb-1 DestinationPrefixListId=pl-0123456789abcdef0 GatewayId=igw-1
             !CreateVpc CidrBlock=10.1.0.0/16
             !CreateVpcPeeringConnection VpcId=vpc-1 PeerVpcId=vpc-2
             CreateRoute RouteTableId=rtb-1 DestinationPrefixListId=pl-1 VpcPeeringConnectionId=pcx-1
             ReplaceRoute RouteTableId=rtb-1 DestinationPrefixListId=pl-1 VpcPeeringConnectionId=pcx-1
             DescribeRouteTables filter:route.destination-prefix-list-id=pl-1 | Routes
             GetManagedPrefixListAssociations PrefixListId=pl-1
             DeleteManagedPrefixList PrefixListId=pl-1
             ModifyManagedPrefixList PrefixListId=pl-1 MaxEntries=50 | MaxEntries
             CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 GatewayId=igw-1
             ModifyManagedPrefixList PrefixListId=pl-1 MaxEntries=51
             DeleteRoute RouteTableId=rtb-1 DestinationPrefixListId=pl-1
             DeleteRoute RouteTableId=rtb-1 DestinationPrefixListId=pl-1
             DeleteManagedPrefixList PrefixListId=pl-1 | PrefixListId"
        ),
        expect![[r#"
            CreateRoute RouteTableId=rtb-1 DestinationPrefixListId=pl-1 GatewayId=igw-1
              Return=true
            CreateRoute RouteTableId=rtb-1 DestinationPrefixListId=pl-1 GatewayId=igw-1
              Return=true
            CreateRoute RouteTableId=rtb-1 DestinationPrefixListId=pl-1 DestinationCidrBlock=0.0.0.0/0 GatewayId=igw-1
              refused InvalidParameterCombination: The parameter destinationCidrBlock cannot be used with the parameter destinationPrefixListId
            CreateRoute RouteTableId=rtb-1 DestinationPrefixListId=pl-0123456789abcdef0 GatewayId=igw-1
              refused InvalidPrefixListID.NotFound: The prefix list ID 'pl-0123456789abcdef0' does not exist
            CreateRoute RouteTableId=rtb-1 DestinationPrefixListId=pl-1 VpcPeeringConnectionId=pcx-1
              refused RouteAlreadyExists: route table rtb-1 already has a route with destination-prefix-list-id pl-1
            ReplaceRoute RouteTableId=rtb-1 DestinationPrefixListId=pl-1 VpcPeeringConnectionId=pcx-1
              nothing
            DescribeRouteTables filter:route.destination-prefix-list-id=pl-1 | Routes
              RouteTables=[{Routes=[{DestinationCidrBlock=10.0.0.0/16 GatewayId=local Origin=CreateRouteTable State=active}, {DestinationPrefixListId=pl-1 Origin=CreateRoute State=blackhole VpcPeeringConnectionId=pcx-1}]}]
            GetManagedPrefixListAssociations PrefixListId=pl-1
              PrefixListAssociations=[{ResourceId=rtb-1 ResourceOwner=111122223333}]
            DeleteManagedPrefixList PrefixListId=pl-1
              refused DependencyViolation: The prefix list 'pl-1' has dependencies and cannot be deleted.
            ModifyManagedPrefixList PrefixListId=pl-1 MaxEntries=50 | MaxEntries
              PrefixList={MaxEntries=50}
            CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 GatewayId=igw-1
              refused RouteLimitExceeded: The maximum number of routes for route table 'rtb-1' has been reached.
            ModifyManagedPrefixList PrefixListId=pl-1 MaxEntries=51
              refused RouteLimitExceeded: The maximum number of routes for route table 'rtb-1' has been reached.
            DeleteRoute RouteTableId=rtb-1 DestinationPrefixListId=pl-1
              nothing
            DeleteRoute RouteTableId=rtb-1 DestinationPrefixListId=pl-1
              refused InvalidRoute.NotFound: no route with destination-prefix-list-id pl-1 in route table rtb-1
            DeleteManagedPrefixList PrefixListId=pl-1 | PrefixListId
              PrefixList={PrefixListId=pl-1}
        "#]],
    );
}

#[test]
fn a_rule_admits_the_ranges_of_a_list() {
    check(
        &format!(
            "{PREPARED}
             !CreateVpc CidrBlock=10.0.0.0/16
             !CreateSecurityGroup GroupName=web Description=web VpcId=vpc-1
             AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:pl-1
             AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:pl-1
             DescribeSecurityGroups filter:ip-permission.prefix-list-id=pl-1 | IpPermissions
             DescribeSecurityGroups filter:egress.ip-permission.prefix-list-id=pl-1 | GroupId
             GetManagedPrefixListAssociations PrefixListId=pl-1
             DeleteManagedPrefixList PrefixListId=pl-1
             ModifyManagedPrefixList PrefixListId=pl-1 MaxEntries=60 | MaxEntries
             AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:81-81:10.0.0.0/8
             ModifyManagedPrefixList PrefixListId=pl-1 MaxEntries=61
             RevokeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:pl-1
             RevokeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:pl-1
             !DeleteManagedPrefixList PrefixListId=pl-1"
        ),
        expect![[r#"
            AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:pl-1
              Return=true SecurityGroupRules=[{FromPort=80 GroupId=sg-1 GroupOwnerId=111122223333 IpProtocol=tcp IsEgress=false PrefixListId=pl-1 SecurityGroupRuleArn=arn:aws:ec2:us-west-2:111122223333:security-group-rule/sgr-1 SecurityGroupRuleId=sgr-1 ToPort=80}]
            AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:pl-1
              refused InvalidPermission.Duplicate: the specified rule "peer: pl-1, TCP, from port: 80, to port: 80, ALLOW" already exists
            DescribeSecurityGroups filter:ip-permission.prefix-list-id=pl-1 | IpPermissions
              SecurityGroups=[{IpPermissions=[{FromPort=80 IpProtocol=tcp PrefixListIds=[{PrefixListId=pl-1}] ToPort=80}]}]
            DescribeSecurityGroups filter:egress.ip-permission.prefix-list-id=pl-1 | GroupId
              nothing
            GetManagedPrefixListAssociations PrefixListId=pl-1
              PrefixListAssociations=[{ResourceId=sg-1 ResourceOwner=111122223333}]
            DeleteManagedPrefixList PrefixListId=pl-1
              refused DependencyViolation: The prefix list 'pl-1' has dependencies and cannot be deleted.
            ModifyManagedPrefixList PrefixListId=pl-1 MaxEntries=60 | MaxEntries
              PrefixList={MaxEntries=60}
            AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:81-81:10.0.0.0/8
              refused RulesPerSecurityGroupLimitExceeded: The maximum number of rules per security group has been reached.
            ModifyManagedPrefixList PrefixListId=pl-1 MaxEntries=61
              refused RulesPerSecurityGroupLimitExceeded: The maximum number of rules per security group has been reached.
            RevokeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:pl-1
              Return=true RevokedSecurityGroupRules=[{FromPort=80 GroupId=sg-1 IpProtocol=tcp IsEgress=false PrefixListId=pl-1 SecurityGroupRuleId=sgr-1 ToPort=80}]
            RevokeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:pl-1
              refused InvalidPermission.NotFound: The specified rule does not exist in this security group.
        "#]],
    );
}
