# SPDX-License-Identifier: Apache-2.0
"""Failed starts, a second installation in one network namespace, and callers without the rights they need."""

import pathlib
import shutil
import subprocess
import tempfile

import pytest
from conftest import PROGRAMS, Berth
from test_hosts import left_of


@pytest.fixture
def second(berth, tmp_path):
    installation = Berth(tmp_path, berth.mirror, "second")
    yield installation
    installation.berth("down", "--purge", check=False)


def test_a_second_installation_in_one_network_namespace_is_refused(berth, second):
    up = ["up", "--detach", "--listen", "127.0.0.1:0"]
    refused = second.berth(*up, check=False)
    assert refused.returncode == 1
    for word in [f"the installation {berth.instance} in {berth.run} uses this network namespace", "ip netns", " down"]:
        assert word in refused.stderr
    # Also where the namespace is another, but the name is not.
    namesake = ["unshare", "--net", "berth", "--instance", berth.instance, *up]
    refused = subprocess.run(namesake, env=second.environment, capture_output=True, text=True)
    assert refused.returncode == 1
    assert f"the installation in {berth.run} has the name {berth.instance}, too" in refused.stderr
    assert left_of(second) == []
    # Tasks do not need a node; without one their bridge is still in use.
    berth.kill("node")
    assert second.berth(*up, check=False).returncode == 1


def test_a_start_that_fails_ends_all_it_started(second, tmp_path):
    """Its containerd listens, but the started process ends: at that point a data path and a bridge exist, too."""
    program = tmp_path / "bin" / "containerd"
    program.parent.mkdir()
    socket = second.run / "containerd/containerd.sock"
    program.write_text(
        "#!/bin/sh\n"
        f'env -u NOTIFY_SOCKET {shutil.which("containerd")} "$@" &\n'
        f"until [ -S {socket} ]; do sleep 0.05; done; exit 1\n"
    )  # fmt: skip
    program.chmod(0o755)
    script = "ip link set lo up; exec berth up --listen 127.0.0.1:0"
    environment = second.environment | {"PATH": f"{program.parent}:{second.environment['PATH']}"}
    failed = subprocess.run(
        ["unshare", "--net", "sh", "-c", script], env=environment, capture_output=True, text=True, timeout=120
    )
    assert failed.returncode == 1
    assert "node ended before it was ready" in failed.stderr
    assert "the objects of this start are removed" in failed.stderr and "`berth doctor`" in failed.stderr
    assert (second.data / "containerd/io.containerd.metadata.v1.bolt").exists(), "containerd did not run"
    assert [thing for thing in left_of(second) if not isinstance(thing, pathlib.Path)] == []


def test_the_health_of_a_host_is_shown_when_asked_for(ecs, ec2_cluster):
    instances = ecs.list_container_instances(cluster=ec2_cluster)["containerInstanceArns"]
    named = {"cluster": ec2_cluster, "containerInstances": instances}
    asked = ecs.describe_container_instances(include=["CONTAINER_INSTANCE_HEALTH"], **named)["containerInstances"][0]
    assert asked["healthStatus"]["overallStatus"] == "OK"
    assert [(row["type"], row["status"]) for row in asked["healthStatus"]["details"]] == [("CONTAINER_RUNTIME", "OK")]
    assert "healthStatus" not in ecs.describe_container_instances(**named)["containerInstances"][0]


COMMANDS = [
    ["status"], ["env"], ["logs", "0123"], ["image", "ls"], ["image", "load", "/"], ["eni", "stats"], ["shell"],
    ["explain", "a", "b"], ["up"], ["down"], ["node"], ["server"],
]  # fmt: skip


def test_a_command_without_the_rights_it_needs_names_the_cure(berth):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="berth-rights-"))
    try:
        folder.chmod(0o755)
        for name in ["berth", "berth-shim", "berth-cni"]:
            shutil.copy(PROGRAMS / name, folder)
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", folder / "berth"]
        for words in COMMANDS:
            refused = subprocess.run([*nobody, *words], env=berth.environment, capture_output=True, text=True, cwd="/")
            assert refused.returncode == (2 if words[0] == "explain" else 1), words
            assert "run it with sudo" in refused.stderr and f"`berth {words[0]}" in refused.stderr, refused.stderr
            assert "Permission denied" not in refused.stderr, refused.stderr
    finally:
        shutil.rmtree(folder)
