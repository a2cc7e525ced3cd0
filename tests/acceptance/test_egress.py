# SPDX-License-Identifier: Apache-2.0
"""Ways out of subnets, packet by packet: gateways of several subnets, what they keep out, network ACLs, packet sizes."""

import errno
import json
import os
import signal
import subprocess
import sys

import pytest
from conftest import TIMED_OUT, default_route, eventually
from packets import peer_in

ECHO = 7  # port of the TCP echo in WORLD
BEYOND = ["ip", "netns", "exec", "berth-beyond"]  # a command in WORLD


def in_world(*command):
    return subprocess.run([*BEYOND, *map(str, command)], capture_output=True, text=True, timeout=60)


def curl_from_world(url, limit_s=1):
    return in_world("curl", "-s", "-o", "/dev/null", "--max-time", limit_s, url).returncode


def way():
    """The host's end of the way to the world, with its counters."""
    links = subprocess.run(["ip", "-j", "-s", "link", "show", "type", "veth"], capture_output=True, text=True, check=True)
    [link] = [link for link in json.loads(links.stdout) if link["ifname"].startswith("world-")]
    return link


# Sends an echo request with this many bytes that must not be fragmented, and prints the error, or the reply's length.
PING = """
import socket, sys
ping = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
ping.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
ping.settimeout(3)
try:
    ping.sendto(bytes([8, 0, 0, 0, 0, 0, 0, 1]) + bytes(int(sys.argv[2])), (sys.argv[1], 0))
    print(len(ping.recv(65536)) - 8)
except OSError as error:
    print(type(error).__name__, error.errno)
"""


def ping(task, address, size):
    return task.net(sys.executable, "-c", PING, address, size).stdout.strip()


@pytest.fixture
def gateway(ec2, elastic, gateways):
    """Makes an available NAT gateway in a subnet; answers its id and its public address."""

    def gateway(subnet):
        address = elastic()
        made = gateways(SubnetId=subnet, AllocationId=address["AllocationId"])["NatGatewayId"]
        waiting = {"Delay": 1, "MaxAttempts": 30}
        ec2.get_waiter("nat_gateway_available").wait(NatGatewayIds=[made], WaiterConfig=waiting)
        return made, address["PublicIp"]

    return gateway


def seen_by(task, world, *options):
    """Address and port by which WORLD sees a task."""
    done = task.net("curl", "-sS", "--max-time", "5", *options, f"http://{world}/")
    assert done.returncode == 0, done.stderr
    address, port = json.loads(done.stdout)["peer"].rsplit(":", 1)
    return address, int(port)


def test_tasks_reach_each_other_by_private_addresses_inside(world, vpc, runner, fargate_cluster, td_web):
    """Item 78: both have public addresses, and nothing of it passes the internet gateway."""
    one, other = runner.running(fargate_cluster, td_web, vpc.puba, [vpc.sg80], count=2, public=True)
    before = way()["stats64"]["rx"]["packets"]
    assert one.ask(f"http://{other.ip}/")["peer"].startswith(f"{one.ip}:")
    assert way()["stats64"]["rx"]["packets"] == before
    one.ask(f"http://{world}/")
    assert way()["stats64"]["rx"]["packets"] > before, "the counter counts what leaves"


def test_a_gateway_serves_several_subnets_and_several_gateways_theirs(
    world, ec2, vpc, gateway, runner, fargate_cluster, td_web
):
    """Items 82 and 87: one address with different ports for both subnets, then an address for each."""
    one, address = gateway(vpc.puba)
    with default_route(ec2, vpc.pria, vpc.id, NatGatewayId=one):
        with default_route(ec2, vpc.prib, vpc.id, NatGatewayId=one) as table:
            tasks = [runner.one(fargate_cluster, td_web, subnet, [vpc.sg80]) for subnet in [vpc.pria, vpc.prib]]
            # Both ask from the same port of their own.
            seen = [seen_by(task, world, "--local-port", 40404) for task in tasks]
            assert [each[0] for each in seen] == [address, address]
            assert seen[0][1] != seen[1][1]
            two, other = gateway(vpc.pubb)
            ec2.replace_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=two)
            eventually(lambda: seen_by(tasks[1], world)[0] == other, why="the second gateway is not used")
            assert seen_by(tasks[0], world)[0] == address


