// SPDX-License-Identifier: Apache-2.0
//! Encodes results and refusals in the form of the addressed service.

use berth_shapes::{Operation, Protocol, Refusal, Service, Structure};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::{encode_json, encode_xml};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const XML_DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// Form of refusals for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorForm {
    /// `{"__type":..,"message":..}`
    Json,
    /// A map with `__type` and `message` in CBOR.
    Cbor,
    /// `<Response><Errors><Error>..`
    Ec2,
    /// `<Error>..`, the root of S3.
    S3,
    /// `<ErrorResponse xmlns=..><Error><Type>..`
    Query {
        /// The XML namespace of the service.
        namespace: &'static str,
    },
}

impl ErrorForm {
    /// The form of this service.
    pub const fn of(service: Service) -> ErrorForm {
        match service.protocol() {
            Protocol::AwsJson11 => ErrorForm::Json,
            Protocol::Ec2Query => ErrorForm::Ec2,
            Protocol::AwsQuery => ErrorForm::Query { namespace: service.facts().namespace },
        }
    }
}

/// The answer to an operation that succeeded.
pub fn encode(operation: &Operation, output: &dyn Structure, request_id: &str) -> http::Response<Bytes> {
    match operation.protocol() {
        Protocol::AwsJson11 => {
            let mut body = Vec::with_capacity(512);
            if operation.has_output {
                encode_json::structure(output, &mut body);
            }
            answer(StatusCode::OK, "application/x-amz-json-1.1", request_id, body)
        }
        Protocol::Ec2Query => {
            let mut body = String::with_capacity(1024);
            let root = response_root(operation, &mut body);
            encode_xml::leaf("requestId", request_id, &mut body);
            if operation.has_output {
                encode_xml::members(output, operation.protocol(), &mut body);
            } else {
                encode_xml::leaf("return", "true", &mut body);
            }
            encode_xml::close(&root, &mut body);
            answer(StatusCode::OK, "text/xml;charset=UTF-8", request_id, body.into_bytes())
        }
        Protocol::AwsQuery => {
            let mut body = String::with_capacity(1024);
            let root = response_root(operation, &mut body);
            if !operation.result_wrapper.is_empty() {
                encode_xml::open(operation.result_wrapper, &mut body);
                encode_xml::members(output, operation.protocol(), &mut body);
                encode_xml::close(operation.result_wrapper, &mut body);
            }
            encode_xml::open("ResponseMetadata", &mut body);
            encode_xml::leaf("RequestId", request_id, &mut body);
            encode_xml::close("ResponseMetadata", &mut body);
            encode_xml::close(&root, &mut body);
            answer(StatusCode::OK, "text/xml", request_id, body.into_bytes())
        }
    }
}

/// The answer to a request that was refused.
pub fn encode_refusal(form: ErrorForm, refusal: &Refusal, request_id: &str) -> http::Response<Bytes> {
    let status = StatusCode::from_u16(refusal.code.http_status()).unwrap_or(StatusCode::BAD_REQUEST);
    match form {
        ErrorForm::Json => {
            let mut body = Vec::with_capacity(128);
            body.extend_from_slice(b"{\"__type\":");
            encode_json::text(refusal.code.code(), &mut body);
            body.extend_from_slice(b",\"message\":");
            encode_json::text(&refusal.message, &mut body);
            if !refusal.resource_ids.is_empty() {
                body.extend_from_slice(b",\"resourceIds\":[");
                for (at, arn) in refusal.resource_ids.iter().enumerate() {
                    body.extend_from_slice(if at == 0 { b"" } else { b"," });
                    encode_json::text(arn, &mut body);
                }
                body.push(b']');
            }
            body.push(b'}');
            answer(status, "application/x-amz-json-1.1", request_id, body)
        }
        ErrorForm::Cbor => {
            let mut body = vec![0xa2];
            for text in ["__type", refusal.code.code(), "message", &refusal.message] {
                cbor_text(text, &mut body);
            }
            let mut response = answer(status, "application/cbor", request_id, body);
            response.headers_mut().insert("smithy-protocol", HeaderValue::from_static("rpc-v2-cbor"));
            response
        }
        ErrorForm::S3 => {
            let mut body = String::from(XML_DECLARATION);
            body.push_str("<Error>");
            encode_xml::leaf("Code", refusal.code.code(), &mut body);
            encode_xml::leaf("Message", &refusal.message, &mut body);
            encode_xml::leaf("RequestId", request_id, &mut body);
            body.push_str("</Error>");
            answer(status, "application/xml", request_id, body.into_bytes())
        }
        ErrorForm::Ec2 => {
            let mut body = String::from(XML_DECLARATION);
            body.push_str("<Response><Errors><Error>");
            encode_xml::leaf("Code", refusal.code.code(), &mut body);
            encode_xml::leaf("Message", &refusal.message, &mut body);
            body.push_str("</Error></Errors>");
            encode_xml::leaf("RequestID", request_id, &mut body);
            body.push_str("</Response>");
            answer(status, "text/xml;charset=UTF-8", request_id, body.into_bytes())
        }
        ErrorForm::Query { namespace } => {
            let mut body = String::from("<ErrorResponse xmlns=\"");
            body.push_str(namespace);
            body.push_str("\"><Error>");
            encode_xml::leaf("Type", refusal.code.fault().query_type(), &mut body);
            encode_xml::leaf("Code", refusal.code.code(), &mut body);
            encode_xml::leaf("Message", &refusal.message, &mut body);
            body.push_str("</Error>");
            encode_xml::leaf("RequestId", request_id, &mut body);
            body.push_str("</ErrorResponse>");
            answer(status, "text/xml", request_id, body.into_bytes())
        }
    }
}

/// A text string of RFC 8949, with the shortest length.
fn cbor_text(text: &str, body: &mut Vec<u8>) {
    const TEXT: u8 = 3 << 5;
    match text.len() {
        length @ 0..=23 => body.push(TEXT | length as u8),
        length @ 24..=0xff => body.extend([TEXT | 24, length as u8]),
        length @ 0x100..=0xffff => body.extend([TEXT | 25, (length >> 8) as u8, length as u8]),
        length => {
            body.push(TEXT | 27);
            body.extend((length as u64).to_be_bytes());
        }
    }
    body.extend_from_slice(text.as_bytes());
}

/// Opens `<OpResponse xmlns="..">` and returns its name.
fn response_root(operation: &Operation, body: &mut String) -> String {
    let root = format!("{}Response", operation.name);
    if operation.protocol() == Protocol::Ec2Query {
        body.push_str(XML_DECLARATION);
    }
    body.push('<');
    body.push_str(&root);
    body.push_str(" xmlns=\"");
    body.push_str(operation.service.facts().namespace);
    body.push_str("\">");
    root
}

fn answer(status: StatusCode, content_type: &'static str, request_id: &str, body: Vec<u8>) -> http::Response<Bytes> {
    let mut response = http::Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // A request id that cannot stand in a header would be a fault of ours; the body still carries it.
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, value);
    }
    response
}
