# SPDX-License-Identifier: Apache-2.0
"""The ECS API as clients see it: tokens, clusters, limits, refusals of calls that only an agent makes, throttling."""

import contextlib
import json
import os
import subprocess
import urllib.request

import botocore.config
import pytest
from botocore.exceptions import ClientError
from conftest import REGION, Berth, Task, eventually, refusal


def network(subnets, groups):
    return {"awsvpcConfiguration": {"subnets": subnets, "securityGroups": groups}}


def test_the_same_token_starts_tasks_once(berth, ecs, vpc, fargate_cluster, clusters, td_idle, runner):
    def run(**more):
        return ecs.run_task(**{
            "cluster": fargate_cluster, "taskDefinition": td_idle, "launchType": "FARGATE", "count": 2,
            "networkConfiguration": network([vpc.pria], [vpc.sgnone]), "clientToken": f"once-{os.getpid()}",
        } | more)  # fmt: skip

    def started(answer):
        arns = [task["taskArn"] for task in answer["tasks"]]
        runner.started += [Task(berth, arn.split("/")[1], arn) for arn in arns]
        return sorted(arns)

    first = started(run())
    assert len(first) == 2
    again = run()
    assert sorted(task["taskArn"] for task in again["tasks"]) == first
    assert sorted(ecs.list_tasks(cluster=fargate_cluster)["taskArns"]) == first
    with pytest.raises(ClientError) as caught:
        run(count=1)
    assert caught.value.response["Error"]["Code"] == "ConflictException"
    assert sorted(caught.value.response["resourceIds"]) == first
    other = started(run(cluster=clusters[0]))
    assert len(other) == 2 and not set(other) & set(first), "a token belongs to its cluster"
    # The same request in another notation: the CLI produces the same members.
    words = [
        "ecs", "run-task", "--cluster", fargate_cluster, "--task-definition", td_idle, "--launch-type", "FARGATE",
        "--count", 2, "--network-configuration",
        f"awsvpcConfiguration={{subnets=[{vpc.pria}],securityGroups=[{vpc.sgnone}]}}",
    ]  # fmt: skip
    by_cli = berth.aws(*words, "--client-token", f"once-{os.getpid()}")
    assert sorted(task["taskArn"] for task in by_cli["tasks"]) == first
    assert refusal(run, clientToken="two words")[0] == "InvalidParameterException"


def test_clusters_keep_their_tasks_apart(ecs, vpc, clusters, td_idle, runner):
    tasks = [runner.start(cluster, td_idle, vpc.pria, [vpc.sgnone])[0] for cluster in clusters]
    for task, cluster in zip(tasks, clusters):
        assert ecs.list_tasks(cluster=cluster)["taskArns"] == [task.arn]
    for asked in [tasks[0].arn, tasks[0].id]:
        answer = ecs.describe_tasks(cluster=clusters[1], tasks=[asked])
        assert answer["tasks"] == []
        assert [failure["reason"] for failure in answer["failures"]] == ["MISSING"]
        assert answer["failures"][0]["arn"].endswith(tasks[0].id)


@pytest.mark.parametrize("groups, subnets", [(6, 1), (1, 17)])
def test_a_task_names_up_to_five_groups_and_sixteen_subnets(ecs, ec2, vpc, fargate_cluster, td_idle, groups, subnets):
    groups, subnets = [vpc.sgnone] * groups, [vpc.pria] * subnets
    code, message = refusal(
        ecs.run_task, cluster=fargate_cluster, taskDefinition=td_idle, launchType="FARGATE",
        networkConfiguration=network(subnets, groups),
    )  # fmt: skip
    name, most = ("securityGroups", 5) if len(groups) > 5 else ("subnets", 16)
    assert (code, message) == ("InvalidParameterException", f"{name} can have at most {most} items.")


def test_a_task_without_a_free_address_stops_with_the_reason(ecs, ec2, vpc, fargate_cluster, td_idle, runner):
    """A /28 has eleven addresses for tasks."""
    subnet = ec2.create_subnet(VpcId=vpc.id, CidrBlock="10.0.70.0/28", AvailabilityZone=f"{REGION}a")
    subnet = subnet["Subnet"]["SubnetId"]
    first = runner.start(fargate_cluster, td_idle, subnet, [vpc.sgnone], count=10)
    eleventh, twelfth = runner.start(fargate_cluster, td_idle, subnet, [vpc.sgnone], count=2)
    for task in [*first, eleventh]:
        task.wait()
    assert ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["AvailableIpAddressCount"] == 0
    described = twelfth.wait("tasks_stopped").describe()
    assert described["stopCode"] == "TaskFailedToStart"
    assert described["stoppedReason"] == (
        "Unexpected EC2 error while attempting to Create Network Interface with public IP assignment disabled in subnet "
        f"'{subnet}': InsufficientFreeAddressesInSubnet"
    )
    runner.stop_all()
    ec2.delete_subnet(SubnetId=subnet)