def test_a_gateway_carries_answers_only_and_its_connections_end_with_it(
    world, ec2, vpc, gateway, runner, fargate_cluster, td_web
):
    """Items 80, 83 and 86."""
    nat, address = gateway(vpc.puba)
    with default_route(ec2, vpc.pria, vpc.id, NatGatewayId=nat) as table:
        open_to_all = vpc.group("egress-open", [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])
        task = runner.one(fargate_cluster, td_web, vpc.pria, [open_to_all])
        with peer_in(task) as peer:
            port = int(peer.must("connect", world, ECHO).rsplit(":", 1)[1])
            assert peer.must("say", "before") == "before"
            seen = seen_by(task, world, "--local-port", 40405)
            assert seen == (address, 40405), "a free port is kept"
            # Neither the gateway's address nor a port in use of another connection leads to the task.
            for to in [80, port, 40405]:
                assert curl_from_world(f"http://{address}:{to}/") == TIMED_OUT
            # Somebody outside routes the VPC's range to the edge.
            subprocess.run(["ip", "route", "add", vpc.cidrs[vpc.pria], "dev", way()["ifname"]], check=True)
            try:
                assert curl_from_world(f"http://{task.ip}/") == TIMED_OUT
            finally:
                subprocess.run(["ip", "route", "del", vpc.cidrs[vpc.pria], "dev", way()["ifname"]], check=True)
            assert peer.must("say", "between") == "between"
            ec2.delete_nat_gateway(NatGatewayId=nat)
            eventually(lambda: peer.do("say", "after").startswith("failed"), why="the connection lives on")
        [described] = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"]
        assert [route["State"] for route in described["Routes"] if "NatGatewayId" in route] == ["blackhole"]
        assert task.curl(f"http://{world}/", limit_s=1) == TIMED_OUT


def test_a_connection_through_a_gateway_outlives_all_processes(
    berth, world, ec2, vpc, gateway, runner, fargate_cluster, td_web
):
    """Each is killed alone, then all of them at once; packets pass in the meantime and afterwards."""
    nat, address = gateway(vpc.puba)
    with default_route(ec2, vpc.pria, vpc.id, NatGatewayId=nat):
        task = runner.one(fargate_cluster, td_web, vpc.pria, [vpc.sg80])
        pid = task.pid()
        with peer_in(task) as peer:
            peer.must("connect", world, ECHO)
            roles = sorted(role for role, process in berth.status()["processes"].items() if process)
            assert {"up", "server", "node"} <= set(roles)
            for killed in [*([role] for role in roles), roles]:
                processes = berth.status()["processes"]
                for role in killed:
                    os.kill(processes[role], signal.SIGKILL)
                assert peer.must("say", "without") == "without", killed
                if "up" in killed:
                    berth.up()
                eventually(lambda: restarted(berth, processes, killed), 60, f"no new {killed}")
                berth.wait_until_host_is_connected()
                assert peer.must("say", "again") == "again", killed
        assert task.pid() == pid
        # New connections pass, too, from the same address.
        assert seen_by(task, world)[0] == address


def restarted(berth, before, roles):
    now = berth.status().get("processes", {})
    return all(now.get(role) not in (None, before[role]) for role in roles)


def test_a_gateway_in_a_subnet_without_a_way_out_leads_nowhere(
    world, ec2, vpc, gateway, runner, ec2_cluster, td_web
):
    """Item 88."""
    nat, _ = gateway(vpc.iso)
    with default_route(ec2, vpc.pria, vpc.id, NatGatewayId=nat):
        task = runner.one(ec2_cluster, td_web, vpc.pria, [vpc.sg80], launch_type="EC2")
        assert task.curl(f"http://{world}/", limit_s=1) == TIMED_OUT


