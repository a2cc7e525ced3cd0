// SPDX-License-Identifier: Apache-2.0
//! The hosts of an installation on this machine: one in the namespace `berth up` is called in, or the several of
//! `berth up --hosts N`.
//!
//! A simulated host is an ordinary node with its own place (`<data>/hosts/N`, `<run>/hosts/N`, instance `NAME-N`) and a
//! network namespace used as the host's, kept by a mount at `<run>/hosts/N/network`. The list of hosts is read from the
//! folders, so that hosts of an earlier, larger N are found as well. Not here: the work of a node.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use berth_fabric::kernel::{Namespace, sysctl};
use berth_types::HostId;
use berth_types::link::Capacity;

use crate::installation::Installation;

/// Zones of every region; hosts are spread over them.
const ZONES: [char; 3] = ['a', 'b', 'c'];

/// A host of this machine.
#[derive(Clone, Debug)]
pub struct LocalHost {
    /// Its number among the simulated ones; none for the machine itself.
    pub number: Option<u32>,
    /// Its folders.
    pub installation: Installation,
}

impl LocalHost {
    /// The simulated host with this number.
    pub fn simulated(installation: &Installation, number: u32) -> Self {
        Self { number: Some(number), installation: installation.of_host(number) }
    }

    /// File of the namespace used as the host's; none where that is the caller's namespace.
    pub fn namespace(&self) -> Option<PathBuf> {
        self.number.map(|_| self.installation.run.join("network"))
    }

    /// True while the host has a data path, whether or not its node runs.
    pub fn is_up(&self) -> bool {
        self.installation.run.join("netns/fabric").exists()
    }

    /// True while the host may have objects to remove: it has run since the last removal, or the removal failed.
    pub fn has_remains(&self) -> bool {
        self.installation.run.exists() || berth_node::journal_file(&self.installation.data).exists()
    }

    /// Its container instance, if its node has ever run.
    pub fn id(&self) -> Result<Option<HostId>> {
        Ok(berth_node::identity(&self.installation.data)?.map(|identity| identity.host))
    }

    /// Creates its namespace, with `lo` up, unless it exists.
    pub fn make_namespace(&self) -> Result<()> {
        let Some(path) = self.namespace() else { return Ok(()) };
        let make = || {
            let namespace = Namespace::create(&path)?;
            let mut inside = namespace.netlink()?;
            // The node inside could not reach the machine's list of allowed congestion controls; here it can be
            // extended.
            if let Err(cause) = sysctl::set_congestion_control(&namespace, "cubic") {
                eprintln!("{self}: tasks keep the machine's congestion control, see `berth doctor`: {cause}");
            }
            match inside.link_by_name("lo")? {
                Some(lo) => inside.set_up(lo.index),
                None => Ok(()),
            }
        };
        make().with_context(|| format!("cannot create the network namespace of {self}"))
    }

    fn is_called(&self, name: &str) -> Result<bool> {
        let is_its_number = self.number.is_some_and(|number| name == number.to_string());
        Ok(is_its_number || self.id()?.is_some_and(|id| id.as_str() == name))
    }
}

impl fmt::Display for LocalHost {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(number) => write!(out, "host {number}"),
            None => write!(out, "this host"),
        }
    }
}

