// SPDX-License-Identifier: Apache-2.0
//! The kinds of records of a parrot, with their names in the store.

use super::record::Word;
use crate::records::{NoIndex, as_stored, records};

records! { indexed by NoIndex, lifted by as_stored;
    /// Known words.
    words: String => Word = "parrot-word" v 1;
}
