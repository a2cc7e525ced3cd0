// SPDX-License-Identifier: Apache-2.0
//! Client tokens: a call that repeats a token is answered with the result of the first call, if the requests are equal.
//!
//! A record keeps the token with a digest of the request it came with. The digest is made over a canonical encoding of
//! the members that are present: a member that a later model adds changes no digest until a caller names it. A digest
//! that this program cannot recompute (of an older or a later version) matches every request with its token, so that a
//! retry across an upgrade is not a conflict.

use berth_shapes::{Structure, View};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// Version of the encoding that digests are made over; the first byte of each.
const VERSION: u8 = 1;

/// Members that control the call and do not change its result.
const LEFT_OUT: [&str; 3] = ["ClientToken", "clientToken", "DryRun"];

/// A client token, and a digest of the request it came with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientToken(pub String, pub RequestDigest);

/// A digest of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestDigest {
    /// Digest of a version that this program cannot compute.
    Foreign,
    /// SHA-256 of the encoding of [`VERSION`].
    Known([u8; 32]),
}

impl ClientToken {
    /// The token of a request, unless it is absent or empty.
    pub fn of(token: Option<&str>, request: &dyn Structure) -> Option<Self> {
        let token = token.filter(|token| !token.is_empty())?;
        Some(Self(token.to_owned(), RequestDigest::of(request)))
    }

    /// The token itself.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// True if both stand for the same request, given that the tokens are equal.
    pub fn is_same_request(&self, other: &Self) -> bool {
        match (self.1, other.1) {
            (RequestDigest::Known(one), RequestDigest::Known(other)) => one == other,
            (RequestDigest::Foreign, _) | (_, RequestDigest::Foreign) => true,
        }
    }
}

impl RequestDigest {
    /// The digest of a request.
    pub fn of(request: &dyn Structure) -> Self {
        let mut encoding = vec![VERSION];
        structure(request, &LEFT_OUT, &mut encoding);
        Self::Known(Sha256::digest(&encoding).into())
    }
}

/// The version and the hash in hexadecimal digits.
impl Serialize for RequestDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Foreign => serializer.serialize_str(""),
            Self::Known(hash) => {
                let digits: String = std::iter::once(&VERSION).chain(hash).map(|byte| format!("{byte:02x}")).collect();
                serializer.serialize_str(&digits)
            }
        }
    }
}

impl<'de> Deserialize<'de> for RequestDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Digests of 0.1.0 are 16 digits in tasks and numbers in interfaces and route tables.
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Stored {
            Digits(String),
            Number(#[allow(dead_code)] u64),
        }
        Ok(match Stored::deserialize(deserializer)? {
            Stored::Digits(digits) => hash(&digits).map_or(Self::Foreign, Self::Known),
            Stored::Number(_) => Self::Foreign,
        })
    }
}

/// The hash in stored digits, if they are of this version.
fn hash(digits: &str) -> Option<[u8; 32]> {
    let digits = digits.strip_prefix(&format!("{VERSION:02x}"))?;
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
    }
    Some(hash)
}

