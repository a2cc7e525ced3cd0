# SPDX-License-Identifier: Apache-2.0
"""Network interfaces of tasks: their attributes, permissions, creation and removal."""

import ipaddress
import json
import subprocess

import pytest
from conftest import CLUSTER, REGION, TIMED_OUT, Task, container, eventually, refusal
from packets import peer_in, recorded, udp_frame


@pytest.fixture(scope="module")
def pair(shared, vpc, fargate_cluster, td_ports):
    """Two tasks in one subnet that admit everything from the VPC."""
    return shared.running(fargate_cluster, td_ports, vpc.pria, [vpc.sgall], count=2)


def drops(berth, eni):
    stats = json.loads(berth.berth("eni", "stats", eni, "--output", "json").stdout)
    return sum(stats[0]["drops"].values())


def test_an_interface_has_subnet_groups_and_address(ec2, vpc, pair):
    task = pair[0]
    eni = ec2.describe_network_interfaces(NetworkInterfaceIds=[task.eni])["NetworkInterfaces"][0]
    assert (eni["SubnetId"], eni["VpcId"]) == (vpc.pria, vpc.id)
    assert [group["GroupId"] for group in eni["Groups"]] == [vpc.sgall]
    assert (eni["PrivateIpAddress"], eni["MacAddress"], eni["Status"]) == (task.ip, task.mac, "in-use")
    arn = eni["Description"].split(":")
    assert arn[:3] == ["arn", "aws", "ecs"] and arn[5] == f"attachment/{task.attachment['id']}"


def test_fifty_tasks_start_with_a_working_network_and_addresses_of_their_own(
    berth, ec2, vpc, pair, runner, fargate_cluster, register
):
    """The very first commands of each container need the network."""
    target = pair[0].ip
    script = f"ip -4 addr show dev eth1 && timeout 5 wget -q -O - http://{target}:80/ && echo network-works; exec /bin/whoami idle"
    first = register("first-action", container("first", command=["sh", "-c", script]))
    subnet = ec2.create_subnet(VpcId=vpc.id, CidrBlock="10.0.105.0/24", AvailabilityZone="us-west-2a")
    subnet = subnet["Subnet"]["SubnetId"]

    def free():
        return ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["AvailableIpAddressCount"]

    before = free()
    tasks = []
    for _ in range(5):
        tasks += runner.start(fargate_cluster, first, subnet, [vpc.sgnone], count=10)
    for task in tasks:
        task.wait()
    assert free() == before - 50
    addresses = {task.ip for task in tasks}
    assert len(addresses) == 50
    for task in tasks:
        logged = berth.wait_for_log(task, "network-works")
        assert f"inet {task.ip}/24" in logged
        assert f'"peer":"{task.ip}:' in logged


def test_a_host_of_the_vpc_reaches_a_task_in_another_zone_untranslated(berth, vpc, runner, fargate_cluster, td_ports):
    task = runner.one(fargate_cluster, td_ports, vpc.prib, [vpc.sgall])
    done = berth.seat(vpc.puba, [vpc.sgall], "sh", "-c", f"echo $BERTH_ADDRESS; curl -sS --max-time 5 http://{task.ip}/")
    assert done.returncode == 0, done.stderr
    address, answer = done.stdout.splitlines()
    assert f'"peer":"{address}:' in answer and f'"local":"{task.ip}:80"' in answer
    other = runner.one(fargate_cluster, td_ports, vpc.puba, [vpc.sgall])
    done = other.tx("web", "ping", "-c", "3", "-W", "3", task.ip)
    assert done.returncode == 0 and " 0% packet loss" in done.stdout, done.stdout


def test_an_address_outside_the_subnet_is_refused(ec2, vpc):
    """The interface."""
    code, _ = refusal(ec2.create_network_interface, SubnetId=vpc.pria, PrivateIpAddress="10.0.99.9")
    assert code == "InvalidParameterValue"


