# SPDX-License-Identifier: Apache-2.0
"""Launch types, clusters and compatibilities."""

import pytest
from conftest import refusal

NGINX_FARGATE = {
    "family": "nginx-fargate",
    "requiresCompatibilities": ["FARGATE"],
    "containerDefinitions": [
        {"name": "nginx", "image": "nginx", "memory": 256, "cpu": 256, "essential": True,
         "portMappings": [{"containerPort": 80, "hostPort": 80, "protocol": "tcp"}]}
    ],
    "networkMode": "awsvpc",
    "memory": "512",
    "cpu": "256",
}  # fmt: skip


def without(definition, *names):
    return {name: value for name, value in definition.items() if name not in names}


def test_a_fargate_task_runs_in_a_cluster_without_instances(ecs, vpc, fargate_cluster, runner):
    ecs.register_task_definition(**NGINX_FARGATE)
    task = runner.one(fargate_cluster, "nginx-fargate", vpc.puba, [vpc.sg80])
    described = task.describe()
    assert (described["launchType"], described["platformVersion"]) == ("FARGATE", "1.4.0")
    cluster = ecs.describe_clusters(clusters=[fargate_cluster])["clusters"][0]
    assert cluster["registeredContainerInstancesCount"] == 0
    assert cluster["runningTasksCount"] == 1


def test_a_task_needs_a_cluster_that_exists(ecs, vpc, td_web):
    network = {"awsvpcConfiguration": {"subnets": [vpc.puba]}}
    code, message = refusal(
        ecs.run_task, cluster="nosuch", taskDefinition=td_web, launchType="FARGATE", networkConfiguration=network
    )
    assert (code, message) == ("ClusterNotFoundException", "Cluster not found.")


def test_fargate_is_given_only_to_definitions_with_network_mode_awsvpc(ecs):
    definition = ecs.register_task_definition(**NGINX_FARGATE | {"family": "nginx-fargate-7"})["taskDefinition"]
    assert (definition["status"], definition["revision"]) == ("ACTIVE", 1)
    code, message = refusal(ecs.register_task_definition, **without(NGINX_FARGATE, "networkMode"))
    assert code == "ClientException"
    assert "Fargate only supports network mode ‘awsvpc’." in message


@pytest.mark.parametrize("asked", [["EC2"], ["FARGATE"], ["EC2", "FARGATE"]])
def test_a_definition_can_ask_for_either_launch_type_or_both(ecs, asked):
    definition = ecs.register_task_definition(**NGINX_FARGATE | {"requiresCompatibilities": asked})["taskDefinition"]
    assert definition["requiresCompatibilities"] == asked
    assert {"EC2", "FARGATE"} <= set(definition["compatibilities"])


def test_a_definition_need_not_ask_for_a_launch_type(ecs, vpc, fargate_cluster, runner):
    definition = without(NGINX_FARGATE, "requiresCompatibilities") | {"family": "nginx-any"}
    registered = ecs.register_task_definition(**definition)["taskDefinition"]
    assert "requiresCompatibilities" not in registered
    assert runner.one(fargate_cluster, "nginx-any", vpc.puba, [vpc.sg80]).describe()["launchType"] == "FARGATE"
