# SPDX-License-Identifier: Apache-2.0
"""Server and node may die at any time: tasks, their packets and their connections continue, and are managed again."""

import os
import re
import signal
import subprocess

import pytest
from conftest import eventually
from packets import peer_in


@pytest.fixture(scope="module")
def pair(shared, vpc, ec2_cluster, td_ports):
    """Two tasks of different launch types that may talk to each other."""
    one = shared.start(ec2_cluster, td_ports, vpc.pria, [vpc.sgall], launch_type="FARGATE")[0]
    two = shared.start(ec2_cluster, td_ports, vpc.pria, [vpc.sgall], launch_type="EC2")[0]
    return one.wait(), two.wait()


@pytest.mark.parametrize("role", ["server", "node"])
def test_tasks_and_their_connection_outlive_a_killed_process(berth, vpc, pair, runner, ec2_cluster, td_ports, role):
    one, two = pair
    pids = [task.pid() for task in pair]
    with peer_in(one) as peer:
        peer.must("connect", two.ip, 7000)
        assert peer.must("say", "before") == "before"
        berth.kill(role)
        assert peer.must("say", "after") == "after"
    for task in pair:
        assert task.describe()["lastStatus"] == "RUNNING"
    assert [task.pid() for task in pair] == pids
    # New packets, new tasks and the end of tasks are managed as before.
    assert one.curl(f"http://{two.ip}/") == 0
    third = runner.one(ec2_cluster, td_ports, vpc.pria, [vpc.sgall])
    assert third.curl(f"http://{one.ip}/") == 0
    third.stop()
    assert third.wait("tasks_stopped").describe()["containers"][0]["exitCode"] == 0


@pytest.mark.parametrize("role", ["server", "node"])
def test_the_end_of_a_task_while_a_process_is_away_is_noticed(berth, vpc, runner, ec2_cluster, td_ports, role):
    """Events of the meantime are reported."""
    task = runner.one(ec2_cluster, td_ports, vpc.pria, [vpc.sgall])
    pid, process = task.pid(), berth.pid(role)
    os.kill(process, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    os.kill(process, signal.SIGKILL)
    described = eventually(lambda: stopped(berth, task), 60, "the end was not noticed")
    assert described["stopCode"] == "EssentialContainerExited"
    assert described["containers"][0]["exitCode"] == 137


def stopped(berth, task):
    if not berth.status():
        return None
    described = task.describe()
    return described if described["lastStatus"] == "STOPPED" else None


def test_no_packet_is_lost_while_the_node_restarts(berth, pair):
    one, two = pair
    command = ["nsenter", "-t", one.pid(), "-m", "-n", "-r", "-w", "ping", "-i", "0.05", "-W", "2", two.ip]
    ping = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    try:
        for _ in range(3):
            ping.stdout.readline()
        berth.kill("node")
        for _ in range(3):
            ping.stdout.readline()
    finally:
        ping.send_signal(signal.SIGINT)
        out, _ = ping.communicate(timeout=20)
    sent, received = map(int, re.search(r"(\d+) packets transmitted, (\d+) packets received", out).groups())
    assert sent - received <= 1, out  # the last one may be in transit
    assert received > 5


def test_records_outlive_the_server(berth, ecs, pair, td_web):
    """Answered changes are kept."""
    arn = ecs.describe_task_definition(taskDefinition=td_web)["taskDefinition"]["taskDefinitionArn"]
    berth.kill("server")
    assert ecs.describe_task_definition(taskDefinition=td_web)["taskDefinition"]["taskDefinitionArn"] == arn
    assert {task.arn for task in pair} <= set(ecs.list_tasks(cluster=pair[0].cluster)["taskArns"])


def test_a_containerd_nobody_noted_is_found(berth):
    """The state after a node was killed directly after it started one, which would keep its files locked for ever."""
    old = berth.containerd()
    assert old
    berth.berth("down")
    assert berth.containerd() is None
    berth.up()
    berth.wait_until_host_is_connected()
    assert berth.containerd() not in (None, old)
