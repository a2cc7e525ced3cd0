# SPDX-License-Identifier: Apache-2.0
"""Network mode awsvpc: every task has its own interface, ports without conflicts, one namespace for its containers."""

import ipaddress
import os

import pytest
from conftest import TIMED_OUT, container, refusal


@pytest.fixture(scope="module")
def copies(shared, vpc, fargate_cluster, td_web):
    """Five copies of one definition in one subnet, all on port 80."""
    return shared.running(fargate_cluster, td_web, vpc.pria, [vpc.sg80], count=5)


@pytest.fixture(scope="module")
def wordpress(shared, vpc, fargate_cluster, register):
    """An application and its database, which listens on 3306 (and 3000)."""
    definition = register(
        "wordpress",
        container("app", "busybox", ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"],
                  environment=[{"name": "WORDPRESS_DB_HOST", "value": "127.0.0.1:3306"}]),
        container("db", "web", ["whoami", "3306", "3000"], [3306, 3000]),
    )  # fmt: skip
    return shared.one(fargate_cluster, definition, vpc.pria, [vpc.sgall])


@pytest.mark.parametrize("mode", ["host", "none"])
def test_fargate_refuses_other_network_modes(ecs, mode):
    code, message = refusal(
        ecs.register_task_definition, family="mode", networkMode=mode, requiresCompatibilities=["FARGATE"], cpu="256",
        memory="512", containerDefinitions=[container("web")],
    )  # fmt: skip
    assert code == "ClientException"
    assert "Fargate only supports network mode ‘awsvpc’." in message


def test_each_task_gets_an_interface_and_an_address_of_its_own(vpc, copies):
    for name in ["networkInterfaceId", "macAddress", "privateIPv4Address"]:
        assert len({task.detail(name) for task in copies}) == len(copies)
    block = ipaddress.ip_network(vpc.cidrs[vpc.pria])
    reserved = {block[0], block[1], block[2], block[3], block[-1]}
    for task in copies:
        address = ipaddress.ip_address(task.ip)
        assert address in block and address not in reserved


def test_two_applications_listen_on_the_same_port(vpc, shared, copies, fargate_cluster, register):
    other = register("other-on-80", container("other", "api", ["whoami", "--name", "other", "80"], [80]))
    second = shared.one(fargate_cluster, other, vpc.pria, [vpc.sg80])
    asking = copies[0]
    assert asking.ask(f"http://{copies[1].ip}:80/")["name"] == "web"
    assert asking.ask(f"http://{second.ip}:80/")["name"] == "other"


def test_copies_of_one_application_all_answer_on_the_same_port(vpc, berth, copies):
    addresses = [task.ip for task in copies]
    assert len(set(addresses)) == 5
    script = " && ".join(f"curl -sS --fail --max-time 5 http://{address}/" for address in addresses)
    done = berth.seat(vpc.puba, [vpc.sgnone], "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 5


def test_a_task_is_placed_in_the_subnet_asked_for(vpc, runner, fargate_cluster, td_idle):
    task = runner.start(fargate_cluster, td_idle, vpc.prib, [vpc.sgnone])[0]
    assert task.wait().describe()["availabilityZone"] == "us-west-2b"
    assert ipaddress.ip_address(task.ip) in ipaddress.ip_network("10.0.11.0/24")


def test_tasks_of_one_definition_have_different_security_groups(vpc, berth, shared, copies, fargate_cluster, td_web):
    closed = shared.one(fargate_cluster, td_web, vpc.pria, [vpc.sgnone])
    curl = ["curl", "-s", "-o", "/dev/null", "--max-time", "3"]
    assert berth.seat(vpc.puba, [], *curl, f"http://{copies[0].ip}/").returncode == 0
    assert berth.seat(vpc.puba, [], *curl, f"http://{closed.ip}/").returncode == TIMED_OUT


def test_a_host_port_follows_the_container_port(ecs):
    answer = ecs.register_task_definition(
        family="ports-19", networkMode="awsvpc", containerDefinitions=[container("app", ports=[3000], memory=64)]
    )
    mapping = answer["taskDefinition"]["containerDefinitions"][0]["portMappings"][0]
    assert mapping == {"containerPort": 3000, "hostPort": 3000, "protocol": "tcp"}


def test_a_host_port_must_equal_the_container_port(ecs):

    def register(host_port):
        web = container("web", memory=64) | {"portMappings": [{"containerPort": 80, "hostPort": host_port}]}
        return {"family": "ports-20", "networkMode": "awsvpc", "containerDefinitions": [web]}

    ecs.register_task_definition(**register(80))
    code, message = refusal(ecs.register_task_definition, **register(8080))
    assert code == "ClientException"
    assert "When networkMode=awsvpc, the host ports and container ports in port mappings must match." in message


def test_a_container_port_is_reached_at_the_address_of_the_interface(copies, wordpress):
    assert copies[0].ask(f"http://{wordpress.ip}:3000/")["local"] == f"{wordpress.ip}:3000"


def test_container_ports_of_a_definition_are_unique_for_each_protocol(ecs):

    def register(second):
        containers = [container("a", ports=[80], memory=64), container("b", memory=64) | {"portMappings": [second]}]
        return {"family": "ports-22", "networkMode": "awsvpc", "containerDefinitions": containers}

    code, message = refusal(ecs.register_task_definition, **register({"containerPort": 80}))
    assert code == "ClientException"
    assert "container port" in message and "used multiple times" in message
    ecs.register_task_definition(**register({"containerPort": 80, "protocol": "udp"}))


def test_links_have_no_place_in_awsvpc(ecs):

    def register(mode):
        containers = [container("app", memory=64, links=["db"]), container("db", memory=64)]
        return {"family": "links", "networkMode": mode, "containerDefinitions": containers}

    code, message = refusal(ecs.register_task_definition, **register("awsvpc"))
    assert (code, message) == ("ClientException", "Links are not supported when networkMode=awsvpc.")
    ecs.register_task_definition(**register("bridge"))


def test_containers_of_a_task_share_a_namespace_and_its_loopback(wordpress):
    """By address and by name."""
    for name in ["127.0.0.1", "localhost"]:
        done = wordpress.tx("app", "nc", "-w", "3", name, "3306", "-e", "true")
        assert done.returncode == 0, f"{name}: {done.stderr}"
    namespaces = {os.readlink(f"/proc/{wordpress.pid(name)}/ns/net") for name in ["app", "db"]}
    assert len(namespaces) == 1


def test_the_environment_of_the_definition_reaches_the_container(wordpress):
    with open(f"/proc/{wordpress.pid('app')}/environ") as file:
        assert "WORDPRESS_DB_HOST=127.0.0.1:3306" in file.read().split("\0")
