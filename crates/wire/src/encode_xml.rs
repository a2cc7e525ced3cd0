// SPDX-License-Identifier: Apache-2.0
//! Encodes values as XML, in EC2's dialect (`<vpcSet><item>`) and awsQuery's (`<Tags><member>`).

use std::fmt::Write as _;

use berth_shapes::{Member, Protocol, Structure, Timestamp, View};

use crate::blob;
use crate::instant;

/// Appends the structure's members as elements.
pub(crate) fn members(value: &dyn Structure, protocol: Protocol, out: &mut String) {
    for (index, member) in value.shape().members.iter().enumerate() {
        if let Some(inner) = value.member(index) {
            element(member, inner, protocol, out);
        }
    }
}

/// Appends `<name>text</name>`.
pub(crate) fn leaf(name: &str, text: &str, out: &mut String) {
    open(name, out);
    escaped(text, out);
    close(name, out);
}

/// Appends text; characters XML 1.0 cannot carry become U+FFFD, a carriage return survives as a reference.
fn escaped(text: &str, out: &mut String) {
    let plain = !text.bytes().any(|byte| byte < 0x20 || byte == 0xEF);
    if plain {
        out.push_str(&quick_xml::escape::escape(text));
        return;
    }
    for piece in text.split_inclusive(|c: char| !is_plain(c)) {
        let (plain, odd) = match piece.chars().next_back() {
            Some(last) if !is_plain(last) => (&piece[..piece.len() - last.len_utf8()], Some(last)),
            _ => (piece, None),
        };
        out.push_str(&quick_xml::escape::escape(plain));
        match odd {
            Some('\r') => out.push_str("&#xD;"),
            Some(_) => out.push('\u{FFFD}'),
            None => {}
        }
    }
}

fn is_plain(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

pub(crate) fn open(name: &str, out: &mut String) {
    out.push('<');
    out.push_str(name);
    out.push('>');
}

pub(crate) fn close(name: &str, out: &mut String) {
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

fn element(member: &Member, value: View<'_>, protocol: Protocol, out: &mut String) {
    match value {
        View::List(list) if member.flattened => {
            for item in (0..list.len()).filter_map(|index| list.item(index)) {
                wrapped(member.xml, item, "member", protocol, out);
            }
        }
        other => wrapped(member.xml, other, member.item, protocol, out),
    }
}

/// Appends `<name>value</name>`; items of a list are called `item`.
fn wrapped(name: &str, value: View<'_>, item: &str, protocol: Protocol, out: &mut String) {
    if let View::List(list) = &value
        && list.is_empty()
    {
        out.push('<');
        out.push_str(name);
        out.push_str("/>");
        return;
    }
    open(name, out);
    match value {
        View::Text(value) => escaped(value, out),
        View::Integer(value) => number(value, out),
        View::Long(value) => number(value, out),
        View::Double(value) => number(value, out),
        View::Boolean(value) => out.push_str(if value { "true" } else { "false" }),
        View::Timestamp(value) => timestamp(value, protocol, out),
        View::Blob(value) => out.push_str(&blob::encode(value)),
        View::Structure(value) => members(value, protocol, out),
        View::List(list) => {
            let inner = if protocol == Protocol::Ec2Query { "item" } else { "member" };
            for value in (0..list.len()).filter_map(|index| list.item(index)) {
                wrapped(if item.is_empty() { inner } else { item }, value, inner, protocol, out);
            }
        }
        View::Map(map) => map.each(&mut |key, value| {
            open("entry", out);
            leaf("key", key, out);
            wrapped("value", value, "", protocol, out);
            close("entry", out);
        }),
    }
    close(name, out);
}

fn number(value: impl std::fmt::Display, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{value}");
}

fn timestamp(value: Timestamp, protocol: Protocol, out: &mut String) {
    if protocol == Protocol::Ec2Query || value.0 % 1000 != 0 {
        instant::extended_ms(value.0, out);
    } else {
        instant::extended(value.0, out);
    }
}
