// SPDX-License-Identifier: Apache-2.0
//! Hosts as instances of EC2.

use berth_world::World;
use expect_test::expect;

#[test]
fn a_host_is_an_instance() {
    let mut world = World::with_host();
    world.line("host-2 connects").unwrap();
    world.line("host-2 disconnects").unwrap();
    let shown = world.transcript(
        "DescribeInstances
         DescribeInstances filter:instance-state-name=stopped | InstanceId
         DescribeInstances InstanceIds.1=i-2 | InstanceId State
         DescribeInstances filter:tag:Name=web
         DescribeInstanceStatus
         DescribeInstanceStatus IncludeAllInstances=true filter:instance-state-code=80
         DescribeInstanceTypes
         DescribeInstanceTypes InstanceTypes.1=t3.micro
         DescribeImages Owners.1=self
         DescribeImages Owners.1=amazon
         DescribeImages ImageIds.1=ami-0123456789abcdef0
         DescribeInstanceAttribute InstanceId=i-1 Attribute=instanceType
         DescribeInstanceAttribute InstanceId=i-1 Attribute=disableApiTermination
         DescribeInstanceAttribute InstanceId=i-1 Attribute=colour
         DescribeInstances InstanceIds.1=i-0123456789abcdef0
         DescribeInstances InstanceIds.1=mine
         DescribeInstances filter:colour=red
         RunInstances MinCount=1 MaxCount=1",
    );
    expect![[r#"
        DescribeInstances
          Reservations=[{Instances=[{AmiLaunchIndex=0 Architecture=x86_64 ImageId=ami-1 InstanceId=i-1 InstanceType=berth.2x2048 LaunchTime=0 Monitoring={State=disabled} Placement={AvailabilityZone=us-west-2a AvailabilityZoneId=usw2-az1 Tenancy=default} PlatformDetails=Linux/UNIX State={Code=16 Name=running} VirtualizationType=hvm}] ReservationId=r-1}, {Instances=[{AmiLaunchIndex=0 Architecture=x86_64 ImageId=ami-1 InstanceId=i-2 InstanceType=berth.2x2048 LaunchTime=0 Monitoring={State=disabled} Placement={AvailabilityZone=us-west-2a AvailabilityZoneId=usw2-az1 Tenancy=default} PlatformDetails=Linux/UNIX State={Code=80 Name=stopped} VirtualizationType=hvm}] ReservationId=r-2}]
        DescribeInstances filter:instance-state-name=stopped | InstanceId
          Reservations=[{Instances=[{InstanceId=i-2}]}]
        DescribeInstances InstanceIds.1=i-2 | InstanceId State
          Reservations=[{Instances=[{InstanceId=i-2 Monitoring={State=disabled} State={Code=80 Name=stopped}}]}]
        DescribeInstances filter:tag:Name=web
          nothing
        DescribeInstanceStatus
          InstanceStatuses=[{AvailabilityZone=us-west-2a AvailabilityZoneId=usw2-az1 InstanceId=i-1 InstanceState={Code=16 Name=running} InstanceStatus={Details=[{Name=reachability Status=passed}] Status=ok} SystemStatus={Details=[{Name=reachability Status=passed}] Status=ok}}]
        DescribeInstanceStatus IncludeAllInstances=true filter:instance-state-code=80
          InstanceStatuses=[{AvailabilityZone=us-west-2a AvailabilityZoneId=usw2-az1 InstanceId=i-2 InstanceState={Code=80 Name=stopped} InstanceStatus={Status=not-applicable} SystemStatus={Status=not-applicable}}]
        DescribeInstanceTypes
          InstanceTypes=[{BareMetal=false CurrentGeneration=true InstanceType=berth.2x2048 MemoryInfo={SizeInMiB=2048} ProcessorInfo={SupportedArchitectures=[x86_64]} SupportedUsageClasses=[on-demand] VCpuInfo={DefaultVCpus=2}}]
        DescribeInstanceTypes InstanceTypes.1=t3.micro
          refused InvalidInstanceType: The following supplied instance types do not exist: [t3.micro]
        DescribeImages Owners.1=self
          Images=[{Architecture=x86_64 Description="A host of Berth" ImageId=ami-1 ImageLocation=111122223333/berth-x86_64 ImageType=machine Name=berth-x86_64 PlatformDetails=Linux/UNIX Public=false State=available VirtualizationType=hvm}]
        DescribeImages Owners.1=amazon
          nothing
        DescribeImages ImageIds.1=ami-0123456789abcdef0
          refused InvalidAMIID.NotFound: The image id '[ami-0123456789abcdef0]' does not exist
        DescribeInstanceAttribute InstanceId=i-1 Attribute=instanceType
          InstanceId=i-1 InstanceType={Value=berth.2x2048}
        DescribeInstanceAttribute InstanceId=i-1 Attribute=disableApiTermination
          DisableApiTermination={Value=false} InstanceId=i-1
        DescribeInstanceAttribute InstanceId=i-1 Attribute=colour
          refused InvalidParameterValue: Value (colour) for parameter attribute is invalid. Unknown attribute.
        DescribeInstances InstanceIds.1=i-0123456789abcdef0
          refused InvalidInstanceID.NotFound: The instance ID 'i-0123456789abcdef0' does not exist
        DescribeInstances InstanceIds.1=mine
          refused InvalidInstanceID.Malformed: Invalid id: "mine" (expecting "i-...")
        DescribeInstances filter:colour=red
          refused InvalidParameterValue: The filter 'colour' is invalid
        RunInstances MinCount=1 MaxCount=1
          refused UnsupportedOperation: Instances are hosts of Berth and are not launched by a call; run `berth node` on another machine.
    "#]].assert_eq(&shown);
}

#[test]
fn an_instance_shows_the_interfaces_of_its_tasks() {
    let mut world = World::with_host();
    world.call("RegisterTaskDefinition", berth_world::ec2_definition()).unwrap();
    let shown = world.transcript(
        r#"!RunTask taskDefinition=nginx networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-a"]}}
           DescribeInstances | NetworkInterfaces"#,
    );
    expect![[r#"
        DescribeInstances | NetworkInterfaces
          Reservations=[{Instances=[{NetworkInterfaces=[{Attachment={AttachTime=0 AttachmentId=eni-attach-1 DeleteOnTermination=false DeviceIndex=1 NetworkCardIndex=0 Status=attaching} Description=arn:aws:ecs:us-west-2:111122223333:attachment/attachment-1 Groups=[{GroupId=sg-default GroupName=default}] InterfaceType=interface MacAddress=02:34:cc:10:72:17 NetworkInterfaceId=eni-1 PrivateDnsName=ip-10-0-0-4.us-west-2.compute.internal PrivateIpAddress=10.0.0.4 PrivateIpAddresses=[{Primary=true PrivateDnsName=ip-10-0-0-4.us-west-2.compute.internal PrivateIpAddress=10.0.0.4}] SourceDestCheck=true Status=in-use SubnetId=subnet-a VpcId=vpc-1}]}]}]
    "#]].assert_eq(&shown);
}
