// SPDX-License-Identifier: Apache-2.0
//! Entries of network ACLs: numbered, and tried in the order of their numbers.
//!
//! An entry is known by its direction and its number. The last entry of each direction, which denies everything, belongs
//! to every ACL; it is shown and cannot be changed.

use berth_shapes::ec2::{
    CreateNetworkAclEntryRequest, DeleteNetworkAclEntryRequest, IcmpTypeCode, NetworkAclEntry, PortRange as Ports,
    ReplaceNetworkAclEntryRequest,
};
use berth_shapes::{Ec2ErrorCode as Code, NoOutput};
use berth_state::vpc::{AclEntry, AclRange, ICMPV6, LAST_ENTRY, NetworkAcl};
use berth_state::{Change, Draft, Env, Refusal, Snapshot};
use berth_types::intent::{Direction, PortRange};

use super::permission::{ICMP, TCP, UDP, protocol};
use super::quota::Quota;
use super::request::{cidr, invalid, invalid_value, missing, only, required};
use super::{find, request};

/// The members of both requests that describe an entry.
struct Asked<'a> {
    network_acl_id: &'a Option<String>,
    egress: Option<bool>,
    number: Option<i32>,
    protocol: &'a Option<String>,
    action: &'a Option<String>,
    cidr: &'a Option<String>,
    ipv6_cidr: &'a Option<String>,
    ports: &'a Option<Ports>,
    icmp: &'a Option<IcmpTypeCode>,
}

macro_rules! asked {
    ($req:ident) => {{
        only(
            $req,
            &[
                "NetworkAclId",
                "Egress",
                "RuleNumber",
                "Protocol",
                "RuleAction",
                "CidrBlock",
                "Ipv6CidrBlock",
                "PortRange",
                "IcmpTypeCode",
            ],
        )?;
        Asked {
            network_acl_id: &$req.network_acl_id,
            egress: $req.egress,
            number: $req.rule_number,
            protocol: &$req.protocol,
            action: &$req.rule_action,
            cidr: &$req.cidr_block,
            ipv6_cidr: &$req.ipv6_cidr_block,
            ports: &$req.port_range,
            icmp: &$req.icmp_type_code,
        }
    }};
}

/// CreateNetworkAclEntry.
pub fn create_network_acl_entry(
    snap: &Snapshot,
    req: &CreateNetworkAclEntryRequest,
    _env: &Env,
) -> Result<Change<NoOutput>, Refusal> {
    let asked = asked!(req);
    let (mut acl, direction, number) = named(snap, asked.network_acl_id, asked.egress, asked.number)?;
    let entry = asked.entry()?;
    let entries = acl.entries_mut(direction);
    if entries.contains_key(&number) {
        let words = format!("The network acl entry identified by {number} already exists.");
        return Err(Refusal::new(Code::NetworkAclEntryAlreadyExists, words));
    }
    if entries.len() >= Quota::NetworkAclEntries.value(snap) as usize {
        let words = "The maximum number of network acl entries has been reached.";
        return Err(Refusal::new(Code::NetworkAclEntryLimitExceeded, words));
    }
    entries.insert(number, entry);
    let mut draft = Draft::of(snap);
    draft.put(acl);
    Ok(draft.change(NoOutput))
}

/// ReplaceNetworkAclEntry.
pub fn replace_network_acl_entry(
    snap: &Snapshot,
    req: &ReplaceNetworkAclEntryRequest,
    _env: &Env,
) -> Result<Change<NoOutput>, Refusal> {
    let asked = asked!(req);
    let (mut acl, direction, number) = named(snap, asked.network_acl_id, asked.egress, asked.number)?;
    let entry = asked.entry()?;
    match acl.entries_mut(direction).get_mut(&number) {
        Some(held) => *held = entry,
        None => return Err(not_found(number)),
    }
    let mut draft = Draft::of(snap);
    draft.put(acl);
    Ok(draft.change(NoOutput))
}

/// DeleteNetworkAclEntry.
pub fn delete_network_acl_entry(
    snap: &Snapshot,
    req: &DeleteNetworkAclEntryRequest,
    _env: &Env,
) -> Result<Change<NoOutput>, Refusal> {
    only(req, &["NetworkAclId", "Egress", "RuleNumber"])?;
    let (mut acl, direction, number) = named(snap, &req.network_acl_id, req.egress, req.rule_number)?;
    if acl.entries_mut(direction).remove(&number).is_none() {
        return Err(not_found(number));
    }
    let mut draft = Draft::of(snap);
    draft.put(acl);
    Ok(draft.change(NoOutput))
}

/// The entries of an ACL for an answer: those out of the subnets first, each direction with its last entry.
pub(super) fn show(acl: &NetworkAcl) -> Vec<NetworkAclEntry> {
    let last =
        berth_state::vpc::admit_all().into_values().map(|entry| (LAST_ENTRY, AclEntry { admits: false, ..entry }));
    let last: Vec<(u16, AclEntry)> = last.collect();
    let both = [Direction::Egress, Direction::Ingress].into_iter();
    let entries = both.flat_map(|direction| {
        let all = acl.entries(direction).iter().chain(last.iter().map(|(number, entry)| (number, entry)));
        all.map(move |(number, entry)| show_entry(*number, direction, entry))
    });
    entries.collect()
}

