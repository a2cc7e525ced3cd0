# SPDX-License-Identifier: Apache-2.0
"""Containers of a task definition: every registered member is answered and acts."""

import json
import re

from conftest import container, eventually, refusal


def sh(name, line, **more):
    return container(name, "busybox", ["sh", "-c", line], **({"stopTimeout": 2} | more))


def ended(task):
    return task.wait("tasks_stopped").describe()


def test_what_is_registered_comes_back_with_the_defaults_of_aws(ecs):
    given = container(
        "app", "busybox", stopTimeout=5, startTimeout=20,
        healthCheck={"command": ["CMD-SHELL", "true"]}, restartPolicy={"enabled": True},
        linuxParameters={"initProcessEnabled": True, "tmpfs": [{"containerPath": "/t", "size": 5}]},
        ulimits=[{"name": "nofile", "softLimit": 10, "hardLimit": 20}],
        systemControls=[{"namespace": "net.ipv4.tcp_keepalive_time", "value": "77"}],
        dependsOn=[{"containerName": "seed", "condition": "SUCCESS"}],
    )  # fmt: skip
    seed = container("seed", "busybox", essential=False)
    answer = ecs.register_task_definition(family="returns", networkMode="awsvpc", cpu="256", memory="512",
                                          containerDefinitions=[given, seed])  # fmt: skip
    described = ecs.describe_task_definition(taskDefinition="returns")["taskDefinition"]
    assert described == answer["taskDefinition"]
    filled = {"cpu": 0, "essential": True, "environment": [], "mountPoints": [], "volumesFrom": [], "portMappings": []}
    expected = given | filled
    expected["healthCheck"] = {"command": ["CMD-SHELL", "true"], "interval": 30, "timeout": 5, "retries": 3}
    expected["restartPolicy"] = {"enabled": True, "restartAttemptPeriod": 300}
    assert described["containerDefinitions"][0] == expected


def test_a_health_check_may_be_any_words(ecs):
    for command in [["/healthcheck"], ["CMD-SHELL", "curl", "-f", "http://localhost/", "||", "exit", "1"], ["NONE"]]:
        answer = ecs.register_task_definition(
            family="checked", containerDefinitions=[container("app", memory=64, healthCheck={"command": command})]
        )
        [app] = answer["taskDefinition"]["containerDefinitions"]
        assert app["healthCheck"] == {"command": command, "interval": 30, "timeout": 5, "retries": 3}


def test_wishes_that_cannot_be_met_are_refused_in_the_words_of_aws(ecs):
    def words(**more):
        base = {"family": "wrong", "networkMode": "awsvpc", "cpu": "256", "memory": "512"}
        return refusal(ecs.register_task_definition, **(base | more))

    fargate = {"requiresCompatibilities": ["FARGATE"]}
    cases = [
        ({"containerDefinitions": [container("a", dependsOn=[{"containerName": "b", "condition": "START"}])]},
         "Cannot depend on container + 'b' because it does not exist"),
        ({"containerDefinitions": [container("a", privileged=True)]} | fargate,
         "Fargate requires that the 'privileged' setting be 'false'"),
        ({"containerDefinitions": [container("a", linuxParameters={"capabilities": {"add": ["NET_ADMIN"]}})]} | fargate,
         "NET_ADMIN is not allowed on Fargate."),
        ({"containerDefinitions": [container("a", hostname="x")]},
         "hostname is not supported on container when networkMode=awsvpc"),
        ({"containerDefinitions": [container("a", restartPolicy={"enabled": True, "restartAttemptPeriod": 5})]},
         "the 'restartAttemptPeriod' setting for container 'a' must be between 60 and 1800"),
    ]  # fmt: skip
    for more, expected in cases:
        code, message = words(**more)
        assert (code, message) == ("ClientException", expected)


def test_containers_start_in_order_and_health_is_told(berth, vpc, runner, register, fargate_cluster):
    definition = register(
        "ordered",
        sh("app", "echo app; sleep 60", dependsOn=[{"containerName": "store", "condition": "HEALTHY"}]),
        sh("store", "cat /data/seed; sleep 60", healthCheck={"command": ["CMD-SHELL", "test -e /data/seed"], "interval": 5},
           dependsOn=[{"containerName": "seed", "condition": "SUCCESS"}],
           mountPoints=[{"sourceVolume": "data", "containerPath": "/data"}]),
        sh("seed", "echo planted > /data/seed", essential=False,
           mountPoints=[{"sourceVolume": "data", "containerPath": "/data"}]),
        volumes=[{"name": "data"}],
    )  # fmt: skip
    task = runner.start(fargate_cluster, definition, vpc.pria, [vpc.sgnone])[0].wait()
    described = task.describe()
    states = {one["name"]: one for one in described["containers"]}
    assert states["seed"]["lastStatus"] == "STOPPED" and states["seed"]["exitCode"] == 0
    assert states["store"]["healthStatus"] == "HEALTHY" and states["app"]["healthStatus"] == "UNKNOWN"
    assert described["healthStatus"] == "HEALTHY"
    assert all(one["imageDigest"].startswith("sha256:") for one in described["containers"])
    assert "planted" in berth.logs(task)


