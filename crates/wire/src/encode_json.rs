// SPDX-License-Identifier: Apache-2.0
//! Encodes values as JSON: absent members are omitted, times are seconds since the epoch with a fraction.

use berth_shapes::{Structure, View};

use crate::blob;

/// Appends the structure as an object.
pub(crate) fn structure(value: &dyn Structure, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut first = true;
    for (index, member) in value.shape().members.iter().enumerate() {
        let Some(inner) = value.member(index) else { continue };
        if !first {
            out.push(b',');
        }
        first = false;
        // Member names are identifiers, which need no escapes.
        out.push(b'"');
        out.extend_from_slice(member.name.as_bytes());
        out.extend_from_slice(b"\":");
        view(inner, out);
    }
    out.push(b'}');
}

/// Appends text as a JSON string.
pub(crate) fn text(value: &str, out: &mut Vec<u8>) {
    scalar(&value, out);
}

fn view(value: View<'_>, out: &mut Vec<u8>) {
    match value {
        View::Text(value) => scalar(&value, out),
        View::Integer(value) => scalar(&value, out),
        View::Long(value) => scalar(&value, out),
        View::Double(value) => scalar(&value, out),
        View::Boolean(value) => scalar(&value, out),
        View::Timestamp(value) => scalar(&(value.0 as f64 / 1000.0), out),
        View::Blob(value) => scalar(&blob::encode(value), out),
        View::Structure(value) => structure(value, out),
        View::List(list) => {
            out.push(b'[');
            for index in 0..list.len() {
                if index > 0 {
                    out.push(b',');
                }
                if let Some(item) = list.item(index) {
                    view(item, out);
                }
            }
            out.push(b']');
        }
        View::Map(map) => {
            out.push(b'{');
            let mut first = true;
            map.each(&mut |key, value| {
                if !first {
                    out.push(b',');
                }
                first = false;
                scalar(&key, out);
                out.push(b':');
                view(value, out);
            });
            out.push(b'}');
        }
    }
}

fn scalar<T: serde::Serialize>(value: &T, out: &mut Vec<u8>) {
    // Writing a scalar to memory cannot fail; infinities, which JSON lacks, become null.
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok());
}