fn show_entry(number: u16, direction: Direction, entry: &AclEntry) -> NetworkAclEntry {
    let (cidr_block, ipv6_cidr_block) = match entry.range {
        AclRange::Ipv4(cidr) => (Some(cidr.to_string()), None),
        AclRange::Ipv6(cidr) => (None, Some(cidr.to_string())),
    };
    let icmp = |kind: i32, code: i32| IcmpTypeCode { code: Some(code), r#type: Some(kind) };
    let is_icmp = matches!(entry.protocol, Some(ICMP | ICMPV6));
    let (port_range, icmp_type_code) = match entry.ports {
        PortRange::Ports(from, to) => (Some(Ports { from: Some(from.into()), to: Some(to.into()) }), None),
        PortRange::Icmp(kind, code) => (None, Some(icmp(kind.into(), code.map_or(-1, i32::from)))),
        PortRange::All => (None, is_icmp.then(|| icmp(-1, -1))),
    };
    NetworkAclEntry {
        cidr_block,
        egress: Some(direction == Direction::Egress),
        icmp_type_code,
        ipv6_cidr_block,
        port_range,
        protocol: Some(entry.protocol.map_or_else(|| "-1".to_owned(), |protocol| protocol.to_string())),
        rule_action: Some(if entry.admits { "allow" } else { "deny" }.to_owned()),
        rule_number: Some(number.into()),
    }
}

impl Asked<'_> {
    fn entry(&self) -> Result<AclEntry, Refusal> {
        let protocol = protocol(Some(required(self.protocol, "protocol")?))?;
        let admits = match required(self.action, "ruleAction")? {
            "allow" => true,
            "deny" => false,
            other => return Err(invalid_value(other, "ruleAction", "Valid values are 'allow' and 'deny'.")),
        };
        let given = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        let range = match (given(self.cidr), given(self.ipv6_cidr)) {
            (true, true) => {
                let words = "The parameter cidrBlock cannot be used with the parameter ipv6CidrBlock";
                return Err(Refusal::new(Code::InvalidParameterCombination, words));
            }
            (_, true) => AclRange::Ipv6(ipv6_cidr(required(self.ipv6_cidr, "ipv6CidrBlock")?)?),
            (_, false) => AclRange::Ipv4(cidr(required(self.cidr, "cidrBlock")?, "cidrBlock")?),
        };
        Ok(AclEntry { protocol, ports: self.ports(protocol)?, range, admits })
    }

    /// Ports are for TCP and UDP, types and codes for ICMP; other protocols have neither, whatever is given.
    fn ports(&self, protocol: Option<u8>) -> Result<PortRange, Refusal> {
        match protocol {
            Some(TCP | UDP) => {
                let range = self.ports.as_ref().ok_or_else(|| missing("portRange"))?;
                let (Some(from), Some(to)) = (range.from, range.to) else { return Err(missing("portRange")) };
                if (from, to) == (-1, -1) {
                    return Ok(PortRange::Ports(0, u16::MAX));
                }
                let port = |number: i32| {
                    u16::try_from(number).map_err(|_| invalid(format!("TCP/UDP port ({number}) out of range")))
                };
                let (first, last) = (port(from)?, port(to)?);
                if first > last {
                    return Err(invalid(format!("Invalid TCP/UDP port range ({first}:{last})")));
                }
                Ok(PortRange::Ports(first, last))
            }
            Some(ICMP | ICMPV6) => {
                let icmp = self.icmp.as_ref().ok_or_else(|| missing("icmpTypeCode"))?;
                let number = |what: &str, number: i32| {
                    u8::try_from(number).map_err(|_| invalid(format!("ICMP {what} ({number}) out of range")))
                };
                match (icmp.r#type.ok_or_else(|| missing("icmpTypeCode.type"))?, icmp.code.unwrap_or(-1)) {
                    (-1, -1) => Ok(PortRange::All),
                    (-1, code) => Err(invalid(format!("ICMP code ({code}) cannot be given for all ICMP types"))),
                    (kind, -1) => Ok(PortRange::Icmp(number("type", kind)?, None)),
                    (kind, code) => Ok(PortRange::Icmp(number("type", kind)?, Some(number("code", code)?))),
                }
            }
            Some(_) | None => Ok(PortRange::All),
        }
    }
}

/// The ACL, direction and number that a request names.
fn named(
    snap: &Snapshot,
    acl: &Option<String>,
    egress: Option<bool>,
    number: Option<i32>,
) -> Result<(NetworkAcl, Direction, u16), Refusal> {
    let acl = find::network_acl(snap, required(acl, "networkAclId")?)?.as_ref().clone();
    let direction = if egress.ok_or_else(|| missing("egress"))? { Direction::Egress } else { Direction::Ingress };
    let given = number.ok_or_else(|| missing("ruleNumber"))?;
    let number = u16::try_from(given).ok().filter(|number| (1..LAST_ENTRY).contains(number));
    let bounds = format!("The rule number must be between 1 and {}.", LAST_ENTRY - 1);
    let number = number.ok_or_else(|| invalid_value(&given.to_string(), "ruleNumber", &bounds))?;
    Ok((acl, direction, number))
}

fn not_found(number: u16) -> Refusal {
    let words = format!("The network acl entry identified by {number} does not exist.");
    Refusal::new(Code::InvalidNetworkAclEntryNotFound, words)
}

fn ipv6_cidr(text: &str) -> Result<berth_state::vpc::Ipv6Cidr, Refusal> {
    text.parse().map_err(|_| request::invalid_value(text, "ipv6CidrBlock", "This is not a valid CIDR block."))
}