/// Appends the members that are present, each preceded by its name, sorted by name because a later model may order them
/// differently.
fn structure(from: &dyn Structure, left_out: &[&str], to: &mut Vec<u8>) {
    let members = from.shape().members.iter().enumerate().filter(|(_, member)| !left_out.contains(&member.name));
    let mut present: Vec<(&str, View<'_>)> =
        members.filter_map(|(at, member)| Some((member.name, from.member(at)?))).collect();
    present.sort_by_key(|(name, _)| *name);
    length(present.len(), to);
    for (name, view) in &present {
        bytes(name.as_bytes(), to);
        value(view, to);
    }
}

/// Appends a value preceded by its type. Integers of both sizes are encoded alike, because a model may widen one.
fn value(from: &View<'_>, to: &mut Vec<u8>) {
    match from {
        View::Text(text) => {
            to.push(b't');
            bytes(text.as_bytes(), to);
        }
        View::Integer(number) => integer(i64::from(*number), to),
        View::Long(number) => integer(*number, to),
        View::Double(number) => {
            to.push(b'd');
            to.extend(number.to_bits().to_be_bytes());
        }
        View::Boolean(yes) => to.extend([b'b', u8::from(*yes)]),
        View::Timestamp(at) => {
            to.push(b'@');
            to.extend(at.0.to_be_bytes());
        }
        View::Blob(blob) => {
            to.push(b'x');
            bytes(blob, to);
        }
        View::Structure(inner) => {
            to.push(b's');
            structure(*inner, &[], to);
        }
        View::List(list) => {
            to.push(b'l');
            length(list.len(), to);
            (0..list.len()).filter_map(|at| list.item(at)).for_each(|item| value(&item, to));
        }
        View::Map(map) => {
            to.push(b'm');
            let mut count = 0;
            map.each(&mut |_, _| count += 1);
            length(count, to);
            map.each(&mut |key, item| {
                bytes(key.as_bytes(), to);
                value(&item, to);
            });
        }
    }
}

fn integer(number: i64, to: &mut Vec<u8>) {
    to.push(b'i');
    to.extend(number.to_be_bytes());
}

fn bytes(content: &[u8], to: &mut Vec<u8>) {
    length(content.len(), to);
    to.extend_from_slice(content);
}

fn length(length: usize, to: &mut Vec<u8>) {
    to.extend((length as u64).to_be_bytes());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use berth_shapes::{Kind, Member, Shape, Slot, Value, ecs};

    use super::*;

    /// A request as one version of a model has it: all members are texts.
    struct Modelled {
        shape: &'static Shape,
        given: BTreeMap<&'static str, String>,
    }

    impl Structure for Modelled {
        fn shape(&self) -> &'static Shape {
            self.shape
        }
        fn member(&self, index: usize) -> Option<View<'_>> {
            self.given.get(self.shape.members.get(index)?.name).map(Value::view)
        }
        fn slot(&mut self, _index: usize) -> Option<Slot<'_>> {
            None
        }
    }

    const fn text(name: &'static str) -> Member {
        Member::new(name, Kind::Text)
    }

    static OLDER: Shape = Shape { name: "MakeRequest", members: &[text("clientToken"), text("name")] };
    static LATER: Shape =
        Shape { name: "MakeRequest", members: &[text("added"), text("name"), text("zone"), text("clientToken")] };

    fn made(shape: &'static Shape, given: &[(&'static str, &str)]) -> RequestDigest {
        let given = given.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        RequestDigest::of(&Modelled { shape, given })
    }

    #[test]
    fn members_that_a_later_model_adds_change_no_digest_until_they_are_named() {
        let older = made(&OLDER, &[("name", "a"), ("clientToken", "t")]);
        assert_eq!(made(&LATER, &[("name", "a"), ("clientToken", "u")]), older);
        assert_ne!(made(&LATER, &[("name", "a"), ("added", "")]), older);
        assert_ne!(made(&LATER, &[("zone", "a")]), older);
    }

    #[test]
    fn a_boundary_that_moves_changes_the_digest() {
        let digest = |command: &[&str]| {
            let command = Some(command.iter().map(|word| (*word).to_owned()).collect());
            let one = ecs::ContainerOverride { command, ..Default::default() };
            let overrides = ecs::TaskOverride { container_overrides: Some(vec![one]), ..Default::default() };
            RequestDigest::of(&ecs::RunTaskRequest { overrides: Some(overrides), ..Default::default() })
        };
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_ne!(digest(&[]), digest(&[""]));
        assert_eq!(digest(&["a"]), digest(&["a"]));
    }

    #[test]
    fn the_encoding_stays_as_it_is() {
        let request = ecs::RunTaskRequest {
            client_token: Some("t".to_owned()),
            count: Some(2),
            task_definition: Some("f".to_owned()),
            ..Default::default()
        };
        let token = ClientToken::of(request.client_token.as_deref(), &request);
        let stored = serde_json::to_string(&token).unwrap();
        assert_eq!(stored, r#"["t","01e2b99baa0f932a33dac4fe11b046d9160d0712ddc6b86ecc658455601478f87a"]"#);
        assert_eq!(serde_json::from_str::<Option<ClientToken>>(&stored).unwrap(), token);
    }

    #[test]
    fn a_digest_of_another_version_matches_every_request() {
        let request = ecs::RunTaskRequest { count: Some(1), ..Default::default() };
        let asked = ClientToken::of(Some("t"), &request).unwrap();
        let later = format!("02{}", "0".repeat(64));
        for stored in [
            r#"["t","00112233aabbccdd"]"#.to_owned(),
            r#"["t",18446744073709551615]"#.to_owned(),
            format!(r#"["t","{later}"]"#),
        ] {
            let known: ClientToken = serde_json::from_str(&stored).unwrap();
            assert_eq!(known.1, RequestDigest::Foreign, "{stored}");
            assert!(known.is_same_request(&asked) && asked.is_same_request(&known));
            let again: ClientToken = serde_json::from_str(&serde_json::to_string(&known).unwrap()).unwrap();
            assert_eq!(again, known);
        }
        let other = ClientToken::of(Some("t"), &ecs::RunTaskRequest::default()).unwrap();
        assert!(!other.is_same_request(&asked));
    }
}
