// SPDX-License-Identifier: Apache-2.0
//! Links: veth pairs, bridges, names, sizes, namespaces.

use std::os::fd::{AsRawFd, BorrowedFd};

use berth_types::MacAddress;
use netlink_packet_core::NLM_F_ACK;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{
    InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute,
    LinkExtentMask, LinkFlags, LinkInfo, LinkMessage,
};

use super::{ACT, CREATE, Fault, Netlink, Refused};

/// A link as the kernel shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Number within its namespace.
    pub index: u32,
    /// Name within its namespace.
    pub name: String,
    /// Hardware address, if it is an Ethernet link.
    pub mac: Option<MacAddress>,
    /// Largest packet.
    pub mtu: u32,
    /// Bytes of the largest IPv4 packet that TCP hands to it unsplit; `None` on kernels before 6.3.
    pub unsplit_bytes: Option<u32>,
    /// Administratively up.
    pub is_up: bool,
    /// `veth`, `bridge`, ...; `None` for hardware and loopback.
    pub kind: Option<String>,
    /// Index of the bridge (or other upper link) it is a port of.
    pub bridge: Option<u32>,
    /// Index of the other end of a veth pair, in the other end's namespace.
    pub peer_index: Option<u32>,
    /// Number by which this namespace knows the other end's namespace, if they differ.
    pub peer_namespace: Option<i32>,
    /// A bridge port that is isolated from the other such ports.
    pub port_isolated: bool,
    /// A bridge port on which the bridge learns hardware addresses from frames.
    pub port_learning: bool,
    /// A bridge port that may send frames back to their sender (hairpin mode).
    pub port_hairpin: bool,
    /// `ifalias`.
    pub alias: Option<String>,
}

/// Parameters of a veth pair, with both ends created in place: moving a link later costs 14 to 21 ms.
#[derive(Clone, Copy, Debug, Default)]
pub struct VethPair<'a> {
    /// Near end, in the socket's namespace.
    pub name: &'a str,
    /// Index of the near end; the kernel picks one if none is given.
    pub index: Option<u32>,
    /// Hardware address of the near end; the kernel picks one if none is given.
    pub mac: Option<MacAddress>,
    /// MTU of the near end; 1500 if none is given.
    pub mtu: Option<u32>,
    /// As `peer_unsplit_bytes`, of the near end.
    pub unsplit_bytes: Option<u32>,
    /// The near end becomes a port of this bridge.
    pub bridge: Option<u32>,
    /// The near end is up from its creation. (The kernel cannot do that for the far end.)
    pub up: bool,
    /// Far end.
    pub peer_name: &'a str,
    /// Hardware address of the far end.
    pub peer_mac: Option<MacAddress>,
    /// MTU of the far end.
    pub peer_mtu: Option<u32>,
    /// Bytes of the largest IPv4 packet that TCP hands to the far end unsplit; the kernel's 64 KiB if none is given,
    /// and always on kernels before 6.3.
    pub peer_unsplit_bytes: Option<u32>,
    /// Namespace of the far end; the socket's own if none is given.
    pub peer_ns: Option<BorrowedFd<'a>>,
}

impl Netlink {
    /// All links of the namespace.
    pub fn links(&mut self) -> Result<Vec<Link>, Fault> {
        let replies = self.dump("links", Message::GetLink(without_counters(LinkMessage::default())))?;
        Ok(replies.into_iter().filter_map(seen).collect())
    }

