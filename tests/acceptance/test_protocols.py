# SPDX-License-Identifier: Apache-2.0
"""Errors of the wire: unknown operations, bad signatures, malformed bodies, in the protocol of each service."""

import json
import urllib.error
import urllib.request
import xml.etree.ElementTree as xml
from datetime import datetime, timedelta, timezone
from unittest import mock

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from conftest import REGION, refusal


def post(berth, service, body, headers, key=None, secret=None, region=REGION):
    """Status and body of a signed request made by hand."""
    environment = berth.environment
    credentials = botocore.credentials.Credentials(
        key or environment["AWS_ACCESS_KEY_ID"], secret or environment["AWS_SECRET_ACCESS_KEY"]
    )
    url = environment["AWS_ENDPOINT_URL"] + "/"
    request = botocore.awsrequest.AWSRequest("POST", url, data=body.encode(), headers=headers)
    botocore.auth.SigV4Auth(credentials, service, region).add_auth(request)
    sent = urllib.request.Request(url, data=body.encode(), headers=dict(request.headers), method="POST")
    try:
        with urllib.request.urlopen(sent, timeout=10) as answer:
            return answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers


def ecs_headers(operation):
    return {
        "Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"AmazonEC2ContainerServiceV20141113.{operation}"
    }  # fmt: skip


FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}


def test_an_unknown_operation_of_ecs_is_refused_in_json(berth):
    status, body, headers = post(berth, "ecs", "{}", ecs_headers("MakeCoffee"))
    assert status == 400
    assert json.loads(body)["__type"].endswith("UnknownOperationException")
    assert headers["x-amzn-RequestId"]


@pytest.mark.parametrize("service, version", [("ec2", "2016-11-15"), ("sts", "2011-06-15")])
def test_an_unknown_action_is_refused_in_xml(berth, service, version):
    status, body, _ = post(berth, service, f"Action=MakeCoffee&Version={version}", FORM)
    assert status == 400
    codes = [node.text for node in xml.fromstring(body).iter() if node.tag.endswith("Code")]
    assert codes == ["InvalidAction"]


@pytest.mark.parametrize(
    "service, operation, expected",
    [
        ("ecs", "list_clusters", "InvalidSignatureException"),
        ("ec2", "describe_vpcs", "AuthFailure"),
        ("sts", "get_caller_identity", "SignatureDoesNotMatch"),
    ],
)
def test_a_wrong_secret_is_refused(berth, service, operation, expected):
    client = berth.client(service, aws_secret_access_key="wrong")
    assert refusal(getattr(client, operation))[0] == expected


@pytest.mark.parametrize(
    "service, operation, expected",
    [
        ("ecs", "list_clusters", "UnrecognizedClientException"),
        ("ec2", "describe_vpcs", "AuthFailure"),
        ("sts", "get_caller_identity", "InvalidClientTokenId"),
    ],
)
def test_an_unknown_key_is_refused(berth, service, operation, expected):
    client = berth.client(service, aws_access_key_id="AKIAIOSFODNN7EXAMPLE")
    assert refusal(getattr(client, operation))[0] == expected


def test_a_request_signed_long_ago_is_refused(berth):
    past = datetime.now(timezone.utc) - timedelta(minutes=30)
    with mock.patch("botocore.auth.get_current_datetime", lambda *_, **__: past.replace(tzinfo=None)):
        status, body, _ = post(berth, "ecs", "{}", ecs_headers("ListClusters"))
    assert status in (400, 403)
    assert "Signature" in json.loads(body)["message"]


def test_a_signature_for_another_region_is_refused(berth):
    status, body, _ = post(berth, "ecs", "{}", ecs_headers("ListClusters"), region="eu-central-1")
    assert status in (400, 403)
    assert "scope" in json.loads(body)["message"].lower()


def test_a_malformed_body_is_refused(berth):
    status, body, _ = post(berth, "ecs", "{not json", ecs_headers("ListClusters"))
    assert status == 400
    assert json.loads(body)["__type"].endswith("SerializationException")


def test_numbers_may_come_as_strings_on_the_wire(berth):
    """The post's sample has strings in place of numbers."""
    sample = {
        "family": "strings", "networkMode": "awsvpc",
        "containerDefinitions": [
            {"name": "web", "image": "web", "memory": "512", "cpu": "100", "portMappings": [{"containerPort": "80"}]}
        ],
    }  # fmt: skip
    status, body, _ = post(berth, "ecs", json.dumps(sample), ecs_headers("RegisterTaskDefinition"))
    assert status == 200, body
    (web,) = json.loads(body)["taskDefinition"]["containerDefinitions"]
    assert (web["memory"], web["cpu"], web["portMappings"][0]["containerPort"]) == (512, 100, 80)


def test_a_dry_run_says_that_it_would_have_worked(ec2, vpc):
    """DryRun as a general mechanism."""
    code, _ = refusal(ec2.create_subnet, VpcId=vpc.id, CidrBlock="10.0.200.0/24", DryRun=True)
    assert code == "DryRunOperation"
    blocks = {subnet["CidrBlock"] for subnet in ec2.describe_subnets()["Subnets"]}
    assert "10.0.200.0/24" not in blocks


def test_pages_give_every_item_once(ecs, td_web, td_pair, td_idle):
    """Pagination tokens as a general mechanism."""
    pages = ecs.get_paginator("list_task_definitions").paginate(PaginationConfig={"PageSize": 1})
    arns = [arn for page in pages for arn in page["taskDefinitionArns"]]
    assert len(arns) == len(set(arns)) >= 3


@pytest.mark.parametrize(
    ("service", "call", "code"),
    [
        ("logs", lambda client: client.describe_log_groups(), "UnknownOperationException"),
        ("lambda", lambda client: client.list_functions(), "UnknownOperationException"),
        ("s3", lambda client: client.list_buckets(), "UnknownOperationException"),
        ("cloudwatch", lambda client: client.list_metrics(), "UnknownOperationException"),
        ("elbv2", lambda client: client.describe_load_balancers(), "InvalidAction"),
        ("ec2", lambda client: client.describe_volumes(), "InvalidAction"),
        ("ecs", lambda client: client.list_services(), "UnknownOperationException"),
    ],
)
def test_services_and_operations_that_are_not_there_are_refused_so_that_clients_read_it(berth, service, call, code):
    """The message says that Berth does not have it, and gives the location of the list."""
    refused, message = refusal(call, client=berth.client(service))
    assert refused == code
    assert "Berth does not have" in message and "docs/coverage.md" in message
