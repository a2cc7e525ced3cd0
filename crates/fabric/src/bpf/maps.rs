// SPDX-License-Identifier: Apache-2.0
//! Typed access to the pinned maps. Every write is counted; every failure names the map.

use std::path::Path;

use aya::Pod;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, IterableMap, Map, MapData, MapError, PerCpuArray, PerCpuValues};
use berth_types::EniId;
use berth_types::report::FlowTable;

use super::batch;
use super::durations::Durations;
use super::layout::{
    AclRow, Control, Counters, Endpoint, EndpointKey, Eni, Flow, FlowKey, MemberKey, Nat, Policy, PublicOwner, RateRow,
    Returned, Ring, RingKey, Route, Row, SLOTS, Shares, Subnet, WorldPort, tick_ns,
};
use crate::fault::Fault;

/// Ruleset and address.
pub type AddressData = [u8; 8];
/// Ruleset, protocol, port, padding.
pub type PortData = [u8; 8];
/// VPC number and address.
pub type CidrData = [u8; 8];

/// `BPF_NOEXIST` of `linux/bpf.h`: write only a new entry.
const BPF_NOEXIST: u64 = 1;

/// All maps of one instance.
pub struct Maps {
    enis: Array<MapData, Eni>,
    pub endpoints: HashMap<MapData, EndpointKey, Endpoint>,
    pub policies: Array<MapData, Policy>,
    pub rule_addresses: LpmTrie<MapData, AddressData, Row>,
    pub rule_ports: LpmTrie<MapData, PortData, Row>,
    pub rule_members: HashMap<MapData, MemberKey, Row>,
    pub vpc_cidrs: LpmTrie<MapData, CidrData, u32>,
    subnets: Array<MapData, Subnet>,
    pub routes: LpmTrie<MapData, AddressData, Route>,
    pub acl_addresses: LpmTrie<MapData, AddressData, AclRow>,
    pub acl_ports: LpmTrie<MapData, PortData, AclRow>,
    pub publics: HashMap<MapData, EndpointKey, PublicOwner>,
    pub privates: HashMap<MapData, [u8; 4], PublicOwner>,
    nats: Array<MapData, Nat>,
    worlds: Array<MapData, WorldPort>,
    rates: Array<MapData, RateRow>,
    pub flows: HashMap<MapData, FlowKey, Flow>,
    pub flow_ring: HashMap<MapData, RingKey, FlowKey>,
    pub rings: Array<MapData, Ring>,
    pub returns: Array<MapData, Returned>,
    shares: Array<MapData, Shares>,
    pub eni_counters: PerCpuArray<MapData, Counters>,
    pub control: Array<MapData, Control>,
    tick_ns: u64,
    /// Entries written or removed since the maps were opened.
    pub writes: u64,
}

macro_rules! open {
    ($directory:ident, $kind:ident, $name:literal) => {{
        let path = $directory.join($name);
        let data = MapData::from_pin(&path).map_err(|source| Fault::map("open", $name, source))?;
        $kind::try_from(Map::$kind(data)).map_err(|source| Fault::map("open", $name, source))?
    }};
}

impl Maps {
    /// Opens the maps pinned in `directory`.
    pub fn open(directory: &Path) -> Result<Self, Fault> {
        Ok(Self {
            enis: open!(directory, Array, "enis"),
            endpoints: open!(directory, HashMap, "endpoints"),
            policies: open!(directory, Array, "policies"),
            rule_addresses: open!(directory, LpmTrie, "rule_addresses"),
            rule_ports: open!(directory, LpmTrie, "rule_ports"),
            rule_members: open!(directory, HashMap, "rule_members"),
            vpc_cidrs: open!(directory, LpmTrie, "vpc_cidrs"),
            subnets: open!(directory, Array, "subnets"),
            routes: open!(directory, LpmTrie, "routes"),
            acl_addresses: open!(directory, LpmTrie, "acl_addresses"),
            acl_ports: open!(directory, LpmTrie, "acl_ports"),
            publics: open!(directory, HashMap, "publics"),
            privates: open!(directory, HashMap, "privates"),
            nats: open!(directory, Array, "nats"),
            worlds: open!(directory, Array, "worlds"),
            rates: open!(directory, Array, "rates"),
            flows: open!(directory, HashMap, "flows"),
            flow_ring: open!(directory, HashMap, "flow_ring"),
            rings: open!(directory, Array, "rings"),
            returns: open!(directory, Array, "returns"),
            shares: open!(directory, Array, "shares"),
            eni_counters: open!(directory, PerCpuArray, "eni_counters"),
            control: open!(directory, Array, "control"),
            tick_ns: tick_ns().map_err(Fault::Clock)?,
            writes: 0,
        })
    }

