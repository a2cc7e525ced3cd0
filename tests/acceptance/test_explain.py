# SPDX-License-Identifier: Apache-2.0
"""`berth explain`: why a packet arrives or does not, from the records and from the maps in the kernel."""

import json
import shlex
import subprocess

import pytest
from conftest import TIMED_OUT, eventually, tcp
from maps import remove_rows


# In the order in which a packet meets them.
GATES = ["source", "destination", "egress", "network_acl_out", "route", "target", "network_acl_in", "ingress"]


@pytest.fixture(scope="module")
def sender(shared, vpc, fargate_cluster, td_ports):
    """A task that may send everything and admits no packet."""
    return shared.one(fargate_cluster, td_ports, vpc.puba, [vpc.sgnone])


def explain(berth, *words):
    done = berth.berth("explain", *words, "--output", "json", check=False)
    assert done.returncode in (0, 1), done.stderr
    answer = json.loads(done.stdout)
    passages = [passage for passage in [answer, answer["then"]] if passage]
    passes = all(it["verdict"] == "pass" and it["reply_drop_reason"] is None for it in passages)
    assert done.returncode == (0 if passes else 1)
    return answer


def make_changes(berth, answer):
    """Runs the commands that the answer names, as a user would."""
    assert answer["changes"], answer
    for change in answer["changes"]:
        program, *words = shlex.split(change["command"])
        assert program == "aws"
        berth.aws(*words)


def gate(answer, name):
    return next(gate for gate in answer["gates"] if gate["gate"] == name)


def rule_of(ec2, group, egress):
    rules = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])["SecurityGroupRules"]
    (rule,) = [rule["SecurityGroupRuleId"] for rule in rules if rule["IsEgress"] == egress]
    return [{"security_group": group, "rule": rule}]


def test_the_rule_that_admits_is_named_by_the_id_the_api_gave(
    berth, ec2, vpc, sender, runner, fargate_cluster, td_ports
):
    group = vpc.group("explain-by-group", [tcp(80, group=vpc.sgnone)])
    task = runner.one(fargate_cluster, td_ports, vpc.pria, [group])
    # By task id and ARN, by interface, by address: the same two ends.
    for source, destination in [
        (sender.id, f"{task.arn}:80"),
        (sender.eni, f"{task.eni}:80"),
        (sender.eni, f"{task.ip}:80"),
        (sender.ip, f"{task.eni}:80"),
    ]:
        answer = explain(berth, source, destination)
        assert (answer["verdict"], answer["drop_reason"], answer["differ"]) == ("pass", None, False)
        assert (answer["source"]["eni"], answer["destination"]["eni"]) == (sender.eni, task.eni)
        assert (answer["source"]["task"], answer["destination"]["task"]) == (sender.id, task.id)
        assert answer["destination"]["security_groups"] == [group]
        assert [gate["gate"] for gate in answer["gates"]] == GATES
        for by in ["records", "maps"]:
            assert gate(answer, "egress")[by]["rules"] == rule_of(ec2, vpc.sgnone, True)
            assert gate(answer, "ingress")[by]["rules"] == rule_of(ec2, group, False)
    assert sender.curl(f"http://{task.ip}/") == 0
    table = berth.berth("explain", sender.eni, f"{task.eni}:80").stdout
    assert rule_of(ec2, group, False)[0]["rule"] in table and "The packet arrives." in table


def test_a_packet_that_is_dropped_is_told_with_the_reason_that_is_counted(
    berth, vpc, sender, runner, fargate_cluster, td_ports
):
    task = runner.one(fargate_cluster, td_ports, vpc.pria, [vpc.group("explain-drop", [tcp(80)], egress=[])])

    def counted(eni, reason):
        return json.loads(berth.berth("eni", "stats", eni, "--output", "json").stdout)[0]["drops"].get(reason, 0)

    for source, to, port, where, name in [
        (sender, task, 9000, task, "security_group_ingress"),
        (task, sender, 80, task, "security_group_egress"),
    ]:
        answer = explain(berth, source.eni, f"{to.eni}:{port}")
        assert (answer["verdict"], answer["drop_reason"], answer["differ"]) == ("drop", name, False)
        before = counted(where.eni, name)
        assert source.curl(f"http://{to.ip}:{port}/", 1) == TIMED_OUT
        assert counted(where.eni, name) > before
    assert explain(berth, task.eni, sender.ip, "--protocol", "icmp")["drop_reason"] == "security_group_egress"
    assert explain(berth, sender.eni, "10.0.77.1:80")["drop_reason"] == "no_endpoint"
    assert explain(berth, sender.eni, "192.0.2.1:53", "--protocol", "udp")["drop_reason"] == "no_public_address"
    assert explain(berth, sender.eni, f"{sender.ip}:80")["drop_reason"] == "own_address"
    assert explain(berth, sender.eni, "10.0.0.1", "--protocol", "icmp")["verdict"] == "pass"
    assert explain(berth, sender.eni, task.eni, "--protocol=-1")["drop_reason"] == "security_group_ingress"


