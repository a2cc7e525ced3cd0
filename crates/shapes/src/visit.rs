// SPDX-License-Identifier: Apache-2.0
//! Access to the members of generated structs: names in [`Shape`], values through [`View`] (reading) and [`Slot`]
//! (filling).
//!
//! A reader of bytes fills a `T::default()` through [`Structure::slot`]; a writer walks [`Structure::member`]. Both see
//! only trait objects, so they are compiled once and not once per struct. Every member is an `Option`, because "absent"
//! and "empty" are different things to AWS.

use std::collections::BTreeMap;

/// A moment, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// Name and members of a structure, in the order used by [`Structure::member`].
#[derive(Debug)]
pub struct Shape {
    /// The name in the service model, such as `RunTaskRequest`.
    pub name: &'static str,
    /// The members.
    pub members: &'static [Member],
}

/// The names of one member in the protocols.
#[derive(Debug, PartialEq, Eq)]
pub struct Member {
    /// The name in the service model and in JSON.
    pub name: &'static str,
    /// The name in query-string requests (`Filter` for `Filters`).
    pub query: &'static str,
    /// The name of the element in XML responses (`vpcSet` for `Vpcs`).
    pub xml: &'static str,
    /// The name of one item's element when the member is a list; empty when it is not.
    pub item: &'static str,
    /// True for a list whose items are in the parent without an enclosing element.
    pub flattened: bool,
    /// True when the service model requires the member.
    pub required: bool,
    /// Kind of the member's value.
    pub kind: Kind,
}

impl Member {
    /// A member that has the same name in every protocol; items of a list are called `member`.
    pub const fn new(name: &'static str, kind: Kind) -> Member {
        let item = if matches!(kind, Kind::List) { "member" } else { "" };
        Member { name, query: name, xml: name, item, flattened: false, required: false, kind }
    }

    /// A member with another name in query-string requests.
    pub const fn query(mut self, query: &'static str) -> Member {
        self.query = query;
        self
    }

    /// A member with another name in XML responses.
    pub const fn xml(mut self, xml: &'static str) -> Member {
        self.xml = xml;
        self
    }

    /// A list of items with another element name.
    pub const fn items(mut self, item: &'static str) -> Member {
        self.item = item;
        self
    }

    /// A list without an element around its items.
    pub const fn flattened(mut self) -> Member {
        self.flattened = true;
        self
    }

    /// A member that the service model requires.
    pub const fn required(mut self) -> Member {
        self.required = true;
        self
    }
}

/// The kind of a member's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text, and enumerations (the rules check their values).
    Text,
    /// 32-bit integer.
    Integer,
    /// 64-bit integer.
    Long,
    /// Floating point number.
    Double,
    /// True or false.
    Boolean,
    /// A moment.
    Timestamp,
    /// Bytes, base64 on the wire.
    Blob,
    /// Another structure.
    Structure,
    /// A list.
    List,
    /// A map with text keys.
    Map,
}

/// A generated struct as an indexed row of members.
pub trait Structure {
    /// Name and members.
    fn shape(&self) -> &'static Shape;
    /// The value of the member with this index in `shape().members`; `None` when it is absent.
    fn member(&self, index: usize) -> Option<View<'_>>;
    /// The slot for the member's value. The member becomes present (with its default value) if it was absent.
    /// `None` when there is no such member.
    fn slot(&mut self, index: usize) -> Option<Slot<'_>>;
}