AGENT_CALLS = [
    ("register_container_instance", {}),
    ("discover_poll_endpoint", {}),
    ("submit_task_state_change", {"task": "0" * 32, "status": "RUNNING"}),
    ("submit_container_state_change", {"task": "0" * 32, "status": "RUNNING"}),
    ("submit_attachment_state_changes", {"attachments": [{"attachmentArn": "a", "status": "ATTACHED"}]}),
]


@pytest.mark.parametrize("call, arguments", AGENT_CALLS)
def test_calls_of_foreign_agents_are_refused_with_the_way_to_make_a_host(ecs, ec2_cluster, call, arguments):
    before = ecs.list_container_instances(cluster=ec2_cluster)["containerInstanceArns"]
    members = getattr(ecs.meta.service_model.operation_model(ecs.meta.method_to_api_mapping[call]), "input_shape").members
    cluster = {"cluster": ec2_cluster} if "cluster" in members else {}
    code, message = refusal(getattr(ecs, call), **cluster, **arguments)
    assert code == "ClientException", "an agent ends on this one and does not try again"
    assert "`berth up`" in message
    assert ecs.list_container_instances(cluster=ec2_cluster)["containerInstanceArns"] == before


@contextlib.contextmanager
def server_alone(berth, folder, *options):
    """A server without a node."""
    server = Berth(folder, berth.mirror)
    server.run, server.instance = folder / "run", "alone"
    server.environment |= {"BERTH_DATA": str(server.data), "BERTH_RUN": str(server.run), "BERTH_INSTANCE": "alone"}
    process = subprocess.Popen(
        ["berth", "server", "--listen", "127.0.0.1:0", *options],
        env=server.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        eventually((server.data / "credentials").exists, 30, "the server did not start")
        server.environment |= json.loads(server.berth("env", "--output", "json").stdout)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def throttled(berth, tmp_path):
    """A separate server with rate limits."""
    rates = ["aws", "ecs-cluster-modify=3/1", "ec2-read=2/1"]
    with server_alone(berth, tmp_path, "--throttle", ",".join(rates)) as server:
        yield server


def test_https_is_all_a_client_sees_with_tls(berth, tmp_path):
    """The aws CLI trusts the installation's authority only if `berth env` gives its path."""
    with server_alone(berth, tmp_path, "--tls") as server:
        assert server.environment["AWS_ENDPOINT_URL"].startswith("https://127.0.0.1:")
        assert server.aws("sts", "get-caller-identity")["Account"] == "123456789012"
        assert "clusterArns" in server.aws("ecs", "list-clusters")
        key = server.data / "ca/authority.json"
        assert (key.stat().st_mode & 0o777, key.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        del server.environment["AWS_CA_BUNDLE"]
        server.environment["AWS_MAX_ATTEMPTS"] = "1"
        untrusted = server.aws_raw("sts", "get-caller-identity")
        assert untrusted.returncode != 0 and "CERTIFICATE_VERIFY_FAILED" in untrusted.stderr
        health = server.status()["server"]["admin_endpoint"] + "/_berth/health"
        with urllib.request.urlopen(health, timeout=30) as answer:
            assert json.load(answer)["status"] == "ready"


def test_plain_http_is_refused_where_other_machines_could_read_it(berth):
    refused = berth.berth("up", "--listen", "0.0.0.0:0", check=False)
    assert refused.returncode != 0
    assert "add --tls, or --insecure-listen" in refused.stderr


def test_who_calls_too_often_is_throttled_until_it_calls_less_often(throttled):
    """Without retries the caller sees the error; with retries the call only takes longer."""
    hasty = botocore.config.Config(retries={"total_max_attempts": 1})
    ecs = throttled.client("ecs", config=hasty)

    def burst(call, **arguments):
        codes = []
        for _ in range(20):
            try:
                call(**arguments)
                codes.append(200)
            except ClientError as error:
                codes.append((error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]))
        return codes

    codes = burst(ecs.create_cluster, clusterName="often")
    assert codes[:3] == [200] * 3 and ("ThrottlingException", 400) in codes
    assert set(codes) == {200, ("ThrottlingException", 400)}
    assert set(burst(ecs.list_clusters)) == {200}, "another group of operations"
    codes = burst(throttled.client("ec2", config=hasty).describe_vpcs)
    assert codes[0] == 200 and ("RequestLimitExceeded", 503) in codes
    assert throttled.aws("ecs", "create-cluster", "--cluster-name", "patient")["cluster"]["status"] == "ACTIVE"
