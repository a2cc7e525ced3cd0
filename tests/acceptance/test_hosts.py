# SPDX-License-Identifier: Apache-2.0
"""`berth up --hosts 3`: simulated hosts, each with its own network namespace, run the same programs as real ones.

They are a separate installation next to the session's. There is no path between hosts yet; until there is one, these tests
assert that packets are dropped with the right reason.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess

import pytest
from conftest import CLUSTER, REGION, REPOSITORY, TIMED_OUT, Berth, Runner, Task, Vpc, container, eventually

HOSTS = [1, 2, 3]
CPU, MEMORY = 4096, 4096


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Hosts(Berth):
    """An installation with simulated hosts."""

    def __init__(self, folder, mirror, name):
        super().__init__(folder, mirror, name)
        self.port = free_port()

    def up(self, hosts=3):
        done = self.berth(
            "up", "--detach", "--hosts", hosts, "--listen", f"127.0.0.1:{self.port}", "--cluster", CLUSTER,
            "--admin-listen", "127.0.0.1:0",
            "--mirror", f"docker.io={self.mirror}", "--cpu", CPU, "--memory", MEMORY, "--enis", 40,
            "--prepared-namespaces", 2,
        )  # fmt: skip
        self.environment |= json.loads(self.berth("env", "--output", "json").stdout)
        return done

    def run_of(self, number):
        return self.run / "hosts" / str(number)

    def container_pids(self, run=None):
        runs = [run] if run else [self.run_of(n) for n in HOSTS if (self.run_of(n) / "containerd").exists()]
        return {name: pid for each in runs for name, pid in super(Hosts, self).container_pids(each).items()}

    def last_log_lines(self):
        text = super().last_log_lines()
        for file in sorted((self.data / "hosts").glob("*/log/*.log")):
            text += f"\n--- {file}\n" + "\n".join(file.read_text(errors="replace").splitlines()[-25:])
        return text

    def here(self, number):
        return next(host for host in self.status()["hosts"] if host["number"] == number)

    def connected(self):
        return {host["host"] for host in self.status().get("server", {}).get("hosts", []) if host["connected"]}

    def arn(self, number):
        name = f"container-instance/{CLUSTER}/{self.here(number)['host']}"
        return f"arn:aws:ecs:{REGION}:123456789012:{name}"

    def host_of(self, task):
        """Number of the host a task is on, by the record."""
        return next(n for n in HOSTS if self.arn(n) == task.describe()["containerInstanceArn"])

    def kill_supervisor(self):
        """The end of `berth up` ends only server and nodes."""
        status = self.status()
        pids = [*status["processes"].values(), *(host["node"] for host in status["hosts"])]
        os.kill(status["processes"]["up"], signal.SIGKILL)
        eventually(lambda: not any(pid and pathlib.Path(f"/proc/{pid}").exists() for pid in pids), 30, "they live on")

    def drops(self, eni):
        return next(row for row in json.loads(self.berth("eni", "stats", eni, "--output", "json").stdout))["drops"]


@pytest.fixture(scope="module")
def hosts(berth, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hosts")
    installation = Hosts(folder, berth.mirror, "hosts")
    try:
        installation.up()
        installation.ecs.create_cluster(clusterName=CLUSTER)
        eventually(lambda: len(instances(installation)) == len(HOSTS), 30, "not all hosts joined")
        yield installation
    finally:
        print(installation.last_log_lines())
        installation.berth("down", "--purge", check=False)
        shutil.rmtree(folder, ignore_errors=True)


def instances(hosts):
    return hosts.ecs.list_container_instances(cluster=CLUSTER)["containerInstanceArns"]


@pytest.fixture(scope="module")
def vpc(hosts):
    return Vpc(hosts.ec2)


@pytest.fixture(scope="module")
def web(hosts):
    """A web server that also writes a log line."""
    return register(hosts)


def register(hosts):
    answer = hosts.ecs.register_task_definition(
        family="web", networkMode="awsvpc", cpu="256", memory="128",
        containerDefinitions=[container("web", command=["whoami", "80"], ports=[80])],
    )  # fmt: skip
    return f"web:{answer['taskDefinition']['revision']}"


@pytest.fixture
def runner(hosts):
    runner = Runner(hosts)
    yield runner
    runner.stop_all()


@pytest.fixture(scope="module")
def one_each(hosts, vpc, web):
    """A task on each host, by number."""
    runner = Runner(hosts)
    yield dict(zip(HOSTS, [on(runner, hosts, vpc, web, number) for number in HOSTS], strict=True))
    runner.stop_all()


def on(runner, hosts, vpc, definition, number):
    """A task on a host: launch type EC2 puts it where its subnet's zone is."""
    subnet = {1: vpc.puba, 2: vpc.pubb, 3: vpc.pubc}[number]
    task = runner.one(CLUSTER, definition, subnet, [vpc.sgall], launch_type="EC2")
    assert hosts.host_of(task) == number
    return task