    fn wrote(&mut self, step: &'static str, map: &'static str, done: Result<(), MapError>) -> Result<(), Fault> {
        self.writes += 1;
        done.map_err(|source| Fault::map(step, map, source))
    }

    /// The interfaces that are plugged, with their ids.
    pub fn enis(&self) -> Result<Vec<(EniId, Eni)>, Fault> {
        let mut found = Vec::new();
        read("enis", &self.enis, |_, entry: Eni| found.extend(entry.id().map(|id| (id, entry))))?;
        Ok(found)
    }

    /// The interface of a device, if one is plugged there.
    pub fn eni(&self, ifindex: u32) -> Result<Option<Eni>, Fault> {
        let row = self.enis.get(&Eni::row(ifindex), 0).map_err(|source| Fault::map("read", "enis", source))?;
        Ok(Some(row).filter(|row| ifindex != 0 && row.ifindex == ifindex))
    }

    /// The policies that are not empty, by group set.
    pub fn policies(&self) -> Result<Vec<(u32, Policy)>, Fault> {
        let mut found = Vec::new();
        read("policies", &self.policies, |group_set, policy| {
            found.extend((policy != Policy::default()).then_some((group_set, policy)));
        })?;
        Ok(found)
    }

    pub fn put_eni(&mut self, eni: &Eni) -> Result<(), Fault> {
        let done = self.enis.set(Eni::row(eni.ifindex), eni, 0);
        self.wrote("write", "enis", done)
    }

    pub fn remove_eni(&mut self, ifindex: u32) -> Result<(), Fault> {
        let done = self.enis.set(Eni::row(ifindex), Eni::default(), 0);
        self.wrote("remove from", "enis", done)
    }

    pub fn put_endpoint(&mut self, key: EndpointKey, endpoint: &Endpoint) -> Result<(), Fault> {
        let done = self.endpoints.insert(key, endpoint, 0);
        self.wrote("write", "endpoints", done)
    }

    pub fn remove_endpoint(&mut self, key: EndpointKey) -> Result<(), Fault> {
        let done = gone(self.endpoints.remove(&key));
        self.wrote("remove from", "endpoints", done)
    }

    pub fn put_policy(&mut self, group_set: u16, policy: &Policy) -> Result<(), Fault> {
        let done = self.policies.set(group_set.into(), policy, 0);
        self.wrote("write", "policies", done)
    }

    pub fn put_address(&mut self, key: &Key<AddressData>, row: &Row) -> Result<(), Fault> {
        let done = self.rule_addresses.insert(key, row, 0);
        self.wrote("write", "rule_addresses", done)
    }

    pub fn remove_address(&mut self, key: &Key<AddressData>) -> Result<(), Fault> {
        let done = gone(self.rule_addresses.remove(key));
        self.wrote("remove from", "rule_addresses", done)
    }

    pub fn put_port(&mut self, key: &Key<PortData>, row: &Row) -> Result<(), Fault> {
        let done = self.rule_ports.insert(key, row, 0);
        self.wrote("write", "rule_ports", done)
    }

    pub fn remove_port(&mut self, key: &Key<PortData>) -> Result<(), Fault> {
        let done = gone(self.rule_ports.remove(key));
        self.wrote("remove from", "rule_ports", done)
    }

