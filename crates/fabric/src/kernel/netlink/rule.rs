// SPDX-License-Identifier: Apache-2.0
//! Routing rules: which table decides on a packet, by its source address, its mark or the device by which
//! it came in. IPv4 only.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};

use super::{ACT, CREATE, Fault, Netlink};

const HOST_BITS: u8 = 32;

/// A routing rule that leads to a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    /// Its place among all rules; the lowest one that matches decides.
    pub priority: u32,
    /// The packets it matches.
    pub selector: Selector,
    /// The table.
    pub table: u32,
}

/// The packets a rule matches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selector {
    /// Those from this address.
    From(Ipv4Addr),
    /// Those whose mark has this value under this mask.
    Mark {
        /// The value.
        value: u32,
        /// The mask.
        mask: u32,
    },
    /// Those that came in by the device with this name, also while there is none.
    In(String),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.priority)?;
        match &self.selector {
            Selector::From(address) => write!(f, "from {address}")?,
            Selector::Mark { value, mask } => write!(f, "fwmark {value:#x}/{mask:#x}")?,
            Selector::In(device) => write!(f, "iif {device}")?,
        }
        write!(f, " lookup {}", self.table)
    }
}

impl Netlink {
    /// The rules with one of the selectors that lead to a table.
    pub fn rules(&mut self) -> Result<Vec<Rule>, Fault> {
        let mut request = RuleMessage::default();
        request.header.family = AddressFamily::Inet;
        let replies = self.dump("routing rules", Message::GetRule(request))?;
        Ok(replies.into_iter().filter_map(seen).collect())
    }

    /// Adds a rule. An existing one counts as success.
    pub fn add_rule(&mut self, rule: &Rule) -> Result<(), Fault> {
        match self.act(Message::NewRule(message(rule)), CREATE) {
            Err(cause) if cause.errno != libc::EEXIST => {
                Err(Fault::Rule { verb: "add", rule: rule.to_string(), cause })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Removes a rule. An absent one counts as success.
    pub fn delete_rule(&mut self, rule: &Rule) -> Result<(), Fault> {
        match self.act(Message::DelRule(message(rule)), ACT) {
            Err(cause) if cause.errno != libc::ENOENT => {
                Err(Fault::Rule { verb: "remove", rule: rule.to_string(), cause })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![RuleAttribute::Priority(rule.priority), RuleAttribute::Table(rule.table)];
    match &rule.selector {
        Selector::From(address) => {
            message.header.src_len = HOST_BITS;
            message.attributes.push(RuleAttribute::Source(IpAddr::V4(*address)));
        }
        Selector::Mark { value, mask } => {
            message.attributes.extend([RuleAttribute::FwMark(*value), RuleAttribute::FwMask(*mask)]);
        }
        Selector::In(device) => message.attributes.push(RuleAttribute::Iifname(device.clone())),
    }
    message
}

fn seen(reply: Message) -> Option<Rule> {
    let Message::NewRule(message) = reply else { return None };
    // The kernel leaves out a priority of 0.
    let (mut priority, mut table, mut from, mut value, mut mask, mut device) = (0, None, None, None, u32::MAX, None);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(number) => priority = *number,
            RuleAttribute::Table(number) => table = Some(*number),
            RuleAttribute::Source(IpAddr::V4(address)) if message.header.src_len == HOST_BITS => from = Some(*address),
            RuleAttribute::FwMark(mark) => value = Some(*mark),
            RuleAttribute::FwMask(bits) => mask = *bits,
            RuleAttribute::Iifname(name) => device = Some(name.clone()),
            _ => {}
        }
    }
    let selector = match (from, value, device) {
        (Some(address), None, None) => Selector::From(address),
        (None, Some(value), None) => Selector::Mark { value, mask },
        (None, None, Some(device)) => Selector::In(device),
        _ => return None,
    };
    Some(Rule { priority, selector, table: table? })
}
