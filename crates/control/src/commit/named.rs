// SPDX-License-Identifier: Apache-2.0
//! Names for rules, so that a panic in one is logged with the rule and its input.
//!
//! The release build aborts on a panic, so only the panic hook still runs. It reads from the thread which rule is being
//! decided there.

use std::cell::RefCell;
use std::panic;
use std::sync::{Arc, Once};

thread_local! {
    static DECIDING: RefCell<Option<Arc<Named>>> = const { RefCell::new(None) };
}

/// The name of a rule, and its input.
pub struct Named {
    /// The operation or reconciler.
    pub rule: &'static str,
    input: Option<Box<dyn Fn() -> String + Send + Sync>>,
}

impl From<&'static str> for Named {
    fn from(rule: &'static str) -> Self {
        Self { rule, input: None }
    }
}

impl Named {
    /// Adds the input as text without secrets, which is computed only when it is needed.
    pub fn with_input(rule: &'static str, input: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self { rule, input: Some(Box::new(input)) }
    }

    /// Runs `decide`; a panic in it is logged under this name.
    pub(super) fn while_deciding<T>(self: &Arc<Self>, decide: impl FnOnce() -> T) -> T {
        DECIDING.set(Some(self.clone()));
        let decided = decide();
        DECIDING.set(None);
        decided
    }
}

/// Makes panics of this process name the rule that is being decided on the thread that panics.
pub(super) fn name_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |told| {
            let deciding = DECIDING.try_with(|named| named.try_borrow().ok()?.clone()).ok().flatten();
            if let Some(named) = deciding {
                let input = named.input.as_ref().map_or_else(String::new, |input| input());
                tracing::error!(rule = named.rule, input, "a rule panicked; the server stops: {told}");
            }
            usual(told);
        }));
    });
}