    pub fn put_member(&mut self, key: MemberKey, row: &Row) -> Result<(), Fault> {
        let done = self.rule_members.insert(key, row, 0);
        self.wrote("write", "rule_members", done)
    }

    pub fn remove_member(&mut self, key: MemberKey) -> Result<(), Fault> {
        let done = gone(self.rule_members.remove(&key));
        self.wrote("remove from", "rule_members", done)
    }

    pub fn put_cidr(&mut self, key: &Key<CidrData>) -> Result<(), Fault> {
        let done = self.vpc_cidrs.insert(key, 1, 0);
        self.wrote("write", "vpc_cidrs", done)
    }

    pub fn remove_cidr(&mut self, key: &Key<CidrData>) -> Result<(), Fault> {
        let done = gone(self.vpc_cidrs.remove(key));
        self.wrote("remove from", "vpc_cidrs", done)
    }

    /// The subnets by number.
    pub fn subnets(&self) -> Result<Vec<(u16, Subnet)>, Fault> {
        let mut found = Vec::new();
        read("subnets", &self.subnets, |number: u32, subnet| {
            found.extend((subnet != Subnet::default()).then_some((number as u16, subnet)));
        })?;
        Ok(found)
    }

    pub fn put_subnet(&mut self, number: u16, subnet: &Subnet) -> Result<(), Fault> {
        let done = self.subnets.set(number.into(), subnet, 0);
        self.wrote("write", "subnets", done)
    }

    /// The NAT gateways by number.
    pub fn nats(&self) -> Result<Vec<(u32, Nat)>, Fault> {
        let mut found = Vec::new();
        read("nats", &self.nats, |number: u32, nat| found.extend((nat != Nat::default()).then_some((number, nat))))?;
        Ok(found)
    }

    pub fn put_nat(&mut self, number: u32, nat: &Nat) -> Result<(), Fault> {
        let done = self.nats.set(number, nat, 0);
        self.wrote("write", "nats", done)
    }

    pub fn world(&self) -> Result<WorldPort, Fault> {
        self.worlds.get(&0, 0).map_err(|source| Fault::map("read", "worlds", source))
    }

    pub fn set_world(&mut self, world: &WorldPort) -> Result<(), Fault> {
        let done = self.worlds.set(0, world, 0);
        self.wrote("write", "worlds", done)
    }

    /// The rows that have a limit.
    pub fn rates(&self) -> Result<Vec<(u32, RateRow)>, Fault> {
        let mut found = Vec::new();
        read("rates", &self.rates, |row: u32, rate: RateRow| found.extend((rate.cost != 0).then_some((row, rate))))?;
        Ok(found)
    }

    pub fn put_rate(&mut self, row: u32, rate: &RateRow) -> Result<(), Fault> {
        let done = self.rates.set(row, rate, 0);
        self.wrote("write", "rates", done)
    }

    pub fn put_route(&mut self, key: &Key<AddressData>, route: &Route) -> Result<(), Fault> {
        let done = self.routes.insert(key, route, 0);
        self.wrote("write", "routes", done)
    }

    pub fn remove_route(&mut self, key: &Key<AddressData>) -> Result<(), Fault> {
        let done = gone(self.routes.remove(key));
        self.wrote("remove from", "routes", done)
    }

    pub fn put_acl_address(&mut self, key: &Key<AddressData>, row: &AclRow) -> Result<(), Fault> {
        let done = self.acl_addresses.insert(key, row, 0);
        self.wrote("write", "acl_addresses", done)
    }

    pub fn remove_acl_address(&mut self, key: &Key<AddressData>) -> Result<(), Fault> {
        let done = gone(self.acl_addresses.remove(key));
        self.wrote("remove from", "acl_addresses", done)
    }

    pub fn put_acl_port(&mut self, key: &Key<PortData>, row: &AclRow) -> Result<(), Fault> {
        let done = self.acl_ports.insert(key, row, 0);
        self.wrote("write", "acl_ports", done)
    }

