// SPDX-License-Identifier: Apache-2.0
//! The environment variables a link gives a container, as Docker sets them: where the other container's ports are, its
//! name, and the variables it was started with.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use berth_types::intent::PortIntent;
use berth_types::mode::Protocol;

/// Variables of the other container that tell nothing about it.
const LEFT_OUT: [&str; 2] = ["HOME", "PATH"];

/// A link, seen from the container that has it.
#[derive(Clone, Debug)]
pub(crate) struct Link<'a> {
    /// Name Docker would know the container with the link by.
    pub own_name: &'a str,
    /// Name of the link.
    pub alias: &'a str,
    /// Address of the other container.
    pub address: Ipv4Addr,
    /// Ports the other container exposes.
    pub ports: BTreeSet<(u16, Protocol)>,
    /// The other container's configured environment.
    pub environment: Vec<(String, String)>,
}

impl Link<'_> {
    /// The variables, in Docker's order.
    pub fn variables(&self) -> Vec<(String, String)> {
        let prefix = self.alias.to_uppercase().replace('-', "_");
        let address = self.address;
        let mut variables = Vec::new();
        let mut set = |name: String, value: String| variables.push((name, value));
        if let Some((port, protocol)) = self.ports.first() {
            set(format!("{prefix}_PORT"), format!("{protocol}://{address}:{port}"));
        }
        for (port, protocol) in &self.ports {
            let of_port = format!("{prefix}_PORT_{port}_{}", protocol.as_str().to_uppercase());
            set(of_port.clone(), format!("{protocol}://{address}:{port}"));
            set(format!("{of_port}_ADDR"), address.to_string());
            set(format!("{of_port}_PORT"), port.to_string());
            set(format!("{of_port}_PROTO"), protocol.to_string());
        }
        set(format!("{prefix}_NAME"), format!("/{}/{}", self.own_name, self.alias));
        for (name, value) in self.environment.iter().filter(|(name, _)| !LEFT_OUT.contains(&name.as_str())) {
            set(format!("{prefix}_ENV_{name}"), value.clone());
        }
        variables
    }
}

/// The ports a container exposes: those of its definition, and those its image names (`80`, `80/tcp`, `53/udp`).
pub(crate) fn exposed<'a>(
    defined: &[PortIntent],
    of_image: impl Iterator<Item = &'a str>,
) -> BTreeSet<(u16, Protocol)> {
    let defined = defined.iter().flat_map(|port| {
        let last = port.last_container_port.unwrap_or(port.container_port);
        (port.container_port..=last).map(|number| (number, port.protocol))
    });
    let of_image = of_image.filter_map(|text| {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = [Protocol::Tcp, Protocol::Udp].into_iter().find(|known| known.as_str() == protocol)?;
        Some((number.parse().ok()?, protocol))
    });
    defined.chain(of_image).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_link_tells_ports_name_and_environment() {
        let port =
            PortIntent { container_port: 5432, last_container_port: None, host_port: None, protocol: Protocol::Tcp };
        let link = Link {
            own_name: "ecs-app-1-web-00",
            alias: "my-db",
            address: Ipv4Addr::new(172, 17, 0, 2),
            ports: exposed(&[port], ["5432/tcp", "53/udp", "80", "x", "9/sctp"].into_iter()),
            environment: [("PATH", "/bin"), ("PGDATA", "/d"), ("EMPTY", "")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
        };
        let shown: String = link.variables().iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        expect![[r#"
            MY_DB_PORT=udp://172.17.0.2:53
            MY_DB_PORT_53_UDP=udp://172.17.0.2:53
            MY_DB_PORT_53_UDP_ADDR=172.17.0.2
            MY_DB_PORT_53_UDP_PORT=53
            MY_DB_PORT_53_UDP_PROTO=udp
            MY_DB_PORT_80_TCP=tcp://172.17.0.2:80
            MY_DB_PORT_80_TCP_ADDR=172.17.0.2
            MY_DB_PORT_80_TCP_PORT=80
            MY_DB_PORT_80_TCP_PROTO=tcp
            MY_DB_PORT_5432_TCP=tcp://172.17.0.2:5432
            MY_DB_PORT_5432_TCP_ADDR=172.17.0.2
            MY_DB_PORT_5432_TCP_PORT=5432
            MY_DB_PORT_5432_TCP_PROTO=tcp
            MY_DB_NAME=/ecs-app-1-web-00/my-db
            MY_DB_ENV_PGDATA=/d
            MY_DB_ENV_EMPTY=
        "#]]
        .assert_eq(&shown);
    }
}
