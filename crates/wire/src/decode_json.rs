// SPDX-License-Identifier: Apache-2.0
//! Decodes JSON into an input, as a stream without an intermediate tree.
//!
//! As on AWS, unknown members are ignored, `null` means absent, and a number is accepted as text where text is expected
//! (`"cpu": 256`). Text is accepted for a number too: `"count": "2"`. Any other value of the wrong type is refused by
//! name.

use std::borrow::Cow;
use std::fmt;

use berth_shapes::{CommonErrorCode, Kind, List, Map, Refusal, Slot, Structure, Timestamp};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::blob;
use crate::excerpt::excerpt;
use crate::instant;
use crate::request::DEPTH_MAX;

/// Fills the input from a JSON object. An empty body is an empty object.
pub(crate) fn fill(input: &mut dyn Structure, body: &[u8]) -> Result<(), Refusal> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(());
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let mut trouble = None;
    let seed = Fill { place: Target::Whole(input), depth: 0, trouble: &mut trouble };
    let read = seed.deserialize(&mut reader).and_then(|()| reader.end());
    match (read, trouble) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(Trouble { path, what })) if path.is_empty() => Err(refusal(what)),
        (Err(_), Some(Trouble { path, what })) => Err(refusal(format!("{what} (member {})", excerpt(&path)))),
        (Err(_), None) => Err(refusal("The request body is not valid JSON.".to_owned())),
    }
}

fn refusal(message: String) -> Refusal {
    Refusal::new(CommonErrorCode::SerializationException, message)
}

/// A value of the wrong kind, and its position.
struct Trouble {
    path: String,
    what: String,
}

/// Destination of a value. It is opened only when the value is not `null`.
enum Target<'s> {
    Whole(&'s mut dyn Structure),
    Member(&'s mut dyn Structure, usize),
    Item(&'s mut dyn List),
    Entry(&'s mut dyn Map, &'s str),
}

impl<'s> Target<'s> {
    fn open(self) -> Option<Slot<'s>> {
        match self {
            Target::Whole(structure) => Some(Slot::Structure(structure)),
            Target::Member(structure, index) => structure.slot(index),
            Target::Item(list) => Some(list.push()),
            Target::Entry(map, key) => Some(map.entry(key)),
        }
    }
}

struct Fill<'s, 't> {
    place: Target<'s>,
    depth: usize,
    trouble: &'t mut Option<Trouble>,
}

impl<'s> Fill<'s, '_> {
    /// The destination of a scalar, or the refusal of a value of the wrong kind.
    fn scalar<E: serde::de::Error>(self, put: impl FnOnce(Slot<'s>) -> Result<(), Misfit>) -> Result<(), E> {
        let Some(slot) = self.place.open() else { return Err(E::custom("no such member")) };
        put(slot).map_err(|misfit| {
            *self.trouble = Some(Trouble { path: String::new(), what: misfit.to_string() });
            E::custom("misfit")
        })
    }

    fn integer<E: serde::de::Error>(self, number: Number) -> Result<(), E> {
        self.scalar(|slot| number.put(slot))
    }
}

/// The error for a value of the wrong kind, in the words of AWS.
struct Misfit {
    found: &'static str,
    due: Kind,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let due = match self.due {
            Kind::Text => "a String",
            Kind::Integer => "an Integer",
            Kind::Long => "a Long",
            Kind::Double => "a Double",
            Kind::Boolean => "a Boolean",
            Kind::Timestamp => "a Timestamp",
            Kind::Blob => "a Blob",
            Kind::Structure => "a Structure",
            Kind::List => "a List",
            Kind::Map => "a Map",
        };
        write!(f, "{} can not be converted to {due}", self.found)
    }
}

fn kind_of(slot: &Slot<'_>) -> Kind {
    match slot {
        Slot::Text(_) => Kind::Text,
        Slot::Integer(_) => Kind::Integer,
        Slot::Long(_) => Kind::Long,
        Slot::Double(_) => Kind::Double,
        Slot::Boolean(_) => Kind::Boolean,
        Slot::Timestamp(_) => Kind::Timestamp,
        Slot::Blob(_) => Kind::Blob,
        Slot::Structure(_) => Kind::Structure,
        Slot::List(_) => Kind::List,
        Slot::Map(_) => Kind::Map,
    }
}