    pub fn remove_acl_port(&mut self, key: &Key<PortData>) -> Result<(), Fault> {
        let done = gone(self.acl_ports.remove(key));
        self.wrote("remove from", "acl_ports", done)
    }

    pub fn put_public(&mut self, key: EndpointKey, owner: &PublicOwner) -> Result<(), Fault> {
        let done = self.publics.insert(key, owner, 0);
        self.wrote("write", "publics", done)
    }

    pub fn remove_public(&mut self, key: EndpointKey) -> Result<(), Fault> {
        let done = gone(self.publics.remove(&key));
        self.wrote("remove from", "publics", done)
    }

    pub fn put_private(&mut self, key: [u8; 4], owner: &PublicOwner) -> Result<(), Fault> {
        let done = self.privates.insert(key, owner, 0);
        self.wrote("write", "privates", done)
    }

    pub fn remove_private(&mut self, key: [u8; 4]) -> Result<(), Fault> {
        let done = gone(self.privates.remove(&key));
        self.wrote("remove from", "privates", done)
    }

    pub fn epoch(&self) -> Result<u64, Fault> {
        Ok(self.control()?.epoch)
    }

    /// Sets the durations for the program, before any interface is plugged.
    pub fn set_clock(&mut self, durations: &Durations) -> Result<(), Fault> {
        let now = self.control()?;
        let wanted = Control {
            tick_ns: self.tick_ns,
            nat_idle_ns: durations.nat_idle_ns(),
            nat_closed_ns: durations.nat_closed_ns(),
            ..now
        };
        if now == wanted {
            return Ok(());
        }
        let done = self.control.set(0, wanted, 0);
        self.wrote("write", "control", done)
    }

    pub fn control(&self) -> Result<Control, Fault> {
        self.control.get(&0, 0).map_err(|source| Fault::map("read", "control", source))
    }

    /// The step that activates prepared changes.
    pub fn set_epoch(&mut self, epoch: u64) -> Result<(), Fault> {
        let control = Control { epoch, ..self.control()? };
        let done = self.control.set(0, control, 0);
        self.wrote("write", "control", done)
    }

    /// The counters of a slot, summed over the processors.
    pub fn counters(&self, slot: u16) -> Result<Counters, Fault> {
        let values = self.eni_counters.get(&slot.into(), 0);
        let values = values.map_err(|source| Fault::map("read", "eni_counters", source))?;
        let mut sum = Counters::ZERO;
        for value in values.iter() {
            sum.packets_out += value.packets_out;
            sum.bytes_out += value.bytes_out;
            sum.packets_in += value.packets_in;
            sum.bytes_in += value.bytes_in;
            for (total, part) in sum.drops.iter_mut().zip(value.drops) {
                *total += part;
            }
        }
        Ok(sum)
    }

    /// Resets the counters of a slot, if they are not zero.
    pub fn clear_counters(&mut self, slot: u16) -> Result<(), Fault> {
        let processors = self.eni_counters.get(&slot.into(), 0);
        let processors = processors.map_err(|source| Fault::map("read", "eni_counters", source))?;
        if processors.iter().all(|counters| *counters == Counters::ZERO) {
            return Ok(());
        }
        let zero = PerCpuValues::try_from(vec![Counters::ZERO; processors.len()])
            .map_err(|source| Fault::map("clear", "eni_counters", MapError::IoError(source)))?;
        let done = self.eni_counters.set(slot.into(), zero, 0);
        self.wrote("clear", "eni_counters", done)
    }

    /// The flows for which `is_meant` is true.
    pub fn flows_where(&self, is_meant: impl Fn(&Flow) -> bool) -> Result<Vec<FlowKey>, Fault> {
        let mut meant = Vec::new();
        read("flows", &self.flows, |key, flow| meant.extend(is_meant(&flow).then_some(key)))?;
        Ok(meant)
    }

