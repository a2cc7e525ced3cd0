# SPDX-License-Identifier: Apache-2.0
"""Writes sigv4_botocore.json: requests signed by botocore, for sigv4_botocore.rs. Run by hand; the result is kept."""
import datetime, json, os
import botocore.auth
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

NOW = datetime.datetime(2026, 11, 23, 8, 24, 58)
botocore.auth.get_current_datetime = lambda *a, **k: NOW
JSON = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "AmazonEC2ContainerServiceV20141113.ListClusters"}
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}

CASES = [
    ("json", "POST", "ecs", "/", "{}", JSON, {}),
    ("json with unicode body", "POST", "ecs", "/", '{"clusterName":"caf\u00e9 \u2603 \U0001f680"}', JSON, {}),
    ("form", "POST", "ec2", "/", "Action=DescribeVpcs&Version=2016-11-15", FORM, {}),
    ("form with session token", "POST", "sts", "/", "Action=GetCallerIdentity&Version=2011-06-15", FORM, {"token": "FwoG/+=="}),
    ("no path", "POST", "ecs", "", "{}", JSON, {}),
    ("repeated spaces and tabs in headers", "POST", "ecs", "/", "{}", {**JSON, "X-Amz-Note": "  a   b \t c  ", "My-Header": "x    y"}, {}),
    ("query", "GET", "ec2", "/?Action=DescribeVpcs&Version=2016-11-15", "", {}, {}),
    ("query unsorted with repeated keys", "GET", "ec2", "/?b=2&a=2&a=1&B=3&a=", "", {}, {}),
    ("query without values", "GET", "ec2", "/?Action&acl&z", "", {}, {}),
    ("query with an empty pair", "GET", "ec2", "/?b=2&&a=1", "", {}, {}),
    ("query with escapes", "GET", "ec2", "/?Filter.1.Name=tag%3AName&Filter.1.Value.1=a%20b%2Fc%26%3D%2B&x=%E2%98%83", "", {}, {}),
    ("query with lower-case escapes", "GET", "ec2", "/?v=%e2%98%83%3d", "", {}, {}),
    ("query with bytes that need no escape in practice", "GET", "ec2", "/?a=b/c:d@e!f$g'h(i)*j;k,l?m", "", {}, {}),
    ("query with a plus", "GET", "ec2", "/?a=b+c", "", {}, {}),
    ("query with equals signs in the value", "GET", "ec2", "/?a=b=c==", "", {}, {}),
    ("path with spaces and unicode", "GET", "ecs", "/a%20b/%E2%98%83/c~d_e-f.g", "", {}, {}),
    ("path with dots and doubled slashes", "GET", "ecs", "/a//b/./c/../d/", "", {}, {}),
    ("body larger than a block", "POST", "ecs", "/", json.dumps({"x": "y" * 5000}), JSON, {}),
    ("presigned", "GET", "sts", "/?Action=GetCallerIdentity&Version=2011-06-15", "", {}, {"presign": 60}),
    ("presigned with session token", "GET", "sts", "/?Action=GetCallerIdentity&Version=2011-06-15", "", {}, {"presign": 604800, "token": "FwoG/+=="}),
    ("presigned with a signed header", "GET", "sts", "/?Action=GetCallerIdentity&Version=2011-06-15", "", {"x-k8s-aws-id": "cluster  one"}, {"presign": 60}),
]

vectors = []
for name, method, service, target, body, headers, extra in CASES:
    credentials = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", extra.get("token"))
    request = AWSRequest(method=method, url="http://127.0.0.1:4566" + target, data=body.encode(), headers=dict(headers))
    if "presign" in extra:
        SigV4QueryAuth(credentials, service, "us-west-2", expires=extra["presign"]).add_auth(request)
    else:
        SigV4Auth(credentials, service, "us-west-2").add_auth(request)
    vectors.append({
        "name": name, "method": method, "service": service, "body": body, "token": extra.get("token"),
        "target": request.url[len("http://127.0.0.1:4566"):] or "/",
        "headers": [["Host", "127.0.0.1:4566"]] + [[k, v] for k, v in request.headers.items()],
    })
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "sigv4_botocore.json"), "w") as out:
    json.dump({"now_ms": int(NOW.replace(tzinfo=datetime.timezone.utc).timestamp() * 1000), "vectors": vectors}, out, indent=1)
    out.write("\n")
