# SPDX-License-Identifier: Apache-2.0
"""Public addresses and NAT gateways as clients see them: elastic IP addresses, tasks with public addresses, gateways."""

import json
import os
import subprocess

import pytest
from conftest import REGION, TIMED_OUT, default_route, eventually, gateway_state, refusal

POOL = "198.18."


def interface_with(ec2, address):
    filters = [{"Name": "association.public-ip", "Values": [address]}]
    return ec2.describe_network_interfaces(Filters=filters)["NetworkInterfaces"]


def test_an_elastic_address_goes_from_interface_to_interface(berth, ec2, vpc, elastic):
    address = elastic("--domain", "vpc", "--tag-specifications", "ResourceType=elastic-ip,Tags=[{Key=Name,Value=out}]")
    assert address["PublicIp"].startswith(POOL)
    allocation = ["--allocation-id", address["AllocationId"]]
    first, second = (
        ec2.create_network_interface(SubnetId=vpc.puba)["NetworkInterface"]["NetworkInterfaceId"] for _ in range(2)
    )
    association = berth.aws("ec2", "associate-address", *allocation, "--network-interface-id", first)["AssociationId"]
    (interface,) = interface_with(ec2, address["PublicIp"])
    shown = interface["Association"]
    assert (shown["AssociationId"], shown["IpOwnerId"]) == (association, interface["OwnerId"])
    assert shown["PublicDnsName"] == f"ec2-{address['PublicIp'].replace('.', '-')}.{REGION}.compute.amazonaws.com"
    assert refusal(ec2.release_address, AllocationId=address["AllocationId"]) == (
        "InvalidIPAddress.InUse", f"Address {address['PublicIp']} is in use."
    )  # fmt: skip
    final = ["--network-interface-id", second, "--no-allow-reassociation"]
    done = berth.aws_raw("ec2", "associate-address", *allocation, *final)
    assert "Resource.AlreadyAssociated" in done.stderr
    berth.aws("ec2", "associate-address", *allocation, "--network-interface-id", second)
    assert [interface["NetworkInterfaceId"] for interface in interface_with(ec2, address["PublicIp"])] == [second]
    ec2.delete_network_interface(NetworkInterfaceId=second)
    (described,) = berth.aws("ec2", "describe-addresses", "--filters", "Name=tag:Name,Values=out")["Addresses"]
    assert "AssociationId" not in described
    berth.aws("ec2", "release-address", *allocation)
    assert refusal(ec2.describe_addresses, AllocationIds=[address["AllocationId"]])[0] == "InvalidAllocationID.NotFound"
    ec2.delete_network_interface(NetworkInterfaceId=first)


def test_an_elastic_address_leads_to_a_task_of_an_instance(ec2, vpc, elastic, runner, ec2_cluster, td_web):
    """From the host, which lies outside of all VPCs; at once, and no longer than the association."""
    task = runner.one(ec2_cluster, td_web, vpc.puba, [vpc.sg80], launch_type="EC2")
    filters = [{"Name": "addresses.private-ip-address", "Values": [task.ip]}]
    (interface,) = ec2.describe_network_interfaces(Filters=filters)["NetworkInterfaces"]
    address = elastic()
    association = ec2.associate_address(
        AllocationId=address["AllocationId"], NetworkInterfaceId=interface["NetworkInterfaceId"]
    )["AssociationId"]

    def asked(limit_s=3):
        words = ["curl", "-s", "--max-time", str(limit_s), f"http://{address['PublicIp']}/"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        return json.loads(done.stdout)["local"] if done.returncode == 0 else None

    assert eventually(asked) == f"{task.ip}:80"
    ec2.disassociate_address(AssociationId=association)
    eventually(lambda: asked(limit_s=1) is None)


@pytest.mark.parametrize("asked", ["ENABLED", "DISABLED"])
def test_a_fargate_task_has_a_public_address_if_it_asks_for_one(ecs, ec2, vpc, fargate_cluster, td_idle, asked):
    """Whatever its subnet says about instances."""
    network = {"subnets": [vpc.puba], "securityGroups": [vpc.sgnone], "assignPublicIp": asked}
    answer = ecs.run_task(
        cluster=fargate_cluster, taskDefinition=td_idle, launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": network},
    )  # fmt: skip
    (task,) = answer["tasks"]

    def details():
        (described,) = ecs.describe_tasks(cluster=fargate_cluster, tasks=[task["taskArn"]])["tasks"]
        return {detail["name"]: detail["value"] for detail in described["attachments"][0]["details"]}

    own = eventually(lambda: details().get("networkInterfaceId"))
    (interface,) = ec2.describe_network_interfaces(NetworkInterfaceIds=[own])["NetworkInterfaces"]
    ecs.stop_task(cluster=fargate_cluster, task=task["taskArn"])
    if asked == "DISABLED":
        assert "Association" not in interface
        return
    association = interface["Association"]
    assert association["IpOwnerId"] == "amazon" and association["PublicIp"].startswith(POOL)
    eventually(lambda: not interface_with(ec2, association["PublicIp"]), why="the address is still in use")


def test_a_nat_gateway_comes_and_goes(berth, ec2, vpc, elastic, gateways):
    address = elastic()
    created = gateways(SubnetId=vpc.puba, AllocationId=address["AllocationId"], ClientToken=f"nat-{os.getpid()}")
    gateway = created["NatGatewayId"]
    assert created["State"] == "pending"
    waiting = {"Delay": 1, "MaxAttempts": 30}
    ec2.get_waiter("nat_gateway_available").wait(NatGatewayIds=[gateway], WaiterConfig=waiting)
    (described,) = berth.aws("ec2", "describe-nat-gateways", "--nat-gateway-ids", gateway)["NatGateways"]
    (shown,) = described["NatGatewayAddresses"]
    assert (shown["PublicIp"], shown["Status"]) == (address["PublicIp"], "succeeded")
    (interface,) = interface_with(ec2, address["PublicIp"])
    assert interface["Description"] == f"Interface for NAT Gateway {gateway}"
    assert (interface["InterfaceType"], interface["RequesterManaged"], interface["SourceDestCheck"]) == (
        "nat_gateway", True, False
    )  # fmt: skip
    delete = refusal(ec2.delete_network_interface, NetworkInterfaceId=interface["NetworkInterfaceId"])
    assert delete[0] == "InvalidNetworkInterface.InUse"
    table = ec2.create_route_table(VpcId=vpc.id)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=gateway)
    berth.aws("ec2", "delete-nat-gateway", "--nat-gateway-id", gateway)
    ec2.get_waiter("nat_gateway_deleted").wait(NatGatewayIds=[gateway], WaiterConfig=waiting)
    (described,) = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"]
    assert [route["State"] for route in described["Routes"]] == ["active", "blackhole"]
    (described,) = ec2.describe_addresses(AllocationIds=[address["AllocationId"]])["Addresses"]
    assert "AssociationId" not in described
    ec2.delete_route_table(RouteTableId=table)


