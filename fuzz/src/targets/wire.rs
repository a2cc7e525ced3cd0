// SPDX-License-Identifier: Apache-2.0
//! Requests: a text such as `POST /`, headers, an empty line and a body, through routing, decoding and SigV4.
//!
//! Properties: a decoded input that is encoded again decodes to the same input; every refusal has a form that AWS
//! clients can read; a request signed here is verified, and is refused once its body is changed.

use berth_shapes::{Input, OperationId, Protocol, Refusal, Service, Structure, for_each_operation};
use berth_wire::sigv4::{AuthError, Endpoint, Secret, Session, SigningKey, sign, verify};
use berth_wire::{Call, ErrorForm, RequestParts, compose, decode, encode, encode_refusal, route};
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use serde_json::Value;

/// Time of the corpus requests' signatures.
const NOW_MS: i64 = 1_795_422_298_000;
const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "FwoG/+==";
const REQUEST_ID: &str = "11111111-2222-3333-4444-555555555555";

pub(crate) fn run(data: &[u8]) {
    let Some(request) = request(data) else { return };
    check_signature(&request);
    check_signing(request.clone());
    match route(&RequestParts::of(&request)) {
        Ok(call) => check_call(&call),
        Err(unroutable) => check_refusal(unroutable.form, &unroutable.refusal),
    }
}

/// Parses the text; `None` when an HTTP server would not pass it on.
fn request(data: &[u8]) -> Option<Request<Vec<u8>>> {
    let end = data.windows(2).position(|pair| pair == b"\n\n")?;
    let (head, body) = (&data[..end], &data[end + 2..]);
    let mut lines = head.split(|byte| *byte == b'\n');
    let (method, target) = std::str::from_utf8(lines.next()?).ok()?.split_once(' ')?;
    let mut request = Request::new(body.to_vec());
    *request.method_mut() = method.parse::<Method>().ok()?;
    *request.uri_mut() = target.parse::<Uri>().ok()?;
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        request.headers_mut().append(name, value);
    }
    Some(request)
}

macro_rules! check_calls {
    ($(($id:ident, $module:ident, $input:ident))*) => {
        fn check_call(call: &Call<'_>) {
            match call.operation.id {
                $(OperationId::$id => check_input::<berth_shapes::$module::$input>(call),)*
            }
        }
    };
}
for_each_operation!(check_calls);

fn check_input<I: Input + std::fmt::Debug>(call: &Call<'_>) {
    let input: I = match decode(call) {
        Ok(input) => input,
        Err(refusal) => return check_refusal(call.error_form(), &refusal),
    };
    let written = compose(&input, "localhost").expect("localhost is a host");
    let again = route(&RequestParts::of(&written)).expect("what is written is routed");
    let read: I = decode(&again).expect("what is written is read");
    // As text, because NaN is not equal to itself.
    assert_eq!(format!("{read:?}"), format!("{input:?}"), "written and read again");
    check_answer(call, &input);
}

/// An answer that contains the same texts can be read.
fn check_answer(call: &Call<'_>, output: &dyn Structure) {
    let answer = encode(call.operation, output, REQUEST_ID);
    match call.operation.protocol() {
        Protocol::AwsJson11 => {
            if call.operation.has_output {
                serde_json::from_slice::<Value>(answer.body()).expect("an answer is JSON");
            }
        }
        Protocol::AwsQuery | Protocol::Ec2Query => drop(xml_texts(answer.body())),
    }
}

fn check_refusal(form: ErrorForm, refusal: &Refusal) {
    assert!(!refusal.message.is_empty(), "a refusal without words: {}", refusal.code.code());
    let answer = encode_refusal(form, refusal, REQUEST_ID);
    assert!((400..600).contains(&answer.status().as_u16()));
    let code = refusal.code.code();
    match form {
        ErrorForm::Json => {
            let body: Value = serde_json::from_slice(answer.body()).expect("a refusal is JSON");
            assert_eq!(body["__type"], code);
            assert_eq!(body["message"], refusal.message.as_str());
        }
        ErrorForm::Cbor => {
            let holds = |text: &str| answer.body().windows(text.len()).any(|window| window == text.as_bytes());
            assert!(holds(code) && holds(&refusal.message));
        }
        ErrorForm::Ec2 | ErrorForm::S3 | ErrorForm::Query { .. } => {
            let texts = xml_texts(answer.body());
            let text = |name: &str| texts.iter().find(|(element, _)| element == name).map(|(_, text)| text.as_str());
            assert_eq!(text("Code"), Some(code));
            assert!(text("Message").is_some_and(|message| !message.is_empty()));
        }
    }
}

/// The elements that contain text; the document must be well formed, without characters that XML does not have.
fn xml_texts(body: &[u8]) -> Vec<(String, String)> {
    use quick_xml::events::Event;
    let text = std::str::from_utf8(body).expect("an answer is UTF-8");
    let is_xml = |c: char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{FFFD}' | '\u{10000}'..);
    assert!(text.chars().all(is_xml), "a character that XML has not");
    let mut reader = quick_xml::Reader::from_str(text);
    let (mut texts, mut open): (Vec<(String, String)>, Vec<String>) = (Vec::new(), Vec::new());
    loop {
        match reader.read_event().expect("an answer is well formed") {
            Event::Start(start) => open.push(AsRef::<str>::as_ref(&start.name()).to_owned()),
            Event::End(_) => drop(open.pop()),
            Event::Text(inside) => {
                let name = open.last().cloned().unwrap_or_default();
                texts.push((name, inside.to_string()));
            }
            Event::Eof => break,
            _ => {}
        }
    }
    assert!(open.is_empty(), "an element has no end");
    texts
}

fn secret_of(id: &str) -> Option<Secret> {
    (id == KEY).then(|| Secret { secret_access_key: SECRET.to_owned(), session: None })
}

fn session_of(id: &str) -> Option<Secret> {
    let session = Session { token: TOKEN.to_owned(), expires_ms: NOW_MS + 1 };
    secret_of(id).map(|secret| Secret { session: Some(session), ..secret })
}

fn check_signature(request: &Request<Vec<u8>>) {
    for service in Service::ALL.iter().copied() {
        let endpoint = Endpoint { region: "us-west-2", service: service.name() };
        for lookup in [secret_of, session_of] {
            match verify(&RequestParts::of(request), &lookup, NOW_MS, endpoint) {
                Ok(id) => {
                    assert_eq!(id, KEY);
                    let mut changed = request.clone();
                    changed.body_mut().push(b' ');
                    let verified = verify(&RequestParts::of(&changed), &lookup, NOW_MS, endpoint);
                    assert_eq!(verified, Err(AuthError::WrongSignature), "another body with the same signature");
                }
                Err(error) => check_refusal(ErrorForm::of(service), &error.refusal(service.protocol())),
            }
        }
    }
}

/// A request signed here is verified here.
fn check_signing(mut request: Request<Vec<u8>>) {
    // A token of another session shows that the key is not the one below.
    request.headers_mut().remove("x-amz-security-token");
    if !request.headers().contains_key(header::HOST) {
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("localhost"));
    }
    let key = SigningKey { access_key_id: KEY.to_owned(), secret_access_key: SECRET.to_owned(), session_token: None };
    let endpoint = Endpoint { region: "us-west-2", service: "ecs" };
    if sign(&mut request, &key, endpoint, NOW_MS).is_ok() {
        let verified = verify(&RequestParts::of(&request), &secret_of, NOW_MS, endpoint);
        assert_eq!(verified, Ok(KEY.to_owned()), "signed here and not verified");
    }
}