def test_a_packet_with_a_foreign_source_reaches_nobody(berth, pair):
    """The packets: an address set by hand, and a hand-made frame."""
    sender, receiver = pair
    before = drops(berth, sender.eni)
    with recorded(receiver, "src host 10.0.10.99", receiver.device) as packets, peer_in(sender) as peer:
        sender.net("ip", "addr", "add", "10.0.10.99/32", "dev", sender.device)
        done = sender.net("curl", "-s", "--interface", "10.0.10.99", "--max-time", "3", f"http://{receiver.ip}/")
        assert done.returncode == TIMED_OUT
        frame = udp_frame(sender.mac, receiver.mac, "10.0.10.99", receiver.ip)
        peer.must("frame", sender.device, frame)
        sender.net("ip", "addr", "del", "10.0.10.99/32", "dev", sender.device)
        # The sender may still request the receiver's hardware address with the foreign one as sender.
        sender.net("ip", "neigh", "flush", "to", receiver.ip, "dev", sender.device)
        # A request that is answered comes after the others: packets that have not arrived by then never will.
        assert sender.curl(f"http://{receiver.ip}/") == 0
    assert packets == []
    assert drops(berth, sender.eni) > before


def test_many_copies_run_on_one_instance_until_its_slots_are_used(ecs, ec2_cluster, vpc, runner, berth):
    """All on port 80 without mapping; then RESOURCE:ENI."""
    ecs.register_task_definition(
        family="copies-112", networkMode="awsvpc",
        containerDefinitions=[container("web", command=["whoami", "80"], ports=[80], memory=32)],
    )  # fmt: skip
    tasks = runner.running(ec2_cluster, "copies-112", vpc.pria, [vpc.sg80], launch_type="EC2", count=4)
    assert len({task.describe()["containerInstanceArn"] for task in tasks}) == 1
    for task in tasks:
        assert tasks[0].ask(f"http://{task.ip}:80/")["local"] == f"{task.ip}:80"
    network = {"awsvpcConfiguration": {"subnets": [vpc.pria], "securityGroups": [vpc.sg80]}}
    failures = []
    for _ in range(9):  # the instance has 80 slots
        answer = ecs.run_task(
            cluster=ec2_cluster, taskDefinition="copies-112", count=10, launchType="EC2", networkConfiguration=network
        )
        runner.started += [Task(berth, ec2_cluster, task["taskArn"]) for task in answer["tasks"]]
        failures += answer["failures"]
        if failures:
            break
    assert {failure["reason"] for failure in failures} == {"RESOURCE:ENI"}


def test_only_the_port_of_the_group_is_open(berth, vpc, runner, fargate_cluster, td_ports):
    """The others time out although there is a listener; no other group was changed."""
    others = [vpc.sgall, vpc.sgnone]
    before = berth.ec2.describe_security_groups(GroupIds=others)["SecurityGroups"]
    task = runner.one(fargate_cluster, td_ports, vpc.pria, [vpc.sg80])
    curl = "curl -s -o /dev/null --max-time 3"
    script = "; ".join(f"{curl} http://{task.ip}:{port}/; echo $?" for port in [80, 22, 8080])
    done = berth.seat(vpc.puba, [vpc.sgnone], "sh", "-c", script)
    assert done.stdout.split() == ["0", str(TIMED_OUT), str(TIMED_OUT)]
    for port in [22, 8080]:
        assert task.ask(f"http://127.0.0.1:{port}/")["name"] == "web"
    assert berth.ec2.describe_security_groups(GroupIds=others)["SecurityGroups"] == before