    /// The link of this name, if there is one.
    pub fn link_by_name(&mut self, name: &str) -> Result<Option<Link>, Fault> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        match (self.ask)(Message::GetLink(without_counters(message)), NLM_F_ACK) {
            Ok(replies) => Ok(replies.into_iter().find_map(seen)),
            Err(cause) if cause.errno == libc::ENODEV => Ok(None),
            Err(cause) => Err(Fault::List { what: "links", cause }),
        }
    }

    /// The link of this index, if there is one.
    pub fn link_by_index(&mut self, index: u32) -> Result<Option<Link>, Fault> {
        match (self.ask)(Message::GetLink(without_counters(of(index, []))), NLM_F_ACK) {
            Ok(replies) => Ok(replies.into_iter().find_map(seen)),
            Err(cause) if cause.errno == libc::ENODEV => Ok(None),
            Err(cause) => Err(Fault::List { what: "links", cause }),
        }
    }

    /// Every link with this hardware address: a bridge shares the address of a port, a VLAN that of its parent.
    pub fn links_by_mac(&mut self, mac: MacAddress) -> Result<Vec<Link>, Fault> {
        Ok(self.links()?.into_iter().filter(|link| link.mac == Some(mac)).collect())
    }

    /// Creates a veth pair. Fails with EEXIST when either name is in use.
    pub fn create_veth(&mut self, pair: &VethPair<'_>) -> Result<(), Fault> {
        let mut peer = LinkMessage::default();
        peer.attributes = end(pair.peer_name, pair.peer_mac, pair.peer_mtu);
        peer.attributes.extend(pair.peer_unsplit_bytes.map(LinkAttribute::GsoIpv4MaxSize));
        peer.attributes.extend(pair.peer_ns.map(|fd| LinkAttribute::NetNsFd(fd.as_raw_fd())));
        let mut message = LinkMessage::default();
        message.header.index = pair.index.unwrap_or_default();
        message.attributes = end(pair.name, pair.mac, pair.mtu);
        message.attributes.extend(pair.unsplit_bytes.map(LinkAttribute::GsoIpv4MaxSize));
        message.attributes.extend(pair.bridge.map(LinkAttribute::Controller));
        if pair.up {
            message.header.flags = LinkFlags::Up;
            message.header.change_mask = LinkFlags::Up;
        }
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]));
        self.act(Message::NewLink(message), CREATE).map_err(|cause| Fault::CreateVeth {
            name: pair.name.to_owned(),
            peer: pair.peer_name.to_owned(),
            cause,
        })
    }

    /// Creates a bridge with a fixed hardware address, so that the address does not follow the ports, and without calls
    /// into iptables, ip6tables and arptables for the frames it forwards. Returns its index; an existing bridge of this
    /// name counts as success, whatever created it.
    pub fn create_bridge(&mut self, name: &str, mac: MacAddress) -> Result<u32, Fault> {
        let fault = |cause| Fault::CreateBridge { name: name.to_owned(), cause };
        let mut message = LinkMessage::default();
        message.attributes = end(name, Some(mac), None);
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Bridge),
            LinkInfo::Data(InfoData::Bridge(vec![
                InfoBridge::NfCallIpTables(false),
                InfoBridge::NfCallIp6Tables(false),
                InfoBridge::NfCallArpTables(false),
            ])),
        ]));
        match self.act(Message::NewLink(message), CREATE) {
            Ok(()) => {}
            Err(cause) if cause.errno == libc::EEXIST => {}
            Err(cause) => return Err(fault(cause)),
        }
        match self.link_by_name(name)? {
            Some(link) if link.kind.as_deref() == Some("bridge") => Ok(link.index),
            Some(link) => Err(fault(Refused {
                errno: libc::EEXIST,
                said: Some(format!("a {} link of that name is there", link.kind.as_deref().unwrap_or("hardware"))),
            })),
            None => Err(fault(Refused::errno(libc::ENODEV))),
        }
    }

    /// Sets a link up.
    pub fn set_up(&mut self, index: u32) -> Result<(), Fault> {
        self.set_flags(index, LinkFlags::Up, "switch on the state")
    }

    /// Sets a link down. Its routes are removed.
    pub fn set_down(&mut self, index: u32) -> Result<(), Fault> {
        self.set_flags(index, LinkFlags::empty(), "switch off the state")
    }

    /// Renames a link; it must be down, unless the kernel allows live renames.
    pub fn rename(&mut self, index: u32, name: &str) -> Result<(), Fault> {
        self.set(index, LinkAttribute::IfName(name.to_owned()), || format!("change the name to {name}"))
    }

    /// Sets the largest packet size.
    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> Result<(), Fault> {
        self.set(index, LinkAttribute::Mtu(mtu), || format!("set the MTU to {mtu}"))
    }

    /// Sets the hardware address.
    pub fn set_mac(&mut self, index: u32, mac: MacAddress) -> Result<(), Fault> {
        self.set(index, LinkAttribute::Address(mac.0.to_vec()), || format!("set the MAC address to {mac}"))
    }

    /// Sets the text `ip link` shows as `alias`.
    pub fn set_alias(&mut self, index: u32, alias: &str) -> Result<(), Fault> {
        self.set(index, LinkAttribute::IfAlias(alias.to_owned()), || format!("set the alias to {alias}"))
    }

    /// Makes a link a port of a bridge.
    pub fn enslave(&mut self, index: u32, bridge: u32) -> Result<(), Fault> {
        self.set(index, LinkAttribute::Controller(bridge), || format!("set the bridge to link {bridge}"))
    }

    /// Isolates a bridge port from all other such ports: they reach the bridge itself, not each other. It accepts
    /// frames only from hardware addresses with a static entry, learns none, and receives none for an unknown address.
    pub fn set_port_isolated(&mut self, index: u32) -> Result<(), Fault> {
        let settings = vec![
            InfoBridgePort::Isolated(true),
            InfoBridgePort::Learning(false),
            InfoBridgePort::UnicastFlood(false),
            InfoBridgePort::Locked(true),
        ];
        self.set_port(index, settings, "isolate the bridge port")
    }

    /// Lets a bridge port send frames back to their sender (hairpin mode).
    pub fn set_port_hairpin(&mut self, index: u32) -> Result<(), Fault> {
        self.set_port(index, vec![InfoBridgePort::HairpinMode(true)], "switch on the hairpin mode")
    }

    /// Moves a link into another namespace. It arrives down and without addresses. Costs 14 to 21 ms.
    pub fn move_to(&mut self, index: u32, namespace: BorrowedFd<'_>) -> Result<(), Fault> {
        let message = of(index, [LinkAttribute::NetNsFd(namespace.as_raw_fd())]);
        let done = self.act(Message::SetLink(message), ACT);
        done.map_err(|cause| Fault::MoveLink { link: self.name_of(index), cause })
    }

    /// Removes a link (and the other end of a veth pair). An absent link counts as success.
    pub fn delete_link(&mut self, name: &str) -> Result<(), Fault> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        match self.act(Message::DelLink(message), ACT) {
            Err(cause) if cause.errno != libc::ENODEV => Err(Fault::DeleteLink { link: name.to_owned(), cause }),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn set(&mut self, index: u32, attribute: LinkAttribute, what: impl FnOnce() -> String) -> Result<(), Fault> {
        let done = self.act(Message::SetLink(of(index, [attribute])), ACT);
        done.map_err(|cause| Fault::SetLink { what: what(), link: self.name_of(index), cause })
    }

    fn set_flags(&mut self, index: u32, flags: LinkFlags, what: &str) -> Result<(), Fault> {
        let mut message = of(index, []);
        message.header.flags = flags;
        message.header.change_mask = LinkFlags::Up;
        let done = self.act(Message::SetLink(message), ACT);
        done.map_err(|cause| Fault::SetLink { what: what.to_owned(), link: self.name_of(index), cause })
    }

    fn set_port(&mut self, index: u32, settings: Vec<InfoBridgePort>, what: &str) -> Result<(), Fault> {
        // The kernel reads the settings of a port from RTM_NEWLINK without NLM_F_CREATE, not from RTM_SETLINK.
        let info = LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(settings)),
        ]);
        let done = self.act(Message::NewLink(of(index, [info])), ACT);
        done.map_err(|cause| Fault::SetLink { what: what.to_owned(), link: self.name_of(index), cause })
    }

    /// For messages only: the name if it can still be read.
    pub(super) fn name_of(&mut self, index: u32) -> String {
        self.link_by_index(index).ok().flatten().map_or_else(|| format!("#{index}"), |link| link.name)
    }
}

