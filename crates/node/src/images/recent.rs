// SPDX-License-Identifier: Apache-2.0
//! A map of bounded size: of the keys that callers choose, those used last are kept.

use std::collections::HashMap;
use std::hash::Hash;

/// The most recently used entries.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    entries: HashMap<K, (u64, V)>,
    /// Counts uses: larger is later.
    uses: u64,
    entries_max: usize,
}

impl<K: Eq + Hash + Clone, V> Recent<K, V> {
    pub fn new(entries_max: usize) -> Self {
        Self { entries: HashMap::new(), uses: 0, entries_max: entries_max.max(1) }
    }

    /// Looks an entry up, which counts as a use.
    pub fn get<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let (used, value) = self.entries.get_mut(key)?;
        self.uses += 1;
        *used = self.uses;
        Some(value)
    }

    /// Sets an entry; a further one takes the place of the one whose last use is the longest ago.
    pub fn insert(&mut self, key: K, value: V) {
        self.uses += 1;
        if !self.entries.contains_key(&key) && self.entries.len() >= self.entries_max {
            let oldest = self.entries.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone());
            oldest.and_then(|key| self.entries.remove(&key));
        }
        self.entries.insert(key, (self.uses, value));
    }

    pub fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q)
    where
        K: std::borrow::Borrow<Q>,
    {
        self.entries.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_whose_use_is_the_longest_ago_makes_room() {
        let mut recent = Recent::new(2);
        recent.insert("a", 1);
        recent.insert("b", 2);
        assert_eq!(recent.get("a"), Some(&1));
        recent.insert("c", 3);
        assert_eq!(["a", "b", "c"].map(|key| recent.get(key).copied()), [Some(1), None, Some(3)]);
        recent.insert("c", 4);
        recent.remove("a");
        recent.insert("d", 5);
        assert_eq!(["a", "c", "d"].map(|key| recent.get(key).copied()), [None, Some(4), Some(5)]);
        assert_eq!(recent.entries.len(), 2);
    }
}
