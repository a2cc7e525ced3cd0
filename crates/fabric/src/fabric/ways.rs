// SPDX-License-Identifier: Apache-2.0
//! Route tables, network ACLs, NAT gateways and public addresses of an intent, with the numbers by which the maps know
//! them. Pure.
//!
//! Tables are known by their content: an equal one keeps its number, a changed one gets a new number and is written
//! beside the old one. Subnets keep their number as long as they exist.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use berth_types::intent::{Direction, HostIntent, NatGatewayIntent, RouteIntent, RouteTableIntent, SubnetIntent};
use berth_types::{HostId, Ipv4Cidr, NatGatewayId, Vni};

use super::Fault;
use super::held::{Held, RouteTable};
use crate::bpf::layout::{
    self, EndpointKey, NAT_ADDRESSES, NAT_HERE, NATS, Nat, OWNER_INTERFACE, OWNER_NAT, PublicOwner, ROUTE_BLACKHOLE,
    ROUTE_INTERFACE, ROUTE_LOCAL, ROUTE_NAT, ROUTE_PEERING, ROUTE_WORLD, Route, SUBNETS, Subnet,
};
use crate::compile::Acl;

/// The bit of a peering's number that no VPC's number has: both stand at the same place of a flow's key.
const PEERING_BIT: u32 = 1 << 23;

/// The wanted content of the maps of ways.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ways {
    /// Both sides are equal.
    pub subnets: BTreeMap<u16, Subnet>,
    pub tables: BTreeMap<u32, RouteTable>,
    pub acls: BTreeMap<u32, Acl>,
    pub nats: BTreeMap<u32, Nat>,
    pub publics: BTreeMap<EndpointKey, PublicOwner>,
    pub privates: BTreeMap<[u8; 4], PublicOwner>,
    /// Pool of public addresses, and the host's own address.
    pub pool: Option<(Ipv4Cidr, Ipv4Addr)>,
}

impl Ways {
    /// The ways of an intent, with the numbers of `held` where content is equal.
    pub fn of(intent: &HostIntent, held: &Held, host: &HostId) -> Result<Self, Fault> {
        let mut ways = Self {
            pool: intent.worlds.iter().next().map(|(pool, world)| (*pool, world.host_address)),
            ..Self::default()
        };
        ways.number_subnets(intent, held)?;
        let nats = ways.number_nats(intent, held, host)?;
        let peerings = Peerings::of(intent, held);
        ways.fill_subnets(intent, held, &nats, &peerings)?;
        ways.own_public_addresses(intent, host);
        Ok(ways)
    }

    /// The number of the subnet that contains an address; 0 if none is known.
    pub fn subnet_of(&self, vni: Vni, address: Ipv4Addr) -> u16 {
        let bits = address.to_bits();
        let contains = |subnet: &Subnet| {
            let (network, mask) = (u32::from_be_bytes(subnet.network), u32::from_be_bytes(subnet.mask));
            subnet.vni == vni.0 && bits & mask == network
        };
        self.subnets.iter().find(|(_, subnet)| contains(subnet)).map_or(0, |(number, _)| *number)
    }

    fn number_subnets(&mut self, intent: &HostIntent, held: &Held) -> Result<(), Fault> {
        let numbers: BTreeMap<_, u16> =
            held.subnets.iter().map(|(number, subnet)| (name_of(subnet), *number)).collect();
        let mut free = (1..SUBNETS).filter(|number| !held.subnets.contains_key(number));
        for (vni, vpc) in &intent.vpcs {
            for subnet in vpc.subnets.values() {
                let fresh = named(*vni, subnet.cidr);
                let number = numbers.get(&name_of(&fresh)).copied().or_else(|| free.next());
                let full = || Fault::TooMany { what: "subnets", limit: u32::from(SUBNETS) - 1 };
                self.subnets.insert(number.ok_or_else(full)?, fresh);
            }
        }
        Ok(())
    }

