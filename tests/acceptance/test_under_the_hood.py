# SPDX-License-Identifier: Apache-2.0
"""The claims of the post "Under the Hood": namespaces, plugins, pause container, bridge and metadata."""

import contextlib
import ipaddress
import json
import os
import re
import signal
import subprocess

import pytest
from conftest import container, eventually

LAUNCH_TYPES = ["FARGATE", "EC2"]


@pytest.fixture(scope="module")
def tasks(shared, vpc, ec2_cluster, td_pair):
    """One two-container task of each launch type, in one cluster."""
    started = {}
    for kind in LAUNCH_TYPES:
        started[kind] = shared.start(ec2_cluster, td_pair, vpc.pria, [vpc.sgall], launch_type=kind)[0]
    return {kind: task.wait() for kind, task in started.items()}


@pytest.fixture(params=LAUNCH_TYPES)
def task(request, tasks):
    return tasks[request.param]


def host(*command):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout


def test_the_host_is_an_instance_of_the_cluster(ecs, ec2_cluster):
    (arn,) = ecs.list_container_instances(cluster=ec2_cluster)["containerInstanceArns"]
    (instance,) = ecs.describe_container_instances(cluster=ec2_cluster, containerInstances=[arn])["containerInstances"]
    assert (instance["status"], instance["agentConnected"]) == ("ACTIVE", True)
    names = {attribute["name"] for attribute in instance["attributes"]}
    assert {"ecs.capability.task-eni", "ecs.capability.cni-plugin-version"} <= names


def test_both_launch_types_are_described_and_counted_in_one_cluster(ecs, ec2_cluster, tasks):
    for kind, task in tasks.items():
        assert task.describe()["launchType"] == kind
        assert task.arn in ecs.list_tasks(cluster=ec2_cluster, launchType=kind)["taskArns"]
    cluster = ecs.describe_clusters(clusters=[ec2_cluster], include=["STATISTICS"])["clusters"][0]
    statistics = {pair["name"]: pair["value"] for pair in cluster["statistics"]}
    assert (statistics["runningEC2TasksCount"], statistics["runningFargateTasksCount"]) == ("1", "1")


def test_the_end_of_a_process_is_known_at_once(vpc, runner, ec2_cluster, td_web):
    task = runner.one(ec2_cluster, td_web, vpc.pria, [vpc.sg80], launch_type="EC2")
    os.kill(task.pid(), signal.SIGKILL)
    stopped = eventually(lambda: (d := task.describe())["lastStatus"] == "STOPPED" and d, 5, "not STOPPED")
    assert stopped["containers"][0]["exitCode"] == 137


def test_a_task_has_routes_and_rules_of_its_own(vpc, task):
    (default,) = json.loads(task.net("ip", "-json", "-4", "route", "show", "default").stdout)
    assert (default["gateway"], default["dev"]) == ("10.0.10.1", task.device)
    (link,) = json.loads(task.net("ip", "-json", "-4", "addr", "show", "dev", task.device).stdout)
    (address,) = link["addr_info"]
    assert (address["local"], address["prefixlen"]) == (task.ip, 24)
    assert "10.0.10.1" not in host("ip", "route")
    assert os.readlink(f"/proc/{task.pid()}/ns/net") != os.readlink("/proc/self/ns/net")
    # The host has only the wall around the way to the world.
    assert [line for line in host("nft", "list", "tables").splitlines() if not line.endswith("-world")] == []
    assert "chain" not in task.net("nft", "list", "ruleset").stdout


