# SPDX-License-Identifier: Apache-2.0
"""Network modes bridge, host and none on container instances: ports of the instance instead of an interface."""

import json
import os
import pathlib
import subprocess

import pytest
from conftest import REFUSED, TIMED_OUT, Task, container, eventually, listening_ports, refusal
from packets import peer_in

# The instance, and another machine on a wire to it.
INSTANCE, NEIGHBOUR = "10.77.0.1", "10.77.0.2"


@pytest.fixture(scope="module")
def wire(berth):
    """A network namespace next to the one used as the instance, and an address of the instance on the link to it."""
    name = f"berth-neighbour-{os.getpid()}"

    def ip(*words):
        subprocess.run(["ip", *words], check=True)

    ip("netns", "add", name)
    try:
        ip("link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", name)
        ip("addr", "add", f"{INSTANCE}/24", "dev", "wire")
        ip("link", "set", "wire", "up")
        ip("-n", name, "addr", "add", f"{NEIGHBOUR}/24", "dev", "wire")
        ip("-n", name, "link", "set", "wire", "up")
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "route", "add", "default", "via", INSTANCE)
        yield name
    finally:
        subprocess.run(["ip", "link", "del", "wire"], check=False)
        subprocess.run(["ip", "netns", "del", name], check=False)


def curl(url, inside=None, limit_s=3):
    """Exit code and JSON answer of a request by the instance, or by the neighbour."""
    enter = ["ip", "netns", "exec", inside] if inside else []
    done = subprocess.run([*enter, "curl", "-sS", "--max-time", str(limit_s), url], capture_output=True, text=True)
    return done.returncode, json.loads(done.stdout) if done.returncode == 0 else None


@pytest.fixture(scope="module")
def run(berth, ecs, ec2_cluster):
    """Runs definitions without a network configuration and without a launch type; stops the remaining tasks."""
    started = []

    def run(definition, count=1, **more):
        answer = ecs.run_task(cluster=ec2_cluster, taskDefinition=definition, count=count, **more)
        tasks = [Task(berth, ec2_cluster, task["taskArn"]) for task in answer["tasks"]]
        started.extend(tasks)
        return tasks, answer["failures"]

    yield run
    for task in started:
        task.stop()
    for task in started:
        task.wait("tasks_stopped")


def define(ecs, family, *containers, mode=None, **more):
    settings = more | ({"networkMode": mode} if mode else {})
    containers = [{"memory": 64} | one for one in containers]
    answer = ecs.register_task_definition(family=family, containerDefinitions=containers, **settings)
    return answer["taskDefinition"]


def web(name="web", *mappings, command=("whoami", "80")):
    return container(name, command=list(command)) | {"portMappings": list(mappings)}


def host_ports(task, name="web"):
    found = [one for one in task.describe()["containers"] if one["name"] == name]
    return [binding["hostPort"] for binding in found[0]["networkBindings"]]


def end(task):
    task.stop()
    task.wait("tasks_stopped")


def links(*words):
    """Names of links; `/sys/class/net` shows those of another namespace here."""
    shown = subprocess.run(["ip", "-j", "link", "show", *words], capture_output=True, text=True, check=True).stdout
    return [link["ifname"] for link in json.loads(shown or "[]")]


def bridges():
    return [name for name in links("type", "bridge") if name.startswith("berth")]


def tables():
    return subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def dynamic(ecs, run):
    """Two tasks of one definition without network mode, on ports chosen by the instance."""
    define(ecs, "bridge-dynamic", web("web", {"containerPort": 80}))
    tasks, failures = run("bridge-dynamic", count=2)
    assert failures == []
    for task in tasks:
        task.wait().wait_until_listening()
    return tasks


def test_the_default_launch_type_is_ec2(ecs, dynamic, fargate_cluster):
    assert {task.describe()["launchType"] for task in dynamic} == {"EC2"}
    code, message = refusal(ecs.run_task, cluster=fargate_cluster, taskDefinition="bridge-dynamic")
    assert (code, message) == ("InvalidParameterException", "No Container Instances were found in your cluster.")