def test_a_network_acl_stops_new_and_open_connections_at_the_subnets_border(
    ec2, vpc, runner, fargate_cluster, td_pair
):
    """Item 108: within the subnet nothing changes."""
    server, neighbour = runner.running(fargate_cluster, td_pair, vpc.pria, [vpc.sgall], count=2)
    outside = runner.one(fargate_cluster, td_pair, vpc.prib, [vpc.sgall])
    filters = [{"Name": "association.subnet-id", "Values": [vpc.pria]}]
    [acl] = ec2.describe_network_acls(Filters=filters)["NetworkAcls"]
    entry = {"NetworkAclId": acl["NetworkAclId"], "Egress": False}

    def deny(number, port):
        ec2.create_network_acl_entry(
            **entry, RuleNumber=number, Protocol="6", RuleAction="deny", CidrBlock="0.0.0.0/0",
            PortRange={"From": port, "To": port},
        )  # fmt: skip

    with peer_in(outside) as far, peer_in(neighbour) as near:
        for peer in [far, near]:
            peer.must("connect", server.ip, 7000)
            assert peer.must("say", "before") == "before"
        assert outside.curl(f"http://{server.ip}/") == 0
        deny(50, 80)
        deny(51, 7000)
        try:
            eventually(lambda: outside.curl(f"http://{server.ip}/", limit_s=1) == TIMED_OUT, why="port 80 is still open")
            assert far.do("say", "denied").startswith("failed")
            assert near.must("say", "inside") == "inside"
            assert neighbour.curl(f"http://{server.ip}/") == 0
        finally:
            for number in [50, 51]:
                ec2.delete_network_acl_entry(**entry, RuleNumber=number)
        assert outside.curl(f"http://{server.ip}/") == 0


def test_packets_have_the_vpcs_size_inside_and_the_internets_outside(world, vpc, runner, fargate_cluster, td_web):
    """Item 175."""
    one, other = runner.running(fargate_cluster, td_web, vpc.puba, [vpc.sgall], count=2, public=True)
    assert ping(one, other.ip, 8973) == "8973"
    assert ping(one, world, 1472) == "1472"
    assert ping(one, world, 1473) == f"OSError {errno.EMSGSIZE}"


def rates(berth, *words):
    return json.loads(berth.berth("rate", *words, "--output", "json").stdout)


FLOOD = """
import socket, sys
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(3000):
    try:
        udp.sendto(bytes(1200), (sys.argv[1], 9))
    except OSError:
        pass
"""


def test_a_nat_gateway_and_an_interface_can_be_limited(
    berth, ec2, vpc, world, gateway, runner, fargate_cluster, td_web
):
    nat, public = gateway(vpc.puba)
    with default_route(ec2, vpc.pria, vpc.id, NatGatewayId=nat):
        task = runner.one(fargate_cluster, td_web, vpc.pria, [vpc.sgall])
        eventually(lambda: task.curl(f"http://{world}/", 1) == 0, why="the route does not lead to the gateway")
        assert rates(berth) == []
        for target, subject in [(nat, nat), (task.id, task.eni)]:
            [limit] = rates(berth, target, "1mbit")
            assert (limit["id"], limit["bits_per_second"]) == (subject, 1_000_000)
            flood = lambda: task.net(sys.executable, "-c", FLOOD, world)
            # The limit is programmed a moment after the answer.
            eventually(lambda: flood() and rates(berth, target)[0]["dropped_packets"] > 0, why="nothing was dropped")
            assert rates(berth) == rates(berth, target)
            assert task.curl(f"http://{world}/") == 0, "packets within the limit pass"
            assert rates(berth, target, "none")[0]["bits_per_second"] is None
        assert rates(berth) == []
        refused = berth.berth("rate", nat, "100", check=False)
        assert refused.returncode == 1 and "whole number with its unit" in refused.stderr
        refused = berth.berth("rate", "nat-00000000000000abc", "1mbit", check=False)
        assert refused.returncode == 1 and "was not found" in refused.stderr
        runner.stop_all()