def test_an_unhealthy_container_does_not_end_a_task_of_its_own(vpc, runner, register, fargate_cluster):
    check = {"command": ["CMD-SHELL", "exit 1"], "interval": 5, "retries": 1}
    definition = register("sick", sh("app", "sleep 60", healthCheck=check))
    task = runner.start(fargate_cluster, definition, vpc.pria, [vpc.sgnone])[0].wait()
    eventually(lambda: task.describe()["healthStatus"] == "UNHEALTHY", 30)
    described = task.describe()
    assert (described["lastStatus"], described["desiredStatus"]) == ("RUNNING", "RUNNING")


def test_limits_and_privileges_are_those_of_the_definition(berth, vpc, runner, register, fargate_cluster):
    look = "ulimit -Hn; grep CapEff /proc/self/status; cat /proc/sys/net/ipv4/tcp_keepalive_time; cat /proc/1/cmdline"
    definition = register(
        "settings",
        sh("app", look, user="65534:65534", readonlyRootFilesystem=True,
           ulimits=[{"name": "nofile", "softLimit": 100, "hardLimit": 200}],
           systemControls=[{"namespace": "net.ipv4.tcp_keepalive_time", "value": "77"}],
           linuxParameters={"initProcessEnabled": True, "capabilities": {"drop": ["ALL"]}}),
    )  # fmt: skip
    task = runner.start(fargate_cluster, definition, vpc.pria, [vpc.sgnone])[0]
    assert ended(task)["containers"][0]["exitCode"] == 0
    log = berth.logs(task)
    for wanted in ["200\n", "CapEff:\t0000000000000000", "77\n", "/dev/init"]:
        assert wanted in log, log


def test_what_the_definition_and_run_task_say_is_seen_inside(berth, vpc, runner, register, ec2_cluster):
    memory = "/sys/fs/cgroup/memory"
    sizes = (
        f"cat {memory}/memory.limit_in_bytes {memory}/memory.soft_limit_in_bytes /sys/fs/cgroup/cpu/cpu.shares"
        f" && echo swap $(cat {memory}/memory.memsw.limit_in_bytes {memory}/memory.swappiness)"
        " || (cd /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup) && cat memory.max memory.low cpu.weight"
        " && echo swap $(cat memory.swap.max))"
    )
    look = "pwd; id -u; test -t 0 && echo terminal; echo word=$WORD kept=$KEPT; df -m /dev/shm"
    look += f"; {sizes}; echo seen all; sleep 60"
    definition = register(
        "inside",
        sh("app", "echo not this; sleep 60", cpu=10, memory=200, workingDirectory="/tmp", user="65534",
           pseudoTerminal=True, dockerLabels={"colour": "blue"},
           linuxParameters={"sharedMemorySize": 3, "maxSwap": 16, "swappiness": 7},
           environment=[{"name": "WORD", "value": "defined"}, {"name": "KEPT", "value": "defined"}]),
    )  # fmt: skip
    given = {
        "name": "app", "command": ["sh", "-c", look], "environment": [{"name": "WORD", "value": "given"}],
        "cpu": 128, "memory": 100, "memoryReservation": 50,
    }  # fmt: skip
    task = runner.start(ec2_cluster, definition, vpc.pria, [vpc.sgnone], launch_type="EC2",
                        overrides={"containerOverrides": [given]})[0].wait()  # fmt: skip
    log = berth.wait_for_log(task, "seen all")
    words = log.split()
    assert words[words.index("/tmp") :][:5] == ["/tmp", "65534", "terminal", "word=given", "kept=defined"], log
    assert ["shm", "3"] == words[words.index("shm") :][:2], log
    at = words.index(str(100 << 20))
    assert words[at + 1] == str(50 << 20) and words[at + 2] in ("128", "5", "6"), log
    # Version 1 counts memory and swap together; version 2 counts swap alone and knows no swappiness.
    swap = words[words.index("swap") + 1 :]
    assert swap[:2] == [str(116 << 20), "7"] or swap[0] == str(16 << 20), log
    variables = dict(pair.split("=", 1) for pair in task.tx("app", "cat", "/proc/1/environ").stdout.split("\0") if pair)
    told = json.loads(task.net("curl", "-s", "--max-time", "5", variables["ECS_CONTAINER_METADATA_URI_V4"]).stdout)
    assert told["Labels"]["colour"] == "blue"


def test_failures_to_start_are_told_in_the_words_of_aws(vpc, runner, register, fargate_cluster):
    cases = [
        ("no-image", container("app", "not-there"), "CannotPullContainerError: "),
        ("no-program", container("app", "busybox", ["/no/such"]), "CannotStartContainerError: "),
        ("no-user", container("app", "busybox", ["true"], user="nobody-here"), "CannotCreateContainerError: "),
    ]
    for family, definition, kind in cases:
        task = runner.start(fargate_cluster, register(family, definition), vpc.pria, [vpc.sgnone])[0]
        described = ended(task)
        assert described["stopCode"] == "TaskFailedToStart"
        assert described["stoppedReason"].startswith(kind), described["stoppedReason"]
        assert described["containers"][0]["reason"].startswith(kind)
        assert "exitCode" not in described["containers"][0]