def test_each_host_is_a_container_instance_with_a_zone_and_capacity_of_its_own(hosts):
    described = hosts.ecs.describe_container_instances(cluster=CLUSTER, containerInstances=instances(hosts))
    described = {instance["containerInstanceArn"]: instance for instance in described["containerInstances"]}
    assert set(described) == {hosts.arn(number) for number in HOSTS}
    for number, zone in zip(HOSTS, "abc", strict=True):
        instance = described[hosts.arn(number)]
        assert instance["agentConnected"] and instance["status"] == "ACTIVE"
        assert instance["ec2InstanceId"] == hosts.here(number)["instance"]
        attributes = {attribute["name"]: attribute.get("value") for attribute in instance["attributes"]}
        assert attributes["ecs.availability-zone"] == REGION + zone
        size = {row["name"]: row["integerValue"] for row in instance["registeredResources"] if "integerValue" in row}
        assert (size["CPU"], size["MEMORY"]) == (CPU, MEMORY)
    assert len({instance["ec2InstanceId"] for instance in described.values()}) == 3


def test_each_host_has_a_namespace_and_processes_of_its_own(hosts):
    own = os.readlink("/proc/self/ns/net")
    seen = [hosts.here(number) for number in HOSTS]
    pids = [row[role] for row in seen for role in ["node", "containerd"]]
    assert len(set(pids)) == 6 and all(pids)
    namespaces = {os.readlink(f"/proc/{row['node']}/ns/net") for row in seen}
    # The node's first thread is inside as well.
    assert len(namespaces) == 3 and own not in namespaces
    table = hosts.berth("status").stdout
    assert all(row["instance"] in table and str(row["node"]) in table for row in seen)
    assert hosts.berth("status", check=False).returncode == 0


def test_tasks_are_spread_over_hosts_and_run_where_the_record_says(hosts, vpc, web, runner):
    tasks = runner.running(
        CLUSTER, web, [vpc.puba, vpc.pubb, vpc.pubc], [vpc.sgall], launch_type="EC2", count=6,
        placementStrategy=[{"type": "spread", "field": "instanceId"}],
    )  # fmt: skip
    on_hosts = [hosts.host_of(task) for task in tasks]
    assert sorted(on_hosts) == [1, 1, 2, 2, 3, 3]
    for task, number in zip(tasks, on_hosts, strict=True):
        runtime_id = task.describe()["containers"][0]["runtimeId"]
        assert runtime_id in hosts.container_pids(hosts.run_of(number))


def test_no_host_takes_two_tasks_that_ask_for_distinct_instances(hosts, vpc, web, runner):
    network = {"subnets": [vpc.puba, vpc.pubb, vpc.pubc], "securityGroups": [vpc.sgall]}
    answer = hosts.ecs.run_task(
        cluster=CLUSTER, taskDefinition=web, launchType="EC2", count=4,
        placementConstraints=[{"type": "distinctInstance"}],
        networkConfiguration={"awsvpcConfiguration": network},
    )  # fmt: skip
    runner.started += [Task(hosts, CLUSTER, task["taskArn"]) for task in answer["tasks"]]
    assert {task["containerInstanceArn"] for task in answer["tasks"]} == {hosts.arn(number) for number in HOSTS}
    # As on AWS, each instance that was tried in vain is a failure.
    assert answer["failures"] and len(answer["tasks"]) == 3