def test_a_private_subnet_reaches_the_world_by_its_nat_gateway(
    ec2, vpc, elastic, gateways, world, runner, fargate_cluster, td_web
):
    """The world sees the gateway's public address; the route decides at once, without a restart."""
    address = elastic()
    gateway = gateways(SubnetId=vpc.puba, AllocationId=address["AllocationId"])["NatGatewayId"]
    ec2.get_waiter("nat_gateway_available").wait(NatGatewayIds=[gateway], WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    task = runner.one(fargate_cluster, td_web, vpc.pria, [vpc.sg80])
    assert task.curl(f"http://{world}/", limit_s=1) == TIMED_OUT
    everything = {"DestinationCidrBlock": "0.0.0.0/0"}
    with default_route(ec2, vpc.pria, vpc.id, NatGatewayId=gateway) as table:
        assert eventually(lambda: task.curl(f"http://{world}/", limit_s=1) == 0)
        assert task.ask(f"http://{world}/")["peer"].split(":")[0] == address["PublicIp"]
        ec2.delete_route(RouteTableId=table, **everything)
        eventually(lambda: task.curl(f"http://{world}/", limit_s=1) == TIMED_OUT)
        ec2.create_route(RouteTableId=table, NatGatewayId=gateway, **everything)
        eventually(lambda: task.curl(f"http://{world}/", limit_s=1) == 0)
        ec2.delete_nat_gateway(NatGatewayId=gateway)
        eventually(lambda: task.curl(f"http://{world}/", limit_s=1) == TIMED_OUT)


def test_a_nat_gateway_that_cannot_be_shows_why(ec2, vpc, elastic, gateways):
    interface = ec2.create_network_interface(SubnetId=vpc.puba)["NetworkInterface"]["NetworkInterfaceId"]
    allocation = elastic()["AllocationId"]
    ec2.associate_address(AllocationId=allocation, NetworkInterfaceId=interface)
    gateway = gateways(SubnetId=vpc.puba, AllocationId=allocation)["NatGatewayId"]
    eventually(lambda: gateway_state(ec2, gateway) == "failed")
    (described,) = ec2.describe_nat_gateways(Filter=[{"Name": "nat-gateway-id", "Values": [gateway]}])["NatGateways"]
    assert described["FailureCode"] == "Resource.AlreadyAssociated"
    assert described["FailureMessage"] == f"Elastic IP address [{allocation}] is already associated"
    ec2.delete_network_interface(NetworkInterfaceId=interface)


def test_another_pool_is_refused_while_addresses_are_in_use(berth, ec2, elastic):
    address = elastic()
    berth.berth("down")
    berth.environment["BERTH_PUBLIC_POOL"] = "198.19.0.0/24"
    try:
        with pytest.raises(pytest.fail.Exception, match="The pool of public addresses cannot become 198.19.0.0/24"):
            berth.up()
    finally:
        del berth.environment["BERTH_PUBLIC_POOL"]
        berth.up()
        berth.wait_until_host_is_connected()
    (described,) = ec2.describe_addresses()["Addresses"]
    assert described["PublicIp"] == address["PublicIp"]
