# SPDX-License-Identifier: Apache-2.0
"""`berth up --hosts 3`: simulated hosts, each with its own network namespace, run the same programs as real ones.

They are a separate installation next to the session's, with a pool of public addresses of its own. There is no path for
private addresses between hosts yet; until there is one, these tests assert that packets are dropped with the right reason.
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
import test_world
from conftest import (
    CLUSTER, REGION, REPOSITORY, TIMED_OUT, Berth, Runner, Task, Vpc, container, default_route, eventually, tcp,
)  # fmt: skip

HOSTS = [1, 2, 3]
CPU, MEMORY = 4096, 4096
POOL = "198.18.64.0/20"
MACHINE = "198.18.79.191"  # the machine's own address in the pool


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Hosts(Berth):
    """An installation with simulated hosts."""

    def __init__(self, folder, mirror, name, pool=POOL):
        super().__init__(folder, mirror, name)
        self.port, self.pool = free_port(), pool

    def up(self, hosts=3, *more, check=True):
        done = self.berth(
            "up", "--detach", "--hosts", hosts, "--listen", f"127.0.0.1:{self.port}", "--cluster", CLUSTER,
            "--admin-listen", "127.0.0.1:0", "--public-pool", self.pool,
            "--mirror", f"docker.io={self.mirror}", "--cpu", CPU, "--memory", MEMORY, "--enis", 40,
            "--prepared-namespaces", 2, *more, check=check,
        )  # fmt: skip
        if done.returncode != 0:
            return done
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

    def host_with(self, task):
        """Number of the host a task's container runs on, of any launch type."""
        runtime_id = task.describe()["containers"][0]["runtimeId"]
        return next(n for n in HOSTS if runtime_id in self.container_pids(self.run_of(n)))

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