def test_an_interface_is_made_on_demand(ecs, ec2, vpc, runner, fargate_cluster, td_idle):
    subnet = ec2.create_subnet(VpcId=vpc.id, CidrBlock="10.0.123.0/24")["Subnet"]["SubnetId"]

    def there():
        answer = ec2.describe_network_interfaces(Filters=[{"Name": "subnet-id", "Values": [subnet]}])
        return answer["NetworkInterfaces"]

    assert there() == []
    answer = ecs.run_task(
        cluster=fargate_cluster, taskDefinition=td_idle, launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": [vpc.sgnone]}},
    )  # fmt: skip
    (started,) = answer["tasks"]
    assert started["lastStatus"] == "PROVISIONING"
    runner.started.append(Task(runner.berth, fargate_cluster, started["taskArn"]))
    assert len(there()) == 1
    runner.started[-1].wait()
    assert there()[0]["Status"] == "in-use"


@pytest.mark.parametrize("launch_type", ["FARGATE", "EC2"])
def test_nothing_is_left_of_a_stopped_task(berth, ecs, ec2, vpc, runner, clusters, td_web, launch_type):
    """The end of the walk-through leaves no interface, link, namespace, process, mount, cgroup or address."""
    third = {"FARGATE": 124, "EC2": 125}[launch_type]
    if launch_type == "EC2":
        eventually(lambda: ecs.list_container_instances(cluster=CLUSTER)["containerInstanceArns"], 30)
    subnet = ec2.create_subnet(VpcId=vpc.id, CidrBlock=f"10.0.{third}.0/24", AvailabilityZone=REGION + "a")
    subnet = subnet["Subnet"]["SubnetId"]
    cluster = clusters[0 if launch_type == "EC2" else 1]
    task = runner.one(cluster, td_web, subnet, [vpc.sg80], launch_type=launch_type)
    pids = [task.pid(), task.pause()[1]]
    eni, own = task.eni, task.id
    assert machine_names(own, eni), "a running task is seen somewhere"
    task.stop()
    described = task.wait("tasks_stopped").describe()
    assert described["attachments"][0]["status"] == "DELETED"
    code, _ = refusal(ec2.describe_network_interfaces, NetworkInterfaceIds=[eni])
    assert code == "InvalidNetworkInterfaceID.NotFound"
    assert ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["AvailableIpAddressCount"] == 251
    ec2.delete_subnet(SubnetId=subnet)
    assert machine_names(own, eni) == []
    for pid in pids:
        assert not process_lives(pid)


def machine_names(task, eni):
    """Mounts, cgroups and links of this machine that carry the task's or the interface's id."""
    mounts = [line for line in open("/proc/self/mounts") if task in line]
    cgroups = subprocess.run(
        ["find", "/sys/fs/cgroup", "-type", "d", "-name", f"*{task}*"], capture_output=True, text=True
    ).stdout.split()
    links = [line for line in run_everywhere("ip", "-o", "link") if eni[-8:] in line]
    return mounts + cgroups + links


def run_everywhere(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def process_lives(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_user_cannot_detach_or_delete_the_interface_of_a_task(ec2, pair):
    eni = ec2.describe_network_interfaces(NetworkInterfaceIds=[pair[0].eni])["NetworkInterfaces"][0]
    code, _ = refusal(ec2.detach_network_interface, AttachmentId=eni["Attachment"]["AttachmentId"])
    assert code == "OperationNotPermitted"
    code, _ = refusal(ec2.delete_network_interface, NetworkInterfaceId=pair[0].eni)
    assert code in ("OperationNotPermitted", "InvalidNetworkInterface.InUse", "InvalidParameterValue")
    assert pair[1].curl(f"http://{pair[0].ip}/") == 0


def test_addresses_are_never_the_reserved_ones(ec2, vpc):
    """The five addresses of each subnet that AWS reserves."""
    for address in ["10.0.10.0", "10.0.10.1", "10.0.10.2", "10.0.10.3", "10.0.10.255"]:
        assert ipaddress.ip_address(address) in ipaddress.ip_network(vpc.cidrs[vpc.pria])
        assert refusal(ec2.create_network_interface, SubnetId=vpc.pria, PrivateIpAddress=address)[0] in (
            "InvalidParameterValue", "InvalidIPAddress.InUse",
        )  # fmt: skip
