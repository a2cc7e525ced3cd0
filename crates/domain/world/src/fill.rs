// SPDX-License-Identifier: Apache-2.0
//! Fills the input of an operation from JSON.

use berth_shapes::{Slot, Structure};
use serde_json::Value;

use crate::names::Names;
use crate::network;

/// A typed input, for tests of functions that have no name in the operation list. The names of
/// [`World::with_cluster`](crate::World::with_cluster) are known.
///
/// # Panics
/// The input has no such member, or a value is not of the member's type.
pub fn fill<Q: Structure + Default>(request: Value) -> Q {
    let mut filled = Q::default();
    structure(&mut filled, &request, &network::names());
    filled
}

pub(crate) fn structure(filled: &mut dyn Structure, value: &Value, names: &Names) {
    let shape = filled.shape();
    let Value::Object(members) = value else { panic!("{} is an object", shape.name) };
    for (name, value) in members {
        let index = shape.members.iter().position(|member| member.name == name);
        let index = index.unwrap_or_else(|| panic!("{} has no member {name}", shape.name));
        slot(filled.slot(index).unwrap(), value, names);
    }
}

fn slot(slot: Slot<'_>, value: &Value, names: &Names) {
    match slot {
        Slot::Text(place) => *place = names.meant(value.as_str().unwrap_or_else(|| panic!("{value} is not text"))),
        Slot::Integer(place) => *place = scalar(value),
        Slot::Long(place) => *place = scalar(value),
        Slot::Double(place) => *place = scalar(value),
        Slot::Boolean(place) => *place = scalar(value),
        Slot::Structure(place) => structure(place, value, names),
        Slot::List(list) => items(value).into_iter().for_each(|item| self::slot(list.push(), item, names)),
        Slot::Map(map) => {
            let entries = value.as_object().unwrap_or_else(|| panic!("{value} is not a map"));
            entries.iter().for_each(|(key, value)| self::slot(map.entry(key), value, names));
        }
        Slot::Timestamp(_) | Slot::Blob(_) => panic!("no request of a test has such a member"),
    }
}

/// A JSON value, or the text of one.
fn scalar<T: std::str::FromStr>(value: &Value) -> T {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.parse().unwrap_or_else(|_| panic!("{value} is not of the member's type"))
}

/// The items of a list, or of an object whose members are numbers.
fn items(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(members) => {
            let number =
                |name: &str| name.parse::<usize>().unwrap_or_else(|_| panic!("{name} is not a number of an item"));
            let mut items: Vec<_> = members.iter().map(|(name, item)| (number(name), item)).collect();
            items.sort_by_key(|(number, _)| *number);
            items.into_iter().map(|(_, item)| item).collect()
        }
        _ => panic!("{value} is not a list"),
    }
}
