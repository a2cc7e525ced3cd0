# SPDX-License-Identifier: Apache-2.0
"""Volumes of a task definition: of the task, of the container instance, of Docker."""

from conftest import container, eventually, refusal


def sh(name, line, **more):
    return container(name, "busybox", ["sh", "-c", line], **({"stopTimeout": 2} | more))


def mount(volume, path="/data", **more):
    return {"sourceVolume": volume, "containerPath": path} | more


def test_an_empty_volume_is_shared_by_the_containers_and_gone_with_the_task(
    berth, vpc, runner, register, fargate_cluster
):
    definition = register(
        "scratch",
        sh("writer", "echo hello > /data/word; sleep 60", mountPoints=[mount("scratch")]),
        sh("reader", "until cat /data/word; do sleep 0.1; done; touch /data/x || echo refused; sleep 60",
           mountPoints=[mount("scratch", readOnly=True)]),
        sh("third", "until cat /data/word; do sleep 0.1; done; touch /data/y || echo kept out; sleep 60",
           volumesFrom=[{"sourceContainer": "writer", "readOnly": True}]),
        volumes=[{"name": "scratch"}],
    )  # fmt: skip
    task = runner.start(fargate_cluster, definition, vpc.pria, [vpc.sgnone])[0].wait()
    log = berth.wait_for_log(task, "kept out")
    assert "hello" in log
    berth.wait_for_log(task, "refused")
    folder = berth.data / "node" / "tasks" / task.id
    assert (folder / "storage" / "volumes" / "scratch" / "word").exists()
    task.stop()
    task.wait("tasks_stopped")
    eventually(lambda: not folder.exists(), 10)
    look = register(
        "scratch-again", sh("app", "echo found $(ls -A /data | wc -l) files; sleep 60", mountPoints=[mount("scratch")]),
        volumes=[{"name": "scratch"}],
    )  # fmt: skip
    again = runner.start(fargate_cluster, look, vpc.pria, [vpc.sgnone])[0].wait()
    assert "found 0 files" in berth.wait_for_log(again, "files")


def test_ephemeral_storage_is_a_limit(berth, vpc, runner, register, fargate_cluster):
    """The files of a container and an empty volume share the size of the RunTask call, which replaces the definition's;
    space is allocated, not written."""
    reserve = "if fallocate -l {0}G {1}; then echo {1} has {0}; else rm -f {1}; echo {1} refused {0}; fi"
    lines = [reserve.format(12, "/big"), reserve.format(12, "/data/big"), reserve.format(6, "/data/small"), "sleep 60"]
    definition = register(
        "storage", sh("app", "; ".join(lines), mountPoints=[mount("scratch")]), volumes=[{"name": "scratch"}],
        ephemeralStorage={"sizeInGiB": 30}, requiresCompatibilities=["FARGATE"],
    )  # fmt: skip
    size = {"ephemeralStorage": {"sizeInGiB": 21}}
    task = runner.start(fargate_cluster, definition, vpc.pria, [vpc.sgnone], overrides=size)[0].wait()
    seen = task.describe()
    assert seen["overrides"]["ephemeralStorage"] == seen["ephemeralStorage"] == {"sizeInGiB": 21}
    log = berth.wait_for_log(task, "/data/small")
    assert "/big has 12" in log and "/data/big refused 12" in log and "/data/small has 6" in log
    folder = berth.data / "node" / "tasks" / task.id
    assert str(folder / "storage") in open("/proc/self/mountinfo").read()
    task.stop()
    task.wait("tasks_stopped")
    eventually(lambda: not folder.exists(), 10)
    assert str(folder) not in open("/proc/self/mountinfo").read()


def test_a_path_of_the_container_instance_is_a_volume_on_ec2(berth, vpc, runner, register, ec2_cluster, tmp_path):
    (tmp_path / "word").write_text("of the host\n")
    definition = register(
        "hostpath",
        sh("app", "cat /data/word; echo answer > /data/answer", mountPoints=[mount("host")]),
        volumes=[{"name": "host", "host": {"sourcePath": str(tmp_path)}}],
    )  # fmt: skip
    task = runner.start(ec2_cluster, definition, vpc.pria, [vpc.sgnone], launch_type="EC2")[0]
    assert task.wait("tasks_stopped").describe()["containers"][0]["exitCode"] == 0
    assert "of the host" in berth.logs(task)
    assert (tmp_path / "answer").read_text() == "answer\n"


def test_a_shared_docker_volume_outlives_the_task(berth, vpc, runner, register, ec2_cluster):
    def task(line, autoprovision):
        configuration = {"scope": "shared", "autoprovision": autoprovision, "driver": "local"}
        definition = register(
            "kept", sh("app", line, mountPoints=[mount("lasting")]),
            volumes=[{"name": "lasting", "dockerVolumeConfiguration": configuration}],
        )  # fmt: skip
        started = runner.start(ec2_cluster, definition, vpc.pria, [vpc.sgnone], launch_type="EC2")[0]
        return started, started.wait("tasks_stopped").describe()

    _, refused = task("true", False)
    assert refused["stopCode"] == "TaskFailedToStart" and "lasting does not exist" in refused["stoppedReason"]
    task("echo kept > /data/word", True)
    second, _ = task("cat /data/word", False)
    assert "kept" in berth.logs(second)


def test_fargate_has_only_empty_volumes(ecs):
    base = {
        "family": "volumes", "networkMode": "awsvpc", "cpu": "256", "memory": "512",
        "requiresCompatibilities": ["FARGATE"], "containerDefinitions": [container("app")],
    }  # fmt: skip
    cases = [
        ({"host": {"sourcePath": "/srv"}}, "Fargate compatible task definitions do not support sourcePath"),
        ({"dockerVolumeConfiguration": {"scope": "task"}},
         "Fargate compatible task definitions do not support dockerVolumeConfiguration"),
    ]  # fmt: skip
    for volume, words in cases:
        assert refusal(ecs.register_task_definition, **base, volumes=[{"name": "v"} | volume]) == (
            "ClientException", words,
        )  # fmt: skip
    storage = ecs.register_task_definition(**base, ephemeralStorage={"sizeInGiB": 30})["taskDefinition"]
    assert storage["ephemeralStorage"] == {"sizeInGiB": 30}