def test_draining_moves_nothing_and_keeps_new_tasks_away(hosts, vpc, web, runner, one_each):
    def state(status):
        hosts.ecs.update_container_instances_state(
            cluster=CLUSTER, containerInstances=[hosts.arn(2)], status=status
        )  # fmt: skip

    before = one_each[2].pid()
    state("DRAINING")
    try:
        tasks = runner.running(CLUSTER, web, [vpc.puba, vpc.pubb, vpc.pubc], [vpc.sgall], launch_type="EC2", count=4)
        assert {hosts.host_of(task) for task in tasks} <= {1, 3}
        assert one_each[2].describe()["lastStatus"] == "RUNNING" and one_each[2].pid() == before
    finally:
        state("ACTIVE")
    on(runner, hosts, vpc, web, 2)


def test_a_killed_node_comes_back_and_finds_its_tasks(hosts, vpc, web, runner, one_each):
    before = hosts.here(2)
    pids = {number: task.pid() for number, task in one_each.items()}
    os.kill(before["node"], signal.SIGKILL)
    eventually(lambda: hosts.here(2)["node"] not in (None, before["node"]), 30, "no new node")
    eventually(lambda: before["host"] in hosts.connected(), 30, "the host is not connected")
    after = hosts.here(2)
    assert (after["host"], after["containerd"]) == (before["host"], before["containerd"])
    assert {number: task.pid() for number, task in one_each.items()} == pids
    # It manages the tasks it found, and accepts new ones.
    again = on(runner, hosts, vpc, web, 2)
    assert again.curl(f"http://{one_each[2].ip}/") == 0


def test_tasks_of_one_host_reach_each_other_and_those_of_two_do_not(hosts, vpc, web, runner, one_each):
    neighbour = on(runner, hosts, vpc, web, 1)
    assert neighbour.curl(f"http://{one_each[1].ip}/") == 0
    assert "other_host" not in hosts.drops(neighbour.eni)
    assert neighbour.curl(f"http://{one_each[2].ip}/", limit_s=1) == TIMED_OUT
    assert hosts.drops(neighbour.eni)["other_host"] > 0
    for sender, receiver in [(1, 2), (3, 1)]:
        done = hosts.berth("explain", one_each[sender].arn, f"{one_each[receiver].eni}:80", "--output", "json", check=False)
        answer = json.loads(done.stdout)
        assert (done.returncode, answer["drop_reason"], answer["differ"]) == (1, "other_host", False)
    assert hosts.berth("explain", neighbour.arn, f"{one_each[1].eni}:80").returncode == 0


def test_a_command_runs_on_the_host_that_is_named(hosts, vpc, one_each):
    def shell(host):
        command = ["curl", "-s", "-o", "/dev/null", "--max-time", "1", f"http://{one_each[3].ip}/"]
        words = ["shell", "--host", host, "--subnet", vpc.puba, "--security-groups", vpc.sgall, "--", *command]
        return hosts.berth(*words, check=False).returncode

    assert shell(3) == 0
    assert shell(hosts.here(3)["host"]) == 0
    assert shell(1) == TIMED_OUT
    done = hosts.berth("shell", "--host", 9, "--", "true", check=False)
    assert done.returncode == 1 and "no host 9 is up" in done.stderr


def test_logs_and_counters_are_found_on_every_host(hosts, one_each):
    for number, task in one_each.items():
        task.ask(f"http://{task.ip}/")
        rows = json.loads(hosts.berth("eni", "stats", task.eni, "--output", "json").stdout)
        assert [row["host"] for row in rows] == [number]
        only = json.loads(hosts.berth("eni", "stats", "--host", number, "--output", "json").stdout)
        assert {row["host"] for row in only} == {number} and task.eni in {row["eni"] for row in only}
        assert hosts.berth("logs", task.arn).returncode == 0


