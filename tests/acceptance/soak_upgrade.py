# SPDX-License-Identifier: Apache-2.0
"""Running tasks, their packets and their connections survive an upgrade from an earlier program.

`cargo xtask soak upgrade` builds that program (`BERTH_PREVIOUS` is the folder of it) and runs this.
"""

import os
import pathlib
import subprocess

import pytest
from conftest import CLUSTER, PROGRAMS, eventually
from packets import peer_in
from previous import TASKS, World, installation, own_network, plain, steady

PREVIOUS = pathlib.Path(os.environ["BERTH_PREVIOUS"])


@pytest.fixture(scope="module")
def upgraded():
    """The state before the upgrade, its answers, and the connection that is opened before and used after it."""
    with own_network(), installation(PREVIOUS) as berth:
        berth.up()
        world = World(berth)
        world.vpc, world.running = world.furnish()
        world.before = plain(world.answers())
        world.pids = {name: task.pid() for name, task in world.running.items()}
        world.ids = {name: [c["runtimeId"] for c in task.describe()["containers"]] for name, task in world.running.items()}
        with peer_in(world.running["fargate"]) as peer, peer_in(world.running["ec2"]) as back:
            peer.must("connect", world.running["ec2"].ip, 7000)
            back.must("connect", world.running["fargate"].ip, 7000)
            assert peer.must("say", "before") == "before"
            berth.end_processes()
            assert peer.must("say", "between") == "between"
            berth.use(PROGRAMS)
            berth.up()
            world.ecs, world.ec2, world.peers = berth.ecs, berth.ec2, [peer, back]
            yield world


def test_every_record_answers_as_before(upgraded):
    # The host has a primary interface now, which has an address.
    assert steady(plain(upgraded.answers())) == steady(upgraded.before)


def test_tasks_run_on_with_their_processes_and_ids(upgraded):
    for name, task in upgraded.running.items():
        seen = task.describe()
        assert seen["lastStatus"] == "RUNNING", (name, seen)
        assert [c["runtimeId"] for c in seen["containers"]] == upgraded.ids[name], name
        assert task.pid() == upgraded.pids[name], name


def test_a_call_repeated_with_its_token_is_the_same_call(upgraded):
    for name, task in upgraded.running.items():
        assert upgraded.start(upgraded.vpc, name, *TASKS[name]).arn == task.arn, name


def test_connections_go_on_and_new_ones_obey_the_groups(upgraded):
    for peer in upgraded.peers:
        assert peer.must("say", "after") == "after"
    one, two = upgraded.running["fargate"], upgraded.running["ec2"]
    assert one.curl(f"http://{two.ip}/") == 0
    new = upgraded.start(upgraded.vpc, "new", "web", "FARGATE").wait().wait_until_listening()
    assert new.curl(f"http://{two.ip}/") == 0 and one.curl(f"http://{new.ip}/") == 0
    stranger = upgraded.berth.seat(upgraded.vpc.puba, [upgraded.vpc.sgnone], "curl", "-s", "--max-time", 2, f"http://{two.ip}:22/")
    assert stranger.returncode != 0
    new.stop()
    new.wait("tasks_stopped")


def test_tasks_taken_over_have_their_metadata_and_logs(upgraded):
    for name in ["fargate", "ec2", "shared"]:
        task = upgraded.running[name]
        environment = dict(
            line.split("=", 1)
            for line in pathlib.Path(f"/proc/{task.pid()}/environ").read_text().split("\0") if "=" in line
        )  # fmt: skip
        document = task.ask(environment["ECS_CONTAINER_METADATA_URI_V4"] + "/task")
        assert document["TaskARN"] == task.arn, name
        assert upgraded.berth.berth("logs", task.arn).returncode == 0, name


def test_tasks_taken_over_stop_and_nothing_is_left(upgraded):
    for task in upgraded.running.values():
        task.stop()
    for name, task in upgraded.running.items():
        ended = task.wait("tasks_stopped").describe()
        assert ended["stopCode"] == "UserInitiated", (name, ended)
    ids = {runtime_id for each in upgraded.ids.values() for runtime_id in each}
    containers = lambda: ids & set(upgraded.berth.container_pids())
    left = lambda: [*(upgraded.berth.data / "node/tasks").glob("*"), *leftover_links(), *containers()]
    eventually(lambda: not left() or print(left()), 30, "something of the tasks is left")
    assert len(upgraded.running) == len(TASKS)
    assert upgraded.ecs.describe_clusters(clusters=[CLUSTER])["clusters"][0]["runningTasksCount"] == 0


def leftover_links():
    """Ports of the bridge of network mode bridge."""
    shown = subprocess.run(["ip", "-brief", "link", "show", "type", "veth"], capture_output=True, text=True).stdout
    return [line for line in shown.splitlines() if line.startswith("berth")]
