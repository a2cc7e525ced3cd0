// SPDX-License-Identifier: Apache-2.0
//! Which range, addresses and ports containers get. Pure: what the host has is handed in.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use berth_types::TaskId;
use berth_types::intent::{PortIntent, TaskIntent};
use berth_types::mode::{HostPort, NetworkBinding, NetworkMode, Protocol};
use ipnet::Ipv4Net;

use super::place::{Bridge, NetworkPlace, PlaceFault};
use crate::network::METADATA_ADDRESS;

/// Ports the host never chooses: SSH's, Docker's and the ECS agent's.
const RESERVED: [u16; 6] = [22, 2375, 2376, 51678, 51679, 51680];

/// The facts about the host that the choices depend on.
#[derive(Clone, Debug)]
pub(super) struct Look {
    /// Destinations of its routes, the default route left out.
    pub routes: Vec<Ipv4Net>,
    /// Names of its links.
    pub links: BTreeSet<String>,
    /// `net.ipv4.ip_forward` as it is.
    pub ip_forward: String,
    /// Devices that forward.
    pub forwarding: Vec<String>,
    /// Ports it takes for connections of its own, out of which containers get theirs.
    pub ephemeral: RangeInclusive<u16>,
    /// Ports with a listener.
    pub listening: BTreeSet<HostPort>,
}

/// The bridge to make: the first name and the first of Docker's ranges that are free here.
pub(super) fn bridge(look: &Look) -> Option<Bridge> {
    let name = (0..).map(|number: u32| format!("berth{number}")).find(|name| !look.links.contains(name))?;
    let wide = (17..32).map(|second| Ipv4Net::new_assert(Ipv4Addr::new(172, second, 0, 0), 16));
    let narrow = (0..16).map(|third| Ipv4Net::new_assert(Ipv4Addr::new(192, 168, third * 16, 0), 20));
    let is_free = |range: &Ipv4Net| !look.routes.iter().any(|route| route.contains(range) || range.contains(route));
    let network = wide.chain(narrow).find(is_free)?;
    let forwarding = if look.ip_forward == "0" { look.forwarding.clone() } else { Vec::new() };
    Some(Bridge { name, network, ip_forward: look.ip_forward.clone(), forwarding })
}

/// Where each container of a task is to be. `others` are the places that are given already.
pub(super) fn places(
    id: &TaskId,
    task: &TaskIntent,
    names: &[Names],
    bridge: Option<&Bridge>,
    others: &[&NetworkPlace],
    look: &Look,
    next_port: &mut u16,
) -> Result<Vec<NetworkPlace>, PlaceFault> {
    let mut addresses: BTreeSet<Ipv4Addr> = others.iter().filter_map(|place| place.address).collect();
    let mut ports: BTreeSet<HostPort> =
        others.iter().flat_map(|place| &place.bindings).flat_map(NetworkBinding::host_ports).collect();
    let mut places = Vec::new();
    for (index, (container, names)) in task.containers.iter().zip(names).enumerate() {
        let mut place = NetworkPlace {
            task: id.clone(),
            container: container.name.clone(),
            mode: task.network_mode,
            namespace: None,
            link: None,
            address: None,
            bindings: Vec::new(),
        };
        if container.disable_networking {
            place.mode = NetworkMode::None;
        }
        match (place.mode, bridge) {
            (NetworkMode::Bridge, Some(bridge)) => {
                let address = address(bridge.network, &addresses).ok_or(PlaceFault::NoAddress(bridge.network))?;
                addresses.insert(address);
                place.namespace = Some(names.namespace.clone());
                place.link = Some(names.link.clone());
                place.address = Some(address);
                let mut free = Free { taken: &mut ports, look, next_port };
                for port in &container.ports {
                    place.bindings.push(free.binding(index, port)?);
                }
            }
            (NetworkMode::Host, _) => place.bindings = container.ports.iter().map(same).collect(),
            (NetworkMode::None, _) => place.namespace = Some(names.namespace.clone()),
            // A task with an interface has no place of this kind, nor one of a bridge without a bridge.
            (NetworkMode::Awsvpc, _) | (NetworkMode::Bridge, None) => {}
        }
        places.push(place);
    }
    Ok(places)
}

/// Names a container's place takes on the host, chosen with its runtime id.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// File of its namespace.
    pub namespace: String,
    /// Outer end of its pair.
    pub link: String,
}

/// The lowest free address; the first of the range is the bridge's.
fn address(network: Ipv4Net, used: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    network.hosts().skip(1).find(|address| !used.contains(address))
}