def test_an_image_is_loaded_into_all_hosts_or_one(hosts):
    archive = REPOSITORY / "target/images/busybox.tar"

    def holders(name):
        rows = json.loads(hosts.berth("image", "ls", "--output", "json").stdout)
        return [row["host"] for row in rows if row["name"] == f"docker.io/library/{name}:latest"]

    hosts.berth("image", "load", archive, "--name", "everywhere")
    assert holders("everywhere") == HOSTS
    hosts.berth("image", "load", archive, "--name", "there", "--host", 2)
    assert holders("there") == [2]


def test_the_doctor_warns_that_hosts_do_not_reach_each_other(hosts):
    rows = {row["check"]: row for row in json.loads(hosts.berth("doctor", "--output", "json", check=False).stdout)}
    assert rows["hosts"]["ok"] and rows["hosts"]["warning"]
    assert "3 hosts" in rows["hosts"]["found"] and "cannot reach each other yet" in rows["hosts"]["cure"]
    assert "do not reach each other yet" in " ".join(hosts.berth("up", "--help").stdout.split())


def test_a_second_start_adopts_what_runs_on_every_host(hosts, vpc, web, runner, one_each):
    pids = {number: task.pid() for number, task in one_each.items()}
    before = [hosts.here(number) for number in HOSTS]
    hosts.kill_supervisor()
    hosts.up()
    after = [hosts.here(number) for number in HOSTS]
    assert [row["host"] for row in after] == [row["host"] for row in before]
    assert [row["containerd"] for row in after] == [row["containerd"] for row in before]
    assert {number: task.pid() for number, task in one_each.items()} == pids
    for number, task in one_each.items():
        assert task.describe()["lastStatus"] == "RUNNING"
        assert on(runner, hosts, vpc, web, number).curl(f"http://{task.ip}/") == 0


def left_of(installation):
    """Everything on the machine that carries a name of the installation."""
    names = [str(installation.run), str(installation.data), installation.instance]
    mounts = [line for line in open("/proc/self/mountinfo") if any(name in line for name in names)]
    found = subprocess.run(
        ["find", "/sys/fs/cgroup", "/sys/fs/bpf", "-depth", "-name", f"{installation.instance}*"],
        capture_output=True, text=True,
    )  # fmt: skip
    processes = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (process / "cmdline").read_bytes().decode(errors="replace")
            processes += [line] if any(name in line for name in names[:2]) else []
    folders = [folder for folder in [installation.run, installation.data] if folder.exists()]
    return mounts + found.stdout.splitlines() + processes + folders


def links():
    """Links of this namespace except the pairs on the bridge of the session's Berth, which change."""
    rows = json.loads(subprocess.run(["ip", "-j", "link"], capture_output=True, text=True, check=True).stdout)
    return sorted(row["ifname"] for row in rows if row.get("master") != "ecs-bridge")


def test_down_removes_all_hosts_also_those_of_a_larger_start(berth, tmp_path):
    before = links()
    installation = Hosts(tmp_path, berth.mirror, "fewer")
    try:
        installation.up(3)
        installation.ecs.create_cluster(clusterName=CLUSTER)
        eventually(lambda: len(instances(installation)) == 3, 30, "not all hosts joined")
        vpc, web = Vpc(installation.ec2), register(installation)
        runner = Runner(installation)
        tasks = [on(runner, installation, vpc, web, number) for number in HOSTS]
        pids = [task.pid() for task in tasks]
        installation.kill_supervisor()
        done = installation.up(2)
        assert "host 3 is left" in done.stderr
        # Its task continues without a node.
        assert installation.here(3)["node"] is None and pathlib.Path(f"/proc/{pids[2]}").exists()
        assert left_of(installation)
    finally:
        print(installation.last_log_lines())
        installation.berth("down", "--purge")
    assert left_of(installation) == []
    assert not any(pathlib.Path(f"/proc/{pid}").exists() for pid in pids)
    assert links() == before
