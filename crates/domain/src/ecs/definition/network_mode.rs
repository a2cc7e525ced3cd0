//! Network modes of a task definition and what they forbid its containers.

use berth_shapes::ecs::ContainerDefinition as Asked;

use super::super::refuse::client;
use crate::Refusal;

/// How the containers of a task reach the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NetworkMode {
    /// An interface of the VPC for each task.
    Awsvpc,
    /// A bridge of the host; the default.
    Bridge,
    /// The host's own interfaces.
    Host,
    /// Loopback only.
    None,
}

impl NetworkMode {
    pub fn read(text: Option<&str>) -> Result<Self, Refusal> {
        match text {
            Some("awsvpc") => Ok(Self::Awsvpc),
            None | Some("bridge") => Ok(Self::Bridge),
            Some("host") => Ok(Self::Host),
            Some("none") => Ok(Self::None),
            Some(other) => Err(client(format!("'{other}' is not a valid value for networkMode."))),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Awsvpc => "awsvpc",
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::None => "none",
        }
    }

    /// Refuses container members that make no sense in this mode.
    pub fn check_members(self, asked: &Asked) -> Result<(), Refusal> {
        let is_given = |list: Option<usize>| list.is_some_and(|len| len > 0);
        if self != Self::Bridge && is_given(asked.links.as_ref().map(Vec::len)) {
            return Err(client(format!("Links are not supported when networkMode={}.", self.name())));
        }
        if self != Self::Awsvpc {
            return Ok(());
        }
        let given = [
            ("hostname is", asked.hostname.is_some()),
            ("Extra hosts are", is_given(asked.extra_hosts.as_ref().map(Vec::len))),
            ("DNS servers are", is_given(asked.dns_servers.as_ref().map(Vec::len))),
            ("DNS search domains are", is_given(asked.dns_search_domains.as_ref().map(Vec::len))),
            ("Disable Networking is", asked.disable_networking == Some(true)),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((what, _)) => Err(client(format!("{what} not supported on container when networkMode=awsvpc"))),
            None => Ok(()),
        }
    }
}
