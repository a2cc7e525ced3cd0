// SPDX-License-Identifier: Apache-2.0
//! Refusals and their words for each family of services.
#![allow(clippy::unwrap_used)]

use berth_shapes::{Service, ecs};
use berth_wire::sigv4::{Endpoint, Secret, Session, SigningKey, sign, verify};
use berth_wire::{RequestParts, compose};
use bytes::Bytes;
use expect_test::{Expect, expect};
use proptest::prelude::*;

const NOW_MS: i64 = 1_795_422_298_000;
const ENDPOINT: Endpoint<'static> = Endpoint { region: "us-west-2", service: "ecs" };

fn key(session_token: Option<&str>) -> SigningKey {
    SigningKey {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: "secret".to_owned(),
        session_token: session_token.map(str::to_owned),
    }
}

fn signed(key: &SigningKey, endpoint: Endpoint<'_>, at_ms: i64) -> http::Request<Bytes> {
    let mut request = compose(&ecs::ListClustersRequest::default(), "localhost:4566").unwrap();
    sign(&mut request, key, endpoint, at_ms).unwrap();
    request
}

fn lookup(session: Option<(&str, i64)>) -> impl Fn(&str) -> Option<Secret> {
    let session = session.map(|(token, expires_ms)| Session { token: token.to_owned(), expires_ms });
    move |id| (id == "AKIDEXAMPLE").then(|| Secret { secret_access_key: "secret".to_owned(), session: session.clone() })
}

fn outcome(request: &http::Request<Bytes>, session: Option<(&str, i64)>) -> String {
    match verify(&RequestParts::of(request), &lookup(session), NOW_MS, ENDPOINT) {
        Ok(id) => format!("{id}\n"),
        Err(error) => [Service::Ecs, Service::Sts, Service::Ec2]
            .map(|service| {
                let refusal = error.refusal(service.protocol());
                format!("{} {} {}\n", refusal.code.http_status(), refusal.code, refusal.message)
            })
            .concat(),
    }
}

fn check(request: &http::Request<Bytes>, expect: Expect) {
    expect.assert_eq(&outcome(request, None));
}

#[test]
fn what_we_sign_we_verify() {
    assert_eq!(outcome(&signed(&key(None), ENDPOINT, NOW_MS), None), "AKIDEXAMPLE\n");
    assert_eq!(outcome(&signed(&key(None), ENDPOINT, NOW_MS - 300_000), None), "AKIDEXAMPLE\n");
}

