// SPDX-License-Identifier: Apache-2.0
//! The limits of interfaces and NAT gateways. A new limit begins with an unused one; the others keep their use.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

use berth_types::intent::{HostIntent, Rate};
use berth_types::{EniId, Vni};

use super::Fault;
use super::data_path::Fabric;
use super::held::Held;
use crate::bpf::layout::{EndpointKey, RateRow, SLOTS};
use crate::bpf::{Maps, pins};

/// Packets at the limit's rate that may follow each other at once.
const BURST_NS: u64 = 100_000_000;
/// The burst has room for one packet of any size, as the kernel hands large ones over.
const BURST_BYTES_MIN: u64 = 256 << 10;

/// A limit as a row has it: cost of a byte, and burst.
type Limit = (u64, u64);

fn limit(rate: Rate) -> Limit {
    let cost = (8_000_000_000 << 16) / rate.bits_per_second.max(1);
    let room = u64::try_from((u128::from(cost) * u128::from(BURST_BYTES_MIN)) >> 16).unwrap_or(u64::MAX / 2);
    (cost.max(1), BURST_NS.max(room))
}

/// The rows that an intent wants.
fn wanted(intent: &HostIntent, held: &Held) -> BTreeMap<u32, Limit> {
    let enis = intent.enis.iter().filter_map(|(id, eni)| {
        let slot = held.plugged.get(id)?.slot;
        Some((u32::from(slot), limit(eni.rate?)))
    });
    let nats = intent.nat_gateways.values().filter_map(|gateway| {
        let first = gateway.addresses.first()?.octets();
        let is_its = |nat: &crate::bpf::layout::Nat| (nat.vni, nat.address[0]) == (gateway.vni.0, first);
        let number = held.nats.iter().find(|(_, nat)| is_its(nat)).map(|(number, _)| *number)?;
        Some((u32::from(SLOTS) + number, limit(gateway.rate?)))
    });
    enis.chain(nats).collect()
}

impl Fabric {
    /// Writes the limits of an intent, after its interfaces and gateways.
    pub(super) fn settle_rates(&mut self, intent: &HostIntent) -> Result<(), Fault> {
        let wanted = wanted(intent, self.held()?);
        let gone: Vec<u32> = self.rates()?.keys().filter(|row| !wanted.contains_key(row)).copied().collect();
        gone.into_iter().try_for_each(|row| self.limit(row, None))?;
        wanted.into_iter().try_for_each(|(row, limit)| self.limit(row, Some(limit)))
    }

    /// Writes the limit of a slot that an interface takes or leaves.
    pub(super) fn limit_slot(&mut self, slot: u16, rate: Option<Rate>) -> Result<(), Fault> {
        self.limit(slot.into(), rate.map(limit))
    }

    fn limit(&mut self, row: u32, limit: Option<Limit>) -> Result<(), Fault> {
        if self.rates()?.get(&row) == limit.as_ref() {
            return Ok(());
        }
        let (cost, burst_ns) = limit.unwrap_or_default();
        self.maps.put_rate(row, &RateRow { cost, burst_ns, ..RateRow::default() })?;
        match limit {
            Some(limit) => self.rates()?.insert(row, limit),
            None => self.rates()?.remove(&row),
        };
        Ok(())
    }

    /// The limits in effect.
    fn rates(&mut self) -> Result<&mut BTreeMap<u32, Limit>, Fault> {
        let rates = match self.rates.take() {
            Some(rates) => rates,
            None => self.maps.rates()?.into_iter().map(|(row, rate)| (row, (rate.cost, rate.burst_ns))).collect(),
        };
        Ok(self.rates.insert(rates))
    }
}

/// Packets that limits have dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exceeded {
    enis: BTreeMap<EniId, u64>,
    nats: BTreeMap<EndpointKey, u64>,
}

impl Exceeded {
    /// Reads the pinned maps of a running instance. `run_dir` is its run folder, for the error when there is none.
    pub fn read(instance: &str, run_dir: &Path) -> Result<Self, Fault> {
        let maps = Maps::open(&pins::of_running(instance, run_dir)?)?;
        let rows: BTreeMap<u32, u64> = maps.rates()?.into_iter().map(|(row, rate)| (row, rate.dropped)).collect();
        let enis = maps.enis()?.into_iter();
        let nats = maps.nats()?.into_iter();
        Ok(Self {
            enis: enis.filter_map(|(id, eni)| Some((id, *rows.get(&u32::from(eni.slot))?))).collect(),
            nats: nats
                .filter_map(|(number, nat)| {
                    let key = EndpointKey { vni: nat.vni, address: nat.address[0] };
                    Some((key, *rows.get(&(u32::from(SLOTS) + number))?))
                })
                .collect(),
        })
    }

    /// Packets from and to an interface; `None` without a limit.
    pub fn of_eni(&self, id: &EniId) -> Option<u64> {
        self.enis.get(id).copied()
    }

    /// Packets through the NAT gateway of a VPC with this primary address; `None` without a limit.
    pub fn of_nat(&self, vni: Vni, address: Ipv4Addr) -> Option<u64> {
        self.nats.get(&EndpointKey { vni: vni.0, address: address.octets() }).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_lets_a_second_of_its_rate_take_a_second() {
        for bits_per_second in [1_000, 1_000_000, 100_000_000, 100_000_000_000] {
            let (cost, burst_ns) = limit(Rate { bits_per_second });
            let second = (u128::from(cost) * u128::from(bits_per_second / 8)) >> 16;
            assert!(second.abs_diff(1_000_000_000) < 10_000_000, "{bits_per_second}: {second}");
            assert!(u128::from(burst_ns) >= (u128::from(cost) * (256 << 10)) >> 16);
        }
    }
}
