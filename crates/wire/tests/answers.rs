// SPDX-License-Identifier: Apache-2.0
//! The encoding of answers.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use berth_shapes::{Ec2ErrorCode, Input, NoOutput, OperationId, Refusal, Structure, Timestamp, ec2, ecs, sts};
use berth_wire::{ErrorForm, encode, encode_refusal};
use expect_test::{Expect, expect};

fn text(response: &http::Response<bytes::Bytes>) -> String {
    let header = |name: &str| response.headers().get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
    format!(
        "{} {} {}\n{}\n",
        response.status().as_u16(),
        header("content-type"),
        header("x-amzn-requestid"),
        std::str::from_utf8(response.body()).unwrap().replace("><", ">\n<")
    )
}

fn check(operation: OperationId, output: &dyn Structure, expect: Expect) {
    expect.assert_eq(&text(&encode(operation.row(), output, "req-1")));
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn json_omits_what_is_absent_and_keeps_what_is_empty() {
    let task = ecs::Task {
        task_arn: some("arn:aws:ecs:us-west-2:123456789012:task/default/0123"),
        cpu: some("256"),
        created_at: Some(Timestamp(1_795_422_298_123)),
        started_at: Some(Timestamp(1_795_422_298_000)),
        version: Some(3),
        enable_execute_command: Some(false),
        tags: Some(Vec::new()),
        stopped_reason: some("a \"quote\" \\ and\nline é \u{1}"),
        ..ecs::Task::default()
    };
    let output = ecs::DescribeTasksResponse { tasks: Some(vec![task]), failures: Some(Vec::new()) };
    check(
        OperationId::EcsDescribeTasks,
        &output,
        expect![[r#"
        200 application/x-amz-json-1.1 req-1
        {"failures":[],"tasks":[{"cpu":"256","createdAt":1795422298.123,"enableExecuteCommand":false,"startedAt":1795422298.0,"stoppedReason":"a \"quote\" \\ and\nline é \u0001","tags":[],"taskArn":"arn:aws:ecs:us-west-2:123456789012:task/default/0123","version":3}]}
    "#]],
    );
}

#[test]
fn json_writes_maps_as_objects() {
    let container = ecs::ContainerDefinition {
        docker_labels: Some(BTreeMap::from([("b\"".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())])),
        ..ecs::ContainerDefinition::default()
    };
    let definition =
        ecs::TaskDefinition { container_definitions: Some(vec![container]), ..ecs::TaskDefinition::default() };
    let output = ecs::DescribeTaskDefinitionResponse {
        task_definition: Some(definition),
        ..ecs::DescribeTaskDefinitionResponse::default()
    };
    check(
        OperationId::EcsDescribeTaskDefinition,
        &output,
        expect![[r#"
        200 application/x-amz-json-1.1 req-1
        {"taskDefinition":{"containerDefinitions":[{"dockerLabels":{"a":"2","b\"":"1"}}]}}
    "#]],
    );
}

#[test]
fn ec2_lists_are_sets_of_items() {
    let tag = ec2::Tag { key: some("Name"), value: some("a <b> & \"c\" \u{0}\r") };
    let vpc = ec2::Vpc {
        vpc_id: some("vpc-1"),
        is_default: Some(true),
        cidr_block_association_set: Some(Vec::new()),
        tags: Some(vec![tag]),
        ..ec2::Vpc::default()
    };
    let output = ec2::DescribeVpcsResult { vpcs: Some(vec![vpc]), next_token: None };
    check(
        OperationId::Ec2DescribeVpcs,
        &output,
        expect![[r#"
        200 text/xml;charset=UTF-8 req-1
        <?xml version="1.0" encoding="UTF-8"?>
        <DescribeVpcsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
        <requestId>req-1</requestId>
        <vpcSet>
        <item>
        <cidrBlockAssociationSet/>
        <isDefault>true</isDefault>
        <tagSet>
        <item>
        <key>Name</key>
        <value>a &lt;b&gt; &amp; &quot;c&quot; �&#xD;</value>
        </item>
        </tagSet>
        <vpcId>vpc-1</vpcId>
        </item>
        </vpcSet>
        </DescribeVpcsResponse>
    "#]],
    );
}

#[test]
fn ec2_moments_have_milliseconds() {
    let attachment = ec2::NetworkInterfaceAttachment {
        attach_time: Some(Timestamp(1_795_422_298_000)),
        device_index: Some(1),
        ..ec2::NetworkInterfaceAttachment::default()
    };
    let eni = ec2::NetworkInterface { attachment: Some(attachment), ..ec2::NetworkInterface::default() };
    let output = ec2::DescribeNetworkInterfacesResult { network_interfaces: Some(vec![eni]), next_token: None };
    check(
        OperationId::Ec2DescribeNetworkInterfaces,
        &output,
        expect![[r#"
        200 text/xml;charset=UTF-8 req-1
        <?xml version="1.0" encoding="UTF-8"?>
        <DescribeNetworkInterfacesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
        <requestId>req-1</requestId>
        <networkInterfaceSet>
        <item>
        <attachment>
        <attachTime>2026-11-23T08:24:58.000Z</attachTime>
        <deviceIndex>1</deviceIndex>
        </attachment>
        </item>
        </networkInterfaceSet>
        </DescribeNetworkInterfacesResponse>
    "#]],
    );
}

#[test]
fn ec2_operations_without_output_answer_true() {
    check(
        OperationId::Ec2DeleteVpc,
        &NoOutput,
        expect![[r#"
        200 text/xml;charset=UTF-8 req-1
        <?xml version="1.0" encoding="UTF-8"?>
        <DeleteVpcResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
        <requestId>req-1</requestId>
        <return>true</return>
        </DeleteVpcResponse>
    "#]],
    );
}

#[test]
fn query_results_are_wrapped() {
    let output = sts::GetCallerIdentityResponse {
        account: some("123456789012"),
        arn: some("arn:aws:iam::123456789012:root"),
        user_id: some("123456789012"),
    };
    assert_eq!(sts::GetCallerIdentityRequest::OPERATION, OperationId::StsGetCallerIdentity);
    check(
        OperationId::StsGetCallerIdentity,
        &output,
        expect![[r#"
        200 text/xml req-1
        <GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
        <GetCallerIdentityResult>
        <Account>123456789012</Account>
        <Arn>arn:aws:iam::123456789012:root</Arn>
        <UserId>123456789012</UserId>
        </GetCallerIdentityResult>
        <ResponseMetadata>
        <RequestId>req-1</RequestId>
        </ResponseMetadata>
        </GetCallerIdentityResponse>
    "#]],
    );
}

#[test]
fn refusals_take_the_form_of_the_service() {
    let refused = |form, refusal: Refusal| text(&encode_refusal(form, &refusal, "req-1"));
    let not_found = Refusal::new(ecs::ErrorCode::ClusterNotFoundException, "Cluster \"x\" not found.");
    expect![[r#"
        400 application/x-amz-json-1.1 req-1
        {"__type":"ClusterNotFoundException","message":"Cluster \"x\" not found."}
    "#]]
    .assert_eq(&refused(ErrorForm::Json, not_found));
    let unknown = Refusal::new(Ec2ErrorCode::InvalidVpcIdNotFound, "The vpc ID '<x>' does not exist");
    expect![[r#"
        400 text/xml;charset=UTF-8 req-1
        <?xml version="1.0" encoding="UTF-8"?>
        <Response>
        <Errors>
        <Error>
        <Code>InvalidVpcID.NotFound</Code>
        <Message>The vpc ID &apos;&lt;x&gt;&apos; does not exist</Message>
        </Error>
        </Errors>
        <RequestID>req-1</RequestID>
        </Response>
    "#]]
    .assert_eq(&refused(ErrorForm::Ec2, unknown));
    let expired = Refusal::new(sts::ErrorCode::ExpiredTokenException, "over");
    expect![[r#"
        400 text/xml req-1
        <ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
        <Error>
        <Type>Sender</Type>
        <Code>ExpiredTokenException</Code>
        <Message>over</Message>
        </Error>
        <RequestId>req-1</RequestId>
        </ErrorResponse>
    "#]]
    .assert_eq(&refused(ErrorForm::of(berth_shapes::Service::Sts), expired));
}
