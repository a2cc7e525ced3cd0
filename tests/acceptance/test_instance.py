# SPDX-License-Identifier: Apache-2.0
"""A host's primary interface: ports of the host in a VPC, under security groups of the host's own."""

import json

import pytest
from conftest import REFUSED, TIMED_OUT, Task, container, eventually, refusal, tcp


def primary(ec2):
    """The primary interface that is not being removed."""
    answer = ec2.describe_network_interfaces(Filters=[{"Name": "attachment.device-index", "Values": ["0"]}])
    [eni] = [each for each in answer["NetworkInterfaces"] if each["Attachment"]["Status"] == "attached"]
    return eni


def attributes(ecs, cluster):
    arns = ecs.list_container_instances(cluster=cluster)["containerInstanceArns"]
    [instance] = ecs.describe_container_instances(cluster=cluster, containerInstances=arns)["containerInstances"]
    return {each["name"]: each.get("value") for each in instance["attributes"]}, instance["ec2InstanceId"]


@pytest.fixture(scope="module")
def in_vpc(berth, ec2, vpc):
    """The host's address in a public subnet, where its group admits what the VPC sends to ports 22 and 8080."""
    before = primary(ec2)
    group = vpc.group("instance", [tcp(22), tcp(8080)])
    berth.berth("host", "attach", "--subnet", vpc.puba, "--security-groups", group)
    yield primary(ec2)["PrivateIpAddress"]
    berth.berth("host", "attach", "--subnet", before["SubnetId"])


@pytest.fixture(scope="module")
def started(berth, ecs, ec2_cluster, in_vpc):
    """Runs a definition without an interface on the host, and stops it at the end."""
    tasks = []

    def started(family, mode, command, *mappings):
        web = container("web", command=command) | {"memory": 64, "portMappings": list(mappings)}
        ecs.register_task_definition(family=family, networkMode=mode, containerDefinitions=[web])
        answer = ecs.run_task(cluster=ec2_cluster, taskDefinition=family, launchType="EC2")
        assert answer["failures"] == []
        tasks.append(Task(berth, ec2_cluster, answer["tasks"][0]["taskArn"]).wait().wait_until_listening())
        return tasks[-1]

    yield started
    for task in tasks:
        task.stop()
        task.wait("tasks_stopped")


@pytest.fixture(scope="module")
def client(vpc, fargate_cluster, shared, td_web):
    """A task in another subnet of the VPC, whose group admits port 80 alone."""
    return shared.one(fargate_cluster, td_web, vpc.pria, [vpc.sg80])


@pytest.fixture(scope="module")
def bridged(started):
    return started("bridged-on-instance", "bridge", ["whoami", "80"], {"containerPort": 80, "hostPort": 8080})


@pytest.fixture(scope="module")
def hosted(started):
    return started("hosted-on-instance", "host", ["whoami", "22", "80"])


def test_a_host_has_an_interface_in_the_default_subnet_of_its_zone(berth, ec2, ecs, ec2_cluster):
    eni = primary(ec2)
    subnet = ec2.describe_subnets(SubnetIds=[eni["SubnetId"]])["Subnets"][0]
    assert subnet["DefaultForAz"] and eni["AvailabilityZone"] == subnet["AvailabilityZone"]
    shown, instance = attributes(ecs, ec2_cluster)
    assert (shown["ecs.vpc-id"], shown["ecs.subnet-id"]) == (eni["VpcId"], eni["SubnetId"])
    assert eni["Attachment"]["InstanceId"] == instance
    [host] = ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"]
    members = ["PrivateIpAddress", "SubnetId", "VpcId"]
    assert [host[member] for member in members] == [eni[member] for member in members]
    assert host["SecurityGroups"] == eni["Groups"] and host["PublicIpAddress"] == eni["Association"]["PublicIp"]
    code, message = refusal(ec2.detach_network_interface, AttachmentId=eni["Attachment"]["AttachmentId"])
    assert (code, message) == ("OperationNotPermitted", "The network interface at device index 0 cannot be detached.")
    other = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"]
    elsewhere = next(each["SubnetId"] for each in other if each["AvailabilityZone"] != eni["AvailabilityZone"])
    moved = berth.berth("host", "attach", "--subnet", elsewhere, check=False)
    assert moved.returncode == 1 and "is in its own zone" in moved.stderr, moved.stderr


def test_a_published_port_is_reached_at_the_instance_and_the_container_is_not(in_vpc, bridged, client):
    """Item 109: the address on the bridge is not one of the VPC."""
    answer = json.loads(client.net("curl", "-sS", "--max-time", "3", f"http://{in_vpc}:8080/").stdout)
    assert answer["peer"].startswith(client.ip), answer
    [network] = bridged.describe()["containers"][0]["networkBindings"]
    assert network["hostPort"] == 8080
    inside = bridged.net("ip", "-4", "-o", "addr", "show", "dev", "eth0").stdout.split()[3].split("/")[0]
    assert client.curl(f"http://{inside}:80/") == TIMED_OUT


def test_the_groups_of_instance_and_task_are_apart(ec2, in_vpc, hosted, client, vpc, fargate_cluster, shared, td_ports):
    """Items 115, 116 and 118: port 22 is open on the instance alone, port 80 on the task alone."""
    groups = ec2.describe_security_groups(GroupIds=[primary(ec2)["Groups"][0]["GroupId"]])["SecurityGroups"]
    task = shared.one(fargate_cluster, td_ports, vpc.prib, [vpc.sg80])
    assert client.curl(f"http://{in_vpc}:22/") == 0
    assert client.curl(f"http://{task.ip}:22/") == TIMED_OUT
    assert client.curl(f"http://{task.ip}:80/") == 0
    assert client.curl(f"http://{in_vpc}:80/") == TIMED_OUT
    again = ec2.describe_security_groups(GroupIds=[primary(ec2)["Groups"][0]["GroupId"]])["SecurityGroups"]
    assert again == groups


def test_a_rule_of_the_instance_counts_at_once(ec2, in_vpc, hosted, client):
    group = primary(ec2)["Groups"][0]["GroupId"]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[tcp(80), tcp(81)])
    assert client.curl(f"http://{in_vpc}:80/") == 0
    assert client.curl(f"http://{in_vpc}:81/") == REFUSED, "nothing listens there"
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[tcp(80), tcp(81)])
    eventually(lambda: client.curl(f"http://{in_vpc}:80/", limit_s=1) == TIMED_OUT, why="the port is still open")
