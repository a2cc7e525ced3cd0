// SPDX-License-Identifier: Apache-2.0
//! The decoding of requests: operation, input, and refusals.
#![allow(clippy::unwrap_used)]

use berth_shapes::{Input, OPERATIONS, ec2, ecs};
use berth_wire::{BODY_MAX_BYTES, ErrorForm, RequestParts, Unroutable, decode, route};
use expect_test::{Expect, expect};

const TARGET: &str = "AmazonEC2ContainerServiceV20141113.";

fn json(operation: &str, body: &[u8]) -> http::Request<Vec<u8>> {
    let target = format!("{TARGET}{operation}");
    http::Request::post("/").header("x-amz-target", target).body(body.to_vec()).unwrap()
}

fn form(body: &str) -> http::Request<Vec<u8>> {
    http::Request::post("/").body(body.as_bytes().to_vec()).unwrap()
}

fn ec2_form(action: &str, parameters: &str) -> http::Request<Vec<u8>> {
    form(&format!("Action={action}&Version=2016-11-15&{parameters}"))
}

fn read<I: Input>(request: &http::Request<Vec<u8>>) -> Result<I, String> {
    let call = route(&RequestParts::of(request)).unwrap();
    assert_eq!(call.operation.id, I::OPERATION);
    decode::<I>(&call).map_err(|refusal| format!("{} {refusal}\n", refusal.code.http_status()))
}

#[track_caller]
fn refused<I: Input + std::fmt::Debug>(request: &http::Request<Vec<u8>>, expect: Expect) {
    expect.assert_eq(&read::<I>(request).unwrap_err());
}

#[track_caller]
fn unroutable(request: &http::Request<Vec<u8>>, expect: Expect) {
    let Unroutable { form, refusal } = route(&RequestParts::of(request)).unwrap_err();
    let form = match form {
        ErrorForm::Json => "json",
        ErrorForm::Cbor => "cbor",
        ErrorForm::Ec2 => "ec2",
        ErrorForm::S3 => "s3",
        ErrorForm::Query { namespace } => namespace,
    };
    expect.assert_eq(&format!("{} {refusal}\nas {form}\n", refusal.code.http_status()));
}

#[test]
fn the_operation_table_is_sorted_so_that_it_can_be_searched() {
    assert!(OPERATIONS.is_sorted_by_key(|row| (row.service.name(), row.name)));
    assert!(OPERATIONS.iter().enumerate().all(|(index, row)| row.id as usize == index));
}

#[test]
fn json_numbers_stand_for_text_and_text_for_numbers() {
    let body = br#"{"taskDefinition":"web","count":"2","overrides":{"cpu":256,"memory":0.5},"unknown":[{"x":[1,{}]}],"tags":null}"#;
    let input: ecs::RunTaskRequest = read(&json("RunTask", body)).unwrap();
    assert_eq!(input.count, Some(2));
    let overrides = input.overrides.unwrap();
    assert_eq!((overrides.cpu.as_deref(), overrides.memory.as_deref()), (Some("256"), Some("0.5")));
    assert_eq!(input.tags, None);
}

