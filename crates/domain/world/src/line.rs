// SPDX-License-Identifier: Apache-2.0
//! The language of transcripts.
//!
//! A line is a call or an event. A call is an operation and its members:
//! - `CreateSubnet VpcId=vpc-1 CidrBlock=10.0.1.0/24`: members, in double quotes where a value has spaces;
//! - `RunTask overrides.containerOverrides.1.name=nginx`: members of members; items of lists have numbers from 1;
//! - `RunTask taskDefinition=nginx networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-a"]}}`: a large
//!   member as JSON;
//! - `RegisterTaskDefinition {"family": "nginx", "containerDefinitions": []}`: several members as JSON;
//! - `DescribeTasks tasks.1=task-1 | lastStatus version`: of the answer, only members with these names, at any depth.
//!
//! Short forms of EC2: `filter:vpc-id=a,b`, `tag:vpc:Name=web`, `rule=tcp:80-80:0.0.0.0/0`.
//!
//! An event is a host or a task and its report:
//! - `host-1 connects`, `host-1 disconnects`;
//! - `task-1 reports RUNNING`: a stage of the task (`PROVISIONING`, `PENDING`, `RUNNING`, `STOPPING`, `STOPPED`) and
//!   containers to match; `task-1 reports STOPPED exited=nginx` or `failed="CannotPullContainerError: no such image"`
//!   gives the reason of the host;
//! - `task-1 interface ATTACHED`, `task-1 interface GONE`, `task-1 interface failed="no link"`.
//!
//! In a transcript, a line that begins with `!` prepares: it must succeed, and it is not shown.

use serde_json::{Deserializer, Map, Value};

/// One line, without the `!` of a preparation.
pub(crate) enum Line<'a> {
    Call {
        operation: &'a str,
        request: Value,
        /// Of the answer, only members with these names; all of them when empty.
        members: Vec<&'a str>,
    },
    Event {
        subject: &'a str,
        words: &'a str,
    },
}

pub(crate) fn parse(line: &str) -> Line<'_> {
    let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
    if first.starts_with(|c: char| c.is_ascii_lowercase()) && !first.contains(':') {
        return Line::Event { subject: first, words: rest.trim() };
    }
    let mut request = Value::Object(Map::new());
    let mut rest = rest.trim_start();
    while !rest.is_empty() {
        if let Some(members) = rest.strip_prefix("| ") {
            return Line::Call { operation: first, request, members: members.split_whitespace().collect() };
        }
        rest = member(&mut request, rest).trim_start();
    }
    Line::Call { operation: first, request, members: Vec::new() }
}

/// Reads the first member, or the JSON, at the beginning of `rest`; gives the text behind it.
fn member<'a>(request: &mut Value, rest: &'a str) -> &'a str {
    if rest.starts_with('{') {
        let (members, after) = json(rest);
        let Value::Object(members) = members else { panic!("{rest}: not an object") };
        request.as_object_mut().unwrap().extend(members);
        return after;
    }
    let end = rest.find(['=', ' ']).filter(|end| rest[*end..].starts_with('='));
    let (key, value) = rest.split_at(end.unwrap_or_else(|| panic!("{rest}: no value")));
    let value = &value[1..];
    if value.starts_with(['{', '[']) {
        let (value, after) = json(value);
        set(request, key, value);
        return after;
    }
    let (value, after) = text(value);
    if let Some(name) = key.strip_prefix("filter:") {
        let n = count(request, "Filters") + 1;
        set(request, &format!("Filters.{n}.Name"), name.into());
        for (m, value) in value.split(',').enumerate() {
            set(request, &format!("Filters.{n}.Values.{}", m + 1), value.into());
        }
    } else if let Some((kind, key)) = key.strip_prefix("tag:").and_then(|rest| rest.split_once(':')) {
        let n = count(request, "TagSpecifications") + 1;
        set(request, &format!("TagSpecifications.{n}.ResourceType"), kind.into());
        set(request, &format!("TagSpecifications.{n}.Tags.1.Key"), key.into());
        set(request, &format!("TagSpecifications.{n}.Tags.1.Value"), value.into());
    } else if key == "rule" {
        set_rule(request, &value);
    } else {
        set(request, key, value.into());
    }
    after
}

/// `tcp:80-80:0.0.0.0/0`, `-1::sg-1`, `icmp:8--1:10.0.0.0/8`.
fn set_rule(request: &mut Value, text: &str) {
    let n = count(request, "IpPermissions") + 1;
    let mut parts = text.splitn(3, ':');
    let mut next = || parts.next().unwrap();
    let (protocol, ports, peer) = (next(), next(), next());
    set(request, &format!("IpPermissions.{n}.IpProtocol"), protocol.into());
    // The first number may be negative.
    if let Some((dash, _)) = ports.char_indices().skip(1).find(|(_, c)| *c == '-') {
        set(request, &format!("IpPermissions.{n}.FromPort"), ports[..dash].into());
        set(request, &format!("IpPermissions.{n}.ToPort"), ports[dash + 1..].into());
    }
    let member = match peer {
        peer if peer.starts_with("sg-") => "UserIdGroupPairs.1.GroupId",
        peer if peer.starts_with("pl-") => "PrefixListIds.1.PrefixListId",
        peer if peer.contains("::") => "Ipv6Ranges.1.CidrIpv6",
        _ => "IpRanges.1.CidrIp",
    };
    set(request, &format!("IpPermissions.{n}.{member}"), peer.into());
}

/// Sets a member of a member; items of lists are members with numbers until they are filled in.
fn set(value: &mut Value, path: &str, to: Value) {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let object = value.as_object_mut().unwrap_or_else(|| panic!("{path}: a value has no members"));
    match rest {
        Some(rest) => set(object.entry(first).or_insert_with(|| Value::Object(Map::new())), rest, to),
        None => drop(object.insert(first.to_owned(), to)),
    }
}

fn count(value: &Value, name: &str) -> usize {
    value[name].as_object().map_or(0, Map::len)
}

/// The JSON value at the beginning of `rest`, and the text behind it.
fn json(rest: &str) -> (Value, &str) {
    let mut values = Deserializer::from_str(rest).into_iter::<Value>();
    let value = values.next().unwrap().unwrap_or_else(|fault| panic!("{rest}: {fault}"));
    (value, &rest[values.byte_offset()..])
}

/// The value up to the first space outside double quotes, without the quotes, and the text behind it.
pub(crate) fn text(rest: &str) -> (String, &str) {
    let mut value = String::new();
    let mut is_quoted = false;
    for (at, c) in rest.char_indices() {
        match c {
            '"' => is_quoted = !is_quoted,
            ' ' if !is_quoted => return (value, &rest[at..]),
            c => value.push(c),
        }
    }
    (value, "")
}
