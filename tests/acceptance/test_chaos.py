# SPDX-License-Identifier: Apache-2.0
"""No state is lost: server, node, containerd and shims are killed at random moments while tasks start and stop.

The seed is printed; `BERTH_CHAOS_SEED` repeats a run, `BERTH_CHAOS_ROUNDS` makes it longer or shorter.
"""

import collections
import contextlib
import json
import os
import pathlib
import random
import signal
import subprocess
import time

import botocore.config
import pytest
from conftest import Task, eventually
from packets import peer_in

ROUNDS = int(os.environ.get("BERTH_CHAOS_ROUNDS", "100"))
SEED = int(os.environ.get("BERTH_CHAOS_SEED", random.SystemRandom().randrange(1 << 32)))
TASKS_MAX = 8
PREPARED_BARE = 4  # namespaces prepared for the EC2 launch type, which the plugins will wire
KINDS = ["server", "node", "containerd", "shim"]


@pytest.fixture(scope="module")
def survivors(shared, vpc, ec2_cluster, td_ports):
    """Two tasks of different launch types that the test never stops."""
    kinds = ["FARGATE", "EC2"]
    started = [shared.start(ec2_cluster, td_ports, vpc.pria, [vpc.sgall], launch_type=kind)[0] for kind in kinds]
    return [task.wait().wait_until_listening() for task in started]


class Chaos:
    """Starts, stops and kills by one sequence of random numbers, and records all answers."""

    def __init__(self, berth, cluster, definition, subnet, group):
        self.berth, self.cluster = berth, cluster
        # A client without retries: an unanswered call allows no conclusion.
        patience = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=10, connect_timeout=2)
        self.ecs = berth.client("ecs", config=patience)
        self.definition, self.subnet, self.group = definition, subnet, group
        self.random = random.Random(SEED)
        self.accepted, self.stop_asked, self.shim_killed = {}, set(), set()
        self.killed = collections.Counter()

    def start(self):
        kind = self.random.choice(["FARGATE", "EC2"])
        network = {"awsvpcConfiguration": {"subnets": [self.subnet], "securityGroups": [self.group]}}
        with contextlib.suppress(Exception):
            answer = self.ecs.run_task(
                cluster=self.cluster, taskDefinition=self.definition, launchType=kind, networkConfiguration=network,
                count=self.random.randint(1, 2),
            )  # fmt: skip
            arns = [task["taskArn"] for task in answer["tasks"]]
            self.accepted |= {arn: Task(self.berth, self.cluster, arn) for arn in arns}

    def stop(self):
        going = sorted(set(self.accepted) - self.stop_asked)
        if not going:
            return
        arn = self.random.choice(going)
        with contextlib.suppress(Exception):
            self.ecs.stop_task(cluster=self.cluster, task=arn)
            self.stop_asked.add(arn)

    def kill(self):
        kinds = self.random.sample(KINDS, self.random.choice([1, 1, 1, 2, 3]))
        for kind in kinds:
            pid = {"containerd": self.berth.containerd, "shim": self.shim}.get(kind, lambda: lock_holder(self.berth, kind))()
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    self.killed[kind] += 1
        return kinds

    def shim(self):
        """The shim of a task of ours, never of a survivor."""
        own = {arn.rsplit("/", 1)[1]: arn for arn in sorted(self.accepted)}
        found = {}
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                below = f"/berth/{self.berth.instance}/"
                inside = [line.split(below, 1)[1] for line in (entry / "cgroup").read_text().splitlines() if below in line]
                parent = parent_of(entry.name)
                # A container during its creation is still a child of crun.
                if inside and inside[0].split("/")[0] in own and is_shim(parent):
                    found[inside[0].split("/")[0]] = parent
        if not found:
            return None
        task = self.random.choice(sorted(found))
        self.shim_killed.add(own[task])
        return found[task]


def parent_of(pid):
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def is_shim(pid):
    words = pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return words[0] == "berth-shim" and "serve" in words


def lock_holder(berth, role):
    with contextlib.suppress(OSError, ValueError):
        return int((berth.run / "lock" / role).read_text())