#[derive(Clone, Copy)]
enum Number {
    Whole(i64),
    Huge(u64),
    Real(f64),
}

impl Number {
    fn put(self, slot: Slot<'_>) -> Result<(), Misfit> {
        let misfit = Misfit { found: "NUMBER_VALUE", due: kind_of(&slot) };
        match slot {
            Slot::Text(text) => *text = self.text(),
            Slot::Integer(into) => *into = self.whole().and_then(|n| i32::try_from(n).ok()).ok_or(misfit)?,
            Slot::Long(into) => *into = self.whole().ok_or(misfit)?,
            Slot::Double(into) => *into = self.real(),
            Slot::Timestamp(into) => *into = Timestamp(self.epoch_ms().ok_or(misfit)?),
            Slot::Boolean(_) | Slot::Blob(_) | Slot::Structure(_) | Slot::List(_) | Slot::Map(_) => return Err(misfit),
        }
        Ok(())
    }

    fn text(self) -> String {
        match self {
            Number::Whole(number) => number.to_string(),
            Number::Huge(number) => number.to_string(),
            Number::Real(number) => number.to_string(),
        }
    }

    fn whole(self) -> Option<i64> {
        match self {
            Number::Whole(number) => Some(number),
            Number::Huge(_) => None,
            // Beyond 2^53 a double does not identify one integer.
            Number::Real(number) if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 => {
                Some(number as i64)
            }
            Number::Real(_) => None,
        }
    }

    fn real(self) -> f64 {
        match self {
            Number::Whole(number) => number as f64,
            Number::Huge(number) => number as f64,
            Number::Real(number) => number,
        }
    }

    /// Converts seconds since the epoch, with a fraction, to milliseconds.
    fn epoch_ms(self) -> Option<i64> {
        let ms = (self.real() * 1000.0).round();
        if ms.abs() <= 9_007_199_254_740_992.0 { Some(ms as i64) } else { None }
    }
}

fn put_text(slot: Slot<'_>, value: Cow<'_, str>) -> Result<(), Misfit> {
    let misfit = Misfit { found: "STRING_VALUE", due: kind_of(&slot) };
    match slot {
        Slot::Text(text) => *text = value.into_owned(),
        Slot::Integer(into) => *into = value.parse().map_err(|_| misfit)?,
        Slot::Long(into) => *into = value.parse().map_err(|_| misfit)?,
        Slot::Double(into) => *into = value.parse().ok().filter(|n: &f64| n.is_finite()).ok_or(misfit)?,
        Slot::Timestamp(into) => *into = Timestamp(instant::parse_extended(&value).ok_or(misfit)?),
        Slot::Blob(into) => *into = blob::decode(&value).ok_or(misfit)?,
        Slot::Boolean(_) | Slot::Structure(_) | Slot::List(_) | Slot::Map(_) => return Err(misfit),
    }
    Ok(())
}

fn put_boolean(slot: Slot<'_>, truth: bool) -> Result<(), Misfit> {
    let due = kind_of(&slot);
    match slot {
        Slot::Boolean(into) => {
            *into = truth;
            Ok(())
        }
        _ => Err(Misfit { found: if truth { "TRUE_VALUE" } else { "FALSE_VALUE" }, due }),
    }
}

