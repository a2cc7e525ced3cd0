// SPDX-License-Identifier: Apache-2.0
//! Capacity providers: FARGATE and FARGATE_SPOT, which every account has and a cluster uses once they are associated.
//!
//! Both run tasks of launch type FARGATE on the same hosts; tasks of FARGATE_SPOT are never interrupted. Not here:
//! providers of Auto Scaling groups.

use berth_shapes::ecs::{
    self as shape, CapacityProvider, DescribeCapacityProvidersRequest, DescribeCapacityProvidersResponse, Failure,
    PutClusterCapacityProvidersRequest, PutClusterCapacityProvidersResponse,
};
use berth_state::ecs::Cluster;
use berth_state::{Change, Draft, Env, Refusal, Snapshot};

use super::list::{Order, PageRequest, page};
use super::only::only;
use super::provider_strategy::{PROVIDERS, associated, name_of, strategy};
use super::reference::active_cluster;
use super::refuse::{at_most, invalid, parameter_not_yet};
use super::show_cluster::{self, Include};

/// DescribeCapacityProviders.
pub fn describe_capacity_providers(
    _snap: &Snapshot,
    req: &DescribeCapacityProvidersRequest,
    env: &Env,
) -> Result<DescribeCapacityProvidersResponse, Refusal> {
    if req.cluster.is_some() {
        return Err(parameter_not_yet("cluster"));
    }
    only(req, &["capacityProviders", "include", "maxResults", "nextToken"])?;
    if let Some(other) = req.include.iter().flatten().find(|word| *word != "TAGS") {
        return Err(invalid(format!("Invalid include value '{other}'.")));
    }
    let asked = req.capacity_providers.as_deref().unwrap_or_default();
    at_most(Some(asked), 100, "capacityProviders")?;
    let mut failures = Vec::new();
    for text in asked {
        if !PROVIDERS.contains(&name_of(text).as_str()) {
            failures.push(Failure {
                arn: Some(env.arn("ecs", format_args!("capacity-provider/{}", name_of(text)))),
                reason: Some("MISSING".to_owned()),
                ..Default::default()
            });
        }
    }
    let is_asked = |name: &&str| asked.is_empty() || asked.iter().any(|text| name_of(text) == **name);
    let shown = PROVIDERS.into_iter().filter(is_asked).map(|name| (name.to_owned(), show(name, env)));
    let asked = PageRequest {
        max_results: req.max_results,
        next_token: req.next_token.as_deref(),
        operation: "DescribeCapacityProviders",
    };
    let page = page(shown, &asked, Order::Ascending)?;
    Ok(DescribeCapacityProvidersResponse {
        capacity_providers: Some(page.items),
        failures: Some(failures),
        next_token: page.next_token,
    })
}

/// PutClusterCapacityProviders: replaces the providers and the default strategy of a cluster.
pub fn put_cluster_capacity_providers(
    snap: &Snapshot,
    req: &PutClusterCapacityProvidersRequest,
    env: &Env,
) -> Result<Change<PutClusterCapacityProvidersResponse>, Refusal> {
    only(
        req,
        &[
            "capacityProviders",
            "cluster",
            "defaultCapacityProviderStrategy.base",
            "defaultCapacityProviderStrategy.capacityProvider",
            "defaultCapacityProviderStrategy.weight",
        ],
    )?;
    let known = active_cluster(snap, req.cluster.as_deref(), env)?;
    let capacity_providers = associated(req.capacity_providers.as_deref())?;
    let default_strategy = strategy(req.default_capacity_provider_strategy.as_deref(), &capacity_providers)?;
    let cluster = Cluster { capacity_providers, default_strategy, ..known.as_ref().clone() };
    let mut draft = Draft::of(snap);
    draft.put(cluster.clone());
    let shown = show_cluster::show(&draft, &cluster, Include::created(), env);
    Ok(draft.change(PutClusterCapacityProvidersResponse { cluster: Some(shown) }))
}

fn show(name: &str, env: &Env) -> CapacityProvider {
    shape::CapacityProvider {
        capacity_provider_arn: Some(env.arn("ecs", format_args!("capacity-provider/{name}"))),
        name: Some(name.to_owned()),
        status: Some("ACTIVE".to_owned()),
        tags: Some(Vec::new()),
        r#type: Some(name.to_owned()),
        ..Default::default()
    }
}