    /// The number of each gateway.
    fn number_nats(
        &mut self,
        intent: &HostIntent,
        held: &Held,
        host: &HostId,
    ) -> Result<BTreeMap<NatGatewayId, u32>, Fault> {
        let mut numbers = BTreeMap::new();
        let mut free = (1..NATS).filter(|number| !held.nats.contains_key(number));
        for (id, gateway) in &intent.nat_gateways {
            let row = self.nat_of(gateway, host);
            let known = held.nats.iter().find(|(number, nat)| **nat == row && !self.nats.contains_key(number));
            let number = known.map(|(number, _)| *number).or_else(|| free.next());
            let number = number.ok_or(Fault::TooMany { what: "NAT gateways", limit: NATS - 1 })?;
            self.nats.insert(number, row);
            numbers.insert(id.clone(), number);
        }
        Ok(numbers)
    }

    fn nat_of(&self, gateway: &NatGatewayIntent, host: &HostId) -> Nat {
        let mut address = [[0; 4]; NAT_ADDRESSES];
        for (place, one) in address.iter_mut().zip(&gateway.addresses) {
            *place = one.octets();
        }
        let subnet = gateway.addresses.first().map_or(0, |first| self.subnet_of(gateway.vni, *first));
        Nat {
            vni: gateway.vni.0,
            flags: if gateway.host == *host { NAT_HERE } else { 0 },
            subnet: subnet.into(),
            count: gateway.addresses.len().min(NAT_ADDRESSES) as u32,
            address,
            rest: [0; 16],
        }
    }

    /// Gives each subnet the numbers of its tables.
    fn fill_subnets(
        &mut self,
        intent: &HostIntent,
        held: &Held,
        nats: &BTreeMap<NatGatewayId, u32>,
        peerings: &Peerings,
    ) -> Result<(), Fault> {
        let mut tables = Contents::new(&held.tables);
        let mut acls = Contents::new(&held.acls);
        for (vni, vpc) in &intent.vpcs {
            for subnet in vpc.subnets.values() {
                let table = subnet.route_table.as_ref().and_then(|id| intent.route_tables.get(id));
                let table = table.map(|table| tables.number(rows(table, intent, nats, peerings)));
                let [out, into] = acls_of(subnet, intent)?;
                let acl = [out, into].map(|acl| acl.map_or(0, |acl| acls.number(acl)));
                let name = name_of(&named(*vni, subnet.cidr));
                for row in self.subnets.values_mut().filter(|row| name_of(row) == name) {
                    row.route_table = [table.unwrap_or(0); 2];
                    row.acl = [acl; 2];
                }
            }
        }
        (self.tables, self.acls) = (tables.chosen(), acls.chosen());
        Ok(())
    }

    fn own_public_addresses(&mut self, intent: &HostIntent, host: &HostId) {
        for (public, owner) in intent.public_addresses.iter().filter(|(_, owner)| owner.host == *host) {
            let is_nat = intent.nat_gateways.values().any(|gateway| gateway.eni == owner.eni);
            let kind = if is_nat { OWNER_NAT } else { OWNER_INTERFACE };
            let row = |address: Ipv4Addr| PublicOwner {
                vni: owner.vni.0,
                address: address.octets(),
                kind,
                ..PublicOwner::default()
            };
            let key = EndpointKey { vni: owner.vni.0, address: owner.address.octets() };
            self.publics.insert(key, row(*public));
            self.privates.insert(public.octets(), row(owner.address));
        }
    }
}

fn acls_of(subnet: &SubnetIntent, intent: &HostIntent) -> Result<[Option<Acl>; 2], Fault> {
    let Some((id, acl)) = subnet.network_acl.as_ref().and_then(|id| Some((id, intent.network_acls.get(id)?))) else {
        return Ok([None, None]);
    };
    let compiled = |direction| Acl::compile(id, acl, direction);
    Ok([Some(compiled(Direction::Egress)?), Some(compiled(Direction::Ingress)?)])
}

/// A subnet without tables.
fn named(vni: Vni, range: Ipv4Cidr) -> Subnet {
    Subnet { vni: vni.0, network: range.network().octets(), mask: layout::mask(range), ..Subnet::default() }
}

fn name_of(subnet: &Subnet) -> (u32, [u8; 4], [u8; 4]) {
    (subnet.vni, subnet.network, subnet.mask)
}

