// SPDX-License-Identifier: Apache-2.0
//! The front door from the client's side: signed requests over real connections.
#![allow(clippy::unwrap_used)]

mod lab;

use std::os::unix::fs::PermissionsExt as _;

use berth_control::{Credentials, Fault, Rates};
use berth_shapes::{ec2, ecs, sts};
use berth_store::StoreFault;
use berth_wire::sigv4::SigningKey;
use bytes::Bytes;
use http::Request;
use lab::{ACCOUNT, REGION, Server, config};

fn create_cluster(name: &str) -> ecs::CreateClusterRequest {
    ecs::CreateClusterRequest { cluster_name: Some(name.to_owned()), ..Default::default() }
}

#[tokio::test]
async fn the_first_start_makes_a_default_network_and_a_key_that_works() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let credentials = server.credentials();
    assert!(credentials.access_key_id.starts_with("AKIA") && credentials.access_key_id.len() == 20);
    assert_eq!(credentials.secret_access_key.len(), 40);
    assert_eq!((credentials.region.as_str(), credentials.account.as_str()), (REGION, ACCOUNT));
    assert_eq!(credentials.endpoint, format!("http://{}", server.address));
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(Credentials::path(&folder.path().join("data"))), 0o600);
    assert_eq!(mode(folder.path().join("run/server.sock")), 0o600);
    assert_eq!(mode(folder.path().join("data")), 0o700);

    let vpcs = server.call(&ec2::DescribeVpcsRequest::default()).await;
    vpcs.expect(200, "<isDefault>true</isDefault>");
    assert_eq!(vpcs.request_id.unwrap().len(), 36);
    // The cluster `default` is created with the first host.
    server.call(&ecs::DescribeClustersRequest::default()).await.expect(200, "\"reason\":\"MISSING\"");
    let identity = server.call(&sts::GetCallerIdentityRequest {}).await;
    identity.expect(200, &format!("<Arn>arn:aws:iam::{ACCOUNT}:user/administrator</Arn>"));
    server.stop().await;
}

#[tokio::test]
async fn what_was_answered_survives_a_restart_with_the_same_key() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let key = server.key();
    server.call(&create_cluster("blue")).await.expect(200, "\"clusterName\":\"blue\"");
    let revision = server.revision().await;
    server.stop().await;

    let server = Server::start(folder.path()).await;
    assert_eq!(server.revision().await, revision, "a second start has nothing to make");
    let request = ecs::DescribeClustersRequest { clusters: Some(vec!["blue".to_owned()]), ..Default::default() };
    server.call_as(&request, &key, REGION).await.expect(200, "\"status\":\"ACTIVE\"");
    server.stop().await;
}

#[tokio::test]
async fn every_request_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let right = server.key();
    let wrong = SigningKey { secret_access_key: "x".repeat(40), ..right.clone() };
    let stranger = SigningKey { access_key_id: "AKIAAAAAAAAAAAAAAAAA".to_owned(), ..right.clone() };
    let (list, vpcs) = (ecs::ListClustersRequest::default(), ec2::DescribeVpcsRequest::default());

    server.call_as(&list, &wrong, REGION).await.expect(400, "InvalidSignatureException");
    server.call_as(&list, &stranger, REGION).await.expect(400, "UnrecognizedClientException");
    server.call_as(&list, &right, "eu-west-1").await.expect(400, "Credential should be scoped to a valid region.");
    server.call_as(&vpcs, &wrong, REGION).await.expect(401, "<Code>AuthFailure</Code>");
    server.call_as(&sts::GetCallerIdentityRequest {}, &wrong, REGION).await.expect(403, "SignatureDoesNotMatch");
    server.call_as(&sts::GetCallerIdentityRequest {}, &right, "us-east-1").await.expect(200, "<Arn>");
    let unsigned = berth_wire::compose(&list, &server.address.to_string()).unwrap();
    server.send(unsigned).await.expect(400, "MissingAuthenticationTokenException");
    let mut changed = server.signed(&create_cluster("good"), &right, REGION);
    *changed.body_mut() = Bytes::from_static(b"{\"clusterName\":\"evil\"}");
    server.send(changed).await.expect(400, "InvalidSignatureException");
    server.stop().await;
}

#[tokio::test]
async fn errors_have_the_form_of_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let post = |target: Option<&str>, body: &'static str| {
        let mut request = Request::post("/").header("host", server.address.to_string());
        if let Some(target) = target {
            request = request.header("x-amz-target", target);
        }
        request.body(Bytes::from_static(body.as_bytes())).unwrap()
    };
    let target = "AmazonEC2ContainerServiceV20141113.MakeCoffee";
    server.send(post(Some(target), "{}")).await.expect(400, "\"__type\":\"UnknownOperationException\"");
    let form = "Action=MakeCoffee&Version=2016-11-15";
    server.send(post(None, form)).await.expect(400, "<Response><Errors><Error><Code>InvalidAction</Code>");
    server.send(post(None, "")).await.expect(403, "MissingAuthenticationToken");
    let mut malformed = server.signed(&create_cluster("x"), &server.key(), REGION);
    *malformed.body_mut() = Bytes::from_static(b"{\"clusterName\":");
    let answer = server.send(malformed).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let refused = server.call(&ec2::DeleteVpcRequest { vpc_id: Some("vpc-0".to_owned()), ..Default::default() }).await;
    refused.expect(400, "<Response><Errors><Error><Code>InvalidVpcI");
    assert!(refused.body.contains(refused.request_id.as_deref().unwrap()));
    server.stop().await;
}

