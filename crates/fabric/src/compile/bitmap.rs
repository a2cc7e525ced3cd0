// SPDX-License-Identifier: Apache-2.0
//! A set of rules of one ruleset, one bit each.

/// Maximum number of rules in a ruleset: AWS's limit per interface and direction, with a small margin.
pub const RULES_MAX: usize = 1024;

/// One bit per rule of a ruleset.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Bitmap(pub [u64; RULES_MAX / 64]);

impl Bitmap {
    /// No rule.
    pub const EMPTY: Self = Self([0; RULES_MAX / 64]);

    pub(super) fn of(bits: impl Iterator<Item = usize>) -> Self {
        let mut bitmap = Self::EMPTY;
        for bit in bits {
            bitmap.0[bit / 64] |= 1 << (bit % 64);
        }
        bitmap
    }
}

impl std::fmt::Debug for Bitmap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.bits()).finish()
    }
}