/// The rows of a route table. A target that is not in the intent is gone.
fn rows(
    table: &RouteTableIntent,
    intent: &HostIntent,
    nats: &BTreeMap<NatGatewayId, u32>,
    peerings: &Peerings,
) -> RouteTable {
    let vni = table.vni.0;
    let attached = intent.vpcs.get(&table.vni).and_then(|vpc| vpc.internet_gateway.as_ref());
    let row = |route: &RouteIntent| match route {
        RouteIntent::Local => Some(Route { kind: ROUTE_LOCAL, vni, ..Route::default() }),
        RouteIntent::Blackhole => None,
        RouteIntent::InternetGateway(id) => {
            (attached == Some(id)).then_some(Route { kind: ROUTE_WORLD, vni, ..Route::default() })
        }
        RouteIntent::NatGateway(id) => {
            nats.get(id).map(|&number| Route { kind: ROUTE_NAT, vni, number, ..Route::default() })
        }
        RouteIntent::Eni(id) => intent.endpoints.get(id).map(|endpoint| Route {
            kind: ROUTE_INTERFACE,
            vni: endpoint.vni.0,
            address: endpoint.address.octets(),
            ..Route::default()
        }),
        // The sender's VPC stands in the row too, so that the number of the pair can be read back.
        RouteIntent::Peering { vni: peer, .. } => peerings.number(table.vni, *peer).map(|number| Route {
            kind: ROUTE_PEERING,
            vni: peer.0,
            number,
            address: vni.to_be_bytes(),
            rest: [0; 8],
        }),
    };
    let gone = Route { kind: ROUTE_BLACKHOLE, vni, ..Route::default() };
    table.routes.iter().map(|(range, route)| (*range, row(route).unwrap_or(gone))).collect()
}

/// The number of each pair of VPCs with a route between them.
struct Peerings(BTreeMap<(Vni, Vni), u32>);

impl Peerings {
    fn of(intent: &HostIntent, held: &Held) -> Self {
        let held_pairs = held.tables.values().flat_map(BTreeMap::values).filter(|row| row.kind == ROUTE_PEERING);
        let known: BTreeMap<_, u32> =
            held_pairs.map(|row| (pair(Vni(row.vni), Vni(u32::from_be_bytes(row.address))), row.number)).collect();
        let used: BTreeSet<u32> = known.values().copied().collect();
        let mut free = (PEERING_BIT..PEERING_BIT << 1).filter(|number| !used.contains(number));
        let mut numbers = BTreeMap::new();
        for table in intent.route_tables.values() {
            for route in table.routes.values() {
                if let RouteIntent::Peering { vni, .. } = route {
                    let pair = pair(table.vni, *vni);
                    let number = known.get(&pair).copied();
                    numbers.entry(pair).or_insert_with(|| number.or_else(|| free.next()).unwrap_or_default());
                }
            }
        }
        Self(numbers)
    }

    fn number(&self, one: Vni, other: Vni) -> Option<u32> {
        self.0.get(&pair(one, other)).copied()
    }
}

fn pair(one: Vni, other: Vni) -> (Vni, Vni) {
    (one.min(other), one.max(other))
}

/// Numbers by content.
struct Contents<T> {
    held: BTreeMap<T, u32>,
    used: BTreeSet<u32>,
    chosen: BTreeMap<T, u32>,
}

impl<T: Ord + Clone> Contents<T> {
    fn new(held: &BTreeMap<u32, T>) -> Self {
        Self {
            held: held.iter().map(|(number, content)| (content.clone(), *number)).collect(),
            used: held.keys().copied().collect(),
            chosen: BTreeMap::new(),
        }
    }

    fn number(&mut self, content: T) -> u32 {
        if let Some(number) = self.chosen.get(&content) {
            return *number;
        }
        let fresh = || (1..).find(|number| !self.used.contains(number)).unwrap_or_default();
        let number = self.held.get(&content).copied().unwrap_or_else(fresh);
        self.used.insert(number);
        self.chosen.insert(content, number);
        number
    }