    /// The rows of rings whose slot is selected.
    pub fn ring_rows_where(&self, is_meant: impl Fn(u32) -> bool) -> Result<Vec<RingKey>, Fault> {
        let mut meant = Vec::new();
        read("flow_ring", &self.flow_ring, |row, _: FlowKey| meant.extend(is_meant(row.slot).then_some(row)))?;
        Ok(meant)
    }

    /// Number of rows that a slot holds; for slot 0, the sum.
    pub fn rows_held(&self, slot: u16) -> Result<u32, Fault> {
        let fault = |map| move |source| Fault::map("read", map, source);
        let ring = self.rings.get(&slot.into(), 0).map_err(fault("rings"))?;
        let returned = self.returns.get(&slot.into(), 0).map_err(fault("returns"))?;
        Ok(ring.rows_held(&returned))
    }

    /// How full the flow table is.
    pub fn flow_table(&self) -> Result<FlowTable, Fault> {
        let fault = |map| move |source| Fault::map("read", map, source);
        let ring = self.rings.get(&0, 0).map_err(fault("rings"))?;
        let returned = self.returns.get(&0, 0).map_err(fault("returns"))?;
        let shares = self.shares()?;
        Ok(FlowTable {
            used: ring.rows_held(&returned),
            max: shares.floor * u32::from(SLOTS) + shares.shared_max,
            shared_used: ring.shared_held(&returned),
            shared_max: shares.shared_max,
            floor: shares.floor,
        })
    }

    /// Every ring by slot.
    pub fn rings(&self) -> Result<Vec<Ring>, Fault> {
        let mut rings = vec![Ring::default(); SLOTS.into()];
        read("rings", &self.rings, |slot: u32, ring| put(&mut rings, slot, ring))?;
        Ok(rings)
    }

    /// Numbers of rows given back, by slot.
    pub fn returns(&self) -> Result<Vec<Returned>, Fault> {
        let mut returns = vec![Returned::default(); SLOTS.into()];
        read("returns", &self.returns, |slot: u32, returned| put(&mut returns, slot, returned))?;
        Ok(returns)
    }

    pub fn set_returned(&mut self, slot: u32, returned: Returned) -> Result<(), Fault> {
        let done = self.returns.set(slot, returned, 0);
        self.wrote("write", "returns", done)
    }

    /// Division of the flow table.
    pub fn shares(&self) -> Result<Shares, Fault> {
        self.shares.get(&0, 0).map_err(|source| Fault::map("read", "shares", source))
    }

    /// Divides the flow table according to its size.
    pub fn set_shares(&mut self, of: impl FnOnce(u32) -> Shares) -> Result<(), Fault> {
        let info = self.flow_ring.map().info().map_err(|source| Fault::map("inspect", "flow_ring", source))?;
        let shares = of(info.max_entries());
        if self.shares()? == shares {
            return Ok(());
        }
        let done = self.shares.set(0, shares, 0);
        self.wrote("write", "shares", done)
    }

    /// Removes a flow and returns it.
    pub fn take_flow(&mut self, key: &FlowKey) -> Result<Option<Flow>, Fault> {
        self.writes += 1;
        batch::take(&self.flows, key).map_err(|cause| Fault::map("take from", "flows", MapError::IoError(cause)))
    }

    /// Puts a flow back, unless another one exists.
    pub fn put_back_flow(&mut self, key: &FlowKey, flow: &Flow) -> Result<(), Fault> {
        let done = unless_there(self.flows.insert(key, flow, BPF_NOEXIST));
        self.wrote("write", "flows", done)
    }

