# SPDX-License-Identifier: Apache-2.0
"""Many tasks at once: 300 interfaces on this machine, all reachable whatever is killed, and removed without remains."""

import os
import pathlib
import signal
import time

import pytest

COUNT = 300
PER_CALL = 10


@pytest.fixture
def slots_for_all(berth):
    """Restarts Berth with more interface slots, on the same data."""
    berth.berth("down")
    berth.up(enis=COUNT + 20)
    yield
    berth.berth("down")
    berth.up()


def test_three_hundred_tasks_at_once(slots_for_all, berth, ec2, vpc, runner, register, fargate_cluster, capsys):
    # The answer of busybox's own server tells which task answered.
    serve = "mkdir /www && hostname > /www/index.html && exec httpd -f -p 80 -h /www"
    definition = register("many", {"name": "many", "image": "busybox", "command": ["sh", "-c", serve], "stopTimeout": 2})
    subnet = ec2.create_subnet(VpcId=vpc.id, CidrBlock="10.0.64.0/23", AvailabilityZone="us-west-2a")
    subnet = subnet["Subnet"]["SubnetId"]
    free = lambda: ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["AvailableIpAddressCount"]
    before, memory_before = free(), memory_mib()
    began = time.monotonic()
    for _ in range(COUNT // PER_CALL):
        runner.start(fargate_cluster, definition, subnet, [vpc.sgall], count=PER_CALL)
    arns = [task.arn for task in runner.started]
    wait_until_all_run(berth, fargate_cluster, arns)
    took_s = time.monotonic() - began
    memory_each = (memory_mib() - memory_before) / COUNT
    with capsys.disabled():
        print(f"scale: {COUNT} tasks in {took_s:.1f} s ({COUNT / took_s:.1f}/s), {memory_each:.1f} MiB a task", flush=True)
    addresses = {address(task) for task in described(berth, fargate_cluster, arns)}
    assert len(addresses) == COUNT and free() == before - COUNT
    must_all_answer(berth, vpc, subnet, sorted(addresses))
    kill_everything(berth)
    assert {task["lastStatus"] for task in described(berth, fargate_cluster, arns)} == {"RUNNING"}
    must_all_answer(berth, vpc, subnet, sorted(addresses))
    runner.stop_all()
    runner.started = []
    assert free() == before
    ec2.delete_subnet(SubnetId=subnet)
    ids = {arn.rsplit("/", 1)[1] for arn in arns}
    assert not [path for path in (berth.data / "node/tasks").iterdir() if path.name in ids]
    assert not [line for line in open("/proc/self/mounts") if any(task in line for task in ids)]


def wait_until_all_run(berth, cluster, arns, limit_s=240):
    """Asks rarely, and only about tasks that do not run yet, so that the machine spends its time on starts."""
    waiting, end = set(arns), time.monotonic() + limit_s
    while waiting:
        assert time.monotonic() < end, f"{len(waiting)} of {len(arns)} tasks do not run after {limit_s} s"
        for task in described(berth, cluster, sorted(waiting)[:100]):
            assert task["lastStatus"] != "STOPPED", task["stoppedReason"]
            if task["lastStatus"] == "RUNNING":
                waiting.remove(task["taskArn"])
        time.sleep(0.25)


def described(berth, cluster, arns):
    """DescribeTasks takes a hundred at a time."""
    parts = [arns[at : at + 100] for at in range(0, len(arns), 100)]
    return [task for part in parts for task in berth.ecs.describe_tasks(cluster=cluster, tasks=part)["tasks"]]


def address(task):
    return task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]


def kill_everything(berth):
    """Kills server, node and containerd at once: the next ones must find all tasks again, and end none."""
    before = berth.container_pids()
    for pid in [berth.containerd(), berth.pid("node"), berth.pid("server")]:
        os.kill(pid, signal.SIGKILL)
    berth.wait_until_host_is_connected()
    after = berth.container_pids()
    lost = before.items() - after.items()
    assert not lost, f"{len(lost)} of {len(before)} containers are lost"


def must_all_answer(berth, vpc, subnet, addresses):
    """Sends a request to each of them from one seat."""
    curl = "curl -s --retry 5 --retry-connrefused --max-time 20"
    script = f"for a in {' '.join(addresses)}; do {curl} http://$a/; done"
    done = berth.seat(subnet, [vpc.sgall], "sh", "-c", script, timeout=240)
    reached = set(done.stdout.split())
    assert len(reached) == COUNT, f"{COUNT - len(reached)} tasks did not answer"


def memory_mib():
    """Memory of the machine that is in use."""
    lines = dict(line.split(":") for line in pathlib.Path("/proc/meminfo").read_text().splitlines())
    return (int(lines["MemTotal"].split()[0]) - int(lines["MemAvailable"].split()[0])) / 1024