    fn chosen(self) -> BTreeMap<u32, T> {
        self.chosen.into_iter().map(|(content, number)| (number, content)).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fabric::plan::{Wanted, plan};
    use berth_types::intent::{AclEntryIntent, NetworkAclIntent, PortRange, VpcIntent};
    use berth_types::{EniId, InternetGatewayId, NetworkAclId, PeeringId, RouteTableId, SubnetId, VpcId};
    use proptest::prelude::*;

    fn range(third: u8) -> Ipv4Cidr {
        Ipv4Cidr::containing(Ipv4Addr::new(10, 0, third, 0), 24).unwrap()
    }

    fn any_route() -> impl Strategy<Value = RouteIntent> {
        prop_oneof![
            Just(RouteIntent::InternetGateway(InternetGatewayId::from_bits(1))),
            Just(RouteIntent::InternetGateway(InternetGatewayId::from_bits(2))),
            (0u128..3).prop_map(|n| RouteIntent::NatGateway(NatGatewayId::from_bits(n))),
            (2u32..5).prop_map(|n| RouteIntent::Peering { id: PeeringId::from_bits(n.into()), vni: Vni(n) }),
            Just(RouteIntent::Eni(EniId::from_bits(9))),
            Just(RouteIntent::Blackhole),
        ]
    }

    fn any_acl() -> impl Strategy<Value = NetworkAclIntent> {
        proptest::collection::vec((any::<bool>(), any::<bool>(), 0u8..4), 0..5).prop_map(|entries| {
            let entry = |(n, (ingress, admits, third)): (u16, (bool, bool, u8))| AclEntryIntent {
                number: n,
                direction: if ingress { Direction::Ingress } else { Direction::Egress },
                protocol: Some(6),
                ports: PortRange::Ports(80, 90),
                cidr: range(third),
                admits,
            };
            NetworkAclIntent { vni: Vni(1), entries: (1..).zip(entries).map(entry).collect() }
        })
    }

    prop_compose! {
        /// A VPC with up to four subnets, which share up to three tables and ACLs.
        fn any_intent()(
            tables in proptest::collection::vec(proptest::collection::btree_map(0u8..6, any_route(), 0..4), 3),
            acls in proptest::collection::vec(any_acl(), 3),
            subnets in proptest::collection::btree_map(0u8..4, (proptest::option::of(0u128..3), proptest::option::of(0u128..3)), 0..4),
            nats in proptest::collection::btree_map(0u128..3, 0u8..4, 0..3),
            publics in proptest::collection::btree_map(0u8..8, 0u8..8, 0..4),
        ) -> HostIntent {
            let mut intent = HostIntent::default();
            let subnet = |(third, (table, acl)): (u8, (Option<u128>, Option<u128>))| {
                let (route_table, network_acl) = (table.map(RouteTableId::from_bits), acl.map(NetworkAclId::from_bits));
                (SubnetId::from_bits(third.into()), SubnetIntent { cidr: range(third), route_table, network_acl })
            };
            intent.vpcs.insert(Vni(1), VpcIntent {
                vpc: VpcId::from_bits(1),
                cidrs: vec![Ipv4Cidr::containing(Ipv4Addr::new(10, 0, 0, 0), 16).unwrap()],
                subnets: subnets.into_iter().map(subnet).collect(),
                internet_gateway: Some(InternetGatewayId::from_bits(1)),
            });
            for (n, routes) in (0..).zip(tables) {
                let routes = routes.into_iter().map(|(third, route)| (range(third), route)).collect();
                intent.route_tables.insert(RouteTableId::from_bits(n), RouteTableIntent { vni: Vni(1), routes });
            }
            intent.network_acls = (0..).zip(acls).map(|(n, acl)| (NetworkAclId::from_bits(n), acl)).collect();
            for (n, third) in nats {
                intent.nat_gateways.insert(NatGatewayId::from_bits(n), NatGatewayIntent {
                    vni: Vni(1),
                    subnet: SubnetId::from_bits(third.into()),
                    eni: EniId::from_bits(100 + n),
                    addresses: vec![range(third).nth(200).unwrap()],
                    host: HostId::from_bits(1),
                    rate: None,
                });
            }
            for (public, last) in publics {
                let owner = berth_types::intent::PublicAddressIntent {
                    vni: Vni(1),
                    eni: EniId::from_bits(last.into()),
                    address: Ipv4Addr::new(10, 0, 0, last),
                    host: HostId::from_bits(1),
                };
                intent.public_addresses.insert(Ipv4Addr::new(198, 18, 0, public), owner);
            }
            intent
        }
    }

    /// What packets of each subnet are judged by: route table and ACLs by content.
    type Judged = BTreeMap<(u32, [u8; 4], [u8; 4]), (Option<RouteTable>, [Option<Acl>; 2])>;

    fn judged(held: &Held) -> Judged {
        let side = held.side();
        let of = |subnet: &Subnet| {
            let acl = subnet.acl[side].map(|id| held.acls.get(&id).cloned());
            (name_of(subnet), (held.tables.get(&subnet.route_table[side]).cloned(), acl))
        };
        held.subnets.values().map(of).collect()
    }

    fn steps(held: &Held, intent: &HostIntent) -> Vec<crate::fabric::plan::Step> {
        let policies = BTreeMap::new();
        let wanted = Wanted {
            policies: &policies,
            endpoints: BTreeMap::new(),
            cidrs: BTreeSet::new(),
            enis: BTreeMap::new(),
            ways: Ways::of(intent, held, &HostId::from_bits(1)).unwrap(),
        };
        plan(held, &wanted)
    }

    fn settle(held: &mut Held, intent: &HostIntent, mut each: impl FnMut(&Held)) {
        for step in steps(held, intent) {
            held.apply(&step);
            each(held);
        }
        held.forget_unused_ways();
    }

    proptest! {
        #[test]
        fn no_packet_is_judged_by_half_of_a_change(old in any_intent(), new in any_intent()) {
            let (mut held, mut fresh) = (Held::default(), Held::default());
            settle(&mut fresh, &new, |_| {});
            settle(&mut held, &old, |_| {});
            let (before, after) = (judged(&held), judged(&fresh));
            let mut wrong = Vec::new();
            settle(&mut held, &new, |held| {
                for (name, now) in judged(held) {
                    // Numbers differ between the two histories; a row says the same if its content does.
                    let is_known = |all: &Judged| all.get(&name).is_some_and(|then| same(then, &now));
                    if !is_known(&before) && !is_known(&after) {
                        wrong.push((name, now));
                    }
                }
            });
            prop_assert!(wrong.is_empty(), "{:?}", wrong);
            prop_assert!(steps(&held, &new).is_empty(), "the same intent again changes nothing");
            let last = judged(&held);
            prop_assert_eq!(last.len(), after.len());
            for (name, now) in last {
                prop_assert!(same(&after[&name], &now), "{:?}", name);
            }
        }
    }

    /// Equal but for the numbers of gateways and peerings.
    fn same(one: &(Option<RouteTable>, [Option<Acl>; 2]), other: &(Option<RouteTable>, [Option<Acl>; 2])) -> bool {
        let plain = |table: &Option<RouteTable>| {
            table.as_ref().map(|table| {
                let row = |(range, route): (&Ipv4Cidr, &Route)| (*range, Route { number: 0, ..*route });
                table.iter().map(row).collect::<RouteTable>()
            })
        };
        plain(&one.0) == plain(&other.0) && one.1 == other.1
    }

    #[test]
    fn an_address_is_in_the_subnet_that_contains_it() {
        let mut intent = HostIntent::default();
        let subnet = SubnetIntent { cidr: range(1), route_table: None, network_acl: None };
        intent.vpcs.insert(
            Vni(1),
            VpcIntent {
                vpc: VpcId::from_bits(1),
                cidrs: Vec::new(),
                subnets: BTreeMap::from([(SubnetId::from_bits(1), subnet)]),
                internet_gateway: None,
            },
        );
        let ways = Ways::of(&intent, &Held::default(), &HostId::from_bits(1)).unwrap();
        assert_eq!(ways.subnet_of(Vni(1), Ipv4Addr::new(10, 0, 1, 9)), 1);
        assert_eq!(ways.subnet_of(Vni(1), Ipv4Addr::new(10, 0, 2, 9)), 0);
        assert_eq!(ways.subnet_of(Vni(2), Ipv4Addr::new(10, 0, 1, 9)), 0);
    }
}
