// SPDX-License-Identifier: Apache-2.0
//! Network modes of tasks, and the host's ports that are published for containers.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// How the containers of a task reach the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// An interface of the VPC for each task. The default for older journals, which name no mode.
    #[default]
    Awsvpc,
    /// A bridge of the host, with published ports. The default for task definitions that name no mode.
    Bridge,
    /// The host's own interfaces.
    Host,
    /// Loopback only.
    None,
}

impl NetworkMode {
    /// Reads the name AWS uses.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Awsvpc, Self::Bridge, Self::Host, Self::None].into_iter().find(|mode| mode.as_str() == text)
    }

    /// The name AWS uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Awsvpc => "awsvpc",
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::None => "none",
        }
    }
}

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The name AWS uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A port of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostPort {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its number.
    pub port: u16,
}

/// A port of the host that is forwarded to a port of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkBinding {
    /// Address of the host it is bound to; all of them when unspecified.
    pub bind_ip: Ipv4Addr,
    /// Port in the container; the first port of a range.
    pub container_port: u16,
    /// Port of the host; the first port of a range.
    pub host_port: u16,
    /// Protocol of both.
    pub protocol: Protocol,
    /// Last port of a range in the container; the host's range has the same length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_container_port: Option<u16>,
}

impl NetworkBinding {
    /// The host's ports that it occupies.
    pub fn host_ports(&self) -> impl Iterator<Item = HostPort> + use<> {
        let (protocol, last) = (self.protocol, self.last_host_port());
        (self.host_port..=last).map(move |port| HostPort { protocol, port })
    }

    /// The last of the host's ports that it occupies.
    pub fn last_host_port(&self) -> u16 {
        let others = self.last_container_port.map_or(0, |last| last.saturating_sub(self.container_port));
        self.host_port.saturating_add(others)
    }
}

/// A link to another container of the task under an alias.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerLink {
    /// Name of the other container.
    pub container: String,
    /// The alias.
    pub alias: String,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_binding_takes_as_many_ports_outside_as_inside() {
        let single = NetworkBinding {
            bind_ip: Ipv4Addr::UNSPECIFIED,
            container_port: 80,
            host_port: 32768,
            protocol: Protocol::Tcp,
            last_container_port: None,
        };
        let ports = |binding: &NetworkBinding| binding.host_ports().map(|port| port.port).collect::<Vec<_>>();
        assert_eq!(ports(&single), [32768]);
        assert_eq!(ports(&NetworkBinding { last_container_port: Some(82), ..single.clone() }), [32768, 32769, 32770]);
        let text = serde_json::to_string(&single).unwrap();
        assert_eq!(text, r#"{"bind_ip":"0.0.0.0","container_port":80,"host_port":32768,"protocol":"tcp"}"#);
        assert_eq!(serde_json::from_str::<NetworkBinding>(&text).unwrap(), single);
    }

    #[test]
    fn modes_have_the_names_of_aws() {
        for name in ["awsvpc", "bridge", "host", "none"] {
            assert_eq!(NetworkMode::parse(name).unwrap().as_str(), name);
        }
        assert_eq!(NetworkMode::parse("Bridge"), None);
    }
}