/// A value that is present, for writers.
pub enum View<'a> {
    /// Text.
    Text(&'a str),
    /// 32-bit integer.
    Integer(i32),
    /// 64-bit integer.
    Long(i64),
    /// Floating point number.
    Double(f64),
    /// True or false.
    Boolean(bool),
    /// A moment.
    Timestamp(Timestamp),
    /// Bytes.
    Blob(&'a [u8]),
    /// A structure.
    Structure(&'a dyn Structure),
    /// A list.
    List(&'a dyn List),
    /// A map.
    Map(&'a dyn Map),
}

/// A destination for a value, for readers.
pub enum Slot<'a> {
    /// Text.
    Text(&'a mut String),
    /// 32-bit integer.
    Integer(&'a mut i32),
    /// 64-bit integer.
    Long(&'a mut i64),
    /// Floating point number.
    Double(&'a mut f64),
    /// True or false.
    Boolean(&'a mut bool),
    /// A moment.
    Timestamp(&'a mut Timestamp),
    /// Bytes.
    Blob(&'a mut Vec<u8>),
    /// A structure.
    Structure(&'a mut dyn Structure),
    /// A list.
    List(&'a mut dyn List),
    /// A map.
    Map(&'a mut dyn Map),
}

/// A type that a member, a list item or a map value can have.
pub trait Value: Default {
    /// The kind of value.
    const KIND: Kind;
    /// The value, for writers.
    fn view(&self) -> View<'_>;
    /// The value's slot, for readers.
    fn place(&mut self) -> Slot<'_>;
}

/// A list of values.
pub trait List {
    /// Number of items.
    fn len(&self) -> usize;
    /// True when there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The item with this index.
    fn item(&self, index: usize) -> Option<View<'_>>;
    /// The kind of the items.
    fn kind(&self) -> Kind;
    /// Appends an item (with its default value) and returns its slot.
    fn push(&mut self) -> Slot<'_>;
}

/// A map from text to values.
pub trait Map {
    /// Calls `each` with every entry, in key order.
    fn each<'a>(&'a self, each: &mut dyn FnMut(&'a str, View<'a>));
    /// The slot of this key's value. The key becomes present if it was absent.
    fn entry(&mut self, key: &str) -> Slot<'_>;
}

impl<T: Value> List for Vec<T> {
    fn len(&self) -> usize {
        self.len()
    }
    fn item(&self, index: usize) -> Option<View<'_>> {
        self.get(index).map(T::view)
    }
    fn kind(&self) -> Kind {
        T::KIND
    }
    fn push(&mut self) -> Slot<'_> {
        let index = self.len();
        Vec::push(self, T::default());
        self[index].place()
    }
}

impl<T: Value> Map for BTreeMap<String, T> {
    fn each<'a>(&'a self, each: &mut dyn FnMut(&'a str, View<'a>)) {
        for (key, value) in self {
            each(key, value.view());
        }
    }
    fn entry(&mut self, key: &str) -> Slot<'_> {
        BTreeMap::entry(self, key.to_owned()).or_default().place()
    }
}

impl Value for String {
    const KIND: Kind = Kind::Text;
    fn view(&self) -> View<'_> {
        View::Text(self)
    }
    fn place(&mut self) -> Slot<'_> {
        Slot::Text(self)
    }
}

impl Value for Vec<u8> {
    const KIND: Kind = Kind::Blob;
    fn view(&self) -> View<'_> {
        View::Blob(self)
    }
    fn place(&mut self) -> Slot<'_> {
        Slot::Blob(self)
    }
}

impl<T: Value> Value for Vec<T> {
    const KIND: Kind = Kind::List;
    fn view(&self) -> View<'_> {
        View::List(self)
    }
    fn place(&mut self) -> Slot<'_> {
        Slot::List(self)
    }
}

impl<T: Value> Value for BTreeMap<String, T> {
    const KIND: Kind = Kind::Map;
    fn view(&self) -> View<'_> {
        View::Map(self)
    }
    fn place(&mut self) -> Slot<'_> {
        Slot::Map(self)
    }
}

impl<T: Value> Value for Box<T> {
    const KIND: Kind = T::KIND;
    fn view(&self) -> View<'_> {
        T::view(self)
    }
    fn place(&mut self) -> Slot<'_> {
        T::place(self)
    }
}

macro_rules! plain_values {
    ($($type:ty => $kind:ident,)*) => {$(
        impl Value for $type {
            const KIND: Kind = Kind::$kind;
            fn view(&self) -> View<'_> {
                View::$kind(*self)
            }
            fn place(&mut self) -> Slot<'_> {
                Slot::$kind(self)
            }
        }
    )*};
}

plain_values! {
    i32 => Integer,
    i64 => Long,
    f64 => Double,
    bool => Boolean,
    Timestamp => Timestamp,
}

/// The view of a member, when it is present. Generated code calls it.
pub(crate) fn view<T: Value>(member: &Option<T>) -> Option<View<'_>> {
    member.as_ref().map(T::view)
}

/// The slot of a member, which becomes present. Generated code calls it.
pub(crate) fn slot<T: Value>(member: &mut Option<T>) -> Option<Slot<'_>> {
    Some(member.get_or_insert_default().place())
}