#[test]
fn an_empty_list_is_not_an_absent_list() {
    let input: ecs::DescribeTasksRequest = read(&json("DescribeTasks", br#"{"tasks":[],"include":null}"#)).unwrap();
    assert_eq!((input.tasks, input.include), (Some(Vec::new()), None));
    assert_eq!(read::<ecs::ListClustersRequest>(&json("ListClusters", b" ")), Ok(ecs::ListClustersRequest::default()));
}

#[test]
fn json_of_the_wrong_kind_is_refused_by_name() {
    let run = |body: &str, expect| refused::<ecs::RunTaskRequest>(&json("RunTask", body.as_bytes()), expect);
    run(
        r#"{"count":"two"}"#,
        expect![[r#"
        400 SerializationException: STRING_VALUE can not be converted to an Integer (member count)
    "#]],
    );
    run(
        r#"{"count":2.5}"#,
        expect![[r#"
        400 SerializationException: NUMBER_VALUE can not be converted to an Integer (member count)
    "#]],
    );
    run(
        r#"{"count":3000000000}"#,
        expect![[r#"
        400 SerializationException: NUMBER_VALUE can not be converted to an Integer (member count)
    "#]],
    );
    run(
        r#"{"overrides":{"containerOverrides":[{},{"environment":[{"name":true}]}]}}"#,
        expect![[r#"
        400 SerializationException: TRUE_VALUE can not be converted to a String (member overrides.containerOverrides[1].environment[0].name)
    "#]],
    );
    run(
        r#"{"overrides":[]}"#,
        expect![[r#"
        400 SerializationException: Expected structure or null (member overrides)
    "#]],
    );
    run(
        r#"{"tags":{}}"#,
        expect![[r#"
        400 SerializationException: Expected list or null (member tags)
    "#]],
    );
    run(
        r#"{"cluster":{}}"#,
        expect![[r#"
        400 SerializationException: Start of structure found where not expected (member cluster)
    "#]],
    );
    run(
        r#"{"enableExecuteCommand":"true"}"#,
        expect![[r#"
        400 SerializationException: STRING_VALUE can not be converted to a Boolean (member enableExecuteCommand)
    "#]],
    );
    run(
        r#"{"cluster":"a","cluster":"b"}"#,
        expect![[r#"
        400 SerializationException: Duplicate member (member cluster)
    "#]],
    );
    run(
        "[]",
        expect![[r#"
        400 SerializationException: Expected structure or null
    "#]],
    );
}

#[test]
fn malformed_json_is_refused() {
    for body in [&b"{"[..], b"{}x", b"{\"cluster\":\"\xff\"}", b"{\"cluster\":}", b"nul"] {
        let words = read::<ecs::RunTaskRequest>(&json("RunTask", body)).unwrap_err();
        assert_eq!(words, "400 SerializationException: The request body is not valid JSON.\n");
    }
}

#[test]
fn refusals_do_not_echo_more_than_a_line() {
    let long = "9".repeat(10_000);
    for parameters in [format!("Filter.{long}.Name=x"), format!("MaxResults=x{long}"), format!("{long}=x")] {
        let words = read::<ec2::DescribeVpcsRequest>(&ec2_form("DescribeVpcs", &parameters)).unwrap_err();
        assert!(words.len() < 600, "{words}");
    }
    let key = format!("{{\"overrides\":{{\"containerOverrides\":[{{\"{long}\":1,\"name\":[]}}]}}}}");
    assert!(read::<ecs::RunTaskRequest>(&json("RunTask", key.as_bytes())).unwrap_err().len() < 600);
    let labels = format!("{{\"containerDefinitions\":[{{\"dockerLabels\":{{\"{long}\":[]}}}}]}}");
    let words = read::<ecs::RegisterTaskDefinitionRequest>(&json("RegisterTaskDefinition", labels.as_bytes()));
    assert!(words.unwrap_err().len() < 600);
}

#[test]
fn deep_nesting_is_refused_even_where_nobody_looks() {
    let deep = format!("{{\"unknown\":{}1{}}}", "[".repeat(100), "]".repeat(100));
    refused::<ecs::RunTaskRequest>(
        &json("RunTask", deep.as_bytes()),
        expect![[r#"
        400 SerializationException: The request is nested more than 64 deep.
    "#]],
    );
    let key = format!("Filter{}=x", ".1".repeat(100));
    unroutable(
        &ec2_form("DescribeVpcs", &key),
        expect![[r#"
        400 MalformedQueryString: A parameter name is nested more than 64 deep.
        as http://webservices.amazon.com/AWSFault/2005-15-09
    "#]],
    );
}

#[test]
fn ec2_lists_are_read_in_the_order_of_their_indexes() {
    let request = ec2_form(
        "DescribeVpcs",
        "Filter.10.Name=z&Filter.2.Value.2=c&Filter.2.Name=tag%3AName&Filter.2.Value.1=a+b&VpcId.1=vpc-1&DryRun=true",
    );
    let input: ec2::DescribeVpcsRequest = read(&request).unwrap();
    let filters = input.filters.unwrap();
    assert_eq!(filters.len(), 2);
    assert_eq!(filters[0].name.as_deref(), Some("tag:Name"));
    assert_eq!(filters[0].values, Some(vec!["a b".to_owned(), "c".to_owned()]));
    assert_eq!(filters[1].name.as_deref(), Some("z"));
    assert_eq!(input.vpc_ids, Some(vec!["vpc-1".to_owned()]));
    assert_eq!(input.dry_run, Some(true));
}

#[test]
fn ec2_calls_may_stand_in_the_query_string() {
    let request = http::Request::get("/?Action=DescribeVpcs&Version=2016-11-15&VpcId.1=vpc-1&X-Amz-Signature=1")
        .body(Vec::new())
        .unwrap();
    assert_eq!(read::<ec2::DescribeVpcsRequest>(&request).unwrap().vpc_ids, Some(vec!["vpc-1".to_owned()]));
}

#[test]
fn ec2_parameters_nobody_knows_are_refused() {
    let describe =
        |parameters, expect| refused::<ec2::DescribeVpcsRequest>(&ec2_form("DescribeVpcs", parameters), expect);
    describe(
        "Color=red",
        expect![[r#"
        400 UnknownParameter: The parameter Color is not recognized
    "#]],
    );
    describe(
        "Filter.1.Color=red",
        expect![[r#"
        400 UnknownParameter: The parameter Filter.1.Color is not recognized
    "#]],
    );
    describe(
        "Filter=red",
        expect![[r#"
        400 UnknownParameter: The parameter Filter is not recognized
    "#]],
    );
    describe(
        "Filter.x.Name=red",
        expect![[r#"
        400 UnknownParameter: The parameter Filter.x.Name is not recognized
    "#]],
    );
    describe(
        "Filter.0.Name=red",
        expect![[r#"
        400 UnknownParameter: The parameter Filter.0.Name is not recognized
    "#]],
    );
    describe(
        "Filter.1..Name=red",
        expect![[r#"
        400 UnknownParameter: The parameter Filter.1..Name is not recognized
    "#]],
    );
    describe(
        "DryRun.1=true",
        expect![[r#"
        400 UnknownParameter: The parameter DryRun.1 is not recognized
    "#]],
    );
}

#[test]
fn ec2_values_of_the_wrong_kind_are_refused() {
    let describe =
        |parameters, expect| refused::<ec2::DescribeVpcsRequest>(&ec2_form("DescribeVpcs", parameters), expect);
    describe(
        "MaxResults=many",
        expect![[r#"
        400 InvalidParameterValue: Value (many) for parameter MaxResults is invalid. Expected an integer.
    "#]],
    );
    describe(
        "DryRun=maybe",
        expect![[r#"
        400 InvalidParameterValue: Value (maybe) for parameter DryRun is invalid. Expected true or false.
    "#]],
    );
    describe(
        "NextToken=a&NextToken=b",
        expect![[r#"
        400 InvalidParameterValue: Value (a) for parameter NextToken is invalid. The parameter may be given only once.
    "#]],
    );
    describe(
        "Filter.1001.Name=x",
        expect![[r#"
        400 InvalidParameterValue: Value (1001) for parameter Filter.1001.Name is invalid. An index may not be greater than 1000.
    "#]],
    );
    describe(
        "Filter.99999999999999999999999999.Name=x",
        expect![[r#"
        400 InvalidParameterValue: Value (99999999999999999999999999) for parameter Filter.99999999999999999999999999.Name is invalid. An index may not be greater than 1000.
    "#]],
    );
}

#[test]
fn ec2_requires_what_the_model_requires() {
    let create = |parameters, expect| {
        refused::<ec2::CreateSecurityGroupRequest>(&ec2_form("CreateSecurityGroup", parameters), expect);
    };
    create(
        "GroupName=web",
        expect![[r#"
        400 MissingParameter: The request must contain the parameter GroupDescription
    "#]],
    );
    create(
        "GroupDescription=web",
        expect![[r#"
        400 MissingParameter: The request must contain the parameter GroupName
    "#]],
    );
}

#[test]
fn requests_for_nobody_are_refused_in_a_form_the_client_reads() {
    unroutable(
        &json("CreateService", b"{}"),
        expect![[r#"
            400 UnknownOperationException: Berth does not have the operation AmazonEC2ContainerServiceV20141113.CreateService; docs/coverage.md of its repository lists the operations it has.
            as json
        "#]],
    );
    let logs = http::Request::post("/").header("x-amz-target", "Logs_20140328.CreateLogGroup").body(Vec::new());
    unroutable(
        &logs.unwrap(),
        expect![[r#"
            400 UnknownOperationException: Berth does not have the operation Logs_20140328.CreateLogGroup; docs/coverage.md of its repository lists the operations it has.
            as json
        "#]],
    );
    unroutable(
        &ec2_form("CreateVolume", ""),
        expect![[r#"
            400 InvalidAction: The action CreateVolume is not valid for this web service. Berth does not have it; docs/coverage.md of its repository lists the operations it has.
            as ec2
        "#]],
    );
    unroutable(
        &form("Action=AssumeRole&Version=2011-06-15"),
        expect![[r#"
            400 InvalidAction: Could not find operation AssumeRole for version 2011-06-15. Berth does not have it; docs/coverage.md of its repository lists the operations it has.
            as https://sts.amazonaws.com/doc/2011-06-15/
        "#]],
    );
    unroutable(
        &form("Action=GetUser&Version=2010-05-08"),
        expect![[r#"
            400 InvalidAction: Could not find operation GetUser for version 2010-05-08. Berth does not have it; docs/coverage.md of its repository lists the operations it has.
            as https://iam.amazonaws.com/doc/2010-05-08/
        "#]],
    );
    unroutable(
        &form("Action=DescribeLoadBalancers&Version=2015-12-01"),
        expect![[r#"
            400 InvalidAction: Could not find operation DescribeLoadBalancers for version 2015-12-01. Berth does not have it; docs/coverage.md of its repository lists the operations it has.
            as http://webservices.amazon.com/AWSFault/2005-15-09
        "#]],
    );
    unroutable(
        &form(""),
        expect![[r#"
        403 MissingAuthenticationToken: Request is missing Authentication Token
        as http://webservices.amazon.com/AWSFault/2005-15-09
    "#]],
    );
    unroutable(
        &form("Action=%ff&Version=2016-11-15"),
        expect![[r#"
        400 MalformedQueryString: The query string is malformed: it is not UTF-8.
        as http://webservices.amazon.com/AWSFault/2005-15-09
    "#]],
    );
    unroutable(
        &json("RunTask", &vec![b' '; BODY_MAX_BYTES + 1]),
        expect![[r#"
        413 RequestEntityTooLarge: The request body is larger than 1048576 bytes.
        as json
    "#]],
    );
}

#[test]
fn the_scope_tells_the_service_where_the_version_does_not() {
    let scoped = |service: &str, body: &str| {
        let mut request = form(body);
        let credential = format!("AWS4-HMAC-SHA256 Credential=AKID/20261123/us-west-2/{service}/aws4_request");
        request.headers_mut().insert("authorization", credential.parse().unwrap());
        request
    };
    assert!(read::<ec2::DescribeVpcsRequest>(&scoped("ec2", "Action=DescribeVpcs")).is_ok());
    unroutable(
        &scoped("ec2", "Action=DescribeVpcs&Version=2012-01-01"),
        expect![[r#"
        400 NoSuchVersion: The requested version (2012-01-01) of service AmazonEC2 does not exist
        as ec2
    "#]],
    );
    unroutable(
        &scoped("ec2", "Version=2016-11-15"),
        expect![[r#"
        400 MissingAction: The request must contain the parameter Action
        as ec2
    "#]],
    );
    unroutable(
        &scoped("ecs", "{}"),
        expect![[r#"
        400 UnknownOperationException: The request has no X-Amz-Target header.
        as json
    "#]],
    );
    unroutable(
        &scoped("lambda", "{}"),
        expect![[r#"
        400 UnknownOperationException: Berth does not have the service lambda; docs/coverage.md of its repository lists the operations it has.
        as json
    "#]],
    );
    unroutable(
        &scoped("s3", ""),
        expect![[r#"
        400 UnknownOperationException: Berth does not have the service s3; docs/coverage.md of its repository lists the operations it has.
        as s3
    "#]],
    );
    let mut metrics = scoped("monitoring", "");
    metrics.headers_mut().insert("smithy-protocol", "rpc-v2-cbor".parse().unwrap());
    unroutable(
        &metrics,
        expect![[r#"
        400 UnknownOperationException: Berth does not have the service monitoring; docs/coverage.md of its repository lists the operations it has.
        as cbor
    "#]],
    );
    unroutable(
        &scoped("iam", "Action=ListRoles"),
        expect![[r#"
            400 InvalidAction: Could not find operation ListRoles for version (none). Berth does not have it; docs/coverage.md of its repository lists the operations it has.
            as https://iam.amazonaws.com/doc/2010-05-08/
        "#]],
    );
}
