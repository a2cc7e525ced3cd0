# SPDX-License-Identifier: Apache-2.0
"""Security groups in the data path: rules, state, membership."""

import pytest
from conftest import TIMED_OUT, eventually, tcp
from packets import peer_in


@pytest.fixture(scope="module")
def client(shared, vpc, fargate_cluster, td_ports):
    """A client task; it may send everything."""
    return shared.one(fargate_cluster, td_ports, vpc.puba, [vpc.sgnone])


def test_a_rule_opens_a_port_at_once(ec2, vpc, client, runner, fargate_cluster, td_ports):
    group = vpc.group("item-119", [tcp(80)])
    task = runner.one(fargate_cluster, td_ports, vpc.pria, [group])
    assert task.ask("http://127.0.0.1:9000/")["name"] == "web"
    assert client.curl(f"http://{task.ip}:9000/") == TIMED_OUT
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[tcp(9000)])
    answer = client.ask(f"http://{task.ip}:9000/")
    assert answer["id"] == task.ask("http://127.0.0.1:9000/")["id"]


def test_an_answer_needs_no_rule_and_a_new_flow_does(vpc, client, runner, fargate_cluster, td_ports):
    task = runner.one(fargate_cluster, td_ports, vpc.pria, [vpc.group("item-120", [tcp(80)], egress=[])])
    assert client.curl(f"http://{task.ip}/") == 0
    open_task = runner.one(fargate_cluster, td_ports, vpc.pria, [vpc.sgall])
    assert task.curl(f"http://{open_task.ip}/") == TIMED_OUT


def test_a_tracked_connection_outlives_its_rule(ec2, vpc, client, runner, fargate_cluster, td_ports):
    """The rule names a source, so the flow is tracked."""
    rule = tcp(7000, cidr="10.0.0.0/16")
    group = vpc.group("item-121-tracked", [rule])
    task = runner.one(fargate_cluster, td_ports, vpc.pria, [group])
    with peer_in(client) as peer:
        peer.must("connect", task.ip, 7000)
        assert peer.must("say", "before") == "before"
        ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[rule])
        assert peer.must("say", "after") == "after"
        eventually(lambda: client.curl(f"http://{task.ip}:7000/") == TIMED_OUT)
        assert peer.must("say", "still") == "still"


def test_an_untracked_connection_ends_with_its_rule(ec2, vpc, client, runner, fargate_cluster, td_ports):
    """Open to every address in both directions, so the flow is not tracked."""
    rule = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    group = vpc.group("item-121-untracked", [rule])
    task = runner.one(fargate_cluster, td_ports, vpc.pria, [group])
    with peer_in(client) as peer:
        peer.must("connect", task.ip, 7000)
        assert peer.must("say", "before") == "before"
        ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[rule])
        eventually(lambda: peer.do("say", "after").startswith("failed"), why="the connection was not cut")


def test_a_rule_that_names_a_group_follows_its_members(berth, vpc, runner, fargate_cluster, td_ports):
    task = runner.one(fargate_cluster, td_ports, vpc.pria, [vpc.sgapp])
    curl = ["curl", "-s", "-o", "/dev/null", "--max-time", "3", f"http://{task.ip}/"]
    assert berth.seat(vpc.puba, [vpc.sgnone], *curl).returncode == TIMED_OUT
    assert berth.seat(vpc.puba, [vpc.sglb], *curl).returncode == 0
    assert berth.seat(vpc.puba, [vpc.sgnone, vpc.sglb], *curl).returncode == 0
    assert berth.seat(vpc.puba, [vpc.sgall], *curl).returncode == TIMED_OUT


def test_a_rule_that_names_its_own_group_admits_its_members(ec2, vpc, client, runner, fargate_cluster, td_ports):
    """Self-reference, as in every default group."""
    group = vpc.group("item-self", [])
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[tcp(80, group=group)])
    one, two = runner.running(fargate_cluster, td_ports, vpc.pria, [group], count=2)
    assert one.curl(f"http://{two.ip}/") == 0
    assert client.curl(f"http://{two.ip}/") == TIMED_OUT


def test_groups_filter_between_neighbours_on_one_host_and_subnet(vpc, runner, fargate_cluster, td_ports):
    one, two = runner.running(fargate_cluster, td_ports, vpc.pria, [vpc.sgnone], count=2)
    assert one.curl(f"http://{two.ip}/") == TIMED_OUT
    assert two.curl(f"http://{one.ip}/") == TIMED_OUT
    assert one.tx("web", "ping", "-c", "1", "-W", "2", two.ip).returncode != 0


def test_a_range_of_ports_and_sources_is_as_wide_as_it_says(vpc, client, runner, fargate_cluster, td_ports):
    """Only sources in PUBA, only ports 80 to 8080."""
    group = vpc.group("item-114", [tcp(80, cidr="10.0.0.0/24", to=8080)])
    task = runner.one(fargate_cluster, td_ports, vpc.pria, [group])
    outside = runner.one(fargate_cluster, td_ports, vpc.pria, [vpc.sgnone])
    assert [client.curl(f"http://{task.ip}:{port}/") for port in [80, 8080, 9000]] == [0, 0, TIMED_OUT]
    assert outside.curl(f"http://{task.ip}:80/") == TIMED_OUT
