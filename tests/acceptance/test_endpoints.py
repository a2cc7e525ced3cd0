# SPDX-License-Identifier: Apache-2.0
"""Regional endpoints: AWS's own clients call the API from inside a task's network."""

import json
import os
import signal
import subprocess
import sys

import pytest
from conftest import REGION, TIMED_OUT, default_route, eventually

ALL, EC2, ECS = "198.18.15.193", "198.18.15.194", "198.18.15.195"


def edge_pid(berth):
    """The process of the edge: the only one in its cgroup."""
    for base in ["/sys/fs/cgroup/pids", "/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup"]:
        path = f"{base}/berth/{berth.instance}/edge/cgroup.procs"
        if os.path.exists(path):
            pids = open(path).read().split()
            return int(pids[0]) if pids else None
    return None


def environment(task):
    """The variables of a task's container."""
    pairs = open(f"/proc/{task.pid()}/environ").read().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)


@pytest.fixture(scope="module")
def public(shared, fargate_cluster, td_web, vpc):
    """A task with a public address in a public subnet."""
    return shared.one(fargate_cluster, td_web, vpc.puba, [vpc.sg80], public=True)


@pytest.fixture(scope="module")
def private(shared, fargate_cluster, td_web, vpc):
    """A task without a way out of its subnet."""
    return shared.one(fargate_cluster, td_web, vpc.iso, [vpc.sg80])


def call(berth, task, *words, endpoint=f"http://{ALL}", **variables):
    """The aws CLI in the network of a task."""
    environment = berth.environment | {"AWS_ENDPOINT_URL": endpoint, "AWS_MAX_ATTEMPTS": "1"} | variables
    return subprocess.run(
        [*task.net_command("aws"), "--cli-connect-timeout", "3", "--cli-read-timeout", "10", *words],
        env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_a_container_has_the_endpoint_in_its_environment_and_the_cli_works_with_it(berth, public, fargate_cluster):
    assert environment(public)["AWS_ENDPOINT_URL"] == f"http://{ALL}"
    done = call(berth, public, "ecs", "describe-tasks", "--cluster", fargate_cluster, "--tasks", public.arn)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tasks"][0]["taskArn"] == public.arn
    done = call(berth, public, "ec2", "describe-network-interfaces", "--network-interface-ids", public.eni)
    assert done.returncode == 0, done.stderr
    # The host reaches the endpoints, too.
    here = subprocess.run(
        ["aws", "sts", "get-caller-identity"],
        env=berth.environment | {"AWS_ENDPOINT_URL": f"http://{ALL}"}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert here.returncode == 0, here.stderr


def test_an_endpoint_of_one_service_takes_no_other(berth, public):
    assert call(berth, public, "ecs", "list-clusters", endpoint=f"http://{ECS}").returncode == 0
    refused = call(berth, public, "ecs", "list-clusters", endpoint=f"http://{EC2}")
    assert "InvalidSignatureException" in refused.stderr or "SignatureDoesNotMatch" in refused.stderr, refused.stderr
    # Nothing answers at the other addresses of the range.
    assert public.curl("http://198.18.15.250/", 3) != 0


def test_tls_is_of_the_local_authority(berth, public):
    authority = f"{berth.data}/ca/certificate.pem"
    done = call(berth, public, "sts", "get-caller-identity", endpoint=f"https://{ALL}", AWS_CA_BUNDLE=authority)
    assert done.returncode == 0, done.stderr
    url = f"https://ecs.{REGION}.amazonaws.com/"
    named = public.net(
        "curl", "-s", "-o", "/dev/null", "--cacert", authority, "--connect-to", f"::{ECS}:443", "--max-time", "5", url
    )  # fmt: skip
    assert named.returncode == 0, named.stderr


def test_callers_from_inside_need_a_key_and_see_no_page_of_the_instance(berth, public):
    bogus = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "x" * 40}
    refused = call(berth, public, "sts", "get-caller-identity", **bogus)
    assert "InvalidClientTokenId" in refused.stderr, refused.stderr
    page = public.net("curl", "-s", "--max-time", "5", f"http://{ALL}/_berth/health")
    assert berth.instance not in page.stdout


def test_a_subnet_without_a_way_out_does_not_reach_the_endpoints(private):
    assert private.curl(f"http://{ALL}/", 1) == TIMED_OUT


def test_the_way_through_a_nat_gateway_leads_to_the_endpoints(
    berth, ec2, vpc, elastic, gateways, runner, fargate_cluster, td_web
):
    address = elastic()
    gateway = gateways(SubnetId=vpc.puba, AllocationId=address["AllocationId"])["NatGatewayId"]
    ec2.get_waiter("nat_gateway_available").wait(NatGatewayIds=[gateway], WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    with default_route(ec2, vpc.pria, vpc.id, NatGatewayId=gateway):
        task = runner.one(fargate_cluster, td_web, vpc.pria, [vpc.sg80])
        eventually(lambda: task.curl(f"http://{ALL}/", 2) == 0, why="the route does not lead there")
        done = call(berth, task, "sts", "get-caller-identity")
        assert done.returncode == 0, done.stderr
        runner.stop_all()


def test_the_edge_outlives_the_others_and_is_started_again_when_it_is_killed(berth, public):
    before = edge_pid(berth)
    assert before
    berth.kill("node")
    berth.kill("server")
    done = call(berth, public, "sts", "get-caller-identity")
    assert done.returncode == 0, done.stderr
    eventually(lambda: call(berth, public, "ecs", "list-container-instances").returncode == 0, why="no server")
    assert edge_pid(berth) == before
    os.kill(before, signal.SIGKILL)
    eventually(lambda: edge_pid(berth) not in (None, before), why="no other edge")
    eventually(lambda: call(berth, public, "sts", "get-caller-identity").returncode == 0, why="it does not answer")


def test_one_task_cannot_shut_the_endpoints_for_others(berth, public):
    script = f"""
import selectors, socket, time
held = [socket.create_connection(("{ALL}", 80), timeout=3) for _ in range(400)]
ended, until = 0, time.monotonic() + 8
waiting = selectors.DefaultSelector()
for one in held:
    waiting.register(one, selectors.EVENT_READ)
# Those without a place end; the others are kept for longer, until they have not asked for 10 s.
while ended < 400 - 256 and time.monotonic() < until:
    for ready, _ in waiting.select(until - time.monotonic()):
        waiting.unregister(ready.fileobj)
        ended += 1
print(ended, flush=True)
input()
"""
    holding = subprocess.Popen(
        public.net_command(sys.executable, "-c", script), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert int(holding.stdout.readline()) >= 400 - 256, "it has more than its places"
        here = subprocess.run(
            ["aws", "sts", "get-caller-identity"],
            env=berth.environment | {"AWS_ENDPOINT_URL": f"http://{ALL}", "AWS_MAX_ATTEMPTS": "1"},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert here.returncode == 0, here.stderr
    finally:
        holding.communicate("\n", timeout=30)
