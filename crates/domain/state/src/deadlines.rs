// SPDX-License-Identifier: Apache-2.0
//! Members of a set of records that have been in it for long.
//!
//! Ages are measured on a steady clock, which the caller reads: records have times of the wall clock, and a jump of the
//! wall clock must remove nothing. A steady clock begins with the process, so members that were there before the server
//! started are kept for their whole time once more.

use std::collections::VecDeque;

use imbl::OrdSet;
use imbl::ordset::DiffItem;

/// The members of a set by the time they were first seen.
#[derive(Clone, Debug)]
pub struct Deadlines<T: Ord> {
    kept_ms: u64,
    /// The set at the last look.
    seen: OrdSet<T>,
    /// The members whose deadline has not passed, and the time each was first seen, in order of time. A member that left
    /// the set earlier is still here.
    waiting: VecDeque<(u64, T)>,
    /// The members whose deadline has passed.
    expired: OrdSet<T>,
}

impl<T: Ord + Clone> Deadlines<T> {
    /// No set has been seen yet; members are kept for this long.
    pub fn new(kept_ms: u64) -> Self {
        Self { kept_ms, seen: OrdSet::new(), waiting: VecDeque::new(), expired: OrdSet::new() }
    }

    /// Takes in the set at a moment; true if the expired members may have changed.
    pub fn look(&mut self, present: &OrdSet<T>, steady_ms: u64) -> bool {
        let mut has_changed = false;
        // Parts that both sets share are skipped.
        for difference in self.seen.diff(present) {
            match difference {
                DiffItem::Add(entry) => self.waiting.push_back((steady_ms, entry.clone())),
                DiffItem::Remove(entry) => has_changed |= self.expired.remove(entry).is_some(),
            }
        }
        self.seen = present.clone();
        while self.next_ms().is_some_and(|next| next <= steady_ms)
            && let Some((_, entry)) = self.waiting.pop_front()
        {
            if self.seen.contains(&entry) {
                self.expired.insert(entry);
                has_changed = true;
            }
        }
        has_changed
    }

    /// The first moment at which the longest kept member has been kept for longer than `kept_ms`.
    pub fn next_ms(&self) -> Option<u64> {
        self.waiting.front().map(|(seen_at, _)| seen_at.saturating_add(self.kept_ms).saturating_add(1))
    }

    /// The members whose deadline has passed.
    pub fn expired(&self) -> &OrdSet<T> {
        &self.expired
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    const NONE: [u32; 0] = [];

    fn looked(deadlines: &mut Deadlines<u32>, present: &[u32], steady_ms: u64) -> Vec<u32> {
        deadlines.look(&present.iter().copied().collect(), steady_ms);
        deadlines.expired.iter().copied().collect()
    }

    #[test]
    fn what_was_seen_long_enough_ago_is_over_and_later_things_are_not() {
        let mut deadlines = Deadlines::new(10_000);
        assert_eq!(deadlines.next_ms(), None);
        assert_eq!(looked(&mut deadlines, &[1], 500), NONE);
        assert_eq!(looked(&mut deadlines, &[1, 2], 5_000), NONE);
        assert_eq!(deadlines.next_ms(), Some(10_501));
        assert_eq!(looked(&mut deadlines, &[1, 2, 3], 10_500), NONE);
        assert_eq!(looked(&mut deadlines, &[1, 2, 3], 10_501), [1]);
        assert_eq!(deadlines.next_ms(), Some(15_001));
        assert_eq!(looked(&mut deadlines, &[1, 2, 3], 15_001), [1, 2]);
        assert_eq!(looked(&mut deadlines, &[2, 3], 15_002), [2]);
        assert_eq!(looked(&mut deadlines, &[2, 3], 1_000_000), [2, 3]);
        assert_eq!(deadlines.next_ms(), None);
    }

    #[test]
    fn nothing_is_kept_when_nothing_is_to_be_kept() {
        let mut deadlines = Deadlines::new(0);
        assert_eq!(looked(&mut deadlines, &[1], 0), NONE);
        assert_eq!(looked(&mut deadlines, &[1], 1), [1]);
    }

    #[test]
    fn a_time_without_end_is_never_reached() {
        let mut deadlines = Deadlines::new(u64::MAX);
        assert_eq!(looked(&mut deadlines, &[1], 7), NONE);
        assert_eq!(looked(&mut deadlines, &[1], u64::MAX - 1), NONE);
    }

    proptest! {
        /// Each look gives the members that a walk over all finds, and no earlier time than the next deadline changes
        /// them.
        #[test]
        fn the_expired_are_those_that_a_walk_finds(
            kept_ms in 0u64..50,
            steps in prop::collection::vec((0u64..20, 0u32..20, prop::collection::vec(any::<Index>(), 0..8)), 1..40),
        ) {
            let mut deadlines = Deadlines::new(kept_ms);
            let (mut steady_ms, mut numbers) = (0, 0u32);
            let (mut present, mut first_seen) = (OrdSet::new(), BTreeMap::new());
            for (passed_ms, added, removed) in steps {
                steady_ms += passed_ms;
                for which in removed {
                    let count = first_seen.len().max(1);
                    let Some(number) = first_seen.keys().nth(which.index(count)).copied() else { continue };
                    first_seen.remove(&number);
                    present.remove(&number);
                }
                for _ in 0..added {
                    // Neighbours in time are not neighbours in the set.
                    numbers += 1;
                    let number = numbers.wrapping_mul(0x9e37_79b9);
                    present.insert(number);
                    first_seen.insert(number, steady_ms);
                }
                let walk = |at_ms: u64| -> OrdSet<u32> {
                    first_seen.iter().filter(|(_, seen_at)| *seen_at + kept_ms < at_ms).map(|(number, _)| *number).collect()
                };
                deadlines.look(&present, steady_ms);
                prop_assert_eq!(&deadlines.expired, &walk(steady_ms));
                match deadlines.next_ms() {
                    Some(next_ms) => {
                        prop_assert!(next_ms > steady_ms);
                        prop_assert_eq!(walk(next_ms - 1), walk(steady_ms));
                    }
                    None => prop_assert_eq!(walk(u64::MAX), walk(steady_ms)),
                }
            }
        }
    }
}