fn of(index: u32, attributes: impl IntoIterator<Item = LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.extend(attributes);
    message
}

fn end(name: &str, mac: Option<MacAddress>, mtu: Option<u32>) -> Vec<LinkAttribute> {
    let name = LinkAttribute::IfName(name.to_owned());
    let mac = mac.map(|mac| LinkAttribute::Address(mac.0.to_vec()));
    [Some(name), mac, mtu.map(LinkAttribute::Mtu)].into_iter().flatten().collect()
}

/// A request without counters, whose summation would be most of the kernel's work and of its answer.
fn without_counters(mut question: LinkMessage) -> LinkMessage {
    question.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    question
}

fn seen(reply: Message) -> Option<Link> {
    let Message::NewLink(message) = reply else { return None };
    let mut link =
        Link { index: message.header.index, is_up: message.header.flags.contains(LinkFlags::Up), ..Link::default() };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Address(bytes) => link.mac = <[u8; 6]>::try_from(bytes).ok().map(MacAddress),
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::GsoIpv4MaxSize(bytes) => link.unsplit_bytes = Some(bytes),
            LinkAttribute::Controller(index) => link.bridge = Some(index),
            LinkAttribute::Link(index) => link.peer_index = Some(index),
            LinkAttribute::LinkNetNsId(id) => link.peer_namespace = Some(id),
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
            LinkAttribute::LinkInfo(info) => info.into_iter().for_each(|item| note(&mut link, item)),
            _ => {}
        }
    }
    Some(link)
}

fn note(link: &mut Link, item: LinkInfo) {
    match item {
        LinkInfo::Kind(kind) => link.kind = Some(kind.to_string()),
        LinkInfo::PortData(InfoPortData::BridgePort(settings)) => {
            for setting in settings {
                match setting {
                    InfoBridgePort::Isolated(on) => link.port_isolated = on,
                    InfoBridgePort::Learning(on) => link.port_learning = on,
                    InfoBridgePort::HairpinMode(on) => link.port_hairpin = on,
                    _ => {}
                }
            }
        }
        _ => {}
    }
}