def register(hosts, memory="128"):
    answer = hosts.ecs.register_task_definition(
        family="web", networkMode="awsvpc", cpu="256", memory=memory,
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


def ask(address, port=80):
    """The answer of a `whoami` to the machine."""
    command = ["curl", "-sS", "--max-time", "3", f"http://{address}:{port}/"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def peer(answer):
    return answer["peer"].rsplit(":", 1)[0]


def machine_route(address):
    rows = subprocess.run(["ip", "-j", "route", "show", address], capture_output=True, text=True, check=True).stdout
    return [row["dev"] for row in json.loads(rows)]


@pytest.fixture(scope="module")
def public(hosts, vpc):
    """A Fargate task with a public address on each host, by the number of its host."""
    runner, definition = Runner(hosts), register(hosts, memory="512")
    subnets = [vpc.puba, vpc.pubb, vpc.pubc]
    tasks = runner.running(CLUSTER, definition, subnets, [vpc.sg80], count=6, public=True)
    yield {hosts.host_with(task): task for task in tasks}
    runner.stop_all()


def test_each_public_address_leads_to_the_host_that_holds_it(hosts, public):
    assert sorted(public) == HOSTS, "tasks are not spread over the hosts"
    for task in public.values():
        answer = ask(task.public_ip)
        assert (peer(answer), answer["local"]) == (MACHINE, f"{task.ip}:80")
    assert len({tuple(machine_route(task.public_ip)) for task in public.values()}) == len(public)


def test_an_address_leads_to_no_host_once_its_task_is_gone(hosts, vpc, runner):
    address = runner.one(CLUSTER, register(hosts, memory="512"), vpc.pubb, [vpc.sg80], public=True).public_ip
    assert machine_route(address)
    runner.stop_all()
    runner.started.clear()
    eventually(lambda: not machine_route(address), why="the address still leads to a host")
    # What is left for it is a host that drops it, never a way out of the machine.
    way = subprocess.run(["ip", "route", "get", address], capture_output=True, text=True, check=True).stdout
    assert " dev world-" in way, way


def test_tasks_of_two_hosts_reach_each_other_at_public_addresses(hosts, public):
    one, other = list(public.values())[:2]
    assert peer(one.ask(f"http://{other.public_ip}/")) == one.public_ip
    assert peer(other.ask(f"http://{one.public_ip}/")) == other.public_ip
    assert one.curl(f"http://{other.ip}/", limit_s=1) == TIMED_OUT


def test_tasks_of_every_host_reach_the_world_by_their_own_addresses(hosts, world, public):
    for task in public.values():
        assert peer(task.ask(f"http://{world}/")) == task.public_ip
    # Addresses that nothing has are no way out of the machine.
    assert list(public.values())[0].curl("http://198.18.70.70/", limit_s=1) == TIMED_OUT


def test_an_uplink_is_that_of_the_machine(hosts, world, public):
    def restart(*options):
        hosts.kill_supervisor()
        hosts.up(len(HOSTS), *options)
        eventually(lambda: len(hosts.connected()) == len(HOSTS), 30, "not all hosts are connected")

    def forwarding():
        return pathlib.Path("/proc/sys/net/ipv4/conf/wire/forwarding").read_text().strip()

    beyond = f"http://{test_world.BEYOND}/"
    with test_world.machine_beyond(REPOSITORY / "target/acceptance-world/whoami"):
        try:
            before = forwarding()
            restart()
            assert all(task.curl(beyond, limit_s=1) == TIMED_OUT for task in public.values())
            restart("--uplink", "wire")
            for task in public.values():
                assert peer(task.ask(beyond)) == "192.0.2.1"
                assert peer(ask(task.public_ip)) == MACHINE
            assert forwarding() == "1"
            restart()
            assert all(task.curl(beyond, limit_s=1) == TIMED_OUT for task in public.values())
            assert forwarding() == before
        finally:
            restart()


def test_what_routes_to_a_nat_gateway_is_on_its_host(hosts, vpc, world, runner, public):
    ec2 = hosts.ec2
    address = ec2.allocate_address(Domain="vpc")
    nat = ec2.create_nat_gateway(SubnetId=vpc.puba, AllocationId=address["AllocationId"])["NatGateway"]["NatGatewayId"]
    waiting = {"Delay": 1, "MaxAttempts": 30}
    ec2.get_waiter("nat_gateway_available").wait(NatGatewayIds=[nat], WaiterConfig=waiting)
    try:
        with (
            default_route(ec2, vpc.pria, vpc.id, NatGatewayId=nat),
            default_route(ec2, vpc.prib, vpc.id, NatGatewayId=nat),
        ):
            definition = register(hosts, memory="512")
            private = runner.running(CLUSTER, definition, [vpc.pria, vpc.prib], [vpc.sg80], count=4)
            # The tasks of the public subnets are on all hosts.
            assert len({hosts.host_with(task) for task in private}) == 1
            for task in private:
                assert peer(task.ask(f"http://{world}/")) == address["PublicIp"]
            # A gateway that is on one host reaches a task on another at its public address.
            home = hosts.host_with(private[0])
            other = next(task for number, task in public.items() if number != home)
            assert peer(private[0].ask(f"http://{other.public_ip}/")) == address["PublicIp"]
            runner.stop_all()
            runner.started.clear()
    finally:
        ec2.delete_nat_gateway(NatGatewayId=nat)
        ec2.get_waiter("nat_gateway_deleted").wait(NatGatewayIds=[nat], WaiterConfig=waiting)
        ec2.release_address(AllocationId=address["AllocationId"])
    eventually(lambda: not machine_route(address["PublicIp"]), why="the address of the gateway still leads to a host")


def test_the_ports_of_a_simulated_host_are_reached_at_its_primary_interface(hosts, vpc, runner, public):
    before = primary_of(hosts, 2)["SubnetId"]
    group = vpc.group("instance", [tcp(8080), tcp(22)])
    hosts.berth("host", "attach", "--host", 2, "--subnet", vpc.pubb, "--security-groups", group)
    try:
        web = container("web", command=["whoami", "80"]) | {"memory": 64}
        hosts.ecs.register_task_definition(
            family="bridged", networkMode="bridge",
            containerDefinitions=[web | {"portMappings": [{"containerPort": 80, "hostPort": 8080}]}],
        )  # fmt: skip
        at = f"attribute:ecs.availability-zone == {REGION}b"
        answer = hosts.ecs.run_task(
            cluster=CLUSTER, taskDefinition="bridged", launchType="EC2",
            placementConstraints=[{"type": "memberOf", "expression": at}],
        )  # fmt: skip
        assert answer["failures"] == []
        task = Task(hosts, CLUSTER, answer["tasks"][0]["taskArn"]).wait().wait_until_listening()
        runner.started.append(task)
        eni = primary_of(hosts, 2)
        client = on(runner, hosts, vpc, register(hosts), 2)
        assert peer(client.ask(f"http://{eni['PrivateIpAddress']}:8080/")) == client.ip
        address = hosts.ec2.allocate_address(Domain="vpc")
        hosts.ec2.associate_address(
            AllocationId=address["AllocationId"], NetworkInterfaceId=eni["NetworkInterfaceId"]
        )  # fmt: skip
        eventually(lambda: machine_route(address["PublicIp"]), why="the address leads nowhere")
        assert peer(ask(address["PublicIp"], 8080)) == MACHINE
        [associated] = hosts.ec2.describe_addresses(AllocationIds=[address["AllocationId"]])["Addresses"]
        hosts.ec2.disassociate_address(AssociationId=associated["AssociationId"])
        hosts.ec2.release_address(AllocationId=address["AllocationId"])
        # Without the bridge the host forwards for its way to the world as before.
        runner.stop_all()
        runner.started.clear()
        inside = ["nsenter", f"--net={hosts.run_of(2)}/network", "ip", "link"]
        links = subprocess.run(inside, capture_output=True, text=True, check=True).stdout
        assert "outside" in links and "alias berth " not in links, links
        assert peer(ask(public[2].public_ip)) == MACHINE
        assert peer(public[2].ask(f"http://{public[1].public_ip}/")) == public[2].public_ip
    finally:
        hosts.berth("host", "attach", "--host", 2, "--subnet", before)


def primary_of(hosts, number):
    """The primary interface of a host that is not being removed."""
    instance = hosts.here(number)["instance"]
    filters = [
        {"Name": "attachment.device-index", "Values": ["0"]}, {"Name": "attachment.instance-id", "Values": [instance]}
    ]  # fmt: skip
    answer = hosts.ec2.describe_network_interfaces(Filters=filters)
    [eni] = [each for each in answer["NetworkInterfaces"] if each["Attachment"]["Status"] == "attached"]
    return eni


def test_the_doctor_finds_the_pool_of_all_hosts_free(hosts):
    rows = {row["check"]: row for row in json.loads(hosts.berth("doctor", "--output", "json", check=False).stdout)}
    assert rows["public pool"]["ok"] and rows["public pool"]["found"] == f"{POOL} is free"
    assert rows["outside of hosts"]["found"] == "3 hosts are connected with this machine"


def test_a_lost_pair_is_named_and_made_again_by_the_next_node(hosts, public):
    [device] = machine_route(public[2].public_ip)
    subprocess.run(["ip", "link", "delete", device], check=True)
    row = next(
        row for row in json.loads(hosts.berth("doctor", "--output", "json", check=False).stdout)
        if row["check"] == "outside of hosts"
    )  # fmt: skip
    assert not row["ok"] and row["found"] == "no pair of devices leads to host 2"
    os.kill(hosts.here(2)["node"], signal.SIGKILL)
    eventually(lambda: machine_route(public[2].public_ip), why="the machine does not lead to host 2 again")
    assert peer(ask(public[2].public_ip)) == MACHINE


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


def test_a_second_start_adopts_what_runs_on_every_host(hosts, vpc, web, runner, one_each, public):
    pids = {number: task.pid() for number, task in one_each.items()}
    before = [hosts.here(number) for number in HOSTS]
    addresses = {number: task.public_ip for number, task in public.items()}
    from_one = public[1].net_command("curl", "-sS", "--max-time", "3", f"http://{addresses[2]}/")
    hosts.kill_supervisor()
    # Packets need no process of Berth, also between hosts.
    done = subprocess.run(from_one, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and peer(json.loads(done.stdout)) == addresses[1], done
    assert peer(ask(addresses[3])) == MACHINE
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
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout.splitlines()
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout.splitlines()
    network = [line for line in tables if installation.instance in line]
    # One without a pool of its own shares the default one's name with the session's Berth.
    pool = getattr(installation, "pool", "no pool of its own")
    network += [line for line in routes if line.startswith(pool.split("/")[0])]
    return mounts + found.stdout.splitlines() + processes + folders + network


def links():
    """Links of this namespace except the pairs on the bridge of the session's Berth, which change."""
    rows = json.loads(subprocess.run(["ip", "-j", "link"], capture_output=True, text=True, check=True).stdout)
    return sorted(row["ifname"] for row in rows if row.get("master") != "ecs-bridge")


def test_down_removes_all_hosts_also_those_of_a_larger_start(berth, tmp_path):
    before = links()
    installation = Hosts(tmp_path, berth.mirror, "fewer", pool="198.18.128.0/20")
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
        # The pool of another start is in the way.
        other = Hosts(tmp_path / "other", berth.mirror, "other", pool="198.18.128.0/24")
        refused = other.up(2, check=False)
        assert refused.returncode == 1 and "overlaps the route 198.18.128.0/20 dev world-" in refused.stderr
        other.berth("down", "--purge")
    finally:
        print(installation.last_log_lines())
        installation.berth("down", "--purge")
    assert left_of(installation) == []
    assert not any(pathlib.Path(f"/proc/{pid}").exists() for pid in pids)
    assert links() == before
