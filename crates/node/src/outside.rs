// SPDX-License-Identifier: Apache-2.0
//! The outside of a simulated host: the machine it is on.
//!
//! The pair between the two is made inside a wall on the machine, after the host's own way to the world, and the machine
//! leads to the host the public addresses that the host holds. What fails is tried again; packets inside the VPCs do
//! not depend on it. Not here: the devices and routes (`berth_fabric::outside`), and the wall
//! (`world`).

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use berth_fabric::kernel::Namespace;
use berth_fabric::outside::{self, OutsideConfig};
use berth_types::intent::HostIntent;
use berth_types::{FaultPoints, HostId};
use tokio::sync::Mutex;

use crate::blocking::blocking;
use crate::journal::Journal;
use crate::world::HostWorld;
use crate::{Fault, NodeConfig, Step, step};

/// The machine, as the outside of this host.
pub(crate) struct HostOutside {
    instance: String,
    host: HostId,
    machine: Arc<Namespace>,
    wall: HostWorld,
    fault_points: FaultPoints<Step>,
    state: Mutex<State>,
}

/// What this process has made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Unknown,
    Closed,
    Open(Led),
}

/// The pair, with the addresses that lead here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Led {
    config: OutsideConfig,
    addresses: BTreeSet<Ipv4Addr>,
}

impl HostOutside {
    /// None for a host that is its machine.
    pub fn of(config: &NodeConfig, host: HostId, journal: Journal) -> Option<Self> {
        let machine = config.outside.clone()?;
        let wall = HostWorld::on_machine(config, machine.clone(), journal);
        let (instance, fault_points) = (config.instance.clone(), config.fault_points.clone());
        Some(Self { instance, host, machine, wall, fault_points, state: Mutex::default() })
    }

    /// Makes the outside as the intent has it, once the way to the world is.
    pub async fn follow(&self, intent: &HostIntent) -> Result<(), Fault> {
        let mut state = self.state.lock().await;
        let Some((&pool, world)) = intent.worlds.first_key_value() else {
            if *state != State::Closed {
                *state = State::Unknown;
                let (machine, instance) = (self.machine.clone(), self.instance.clone());
                on_machine("leave", move || outside::close(&machine, &instance)).await?;
                self.pass(Step::OutsideClosed);
                self.wall.settle(intent).await?;
                *state = State::Closed;
            }
            return Ok(());
        };
        let config = OutsideConfig { instance: self.instance.clone(), pool, host_address: world.host_address };
        let own = intent.public_addresses.iter().filter(|(_, owner)| owner.host == self.host);
        let wanted = Led { config, addresses: own.map(|(address, _)| *address).collect() };
        if *state == State::Open(wanted.clone()) {
            return Ok(());
        }
        self.wall.wall(intent).await?;
        let is_made = matches!(&*state, State::Open(led) if led.config == wanted.config);
        *state = State::Unknown;
        if !is_made {
            let (machine, config) = (self.machine.clone(), wanted.config.clone());
            on_machine("reach", move || outside::open(&machine, &config)).await?;
            self.pass(Step::OutsideMade);
        }
        let (machine, led) = (self.machine.clone(), wanted.clone());
        on_machine("be reached from", move || outside::lead(&machine, &led.config, &led.addresses)).await?;
        self.pass(Step::OutsideLed);
        self.wall.settle(intent).await?;
        *state = State::Open(wanted);
        Ok(())
    }

    fn pass(&self, step: Step) {
        step::pass(&self.fault_points, step);
    }
}

/// Removes the pair to the machine. Its wall is removed with that of the host. Blocks.
pub(crate) fn destroy(config: &NodeConfig) -> Result<(), Fault> {
    let Some(machine) = &config.outside else { return Ok(()) };
    outside::close(machine, &config.instance).map_err(Fault::network("leave", ON))
}

/// The object of a step.
const ON: &str = "the machine this host is on";

async fn on_machine(
    step: &'static str,
    work: impl FnOnce() -> Result<(), berth_fabric::Fault> + Send + 'static,
) -> Result<(), Fault> {
    blocking("network worker", move || work().map_err(Fault::network(step, ON))).await
}