def test_the_default_network_mode_is_bridge(ecs, dynamic):
    definition = ecs.describe_task_definition(taskDefinition="bridge-dynamic")["taskDefinition"]
    assert definition.get("networkMode", "bridge") == "bridge"
    task = dynamic[0]
    described = task.describe()
    assert described["attachments"] == []
    (shown,) = described["containers"]
    assert shown["networkInterfaces"] == []
    (binding,) = shown["networkBindings"]
    assert (binding["bindIP"], binding["containerPort"], binding["protocol"]) == ("0.0.0.0", 80, "tcp")
    (bridge,) = bridges()
    inner = json.loads(task.net("ip", "-j", "addr", "show", "eth0").stdout)[0]
    assert len(links("master", bridge)) == len(dynamic)
    assert inner["addr_info"][0]["prefixlen"] == 16


def test_tasks_on_the_bridge_share_the_address_of_the_instance(ec2, dynamic, wire):
    ports = [host_ports(task)[0] for task in dynamic]
    assert len(set(ports)) == 2
    answers = [curl(f"http://{INSTANCE}:{port}/", wire) for port in ports]
    assert [code for code, _ in answers] == [0, 0]
    assert len({answer["local"] for _, answer in answers}) == 2, "one of the tasks answered for both"
    owners = [interface["Description"] for interface in ec2.describe_network_interfaces()["NetworkInterfaces"]]
    assert not any(task.id in description for task in dynamic for description in owners)


def test_a_containers_address_is_not_reached_from_elsewhere(dynamic, wire):
    task = dynamic[0]
    address = json.loads(task.net("ip", "-j", "-4", "addr", "show", "eth0").stdout)[0]["addr_info"][0]["local"]
    assert curl(f"http://{address}:80/", wire)[0] == TIMED_OUT
    assert curl(f"http://{address}:80/")[0] == 0, "the instance itself reaches it"
    assert curl(f"http://{INSTANCE}:{host_ports(task)[0]}/", wire)[0] == 0
    assert curl(f"http://127.0.0.1:{host_ports(task)[0]}/")[0] == 0


