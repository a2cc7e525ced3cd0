// SPDX-License-Identifier: Apache-2.0
//! The choice among the container instances that can run a task.
//!
//! Each strategy keeps the best of the instances that the strategies before it kept; the number of tasks, then the id
//! break ties. The index keeps the orders that come first in practice (`ranking.rs`): a spread over the zones, then a
//! spread over the instances, a binpack, or nothing. Later strategies are evaluated for the instances that are still
//! equal; a spread over other attributes and `random` are evaluated for all instances.

use std::collections::BTreeMap;
use std::sync::Arc;

use berth_state::ecs::{Host, Ranking, Row};
use berth_state::{Env, Snapshot};

use super::host::ZONE_ATTRIBUTE;
use super::placement::{Wanted, fits};
use super::placement_request::{Field, Strategy};

/// The best instance for a task of launch type EC2, if one can run it.
pub(super) fn best<'a>(snap: &'a Snapshot, wanted: &Wanted<'_>, env: &Env) -> Option<&'a Arc<Host>> {
    let is_near =
        |zone: &str| wanted.subnets.is_none_or(|subnets| subnets.iter().any(|subnet| subnet.availability_zone == zone));
    let zones = snap.ecs().index().loads.zones(wanted.cluster).filter(|(zone, _)| is_near(zone));
    let zones: Vec<&Ranking> = zones.map(|(_, ranking)| ranking).collect();
    best_in(&zones, &wanted.placement.strategies, snap, wanted, env)
}

/// The best instance of these zones by these strategies.
fn best_in<'a>(
    zones: &[&'a Ranking],
    strategies: &[Strategy],
    snap: &'a Snapshot,
    wanted: &Wanted<'_>,
    env: &Env,
) -> Option<&'a Arc<Host>> {
    let loads = &snap.ecs().index().loads;
    match strategies {
        [Strategy::Spread(Field::Attribute(name)), rest @ ..] if name == ZONE_ATTRIBUTE => {
            let mut by_sum: BTreeMap<usize, Vec<&Ranking>> = BTreeMap::new();
            for zone in zones {
                by_sum.entry(zone.tasks_of(&wanted.group)).or_default().push(zone);
            }
            by_sum.values().find_map(|zones| best_in(zones, rest, snap, wanted, env))
        }
        [Strategy::Spread(Field::Instance), rest @ ..] => {
            let has_one = |host: &_| loads.in_group(host, &wanted.group) > 0;
            let orders = zones.iter().map(|zone| zone.by_tasks_of(&wanted.group, has_one));
            first(merged(orders), rest, snap, wanted, env)
        }
        [Strategy::Binpack(resource), rest @ ..] => {
            let orders = zones.iter().map(|zone| zone.by_free(*resource, resource.of(wanted.need)));
            first(merged(orders), rest, snap, wanted, env)
        }
        _ => first(merged(zones.iter().map(|zone| zone.by_tasks())), strategies, snap, wanted, env),
    }
}

/// The rows of several orders as one order.
fn merged<'a>(orders: impl Iterator<Item = impl Iterator<Item = Row<'a>>>) -> impl Iterator<Item = Row<'a>> {
    let mut orders: Vec<_> = orders.map(Iterator::peekable).collect();
    std::iter::from_fn(move || {
        let heads = orders.iter_mut().enumerate().filter_map(|(at, order)| Some((*order.peek()?, at)));
        let (_, at) = heads.min()?;
        orders[at].next()
    })
}

/// The first instance that can run the task; the remaining strategies choose among those of equal rank.
fn first<'a>(
    rows: impl Iterator<Item = Row<'a>>,
    strategies: &[Strategy],
    snap: &'a Snapshot,
    wanted: &Wanted<'_>,
    env: &Env,
) -> Option<&'a Arc<Host>> {
    let hosts = rows.filter_map(|(key, _, host)| Some((key, snap.ecs().hosts.get(host)?)));
    let mut fitting = hosts.filter(|(_, host)| fits(snap, host, wanted));
    let (least, first) = fitting.next()?;
    if strategies.is_empty() {
        return Some(first);
    }
    let beside = fitting.take_while(|(key, _)| *key == least).map(|(_, host)| host);
    // In order of number of tasks and id, which removals preserve.
    let mut equals: Vec<&Arc<Host>> = std::iter::once(first).chain(beside).collect();
    strategies.iter().for_each(|strategy| prefer(snap, strategy, wanted, &mut equals, env));
    equals.first().copied()
}

/// Keeps the instances that are best by a strategy.
fn prefer(snap: &Snapshot, strategy: &Strategy, wanted: &Wanted<'_>, fitting: &mut Vec<&Arc<Host>>, env: &Env) {
    let loads = &snap.ecs().index().loads;
    match strategy {
        Strategy::Random if fitting.is_empty() => {}
        Strategy::Random => {
            let chosen = env.fresh_bits() % fitting.len() as u128;
            *fitting = vec![fitting[chosen as usize]];
        }
        Strategy::Binpack(resource) => keep_least(fitting, |host| loads.free(&host.id, *resource)),
        Strategy::Spread(Field::Instance) => keep_least(fitting, |host| loads.in_group(&host.id, &wanted.group)),
        Strategy::Spread(Field::Attribute(name)) => {
            let mut tasks: BTreeMap<Option<Option<&str>>, usize> = BTreeMap::new();
            for host in snap.ecs().instances(wanted.cluster) {
                *tasks.entry(host.attribute(name)).or_default() += loads.in_group(&host.id, &wanted.group);
            }
            keep_least(fitting, |host| tasks.get(&host.attribute(name)).copied().unwrap_or(0));
        }
    }
}

fn keep_least<K: Ord>(fitting: &mut Vec<&Arc<Host>>, key: impl Fn(&Host) -> K) {
    let keys: Vec<K> = fitting.iter().map(|host| key(host)).collect();
    let Some(least) = keys.iter().min() else { return };
    let mut kept = keys.iter().map(|key| key == least);
    fitting.retain(|_| kept.next().unwrap_or(false));
}