def test_nothing_is_lost_whatever_is_killed(berth, ec2, vpc, survivors, ec2_cluster, td_idle, runner, capsys):
    """100 random moments; survivors and their connection stay alive, answered tasks end with the right state."""
    with capsys.disabled():
        print(f"chaos: seed {SEED}, {ROUNDS} rounds", flush=True)
    subnet = ec2.create_subnet(VpcId=vpc.id, CidrBlock="10.0.210.0/24", AvailabilityZone="us-west-2a")
    subnet = subnet["Subnet"]["SubnetId"]
    chaos = Chaos(berth, ec2_cluster, td_idle, subnet, vpc.sgnone)
    # They are always stopped at the end.
    runner.started = chaos.accepted.values()
    one, two = survivors
    pids = [task.pid() for task in survivors]
    with peer_in(one) as peer:
        peer.must("connect", two.ip, 7000)
        for number in range(ROUNDS):
            # Usually recovered, sometimes killed during the recovery.
            if chaos.random.random() < 0.8:
                berth.wait_until_host_is_connected()
            running = len(set(chaos.accepted) - chaos.stop_asked)
            for _ in range(chaos.random.randint(1, 2)):
                chaos.start() if running < TASKS_MAX and chaos.random.random() < 0.6 else chaos.stop()
            # A short delay, not a wait: the process is killed in the middle of its work.
            time.sleep(chaos.random.uniform(0, 0.3))
            killed = chaos.kill()
            assert peer.must("say", f"round-{number}") == f"round-{number}", killed
        berth.wait_until_host_is_connected()
        assert peer.must("say", "after") == "after"
    assert [task.pid() for task in survivors] == pids
    assert [task.describe()["lastStatus"] for task in survivors] == ["RUNNING", "RUNNING"]
    settle(chaos)
    leave_nothing(berth, ec2, chaos, subnet)
    assert one.curl(f"http://{two.ip}/") == 0
    with capsys.disabled():
        print(f"chaos: {len(chaos.accepted)} tasks, killed {dict(chaos.killed)}", flush=True)
    # A run without events would prove nothing.
    assert len(chaos.accepted) >= ROUNDS / 4 and all(chaos.killed[kind] >= ROUNDS / 20 for kind in KINDS)


def settle(chaos):
    """Every answered task runs or has stopped with a reason, and every task with a stop request has stopped."""

    def settled():
        open_ends = []
        for arn, task in chaos.accepted.items():
            seen = task.describe()
            ends = {"RUNNING", "STOPPED"} if arn not in chaos.stop_asked | chaos.shim_killed else {"STOPPED"}
            if seen["lastStatus"] not in ends:
                open_ends.append((arn, seen["lastStatus"], seen["desiredStatus"]))
            elif seen["lastStatus"] == "STOPPED":
                assert seen.get("stoppedReason") and seen.get("stopCode"), seen
        return not open_ends or print(open_ends)

    eventually(settled, 120, "tasks are not settled")
    for arn, task in chaos.accepted.items():
        if task.describe()["lastStatus"] == "STOPPED" and arn not in chaos.stop_asked | chaos.shim_killed:
            ended = task.describe()
            known_by = [arn.rsplit("/", 1)[1], *(one["runtimeId"] for one in ended["containers"] if "runtimeId" in one)]
            lines = "\n".join(map(chaos.berth.log_lines_with, known_by))
            pytest.fail(f"a task stopped by itself: {ended}\n{lines}")


def leave_nothing(berth, ec2, chaos, subnet):
    """After all tasks have stopped, neither records nor machine have remains of them."""
    for arn, task in chaos.accepted.items():
        task.stop()
    for task in chaos.accepted.values():
        task.wait("tasks_stopped")
    free = lambda: ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["AvailableIpAddressCount"] == 251
    eventually(free, 60, "addresses are still taken")
    ids = [arn.rsplit("/", 1)[1] for arn in chaos.accepted]
    eventually(lambda: not (left := leftovers(berth, ids)) or print(left), 60, "something is left")


PAUSES = 'labels."com.amazonaws.ecs.container-name"=="~internal~ecs~pause"'


def leftovers(berth, ids):
    """Remains of tasks on the machine, and namespaces, leases, containers and snapshots beyond those in use."""
    mounts = [line.split()[1] for line in open("/proc/self/mounts") if any(task in line for task in ids)]
    folders = [path for root in ["/sys/fs/cgroup", berth.data / "node/tasks"] for path in folders_of(root, ids)]
    names = {path.name for path in (berth.run / "netns").iterdir()} - {"fabric", "edge"}
    containers = set(berth.ctr("container", "ls", "-q").split())
    pauses = set(berth.ctr("container", "ls", "-q", PAUSES).split())
    running = set(berth.container_pids())
    snapshots = {line.split()[0] for line in berth.ctr("snapshot", "ls").splitlines()[1:] if line.split()[-1] == "Active"}
    counts = {"namespaces": len(names), "pauses": len(pauses), "bridge ports": bridge_ports() + PREPARED_BARE}
    unequal = [] if len(set(counts.values())) == 1 else [counts]
    return mounts + folders + unequal + sorted(containers ^ running) + sorted(snapshots - containers)


def folders_of(root, ids):
    names = set(ids)
    return [pathlib.Path(at, name) for at, below, _ in os.walk(root) for name in below if name in names]


def bridge_ports():
    """Not from /sys, which shows the links of the namespace it was mounted in."""
    shown = subprocess.run(["ip", "-json", "link", "show", "master", "ecs-bridge"], capture_output=True, text=True)
    return len(json.loads(shown.stdout))
