// SPDX-License-Identifier: Apache-2.0
//! Requests signed by botocore are verified. `sigv4_botocore.py` wrote the vectors.
#![allow(clippy::unwrap_used)]

use berth_wire::RequestParts;
use berth_wire::sigv4::{AuthError, Endpoint, Secret, Session, verify};
use serde_json::Value;

fn vectors() -> (i64, Vec<Value>) {
    let file: Value = serde_json::from_str(include_str!("sigv4_botocore.json")).unwrap();
    (file["now_ms"].as_i64().unwrap(), file["vectors"].as_array().unwrap().clone())
}

fn request(vector: &Value) -> http::Request<Vec<u8>> {
    let mut request = http::Request::builder()
        .method(vector["method"].as_str().unwrap())
        .uri(vector["target"].as_str().unwrap())
        .body(vector["body"].as_str().unwrap().as_bytes().to_vec())
        .unwrap();
    for header in vector["headers"].as_array().unwrap() {
        let name: http::HeaderName = header[0].as_str().unwrap().parse().unwrap();
        request.headers_mut().append(name, header[1].as_str().unwrap().parse().unwrap());
    }
    request
}

fn check(vector: &Value, request: &http::Request<Vec<u8>>, now_ms: i64) -> Result<String, AuthError> {
    let secret = Secret {
        secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
        session: vector["token"].as_str().map(|token| Session { token: token.to_owned(), expires_ms: now_ms + 1 }),
    };
    let lookup = |id: &str| (id == "AKIDEXAMPLE").then(|| secret.clone());
    let endpoint = Endpoint { region: "us-west-2", service: vector["service"].as_str().unwrap() };
    verify(&RequestParts::of(request), &lookup, now_ms, endpoint)
}

#[test]
fn every_request_botocore_signs_is_verified() {
    let (now_ms, vectors) = vectors();
    for vector in &vectors {
        let outcome = check(vector, &request(vector), now_ms);
        assert_eq!(outcome, Ok("AKIDEXAMPLE".to_owned()), "{}", vector["name"]);
    }
}

#[test]
fn a_changed_body_path_query_or_header_is_refused() {
    let (now_ms, vectors) = vectors();
    for vector in &vectors {
        let mut changed = request(vector);
        changed.body_mut().push(b' ');
        assert_eq!(check(vector, &changed, now_ms), Err(AuthError::WrongSignature), "{} body", vector["name"]);

        let mut changed = request(vector);
        let target = changed.uri().to_string();
        let sign = if target.contains('?') { '&' } else { '?' };
        *changed.uri_mut() = format!("{target}{sign}extra=1").parse().unwrap();
        assert_eq!(check(vector, &changed, now_ms), Err(AuthError::WrongSignature), "{} query", vector["name"]);

        let mut changed = request(vector);
        *changed.uri_mut() = format!("/extra{target}").parse().unwrap();
        assert_eq!(check(vector, &changed, now_ms), Err(AuthError::WrongSignature), "{} path", vector["name"]);

        let mut changed = request(vector);
        changed.headers_mut().insert("host", "127.0.0.1:4567".parse().unwrap());
        assert_eq!(check(vector, &changed, now_ms), Err(AuthError::WrongSignature), "{} host", vector["name"]);
    }
}

#[test]
fn a_plus_that_was_signed_as_an_escape_is_not_taken_for_a_space() {
    let (now_ms, vectors) = vectors();
    let vector = vectors.iter().find(|vector| vector["name"] == "query with escapes").unwrap();
    let mut changed = request(vector);
    *changed.uri_mut() = changed.uri().to_string().replace("%2B", "+").parse().unwrap();
    assert_eq!(check(vector, &changed, now_ms), Err(AuthError::WrongSignature));
}