def call_plugin(berth, name, command, namespace, config=None, **more):
    return subprocess.run(
        [berth.cni / name],
        input=json.dumps(config or {"cniVersion": "1.0.0", "name": "n", "type": name}),
        env={"PATH": os.environ["PATH"], "CNI_COMMAND": command, "CNI_CONTAINERID": "test", "CNI_NETNS": str(namespace),
             "CNI_IFNAME": "eth7", "CNI_PATH": str(berth.cni)} | more,
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip


@contextlib.contextmanager
def namespace(name):
    host("ip", "netns", "add", name)
    try:
        yield f"/run/netns/{name}"
    finally:
        host("ip", "netns", "del", name)


@pytest.mark.parametrize("version", ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_ecs_eni_follows_the_specification(berth, version):
    """VERSION, ADD, DEL and a second DEL with a device made for the test."""
    name = f"cni-{os.getpid()}"
    mac = "02:00:5e:00:53:01"
    config = {
        "cniVersion": version, "name": "awsvpc", "type": "ecs-eni", "eni": "eni-0123456789abcdef0", "mac": mac,
        "ip-addresses": ["10.9.0.7/24"], "gateway-ip-addresses": ["10.9.0.1"],
    }  # fmt: skip
    with namespace(name) as path:
        answer = json.loads(call_plugin(berth, "ecs-eni", "VERSION", path, config).stdout)
        assert {"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"} <= set(answer["supportedVersions"])
        host("ip", "link", "add", "cnitest0", "address", mac, "type", "veth", "peer", "name", "cnitest1")
        try:
            added = call_plugin(berth, "ecs-eni", "ADD", path, config)
            assert added.returncode == 0, added.stdout + added.stderr
            result = json.loads(added.stdout)
            assert result["cniVersion"] == version
            assert result["ips"][0]["address"] == "10.9.0.7/24"
            assert result["interfaces"][0]["mac"] == mac
            (link,) = json.loads(host("nsenter", f"--net={path}", "ip", "-json", "addr", "show", "dev", "eth7"))
            assert (link["address"], link["addr_info"][0]["local"]) == (mac, "10.9.0.7")
            for _ in range(2):
                removed = call_plugin(berth, "ecs-eni", "DEL", path, config)
                assert removed.returncode == 0, removed.stdout
        finally:
            subprocess.run(["ip", "link", "del", "cnitest1"], check=False)


def test_a_plugin_tells_its_version_capabilities_and_errors(berth):
    """Calls of an agent before it uses a plugin, and the form of an error."""
    for name in ["ecs-eni", "vpc-eni", "ecs-bridge", "ecs-ipam"]:
        assert host(berth.cni / name, "--version").strip()
        assert json.loads(host(berth.cni / name, "--capabilities")) == {"capabilities": ["awsvpc-network-mode"]}
    refused = call_plugin(berth, "ecs-eni", "ADD", "/run/netns/none")
    error = json.loads(refused.stdout)
    assert refused.returncode != 0
    assert isinstance(error["code"], int) and error["msg"]
    later = {"cniVersion": "9.9.9", "name": "n", "type": "ecs-eni"}
    wrong = call_plugin(berth, "ecs-eni", "ADD", "/run/netns/none", later)
    assert json.loads(wrong.stdout)["code"] == 1


def test_an_interface_appears_on_the_host_and_is_moved_into_the_task(vpc, runner, ec2_cluster, td_web):
    monitor = subprocess.Popen(["ip", "-o", "monitor", "link"], stdout=subprocess.PIPE, text=True)
    try:
        task = runner.one(ec2_cluster, td_web, vpc.pria, [vpc.sg80], launch_type="EC2")
        mac = task.mac
    finally:
        # The kernel's messages up to now are in the pipe. Not SIGINT, which is ignored where the suite runs in the background.
        monitor.terminate()
        seen, _ = monitor.communicate(timeout=10)
    events = [line for line in seen.splitlines() if mac in line]
    assert events, f"no link with {mac} was seen in the host's namespace"
    assert any(line.startswith("Deleted") for line in events), events
    assert mac not in host("ip", "link")
    assert mac in task.net("ip", "link").stdout


def test_the_bridge_gives_a_path_to_the_metadata(task):
    (link,) = json.loads(task.net("ip", "-json", "-4", "addr", "show", "dev", "ecs-eth0").stdout)
    (address,) = link["addr_info"]
    assert ipaddress.ip_address(address["local"]) in ipaddress.ip_network("169.254.172.0/22")
    assert address["prefixlen"] == 22
    (route,) = json.loads(task.net("ip", "-json", "route", "get", "169.254.170.2").stdout)
    assert route["dev"] == "ecs-eth0"
    (bridge,) = json.loads(host("ip", "-json", "link", "show", "ecs-bridge"))
    assert bridge["operstate"] in ("UP", "UNKNOWN")


def test_a_container_reads_its_metadata(task):
    """The task metadata endpoint, version 4."""
    environment = open(f"/proc/{task.pid('web')}/environ").read().split("\0")
    (uri,) = [value.split("=", 1)[1] for value in environment if value.startswith("ECS_CONTAINER_METADATA_URI_V4=")]
    own = json.loads(task.tx("web", "timeout", "3", "wget", "-q", "-O", "-", uri).stdout)
    whole = json.loads(task.tx("web", "timeout", "3", "wget", "-q", "-O", "-", uri + "/task").stdout)
    assert own["Name"] == "web"
    assert own["Networks"][0]["IPv4Addresses"] == [task.ip]
    assert (whole["TaskARN"], whole["LaunchType"]) == (task.arn, task.describe()["launchType"])
    assert {c["Name"] for c in whole["Containers"]} >= {"web", "api"}


def test_tasks_do_not_reach_each_other_over_the_bridge(tasks):
    """Bridge ports are isolated: the link-local network leads to the host only."""
    one, two = tasks["FARGATE"], tasks["EC2"]
    (link,) = json.loads(two.net("ip", "-json", "-4", "addr", "show", "dev", "ecs-eth0").stdout)
    address = link["addr_info"][0]["local"]
    one.net("ip", "route", "add", f"{address}/32", "dev", "ecs-eth0")
    assert one.curl(f"http://{address}:80/", limit_s=2) != 0
    one.net("ip", "route", "del", f"{address}/32", "dev", "ecs-eth0")


def test_a_pause_container_starts_before_the_others(berth, task):
    pause, pid = task.pause()
    assert re.fullmatch("[0-9a-f]{64}", pause)
    assert open(f"/proc/{pid}/cmdline").read().split("\0")[0].endswith("pause")
    started = [process_start(pid), *(process_start(task.pid(name)) for name in ["web", "api"])]
    assert started[0] == min(started)
    assert [c["name"] for c in task.describe()["containers"]] == ["web", "api"]


def process_start(pid):
    """Ticks since boot."""
    return int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[19])


def test_containers_share_the_stack_of_the_pause_container(task):
    """One namespace, the same links in all three, with the names, MTUs and addresses of the post."""
    pids = [task.pause()[1], task.pid("web"), task.pid("api")]
    assert len({os.readlink(f"/proc/{pid}/ns/net") for pid in pids}) == 1
    lists = [host("nsenter", "-t", pid, "-n", "ip", "link", "show") for pid in pids]
    assert lists[0] == lists[1] == lists[2]
    links = {link["ifname"]: link for link in json.loads(task.net("ip", "-json", "-d", "addr", "show").stdout)}
    assert set(links) == {"lo", "ecs-eth0", task.device}
    assert [links[name]["mtu"] for name in ["lo", "ecs-eth0", task.device]] == [65536, 1500, 9001]
    assert links[task.device]["address"] == task.mac
    bridged = next(a["local"] for a in links["ecs-eth0"]["addr_info"] if a["family"] == "inet")
    expected = "0a:58:" + ":".join(f"{byte:02x}" for byte in ipaddress.ip_address(bridged).packed)
    assert links["ecs-eth0"]["address"] == expected
    assert re.search(r"ecs-eth0@if\d+: ", lists[0])
    assert "link-netnsid 0" in lists[0]


def test_no_plugin_process_stays(tasks):
    names = {"ecs-eni", "vpc-eni", "ecs-bridge", "ecs-ipam", "berth-cni"}
    running = set()
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{entry}/cmdline") as file:
            running.add(os.path.basename(file.read().split("\0")[0]))
    assert not names & running


def test_a_stopped_task_gives_its_lease_back(berth, vpc, runner, ec2_cluster, td_web):
    """The link leaves the bridge and the address can be leased again."""

    def bridged():
        links = json.loads(host("ip", "-json", "link", "show", "master", "ecs-bridge"))
        return {link["ifname"] for link in links}

    def lease(task):
        (link,) = json.loads(task.net("ip", "-json", "-4", "addr", "show", "dev", "ecs-eth0").stdout)
        return link["addr_info"][0]["local"]

    task = runner.one(ec2_cluster, td_web, vpc.pria, [vpc.sg80], launch_type="EC2")
    address, links = lease(task), bridged()
    (inside,) = json.loads(task.net("ip", "-json", "link", "show", "dev", "ecs-eth0").stdout)
    names = {link["ifindex"]: link["ifname"] for link in json.loads(host("ip", "-json", "link"))}
    outer = names[inside["link_index"]]
    assert outer in links
    task.stop()
    task.wait("tasks_stopped")
    assert outer not in bridged()
    ipam = {
        "cniVersion": "0.3.0", "name": "network-name", "type": "ecs-ipam",
        "ipam": {"type": "ecs-ipam", "id": "reuse", "ipv4-subnet": "169.254.172.0/22", "ipv4-address": f"{address}/22",
                 "ipv4-routes": [{"dst": "169.254.170.2/32"}]},
    }  # fmt: skip
    database = {"IPAM_DB_PATH": str(berth.run / "eni-ipam.db")}
    added = call_plugin(berth, "ecs-ipam", "ADD", "/proc/self/ns/net", ipam, **database)
    assert added.returncode == 0, added.stdout
    removed = call_plugin(berth, "ecs-ipam", "DEL", "/proc/self/ns/net", ipam, **database)
    assert removed.returncode == 0, removed.stdout


def test_a_failing_plugin_ends_the_task_with_its_reason(berth, ec2, vpc, runner, ec2_cluster, td_web):
    """Nothing leaks, and the next task starts."""
    flag = berth.cni / "fail-eni"
    before = host("ip", "-o", "link").count("\n")
    flag.touch()
    try:
        task = runner.start(ec2_cluster, td_web, vpc.pria, [vpc.sg80], launch_type="EC2")[0].wait("tasks_stopped")
    finally:
        flag.unlink()
    described = task.describe()
    assert described["stopCode"] == "TaskFailedToStart"
    assert "ecs-eni was told to fail" in described["stoppedReason"]
    assert described["attachments"][0]["status"] == "DELETED"
    found = ec2.describe_network_interfaces(Filters=[{"Name": "private-ip-address", "Values": [task.ip]}])
    assert found["NetworkInterfaces"] == []
    assert host("ip", "-o", "link").count("\n") == before
    runner.one(ec2_cluster, td_web, vpc.pria, [vpc.sg80], launch_type="EC2")


def test_an_image_that_is_nowhere_ends_the_task_with_its_reason(vpc, runner, fargate_cluster, register):
    """The same for a pull."""
    definition = register("no-image", container("web", image="no-such-image:v1"))
    described = runner.start(fargate_cluster, definition, vpc.pria, [vpc.sg80])[0].wait("tasks_stopped").describe()
    assert described["stopCode"] == "TaskFailedToStart"
    assert "CannotPullContainerError" in described["stoppedReason"]
    assert "no-such-image:v1" in described["stoppedReason"]
