# SPDX-License-Identifier: Apache-2.0
"""Packets leave the VPC: tasks with public addresses, the host, a namespace behind it, and what lies beyond the machine."""

import contextlib
import json
import os
import signal
import subprocess

import pytest
from conftest import REPOSITORY, TIMED_OUT, Runner, eventually

HOST = "198.18.0.1"  # the host's own address in the pool
BEYOND = "192.0.2.2"  # a machine that the host reaches by its default route


def run(*command, check=True):
    return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=60, check=check)


def curl(address, limit_s=3):
    """The JSON answer of a `whoami` to the host; none if there is no answer."""
    done = run("curl", "-s", "--max-time", limit_s, f"http://{address}/", check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def peer(answer):
    return answer["peer"].rsplit(":", 1)[0]


@pytest.fixture(scope="module")
def public(shared, fargate_cluster, td_web, vpc):
    """A task with a public address in a public subnet."""
    return shared.one(fargate_cluster, td_web, vpc.puba, [vpc.sg80], public=True)


@pytest.fixture(scope="module")
def private(shared, fargate_cluster, td_web, vpc):
    """A task without a public address in a public subnet."""
    return shared.one(fargate_cluster, td_web, vpc.puba, [vpc.sg80])


def test_a_task_answers_the_host_at_its_public_address(public):
    answer = curl(public.public_ip)
    assert peer(answer) == HOST
    assert answer["local"] == f"{public.ip}:80"


def test_security_groups_apply_to_packets_of_the_world(public, vpc, ec2):
    permission = [{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    ec2.revoke_security_group_ingress(GroupId=vpc.sg80, IpPermissions=permission)
    try:
        eventually(lambda: curl(public.public_ip, limit_s=1) is None, why="the rule still admits the host")
    finally:
        ec2.authorize_security_group_ingress(GroupId=vpc.sg80, IpPermissions=permission)
    assert curl(public.public_ip)


def test_a_task_with_a_public_address_reaches_the_world_by_it(world, public):
    assert peer(public.ask(f"http://{world}/")) == public.public_ip
    assert peer(public.ask(f"http://{world}/")) != public.ip


def test_a_task_without_a_public_address_does_not(world, private):
    assert private.public_ip is None
    assert private.curl(f"http://{world}/", limit_s=1) == TIMED_OUT


def test_the_default_route_decides_at_once(world, public, vpc, ec2):
    tables = ec2.describe_route_tables(Filters=[{"Name": "association.subnet-id", "Values": [vpc.puba]}])
    (table,) = tables["RouteTables"]
    (route,) = [route for route in table["Routes"] if route.get("DestinationCidrBlock") == "0.0.0.0/0"]
    pid = public.pid()
    ec2.delete_route(RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0")
    try:
        eventually(lambda: public.curl(f"http://{world}/", limit_s=1) == TIMED_OUT, why="the route still leads out")
        assert curl(public.public_ip, limit_s=1) is None
    finally:
        ec2.create_route(
            RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", GatewayId=route["GatewayId"]
        )  # fmt: skip
    assert public.curl(f"http://{world}/") == 0
    assert curl(public.public_ip)
    assert public.pid() == pid


def test_a_public_address_is_given_back_with_its_task(berth, fargate_cluster, td_web, vpc):
    runner = Runner(berth)
    task = runner.one(fargate_cluster, td_web, vpc.puba, [vpc.sg80], public=True)
    address = task.public_ip
    assert curl(address)
    runner.stop_all()
    assert curl(address, limit_s=1) is None


def test_the_doctor_names_what_is_in_the_way_of_the_pool(berth):
    def row():
        rows = json.loads(berth.berth("doctor", "--output", "json", check=False).stdout)
        return next(row for row in rows if row["check"] == "public pool")

    assert row()["ok"] and row()["found"] == "198.18.0.0/20 is free"
    run("ip", "address", "add", "198.18.3.3/32", "dev", "lo")
    try:
        found = row()
        assert not found["ok"] and "the address 198.18.3.3/32 of lo" in found["found"]
        assert "--public-pool" in found["cure"]
    finally:
        run("ip", "address", "del", "198.18.3.3/32", "dev", "lo")


@contextlib.contextmanager
def machine_beyond(server):
    """Another machine on a wire, which the host's default route leads to, with a server on port 80."""
    run("ip", "netns", "add", "another")
    process = None
    try:
        run("ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", "another")
        run("ip", "address", "add", "192.0.2.1/24", "dev", "wire")
        run("ip", "link", "set", "wire", "up")
        run("ip", "-n", "another", "address", "add", f"{BEYOND}/24", "dev", "wire")
        run("ip", "-n", "another", "link", "set", "wire", "up")
        run("ip", "route", "add", "default", "via", BEYOND)
        process = subprocess.Popen(["ip", "netns", "exec", "another", server, "80"], stdout=subprocess.DEVNULL)
        eventually(lambda: curl(BEYOND), 20, "the machine beyond does not answer")
        yield
    finally:
        if process:
            process.terminate()
            process.wait()
        run("ip", "link", "delete", "wire", check=False)
        run("ip", "netns", "delete", "another")


def restart(berth, *options):
    """Ends server and node, and starts them again; tasks go on."""
    pids = list(berth.status()["processes"].values())
    os.kill(berth.pid("up"), signal.SIGTERM)
    eventually(lambda: not any(pid and os.path.exists(f"/proc/{pid}") for pid in pids), 60, "they live on")
    berth.up(*options)
    berth.wait_until_host_is_connected()


def packets(*expression):
    """tcpdump on the wire that leads outside."""
    process = subprocess.Popen(
        ["tcpdump", "-l", "-n", "-i", "wire", *expression], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    next(line for line in process.stderr if "listening on" in line)
    return process


def test_only_an_uplink_leads_out_of_the_machine(berth, world, public):
    server = REPOSITORY / "target/acceptance-world/whoami"

    def forwarding(value=None):
        file = "/proc/sys/net/ipv4/conf/wire/forwarding"
        if value:
            open(file, "w").write(value)
        return open(file).read().strip()

    with machine_beyond(server):
        try:
            # A host that forwards is no uplink.
            restart(berth)
            forwarding("1")
            seen = packets("ip")
            assert public.curl(f"http://{BEYOND}/", limit_s=1) == TIMED_OUT
            assert public.curl("http://203.0.114.1/", limit_s=1) == TIMED_OUT
            assert public.curl(f"http://{world}/") == 0
            seen.send_signal(signal.SIGINT)
            assert seen.communicate(timeout=20)[0].strip() == ""
            forwarding("0")

            restart(berth, "--uplink", "wire")
            assert peer(public.ask(f"http://{BEYOND}/")) == "192.0.2.1"
            assert peer(public.ask(f"http://{world}/")) == public.public_ip
            assert peer(curl(public.public_ip)) == HOST
            assert forwarding() == "1"

            restart(berth)
            assert public.curl(f"http://{BEYOND}/", limit_s=1) == TIMED_OUT
            assert public.curl(f"http://{world}/") == 0
            assert forwarding() == "0"
        finally:
            restart(berth)


def test_an_uplink_by_no_device_is_refused(berth):
    refused = berth.berth("up", "--uplink", "nowhere", check=False)
    assert refused.returncode != 0 and "nowhere, which is no device here" in refused.stderr
