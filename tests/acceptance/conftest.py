# SPDX-License-Identifier: Apache-2.0
"""One Berth for the whole run, a VPC in it, and tasks that tests share.

Started by `tests/acceptance/run`, inside a network namespace of its own. There are no sleeps: waits are AWS waiters, or
`eventually`, which waits for a value within a limit.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
from functools import cached_property

import boto3
import botocore.config
import pytest
from botocore.exceptions import ClientError

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
# Those of a debug build, unless others are selected (`BERTH_PROGRAMS=target/release`).
PROGRAMS = REPOSITORY / os.environ.get("BERTH_PROGRAMS", "target/debug")
CLUSTER = "awsvpc-ecs-demo"  # the cluster the host joins as a container instance
REGION = "us-west-2"
ACCOUNT = "123456789012"

TIMED_OUT = 28  # exit codes of curl
REFUSED = 7


def eventually(look, limit_s=30, why="the value did not come"):
    """The first true value of `look()`, or a failure after the limit."""
    end = time.monotonic() + limit_s
    while True:
        value = look()
        if value:
            return value
        if time.monotonic() > end:
            pytest.fail(f"{why} within {limit_s} s; last seen: {value!r}")
        time.sleep(0.05)


class Berth:
    """The installation under test."""

    def __init__(self, folder, mirror, name="acceptance"):
        self.data = folder / "data"
        self.run = pathlib.Path(f"/run/berth-{name}-{os.getpid()}")
        self.instance = f"{name}-{os.getpid()}"
        self.cni = folder / "cni"
        self.mirror = mirror
        # The tools must not read a user's configuration.
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BERTH_"))
        } | {
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "BERTH_DATA": str(self.data),
            "BERTH_RUN": str(self.run),
            "BERTH_INSTANCE": self.instance,
            # Tests of one module share a server.
            "BERTH_QUOTA": "vpcs=100,internet-gateways=100",
            "AWS_PAGER": "",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    def make_plugins(self):
        """The CNI plugins by their names; `ecs-eni` can be made to fail by the file `fail-eni`."""
        self.cni.mkdir(parents=True)
        for name in ["vpc-eni", "ecs-bridge", "ecs-ipam"]:
            (self.cni / name).symlink_to(PROGRAMS / "berth-cni")
        eni = self.cni / "ecs-eni"
        eni.write_text(
            "#!/bin/bash\n"
            f'if [ -e "{self.cni}/fail-eni" ] && [ "$CNI_COMMAND" = ADD ]; then\n'
            '  echo \'{"cniVersion":"0.3.0","code":100,"msg":"ecs-eni was told to fail"}\'; exit 1\n'
            "fi\n"
            f'exec -a ecs-eni "{PROGRAMS}/berth-cni" "$@"\n'
        )
        eni.chmod(0o755)

    def berth(self, *words, check=True, **options):
        done = subprocess.run(
            ["berth", *map(str, words)], env=self.environment, capture_output=True, text=True, timeout=180, **options
        )
        if check and done.returncode != 0:
            pytest.fail(f"berth {' '.join(map(str, words))} failed:\n{done.stdout}{done.stderr}{self.last_log_lines()}")
        return done

    def up(self, *more, enis=80, memory=262144):
        self.berth(
            "up", "--detach", "--listen", "127.0.0.1:4566", "--cluster", CLUSTER, "--mirror",
            f"docker.io={self.mirror}", "--cni", self.cni, "--cpu", 65536, "--memory", memory, "--enis", enis,
            "--free-space-min", 1, *more,
        )  # fmt: skip
        self.environment |= json.loads(self.berth("env", "--output", "json").stdout)

    def down(self):
        self.berth("down", "--purge")

    def last_log_lines(self):
        text = ""
        for file in sorted((self.data / "log").glob("*.log")):
            text += f"\n--- {file.name}\n" + "\n".join(file.read_text(errors="replace").splitlines()[-25:])
        return text

    def log_lines_with(self, text):
        logs = [*sorted((self.data / "log").glob("*.log")), self.data / "containerd/containerd.log"]
        lines = (line for log in logs if log.exists() for line in log.read_text(errors="replace").splitlines())
        return "\n".join(line for line in lines if text in line)

    def status(self):
        return json.loads(self.berth("status", "--output", "json", check=False).stdout or "{}")

    def pid(self, role):
        return self.status()["processes"][role]

    def containerd(self):
        """Process id of the private containerd, if it runs."""
        config = re.escape(str(self.run / "containerd/config.toml"))
        found = subprocess.run(["pgrep", "--full", f"containerd --config {config}"], capture_output=True, text=True)
        pids = found.stdout.split()
        return int(pids[0]) if pids else None

    def kill(self, role):
        """Kills a process and waits until another has its role and the host is connected."""
        pid = self.pid(role)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: self.status().get("processes", {}).get(role) not in (None, pid), 60, f"no new {role}")
        self.wait_until_host_is_connected()

    def wait_until_host_is_connected(self):
        def connected():
            return any(host["connected"] for host in self.status().get("server", {}).get("hosts", []))

        eventually(connected, 60, "no host is connected")

    def aws(self, *words, cwd=None):
        """The aws CLI's answer."""
        done = self.aws_raw(*words, cwd=cwd)
        if done.returncode != 0:
            pytest.fail(f"aws {' '.join(map(str, words))} failed: {done.stderr}")
        return json.loads(done.stdout) if done.stdout.strip() else None

    def aws_raw(self, *words, cwd=None):
        return subprocess.run(
            ["aws", *map(str, words)], env=self.environment, capture_output=True, text=True, timeout=120, cwd=cwd
        )

    def client(self, service, **options):
        return boto3.client(
            service,
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            region_name=REGION,
            **{
                "aws_access_key_id": self.environment["AWS_ACCESS_KEY_ID"],
                "aws_secret_access_key": self.environment["AWS_SECRET_ACCESS_KEY"],
                "config": botocore.config.Config(retries={"mode": "standard", "total_max_attempts": 3}),
            }
            | options,
        )

    @cached_property
    def ecs(self):
        return self.client("ecs")

    @cached_property
    def ec2(self):
        return self.client("ec2")

    def ctr(self, *words, run=None):
        """The output of containerd's own client; a killed containerd is given time to restart."""

        def said():
            done = subprocess.run(
                ["ctr", "--address", (run or self.run) / "containerd/containerd.sock", "--namespace", "berth", *words],
                capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            return (done.stdout,) if done.returncode == 0 else print(done.stderr)

        return eventually(said, 20, f"ctr {' '.join(words)} failed")[0]

    def container_pids(self, run=None):
        """Process ids of running containers by runtime id."""
        rows = [line.split() for line in self.ctr("task", "ls", run=run).splitlines()[1:]]
        return {row[0]: int(row[1]) for row in rows if row[2] == "RUNNING"}

    def logs(self, task, *options):
        return self.berth("logs", task.arn, *options).stdout

    def wait_for_log(self, task, text, limit_s=30):
        def seen():
            done = self.berth("logs", task.arn, check=False)
            return done.stdout if text in done.stdout else None

        return eventually(seen, limit_s, f"{text!r} was not logged")

    def seat(self, subnet, groups, *command, timeout=60):
        """Runs a command from a new interface in the VPC."""
        groups = ["--security-groups", ",".join(groups)] if groups else []
        return subprocess.run(
            ["berth", "shell", "--subnet", subnet, *groups, "--", *map(str, command)],
            env=self.environment, capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip


@pytest.fixture(scope="session")
def berth(tmp_path_factory):
    folder = tmp_path_factory.mktemp("berth")
    registry = REPOSITORY / "target" / "acceptance-registry"
    # A server left by an interrupted run listens in another network namespace.
    subprocess.run(["scripts/mirror", "down", registry], cwd=REPOSITORY, check=True)
    mirror = subprocess.run(
        ["scripts/mirror", "up", registry], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.strip()
    installation = Berth(folder, mirror)
    installation.make_plugins()
    try:
        installation.up()
        yield installation
    finally:
        print(installation.last_log_lines())
        installation.berth("down", "--purge", check=False)
        subprocess.run(["scripts/mirror", "down", registry], cwd=REPOSITORY, check=True)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def world(berth):
    """Address of WORLD: a namespace behind the host, with a server on port 80 and a TCP echo on port 7.

    For one file: others take the way to the world down, and the forwarding with it.
    """
    folder = REPOSITORY / "target/acceptance-world"
    # One left by an interrupted run is in another network namespace.
    subprocess.run(["scripts/world", "down", folder], cwd=REPOSITORY, check=True)
    made = subprocess.run(
        ["scripts/world", "up", folder], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    yield made.stdout.strip()
    subprocess.run(["scripts/world", "down", folder], cwd=REPOSITORY, check=True)


@pytest.fixture(scope="session")
def ecs(berth):
    return berth.ecs


@pytest.fixture(scope="session")
def ec2(berth):
    return berth.ec2


class Vpc:
    """The network of the tests: public and private subnets in three zones, and security groups."""

    def __init__(self, ec2, cidr="10.0.0.0/16"):
        self.ec2 = ec2
        self.id = ec2.create_vpc(CidrBlock=cidr)["Vpc"]["VpcId"]
        ec2.get_waiter("vpc_available").wait(VpcIds=[self.id])
        for attribute in ["EnableDnsSupport", "EnableDnsHostnames"]:
            ec2.modify_vpc_attribute(VpcId=self.id, **{attribute: {"Value": True}})
        prefix = ".".join(cidr.split(".")[:2])
        self.cidrs = {}
        for name, third, zone in [
            ("puba", 0, "a"), ("pubb", 1, "b"), ("pubc", 2, "c"), ("pria", 10, "a"), ("prib", 11, "b"), ("iso", 20, "a"),
        ]:  # fmt: skip
            block = f"{prefix}.{third}.0/24"
            subnet = ec2.create_subnet(VpcId=self.id, CidrBlock=block, AvailabilityZone=REGION + zone)
            setattr(self, name, subnet["Subnet"]["SubnetId"])
            self.cidrs[subnet["Subnet"]["SubnetId"]] = block
        gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=self.id)
        table = ec2.create_route_table(VpcId=self.id)["RouteTable"]["RouteTableId"]
        ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
        for subnet in [self.puba, self.pubb, self.pubc]:
            ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
        self.sg80 = self.group("sg80", [tcp(80)])
        self.sgall = self.group("sgall", [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": cidr}]}])
        self.sgnone = self.group("sgnone", [])
        self.sglb = self.group("sglb", [tcp(80)])
        self.sgapp = self.group("sgapp", [tcp(80, group=self.sglb)])

    def group(self, name, ingress, egress=None):
        """A group with these rules; `egress` replaces the default rule."""
        group = self.ec2.create_security_group(GroupName=name, Description=name, VpcId=self.id)["GroupId"]
        if ingress:
            self.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=ingress)
        if egress is not None:
            everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
            self.ec2.revoke_security_group_egress(GroupId=group, IpPermissions=everything)
            if egress:
                self.ec2.authorize_security_group_egress(GroupId=group, IpPermissions=egress)
        return group


def tcp(port, cidr="0.0.0.0/0", group=None, to=None):
    """A permission for a TCP port or a range of ports."""
    permission = {"IpProtocol": "tcp", "FromPort": port, "ToPort": to or port}
    if group:
        return permission | {"UserIdGroupPairs": [{"GroupId": group}]}
    return permission | {"IpRanges": [{"CidrIp": cidr}]}


@pytest.fixture(scope="session")
def vpc(ec2):
    return Vpc(ec2)


def listening_ports(pid):
    """TCP ports with a listener in the network namespace of a process."""
    rows = []
    for table in ["tcp", "tcp6"]:
        rows += pathlib.Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
    return {int(row.split()[1].split(":")[1], 16) for row in rows if row.split()[3] == "0A"}


class Task:
    """A task and the ways to look into it."""

    def __init__(self, berth, cluster, arn):
        self.berth, self.cluster, self.arn = berth, cluster, arn
        self.id = arn.split("/")[-1]

    def describe(self):
        answer = self.berth.ecs.describe_tasks(cluster=self.cluster, tasks=[self.arn])
        assert answer["failures"] == []
        return answer["tasks"][0]

    def wait(self, waiter="tasks_running"):
        try:
            config = {"Delay": 0.2, "MaxAttempts": 450}
            self.berth.ecs.get_waiter(waiter).wait(cluster=self.cluster, tasks=[self.arn], WaiterConfig=config)
        except Exception as error:
            pytest.fail(f"{waiter}: {error}\n{json.dumps(self.describe(), default=str, indent=1)}")
        return self

    def wait_until_listening(self):
        """A running container may not listen yet: waits for the ports its definition names."""
        definition = self.berth.ecs.describe_task_definition(taskDefinition=self.describe()["taskDefinitionArn"])
        containers = definition["taskDefinition"]["containerDefinitions"]
        ports = {mapping["containerPort"] for c in containers for mapping in c["portMappings"]}
        for program, *words in [c["command"] for c in containers if c.get("command")]:
            if program == "whoami" and all(word == "--echo" or word.isdigit() for word in words):
                ports |= {int(word) for word in words if word.isdigit()}
        eventually(lambda: ports <= listening_ports(self.pid()), 20, f"nobody listens on all of {sorted(ports)}")
        return self

    def stop(self):
        self.berth.ecs.stop_task(cluster=self.cluster, task=self.arn)

    @property
    def attachment(self):
        return self.describe()["attachments"][0]

    def detail(self, name):
        return {pair["name"]: pair["value"] for pair in self.attachment["details"]}[name]

    @cached_property
    def ip(self):
        return self.detail("privateIPv4Address")

    @cached_property
    def eni(self):
        return self.detail("networkInterfaceId")

    @property
    def public_ip(self):
        """Its public address; none if it has none."""
        answer = self.berth.ec2.describe_network_interfaces(NetworkInterfaceIds=[self.eni])
        return answer["NetworkInterfaces"][0].get("Association", {}).get("PublicIp")

    @cached_property
    def mac(self):
        return self.detail("macAddress")

    @property
    def device(self):
        """Name of the task's own interface."""
        return "eth1" if self.describe()["launchType"] == "FARGATE" else "eth0"

    def pid(self, container=None):
        containers = self.describe()["containers"]
        chosen = [c for c in containers if container in (None, c["name"])][0]
        return self.berth.container_pids()[chosen["runtimeId"]]

    def pause(self):
        """Runtime id and process id of the pause container: the other one in the task's namespace."""
        namespace = os.readlink(f"/proc/{self.pid()}/ns/net")
        own = {c["runtimeId"] for c in self.describe()["containers"]}
        found = [
            (name, pid)
            for name, pid in self.berth.container_pids().items()
            if name not in own and os.readlink(f"/proc/{pid}/ns/net") == namespace
        ]
        assert len(found) == 1, found
        return found[0]

    def tx(self, container, *command, timeout=60):
        """Runs a command of the container inside the container."""
        return subprocess.run(
            ["nsenter", "-t", str(self.pid(container)), "-m", "-n", "-u", "-i", "-p", "-r", "-w", *map(str, command)],
            capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def net_command(self, *command):
        """A command of this machine, to be run in the task's network namespace only."""
        return ["nsenter", "-t", str(self.pid()), "-n", *map(str, command)]

    def net(self, *command, timeout=60):
        return subprocess.run(self.net_command(*command), capture_output=True, text=True, timeout=timeout)

    def ask(self, url):
        """The JSON answer of a `whoami` to a request from this task."""
        done = self.net("curl", "-sS", "--max-time", "5", url)
        assert done.returncode == 0, f"{url}: {done.stderr}"
        return json.loads(done.stdout)

    def curl(self, url, limit_s=3):
        """Exit code of curl from this task."""
        return self.net("curl", "-s", "-o", "/dev/null", "--max-time", limit_s, url).returncode


@pytest.fixture(scope="session")
def clusters(ecs):
    """The cluster the host joins, and one without any instance."""
    for name in [CLUSTER, "fargate"]:
        ecs.create_cluster(clusterName=name)
    return [CLUSTER, "fargate"]


@pytest.fixture(scope="session")
def fargate_cluster(clusters):
    return clusters[1]


@pytest.fixture(scope="session")
def ec2_cluster(berth, ecs, clusters):
    """The cluster, once the host has joined it."""
    eventually(lambda: ecs.list_container_instances(cluster=CLUSTER)["containerInstanceArns"], 30, "no instance joined")
    return CLUSTER


class Runner:
    """Starts tasks and stops the remaining ones."""

    def __init__(self, berth):
        self.berth, self.started = berth, []

    def start(self, cluster, definition, subnets, groups, launch_type="FARGATE", count=1, public=False, **more):
        network = {"subnets": [subnets] if isinstance(subnets, str) else subnets, "securityGroups": groups}
        network |= {"assignPublicIp": "ENABLED"} if public else {}
        answer = self.berth.ecs.run_task(
            cluster=cluster, taskDefinition=definition, launchType=launch_type, count=count,
            networkConfiguration={"awsvpcConfiguration": network}, **more,
        )  # fmt: skip
        assert answer["failures"] == [], answer["failures"]
        tasks = [Task(self.berth, cluster, task["taskArn"]) for task in answer["tasks"]]
        assert len(tasks) == count
        self.started += tasks
        return tasks

    def running(self, *args, **options):
        return [task.wait().wait_until_listening() for task in self.start(*args, **options)]

    def one(self, *args, **options):
        return self.running(*args, **options)[0]

    def stop_all(self):
        for task in self.started:
            task.stop()
        for task in self.started:
            task.wait("tasks_stopped")


@pytest.fixture(scope="module")
def shared(berth):
    """Starts tasks that live as long as the tests of a file."""
    runner = Runner(berth)
    yield runner
    runner.stop_all()


@pytest.fixture
def runner(berth):
    """Starts tasks that live as long as one test."""
    runner = Runner(berth)
    yield runner
    runner.stop_all()


def container(name, image="web", command=None, ports=(), **more):
    """A container definition."""
    definition = {"name": name, "image": image, "portMappings": [{"containerPort": port} for port in ports]} | more
    return definition | ({"command": command} if command else {})


@pytest.fixture(scope="session")
def register(ecs):
    """Registers a definition for both launch types and returns `family:revision`."""

    def register(family, *containers, **more):
        settings = {"networkMode": "awsvpc", "cpu": "256", "memory": "512"} | more
        answer = ecs.register_task_definition(family=family, containerDefinitions=list(containers), **settings)
        definition = answer["taskDefinition"]
        return f"{definition['family']}:{definition['revision']}"

    return register


@pytest.fixture(scope="session")
def td_web(register):
    """A web server on port 80."""
    return register("web", container("web", command=["whoami", "80"], ports=[80]))


@pytest.fixture(scope="session")
def td_ports(register):
    """One server that listens on 22, 80, 8080 and 9000, with a TCP echo on 7000."""
    return register("ports", container("web", command=["whoami", "--echo", "7000", "22", "80", "8080", "9000"]))


@pytest.fixture(scope="session")
def td_pair(register):
    """The sample of P2 with its typos corrected: web on 80, api on 8080 (and an echo on 7000)."""
    return register(
        "pair",
        container("web", "web", ["whoami", "80"], [80]),
        container("api", "api", ["whoami", "--echo", "7000", "8080"], [8080]),
    )


@pytest.fixture(scope="session")
def td_idle(register):
    return register("idle", container("idle", command=["whoami", "idle"]))


def refusal(call, **arguments):
    """Code and message with which a call is refused."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


@pytest.fixture
def elastic(berth):
    """Allocates addresses; those that are left at the end are released."""
    allocated = []

    def allocate(*words):
        answer = berth.aws("ec2", "allocate-address", *words)
        allocated.append(answer["AllocationId"])
        return answer

    yield allocate
    for address in berth.ec2.describe_addresses()["Addresses"]:
        if address["AllocationId"] in allocated:
            if "AssociationId" in address:
                berth.ec2.disassociate_address(AssociationId=address["AssociationId"])
            berth.ec2.release_address(AllocationId=address["AllocationId"])


@pytest.fixture
def gateways(ec2):
    """Makes NAT gateways; those that are left at the end are deleted."""
    made = []

    def create(**members):
        gateway = ec2.create_nat_gateway(**members)["NatGateway"]
        made.append(gateway["NatGatewayId"])
        return gateway

    yield create
    for gateway in made:
        if gateway_state(ec2, gateway) not in ("deleting", "deleted"):
            ec2.delete_nat_gateway(NatGatewayId=gateway)
    eventually(lambda: all(gateway_state(ec2, gateway) == "deleted" for gateway in made), why="a NAT gateway remains")


def gateway_state(ec2, gateway):
    (described,) = ec2.describe_nat_gateways(NatGatewayIds=[gateway])["NatGateways"]
    return described["State"]


@contextlib.contextmanager
def default_route(ec2, subnet, vpc, **target):
    """The default route of a subnet, in a table of its own."""
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    association = ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)["AssociationId"]
    try:
        ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", **target)
        yield table
    finally:
        ec2.disassociate_route_table(AssociationId=association)
        ec2.delete_route_table(RouteTableId=table)
