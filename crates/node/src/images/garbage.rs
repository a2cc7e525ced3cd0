// SPDX-License-Identifier: Apache-2.0
//! Unused images: after a time they are forgotten, and containerd removes the content that only they held.

use std::collections::{BTreeMap, BTreeSet};

use berth_types::TimestampMs;

use super::Images;
use crate::{Fault, ImageSettings, PullBehavior, clock};

impl Images {
    /// Notes that an image is used now.
    pub(super) fn note_use(&self, name: &str) {
        let mut used = self.used.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        used.insert(name.to_owned(), clock::now());
    }

    /// Forgets images that were not used for long. `in_use` tells the names of tasks' images; it is asked again before
    /// each one is forgotten, while nobody can begin to use it.
    pub async fn collect(&self, in_use: impl Fn() -> BTreeSet<String>) -> Result<Vec<String>, Fault> {
        if self.settings.pull == PullBehavior::PreferCached {
            return Ok(Vec::new());
        }
        let mut held = BTreeMap::new();
        for (name, pulled_at) in self.containerd.image_ages().await? {
            let used = self.used.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(&name).copied();
            held.insert(name, used.unwrap_or(pulled_at).max(pulled_at));
        }
        let mut forgotten = Vec::new();
        for name in garbage(&held, &in_use(), clock::now(), &self.settings) {
            let _flight = self.flights.lock(&name).await;
            if in_use().contains(&name) {
                continue;
            }
            self.containerd.remove_image(&name).await?;
            self.used.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&name);
            tracing::info!(image = name, "removed an unused image");
            forgotten.push(name);
        }
        Ok(forgotten)
    }
}

/// The images to forget: unused for long enough, the oldest first, no more than the settings say.
fn garbage(
    held: &BTreeMap<String, TimestampMs>,
    in_use: &BTreeSet<String>,
    now: TimestampMs,
    settings: &ImageSettings,
) -> Vec<String> {
    let age_ms = i64::try_from(settings.minimum_age.as_millis()).unwrap_or(i64::MAX);
    let is_old = |used: &TimestampMs| now.0.saturating_sub(used.0) >= age_ms;
    let old = held.iter().filter(|(name, used)| !in_use.contains(*name) && is_old(used));
    let mut old: Vec<(&TimestampMs, &String)> = old.map(|(name, used)| (used, name)).collect();
    old.sort();
    old.into_iter().take(settings.removed_at_once).map(|(_, name)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_oldest_unused_images_are_forgotten_and_never_those_in_use() {
        let held = [("a", 5000), ("b", 1000), ("c", 2000), ("d", 9500), ("used", 0)];
        let held: BTreeMap<String, TimestampMs> =
            held.into_iter().map(|(name, at)| (name.to_owned(), TimestampMs(at))).collect();
        let in_use = BTreeSet::from(["used".to_owned()]);
        let found = |removed_at_once| {
            let settings =
                ImageSettings { minimum_age: Duration::from_secs(1), removed_at_once, ..ImageSettings::default() };
            garbage(&held, &in_use, TimestampMs(10_000), &settings)
        };
        assert_eq!(found(5), ["b", "c", "a"]);
        assert_eq!(found(2), ["b", "c"]);
    }
}
