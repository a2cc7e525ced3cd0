# SPDX-License-Identifier: Apache-2.0
"""Local networking: the containers of a task and the address they share."""

import contextlib
import json
import os
import signal

import pytest
from conftest import REFUSED
from packets import peer_in, recorded

LITERAL = """{ "family": "myapp" "containerDefinitions": [] }"""
MISSPELT = """{
    "family": "myapp",
    "networkMode": "awsvpc",
    "containerDefinitions": [
        {"name": "web", "image": "web", "memory": 64, "esssential": true, "portMappings": [{"containerPort": 80}]}
    ]
}"""


@pytest.fixture(scope="module")
def pairs(shared, vpc, fargate_cluster, td_pair):
    return shared.running(fargate_cluster, td_pair, vpc.pria, [vpc.sgall], count=2)


def test_containers_of_a_task_start_and_stop_together(vpc, runner, fargate_cluster, td_pair):
    task = runner.one(fargate_cluster, td_pair, vpc.pria, [vpc.sgall])
    assert [c["lastStatus"] for c in task.describe()["containers"]] == ["RUNNING", "RUNNING"]
    task.stop()
    stopped = task.wait("tasks_stopped").describe()
    assert [c["lastStatus"] for c in stopped["containers"]] == ["STOPPED", "STOPPED"]
    assert [c["exitCode"] for c in stopped["containers"]] == [0, 0]


def test_local_traffic_does_not_touch_the_interface(pairs):
    task = pairs[0]
    with recorded(task, "port 8080") as packets:
        done = task.tx("web", "timeout", "3", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/my-endpoint")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["name"], answer["path"]) == ("api", "/my-endpoint")
    assert packets == []


def test_security_groups_do_not_filter_the_loopback(vpc, runner, fargate_cluster, td_pair):
    locked = vpc.group("locked-64", [], egress=[])
    task = runner.one(fargate_cluster, td_pair, vpc.pria, [locked])
    assert task.ask("http://127.0.0.1:8080/my-endpoint")["name"] == "api"


def test_both_containers_are_reached_at_the_address_of_the_task(pairs):
    other, task = pairs
    assert other.ask(f"http://{task.ip}:80/")["name"] == "web"
    assert other.ask(f"http://{task.ip}:8080/")["name"] == "api"


def test_ports_are_not_bound_to_the_host(pairs):
    for task in pairs:
        assert [c["networkBindings"] for c in task.describe()["containers"]] == [[], []]


def test_each_task_has_its_own_loopback(pairs):
    inside = {task.ask("http://127.0.0.1:8080/")["id"] for task in pairs}
    outside = [pairs[1 - i].ask(f"http://{task.ip}:8080/")["id"] for i, task in enumerate(pairs)]
    assert len(inside) == 2
    assert [task.ask("http://127.0.0.1:8080/")["id"] for task in pairs] == outside


def test_the_cli_names_the_typos_of_the_sample(berth, tmp_path):
    for text, expected in [
        (LITERAL, "Invalid JSON"),
        (MISSPELT, 'Unknown parameter in containerDefinitions[0]: "esssential"'),
    ]:
        (tmp_path / "sample.json").write_text(text)
        done = berth.aws_raw("ecs", "register-task-definition", "--cli-input-json", "file://sample.json", cwd=tmp_path)
        assert done.returncode != 0
        assert expected in done.stderr


def test_a_container_is_essential_unless_said_otherwise(ecs, td_pair):
    """The default."""
    described = ecs.describe_task_definition(taskDefinition=td_pair)["taskDefinition"]
    assert [c["essential"] for c in described["containerDefinitions"]] == [True, True]


def test_the_task_ends_with_an_essential_container(vpc, runner, fargate_cluster, td_pair):
    task = runner.one(fargate_cluster, td_pair, vpc.pria, [vpc.sgall])
    os.kill(task.pid("api"), signal.SIGKILL)
    described = task.wait("tasks_stopped").describe()
    assert described["stopCode"] == "EssentialContainerExited"
    assert described["stoppedReason"] == "Essential container in task exited"
    assert {c["name"]: c["exitCode"] for c in described["containers"]}["api"] == 137


def test_the_loopback_is_not_slower_than_the_network(pairs):
    """All on one core: this compares the paths, not the wake-up time of another core."""
    other, task = pairs
    with on_one_core(task.pid("api")), peer_in(task) as inside, peer_in(other) as outside:
        for peer in [inside, outside]:
            os.sched_setaffinity(peer.process.pid, {0})
        inside.must("connect", "127.0.0.1", 7000)
        outside.must("connect", task.ip, 7000)
        # Short turns: a change of the machine's speed affects both.
        rounds = [(float(inside.must("rtt", 30)), float(outside.must("rtt", 30))) for _ in range(400)]
    assert min(local for local, _ in rounds) <= min(remote for _, remote in rounds), rounds


@contextlib.contextmanager
def on_one_core(pid):
    """Keeps all threads of a process on the first core; new ones inherit it."""

    def put(cores):
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), cores)

    before = os.sched_getaffinity(pid)
    put({0})
    try:
        yield
    finally:
        put(before)


def test_a_port_nobody_listens_on_refuses_when_the_group_admits_it(pairs):
    """The difference between a closed port and a closed group."""
    other, task = pairs
    assert other.curl(f"http://{task.ip}:81/") == REFUSED