/// In network mode host the ports of a container are the host's.
fn same(port: &PortIntent) -> NetworkBinding {
    NetworkBinding {
        bind_ip: Ipv4Addr::UNSPECIFIED,
        container_port: port.container_port,
        host_port: port.container_port,
        protocol: port.protocol,
        last_container_port: port.last_container_port,
    }
}

struct Free<'a> {
    taken: &'a mut BTreeSet<HostPort>,
    look: &'a Look,
    next_port: &'a mut u16,
}

impl Free<'_> {
    fn is_free(&self, port: HostPort) -> bool {
        !self.taken.contains(&port) && !self.look.listening.contains(&port)
    }

    fn binding(&mut self, container: usize, wanted: &PortIntent) -> Result<NetworkBinding, PlaceFault> {
        let protocol = wanted.protocol;
        let count = wanted.last_container_port.map_or(0, |last| last.saturating_sub(wanted.container_port)) + 1;
        let host_port = match wanted.host_port {
            Some(port) if self.is_free(HostPort { protocol, port }) => port,
            Some(port) => return Err(PlaceFault::PortTaken { container, port, protocol }),
            None => self.run(count, protocol).ok_or(PlaceFault::NoPort { container, count, protocol })?,
        };
        let binding = NetworkBinding { host_port, ..same(wanted) };
        self.taken.extend(binding.host_ports());
        Ok(binding)
    }

    /// The first of so many free ports in a row. It goes on after those given last, so that a port that was given back
    /// is not at once somebody else's.
    fn run(&mut self, count: u16, protocol: Protocol) -> Option<u16> {
        let (first, last) = (*self.look.ephemeral.start(), *self.look.ephemeral.end());
        let is_free = |start: u16| {
            let Some(end) = start.checked_add(count - 1).filter(|end| *end <= last) else { return false };
            (start..=end).all(|port| !RESERVED.contains(&port) && self.is_free(HostPort { protocol, port }))
        };
        let from = (*self.next_port).clamp(first, last);
        let found = (from..=last).chain(first..from).find(|start| is_free(*start))?;
        *self.next_port = found.saturating_add(count);
        Some(found)
    }
}

/// Ports with a listener in a table of `/proc/net`: TCP sockets that listen, UDP sockets without a peer. The metadata
/// endpoint has an address for itself, which no published port touches.
pub(super) fn listening(table: &str, protocol: Protocol) -> impl Iterator<Item = HostPort> + '_ {
    let state = match protocol {
        Protocol::Tcp => "0A",
        Protocol::Udp => "07",
    };
    let endpoint = format!("{:08X}:", u32::from_ne_bytes(METADATA_ADDRESS.octets()));
    table.lines().skip(1).filter_map(move |line| {
        let mut words = line.split_whitespace().skip(1);
        let (local, _, seen) = (words.next()?, words.next()?, words.next()?);
        let port = u16::from_str_radix(local.rsplit(':').next()?, 16).ok()?;
        (seen == state && !local.starts_with(&endpoint)).then_some(HostPort { protocol, port })
    })
}

