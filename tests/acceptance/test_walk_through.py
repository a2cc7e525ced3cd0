# SPDX-License-Identifier: Apache-2.0
"""The walk-through of "Introducing Cloud Native Networking for Amazon ECS", typed with the aws CLI as printed there."""

import json
import shutil

import pytest
from conftest import CLUSTER, REPOSITORY, TIMED_OUT, Task, eventually


@pytest.fixture(scope="module")
def walk(berth, vpc, tmp_path_factory):
    """The commands in their order, with their answers."""
    folder = tmp_path_factory.mktemp("walk")
    shutil.copy(REPOSITORY / "examples/nginx-awsvpc.json", folder)
    answers = {"cluster": berth.aws("ecs", "create-cluster", "--cluster-name", CLUSTER)["cluster"]}
    group = berth.aws(
        "ec2", "create-security-group", "--group-name", "awsvpc-demo", "--description", "nginx", "--vpc-id", vpc.id
    )["GroupId"]
    berth.aws(
        "ec2", "authorize-security-group-ingress", "--group-id", group, "--protocol", "tcp", "--port", "80",
        "--cidr", "0.0.0.0/0",
    )  # fmt: skip
    answers["definition"] = berth.aws(
        "ecs", "register-task-definition", "--cli-input-json", "file://./nginx-awsvpc.json", cwd=folder
    )["taskDefinition"]
    eventually(lambda: berth.ecs.list_container_instances(cluster=CLUSTER)["containerInstanceArns"], 30)
    answers["run"] = berth.aws(
        "ecs", "run-task", "--cluster", CLUSTER, "--network-configuration",
        f'awsvpcConfiguration={{subnets=["{vpc.pria}"],securityGroups=["{group}"]}}',
        "--task-definition", "nginx-awsvpc",
    )  # fmt: skip
    arn = answers["run"]["tasks"][0]["taskArn"]
    answers["task"] = Task(berth, CLUSTER, arn)
    try:
        berth.aws("ecs", "wait", "tasks-running", "--cluster", CLUSTER, "--tasks", arn)
        query = ["ecs", "describe-tasks", "--cluster", CLUSTER, "--task", arn, "--query"]
        answers["described"] = berth.aws(*query, "tasks[0]")
        path = "tasks[0].containers[0].networkInterfaces[0].privateIpv4Address"
        answers["address"] = berth.aws(*query, path)
        yield answers
    finally:
        berth.ecs.stop_task(cluster=CLUSTER, task=arn)
        answers["task"].wait("tasks_stopped")


def test_the_cluster_is_active(walk):
    assert (walk["cluster"]["clusterName"], walk["cluster"]["status"]) == (CLUSTER, "ACTIVE")


def test_the_definition_differs_only_in_its_network_mode(walk):
    definition = walk["definition"]
    assert (definition["family"], definition["networkMode"]) == ("nginx-awsvpc", "awsvpc")
    assert definition["revision"] >= 1
    assert "ecs.capability.task-eni" in [attribute["name"] for attribute in definition["requiresAttributes"]]
    assert "EC2" in definition["compatibilities"]
    (nginx,) = definition["containerDefinitions"]
    assert (nginx["cpu"], nginx["memory"], nginx["portMappings"][0]["containerPort"]) == (100, 512, 80)


def test_subnets_must_be_given(berth, walk):
    done = berth.aws_raw("ecs", "run-task", "--cluster", CLUSTER, "--task-definition", "nginx-awsvpc")
    assert done.returncode != 0
    assert "InvalidParameterException" in done.stderr
    assert "Network Configuration must be provided when networkMode 'awsvpc' is specified." in done.stderr


def test_run_task_answers_with_a_precreated_attachment(vpc, walk):
    assert walk["run"]["failures"] == []
    (task,) = walk["run"]["tasks"]
    (attachment,) = task["attachments"]
    assert (attachment["type"], attachment["status"]) == ("ElasticNetworkInterface", "PRECREATED")
    assert {"name": "subnetId", "value": vpc.pria} in attachment["details"]


def test_describe_tasks_shows_the_interface(walk):
    task = walk["described"]
    assert task["group"] == "family:nginx-awsvpc"
    (attachment,) = task["attachments"]
    assert (attachment["type"], attachment["status"]) == ("ElasticNetworkInterface", "ATTACHED")
    details = {pair["name"]: pair["value"] for pair in attachment["details"]}
    assert {"subnetId", "networkInterfaceId", "macAddress", "privateIPv4Address"} <= set(details)
    assert (task["desiredStatus"], task["lastStatus"]) == ("RUNNING", "RUNNING")
    (nginx,) = task["containers"]
    assert (nginx["name"], nginx["networkBindings"], nginx["lastStatus"]) == ("nginx", [], "RUNNING")
    assert nginx["networkInterfaces"] == [
        {"attachmentId": attachment["id"], "privateIpv4Address": details["privateIPv4Address"]}
    ]


def test_the_query_of_the_post_gives_the_address(walk):
    details = {pair["name"]: pair["value"] for pair in walk["described"]["attachments"][0]["details"]}
    assert walk["address"] == details["privateIPv4Address"]


def test_the_page_is_served_at_the_address(berth, vpc, walk):
    done = berth.seat(vpc.puba, [vpc.sgnone], "curl", "-sS", "--max-time", "5", f"http://{walk['address']}/")
    assert done.returncode == 0, done.stderr
    assert "Welcome to nginx!" in done.stdout


def test_ingress_is_open_on_port_80_only(berth, vpc, walk):
    curl = "curl -s -o /dev/null --max-time 3"
    script = "; ".join(f"{curl} http://{walk['address']}:{port}/; echo $?" for port in [80, 443, 22])
    done = berth.seat(vpc.puba, [vpc.sgnone], "sh", "-c", script)
    assert done.stdout.split() == ["0", str(TIMED_OUT), str(TIMED_OUT)]


def test_the_interface_was_made_for_the_user_not_by_the_user(ec2, walk):
    """The walk-through calls no operation on interfaces, yet there is one, and it is not the user's."""
    eni = ec2.describe_network_interfaces(NetworkInterfaceIds=[walk["task"].eni])["NetworkInterfaces"][0]
    assert eni["PrivateIpAddress"] == walk["address"]
    assert eni["Attachment"]["Status"] == "attached"
    assert eni["Description"].endswith(f"attachment/{walk['described']['attachments'][0]['id']}")


def test_a_second_copy_runs_beside_it_on_the_same_port(berth, vpc, walk, runner):
    second = runner.one(CLUSTER, "nginx-awsvpc", vpc.pria, [vpc.sg80], launch_type="EC2")
    curl = "curl -sS --fail -o /dev/null --max-time 5"
    script = f"{curl} http://{walk['address']}/ && {curl} http://{second.ip}/"
    done = berth.seat(vpc.puba, [vpc.sgnone], "sh", "-c", script)
    assert done.returncode == 0, done.stderr


def test_env_points_the_tools_at_berth(berth):
    """`eval "$(berth env)"` is sufficient for a user."""
    done = berth.berth("env").stdout
    identity = berth.aws("sts", "get-caller-identity")
    assert "export AWS_ENDPOINT_URL='http://127.0.0.1:4566'" in done
    assert identity["Account"] == "123456789012"
    assert json.loads(berth.berth("status", "--output", "json").stdout)["server"]["endpoint"] in done
