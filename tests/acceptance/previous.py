# SPDX-License-Identifier: Apache-2.0
"""A small set of records and tasks made by an earlier program, and that program's answers about it.

`soak_upgrade.py` makes it with a program built from an earlier commit and has its running tasks taken over;
`test_upgrade.py` takes over files that an earlier program left (`previous/COMMIT.tar.gz`), as after a crash of the
machine. `python3 tests/acceptance/previous.py TARGET OUT` makes such files.
"""

import contextlib
import ctypes
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile

from conftest import CLUSTER, REPOSITORY, Berth, Task, Vpc, container, eventually

# The commits whose programs left the files that are taken over, oldest first; new files and running tasks are made by
# the last one.
COMMITS = ["9b9b31e", "9812466"]
COMMIT = COMMITS[-1]
# Files of the data folder that hold state; images and logs are left out.
STATE = ["state.redb", "credentials", "node"]
INSTANCE = "previous"
LISTEN = "127.0.0.1:4577"

# Definitions by family: how they are registered beyond their containers.
AWSVPC = {"networkMode": "awsvpc", "cpu": "256", "memory": "512"}
DEFINITIONS = {
    "web": (AWSVPC, [container("web", command=["whoami", "--echo", "7000", "80"], ports=[80])]),
    "shared": (
        AWSVPC | {"pidMode": "task"},
        [container("app", command=["whoami", "80"], ports=[80]), container("side", command=["whoami", "idle"])],
    ),
    "stored": (
        AWSVPC | {"requiresCompatibilities": ["FARGATE"], "ephemeralStorage": {"sizeInGiB": 21}, "volumes": [{"name": "scratch"}]},
        [
            container(
                "app", command=["whoami", "80"], mountPoints=[{"sourceVolume": "scratch", "containerPath": "/scratch"}],
            )
        ],
    ),
    "bridged": (
        {"networkMode": "bridge"},
        [container("web", command=["whoami", "80"], ports=[80], memory=64, essential=True)],
    ),
    "hosted": (
        {"networkMode": "host"},
        [container("web", command=["whoami", "8099"], memory=64, essential=True)],
    ),
}  # fmt: skip
# Tasks by name: the family they run and the launch type.
TASKS = {
    "fargate": ("web", "FARGATE"),
    "ec2": ("web", "EC2"),
    "shared": ("shared", "FARGATE"),
    "stored": ("stored", "FARGATE"),
    "bridged": ("bridged", "EC2"),
    "hosted": ("hosted", "EC2"),
}
# Answers that change with tasks and hosts.
COUNTS = ["registeredContainerInstancesCount", "runningTasksCount", "pendingTasksCount", "statistics"]


class Previous(Berth):
    """An installation at fixed places, whose programs are chosen at each start."""

    def __init__(self, data, mirror, programs):
        super().__init__(data.parent, mirror, INSTANCE)
        self.data, self.run, self.instance = data, pathlib.Path(f"/run/berth-{INSTANCE}"), INSTANCE
        self.environment |= {
            "BERTH_DATA": str(self.data), "BERTH_RUN": str(self.run), "BERTH_INSTANCE": self.instance,
        }  # fmt: skip
        self.use(programs)

    def use(self, programs):
        """The next start is one of the programs of this folder."""
        self.environment["PATH"] = f"{programs}:{os.environ['PATH']}"

    def up(self, *more):
        self.berth(
            "up", "--detach", "--listen", LISTEN, "--cluster", CLUSTER, "--mirror", f"docker.io={self.mirror}",
            "--cpu", 16384, "--memory", 65536, "--enis", 40, "--prepared-namespaces", 1, *more,
        )  # fmt: skip
        self.environment |= json.loads(self.berth("env", "--output", "json").stdout)
        for client in ["ecs", "ec2"]:
            self.__dict__.pop(client, None)
        self.wait_until_host_is_connected()

    def end_processes(self):
        """Ends supervisor, server and node; tasks continue."""
        processes = self.status()["processes"]
        os.kill(processes["up"], signal.SIGKILL)
        gone = lambda: not any(pid and pathlib.Path(f"/proc/{pid}").exists() for pid in processes.values())
        eventually(gone, 30, "processes live on")


