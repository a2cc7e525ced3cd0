// SPDX-License-Identifier: Apache-2.0
//! Fault points: steps at which a process under test dies. A fault point is a value in the settings; by default there
//! is none, and passing a step costs one check of an empty option.
//!
//! This module decides whether a pass of a step triggers the fault; the code at the step then ends the process without
//! any cleaning up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The step at which a process dies, of a type of steps of its own.
#[derive(Clone, Debug)]
pub struct FaultPoints<S>(Option<Arc<Armed<S>>>);

#[derive(Debug)]
struct Armed<S> {
    step: S,
    /// Passes of the step that do not trigger the fault.
    left: AtomicU32,
}

impl<S> Default for FaultPoints<S> {
    fn default() -> Self {
        Self(None)
    }
}

impl<S: PartialEq> FaultPoints<S> {
    /// A fault point that triggers at a given pass of a step, counted from 1; all clones share one count.
    pub fn at(step: S, passing: u32) -> Self {
        Self(Some(Arc::new(Armed { step, left: AtomicU32::new(passing.saturating_sub(1)) })))
    }

    /// Records that a step is passed; true if the process must die now.
    pub fn is_due(&self, step: &S) -> bool {
        let Some(armed) = self.0.as_deref().filter(|armed| armed.step == *step) else { return false };
        let count = |left: u32| left.checked_sub(1);
        armed.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count).is_err()
    }
}

/// Declares an enum of steps and the list of all its variants, so that a test can iterate over it.
#[macro_export]
macro_rules! steps {
    ($(#[$meta:meta])* $visibility:vis enum $name:ident { $($(#[$doc:meta])* $step:ident,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        $visibility enum $name { $($(#[$doc])* $step,)+ }

        impl $name {
            /// Every step, in order.
            pub const ALL: &'static [Self] = &[$(Self::$step,)+];

            /// The step with this name.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|step| format!("{step:?}") == name)
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    steps! {
        /// Two of them.
        enum Step {
            /// The first.
            One,
            /// The second.
            Two,
        }
    }

    #[test]
    fn only_the_given_passing_of_the_given_step_is_due() {
        let points = FaultPoints::at(Step::Two, 2);
        let clone = points.clone();
        assert!(!points.is_due(&Step::One) && !points.is_due(&Step::Two) && !points.is_due(&Step::One));
        assert!(clone.is_due(&Step::Two), "clones count together");
        let none = FaultPoints::default();
        assert!(Step::ALL.iter().all(|step| !none.is_due(step)));
    }

    #[test]
    fn steps_have_names() {
        assert_eq!((Step::named("Two"), Step::named("Three")), (Some(Step::Two), None));
        assert_eq!(Step::ALL, [Step::One, Step::Two]);
    }
}