#[test]
fn an_unsigned_request_is_refused() {
    let request = compose(&ecs::ListClustersRequest::default(), "localhost:4566").unwrap();
    check(
        &request,
        expect![[r#"
        400 MissingAuthenticationTokenException Request is missing Authentication Token
        403 MissingAuthenticationToken Request is missing Authentication Token
        403 MissingAuthenticationToken Request is missing Authentication Token
    "#]],
    );
}

#[test]
fn an_unreadable_authorization_is_refused() {
    let mut request = signed(&key(None), ENDPOINT, NOW_MS);
    request.headers_mut().insert("authorization", "AWS4-HMAC-SHA256 Credential=a/b/c".parse().unwrap());
    check(
        &request,
        expect![[r#"
        400 IncompleteSignatureException Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter.
        400 IncompleteSignature Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter.
        400 IncompleteSignature Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter.
    "#]],
    );
    request.headers_mut().insert("authorization", "Bearer xyz".parse().unwrap());
    check(
        &request,
        expect![[r#"
        400 IncompleteSignatureException Unsupported AWS 'algorithm': only AWS4-HMAC-SHA256 is accepted.
        400 IncompleteSignature Unsupported AWS 'algorithm': only AWS4-HMAC-SHA256 is accepted.
        400 IncompleteSignature Unsupported AWS 'algorithm': only AWS4-HMAC-SHA256 is accepted.
    "#]],
    );
}

#[test]
fn an_unknown_key_is_refused() {
    let unknown = SigningKey { access_key_id: "AKIDOTHER".to_owned(), ..key(None) };
    check(
        &signed(&unknown, ENDPOINT, NOW_MS),
        expect![[r#"
        400 UnrecognizedClientException The security token included in the request is invalid.
        403 InvalidClientTokenId The security token included in the request is invalid.
        401 AuthFailure AWS was not able to validate the provided access credentials
    "#]],
    );
}

#[test]
fn a_wrong_secret_is_refused() {
    let wrong = SigningKey { secret_access_key: "guess".to_owned(), ..key(None) };
    check(
        &signed(&wrong, ENDPOINT, NOW_MS),
        expect![[r#"
        400 InvalidSignatureException The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.
        403 SignatureDoesNotMatch The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.
        401 AuthFailure AWS was not able to validate the provided access credentials
    "#]],
    );
}

#[test]
fn a_signature_of_another_time_is_refused() {
    check(
        &signed(&key(None), ENDPOINT, NOW_MS - 301_000),
        expect![[r#"
        400 InvalidSignatureException Signature expired: 20261123T081957Z is now earlier than 20261123T081958Z (20261123T082458Z - 5 min.)
        403 SignatureDoesNotMatch Signature expired: 20261123T081957Z is now earlier than 20261123T081958Z (20261123T082458Z - 5 min.)
        400 RequestExpired Request has expired.
    "#]],
    );
    check(
        &signed(&key(None), ENDPOINT, NOW_MS + 301_000),
        expect![[r#"
        400 InvalidSignatureException Signature not yet current: 20261123T082959Z is still later than 20261123T082958Z (20261123T082458Z + 5 min.)
        403 SignatureDoesNotMatch Signature not yet current: 20261123T082959Z is still later than 20261123T082958Z (20261123T082458Z + 5 min.)
        400 RequestExpired Request has expired.
    "#]],
    );
}

#[test]
fn a_signature_for_another_place_is_refused() {
    let elsewhere = Endpoint { region: "eu-west-1", service: "s3" };
    check(
        &signed(&key(None), elsewhere, NOW_MS),
        expect![[r#"
        400 InvalidSignatureException Credential should be scoped to a valid region. Credential should be scoped to correct service: 'ecs'.
        403 SignatureDoesNotMatch Credential should be scoped to a valid region. Credential should be scoped to correct service: 'ecs'.
        401 AuthFailure Credential should be scoped to a valid region. Credential should be scoped to correct service: 'ecs'.
    "#]],
    );
}

#[test]
fn host_operation_and_moment_must_be_signed() {
    let mut request = signed(&key(None), ENDPOINT, NOW_MS);
    let authorization = request.headers()["authorization"].to_str().unwrap().to_owned();
    for (from, to) in [(";host", ""), (";x-amz-target", ""), (";x-amz-date", "")] {
        request.headers_mut().insert("authorization", authorization.replace(from, to).parse().unwrap());
        assert!(outcome(&request, None).contains("must be a 'SignedHeader'"), "{from}");
    }
}

#[test]
fn temporary_credentials_need_their_token() {
    let session = Some(("token", NOW_MS + 1));
    assert_eq!(outcome(&signed(&key(Some("token")), ENDPOINT, NOW_MS), session), "AKIDEXAMPLE\n");
    let without = outcome(&signed(&key(None), ENDPOINT, NOW_MS), session);
    let other = outcome(&signed(&key(Some("other")), ENDPOINT, NOW_MS), session);
    let superfluous = outcome(&signed(&key(Some("token")), ENDPOINT, NOW_MS), None);
    assert_eq!(without, other);
    assert_eq!(without, superfluous);
    expect![[r#"
        400 UnrecognizedClientException The security token included in the request is invalid.
        403 InvalidClientTokenId The security token included in the request is invalid.
        401 AuthFailure AWS was not able to validate the provided access credentials
    "#]]
    .assert_eq(&without);
    let over = outcome(&signed(&key(Some("token")), ENDPOINT, NOW_MS), Some(("token", NOW_MS)));
    expect![[r#"
        400 ExpiredTokenException The security token included in the request is expired
        403 ExpiredToken The security token included in the request is expired
        400 RequestExpired Request has expired.
    "#]]
    .assert_eq(&over);
}

proptest! {
    #[test]
    fn verifying_never_panics(authorization in "AWS4-HMAC-SHA256 [ -~]{0,200}", date in "[ -~]{0,20}", query in "[a-zA-Z0-9%&=+._-]{0,80}") {
        let mut request = signed(&key(None), ENDPOINT, NOW_MS);
        request.headers_mut().insert("authorization", authorization.parse().unwrap());
        request.headers_mut().insert("x-amz-date", date.parse().unwrap());
        *request.uri_mut() = format!("/?X-Amz-Algorithm=AWS4-HMAC-SHA256&{query}").parse().unwrap();
        let _ = verify(&RequestParts::of(&request), &lookup(None), NOW_MS, ENDPOINT);
        request.headers_mut().remove("authorization");
        let _ = verify(&RequestParts::of(&request), &lookup(None), NOW_MS, ENDPOINT);
    }
}