/// Reads `net.ipv4.ip_local_port_range`; where there is none, what the ECS agent takes.
pub(super) fn ephemeral(text: &str) -> RangeInclusive<u16> {
    let mut words = text.split_whitespace().map(|word| word.parse::<u16>().ok());
    match (words.next().flatten(), words.next().flatten()) {
        (Some(first), Some(last)) if first <= last => first.max(1024)..=last,
        _ => 49153..=65535,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::container::spec::tests::{container, task};
    use expect_test::expect;

    fn look() -> Look {
        Look {
            routes: Vec::new(),
            links: BTreeSet::from(["lo".to_owned()]),
            ip_forward: "0".to_owned(),
            forwarding: Vec::new(),
            ephemeral: 32768..=32777,
            listening: BTreeSet::new(),
        }
    }

    fn port(container_port: u16, last: Option<u16>, host_port: Option<u16>) -> PortIntent {
        PortIntent { container_port, last_container_port: last, host_port, protocol: Protocol::Tcp }
    }

    fn choose(
        ports: Vec<PortIntent>,
        others: &[&NetworkPlace],
        look: &Look,
        next: &mut u16,
    ) -> Result<Vec<NetworkPlace>, String> {
        let mut task = task();
        task.network_mode = NetworkMode::Bridge;
        task.containers = vec![berth_types::intent::ContainerIntent { ports, ..container() }];
        let names = [Names { namespace: "n".to_owned(), link: "l".to_owned() }];
        let bridge = bridge(look);
        places(&TaskId::from_bits(1), &task, &names, bridge.as_ref(), others, look, next).map_err(|f| f.to_string())
    }

    fn shown(places: &Result<Vec<NetworkPlace>, String>) -> String {
        match places {
            Ok(places) => places
                .iter()
                .map(|place| {
                    let ports: Vec<String> =
                        place.bindings.iter().map(|b| format!("{}>{}", b.host_port, b.container_port)).collect();
                    format!("{} {}", place.address.unwrap(), ports.join(","))
                })
                .collect(),
            Err(why) => why.clone(),
        }
    }

    #[test]
    fn a_range_is_chosen_that_no_route_of_the_host_touches() {
        let range = |routes: &[&str]| {
            let routes = routes.iter().map(|text| text.parse().unwrap()).collect();
            bridge(&Look { routes, ..look() }).map(|bridge| bridge.network.to_string()).unwrap_or_default()
        };
        assert_eq!(range(&[]), "172.17.0.0/16");
        assert_eq!(range(&["172.17.5.0/24", "10.0.0.0/8"]), "172.18.0.0/16");
        assert_eq!(range(&["172.16.0.0/12"]), "192.168.0.0/20");
        assert_eq!(range(&["172.16.0.0/12", "192.168.1.0/24"]), "192.168.16.0/20");
        assert_eq!(range(&["172.16.0.0/12", "192.168.0.0/16"]), "");
        let links = BTreeSet::from(["berth0".to_owned(), "berth1".to_owned()]);
        assert_eq!(bridge(&Look { links, ..look() }).unwrap().name, "berth2");
    }

    #[test]
    fn addresses_and_ports_are_given_once() {
        let (mut look, mut next) = (look(), 0);
        look.listening.insert(HostPort { protocol: Protocol::Tcp, port: 32768 });
        let ports = vec![port(80, None, None), port(90, Some(92), None), port(81, None, Some(8080))];
        let first = choose(ports.clone(), &[], &look, &mut next);
        let held = first.clone().unwrap();
        let second = choose(vec![port(80, None, None)], &[&held[0]], &look, &mut next);
        let third = choose(ports, &[&held[0]], &look, &mut next);
        let again = choose(vec![port(80, None, None)], &[], &look, &mut next);
        expect![[r#"
            172.17.0.2 32769>80,32770>90,8080>81
            172.17.0.3 32773>80
            Bind for 0.0.0.0:8080 failed: port is already allocated
            172.17.0.2 32777>80"#]]
        .assert_eq(&[first, second, third, again].iter().map(shown).collect::<Vec<_>>().join("\n"));
        look.listening.insert(HostPort { protocol: Protocol::Tcp, port: 443 });
        let taken = choose(vec![port(80, None, Some(443))], &[], &look, &mut next);
        assert_eq!(shown(&taken), "Bind for 0.0.0.0:443 failed: port is already allocated");
        let many = choose(vec![port(1, Some(11), None)], &[], &look, &mut next);
        assert_eq!(shown(&many), "the host has no 11 free tcp ports in a row for the container");
    }

    #[test]
    fn a_container_without_networking_has_a_namespace_and_nothing_in_it() {
        let mut task = task();
        let names = [Names { namespace: "n".to_owned(), link: "l".to_owned() }];
        let ports = vec![port(80, None, Some(8080))];
        task.containers = vec![berth_types::intent::ContainerIntent { ports, disable_networking: true, ..container() }];
        for mode in [NetworkMode::Bridge, NetworkMode::Host, NetworkMode::None] {
            task.network_mode = mode;
            let bridge = bridge(&look());
            let places = places(&TaskId::from_bits(1), &task, &names, bridge.as_ref(), &[], &look(), &mut 0).unwrap();
            let place = &places[0];
            assert_eq!((place.mode, place.namespace.as_deref()), (NetworkMode::None, Some("n")));
            assert_eq!((&place.link, place.address, place.bindings.len()), (&None, None, 0));
        }
    }

    #[test]
    fn tables_of_the_kernel_are_read() {
        let tcp = "  sl  local_address rem_address   st tx_queue\n\
                   0: 0100007F:11D6 00000000:0000 0A 00000000:00000000\n\
                   2: 02AAFEA9:0050 00000000:0000 0A 00000000:00000000\n\
                   1: 0100007F:9C40 0100007F:11D6 01 00000000:00000000\n";
        let ports: Vec<u16> = listening(tcp, Protocol::Tcp).map(|port| port.port).collect();
        assert_eq!(ports, [0x11d6]);
        assert_eq!(ephemeral("32768\t60999"), 32768..=60999);
        assert_eq!(ephemeral(""), 49153..=65535);
    }
}