/// Every host with traces on this machine: the machine itself first, then the simulated ones by number.
pub fn local(installation: &Installation) -> Result<Vec<LocalHost>> {
    let mut numbers = BTreeSet::new();
    for folder in [installation.run.join("hosts"), installation.data.join("hosts")] {
        match std::fs::read_dir(&folder) {
            Ok(entries) => {
                for entry in entries {
                    numbers.extend(number_of(&entry?.file_name().to_string_lossy()));
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot list {}", folder.display())),
        }
    }
    let machine = LocalHost { number: None, installation: installation.clone() };
    let is_machine = machine.installation.data.join("node").exists() || machine.is_up();
    let simulated = numbers.into_iter().map(|number| LocalHost::simulated(installation, number));
    Ok(is_machine.then_some(machine).into_iter().chain(simulated).collect())
}

/// The hosts that have a data path.
pub fn up(installation: &Installation) -> Result<Vec<LocalHost>> {
    Ok(local(installation)?.into_iter().filter(LocalHost::is_up).collect())
}

/// The hosts that are up, or the one of them with this number or container instance id or ARN.
pub fn chosen(installation: &Installation, name: Option<&str>) -> Result<Vec<LocalHost>> {
    let mut up = up(installation)?;
    let Some(name) = name else { return Ok(up) };
    let id = name.rsplit('/').next().unwrap_or(name);
    for at in 0..up.len() {
        if up[at].is_called(id)? {
            return Ok(vec![up.swap_remove(at)]);
        }
    }
    bail!("no host {name} is up here; `berth status` lists hosts by number and container instance id")
}

/// The host with this id, if it is one of this machine.
pub fn with_id(installation: &Installation, id: &HostId) -> Result<Option<LocalHost>> {
    for host in local(installation)? {
        if host.id()?.as_ref() == Some(id) {
            return Ok(Some(host));
        }
    }
    Ok(None)
}

/// Capacity of one of several hosts that share the machine.
pub fn share_of(machine: Capacity, hosts: u32) -> Capacity {
    Capacity {
        cpu_units: machine.cpu_units / hosts,
        memory_mib: machine.memory_mib / hosts,
        enis: machine.enis / hosts,
    }
}

/// Availability zone of a host: the zones of the region in turn.
pub fn zone_of(number: u32, region: &str) -> String {
    let turn = number.saturating_sub(1) as usize % ZONES.len();
    format!("{region}{}", ZONES[turn])
}

/// The number in a folder's name, if `berth up` could have made the folder.
fn number_of(name: &str) -> Option<u32> {
    name.parse().ok().filter(|number: &u32| *number > 0 && number.to_string() == name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn installation(folder: &std::path::Path) -> Installation {
        Installation { data: folder.join("data"), run: folder.join("run"), instance: "lab".into() }
    }

    #[test]
    fn the_machine_is_divided_and_nothing_is_offered_twice() {
        let machine = Capacity { cpu_units: 2048, memory_mib: 4001, enis: 1000 };
        assert_eq!(share_of(machine, 1), machine);
        let share = share_of(machine, 3);
        assert_eq!(share, Capacity { cpu_units: 682, memory_mib: 1333, enis: 333 });
    }

    #[test]
    fn zones_are_taken_in_turn() {
        let zones: Vec<String> = (1..=4).map(|number| zone_of(number, "eu-west-1")).collect();
        assert_eq!(zones, ["eu-west-1a", "eu-west-1b", "eu-west-1c", "eu-west-1a"]);
    }

    #[test]
    fn a_simulated_host_has_folders_and_a_name_of_its_own() {
        let host = LocalHost::simulated(&installation(std::path::Path::new("/x")), 2);
        assert_eq!(host.installation.data, PathBuf::from("/x/data/hosts/2"));
        assert_eq!(host.installation.run, PathBuf::from("/x/run/hosts/2"));
        assert_eq!(host.installation.instance, "lab-2");
        assert_eq!(host.namespace(), Some(PathBuf::from("/x/run/hosts/2/network")));
        assert_eq!(LocalHost { number: None, ..host }.namespace(), None);
    }

    #[test]
    fn hosts_are_found_by_their_folders_and_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let installation = installation(folder.path());
        let numbers = || local(&installation).unwrap().iter().map(|host| host.number).collect::<Vec<_>>();
        assert!(numbers().is_empty());
        for path in ["data/node", "data/hosts/10/node", "data/hosts/2", "run/hosts/2/netns/fabric", "run/hosts/02"] {
            std::fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        assert_eq!(numbers(), [None, Some(2), Some(10)]);
        let id = HostId::from_bits(7);
        let identity = serde_json::json!({ "host": id, "instance": "i-0123456789abcdef0" });
        std::fs::create_dir_all(folder.path().join("data/hosts/2/node")).unwrap();
        std::fs::write(folder.path().join("data/hosts/2/node/identity.json"), identity.to_string()).unwrap();
        assert_eq!(with_id(&installation, &id).unwrap().unwrap().number, Some(2));
        let chosen = |name: Option<&str>| chosen(&installation, name).map(|hosts| hosts.len());
        let arn = format!("arn:aws:ecs:us-west-2:123456789012:container-instance/default/{id}");
        for name in [None, Some("2"), Some(id.as_str()), Some(arn.as_str())] {
            assert_eq!(chosen(name).unwrap(), 1, "{name:?}");
        }
        // It has a folder, but no data path.
        assert!(chosen(Some("10")).unwrap_err().to_string().contains("no host 10 is up"));
    }
}
