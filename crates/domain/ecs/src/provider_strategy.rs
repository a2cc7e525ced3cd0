// SPDX-License-Identifier: Apache-2.0
//! Capacity providers of a cluster, and the distribution of tasks over them by a strategy.

use berth_shapes::ecs::CapacityProviderStrategyItem;
use berth_state::Refusal;
use berth_state::ecs::StrategyItem;
use berth_types::Arn;

use super::refuse::{at_most, invalid};

/// All providers, in order of their names.
pub(super) const PROVIDERS: [&str; 2] = ["FARGATE", "FARGATE_SPOT"];

const ITEMS_MAX: usize = 20;
const BASE_MAX: i32 = 100_000;
const WEIGHT_MAX: i32 = 1000;

/// The providers to associate with a cluster.
pub(super) fn associated(asked: Option<&[String]>) -> Result<Vec<String>, Refusal> {
    at_most(asked, ITEMS_MAX, "capacityProviders")?;
    let mut names: Vec<String> = Vec::new();
    for text in asked.unwrap_or_default() {
        let name = name_of(text);
        if !PROVIDERS.contains(&name.as_str()) {
            return Err(invalid(
                "The specified capacity provider was not found. Specify a valid name or ARN and try again.",
            ));
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// A strategy of the cluster's providers; empty if none is asked for.
pub(super) fn strategy(
    asked: Option<&[CapacityProviderStrategyItem]>,
    associated: &[String],
) -> Result<Vec<StrategyItem>, Refusal> {
    at_most(asked, ITEMS_MAX, "capacityProviderStrategy")?;
    let asked = asked.unwrap_or_default();
    let mut items: Vec<StrategyItem> = Vec::new();
    for item in asked {
        let provider = name_of(item.capacity_provider.as_deref().unwrap_or_default());
        if !associated.contains(&provider) {
            return Err(invalid(
                "The specified capacity provider strategy cannot contain a capacity provider that is not associated \
                 with the cluster. Associate the capacity provider with the cluster and try again.",
            ));
        }
        if items.iter().any(|known| known.provider == provider) {
            return Err(invalid(
                "The specified capacity provider strategy cannot contain duplicate capacity providers.",
            ));
        }
        // One provider alone needs no weight to be used.
        let default_weight = i32::from(asked.len() == 1);
        items.push(StrategyItem {
            provider,
            base: within(item.base.unwrap_or(0), BASE_MAX, "base")?,
            weight: within(item.weight.unwrap_or(default_weight), WEIGHT_MAX, "weight")?,
        });
    }
    if items.iter().filter(|item| item.base > 0).count() > 1 {
        return Err(invalid(
            "The specified capacity provider strategy contains multiple capacity providers with a base value defined. \
             A maximum of one capacity provider in a strategy can have a base value defined. Remove the base value \
             from all but one capacity provider in the strategy and try again.",
        ));
    }
    Ok(items)
}

/// The providers of `count` tasks: the base first, the others in proportion to the weights.
pub(super) fn distribute(strategy: &[StrategyItem], count: usize) -> Result<Vec<String>, Refusal> {
    if strategy.iter().all(|item| item.weight == 0) {
        return Err(invalid(
            "There are no capacity providers in the capacity provider strategy with a weight value greater than zero. \
             Specify a weight value greater than zero for at least one capacity provider and try again.",
        ));
    }
    let base = strategy.iter().find(|item| item.base > 0);
    let mut providers: Vec<String> = base
        .iter()
        .flat_map(|item| std::iter::repeat_n(item.provider.clone(), item.base as usize))
        .take(count)
        .collect();
    let mut given = vec![0_u64; strategy.len()];
    while providers.len() < count {
        // The one that is furthest behind its share: the least (given + 1) / weight, compared without division.
        let next = (0..strategy.len()).filter(|at| strategy[*at].weight > 0).min_by(|one, other| {
            let share = |at: usize, by: usize| (given[at] + 1) * u64::from(strategy[by].weight);
            share(*one, *other).cmp(&share(*other, *one))
        });
        let Some(next) = next else { break };
        given[next] += 1;
        providers.push(strategy[next].provider.clone());
    }
    Ok(providers)
}

/// A strategy as answered.
pub(super) fn show_strategy(strategy: &[StrategyItem]) -> Vec<CapacityProviderStrategyItem> {
    let item = |item: &StrategyItem| CapacityProviderStrategyItem {
        base: i32::try_from(item.base).ok(),
        capacity_provider: Some(item.provider.clone()),
        weight: i32::try_from(item.weight).ok(),
    };
    strategy.iter().map(item).collect()
}

fn within(value: i32, max: i32, member: &str) -> Result<u32, Refusal> {
    u32::try_from(value)
        .ok()
        .filter(|_| value <= max)
        .ok_or_else(|| invalid(format!("{member} must be between 0 and {max}.")))
}

/// The name in an ARN, or the text itself.
pub(super) fn name_of(text: &str) -> String {
    let arn: Option<Arn> = text.parse().ok();
    let name = arn.and_then(|arn| arn.resource.strip_prefix("capacity-provider/").map(str::to_owned));
    name.unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tasks_are_distributed_by_base_and_weights() {
        let item = |provider: &str, base, weight| StrategyItem { provider: provider.to_owned(), base, weight };
        let shown = |strategy: &[StrategyItem], count| distribute(strategy, count).unwrap().join("");
        assert_eq!(shown(&[item("a", 0, 1), item("b", 0, 1)], 4), "abab");
        assert_eq!(shown(&[item("a", 0, 1), item("b", 0, 4)], 10), "bbbabbbbab");
        assert_eq!(shown(&[item("a", 3, 1), item("b", 0, 1)], 5), "aaaab");
        assert_eq!(shown(&[item("a", 3, 0), item("b", 0, 1)], 5), "aaabb");
        assert_eq!(shown(&[item("a", 100_000, 1)], 2), "aa");
        assert!(distribute(&[item("a", 1, 0)], 1).is_err());
    }
}