    /// The flow of a key.
    pub fn flow(&self, key: &FlowKey) -> Result<Option<Flow>, Fault> {
        match self.flows.get(key, 0) {
            Ok(flow) => Ok(Some(flow)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(source) => Err(Fault::map("read", "flows", source)),
        }
    }

    /// Passes every flow to `each`.
    pub fn each_flow(&self, each: impl FnMut(FlowKey, Flow)) -> Result<(), Fault> {
        read("flows", &self.flows, each)
    }

    /// Passes every row of the rings to `each`.
    pub fn each_row(&self, each: impl FnMut(RingKey, FlowKey)) -> Result<(), Fault> {
        read("flow_ring", &self.flow_ring, each)
    }

    /// Removes a row and returns the key of its flow.
    pub fn take_row(&mut self, row: &RingKey) -> Result<Option<FlowKey>, Fault> {
        self.writes += 1;
        batch::take(&self.flow_ring, row)
            .map_err(|cause| Fault::map("take from", "flow_ring", MapError::IoError(cause)))
    }

    /// Puts a row back, unless another one exists.
    pub fn put_back_row(&mut self, row: &RingKey, key: &FlowKey) -> Result<(), Fault> {
        let done = unless_there(self.flow_ring.insert(row, key, BPF_NOEXIST));
        self.wrote("write", "flow_ring", done)
    }

    pub fn remove_flow(&mut self, key: &FlowKey) -> Result<(), Fault> {
        let done = gone(self.flows.remove(key));
        self.wrote("remove from", "flows", done)
    }

    pub fn remove_ring_row(&mut self, row: &RingKey) -> Result<(), Fault> {
        let done = gone(self.flow_ring.remove(row));
        self.wrote("remove from", "flow_ring", done)
    }

    /// Resets the ring of a slot to an unused one. Its rows count as given back.
    pub fn clear_ring(&mut self, slot: u32) -> Result<(), Fault> {
        let fault = |map| move |source| Fault::map("read", map, source);
        let ring = self.rings.get(&slot, 0).map_err(fault("rings"))?;
        let returned = self.returns.get(&slot, 0).map_err(fault("returns"))?;
        if ring == Ring::default() && returned == Returned::default() {
            return Ok(());
        }
        let mut all = self.returns.get(&0, 0).map_err(fault("returns"))?;
        all.rows = all.rows.wrapping_add(ring.made.wrapping_sub(returned.rows));
        all.shared = all.shared.wrapping_add(ring.made_shared.wrapping_sub(returned.shared));
        let done = self.rings.set(slot, Ring::default(), 0);
        self.wrote("clear", "rings", done)?;
        self.set_returned(slot, Returned::default())?;
        self.set_returned(0, all)
    }

    /// Removes every flow with an end in `slot`, and the ring rows it owned.
    pub fn forget_flows(&mut self, slot: u16) -> Result<(), Fault> {
        let keys = self.flows_where(|flow| flow.slot.contains(&slot) || flow.owner == u32::from(slot))?;
        keys.iter().try_for_each(|key| self.remove_flow(key))?;
        let slot = u32::from(slot);
        let fault = |map| move |source| Fault::map("read", map, source);
        let ring = self.rings.get(&slot, 0).map_err(fault("rings"))?;
        let returned = self.returns.get(&slot, 0).map_err(fault("returns"))?;
        let end = ring.end.wrapping_sub(returned.shrunk);
        (0..end).try_for_each(|index| self.remove_ring_row(&RingKey { slot, index }))?;
        self.clear_ring(slot)
    }
}

fn put<T>(all: &mut [T], slot: u32, value: T) {
    if let Some(place) = all.get_mut(slot as usize) {
        *place = value;
    }
}

fn read<K: Pod, V: Pod>(name: &'static str, map: &impl IterableMap<K, V>, each: impl FnMut(K, V)) -> Result<(), Fault> {
    batch::read(map, each).map_err(|cause| Fault::map("read", name, MapError::IoError(cause)))
}

/// Leaving an existing entry unwritten counts as success.
fn unless_there(done: Result<(), MapError>) -> Result<(), MapError> {
    match done {
        Err(MapError::SyscallError(e)) if e.io_error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Removing an absent entry counts as success.
fn gone(done: Result<(), MapError>) -> Result<(), MapError> {
    match done {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(e)) if e.io_error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
