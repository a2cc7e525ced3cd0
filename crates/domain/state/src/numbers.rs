// SPDX-License-Identifier: Apache-2.0
//! A set of numbers in use, with a look-up of the lowest free number.
//!
//! Stored as free ranges, so that taking a number, giving it back and finding the lowest free one cost the logarithm of
//! the number of gaps, independent of the count in use. A clone shares its structure and costs nothing.

use std::sync::OnceLock;

use imbl::OrdMap;

/// Numbers in use.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers {
    /// Free ranges by first number, with their last; they neither overlap nor touch.
    free: OrdMap<u32, u32>,
    used: u64,
}

impl Default for Numbers {
    fn default() -> Self {
        Self { free: OrdMap::unit(0, u32::MAX), used: 0 }
    }
}

impl Numbers {
    /// A set without numbers in use.
    pub fn none() -> &'static Self {
        static NONE: OnceLock<Numbers> = OnceLock::new();
        NONE.get_or_init(Self::default)
    }

    /// Count of numbers in use.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// The lowest free number that is not below `first`.
    pub fn lowest_free(&self, first: u32) -> Option<u32> {
        match self.around(first) {
            Some(_) => Some(first),
            None => self.free.range(first..).next().map(|(from, _)| *from),
        }
    }

    /// Marks a number as used; no effect if it already is.
    pub fn take(&mut self, number: u32) {
        let Some((from, to)) = self.around(number) else { return };
        self.free.remove(&from);
        if from < number {
            self.free.insert(from, number - 1);
        }
        if number < to {
            self.free.insert(number + 1, to);
        }
        self.used += 1;
    }

    /// Frees a number; no effect if it already is free.
    pub fn give_back(&mut self, number: u32) {
        if self.around(number).is_some() {
            return;
        }
        let below = number.checked_sub(1).and_then(|below| self.around(below));
        let above = number.checked_add(1).and_then(|above| self.around(above));
        if let Some((from, _)) = above {
            self.free.remove(&from);
        }
        self.free.insert(below.map_or(number, |(from, _)| from), above.map_or(number, |(_, to)| to));
        self.used -= 1;
    }

    /// The free range that holds the number.
    fn around(&self, number: u32) -> Option<(u32, u32)> {
        self.free.range(..=number).next_back().map(|(from, to)| (*from, *to)).filter(|(_, to)| number <= *to)
    }
}

/// Marks a number as used in the set of `of`.
pub fn take<K: Ord + Clone>(numbers: &mut OrdMap<K, Numbers>, of: &K, number: u32) {
    numbers.entry(of.clone()).or_default().take(number);
}

/// Frees a number in the set of `of`.
pub fn give_back<K: Ord + Clone>(numbers: &mut OrdMap<K, Numbers>, of: &K, number: u32) {
    let Some(held) = numbers.get_mut(of) else { return };
    held.give_back(number);
    if held.used() == 0 {
        numbers.remove(of);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn the_lowest_free_number_is_what_a_plain_search_finds(steps: Vec<(bool, u8)>, first: u8) {
            let (mut numbers, mut plain) = (Numbers::default(), BTreeSet::new());
            for (takes, number) in steps {
                // Few numbers at both ends of the range, so that free ranges meet.
                let number = if number < 8 { u32::MAX - u32::from(number) } else { u32::from(number % 32) };
                if takes {
                    numbers.take(number);
                    plain.insert(number);
                } else {
                    numbers.give_back(number);
                    plain.remove(&number);
                }
                let first = u32::from(first % 32);
                let lowest = (first..).find(|number| !plain.contains(number));
                prop_assert_eq!(numbers.lowest_free(first), lowest);
                prop_assert_eq!(numbers.used(), plain.len() as u64);
            }
        }
    }

    #[test]
    fn nothing_is_free_above_the_last_number_in_use() {
        let mut numbers = Numbers::default();
        numbers.take(u32::MAX);
        assert_eq!(numbers.lowest_free(u32::MAX), None);
        numbers.give_back(u32::MAX);
        assert_eq!(numbers.lowest_free(u32::MAX), Some(u32::MAX));
    }
}
