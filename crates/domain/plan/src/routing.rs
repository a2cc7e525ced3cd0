// SPDX-License-Identifier: Apache-2.0
//! A VPC with its subnets, and the route tables and network ACLs they use.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use berth_state::Snapshot;
use berth_state::vpc::Vpc;
use berth_types::intent::{HostIntent, SubnetIntent, VpcIntent};
use berth_types::{NetworkAclId, RouteTableId, SecurityGroupId, SubnetId, VpcId};
use imbl::ordmap::DiffItem;

/// Adds the intent of a VPC, and of the tables and ACLs in effect in its subnets.
pub(super) fn vpc(snap: &Snapshot, vpc: &Vpc, intent: &mut HostIntent) {
    let records = snap.vpc();
    let (main, tables) = tables(snap, &vpc.id);
    let acls = acls(snap, &vpc.id);
    let mut subnets = BTreeMap::new();
    for subnet in records.subnets_of(&vpc.id) {
        let route_table = tables.get(&subnet.id).copied().or(main).cloned();
        let network_acl = acls.get(&subnet.id).copied().cloned();
        subnets.insert(subnet.id.clone(), SubnetIntent { cidr: subnet.cidr, route_table, network_acl });
    }
    for subnet in subnets.values() {
        if let Some(table) = subnet.route_table.as_ref().and_then(|id| records.route_tables.get(id)) {
            let in_effect = || records.route_table_intent(table, vpc);
            intent.route_tables.entry(table.id.clone()).or_insert_with(in_effect);
        }
        if let Some(acl) = subnet.network_acl.as_ref().and_then(|id| records.network_acls.get(id)) {
            intent.network_acls.entry(acl.id.clone()).or_insert_with(|| acl.intent(vpc.vni));
        }
    }
    let shown = VpcIntent {
        vpc: vpc.id.clone(),
        cidrs: vpc.cidrs().collect(),
        subnets,
        internet_gateway: records.internet_gateway_of(&vpc.id).cloned(),
    };
    intent.vpcs.insert(vpc.vni, shown);
}

/// The VPCs whose intent may differ between two snapshots with equal VPCs and subnets.
pub(super) fn changed(old: &Snapshot, new: &Snapshot) -> BTreeSet<VpcId> {
    let (was, is) = (old.vpc(), new.vpc());
    let mut changed = BTreeSet::new();
    for item in was.route_tables.diff(&is.route_tables) {
        changed.extend(versions(item).map(|table| table.vpc.clone()));
    }
    for item in was.network_acls.diff(&is.network_acls) {
        changed.extend(versions(item).map(|acl| acl.vpc.clone()));
    }
    for item in was.internet_gateways.diff(&is.internet_gateways) {
        changed.extend(versions(item).filter_map(|gateway| gateway.vpc.clone()));
    }
    for item in was.nat_gateways.diff(&is.nat_gateways) {
        changed.extend(versions(item).map(|gateway| gateway.vpc.clone()));
    }
    for item in was.peerings.diff(&is.peerings) {
        changed.extend(versions(item).flat_map(|it| [it.requester.vpc.clone(), it.accepter.vpc.clone()]));
    }
    for item in was.prefix_lists.diff(&is.prefix_lists) {
        let list = versions(item).map(|list| list.id.clone()).next();
        for (list, snap) in list.iter().flat_map(|list| [(list, old), (list, new)]) {
            let named = snap.vpc().index().prefix_list_routes.range((list.clone(), RouteTableId::from_bits(0))..);
            let tables =
                named.take_while(|(other, _)| other == list).filter_map(|(_, id)| snap.vpc().route_tables.get(id));
            changed.extend(tables.map(|table| table.vpc.clone()));
        }
    }
    if !(was.index().eni_routes.is_empty() && is.index().eni_routes.is_empty()) {
        for item in was.enis.diff(&is.enis) {
            changed.extend(versions(item).filter(|eni| is_target(new, &eni.id)).map(|eni| eni.vpc.clone()));
        }
    }
    changed
}

/// The groups with a rule that names a changed prefix list. A group whose rules changed is itself a changed record.
pub(super) fn groups_of_changed_lists(old: &Snapshot, new: &Snapshot) -> BTreeSet<SecurityGroupId> {
    let mut groups = BTreeSet::new();
    for item in old.vpc().prefix_lists.diff(&new.vpc().prefix_lists) {
        let Some(list) = versions(item).map(|list| list.id.clone()).next() else { continue };
        let named = new.vpc().index().prefix_list_rules.range((list.clone(), SecurityGroupId::from_bits(0))..);
        groups.extend(named.take_while(|(other, _)| *other == list).map(|(_, group)| group.clone()));
    }
    groups
}

/// The old and the new version of a changed record.
fn versions<'a, K, V>(item: DiffItem<'a, 'a, K, Arc<V>>) -> impl Iterator<Item = &'a V> + use<'a, K, V> {
    let pair = match item {
        DiffItem::Add(_, one) | DiffItem::Remove(_, one) => [Some(one.as_ref()), None],
        DiffItem::Update { old: (_, old), new: (_, new) } => [Some(old.as_ref()), Some(new.as_ref())],
    };
    pair.into_iter().flatten()
}

/// True if a route leads to the interface; a table whose routes changed is itself a changed record.
fn is_target(snap: &Snapshot, eni: &berth_types::EniId) -> bool {
    let routes = &snap.vpc().index().eni_routes;
    routes.range((eni.clone(), RouteTableId::from_bits(0))..).next().is_some_and(|(target, _)| target == eni)
}

/// The main route table of a VPC, and those of its subnets that have their own.
fn tables<'a>(snap: &'a Snapshot, vpc: &VpcId) -> (Option<&'a RouteTableId>, BTreeMap<&'a SubnetId, &'a RouteTableId>) {
    let (mut main, mut own) = (None, BTreeMap::new());
    for table in snap.vpc().route_tables_of(vpc) {
        own.extend(table.associations.values().map(|subnet| (subnet, &table.id)));
        main = main.or(table.main_association.as_ref().map(|_| &table.id));
    }
    (main, own)
}

/// The network ACLs of a VPC's subnets.
fn acls<'a>(snap: &'a Snapshot, vpc: &VpcId) -> BTreeMap<&'a SubnetId, &'a NetworkAclId> {
    let of = |acl: &'a berth_state::vpc::NetworkAcl| acl.associations.keys().map(move |subnet| (subnet, &acl.id));
    snap.vpc().network_acls_of(vpc).flat_map(of).collect()
}
