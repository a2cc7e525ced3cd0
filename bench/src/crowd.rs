// SPDX-License-Identifier: Apache-2.0
//! A thousand interfaces on one host: the cost of creating one among the others, and the cost of a packet then.

use std::net::Ipv4Addr;
use std::time::Instant;

use anyhow::{Context, Result};
use berth_fabric::Inner;
use berth_types::intent::{EniIntent, GroupSetIntent, HostIntent, SubnetIntent, VpcIntent};
use berth_types::{EniId, GroupSetId, HostId, Ipv4Cidr, MacAddress, SubnetId, Vni, VpcId};

use crate::table;
use crate::topology::{Ground, add_interface};

/// Interfaces.
pub const CROWD: u16 = 1000;
/// Number of first and of last interfaces that are compared.
const COMPARED: usize = 100;
const VNI: Vni = Vni(77);
const GROUP_SET: GroupSetId = GroupSetId(77);
const CIDR: &str = "10.8.0.0/16";

/// Median, in milliseconds.
pub struct Making {
    pub first_ms: f64,
    pub last_ms: f64,
}

impl Ground {
    /// Creates interfaces in addition to the existing ones; all in one namespace, since they carry no traffic.
    pub fn crowd(&mut self) -> Result<Making> {
        let namespace = self.namespace("crowd")?;
        let mut intent = self.intent()?;
        let model = intent.enis.values().next().context("no interface was made")?.clone();
        add_crowd(&mut intent, &model)?;
        let fabric = self.made_fabric()?;
        fabric.program(&intent)?;
        let mut times_ms = Vec::new();
        for nth in 0..CROWD {
            let (id, name) = (eni_id(nth), format!("c{nth}"));
            let begin = Instant::now();
            fabric.plug(&id, &intent.enis[&id], Inner::InNamespace { ns: &namespace, name: &name })?;
            times_ms.push(begin.elapsed().as_secs_f64() * 1e3);
        }
        let mut last = times_ms.split_off(times_ms.len() - COMPARED);
        let mut first = times_ms[..COMPARED].to_vec();
        Ok(Making { first_ms: table::percentile(&mut first, 0.5), last_ms: table::percentile(&mut last, 0.5) })
    }
}

fn eni_id(nth: u16) -> EniId {
    EniId::from_bits(0x10_000 + u128::from(nth))
}

/// Interfaces in a separate VPC, all with the settings and the rules of an existing one.
fn add_crowd(intent: &mut HostIntent, model: &EniIntent) -> Result<()> {
    let (cidr, subnet): (Ipv4Cidr, SubnetId) = (CIDR.parse()?, SubnetId::from_bits(77));
    let subnets = [(subnet.clone(), SubnetIntent { cidr, route_table: None, network_acl: None })].into();
    intent
        .vpcs
        .insert(VNI, VpcIntent { vpc: VpcId::from_bits(77), cidrs: vec![cidr], subnets, internet_gateway: None });
    let groups = intent.group_sets[&model.group_set].groups.clone();
    intent.group_sets.insert(GROUP_SET, GroupSetIntent { vni: VNI, groups });
    for nth in 0..CROWD {
        let [high, low] = nth.to_be_bytes();
        let eni = EniIntent {
            vni: VNI,
            vpc: None,
            subnet: subnet.clone(),
            subnet_cidr: cidr,
            vpc_cidrs: vec![cidr],
            mac: MacAddress([2, 8, 8, 8, high, low]),
            // The first addresses of a subnet are reserved.
            address: Ipv4Addr::new(10, 8, high + 1, low),
            group_set: GROUP_SET,
            ..model.clone()
        };
        add_interface(intent, &HostId::from_bits(1), eni_id(nth), eni);
    }
    Ok(())
}