def test_routes_gateways_and_network_acls_are_named(berth, ec2, vpc, runner, fargate_cluster, td_ports):
    outside, inside = runner.running(fargate_cluster, td_ports, vpc.puba, [vpc.sgall], count=2, public=True)
    reason = lambda *ends: explain(berth, *ends)["drop_reason"]
    [table] = ec2.describe_route_tables(Filters=[{"Name": "association.subnet-id", "Values": [vpc.puba]}])["RouteTables"]
    [gateway] = [route["GatewayId"] for route in table["Routes"] if route["DestinationCidrBlock"] == "0.0.0.0/0"]
    [acl] = ec2.describe_network_acls(Filters=[{"Name": "association.subnet-id", "Values": [vpc.puba]}])["NetworkAcls"]
    answer = explain(berth, outside.eni, "192.0.2.1:80")
    assert (answer["verdict"], answer["differ"]) == ("pass", False), answer
    route = {"route_table": table["RouteTableId"], "destination": "0.0.0.0/0", "target": gateway}
    assert gate(answer, "route")["maps"]["rules"] == [route]
    assert gate(answer, "network_acl_out")["maps"]["rules"] == [{"network_acl": acl["NetworkAclId"], "entry": 100}]
    [eni] = ec2.describe_network_interfaces(NetworkInterfaceIds=[outside.eni])["NetworkInterfaces"]
    assert gate(answer, "target")["maps"]["rules"] == [{"leaves_as": eni["Association"]["PublicIp"]}]

    entry = {"NetworkAclId": acl["NetworkAclId"], "RuleNumber": 50, "Egress": True}
    ec2.create_network_acl_entry(
        **entry, Protocol="6", RuleAction="deny", CidrBlock="192.0.2.0/24", PortRange={"From": 80, "To": 80}
    )
    try:
        eventually(lambda: reason(outside.eni, "192.0.2.1:80") == "network_acl_out", why="the entry is not in the maps")
        assert explain(berth, outside.eni, "192.0.2.1:81")["verdict"] == "pass"
        assert explain(berth, outside.eni, f"{inside.eni}:80")["verdict"] == "pass", "inside the subnet there is no ACL"
    finally:
        ec2.delete_network_acl_entry(**entry)
    ec2.delete_route(RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0")
    try:
        eventually(lambda: reason(outside.eni, "192.0.2.1:80") == "no_route", why="the route is still in the maps")
    finally:
        ec2.create_route(RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)


def curl(url):
    return subprocess.run(["curl", "-s", "-o", "/dev/null", "--max-time", "1", url]).returncode


def test_the_changes_that_are_named_let_packets_of_the_world_in(berth, ec2, vpc, runner, fargate_cluster, td_ports):
    subnet = ec2.create_subnet(VpcId=vpc.id, CidrBlock="10.0.40.0/24")["Subnet"]["SubnetId"]
    table = ec2.create_route_table(VpcId=vpc.id)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    acl = ec2.create_network_acl(VpcId=vpc.id)["NetworkAcl"]["NetworkAclId"]
    [present] = ec2.describe_network_acls(Filters=[{"Name": "association.subnet-id", "Values": [subnet]}])["NetworkAcls"]
    [association] = [it for it in present["Associations"] if it["SubnetId"] == subnet]
    ec2.replace_network_acl_association(AssociationId=association["NetworkAclAssociationId"], NetworkAclId=acl)
    task = runner.one(fargate_cluster, td_ports, subnet, [vpc.group("explain-world", [])], public=True)
    try:
        answer = explain(berth, "internet", f"{task.id}:80")
        assert (answer["verdict"], answer["drop_reason"], answer["differ"]) == ("drop", "network_acl_in", False)
        assert answer["public_address"] == task.public_ip
        assert [(change["gate"], change["reply"]) for change in answer["changes"]] == [
            ("network_acl_in", False),
            ("ingress", False),
            ("network_acl_out", True),
            ("route", True),
        ]
        assert curl(f"http://{task.public_ip}/") == TIMED_OUT
        make_changes(berth, answer)
        eventually(lambda: explain(berth, "internet", task.public_ip + ":80")["verdict"] == "pass", why="not programmed")
        answer = explain(berth, "internet@192.0.2.9", f"{task.eni}:80")
        assert (answer["verdict"], answer["reply_drop_reason"], answer["changes"]) == ("pass", None, [])
        assert curl(f"http://{task.public_ip}/") == 0
    finally:
        runner.stop_all()
        ec2.delete_subnet(SubnetId=subnet)
        ec2.delete_network_acl(NetworkAclId=acl)
        ec2.delete_route_table(RouteTableId=table)


def test_a_public_address_of_the_same_installation_is_followed_to_its_interface(
    berth, vpc, runner, fargate_cluster, td_ports
):
    sender, receiver = runner.running(fargate_cluster, td_ports, vpc.puba, [vpc.sg80], count=2, public=True)
    answer = explain(berth, sender.eni, f"{receiver.public_ip}:80")
    assert (answer["verdict"], answer["then"]["verdict"]) == ("pass", "pass")
    assert gate(answer, "target")["maps"]["rules"] == [{"leaves_as": sender.public_ip}]
    assert answer["then"]["source"] == {"address": sender.public_ip}
    assert answer["then"]["destination"]["eni"] == receiver.eni
    assert sender.curl(f"http://{receiver.public_ip}/") == 0
    answer = explain(berth, sender.eni, f"{receiver.public_ip}:81")
    assert answer["then"]["drop_reason"] == "security_group_ingress"
    assert sender.curl(f"http://{receiver.public_ip}:81/", 1) == TIMED_OUT


def test_bad_questions_are_told_apart_from_dropped_packets(berth, vpc, sender):
    for words, said in [
        ((sender.eni, sender.eni), "which port"),
        ((sender.eni, "nowhere:80"), "an IPv4 address"),
        (("10.0.99.99", f"{sender.eni}:80"), "No interface of"),
        ((sender.eni, "eni-00000000000000abc:80"), "does not exist"),
        ((sender.eni, "10.0.0.9:80", "--vpc", "vpc-00000000000000abc"), "different networks"),
        ((sender.eni, "10.0.0.9:80", "--protocol", "sctp"), "invalid value"),
    ]:
        done = berth.berth("explain", *words, check=False)
        assert (done.returncode, said in done.stderr) == (2, True), (words, done.stderr)


def test_maps_that_are_not_what_the_records_say_are_told(
    berth, ec2, vpc, sender, runner, fargate_cluster, td_ports
):
    group = vpc.group("explain-differ", [tcp(9000)])
    task = runner.one(fargate_cluster, td_ports, vpc.pria, [group])
    assert explain(berth, sender.eni, f"{task.eni}:9000")["differ"] is False
    # The test removes the row of TCP port 9000 from the kernel: ruleset (4 bytes), protocol, port.
    assert remove_rows(berth.instance, "rule_ports", lambda key: key[8:11] == bytes([6, 9000 >> 8, 9000 & 255])) > 0
    try:
        answer = explain(berth, sender.eni, f"{task.eni}:9000")
        assert (answer["verdict"], answer["drop_reason"], answer["differ"]) == ("drop", "security_group_ingress", True)
        ingress = gate(answer, "ingress")
        assert (ingress["records"]["verdict"], ingress["maps"]["verdict"]) == ("pass", "drop")
        assert ingress["records"]["rules"] == rule_of(ec2, group, False)
        assert len(answer["warnings"]) == 1
        table = berth.berth("explain", sender.eni, f"{task.eni}:9000", check=False).stdout
        assert "warning: ingress: the records say pass by" in table
        assert sender.curl(f"http://{task.ip}:9000/", 1) == TIMED_OUT
    finally:
        # The next node restores the maps from the records.
        berth.kill("node")
    eventually(lambda: not explain(berth, sender.eni, f"{task.eni}:9000")["differ"], 60, "the maps are not repaired")
    assert sender.curl(f"http://{task.ip}:9000/") == 0
