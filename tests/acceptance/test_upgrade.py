# SPDX-License-Identifier: Apache-2.0
"""Files of an earlier program are taken over: every record answers as before, and the node's journal is processed.

The host of these files was cut off while its tasks ran, so their containers are gone: each task ends with a reason and
releases its resources. Tasks that run through an upgrade are in `soak_upgrade.py`.
"""

import json
import pathlib
import tarfile

import pytest
from conftest import CLUSTER, PROGRAMS, eventually
from previous import COMMITS, World, installation, own_network, plain, steady

FILES = pathlib.Path(__file__).parent / "previous"


@pytest.fixture(scope="module", params=COMMITS)
def taken_over(request):
    with own_network(), installation(PROGRAMS) as berth:
        with tarfile.open(FILES / f"{request.param}.tar.gz") as archive:
            archive.extractall(berth.data, filter="fully_trusted")
        berth.commit = request.param
        berth.up()
        yield berth


@pytest.fixture(scope="module")
def before(taken_over):
    return json.loads((taken_over.data / "answers.json").read_text())


def test_every_record_answers_as_before(taken_over, before):
    after = plain(World(taken_over).answers())
    for kind, answer in steady(after).items():
        assert answer == steady(before)[kind], kind


def test_tasks_whose_containers_are_gone_end_and_give_back_what_they_held(taken_over, before):
    ecs, ec2 = taken_over.ecs, taken_over.ec2
    running = [task["taskArn"] for task in before["tasks"] if task["lastStatus"] == "RUNNING"]
    assert running
    ecs.get_waiter("tasks_stopped").wait(
        cluster=CLUSTER, tasks=running, WaiterConfig={"Delay": 0.2, "MaxAttempts": 450}
    )
    for task in ecs.describe_tasks(cluster=CLUSTER, tasks=running)["tasks"]:
        assert task["stoppedReason"] and task["stopCode"], task
    held = {detail["value"] for task in before["tasks"] for each in task["attachments"] for detail in each["details"]}
    free = lambda: not held & {each["NetworkInterfaceId"] for each in ec2.describe_network_interfaces()["NetworkInterfaces"]}
    eventually(free, 30, "interfaces of ended tasks are still there")
    left = lambda: {path.name for path in (taken_over.data / "node/tasks").glob("*")} & {arn.split("/")[-1] for arn in running}
    eventually(lambda: not left(), 30, "folders of ended tasks are still there")


def test_new_tasks_run_in_the_networks_and_by_the_definitions_taken_over(taken_over, before):
    world = World(taken_over)
    vpc = taken_over.ec2.describe_vpcs(Filters=[{"Name": "tag:Name", "Values": [taken_over.commit]}])["Vpcs"][0]["VpcId"]
    place = lambda kind, name: [{"Name": "vpc-id", "Values": [vpc]}, {"Name": kind, "Values": [name]}]
    world.pria = taken_over.ec2.describe_subnets(Filters=place("cidr-block", "10.77.10.0/24"))["Subnets"][0]["SubnetId"]
    groups = taken_over.ec2.describe_security_groups(Filters=place("group-name", "sgall"))["SecurityGroups"]
    world.sgall = groups[0]["GroupId"]
    pair = [world.start(world, f"after-{kind}", "web", kind).wait().wait_until_listening() for kind in ["FARGATE", "EC2"]]
    assert pair[0].curl(f"http://{pair[1].ip}/") == 0
    for task in pair:
        task.stop()
        task.wait("tasks_stopped")
