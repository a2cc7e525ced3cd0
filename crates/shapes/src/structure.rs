// SPDX-License-Identifier: Apache-2.0
//! The macros that generated files consist of: one line per member, operation and error code.
//!
//! They only expand names and types that the generator has chosen. A declarative macro cannot number its repetitions,
//! so the code finds the member of an index by counting down; the optimizer turns this into a jump table.

/// Declares structures: plain data with the implementations of [`Structure`](crate::Structure) and
/// [`Value`](crate::Value).
///
/// A member is written as `field: Type = "Name"`, where `Name` is the name in the service model and in every protocol.
/// The words that may follow are methods of [`Member`](crate::Member), such as `xml("name")` and `required`.
macro_rules! structure {
    ($($structure:ident {
        $($field:ident: $type:ty = $name:literal $($word:ident $(($argument:literal))?)*),* $(,)?
    })*) => {$(
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $structure {
            $(pub $field: Option<$type>,)*
        }

        impl crate::Structure for $structure {
            fn shape(&self) -> &'static crate::Shape {
                const SHAPE: crate::Shape = crate::Shape {
                    name: stringify!($structure),
                    members: &[$(
                        crate::Member::new($name, <$type as crate::Value>::KIND)$(.$word($($argument)?))*,
                    )*],
                };
                &SHAPE
            }
            #[allow(unused_variables, unused_mut, unused_assignments)]
            fn member(&self, index: usize) -> Option<crate::View<'_>> {
                let mut left = index;
                $(
                    if left == 0 {
                        return crate::visit::view(&self.$field);
                    }
                    left -= 1;
                )*
                None
            }
            #[allow(unused_variables, unused_mut, unused_assignments)]
            fn slot(&mut self, index: usize) -> Option<crate::Slot<'_>> {
                let mut left = index;
                $(
                    if left == 0 {
                        return crate::visit::slot(&mut self.$field);
                    }
                    left -= 1;
                )*
                None
            }
        }

        impl crate::Value for $structure {
            const KIND: crate::Kind = crate::Kind::Structure;
            fn view(&self) -> crate::View<'_> {
                crate::View::Structure(self)
            }
            fn place(&mut self) -> crate::Slot<'_> {
                crate::Slot::Structure(self)
            }
        }
    )*};
}

/// Declares which structure is the input of which operation, and the operation's output: `Input: Operation -> Output`.
macro_rules! inputs {
    ($($input:ident: $operation:ident -> $output:ty,)*) => {$(
        impl crate::Input for $input {
            const OPERATION: crate::OperationId = crate::OperationId::$operation;
            type Output = $output;
        }
    )*};
}

/// Declares the error codes of a service: `Variant = "Code" status`.
macro_rules! error_codes {
    ($($variant:ident = $code:literal $status:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($variant,)*
        }

        impl ErrorCode {
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$variant,)*];

            pub const fn as_str(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => $code,)*
                }
            }

            pub const fn http_status(self) -> u16 {
                match self {
                    $(ErrorCode::$variant => $status,)*
                }
            }
        }
    };
}

pub(crate) use {error_codes, inputs, structure};

#[cfg(test)]
mod tests {
    use crate::{Kind, Slot, Structure, View};

    structure! {
        Inner { value: i32 = "value" }
        Outer {
            r#type: String = "Type" query("Kind") xml("type") required,
            inners: Vec<Inner> = "Inners" items("item") flattened,
            names: Vec<String> = "Names",
        }
        Empty {}
    }

    #[test]
    fn words_after_a_member_become_its_names_and_properties() {
        let [kind, inners, names] = Outer::default().shape().members else { panic!("three members") };
        assert_eq!((kind.name, kind.query, kind.xml, kind.item), ("Type", "Kind", "type", ""));
        assert_eq!((kind.required, kind.flattened, kind.kind), (true, false, Kind::Text));
        assert_eq!((inners.query, inners.xml, inners.item), ("Inners", "Inners", "item"));
        assert_eq!((inners.required, inners.flattened, inners.kind), (false, true, Kind::List));
        assert_eq!(names.item, "member");
        assert_eq!((Empty {}.shape().name, Empty {}.shape().members.len()), ("Empty", 0));
    }

    #[test]
    fn an_index_leads_to_the_member_that_stands_there() {
        let mut outer = Outer { names: Some(vec!["a".to_owned()]), ..Outer::default() };
        assert!(outer.member(0).is_none() && outer.member(1).is_none());
        assert!(matches!(outer.member(2), Some(View::List(names)) if names.len() == 1));
        let Some(Slot::Text(text)) = outer.slot(0) else { panic!("a place for text") };
        text.push_str("here");
        assert_eq!(outer.r#type.as_deref(), Some("here"));
        assert!(outer.member(3).is_none() && outer.slot(3).is_none());
    }
}
