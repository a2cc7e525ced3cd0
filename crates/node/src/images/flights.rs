// SPDX-License-Identifier: Apache-2.0
//! Work that several callers ask for at the same time and that is done once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

/// One worker at a time for each name or digest; others wait and find the work done.
#[derive(Default)]
pub(crate) struct Flights<T>(Mutex<HashMap<String, Weak<tokio::sync::Mutex<T>>>>);

impl<T: Default> Flights<T> {
    /// Waits until no other worker holds the key, and holds it.
    pub async fn lock(&self, key: &str) -> tokio::sync::OwnedMutexGuard<T> {
        let gate = {
            let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            gates.retain(|_, gate| gate.strong_count() > 0);
            let gate = gates.get(key).and_then(Weak::upgrade).unwrap_or_default();
            gates.insert(key.to_owned(), Arc::downgrade(&gate));
            gate
        };
        gate.lock_owned().await
    }
}

impl<T: Clone> Flights<Option<(Instant, T)>> {
    /// Does the work for a key. Callers that asked before the work began share its result, which is as recent for them
    /// as their own would be. A failure is not shared.
    pub async fn share<E, W: Future<Output = Result<T, E>>>(
        &self,
        key: &str,
        work: impl FnOnce() -> W,
    ) -> Result<T, E> {
        let asked = Instant::now();
        let mut landed = self.lock(key).await;
        if let Some((_, brought)) = landed.as_ref().filter(|(begun, _)| *begun >= asked) {
            return Ok(brought.clone());
        }
        let begun = Instant::now();
        let brought = work().await?;
        *landed = Some((begun, brought.clone()));
        Ok(brought)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Fault;

    #[tokio::test]
    async fn those_who_wait_share_what_is_begun_after_they_came() {
        let (flights, begun) = (Flights::default(), std::sync::atomic::AtomicU32::new(0));
        let gate = tokio::sync::Semaphore::new(0);
        let ask = || {
            flights.share("busybox", async || {
                let number = begun.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                gate.acquire().await.unwrap().forget();
                Ok::<_, Fault>(number)
            })
        };
        // The first is on its way when the others come: what it brings may be older than their question.
        let open = async { gate.add_permits(2) };
        let (first, second, third, ()) = tokio::join!(ask(), ask(), ask(), open);
        assert_eq!((first.unwrap(), second.unwrap(), third.unwrap()), (0, 1, 1));
        gate.add_permits(1);
        assert_eq!(ask().await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_failure_is_everybodys_own() {
        let (flights, begun) = (Flights::<Option<(Instant, u32)>>::default(), std::cell::Cell::new(0));
        let ask = || {
            flights.share("busybox", async || {
                begun.set(begun.get() + 1);
                tokio::task::yield_now().await;
                Err(Fault::Setting("no".to_owned()))
            })
        };
        let (first, second, third) = tokio::join!(ask(), ask(), ask());
        assert!(first.is_err() && second.is_err() && third.is_err());
        assert_eq!(begun.get(), 3);
    }
}
