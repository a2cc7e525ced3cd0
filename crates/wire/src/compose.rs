// SPDX-License-Identifier: Apache-2.0
//! Requests from the client's side: for the command line, tests and benchmarks. The inverse of `route`.

use berth_shapes::{Input, Operation, Protocol, Structure, View};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Uri, header};

use crate::percent;
use crate::{blob, encode_json, instant};

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// An unsigned request for the operation of `input`, to this host (`name:port`). `None` when the host is invalid.
pub fn compose<I: Input>(input: &I, host: &str) -> Option<http::Request<Bytes>> {
    let operation = I::OPERATION.row();
    let (content_type, body) = match operation.protocol() {
        Protocol::AwsJson11 => {
            let mut body = Vec::new();
            encode_json::structure(input, &mut body);
            ("application/x-amz-json-1.1", body)
        }
        Protocol::AwsQuery | Protocol::Ec2Query => {
            ("application/x-www-form-urlencoded; charset=utf-8", form(operation, input).into_bytes())
        }
    };
    let mut request = http::Request::new(Bytes::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static("/");
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_str(host).ok()?);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if operation.protocol() == Protocol::AwsJson11 {
        let target = format!("{}.{}", operation.service.facts().target, operation.name);
        headers.insert(TARGET, HeaderValue::from_str(&target).ok()?);
    }
    Some(request)
}

fn form(operation: &Operation, input: &dyn Structure) -> String {
    let mut form = Form { out: String::with_capacity(256), ec2: operation.protocol() == Protocol::Ec2Query };
    form.put("Action", operation.name);
    form.put("Version", operation.service.facts().version);
    form.structure("", input);
    form.out
}

struct Form {
    out: String,
    ec2: bool,
}

impl Form {
    fn put(&mut self, key: &str, value: &str) {
        if !self.out.is_empty() {
            self.out.push('&');
        }
        percent::encode(key, &mut self.out);
        self.out.push('=');
        percent::encode(value, &mut self.out);
    }

    fn structure(&mut self, prefix: &str, value: &dyn Structure) {
        for (index, member) in value.shape().members.iter().enumerate() {
            let Some(inner) = value.member(index) else { continue };
            let key = if prefix.is_empty() { member.query.to_owned() } else { format!("{prefix}.{}", member.query) };
            let item = if self.ec2 || member.flattened { "" } else { member.item };
            self.view(&key, inner, item);
        }
    }

    fn view(&mut self, key: &str, value: View<'_>, item: &str) {
        match value {
            View::Text(value) => self.put(key, value),
            View::Integer(value) => self.put(key, &value.to_string()),
            View::Long(value) => self.put(key, &value.to_string()),
            View::Double(value) => self.put(key, &value.to_string()),
            View::Boolean(value) => self.put(key, if value { "true" } else { "false" }),
            View::Timestamp(value) => {
                let mut text = String::new();
                instant::extended_ms(value.0, &mut text);
                self.put(key, &text);
            }
            View::Blob(value) => self.put(key, &blob::encode(value)),
            View::Structure(value) => self.structure(key, value),
            // The form of awsQuery; without it the list would count as absent.
            View::List(list) if list.is_empty() => self.put(key, ""),
            View::List(list) => {
                let prefix = if item.is_empty() { key.to_owned() } else { format!("{key}.{item}") };
                for (index, value) in (0..list.len()).filter_map(|index| Some((index, list.item(index)?))) {
                    self.view(&format!("{prefix}.{}", index + 1), value, if self.ec2 { "" } else { "member" });
                }
            }
            View::Map(map) => {
                let mut number = 0;
                map.each(&mut |name, value| {
                    number += 1;
                    self.put(&format!("{key}.entry.{number}.key"), name);
                    self.view(&format!("{key}.entry.{number}.value"), value, "");
                });
            }
        }
    }
}
