// SPDX-License-Identifier: Apache-2.0
//! Limits of interfaces and NAT gateways. AWS's limits follow from instance types and services, and no operation sets them;
//! here the operator does (`berth rate`).

use berth_shapes::Ec2ErrorCode as Code;
use berth_state::vpc::{Eni, NatGateway, NatGatewayState};
use berth_state::{Change, Draft, Refusal, Snapshot};
use berth_types::Vni;
use berth_types::admin::{Limited, RateOf};
use berth_types::intent::Rate;

use super::{explain, find};

/// The limit of a NAT gateway, or of the interface that a task, an instance, an address or an interface's id names.
pub fn of(snap: &Snapshot, target: &str) -> Result<RateOf, Refusal> {
    Ok(match named(snap, target)? {
        Named::Nat(gateway) => of_nat(snap, &gateway),
        Named::Eni(eni) => RateOf { limited: Limited::Eni(eni.id.clone()), rate: eni.rate },
    })
}

/// Every limit there is.
pub fn all(snap: &Snapshot) -> Vec<RateOf> {
    let enis = snap.vpc().enis.values().filter(|eni| eni.rate.is_some());
    let enis = enis.map(|eni| RateOf { limited: Limited::Eni(eni.id.clone()), rate: eni.rate });
    let nats = snap.vpc().nat_gateways.values().filter(|gateway| gateway.rate.is_some());
    enis.chain(nats.map(|gateway| of_nat(snap, gateway))).collect()
}

fn of_nat(snap: &Snapshot, gateway: &NatGateway) -> RateOf {
    let vni = snap.vpc().vpcs.get(&gateway.vpc).map_or(Vni(0), |vpc| vpc.vni);
    let address = gateway.addresses.first().and_then(|address| address.private);
    RateOf { limited: Limited::NatGateway { id: gateway.id.clone(), vni, address }, rate: gateway.rate }
}

/// Sets or removes a limit.
pub fn set(snap: &Snapshot, target: &str, rate: Option<Rate>) -> Result<Change<RateOf>, Refusal> {
    if rate.is_some_and(|rate| !(Rate::MIN..=Rate::MAX).contains(&rate.bits_per_second)) {
        return Err(invalid(format!("A rate is from {} to {} bits per second.", Rate::MIN, Rate::MAX)));
    }
    let mut draft = Draft::of(snap);
    let set = match named(snap, target)? {
        Named::Nat(gateway) => {
            let gateway = NatGateway { rate, ..*gateway };
            let set = of_nat(snap, &gateway);
            draft.put(gateway);
            set
        }
        Named::Eni(eni) => {
            let limited = Limited::Eni(eni.id.clone());
            draft.put(Eni { rate, ..*eni });
            RateOf { limited, rate }
        }
    };
    Ok(draft.change(set))
}

enum Named {
    Nat(Box<NatGateway>),
    Eni(Box<Eni>),
}

fn named(snap: &Snapshot, target: &str) -> Result<Named, Refusal> {
    if target.starts_with("nat-") {
        let gateway = find::nat_gateway(snap, target)?;
        return match gateway.state {
            NatGatewayState::Pending | NatGatewayState::Available => Ok(Named::Nat(Box::new(gateway.as_ref().clone()))),
            _ => Err(invalid(format!("The NAT gateway '{target}' is deleted or has failed."))),
        };
    }
    match explain::interface(snap, target)? {
        Some(eni) => Ok(Named::Eni(Box::new(eni.as_ref().clone()))),
        None => Err(invalid(format!(
            "\"{target}\" names no interface and no NAT gateway; write an id (eni-..., nat-..., i-...) or a task."
        ))),
    }
}

fn invalid(words: String) -> Refusal {
    Refusal::new(Code::InvalidParameterValue, words)
}
