# SPDX-License-Identifier: Apache-2.0
"""CPU and memory: notation of sizes, the pairs of Fargate, and their effect as limits."""

import itertools
import re

import pytest
from conftest import container, refusal


def definition(**more):
    return {
        "family": "size", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"],
        "containerDefinitions": [container("web")],
    } | more  # fmt: skip


@pytest.mark.parametrize(
    "cpu, memory",
    [*itertools.product(["256", ".25vcpu"], ["1024", "1gb"]), (".25 vCPU", "1 GB"), ("0.25 vcpu", "1 GB")],
)
def test_sizes_are_read_in_units_and_with_suffix(ecs, cpu, memory):
    registered = ecs.register_task_definition(**definition(cpu=cpu, memory=memory))["taskDefinition"]
    described = ecs.describe_task_definition(taskDefinition=registered["taskDefinitionArn"])["taskDefinition"]
    assert (described["cpu"], described["memory"]) == ("256", "1024")


ROWS = [
    ("256", ["512", "1024", "2048"], ["4096", "3072"]),
    ("512", [str(mib) for mib in range(1024, 4097, 1024)], ["512", "5120"]),
    ("1024", [str(mib) for mib in range(2048, 8193, 1024)], ["1024", "9216", "2560"]),
    ("2048", [str(mib) for mib in range(4096, 16385, 1024)], ["3072", "17408"]),
    ("4096", [str(mib) for mib in range(8192, 30721, 1024)], ["7168", "31744"]),
]


@pytest.mark.parametrize("cpu, good, bad", ROWS, ids=[row[0] for row in ROWS])
def test_fargate_has_these_sizes_and_no_others(ecs, cpu, good, bad):
    for memory in good:
        registered = ecs.register_task_definition(**definition(cpu=cpu, memory=memory))["taskDefinition"]
        assert (registered["cpu"], registered["memory"]) == (cpu, memory)
    for memory in bad:
        code, message = refusal(ecs.register_task_definition, **definition(cpu=cpu, memory=memory))
        assert code == "ClientException"
        assert "No Fargate configuration exists for given values" in message


@pytest.mark.parametrize("cpu, good, bad", [("8192", "16384", "17408"), ("16384", "32768", "33792")])
def test_fargate_has_the_later_rows_too(ecs, cpu, good, bad):
    ecs.register_task_definition(**definition(cpu=cpu, memory=good))
    assert refusal(ecs.register_task_definition, **definition(cpu=cpu, memory=bad))[0] == "ClientException"


def test_a_task_that_takes_more_memory_than_its_size_is_killed(vpc, runner, register, fargate_cluster):
    greedy = register("greedy", container("greedy", command=["whoami", "eat", "600"]), cpu="256", memory="512")
    task = runner.start(fargate_cluster, greedy, vpc.pria, [vpc.sgnone])[0].wait("tasks_stopped")
    described = task.describe()
    assert described["stopCode"] == "EssentialContainerExited"
    ended = described["containers"][0]
    assert ended["exitCode"] == 137
    assert ended["reason"] == "OutOfMemoryError: Container killed due to memory usage"


def cpu_share(berth, task):
    task.wait("tasks_stopped")
    cpu_s, wall_s = re.search(r"cpu_s=([\d.]+) wall_s=([\d.]+)", berth.logs(task)).groups()
    return float(cpu_s) / float(wall_s)


def test_a_fargate_task_gets_no_more_cpu_than_its_size(berth, vpc, runner, register, fargate_cluster):
    busy = register("busy", container("busy", command=["whoami", "burn", "2", "8"]), cpu="256", memory="512")
    task = runner.start(fargate_cluster, busy, vpc.pria, [vpc.sgnone])[0]
    assert cpu_share(berth, task) <= 0.27


def test_an_ec2_task_may_exceed_its_share_when_nobody_else_wants_it(berth, vpc, runner, ecs, ec2_cluster):
    """Container cpu is a share, not a limit."""
    ecs.register_task_definition(
        family="busy-ec2", networkMode="awsvpc",
        containerDefinitions=[container("busy", command=["whoami", "burn", "2", "8"], cpu=64, memory=64)],
    )  # fmt: skip
    task = runner.start(ec2_cluster, "busy-ec2", vpc.pria, [vpc.sgnone], launch_type="EC2")[0]
    assert cpu_share(berth, task) > 64 / 1024 * 1.5


def test_containers_fit_in_their_task(ecs):
    containers = [container("big", memory=1024)]
    words = "The 'memory' setting for container 'big' is greater than for the task."
    refused = refusal(
        ecs.register_task_definition, **definition(cpu="256", memory="512", containerDefinitions=containers)
    )
    assert refused == ("ClientException", words)
    containers = [container("one", cpu=200), container("two", cpu=100)]
    words = "The sum of all container 'cpu' values cannot be greater than the task-level 'cpu' value"
    refused = refusal(
        ecs.register_task_definition, **definition(cpu="256", memory="512", containerDefinitions=containers)
    )
    assert refused == ("ClientException", words)


@pytest.mark.parametrize("absent", ["cpu", "memory"])
def test_fargate_needs_a_size(ecs, absent):
    sizes = {name: value for name, value in {"cpu": "256", "memory": "512"}.items() if name != absent}
    code, message = refusal(ecs.register_task_definition, **definition(**sizes))
    assert code == "ClientException"
    assert f"Fargate requires that '{absent}' be defined at the task level." in message
