# SPDX-License-Identifier: Apache-2.0
"""Settings with effects on tasks: capacity of a node, instance metadata, retention of stopped tasks."""

import pytest
from conftest import REFUSED, TIMED_OUT, Task, eventually
from packets import recorded

IMDS = "169.254.169.254"


@pytest.fixture(scope="module")
def started_anew(berth):
    """Starts Berth with other settings on the same data, and restores the earlier ones at the end."""

    def start(*more, **settings):
        berth.berth("down")
        berth.up(*more, **settings)
        berth.wait_until_host_is_connected()

    yield start
    start()


def ask_imds(task):
    """Exit code of a request for instance metadata, and the packets of it that left the task."""
    with recorded(task, f"host {IMDS}") as packets:
        code = task.curl(f"http://{IMDS}/latest/meta-data/", 2)
    return code, packets


def test_instance_metadata_is_asked_for_on_ec2_and_never_on_fargate(vpc, runner, clusters, ec2_cluster, td_idle):
    """The default: packets leave, though no server answers on a host without instance metadata."""
    ec2 = runner.one(ec2_cluster, td_idle, vpc.pria, [vpc.sgall], launch_type="EC2")
    fargate = runner.one(clusters[1], td_idle, vpc.pria, [vpc.sgall])
    code, packets = ask_imds(ec2)
    assert code in (TIMED_OUT, REFUSED) and packets
    code, packets = ask_imds(fargate)
    assert (code, packets) == (REFUSED, [])


def test_instance_metadata_is_blocked_when_the_node_is_told_so(vpc, started_anew, runner, ec2_cluster, td_idle):
    """Blocked."""
    started_anew("--block-imds")
    task = runner.one(ec2_cluster, td_idle, vpc.pria, [vpc.sgall], launch_type="EC2")
    assert ask_imds(task) == (REFUSED, [])
    assert f"blackhole {IMDS}" in task.net("ip", "route").stdout
    runner.stop_all()


def test_stopped_tasks_are_kept_as_long_as_the_server_is_told(ecs, vpc, started_anew, fargate_cluster, td_idle):
    started_anew("--keep-stopped-tasks", 0)
    network = {"awsvpcConfiguration": {"subnets": [vpc.pria], "securityGroups": [vpc.sgnone]}}
    (task,) = ecs.run_task(
        cluster=fargate_cluster, taskDefinition=td_idle, launchType="FARGATE", networkConfiguration=network
    )["tasks"]
    ecs.stop_task(cluster=fargate_cluster, task=task["taskArn"])

    def reasons():
        answer = ecs.describe_tasks(cluster=fargate_cluster, tasks=[task["taskArn"]])
        return [failure["reason"] for failure in answer["failures"]]

    assert eventually(reasons, 30, "the task is still there") == ["MISSING"]


def test_an_instance_takes_tasks_as_long_as_its_memory_lasts(berth, ecs, vpc, started_anew, ec2_cluster, runner):
    """Two tasks of 512 MiB on an instance that offers 700 MiB."""
    started_anew(memory=700)
    ecs.register_task_definition(
        family="half-a-gib", networkMode="awsvpc", memory="512",
        containerDefinitions=[{"name": "idle", "image": "web", "command": ["whoami", "idle"]}],
    )  # fmt: skip
    network = {"awsvpcConfiguration": {"subnets": [vpc.pria], "securityGroups": [vpc.sgnone]}}
    answer = ecs.run_task(cluster=ec2_cluster, taskDefinition="half-a-gib", count=2, networkConfiguration=network)
    (task,), (failure,) = answer["tasks"], answer["failures"]
    runner.started.append(Task(berth, ec2_cluster, task["taskArn"]))
    assert failure["reason"] == "RESOURCE:MEMORY"
    (instance,) = ecs.list_container_instances(cluster=ec2_cluster)["containerInstanceArns"]
    assert failure["arn"] == instance
    assert runner.started[0].wait().describe()["containerInstanceArn"] == instance
    runner.stop_all()