impl<'de> DeserializeSeed<'de> for Fill<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fill<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, truth: bool) -> Result<(), E> {
        self.scalar(|slot| put_boolean(slot, truth))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        self.integer(Number::Whole(number))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        self.integer(i64::try_from(number).map_or(Number::Huge(number), Number::Whole))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        self.integer(Number::Real(number))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.scalar(|slot| put_text(slot, Cow::Borrowed(text)))
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<(), E> {
        self.scalar(|slot| put_text(slot, Cow::Owned(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Fill { place, depth, trouble } = self;
        let list = match place.open() {
            Some(Slot::List(list)) if depth < DEPTH_MAX => list,
            other => return Err(start_of("list", depth, other, trouble)),
        };
        loop {
            let index = list.len();
            let seed = Fill { place: Target::Item(list), depth: depth + 1, trouble };
            match items.next_element_seed(seed) {
                Ok(Some(())) => {}
                Ok(None) => return Ok(()),
                Err(error) => {
                    prefix(trouble, &format!("[{index}]"));
                    return Err(error);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<(), A::Error> {
        let Fill { place, depth, trouble } = self;
        match place.open() {
            Some(Slot::Structure(structure)) if depth < DEPTH_MAX => fill_members(structure, entries, depth, trouble),
            Some(Slot::Map(map)) if depth < DEPTH_MAX => fill_entries(map, entries, depth, trouble),
            other => Err(start_of("structure", depth, other, trouble)),
        }
    }
}

fn fill_members<'de, A: MapAccess<'de>>(
    structure: &mut dyn Structure,
    mut entries: A,
    depth: usize,
    trouble: &mut Option<Trouble>,
) -> Result<(), A::Error> {
    let members = structure.shape().members;
    while let Some(key) = entries.next_key_seed(Key)? {
        let Some(index) = members.iter().position(|member| member.name == key) else {
            entries.next_value_seed(Skip { depth: depth + 1, trouble })?;
            continue;
        };
        if structure.member(index).is_some() {
            *trouble = Some(Trouble { path: members[index].name.to_owned(), what: "Duplicate member".to_owned() });
            return Err(A::Error::custom("duplicate"));
        }
        let seed = Fill { place: Target::Member(structure, index), depth: depth + 1, trouble };
        if let Err(error) = entries.next_value_seed(seed) {
            prefix(trouble, members[index].name);
            return Err(error);
        }
    }
    Ok(())
}

fn fill_entries<'de, A: MapAccess<'de>>(
    map: &mut dyn Map,
    mut entries: A,
    depth: usize,
    trouble: &mut Option<Trouble>,
) -> Result<(), A::Error> {
    while let Some(key) = entries.next_key_seed(Key)? {
        let seed = Fill { place: Target::Entry(map, &key), depth: depth + 1, trouble };
        if let Err(error) = entries.next_value_seed(seed) {
            prefix(trouble, &key);
            return Err(error);
        }
    }
    Ok(())
}

/// A list or structure where another kind is expected, or one level too deep.
fn start_of<E: serde::de::Error>(
    found: &str,
    depth: usize,
    slot: Option<Slot<'_>>,
    trouble: &mut Option<Trouble>,
) -> E {
    let what = match slot {
        _ if depth >= DEPTH_MAX => format!("The request is nested more than {DEPTH_MAX} deep."),
        Some(Slot::List(_)) => "Expected list or null".to_owned(),
        Some(Slot::Structure(_)) => "Expected structure or null".to_owned(),
        Some(Slot::Map(_)) => "Expected map or null".to_owned(),
        _ => format!("Start of {found} found where not expected"),
    };
    *trouble = Some(Trouble { path: String::new(), what });
    E::custom("misplaced")
}

fn prefix(trouble: &mut Option<Trouble>, step: &str) {
    if let Some(Trouble { path, .. }) = trouble {
        let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
        *path = format!("{step}{dot}{path}");
    }
}

/// A member name, borrowed from the body when it has no escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }
    fn visit_str<E>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// Skips an unknown member, but not deeper than values may nest.
struct Skip<'t> {
    depth: usize,
    trouble: &'t mut Option<Trouble>,
}

impl<'de> DeserializeSeed<'de> for Skip<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Skip<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        if self.depth >= DEPTH_MAX {
            return Err(start_of("list", self.depth, None, self.trouble));
        }
        while items.next_element_seed(Skip { depth: self.depth + 1, trouble: self.trouble })?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        if self.depth >= DEPTH_MAX {
            return Err(start_of("structure", self.depth, None, self.trouble));
        }
        while entries.next_key::<IgnoredAny>()?.is_some() {
            entries.next_value_seed(Skip { depth: self.depth + 1, trouble: self.trouble })?;
        }
        Ok(())
    }
}