#[tokio::test]
async fn a_dry_run_decides_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let revision = server.revision().await;
    let good =
        ec2::CreateVpcRequest { cidr_block: Some("10.7.0.0/16".to_owned()), dry_run: Some(true), ..Default::default() };
    server.call(&good).await.expect(412, "<Code>DryRunOperation</Code>");
    let bad = ec2::CreateVpcRequest { cidr_block: Some("nonsense".to_owned()), ..good };
    let answer = server.call(&bad).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let read = ec2::DescribeVpcsRequest { dry_run: Some(true), ..Default::default() };
    server.call(&read).await.expect(412, "<Code>DryRunOperation</Code>");
    assert_eq!(server.revision().await, revision);
    server.stop().await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let body = Bytes::from(vec![b' '; berth_wire::BODY_MAX_BYTES + 1]);
    let mut request = server.signed(&create_cluster("x"), &server.key(), REGION);
    *request.body_mut() = body;
    server.send(request).await.expect(413, "RequestEntityTooLarge");
    server.stop().await;
}

#[tokio::test]
async fn http_2_with_prior_knowledge_is_spoken_too() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let request = server.signed(&ec2::DescribeVpcsRequest::default(), &server.key(), REGION);
    server.send_http2(request).await.expect(200, "<vpcSet>");
    server.stop().await;
}

#[tokio::test]
async fn any_key_is_root_only_when_the_server_was_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.trust_any_key = true;
    let server = Server::start_with(config, folder.path()).await.unwrap();
    let test =
        SigningKey { access_key_id: "test".to_owned(), secret_access_key: "test".to_owned(), session_token: None };
    let root = format!("<Arn>arn:aws:iam::{ACCOUNT}:root</Arn>");
    server.call_as(&sts::GetCallerIdentityRequest {}, &test, REGION).await.expect(200, &root);
    let wrong = SigningKey { secret_access_key: "test".to_owned(), ..server.key() };
    let list = ecs::ListClustersRequest::default();
    server.call_as(&list, &wrong, REGION).await.expect(400, "InvalidSignatureException");
    server.stop().await;
}

#[tokio::test]
async fn who_calls_too_often_hears_so_in_the_words_of_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.rates = Rates::read(["ecs-cluster-read=2/1", "ec2-read=1/1"].into_iter()).unwrap();
    let server = Server::start_with(config, folder.path()).await.unwrap();
    let (list, vpcs) = (ecs::ListClustersRequest::default(), ec2::DescribeVpcsRequest::default());
    let wrong = SigningKey { secret_access_key: "wrong".to_owned(), ..server.key() };
    for _ in 0..3 {
        server.call_as(&list, &wrong, REGION).await.expect(400, "InvalidSignatureException");
    }
    server.call(&list).await.expect(200, "clusterArns");
    let mut codes = Vec::new();
    for _ in 0..20 {
        codes.push(server.call(&list).await);
    }
    let refused = codes.iter().find(|answer| answer.status == 400).unwrap();
    refused.expect(400, "ThrottlingException");
    refused.expect(400, "Rate exceeded");
    server.call(&vpcs).await.expect(200, "<vpcSet>");
    let mut codes = Vec::new();
    for _ in 0..20 {
        codes.push(server.call(&vpcs).await);
    }
    codes.iter().find(|answer| answer.status == 503).unwrap().expect(503, "RequestLimitExceeded");
    server.call(&sts::GetCallerIdentityRequest {}).await.expect(200, "Arn");
    server.stop().await;
}

#[tokio::test]
async fn health_and_metrics_tell_what_happened() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    server.get("/_berth/health").await.expect(200, "\"status\":\"ready\"");
    server.get("/_berth/nothing").await.expect(404, "/_berth/health");
    server.call(&create_cluster("a b")).await.expect(400, "InvalidParameterException");
    server.call(&create_cluster("ab")).await.expect(200, "ab");
    let metrics = server.get("/_berth/metrics").await;
    metrics.expect(200, "berth_requests_total{service=\"ecs\",operation=\"CreateCluster\",code=\"OK\"} 1\n");
    let refused = "operation=\"CreateCluster\",code=\"InvalidParameterException\"} 1\n";
    metrics.expect(200, refused);
    metrics.expect(200, "berth_request_duration_seconds_count{service=\"ecs\",operation=\"CreateCluster\"} 2\n");
    metrics.expect(200, "berth_hosts_connected 0\n");
    server.stop().await;
}

#[tokio::test]
async fn a_server_does_not_start_on_what_belongs_to_another() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let in_use = Server::start_with(config(folder.path()), folder.path()).await.err().unwrap();
    assert!(matches!(in_use, Fault::Store(StoreFault::InUse { .. })), "{in_use:?}");
    let mut same_run = config(folder.path());
    same_run.data_dir = folder.path().join("other");
    let in_use = Server::start_with(same_run, folder.path()).await.err().unwrap();
    assert!(matches!(in_use, Fault::SocketInUse { .. }), "{in_use:?}");
    server.stop().await;

    let mut elsewhere = config(folder.path());
    elsewhere.region = "eu-central-1".to_owned();
    let other = Server::start_with(elsewhere, folder.path()).await.err().unwrap();
    assert!(other.to_string().contains("was made for region us-west-2, not eu-central-1"), "{other}");
    let mut elsewhere = config(folder.path());
    elsewhere.account = "999999999999".to_owned();
    let other = Server::start_with(elsewhere, folder.path()).await.err().unwrap();
    assert!(other.to_string().contains("was made for account 111122223333"), "{other}");
}
