# SPDX-License-Identifier: Apache-2.0
"""Terraform's AWS provider, unmodified: apply, nothing to change, a change in place, destroy."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest
from conftest import TIMED_OUT

# Where the provider lies on machines that cannot reach Terraform's registry.
PLUGINS = pathlib.Path(os.environ.get("BERTH_TERRAFORM_PLUGINS", "/opt/tf-plugins"))
NOTHING_TO_CHANGE = 0  # exit code of `plan -detailed-exitcode`


class Terraform:
    def __init__(self, berth, folder, configuration):
        for file in (pathlib.Path(__file__).parent / configuration).glob("*.tf"):
            shutil.copy(file, folder)
        self.folder = folder
        own = {"TF_VAR_endpoint": berth.environment["AWS_ENDPOINT_URL"], "TF_IN_AUTOMATION": "1"}
        self.environment = berth.environment | own
        self.environment.pop("TF_CLI_CONFIG_FILE", None)

    def run(self, *words, expect=0):
        done = subprocess.run(
            ["terraform", *words], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300
        )
        said = done.stdout[-6000:] + done.stderr[-4000:]
        assert done.returncode == expect, f"terraform {' '.join(words)}: exit code {done.returncode}\n{said}"
        return done.stdout

    def apply(self, stage):
        self.run("apply", "-auto-approve", "-no-color", "-input=false", f"-var=stage={stage}")

    def plan(self, stage, expect):
        return self.run("plan", "-detailed-exitcode", "-no-color", "-input=false", f"-var=stage={stage}", expect=expect)

    def output(self, name):
        return json.loads(self.run("output", "-json", name))


    def init(self):
        self.run("init", "-no-color", "-input=false", *([f"-plugin-dir={PLUGINS}"] if PLUGINS.is_dir() else []))
        return self

    def destroy(self, stage):
        self.run("destroy", "-auto-approve", "-no-color", "-input=false", f"-var=stage={stage}")


@pytest.fixture
def terraform(berth, tmp_path):
    return Terraform(berth, tmp_path, "terraform").init()


@pytest.fixture
def network(berth, tmp_path):
    return Terraform(berth, tmp_path, "terraform/network").init()


def test_terraform_applies_changes_and_destroys(berth, ecs, ec2, terraform, runner):
    vpcs = {vpc["VpcId"] for vpc in ec2.describe_vpcs()["Vpcs"]}
    terraform.apply("first")
    terraform.plan("first", expect=NOTHING_TO_CHANGE)
    group = terraform.output("group")
    (described,) = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    assert [rule["FromPort"] for rule in described["IpPermissions"]] == [80]
    first = terraform.output("definition")
    terraform.apply("second")
    terraform.plan("second", expect=NOTHING_TO_CHANGE)
    second = terraform.output("definition")
    assert int(second.rsplit(":", 1)[1]) == int(first.rsplit(":", 1)[1]) + 1
    definition = ecs.describe_task_definition(taskDefinition=second)["taskDefinition"]
    assert definition["containerDefinitions"][0]["environment"] == [{"name": "STAGE", "value": "second"}]
    what_was_made_carries_tasks(berth, runner, second, terraform.output("subnets")[0], group)
    terraform.run("destroy", "-auto-approve", "-no-color", "-input=false")
    assert {vpc["VpcId"] for vpc in ec2.describe_vpcs()["Vpcs"]} == vpcs
    assert ec2.describe_addresses()["Addresses"] == []
    assert ecs.describe_clusters(clusters=["terraform"])["clusters"][0]["status"] == "INACTIVE"


def what_was_made_carries_tasks(berth, runner, definition, subnet, group):
    """Packets obey the rules: only members of the other group are admitted."""
    task = runner.one("terraform", definition, subnet, [group])
    done = berth.seat(subnet, [group], "curl", "-s", "-o", "/dev/null", "--max-time", "3", f"http://{task.ip}/")
    assert done.returncode == TIMED_OUT
    runner.stop_all()
    runner.started = []


# What a network of several zones is made of: the call, the member of its answer, and the id.
PARTS = [
    ("describe_vpcs", "Vpcs", "VpcId"),
    ("describe_subnets", "Subnets", "SubnetId"),
    ("describe_route_tables", "RouteTables", "RouteTableId"),
    ("describe_network_acls", "NetworkAcls", "NetworkAclId"),
    ("describe_security_groups", "SecurityGroups", "GroupId"),
    ("describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId"),
    ("describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
    ("describe_addresses", "Addresses", "AllocationId"),
    ("describe_managed_prefix_lists", "PrefixLists", "PrefixListId"),
]


def parts(ec2):
    return {item[key] for call, member, key in PARTS for item in getattr(ec2, call)()[member]}


def test_terraform_makes_a_network_over_three_zones(ec2, network):
    before = parts(ec2)
    network.apply("first")
    network.plan("first", expect=NOTHING_TO_CHANGE)
    gateways = ec2.describe_nat_gateways(NatGatewayIds=network.output("gateways"))["NatGateways"]
    assert [gateway["State"] for gateway in gateways] == ["available"] * 3
    tables = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [network.output("vpc")]}])["RouteTables"]
    assert {route["State"] for table in tables for route in table["Routes"]} == {"active"}
    network.apply("second")
    network.plan("second", expect=NOTHING_TO_CHANGE)
    office = ec2.get_managed_prefix_list_entries(PrefixListId=network.output("office"))["Entries"]
    assert {entry["Cidr"] for entry in office} == {"198.51.100.0/24", "203.0.113.0/24"}
    (acl,) = ec2.describe_network_acls(NetworkAclIds=[network.output("isolated_acl")])["NetworkAcls"]
    ports = [entry["PortRange"] for entry in acl["Entries"] if entry["RuleNumber"] == 10 and not entry["Egress"]]
    assert ports == [{"From": 5433, "To": 5433}]
    made, peering = parts(ec2) - before, network.output("peering")
    assert len(made) > 30
    network.destroy("second")
    assert not made & parts(ec2)
    # These can be described for some time after their end.
    ended = ec2.describe_nat_gateways(NatGatewayIds=[gateway["NatGatewayId"] for gateway in gateways])["NatGateways"]
    assert {gateway["State"] for gateway in ended} == {"deleted"}
    (ended,) = ec2.describe_vpc_peering_connections(VpcPeeringConnectionIds=[peering])["VpcPeeringConnections"]
    assert ended["Status"]["Code"] == "deleted"
