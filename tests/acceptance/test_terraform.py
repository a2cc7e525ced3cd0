# SPDX-License-Identifier: Apache-2.0
"""Terraform's AWS provider, unmodified: apply, nothing to change, a change in place, destroy."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest
from conftest import TIMED_OUT

# Where the provider lies on machines that cannot reach Terraform's registry.
PLUGINS = pathlib.Path(os.environ.get("BERTH_TERRAFORM_PLUGINS", "/opt/tf-plugins"))
NOTHING_TO_CHANGE = 0  # exit code of `plan -detailed-exitcode`


class Terraform:
    def __init__(self, berth, folder):
        for file in (pathlib.Path(__file__).parent / "terraform").glob("*.tf"):
            shutil.copy(file, folder)
        self.folder = folder
        own = {"TF_VAR_endpoint": berth.environment["AWS_ENDPOINT_URL"], "TF_IN_AUTOMATION": "1"}
        self.environment = berth.environment | own
        self.environment.pop("TF_CLI_CONFIG_FILE", None)

    def run(self, *words, expect=0):
        done = subprocess.run(
            ["terraform", *words], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300
        )
        said = done.stdout[-6000:] + done.stderr[-4000:]
        assert done.returncode == expect, f"terraform {' '.join(words)}: exit code {done.returncode}\n{said}"
        return done.stdout

    def apply(self, stage):
        self.run("apply", "-auto-approve", "-no-color", "-input=false", f"-var=stage={stage}")

    def plan(self, stage, expect):
        return self.run("plan", "-detailed-exitcode", "-no-color", "-input=false", f"-var=stage={stage}", expect=expect)

    def output(self, name):
        return json.loads(self.run("output", "-json", name))


@pytest.fixture
def terraform(berth, tmp_path):
    terraform = Terraform(berth, tmp_path)
    terraform.run("init", "-no-color", "-input=false", *([f"-plugin-dir={PLUGINS}"] if PLUGINS.is_dir() else []))
    return terraform


def test_terraform_applies_changes_and_destroys(berth, ecs, ec2, terraform, runner):
    vpcs = {vpc["VpcId"] for vpc in ec2.describe_vpcs()["Vpcs"]}
    terraform.apply("first")
    terraform.plan("first", expect=NOTHING_TO_CHANGE)
    group = terraform.output("group")
    (described,) = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    assert [rule["FromPort"] for rule in described["IpPermissions"]] == [80]
    first = terraform.output("definition")
    terraform.apply("second")
    terraform.plan("second", expect=NOTHING_TO_CHANGE)
    second = terraform.output("definition")
    assert int(second.rsplit(":", 1)[1]) == int(first.rsplit(":", 1)[1]) + 1
    definition = ecs.describe_task_definition(taskDefinition=second)["taskDefinition"]
    assert definition["containerDefinitions"][0]["environment"] == [{"name": "STAGE", "value": "second"}]
    what_was_made_carries_tasks(berth, runner, second, terraform.output("subnets")[0], group)
    terraform.run("destroy", "-auto-approve", "-no-color", "-input=false")
    assert {vpc["VpcId"] for vpc in ec2.describe_vpcs()["Vpcs"]} == vpcs
    assert ec2.describe_addresses()["Addresses"] == []
    assert ecs.describe_clusters(clusters=["terraform"])["clusters"][0]["status"] == "INACTIVE"


def what_was_made_carries_tasks(berth, runner, definition, subnet, group):
    """Packets obey the rules: only members of the other group are admitted."""
    task = runner.one("terraform", definition, subnet, [group])
    done = berth.seat(subnet, [group], "curl", "-s", "-o", "/dev/null", "--max-time", "3", f"http://{task.ip}/")
    assert done.returncode == TIMED_OUT
    runner.stop_all()
    runner.started = []
