// SPDX-License-Identifier: Apache-2.0
//! Which task hears of the end of which container.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

use super::event::Event;

/// The actors' channels by the runtime ids of their containers.
#[derive(Default)]
pub(super) struct Routes(Mutex<HashMap<String, mpsc::Sender<Event>>>);

impl Routes {
    /// Events of this container go to this actor.
    pub fn add(&self, runtime_id: &str, to: &mpsc::Sender<Event>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(runtime_id.to_owned(), to.clone());
    }

    /// Events of this container go to no actor any more.
    pub fn remove(&self, runtime_id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(runtime_id);
    }

    /// The actor of this container.
    pub fn of(&self, runtime_id: &str) -> Option<mpsc::Sender<Event>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(runtime_id).cloned()
    }
}