class World:
    """The objects made with the earlier program, looked up by name."""

    def __init__(self, berth):
        self.berth, self.ecs, self.ec2 = berth, berth.ecs, berth.ec2

    def furnish(self):
        """Makes clusters, networks, definitions and running tasks of every network mode."""
        self.ecs.create_cluster(clusterName=CLUSTER, tags=[{"key": "made-by", "value": COMMIT}])
        self.ecs.create_cluster(clusterName="fargate", capacityProviders=["FARGATE"])
        eventually(lambda: self.ecs.list_container_instances(cluster=CLUSTER)["containerInstanceArns"], 30)
        vpc = Vpc(self.ec2, "10.77.0.0/16")
        self.ec2.create_tags(Resources=[vpc.id], Tags=[{"Key": "Name", "Value": COMMIT}])
        for family, (settings, containers) in DEFINITIONS.items():
            self.ecs.register_task_definition(family=family, containerDefinitions=containers, **settings)
        tasks = {name: self.start(vpc, name, *kind) for name, kind in TASKS.items()}
        for task in tasks.values():
            task.wait().wait_until_listening()
        ended = self.start(vpc, "ended", "web", "FARGATE").wait()
        ended.stop()
        ended.wait("tasks_stopped")
        return vpc, tasks

    def start(self, vpc, name, family, launch_type):
        settings = DEFINITIONS[family][0]
        network = {}
        if settings["networkMode"] == "awsvpc":
            configuration = {"subnets": [vpc.pria], "securityGroups": [vpc.sgall]}
            network = {"networkConfiguration": {"awsvpcConfiguration": configuration}}
        answer = self.ecs.run_task(
            cluster=CLUSTER, taskDefinition=family, launchType=launch_type, startedBy=name, clientToken=name, **network
        )
        assert answer["failures"] == [], answer["failures"]
        return Task(self.berth, CLUSTER, answer["tasks"][0]["taskArn"])

    def answers(self):
        """The API's answers about everything that does not change by itself."""
        families = sorted(DEFINITIONS)
        return {
            "clusters": self.ecs.describe_clusters(clusters=[CLUSTER, "fargate"], include=["TAGS", "SETTINGS"])["clusters"],
            "definitions": [self.ecs.describe_task_definition(taskDefinition=f)["taskDefinition"] for f in families],
            "vpcs": self.ec2.describe_vpcs()["Vpcs"],
            "subnets": self.ec2.describe_subnets()["Subnets"],
            "groups": self.ec2.describe_security_groups()["SecurityGroups"],
            "rules": self.ec2.describe_security_group_rules()["SecurityGroupRules"],
            "tables": self.ec2.describe_route_tables()["RouteTables"],
            "gateways": self.ec2.describe_internet_gateways()["InternetGateways"],
        }

    def tasks(self):
        arns = self.ecs.list_tasks(cluster=CLUSTER)["taskArns"]
        return self.ecs.describe_tasks(cluster=CLUSTER, tasks=arns)["tasks"]


def plain(value):
    """An answer as JSON keeps it."""
    return json.loads(json.dumps(value, default=str, sort_keys=True))


def steady(answers):
    """Answers without the parts that change when tasks end, and interfaces take and release addresses."""
    clusters = [{k: v for k, v in cluster.items() if k not in COUNTS} for cluster in answers["clusters"]]
    subnets = [{k: v for k, v in subnet.items() if k != "AvailableIpAddressCount"} for subnet in answers["subnets"]]
    return answers | {"clusters": clusters, "subnets": subnets}


@contextlib.contextmanager
def own_network():
    """The calling thread, and what it starts, in a network namespace of its own: one host holds one installation."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(0x40000000) != 0:  # CLONE_NEWNET
            raise OSError(ctypes.get_errno(), "unshare")
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield
    finally:
        libc.setns(home, 0)
        os.close(home)


@contextlib.contextmanager
def installation(programs):
    """A `Previous` with an empty data folder and a registry, removed at the end."""
    registry = REPOSITORY / "target" / "previous-registry"
    mirror = subprocess.run(
        ["scripts/mirror", "up", registry], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.strip()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="berth-previous-"))
    berth = Previous(folder / "data", mirror, programs)
    berth.data.mkdir(mode=0o700)
    try:
        yield berth
    finally:
        print(berth.last_log_lines())
        berth.berth("down", "--purge", check=False)
        subprocess.run(["scripts/mirror", "down", registry], cwd=REPOSITORY, check=True)
        shutil.rmtree(folder, ignore_errors=True)


def make(programs, out):
    """Files of an earlier program with running tasks, as a crash of the machine leaves them."""
    with installation(programs) as berth:
        berth.up()
        world = World(berth)
        world.furnish()
        (berth.data / "answers.json").write_text(json.dumps(plain(world.answers() | {"tasks": world.tasks()}), indent=1))
        berth.end_processes()
        with tarfile.open(out, "w:gz") as archive:
            for name in [*STATE, "answers.json"]:
                archive.add(berth.data / name, name, filter=only_state)


def only_state(member):
    """Omits files, logs and storages of tasks, and space reserves."""
    folders = ("node/logs/", "node/tasks/", "node/volumes/", "node/storages/")
    left_out = member.name.startswith(folders) or member.name.endswith(".reserve")
    return None if left_out or not (member.isfile() or member.isdir()) else member


if __name__ == "__main__":
    make(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve())