def test_ports_are_mapped_as_asked_or_as_there_is_room(ecs, run, wire):
    mappings = [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 80, "hostPort": 0}]
    define(ecs, "bridge-static", web("web", *mappings))
    (task,), failures = run("bridge-static")
    assert failures == []
    task.wait().wait_until_listening()
    static, dynamic = host_ports(task)
    first, last = map(int, pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert static == 8080 and first <= dynamic <= last
    assert curl(f"http://{INSTANCE}:8080/", wire)[0] == 0
    end(task)
    assert curl(f"http://{INSTANCE}:8080/", wire)[0] in (REFUSED, TIMED_OUT)


def test_a_static_port_is_given_once_on_an_instance(ecs, berth, run, ec2_cluster):
    """The counterpart in awsvpc is in test_network_mode."""
    define(ecs, "bridge-once", web("web", {"containerPort": 80, "hostPort": 8081}))
    (task,), failures = run("bridge-once")
    task.wait()
    none, (failure,) = run("bridge-once")
    assert (none, failure["reason"]) == ([], "RESOURCE:PORTS")
    assert failure["arn"] == task.describe()["containerInstanceArn"]

    def taken():
        (instance,) = ecs.describe_container_instances(
            cluster=ec2_cluster, containerInstances=[failure["arn"]]
        )["containerInstances"]
        return {one["name"]: one.get("stringSetValue") for one in instance["remainingResources"]}["PORTS"]

    assert {"22", "2375", "2376", "51678", "51679", "8081"} <= set(taken())
    end(task)
    assert "8081" not in taken()
    (task,), failures = run("bridge-once")
    task.wait()
    end(task)


def test_a_reserved_port_is_nobodys(ecs, run):
    define(ecs, "bridge-ssh", web("web", {"containerPort": 22, "hostPort": 22}))
    none, (failure,) = run("bridge-ssh")
    assert (none, failure["reason"]) == ([], "RESOURCE:PORTS")


def test_the_instances_ports_are_apart_from_its_tasks_ports(berth, vpc, ec2_cluster, shared, td_ports, wire):
    """Listeners on the instance and listeners in a task are independent."""
    closed = shared.one(ec2_cluster, td_ports, vpc.pria, [vpc.sg80], launch_type="EC2")
    seat = vpc.group("bridge-seat", [])
    server = subprocess.Popen(
        ["python3", "-m", "http.server", "--bind", INSTANCE, "22"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        eventually(lambda: 22 in listening_ports("self"), 10, "nobody listens on port 22 of the instance")
        done = subprocess.run(
            ["ip", "netns", "exec", wire, "curl", "-s", "-o", "/dev/null", "--max-time", "3", f"http://{INSTANCE}:22/"]
        )
        assert done.returncode == 0, "port 22 of the instance"
    finally:
        server.terminate()
        server.wait()
    ask = ["curl", "-s", "-o", "/dev/null", "--max-time", "3"]
    assert berth.seat(vpc.puba, [seat], *ask, f"http://{closed.ip}:22/").returncode == TIMED_OUT
    assert berth.seat(vpc.puba, [seat], *ask, f"http://{closed.ip}:80/").returncode == 0
    # HTTP reaches the task and not the instance, which has no server.
    assert curl(f"http://{INSTANCE}:80/", wire)[0] in (REFUSED, TIMED_OUT)


def test_an_instance_is_needed_in_one_of_the_subnets(ecs, vpc, ec2_cluster, td_web):
    """The instance is in the first zone, the subnet in the second."""
    network = {"awsvpcConfiguration": {"subnets": [vpc.prib], "securityGroups": [vpc.sg80]}}
    answer = ecs.run_task(cluster=ec2_cluster, taskDefinition=td_web, launchType="EC2", networkConfiguration=network)
    assert answer["tasks"] == []
    assert {failure["reason"] for failure in answer["failures"]} == {"LOCATION"}


def test_a_network_configuration_is_for_awsvpc_only(ecs, vpc, ec2_cluster, dynamic):
    network = {"awsvpcConfiguration": {"subnets": [vpc.pria]}}
    code, message = refusal(
        ecs.run_task, cluster=ec2_cluster, taskDefinition="bridge-dynamic", networkConfiguration=network
    )
    assert code == "InvalidParameterException"
    assert message == "Network Configuration is not valid for the given networkMode of this task definition."


def test_the_other_modes_have_no_pause_container(ecs, berth, run, dynamic):
    define(ecs, "mode-host", web("web", {"containerPort": 8082}, command=("whoami", "8082")), mode="host")
    define(ecs, "mode-none", container("idle", command=["whoami", "idle"]), mode="none")
    (host,), _ = run("mode-host")
    (none,), _ = run("mode-none")
    for task in [host, none]:
        task.wait()
    eventually(lambda: 8082 in listening_ports("self"), 20, "the container does not listen on the instance")
    assert host_ports(host) == [8082]
    assert os.readlink(f"/proc/{host.pid()}/ns/net") == os.readlink("/proc/self/ns/net")
    assert [link["ifname"] for link in json.loads(none.net("ip", "-j", "link").stdout)] == ["lo"]
    own = {one["runtimeId"] for task in [host, none, dynamic[0]] for one in task.describe()["containers"]}
    spaces = {os.readlink(f"/proc/{task.pid()}/ns/net") for task in [none, dynamic[0]]}
    inside = {
        name for name, pid in berth.container_pids().items() if os.readlink(f"/proc/{pid}/ns/net") in spaces
    }
    assert inside == own - {one["runtimeId"] for one in host.describe()["containers"]}
    for task in [host, none]:
        end(task)


@pytest.mark.parametrize("mode", ["bridge", "host", "none"])
def test_containers_share_processes_and_memory_in_every_mode(ecs, run, mode):
    app = container("app", "busybox", ["sh", "-c", "echo hello > /dev/shm/word; exec sleep 600"], stopTimeout=2)
    look = "until grep -q sleep.600 /proc/[0-9]*/cmdline && grep -q hello /dev/shm/word; do sleep 0.1; done"
    other = container("other", "busybox", ["sh", "-c", look])
    definition = define(ecs, f"shares-{mode}", app, other, mode=mode, pidMode="task", ipcMode="task")
    assert (definition["pidMode"], definition["ipcMode"]) == ("task", "task")
    (task,), failures = run(definition["taskDefinitionArn"])
    assert not failures
    states = {one["name"]: one for one in task.wait("tasks_stopped").describe()["containers"]}
    assert states["other"]["exitCode"] == 0


def test_linked_containers_know_each_other_by_name(ecs, run):
    look = "until wget -q -O - http://front:80/ >/dev/null; do sleep 0.1; done; echo linked; exec sleep 600"
    define(
        ecs, "bridge-links", web("web"),
        container("side", "busybox", ["sh", "-c", look], links=["web:front"], stopTimeout=2),
    )  # fmt: skip
    (task,), failures = run("bridge-links")
    assert failures == []
    task.wait()
    task.berth.wait_for_log(task, "linked")
    assert os.readlink(f"/proc/{task.pid('web')}/ns/net") != os.readlink(f"/proc/{task.pid('side')}/ns/net")
    end(task)


def test_a_linked_container_starts_first(ecs, run):
    """`db` waits for `slow`, so `app`, which is linked to `db`, waits too."""
    define(
        ecs, "bridge-order",
        container("slow", "busybox", ["sleep", "2"], essential=False),
        web("db") | {"dependsOn": [{"containerName": "slow", "condition": "COMPLETE"}]},
        container("app", "busybox", ["sleep", "600"], links=["db"], stopTimeout=2),
    )  # fmt: skip
    (task,), failures = run("bridge-order")
    assert failures == []
    task.wait()

    variables = task.tx("app", "cat", "/proc/1/environ").stdout.split("\0")
    (uri,) = [value.split("=", 1)[1] for value in variables if value.startswith("ECS_CONTAINER_METADATA_URI_V4=")]
    told = json.loads(task.tx("app", "wget", "-q", "-O", "-", f"{uri}/task").stdout)
    started = {one["Name"]: one["StartedAt"] for one in told["Containers"]}
    assert started["slow"] < started["db"] < started["app"]
    end(task)


NAMES = {
    "hostname": "front.example",
    "extraHosts": [{"hostname": "old-db", "ipAddress": "10.99.0.9"}],
    "dnsServers": ["10.99.0.2", "10.99.0.3"],
    "dnsSearchDomains": ["example.com", "example.net"],
}


@pytest.mark.parametrize("mode", ["bridge", "host", "none"])
def test_a_container_has_the_names_its_definition_gives(ecs, run, mode):
    look = "echo name $(hostname) $HOSTNAME; cat /etc/hosts /etc/hostname /etc/resolv.conf; echo end; exec sleep 600"
    family = f"names-{mode}"
    definition = define(ecs, family, container("app", "busybox", ["sh", "-c", look], stopTimeout=2, **NAMES), mode=mode)
    assert {name: definition["containerDefinitions"][0][name] for name in NAMES} == NAMES
    (task,), failures = run(family)
    assert failures == []
    task.wait()
    lines = [line.split() for line in task.berth.wait_for_log(task, "end").splitlines()]
    seen = [" ".join(line) for line in lines]

    def has(text):
        return any(line.endswith(text) for line in seen)

    assert has("name front.example front.example")
    assert has("10.99.0.9 old-db")
    servers = [line[-1] for line in lines if "nameserver" in line]
    assert servers == NAMES["dnsServers"]
    assert has("search example.com example.net")
    assert os.readlink(f"/proc/{task.pid()}/ns/uts") != os.readlink("/proc/self/ns/uts")
    end(task)


@pytest.mark.parametrize("mode", ["bridge", "host"])
def test_a_container_without_networking_has_loopback_only(ecs, run, mode):
    family = f"offline-{mode}"
    define(
        ecs, family, web("web", {"containerPort": 8083, "hostPort": 8083}, command=("whoami", "8083")),
        container("cut-off", command=["whoami", "8083"], disableNetworking=True), mode=mode,
    )  # fmt: skip
    (task,), failures = run(family)
    assert failures == []
    task.wait()
    inside = ["nsenter", "-t", str(task.pid("cut-off")), "-n"]
    shown = subprocess.run([*inside, "ip", "-j", "link"], capture_output=True, text=True, check=True).stdout
    assert [(link["ifname"], "UP" in link["flags"]) for link in json.loads(shown)] == [("lo", True)]
    assert host_ports(task, "cut-off") == [] and host_ports(task) == [8083]
    end(task)


@pytest.mark.parametrize(
    "member, words",
    [
        ({"hostname": "h"}, "hostname is not supported on container when networkMode=awsvpc"),
        ({"extraHosts": NAMES["extraHosts"]}, "Extra hosts are not supported on container when networkMode=awsvpc"),
        ({"dnsServers": ["10.0.0.2"]}, "DNS servers are not supported on container when networkMode=awsvpc"),
        ({"dnsSearchDomains": ["a"]}, "DNS search domains are not supported on container when networkMode=awsvpc"),
        ({"disableNetworking": True}, "Disable Networking is not supported on container when networkMode=awsvpc"),
        ({"links": ["other"]}, "Links are not supported when networkMode=awsvpc."),
    ],
)
def test_names_of_a_container_are_refused_in_awsvpc(ecs, member, words):
    settings = {"family": "names-awsvpc", "networkMode": "awsvpc", "containerDefinitions": [container("app") | member]}
    assert refusal(ecs.register_task_definition, **settings, memory="512") == ("ClientException", words)


def test_a_task_with_an_interface_is_as_fast_as_one_on_the_bridge(ecs, vpc, run, shared, ec2_cluster, td_idle, wire):
    """From task to task, the bridge through a published port; as many rounds as noise may need."""
    define(ecs, "bridge-fast", container("idle", command=["whoami", "idle"], ports=[5001]))
    bridged, failures = run("bridge-fast", count=2)
    assert failures == []
    plugged = shared.running(ec2_cluster, td_idle, vpc.pria, [vpc.sgall], launch_type="EC2", count=2)
    for task in bridged:
        task.wait()
    port = host_ports(bridged[0], "idle")[0]
    with peer_in(bridged[0]) as sink, peer_in(bridged[1]) as source:
        with peer_in(plugged[0]) as other_sink, peer_in(plugged[1]) as other_source:
            for peer in [sink, other_sink]:
                peer.must("sink", 5001)

            def speed(peer, host, port):
                peer.must("connect", host, port)
                return float(peer.must("blast", 0.5))

            best = [0.0, 0.0]
            for _ in range(40):
                best[0] = max(best[0], speed(other_source, plugged[0].ip, 5001))
                best[1] = max(best[1], speed(source, INSTANCE, port))
                if best[0] >= best[1]:
                    break
    assert best[0] >= best[1], "an interface is slower than the bridge in every round"
    everything = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    assert f"{port}" in everything and plugged[0].ip not in everything, "an interface needs no translation"
    assert plugged[0].net("nft", "list", "ruleset").stdout == ""
    for task in bridged:
        end(task)


def test_a_range_of_ports_is_mapped_to_a_range(ecs, run, wire):
    define(ecs, "bridge-range", web("web", {"containerPortRange": "80-82"}, command=("whoami", "80", "82")))
    (task,), failures = run("bridge-range")
    assert failures == []
    task.wait()
    (binding,) = task.describe()["containers"][0]["networkBindings"]
    assert binding["containerPortRange"] == "80-82"
    first, last = map(int, binding["hostPortRange"].split("-"))
    assert last == first + 2
    for port in [first, last]:
        eventually(lambda: curl(f"http://{INSTANCE}:{port}/", wire)[0] == 0, 20, f"no answer on {port}")  # noqa: B023
    end(task)


def test_nothing_is_left_when_the_last_task_has_stopped(dynamic, wire):
    assert bridges()
    for task in dynamic:
        end(task)
    assert bridges() == []
    assert [name for name in tables().split() if name.startswith("berth-") and not name.endswith("-world")] == []
    assert pathlib.Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "0"
    assert not [name for name in links() if name.startswith("vb")]