def test_a_container_the_task_can_do_without_ends_alone(vpc, runner, register, fargate_cluster):
    definition = register(
        "alone", sh("app", "sleep 60"), container("side", "busybox", ["/no/such"], essential=False),
        sh("late", "true", essential=False, dependsOn=[{"containerName": "side", "condition": "START"}]),
    )  # fmt: skip
    described = runner.start(fargate_cluster, definition, vpc.pria, [vpc.sgnone])[0].wait().describe()
    app, side, late = sorted(described["containers"], key=lambda one: ["app", "side", "late"].index(one["name"]))
    assert (described["desiredStatus"], app["lastStatus"]) == ("RUNNING", "RUNNING")
    assert side["lastStatus"] == "STOPPED" and "exitCode" not in side
    assert side["reason"].startswith("CannotStartContainerError: ")
    assert (late["lastStatus"], late["exitCode"]) == ("STOPPED", 143)
    assert late["reason"].endswith("[side] for target [late] because dependency will never start")


def test_containers_have_ids_as_on_aws_and_names_of_any_length(berth, vpc, runner, register, fargate_cluster, ec2_cluster):
    long = "n" * 255
    definition = register("named", sh(long, "echo hello; cat /proc/self/cgroup; sleep 60"))
    for launch_type, cluster in [("FARGATE", fargate_cluster), ("EC2", ec2_cluster)]:
        task = runner.start(cluster, definition, vpc.pria, [vpc.sgnone], launch_type=launch_type)[0].wait()
        [described] = task.describe()["containers"]
        own = f"{task.id}-[0-9]{{1,10}}" if launch_type == "FARGATE" else "[0-9a-f]{64}"
        assert described["name"] == long and re.fullmatch(own, described["runtimeId"]), described
        variables = dict(pair.split("=", 1) for pair in task.tx(long, "cat", "/proc/1/environ").stdout.split("\0") if pair)
        uri = variables["ECS_CONTAINER_METADATA_URI_V4"]
        told = json.loads(task.net("curl", "-s", "--max-time", "5", uri).stdout)
        assert (told["DockerId"], told["Name"]) == (described["runtimeId"], long)
        name = long if launch_type == "FARGATE" else f"ecs-named-[0-9]+-{long[:20]}-[0-9a-f]{{20}}"
        assert re.fullmatch(name, told["DockerName"])
        cgroups = open(f"/proc/{task.pid()}/cgroup").read()
        assert f"/{task.id}/{described['runtimeId']}\n" in cgroups, cgroups
        assert "hello" in berth.logs(task, "--container", long)


def test_a_task_for_another_processor_finds_no_capacity(ecs, vpc, fargate_cluster):
    """The node refuses such an image too (kernel suite); no host of another architecture is tried."""
    ecs.register_task_definition(
        family="arm", networkMode="awsvpc", cpu="256", memory="512", requiresCompatibilities=["FARGATE"],
        runtimePlatform={"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"},
        containerDefinitions=[container("app", "busybox", ["true"])],
    )  # fmt: skip
    answer = ecs.run_task(
        cluster=fargate_cluster, taskDefinition="arm", launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": [vpc.pria], "securityGroups": [vpc.sgnone]}},
    )  # fmt: skip
    assert answer["tasks"] == []
    assert [failure["reason"] for failure in answer["failures"]] == ["RESOURCE:FARGATE"]


def test_a_container_without_log_driver_output_is_not_written(berth, vpc, runner, register, ec2_cluster):
    definition = register("silent", sh("app", "echo secret; exit 0", logConfiguration={"logDriver": "none"}))
    task = runner.start(ec2_cluster, definition, vpc.pria, [vpc.sgnone], launch_type="EC2")[0]
    assert ended(task)["containers"][0]["exitCode"] == 0
    assert "secret" not in berth.berth("logs", task.arn, check=False).stdout


def test_the_metadata_of_a_container_tells_health_and_restarts(vpc, runner, register, fargate_cluster):
    definition = register(
        "telling",
        sh("app", "sleep 60", healthCheck={"command": ["CMD", "true"], "interval": 5}, restartPolicy={"enabled": True}),
    )  # fmt: skip
    task = runner.start(fargate_cluster, definition, vpc.pria, [vpc.sgnone])[0].wait()
    eventually(lambda: task.describe()["healthStatus"] == "HEALTHY", 30)
    variable = task.tx("app", "sh", "-c", "cat /proc/1/environ").stdout.split("\0")
    uri = dict(pair.split("=", 1) for pair in variable if "=" in pair)["ECS_CONTAINER_METADATA_URI_V4"]
    told = json.loads(task.net("curl", "-s", "--max-time", "5", uri).stdout)
    assert told["Health"]["status"] == "HEALTHY"
    assert told["RestartCount"] == 0
