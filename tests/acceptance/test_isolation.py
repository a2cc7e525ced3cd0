# SPDX-License-Identifier: Apache-2.0
"""Two VPCs with the same addresses, and a task that impersonates another one: no packet crosses."""

import pytest
from conftest import TIMED_OUT, Vpc
from packets import arp_reply_frame, peer_in, recorded, udp_frame


@pytest.fixture(scope="module")
def twins(ec2, shared, fargate_cluster, td_ports):
    """In each of two equal VPCs a client and a server; the servers have the same address."""
    made = []
    for _ in range(2):
        vpc = Vpc(ec2, "10.77.0.0/16")
        server = shared.start(fargate_cluster, td_ports, vpc.pria, [vpc.sgall])[0]
        client = shared.start(fargate_cluster, td_ports, vpc.pria, [vpc.sgall])[0]
        made.append((vpc, server.wait(), client.wait()))
    return made


def test_equal_addresses_in_two_vpcs_are_two_tasks(twins):
    """Each client reaches the server of its own VPC."""
    (_, one, client_one), (_, two, client_two) = twins
    assert one.ip == two.ip and client_one.ip == client_two.ip
    own = [task.ask("http://127.0.0.1:80/")["id"] for task in (one, two)]
    seen = [client.ask(f"http://{one.ip}/")["id"] for client in (client_one, client_two)]
    assert seen == own and own[0] != own[1]


def test_no_packet_crosses_between_equal_vpcs(vpc, twins, shared, fargate_cluster, td_ports):
    """Requests to all ports in one VPC are not seen in the other, nor in a third."""
    (_, one, client_one), (_, two, _) = twins
    stranger = shared.one(fargate_cluster, td_ports, vpc.pria, [vpc.sgall])
    with recorded(two, f"host {client_one.ip} or arp") as other_side:
        for port in [80, 8080, 9000]:
            assert client_one.curl(f"http://{one.ip}:{port}/") == 0
        assert stranger.curl(f"http://{one.ip}/") == TIMED_OUT
    assert [line for line in other_side if client_one.mac in line or stranger.mac in line] == []


def test_a_foreign_hardware_address_reaches_nobody(twins):
    """A frame with the MAC of another interface is dropped at the port, whatever its destination."""
    (_, server, client), _ = twins
    foreign = "02:de:ad:be:ef:01"
    with recorded(server, f"ether src {foreign}") as packets, peer_in(client) as peer:
        for target in [server.mac, "ff:ff:ff:ff:ff:ff"]:
            peer.must("frame", client.device, udp_frame(foreign, target, client.ip, server.ip))
        assert client.curl(f"http://{server.ip}/") == 0
    assert packets == []


def test_a_false_arp_answer_reaches_nobody(twins):
    """A task cannot make itself the owner of another address."""
    (_, server, client), _ = twins
    with recorded(server, "arp") as packets, peer_in(client) as peer:
        for claimed in ["10.77.10.1", "10.77.10.200"]:
            for target in [server.mac, "ff:ff:ff:ff:ff:ff"]:
                frame = arp_reply_frame(client.mac, target, claimed, client.mac, server.ip)
                peer.must("frame", client.device, frame)
        assert client.curl(f"http://{server.ip}/") == 0
    assert [line for line in packets if client.mac in line] == []
    neighbours = server.net("ip", "neigh", "show").stdout
    assert client.mac not in [line.split()[4] for line in neighbours.splitlines() if line.startswith("10.77.10.1 ")]


def test_no_frame_leaves_with_an_address_of_the_other_vpc(ec2, twins):
    """An address that exists only in the other VPC times out."""
    (_, _, client), (other, two, _) = twins
    eni = ec2.create_network_interface(SubnetId=other.puba, Groups=[other.sgall])["NetworkInterface"]
    assert client.curl(f"http://{eni['PrivateIpAddress']}/") == TIMED_OUT
    ec2.delete_network_interface(NetworkInterfaceId=eni["NetworkInterfaceId"])
    assert two.ask("http://127.0.0.1/")["name"] == "web"
